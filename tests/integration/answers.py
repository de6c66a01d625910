"""A cloud of a few lines that answers each device as a test says, and counts who came.

with Cloud("127.0.0.2", answer=refusing(RefusalCode.TOKEN)) as cloud:
    ...
    cloud.answer = welcoming
    ...
assert cloud.connections == 2
"""

import socket
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Final, Self

from offload.messages import Acknowledgement, Control, Frame, Refusal
from offload.session import CloudEvent, CloudSession, OpenRequested
from offload.transport import listening_sockets
from tests.session_pair import OPERATOR, encoded, joined

# Only ends a test that has failed already.
WAIT_S: Final = 30.0

FIRST: Final = "127.0.0.1"
SECOND: Final = "127.0.0.2"


class Visit:
    """One connection of a device.

    Attributes:
        socket: The connection.
        session: The cloud's end of its session.
    """

    def __init__(self, cloud: "Cloud", connected: socket.socket) -> None:
        self.socket = connected
        self.session = CloudSession(
            secret_for=lambda name: OPERATOR.secret if name == OPERATOR.name else None,
            role_of=lambda name: OPERATOR.role if name == OPERATOR.name else None,
            insecure=True,
            nonce=bytes(32),
        )
        self._cloud = cloud
        self._controls: list[str] = []

    def shake_hands(self) -> None:
        """Go on until the device asks for its stream."""
        while True:
            for event in self._receive():
                if isinstance(event, OpenRequested):
                    self._position = event.opening.position
                    return

    def next_control(self) -> str:
        """Wait for an operator's next word, and return its name."""
        while not self._controls:
            self._controls += [each.name for each in self._receive() if isinstance(each, Control)]
        return self._controls.pop(0)

    def welcome(self) -> None:
        """Let the device go on where the cloud stands."""
        self._cloud.next_seq = max(self._cloud.next_seq, self._position)
        self.session.accept(next_seq=self._cloud.next_seq, durable=True)
        self._flush()

    def beat(self) -> None:
        """Give a sign of life."""
        self.session.send_heartbeat()
        self._flush()

    def say(self, control: Control) -> None:
        """Send a control message."""
        self.session.send_control(control)
        self._flush()

    def refuse(self, code: str, reason: str) -> None:
        """End the session in words."""
        self.socket.sendall(encoded(Refusal(code=code, reason=reason)))

    def take(self) -> int:
        """Store and acknowledge what comes next, and return how many frames that were."""
        frames = 0
        for event in self._receive():
            if isinstance(event, Frame):
                frames += 1
                self._cloud.next_seq = event.seq + 1
                self._cloud.frames.append(event.seq)
        self.session.acknowledge(Acknowledgement(next_seq=self._cloud.next_seq))
        if self.session.is_ending:
            self.session.confirm_end()
        self._flush()
        return frames

    def _receive(self) -> list[CloudEvent]:
        count = self.socket.recv_into(self.session.buffer())
        if not count:
            raise ConnectionAbortedError("the device hung up")
        events = self.session.received(count)
        self._flush()
        return events

    def _flush(self) -> None:
        self.socket.sendall(joined(self.session.take_outgoing()))


Answer = Callable[[Visit], None]


def welcoming(visit: Visit) -> None:
    """Take the stream."""
    visit.shake_hands()
    visit.welcome()
    while not visit.session.is_closed:
        visit.take()


def refusing(code: str, reason: str = "because") -> Answer:
    """Return an answer that refuses the stream."""

    def answer(visit: Visit) -> None:
        visit.shake_hands()
        visit.refuse(code, reason)

    return answer


def refusing_after(frames: int, code: str, reason: str = "because") -> Answer:
    """Return an answer that takes the stream, and refuses it after so many frames."""

    def answer(visit: Visit) -> None:
        visit.shake_hands()
        visit.welcome()
        left = frames
        while left > 0:
            left -= visit.take()
        visit.refuse(code, reason)

    return answer


def speaking_http(visit: Visit) -> None:
    """Answer as another kind of server does."""
    visit.socket.recv(4096)
    visit.socket.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def hanging_up(_: Visit) -> None:
    """End the connection."""


def silent(visit: Visit) -> None:
    """Say nothing."""
    while visit.socket.recv(4096):
        pass


class Cloud:
    """Listens on one address, and answers each connection on a thread of its own.

    Attributes:
        answer: How; it may be changed at any time.
        connections: How many devices have come.
        next_seq: Up to where the stream is stored.
        frames: The sequence numbers of all frames that came.
    """

    def __init__(self, host: str, port: int = 0, *, answer: Answer = welcoming) -> None:
        self.answer = answer
        self.connections = 0
        self.next_seq = 0
        self.frames: list[int] = []
        self._listener = listening_sockets(host, port)[0]
        self._listener.setblocking(True)
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        """Where it listens."""
        port = self._listener.getsockname()[1]
        assert isinstance(port, int)
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        for each in self._threads:
            each.join(WAIT_S)

    def leave(self) -> None:
        """End all connections, and take no more."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def hang_up(self) -> None:
        """End all connections."""
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connected)
            thread = threading.Thread(target=self._serve, args=(connected,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connected: socket.socket) -> None:
        with closing(connected), suppress(ConnectionError):
            self.answer(Visit(self, connected))

"""A device made of a session and a blocking socket, which does what a test says and nothing else.

    app = RawApp.load(APP)
    with RawDevice(server.port, app, stream="s") as device:
        device.open()
        device.send_frame(0, number=1)
        device.wait_for_acknowledgement(1)

It sends no heartbeats unless told to. Every wait has a bound.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.auth import Token, new_nonce
from offload.errors import OffloadError, SessionLost
from offload.messages import (
    Acknowledgement,
    EndConfirmed,
    Frame,
    Message,
    Open,
    Welcome,
)
from offload.session import DeviceSession, Event
from offload.wire import encode
from task_interface import Pipeline
from tests.session_pair import joined

# Only ends a test that has failed already.
WAIT_S: Final = 30.0

NUMBERS: Final = """
from task_interface import Pipeline, Placement, source, task

@source(gives="number")
def numbers():
    yield from range(10)

@task(gives="doubled")
def double(number):
    return 2 * number

@task(placement=Placement.CLOUD)
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, doubled):
        self.total += doubled
        return self.total

    def snapshot(self):
        return self.total

    def restore(self, total):
        self.total = total

pipeline = Pipeline([numbers, double, Total])
"""


# Waits until its `Gate` is open.
GATED: Final = NUMBERS.replace(
    "        self.total += doubled",
    '        open("gate", "rb", buffering=0).read(1)\n        self.total += doubled',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RawApp:
    """An app's name, and what both ends compare."""

    name: str
    fingerprint: list[object]

    @classmethod
    def of(cls, name: str, text: str) -> "RawApp":
        """Return what a server that runs the app with this text expects."""
        namespace: dict[str, object] = {"__name__": name}
        exec(text, namespace)
        pipeline = namespace["pipeline"]
        assert isinstance(pipeline, Pipeline)
        return cls(name=name, fingerprint=pipeline.fingerprint())


class Gate:
    """Holds up the tasks of `GATED` until it is opened."""

    def __init__(self, folder: Path) -> None:
        self._gate = folder / "gate"
        os.mkfifo(self._gate)
        # Reading it has no end while this is open.
        self._writer = os.open(self._gate, os.O_RDWR)

    def let_one_pass(self) -> None:
        """Let one pass who waits or comes."""
        os.write(self._writer, b".")

    def open(self) -> None:
        """Let those pass who wait and who come."""
        opened = self._gate.with_suffix(".open")
        opened.touch()
        opened.replace(self._gate)
        os.close(self._writer)


class RawDevice(AbstractContextManager["RawDevice"]):
    """A device that a test drives step by step."""

    def __init__(
        self,
        port: int,
        app: RawApp,
        *,
        stream: str,
        position: int = 0,
        trial: bool = False,
        token: Token | None = None,
        tls: ssl.SSLContext | None = None,
        receive_buffer_bytes: int | None = None,
    ) -> None:
        self.socket = _connected(port, tls, receive_buffer_bytes)
        self.session = DeviceSession(
            opening=Open(
                app=app.name,
                fingerprint=app.fingerprint,
                stream=stream,
                device="raw",
                position=position,
                trial=trial,
            ),
            token=token,
            nonce=new_nonce(),
        )
        self.acknowledged = position
        self.received: list[Event] = []

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        """Send what the session has queued."""
        if pieces := self.session.take_outgoing():
            self.socket.sendall(joined(pieces))

    def open(self) -> Welcome:
        """Shake hands, and return what the server says then."""
        self.flush()
        for event in self.events():
            if isinstance(event, Welcome):
                return event
        raise AssertionError("no welcome")

    def send_frame(self, seq: int, **values: object) -> None:
        """Send a frame of an app whose first task ran here."""
        self.send_frames([seq], **values)

    def send_frames(self, seqs: Iterable[int], **values: object) -> None:
        """Send frames that come in one piece."""
        for seq in seqs:
            self.session.send_frame(Frame(seq=seq, split=1, captured_at=0.0, tree=values))
        self.flush()

    def send_raw(self, message: Message) -> None:
        """Send a message that the session does not check."""
        self.socket.sendall(joined(encode(message, max_message_bytes=1 << 31)))

    def wait_for_acknowledgement(self, next_seq: int) -> None:
        """Wait until all frames before ``next_seq`` are stored."""
        if self.acknowledged >= next_seq:
            return
        for event in self.events():
            if isinstance(event, Acknowledgement):
                self.acknowledged = event.next_seq
            if self.acknowledged >= next_seq:
                return

    def end(self) -> None:
        """End the stream in good order."""
        self.session.send_end()
        self.flush()
        assert any(isinstance(event, EndConfirmed) for event in self.events())

    def beat(self) -> None:
        """Send a sign of life."""
        self.session.send_heartbeat()
        self.flush()

    def refusal(self) -> OffloadError:
        """Wait until the server ends the session, and return how."""
        self.flush()
        try:
            for _ in self.events():
                pass
        except OffloadError as error:
            return error
        raise AssertionError("the session went on")

    def events(self) -> Iterator[Event]:
        """Yield what comes, for as long as it is asked for.

        Raises:
            OffloadError: The server refused, or hung up.
        """
        by_s = time.monotonic() + WAIT_S
        while time.monotonic() < by_s:
            try:
                count = self.socket.recv_into(self.session.buffer())
            except ConnectionError as error:
                raise SessionLost(f"connection ended: {error.strerror}") from error
            if count == 0:
                raise SessionLost("the server hung up")
            events: list[Event] = []
            failure: OffloadError | None = None
            try:
                # What came before a refusal in the same bytes counts.
                for event in self.session.received(count):
                    events.append(event)
            except OffloadError as error:
                failure = error
            self.flush()
            self.received += events
            yield from events
            if failure is not None:
                raise failure
        raise AssertionError("nothing came in time")


def _connected(
    port: int, tls: ssl.SSLContext | None, receive_buffer_bytes: int | None
) -> socket.socket:
    connected = socket.socket()
    try:
        if receive_buffer_bytes is not None:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connected.settimeout(WAIT_S)
        connected.connect(("127.0.0.1", port))
        if tls is not None:
            return tls.wrap_socket(connected, server_hostname="127.0.0.1")
    except OSError:
        connected.close()
        raise
    return connected

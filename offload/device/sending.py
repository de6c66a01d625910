"""Who sends on a connection, and what: the sending half of an `Uplink`.

Whoever puts something into the outbox sends it, as far as the socket takes it at once; the rest is
for a thread of its own, so that computing and sending overlap. One of them has the right to send at
a time, and only its holder encodes or sends: so messages leave in order, and no lock is held across
a call of the socket. Who finds the right taken leaves the work to its holder.

    sender = Sender(lock, on_failure=note)
    threading.Thread(target=sender.run).start()
    with lock:
        sender.attach(connection, session, outbox)
        outbox.put_frame(frame, captured_s=now)
        work = sender.take()
    sender.send_at_once(work)
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from offload.device.outbox import Entry, Outbox
from offload.errors import LocalProtocolError, OffloadError, PayloadError, SessionLost
from offload.messages import Control, Ended, Frame
from offload.session import DeviceSession
from offload.transport import ByteStream
from offload.wire import Piece

# Small messages that waited for the socket go out together, so many bytes at a time: enough to make
# the system call cheap, and no more, since what is handed over can no longer be held back.
GATHERED_BYTES: Final = 64 * 1024
USUAL_ENVELOPE_BYTES: Final = 128


@dataclass(slots=True, kw_only=True)
class Work:
    """What one thread sends: entries with perhaps the end, or what is left of earlier ones.

    Control messages go before the entries.
    """

    connection: ByteStream
    session: DeviceSession
    leftover: Sequence[Piece] = ()
    controls: Sequence[Control] = ()
    entries: list[Entry] = field(default_factory=list)
    ends: bool = False
    beats: bool = False


class Sender:
    """Sends what an outbox holds, on one connection after the other.

    Args:
        lock: Guards the outbox, and all of this. It is never held across a call of the socket.
        on_failure: Called, without the lock, with what ends the stream.
    """

    def __init__(self, lock: threading.Lock, *, on_failure: Callable[[OffloadError], None]) -> None:
        """Prepare; nothing is sent before `attach`."""
        self._lock = lock
        self._on_failure = on_failure
        # What the thread waits for. It sleeps through acknowledgements.
        self._sendable = threading.Condition(lock)
        self._outbox: Outbox | None = None
        self._connection: ByteStream | None = None
        # None once the connection is found to be lost.
        self._session: DeviceSession | None = None
        # The right to send.
        self._is_held = False
        self._leftover: Sequence[Piece] = ()
        self._controls: dict[str, Control] = {}
        self._is_draining = False
        self._is_ending = False
        self._is_over = False

    # To be called with the lock held.

    def attach(self, connection: ByteStream, session: DeviceSession, outbox: Outbox) -> None:
        """Send on a new connection from now on."""
        self._connection, self._session, self._outbox = connection, session, outbox
        self._leftover = ()
        self._controls = {}
        self._is_draining = False
        self.wake()

    def detach(self) -> None:
        """Send nothing more on the connection: it is lost."""
        self._connection = self._session = None

    @property
    def is_attached(self) -> bool:
        """Whether there is a connection that is not known to be lost."""
        return self._session is not None

    @property
    def is_draining(self) -> bool:
        """Whether the server has asked for no more frames on this connection."""
        return self._is_draining

    def drain(self) -> None:
        """Begin nothing more on this connection: the server is about to end."""
        self._is_draining = True

    def say(self, control: Control) -> None:
        """Send a control message on this connection.

        It takes the place of one of the same name that is not sent yet: so there are few, however
        long the connection stands still.
        """
        self._controls[control.name] = control
        self.wake()

    def end(self) -> None:
        """Say that the stream is complete, once all of it is sent."""
        self._is_ending = True
        self.wake()

    def stop(self) -> None:
        """Let the thread end: there is nothing more to send, ever."""
        self._is_over = True
        self.wake()

    def wake(self) -> None:
        """Look whether there is something to send."""
        self._sendable.notify()

    def take(self) -> Work | None:
        """Take the right to send, with what can be sent now; None if it is taken, or nothing can.

        Pass it on to `send_at_once`, which gives the right back.
        """
        return self._take() if self._can_send() else None

    # To be called without the lock.

    def send_at_once(self, work: Work | None) -> None:
        """Send what can be sent, as far as the socket takes it; leave the rest to the thread."""
        if work is None:
            return
        try:
            work.leftover = work.connection.send_at_once(work.leftover or self._encode(work))
        except SessionLost:
            self._hang_up(work)
        except OffloadError as error:
            self._on_failure(error)
        self._give_up_right(work)

    def beat(self, session: DeviceSession) -> None:
        """Send a sign of life, unless somebody is sending, or the session is not this one."""
        with self._lock:
            if self._is_held or self._leftover or self._session is not session:
                return
            assert self._connection is not None
            self._is_held = True
            work = Work(connection=self._connection, session=session, beats=True)
        self.send_at_once(work)

    def run(self) -> None:
        """Send what nobody else does, until `stop`."""
        try:
            while (work := self._next_work()) is not None:
                try:
                    work.connection.send(work.leftover or self._encode(work))
                except SessionLost:
                    self._hang_up(work)
                work.leftover = ()
                self._give_up_right(work)
        except OffloadError as error:
            self._on_failure(error)

    def _next_work(self) -> Work | None:
        """Wait for something that can be sent now; None at the end."""
        with self._sendable:
            self._sendable.wait_for(lambda: self._is_over or self._can_send())
            return None if self._is_over else self._take()

    def _can_send(self) -> bool:
        if self._is_held or self._session is None or self._session.is_closed:
            return False
        return bool(self._leftover or self._controls) or self._goes_on(self._session)

    def _goes_on(self, session: DeviceSession) -> bool:
        """Return whether there is a frame to send, or the end."""
        if self._is_draining:
            return False
        if self._box.has_unsent:
            return True
        return self._is_ending and self._is_all_sent and not session.is_ending

    @property
    def _box(self) -> Outbox:
        assert self._outbox is not None, "there is a session"
        return self._outbox

    @property
    def _is_all_sent(self) -> bool:
        return not self._box.has_unsent and self._box.window_stop == self._box.next_seq

    def _take(self) -> Work:
        assert self._session is not None
        assert self._connection is not None
        self._is_held = True
        leftover, self._leftover = self._leftover, ()
        work = Work(connection=self._connection, session=self._session, leftover=leftover)
        if not leftover:
            work.controls, self._controls = list(self._controls.values()), {}
        if not leftover and self._goes_on(self._session):
            now = time.monotonic()
            gathered = 0
            while self._box.has_unsent and gathered < GATHERED_BYTES:
                entry = self._box.take(now)
                gathered += entry.payload_bytes + USUAL_ENVELOPE_BYTES
                work.entries.append(entry)
            work.ends = self._is_ending and self._is_all_sent
        return work

    def _hang_up(self, work: Work) -> None:
        """Send no more on a connection that is lost; who receives on it learns it by that."""
        with self._lock:
            if self._session is work.session:
                self._session = None
        work.connection.close()

    def _give_up_right(self, work: Work) -> None:
        with self._lock:
            self._is_held = False
            # What is left of a message belongs to the connection that had its beginning.
            if work.connection is self._connection:
                self._leftover = work.leftover
            if self._can_send():
                self.wake()

    def _encode(self, work: Work) -> list[Piece]:
        """Return the pieces of what is to be sent.

        Raises:
            SessionLost: The cloud has ended the session meanwhile.
        """
        try:
            if work.beats:
                work.session.send_heartbeat()
            for control in work.controls:
                work.session.send_control(control)
            for entry in work.entries:
                self._queue(work.session, entry)
            if work.ends:
                work.session.send_end()
        except LocalProtocolError as error:
            if work.session.is_closed:
                raise SessionLost("session was closed by the server") from error
            raise
        return work.session.take_outgoing()

    def _queue(self, session: DeviceSession, entry: Entry) -> None:
        message = entry.message()
        if isinstance(message, Ended):
            session.send_ended(message)
            return
        try:
            entry.message_bytes = _send_frame(session, message)
        except PayloadError as error:
            with self._lock:
                self._box.fail(entry, task="", reason=str(error))
            failed = entry.message()
            assert isinstance(failed, Ended)
            session.send_ended(failed)


def _send_frame(session: DeviceSession, frame: Frame) -> int:
    """Queue a frame and return its size; without its padding if that is too much.

    Raises:
        PayloadError: It is too large by itself.
    """
    try:
        return session.send_frame(frame)
    except PayloadError:
        if not frame.padding_bytes:
            raise
        return session.send_frame(replace(frame, padding_bytes=0))

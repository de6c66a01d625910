"""Keep one stream's frames flowing to the cloud, over lost connections and restarted servers.

Frames are sent by the thread that puts them in, as long as the socket takes them at once; else by a
sender thread, so that computing and sending overlap. A link thread connects, receives and
reconnects. Frames stay in the `Outbox` until the cloud has stored them.

    uplink = Uplink(servers=(Server(host="cloud", port=8089),), ...)
    uplink.start()
    welcome = uplink.wait_until_open(timeout_s=1.0)
    if uplink.wait_for_room(timeout_s=0.2):
        uplink.put_frame(frame, captured_s=now)
    for delivery in uplink.take_deliveries(): ...
    uplink.finish(timeout_s=None)              # the cloud confirms that it has everything
"""

import logging
import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, cast

from offload.auth import Token, new_nonce
from offload.errors import (
    LocalProtocolError,
    OffloadError,
    PayloadError,
    RemoteProtocolError,
    ServerUnavailable,
    SessionLost,
)
from offload.messages import (
    DRAIN,
    WATCH,
    Acknowledgement,
    Control,
    EndConfirmed,
    Ended,
    Frame,
    Open,
    OutcomeRange,
    TaskTime,
    Welcome,
)
from offload.outbox import Delivered, Entry, Outbox
from offload.session import DeviceSession, Event
from offload.transport import Connection, connect
from offload.wire import Piece

logger = logging.getLogger(__name__)

# One address gets so long to answer a connection, and then its handshake; a sleeping radio link
# needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# A thread that is still asking the network for a name or a connection is not waited for.
CLOSE_TIMEOUT_S: Final = 0.5

# Waits between attempts are drawn from 0 to a bound that doubles ("full jitter"), so that a
# thousand devices do not come back in step with each other when their server does.
FIRST_RETRY_BOUND_S: Final = 0.2
LAST_RETRY_BOUND_S: Final = 5.0

# Small messages that waited for the socket go out together, so many bytes at a time: enough to make
# the system call cheap, and no more, since what is handed over can no longer be held back.
GATHERED_BYTES: Final = 64 * 1024
USUAL_ENVELOPE_BYTES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a cloud server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """How the connection is doing, for reports.

    Attributes:
        connected: Whether a session is open.
        in_flight: Frames that wait for their acknowledgement.
        sent_bytes: Bytes sent in all, over all connections.
        reconnects: Sessions opened after the first.
        resent: Frames sent again after a reconnect.
        cloud_load: Share of the cloud's processors in use, as it said last.
    """

    connected: bool = False
    in_flight: int = 0
    sent_bytes: int = 0
    reconnects: int = 0
    resent: int = 0
    cloud_load: float = 0.0


class Uplink:
    """Delivers one stream to the cloud; one thread puts frames in, all methods are its own to call.

    Args:
        servers: Where to connect; each is tried in turn.
        token: The device's token, or None.
        opening: App, fingerprint, stream and device.
        window: Most messages sent and not yet acknowledged.
        retry_for_s: How long to keep trying; None: 30 s for the first session, then for ever.
    """

    FIRST_RETRY_FOR_S: Final = 30.0

    def __init__(
        self,
        *,
        servers: Sequence[Server],
        token: Token | None,
        opening: Open,
        window: int,
        retry_for_s: float | None = None,
    ) -> None:
        """Prepare; nothing is sent before `start`."""
        self._servers = servers
        self._token = token
        self._opening = opening
        self._window = window
        self._retry_for_s = retry_for_s
        # Guards all below. It is never held across a socket call.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        # What the sender waits for, on the same lock: it sleeps through acknowledgements.
        self._sendable = threading.Condition(self._lock)
        self._outbox: Outbox | None = None
        self._session: DeviceSession | None = None
        self._connection: Connection | None = None
        self._connecting: Connection | None = None
        # Whoever is at the socket; only the right's holder encodes or sends.
        self._is_sending = False
        self._leftover: Sequence[Piece] = ()
        self._welcome: Welcome | None = None
        self._failure: OffloadError | None = None
        self._deliveries: list[Delivered] = []
        self._task_times: list[TaskTime] = []
        self._draining = False
        self._ending = False
        self._ended = False
        self._closing = False
        self._sent_bytes = 0
        self._sessions = 0
        self._cloud_load = 0.0
        self._watched_fps = 0.0
        self._fruitless_sessions = 0
        self._threads = [
            threading.Thread(target=self._run_link, name="uplink-link", daemon=True),
            threading.Thread(target=self._run_sender, name="uplink-sender", daemon=True),
        ]

    def start(self) -> None:
        """Begin to connect."""
        for each in self._threads:
            each.start()

    def wait_until_open(self, *, timeout_s: float) -> Welcome | None:
        """Return where the stream stands in the cloud, or None if no session is open by then.

        Raises:
            ServerUnavailable: No server answered in time.
            AuthError: The token was refused, or the server could not prove that it knows it.
            HandshakeError: The two ends do not fit.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._welcome is not None or self._failure is not None, timeout_s
            )
            self._raise_failure()
            return self._welcome

    @property
    def room(self) -> int:
        """How many more frames may be put in now.

        Raises:
            OffloadError: The stream cannot go on.
        """
        self._raise_failure()
        return self._window - len(self._box)

    @property
    def watched_fps(self) -> float:
        """How many frames a second the cloud wants to see: `math.inf` for all, 0 for none."""
        return self._watched_fps

    def wait_for_room(self, *, timeout_s: float) -> bool:
        """Wait until the window has room for another frame; False if it has none by then."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure is not None or not self._box.is_full, timeout_s
            )
            self._raise_failure()
            return not self._box.is_full

    def put_frame(self, frame: Frame, *, captured_s: float) -> None:
        """Hand a frame over; it is kept until the cloud has stored its outcome."""
        with self._lock:
            self._box.put_frame(frame, captured_s=captured_s)
            work = self._take_work() if self._can_send() else None
        self._send_at_once(work)

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended on the device; their outcome is stored in the cloud, too."""
        with self._lock:
            self._box.put_ended(ended, captured_s=captured_s)
            work = self._take_work() if self._can_send() else None
        self._send_at_once(work)

    def take_deliveries(self) -> list[Delivered]:
        """Return the frames that were finished since the last call.

        Raises:
            OffloadError: The stream cannot go on; for example it was taken over.
        """
        # Asked for every frame, and mostly there are none.
        if not self._deliveries:
            self._raise_failure()
            return []
        with self._lock:
            deliveries, self._deliveries = self._deliveries, []
            return deliveries

    def take_task_times(self) -> list[TaskTime]:
        """Return what the cloud's tasks cost since the last call."""
        if not self._task_times:
            return []
        with self._lock:
            times, self._task_times = self._task_times, []
            return times

    def finish(self, *, timeout_s: float | None) -> bool:
        """Say that the stream is complete and wait until the cloud confirms that it has all of it.

        Returns:
            Whether it did within the time; None waits for as long as reconnecting goes on.
        """
        with self._changed:
            self._ending = True
            self._sendable.notify()
            self._changed.wait_for(lambda: self._ended or self._failure is not None, timeout_s)
            if not self._ended:
                self._raise_failure()
            return self._ended

    def close(self) -> None:
        """End the connection and the threads; frames that were not acknowledged stay so."""
        with self._changed:
            self._closing = True
            connections = (self._connection, self._connecting)
            self._wake_all()
        for connection in connections:
            if connection is not None:
                connection.close()
        for each in self._threads:
            if each.is_alive():
                each.join(CLOSE_TIMEOUT_S)

    def state(self) -> LinkState:
        """Return how the connection is doing."""
        with self._changed:
            live = self._connection.sent_bytes if self._connection else 0
            return LinkState(
                connected=self._session is not None,
                in_flight=self._outbox.frames if self._outbox is not None else 0,
                sent_bytes=self._sent_bytes + live,
                reconnects=max(0, self._sessions - 1),
                resent=self._outbox.resent if self._outbox is not None else 0,
                cloud_load=self._cloud_load,
            )

    @property
    def _box(self) -> Outbox:
        assert self._outbox is not None, "the uplink is open"
        return self._outbox

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: OffloadError) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._wake_all()

    def _wake_all(self) -> None:
        self._changed.notify_all()
        self._sendable.notify()

    # The link thread: connect, receive, reconnect.

    def _run_link(self) -> None:
        try:
            while not self._closing and not self._ended:
                connection, session, events = self._connect()
                position = self._begin(connection, session, events)
                try:
                    self._receive(connection, session)
                except SessionLost as error:
                    self._lose(connection, error)
                finally:
                    connection.close()
                self._pause_without_progress(position)
        except OffloadError as error:
            self._fail(error)

    def _connect(self) -> tuple[Connection, DeviceSession, list[Event]]:
        """Try the servers in turn, with growing pauses, until one welcomes the stream."""
        began = time.monotonic()
        limit_s = self._retry_for_s
        if limit_s is None and self._sessions == 0:
            limit_s = self.FIRST_RETRY_FOR_S
        bound_s = FIRST_RETRY_BOUND_S
        attempt = 0
        while True:
            server = self._servers[attempt % len(self._servers)]
            attempt += 1
            try:
                return self._shake_hands(server)
            except SessionLost as error:
                waited_s = time.monotonic() - began
                if self._closing or (limit_s is not None and waited_s >= limit_s):
                    raise ServerUnavailable(
                        f"{error}; tried for {waited_s:.0f} s: is the server running?"
                    ) from error
                if attempt == 1:
                    logger.warning("server_unavailable", extra={"reason": str(error)})
            pause_s = random.uniform(0, bound_s)
            bound_s = min(2 * bound_s, LAST_RETRY_BOUND_S)
            with self._changed:
                self._changed.wait_for(lambda: self._closing, pause_s)

    def _shake_hands(self, server: Server) -> tuple[Connection, DeviceSession, list[Event]]:
        position = self._outbox.position if self._outbox is not None else 0
        connection = connect(server.host, server.port, timeout_s=CONNECT_TIMEOUT_S)
        with self._lock:
            self._connecting = connection
        try:
            if self._closing:
                raise SessionLost("the stream was closed while it was connecting")
            connection.set_timeout(CONNECT_TIMEOUT_S)
            session = DeviceSession(
                opening=replace(self._opening, position=position),
                token=self._token,
                nonce=new_nonce(),
            )
            events: list[Event] = []
            while not events:
                connection.send(session.take_outgoing())
                events += session.received(connection.receive_into(session.buffer()))
            connection.set_timeout(None)
        except TimeoutError as error:
            connection.close()
            raise SessionLost(
                f"{server.host} did not answer within {CONNECT_TIMEOUT_S:.0f} s"
            ) from error
        except BaseException:
            connection.close()
            raise
        return connection, session, events

    def _begin(self, connection: Connection, session: DeviceSession, events: list[Event]) -> int:
        """Take the session into use, and return where the cloud says to go on."""
        welcome = events[0]
        assert isinstance(welcome, Welcome)
        with self._changed:
            if self._outbox is None:
                self._outbox = Outbox(position=welcome.next_seq, max_entries=self._window)
            self._deliver(welcome.next_seq, welcome.exceptions, ())
            self._outbox.rewind()
            self._session, self._connection = session, connection
            self._leftover = ()
            self._welcome = welcome
            # Whoever watches says so again: the server may be another one.
            self._watched_fps = 0.0
            self._sessions += 1
            self._draining = False
            # Before the first frame: it may be one that is to be watched.
            for each in events[1:]:
                self._note(each)
            self._wake_all()
        logger.info("session_opened", extra={"next_seq": welcome.next_seq})
        return welcome.next_seq

    def _pause_without_progress(self, position: int) -> None:
        """Wait after a session in which nothing was acknowledged: the next may end the same way."""
        if self._ended or self._box.position > position:
            self._fruitless_sessions = 0
            return
        self._fruitless_sessions += 1
        bound_s = min(
            FIRST_RETRY_BOUND_S * 2 ** min(self._fruitless_sessions, 10), LAST_RETRY_BOUND_S
        )
        with self._changed:
            self._changed.wait_for(lambda: self._closing, random.uniform(0, bound_s))

    def _receive(self, connection: Connection, session: DeviceSession) -> None:
        while not self._ended:
            count = connection.receive_into(session.buffer())
            with self._changed:
                for event in session.received(count):
                    self._note(event)
                self._changed.notify_all()

    def _note(self, event: Event) -> None:
        match event:
            case Acknowledgement():
                self._deliver(event.next_seq, event.exceptions, event.residences_s)
                self._task_times += event.task_times
                self._cloud_load = event.load
            case EndConfirmed():
                self._ended = True
                self._sendable.notify()
            case Control() if event.name == DRAIN:
                self._draining = True
            case Control() if event.name == WATCH:
                self._watched_fps = _watched_fps(event)
            case _:
                # A control message that this version does not know.
                pass

    def _deliver(
        self, next_seq: int, exceptions: Sequence[OutcomeRange], residences_s: Sequence[float]
    ) -> None:
        if next_seq > self._box.next_seq:
            raise RemoteProtocolError(
                f"server stands at {next_seq}, this device at {self._box.next_seq}: is another one "
                "sending the same stream?"
            )
        self._deliveries += self._box.acknowledge(
            next_seq, exceptions, residences_s, time.monotonic()
        )

    def _lose(self, connection: Connection, error: SessionLost) -> None:
        with self._changed:
            if self._ended or self._closing:
                return
            self._session = self._connection = None
            self._sent_bytes += connection.sent_bytes
            in_flight = self._box.frames
        logger.warning("session_lost", extra={"reason": str(error), "in_flight": in_flight})

    # Sending: by the thread that puts in, or by the sender thread.

    def _send_at_once(self, work: "_Work | None") -> None:
        """Send what can be sent, as far as the socket takes it; leave the rest to the sender."""
        if work is None:
            return
        try:
            work.leftover = work.connection.send_at_once(work.leftover or self._encode(work))
        except SessionLost:
            self._hang_up(work)
        except OffloadError as error:
            self._fail(error)
        self._give_up_right(work)

    def _run_sender(self) -> None:
        try:
            while (work := self._next_work()) is not None:
                try:
                    work.connection.send(work.leftover or self._encode(work))
                except SessionLost:
                    self._hang_up(work)
                work.leftover = ()
                self._give_up_right(work)
        except OffloadError as error:
            self._fail(error)

    def _next_work(self) -> "_Work | None":
        """Wait for something that can be sent now; None at the end."""
        with self._sendable:
            self._sendable.wait_for(lambda: self._is_over or self._can_send())
            return None if self._is_over else self._take_work()

    @property
    def _is_over(self) -> bool:
        return self._closing or self._ended or self._failure is not None

    def _can_send(self) -> bool:
        if self._is_sending or self._session is None or self._session.is_closed:
            return False
        if self._leftover:
            return True
        if self._draining:
            return False
        return self._box.has_unsent or (self._ending and not self._session.is_ending)

    def _take_work(self) -> "_Work":
        assert self._session is not None
        assert self._connection is not None
        self._is_sending = True
        leftover, self._leftover = self._leftover, ()
        work = _Work(connection=self._connection, session=self._session, leftover=leftover)
        if not leftover:
            now = time.monotonic()
            gathered = 0
            while self._box.has_unsent and gathered < GATHERED_BYTES:
                entry = self._box.take(now)
                gathered += entry.payload_bytes + USUAL_ENVELOPE_BYTES
                work.entries.append(entry)
            work.ends = self._ending and not self._box.has_unsent
        return work

    def _hang_up(self, work: "_Work") -> None:
        """Send no more on a connection that is lost; the link thread learns it and reconnects."""
        with self._lock:
            if self._session is work.session:
                self._session = None
        work.connection.close()

    def _give_up_right(self, work: "_Work") -> None:
        with self._lock:
            self._is_sending = False
            # What is left of a message belongs to the connection that had its beginning.
            if work.connection is self._connection:
                self._leftover = work.leftover
            if self._can_send():
                self._sendable.notify()

    def _encode(self, work: "_Work") -> list[Piece]:
        """Return the pieces of what is to be sent.

        Raises:
            SessionLost: The cloud has ended the session meanwhile.
        """
        try:
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
            entry.message_bytes = session.send_frame(message)
        except PayloadError as error:
            with self._lock:
                self._box.fail(entry, task="", reason=str(error))
            failed = entry.message()
            assert isinstance(failed, Ended)
            session.send_ended(failed)


def _watched_fps(control: Control) -> float:
    fps = control.body.get("fps")
    if fps is None:
        return math.inf
    if type(fps) not in (int, float) or not 0 <= cast("float", fps) < math.inf:
        raise RemoteProtocolError("server asks for a number of frames a second that is none")
    return float(cast("float", fps))


@dataclass(slots=True, kw_only=True)
class _Work:
    """What one thread sends: entries with perhaps the end, or what is left of earlier ones."""

    connection: Connection
    session: DeviceSession
    leftover: Sequence[Piece]
    entries: list[Entry] = field(default_factory=list)
    ends: bool = False

"""Keep one stream's frames flowing to the cloud, over lost connections and restarted servers.

An `Uplink` has two threads: one connects, receives and reconnects, the other sends, so that
computing and sending overlap. Frames stay in the `Outbox` until the cloud has stored them.

    uplink = Uplink(servers=(Server(host="cloud", port=8089),), ...)
    uplink.start()
    welcome = uplink.wait_until_open(timeout_s=1.0)
    if uplink.wait_for_room(timeout_s=0.2):
        uplink.put_frame(frame, captured_s=now)
    for delivery in uplink.take_deliveries(): ...
    uplink.finish(timeout_s=None)              # the cloud confirms that it has everything
"""

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

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

logger = logging.getLogger(__name__)

# One address gets so long to answer a connection, and then its handshake; a sleeping radio link
# needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# Waits between attempts are drawn from 0 to a bound that doubles ("full jitter"), so that a
# thousand devices do not come back in step with each other when their server does.
FIRST_RETRY_BOUND_S: Final = 0.2
LAST_RETRY_BOUND_S: Final = 5.0

# The control message by which the cloud asks for a pause: it is about to end and finishes what it
# has.
DRAIN: Final = "drain"


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

    connected: bool
    in_flight: int
    sent_bytes: int
    reconnects: int
    resent: int
    cloud_load: float


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
        self._changed = threading.Condition()
        self._outbox: Outbox | None = None
        self._session: DeviceSession | None = None
        self._connection: Connection | None = None
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
        with self._changed:
            self._box.put_frame(frame, captured_s=captured_s)
            self._changed.notify_all()

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended on the device; their outcome is stored in the cloud, too."""
        with self._changed:
            self._box.put_ended(ended, captured_s=captured_s)
            self._changed.notify_all()

    def take_deliveries(self) -> list[Delivered]:
        """Return the frames that were finished since the last call.

        Raises:
            OffloadError: The stream cannot go on; for example it was taken over.
        """
        with self._changed:
            deliveries, self._deliveries = self._deliveries, []
            if not deliveries:
                self._raise_failure()
            return deliveries

    def take_task_times(self) -> list[TaskTime]:
        """Return what the cloud's tasks cost since the last call."""
        with self._changed:
            times, self._task_times = self._task_times, []
            return times

    def finish(self, *, timeout_s: float | None) -> bool:
        """Say that the stream is complete and wait until the cloud confirms that it has all of it.

        Returns:
            Whether it did within the time; None waits for as long as reconnecting goes on.
        """
        with self._changed:
            self._ending = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._ended or self._failure is not None, timeout_s)
            if not self._ended:
                self._raise_failure()
            return self._ended

    def close(self) -> None:
        """End the connection and the threads; frames that were not acknowledged stay so."""
        with self._changed:
            self._closing = True
            connection = self._connection
            self._changed.notify_all()
        if connection is not None:
            connection.close()
        for each in self._threads:
            if each.is_alive():
                each.join(CONNECT_TIMEOUT_S)

    def state(self) -> LinkState:
        """Return how the connection is doing."""
        with self._changed:
            live = self._connection.sent_bytes if self._connection else 0
            return LinkState(
                connected=self._session is not None,
                in_flight=self._outbox.frames if self._outbox else 0,
                sent_bytes=self._sent_bytes + live,
                reconnects=max(0, self._sessions - 1),
                resent=self._outbox.resent if self._outbox else 0,
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
            self._changed.notify_all()

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
        position = self._outbox.position if self._outbox else 0
        connection = connect(server.host, server.port, timeout_s=CONNECT_TIMEOUT_S)
        try:
            connection.set_timeout(CONNECT_TIMEOUT_S)
            session = DeviceSession(
                opening=replace(self._opening, position=position),
                token=self._token,
                nonce=new_nonce(),
            )
            events: list[Event] = []
            while not events:
                connection.send(session.take_outgoing())
                events = session.received(connection.receive_into(session.buffer()))
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
            self._welcome = welcome
            self._sessions += 1
            self._draining = False
            self._changed.notify_all()
        logger.info("session_opened", extra={"next_seq": welcome.next_seq})
        for each in events[1:]:
            self._handle(each)
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
            for event in session.received(count):
                self._handle(event)

    def _handle(self, event: Event) -> None:
        with self._changed:
            match event:
                case Acknowledgement():
                    self._deliver(event.next_seq, event.exceptions, event.residences_s)
                    self._task_times += event.task_times
                    self._cloud_load = event.load
                case EndConfirmed():
                    self._ended = True
                case Control() if event.name == DRAIN:
                    self._draining = True
                case _:
                    # A control message that this version does not know.
                    pass
            self._changed.notify_all()

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

    # The sender thread.

    def _run_sender(self) -> None:
        try:
            while (work := self._next_send()) is not None:
                connection, session, entry = work
                try:
                    self._send(connection, session, entry)
                except SessionLost:
                    # The link thread learns it from the same socket and reconnects.
                    connection.close()
                    self._wait_for_other(session)
        except OffloadError as error:
            self._fail(error)

    def _next_send(self) -> tuple[Connection, DeviceSession, Entry | None] | None:
        """Wait for an entry, or for the end of the stream (None), that can be sent now."""
        with self._changed:
            self._changed.wait_for(self._can_send)
            if self._closing or self._ended or self._failure is not None:
                return None
            assert self._session is not None
            assert self._connection is not None
            entry = self._box.take(time.monotonic()) if self._box.has_unsent else None
            return self._connection, self._session, entry

    def _can_send(self) -> bool:
        if self._closing or self._ended or self._failure is not None:
            return True
        if self._session is None or self._draining:
            return False
        return self._box.has_unsent or (self._ending and not self._session.is_ending)

    def _send(self, connection: Connection, session: DeviceSession, entry: Entry | None) -> None:
        try:
            self._queue(session, entry)
        except LocalProtocolError as error:
            if session.is_closed:
                # The cloud ended the session between the choice of the entry and now.
                raise SessionLost("session was closed by the server") from error
            raise
        connection.send(session.take_outgoing())

    def _queue(self, session: DeviceSession, entry: Entry | None) -> None:
        if entry is None:
            session.send_end()
            return
        message = entry.message()
        if isinstance(message, Frame):
            self._queue_frame(session, entry, message)
        else:
            session.send_ended(message)

    def _queue_frame(self, session: DeviceSession, entry: Entry, frame: Frame) -> None:
        try:
            session.send_frame(frame)
        except PayloadError as error:
            with self._changed:
                self._box.fail(entry, task="", reason=str(error))
            message = entry.message()
            assert isinstance(message, Ended)
            session.send_ended(message)

    def _wait_for_other(self, session: DeviceSession) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._session is not session
                    or self._closing
                    or self._ended
                    or self._failure is not None
                )
            )

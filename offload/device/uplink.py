"""Keep one stream's frames flowing to the cloud, over lost connections and restarted servers.

A link thread connects, receives, reconnects and gives signs of life; who sends, and when, is in
``sending``. Frames stay in the `Outbox` until the cloud has stored them; with a spool, a `Spooler`
keeps them on disk, too.

    uplink = Uplink(servers=(Server(host="cloud", port=8089),), ...)
    uplink.start()
    welcome = uplink.wait_until_open(timeout_s=1.0)
    if uplink.wait_for_room(timeout_s=0.2):
        uplink.put_frame(frame, captured_s=now)
    for delivery in uplink.take_deliveries(): ...
    uplink.finish(timeout_s=None)              # the cloud confirms that it has everything
"""

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, cast

from offload.device.dialer import FIRST_RETRY_BOUND_S, LAST_RETRY_BOUND_S, Dialer, OpenSession
from offload.device.outbox import Delivered, Outbox, SpooledOutbox
from offload.device.sending import Sender
from offload.errors import OffloadError, RemoteProtocolError, SessionLost
from offload.messages import (
    CHANGES,
    DRAIN,
    TELEMETRY,
    WATCH,
    Acknowledgement,
    Control,
    EndConfirmed,
    Frame,
    Open,
    OutcomeRange,
    SteeringMode,
    SteeringRequest,
    SteeringState,
    TaskTime,
    Welcome,
)
from offload.messages.envelope import read_boolean
from offload.session import SILENCE_S, STALL_S, TICK_S, DeviceSession, Event
from offload.telemetry import events
from offload.telemetry.recorder import Recorder
from offload.transport import ByteStream

if TYPE_CHECKING:
    from offload.device.spooling import Spooler
    from offload.spool import Spool

# A thread that is still asking the network for a name or a connection is not waited for.
CLOSE_TIMEOUT_S: Final = 0.5

# Changes that wait for a main thread that is held up, by its source for example. The cloud sends
# the next one when it has an answer, or after 5 s: who asked for older ones was told so long ago.
MAX_STEERING_REQUESTS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """How the connection is doing, for reports.

    Attributes:
        connected: Whether a session is open.
        in_flight: Frames that wait for their acknowledgement.
        sent_bytes: Bytes sent in all, over all connections.
        reconnects: Sessions opened after the first.
        resent: Frames sent again after a reconnect.
        resumed: Frames taken over from an earlier run's spool.
        spooled: Frames that are on disk, and nowhere else while this run goes on.
        spool_bytes: What the spool holds; None without one.
        spool_limit_bytes: What it may hold; None without one.
        cloud_load: Share of the cloud's processors in use, as it said last.
    """

    connected: bool = False
    in_flight: int = 0
    sent_bytes: int = 0
    reconnects: int = 0
    resent: int = 0
    resumed: int = 0
    spooled: int = 0
    spool_bytes: int | None = None
    spool_limit_bytes: int | None = None
    cloud_load: float = 0.0


class Uplink:
    """Delivers one stream to the cloud; one thread puts frames in, all methods are its own to call.

    Args:
        dialer: Opens sessions.
        opening: App, fingerprint, stream and device.
        window: Most messages sent and not yet acknowledged.
        recorder: Is told of sessions that are opened and lost.
        spool: Where unacknowledged frames are kept on disk, or None.
    """

    def __init__(
        self,
        *,
        dialer: Dialer,
        opening: Open,
        window: int,
        recorder: Recorder,
        spool: "Spool | None" = None,
    ) -> None:
        """Prepare; nothing is sent before `start`."""
        self._dialer = dialer
        self._opening = opening
        self._window = window
        self._recorder = recorder
        # Guards all below. It is never held across a call of the socket or the disk.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sender = Sender(self._lock, on_failure=self._fail)
        self._outbox: Outbox | None = None
        self._spooler = _spooler(spool, self._lock)
        self._connection: ByteStream | None = None
        self._welcome: Welcome | None = None
        self._failure: OffloadError | None = None
        self._deliveries: list[Delivered] = []
        self._task_times: list[TaskTime] = []
        self._requests = deque[SteeringRequest](maxlen=MAX_STEERING_REQUESTS)
        self._steering: SteeringState | None = None
        self._ended = False
        self._closing = False
        self._sent_bytes = 0
        self._sessions = 0
        self._cloud_load = 0.0
        self._watched_fps = 0.0
        self._wants_samples = False
        self._fruitless_sessions = 0
        self._threads = [
            threading.Thread(target=self._run_link, name="uplink-link", daemon=True),
            threading.Thread(target=self._sender.run, name="uplink-sender", daemon=True),
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
        return self._box.room

    @property
    def next_seq(self) -> int:
        """The number of the next frame to put in, once the first session is open."""
        return self._box.next_seq

    @property
    def is_behind(self) -> bool:
        """Whether frames go to disk, or will soon: while there is no connection, and afterwards.

        False without a spool, which is the only place where work can gather.
        """
        box = self._outbox
        return isinstance(box, SpooledOutbox) and (not box.is_online or box.has_backlog)

    @property
    def is_resting(self) -> bool:
        """Whether nothing can be waited for: there is no connection, and the spool keeps it all."""
        with self._lock:
            box, spooler = self._outbox, self._spooler
            if spooler is None or not isinstance(box, SpooledOutbox):
                return False
            return not box.is_online and spooler.kept == box.frames

    @property
    def cloud_load(self) -> float:
        """Part of the cloud's processors in use, as it said last."""
        return self._cloud_load

    def limit_window(self, entries: int) -> None:
        """Let no more than so many messages be in flight, as far as the window permits."""
        with self._lock:
            self._box.max_entries = min(self._window, entries)

    @property
    def watched_fps(self) -> float:
        """How many frames a second the cloud wants to see: `math.inf` for all, 0 for none."""
        return self._watched_fps

    @property
    def wants_samples(self) -> bool:
        """Whether the cloud has asked how the run goes; see `say`."""
        return self._wants_samples

    def wait_for_room(self, *, timeout_s: float) -> bool:
        """Wait until the window has room for another frame; False if it has none by then."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._failure is not None or self._box.room > 0, timeout_s
            )
            self._raise_failure()
            return self._box.room > 0

    def put_frame(self, frame: Frame, *, captured_s: float) -> None:
        """Hand a frame over; it is kept until the cloud has stored its outcome."""
        with self._lock:
            # Only a spool asks for how long it has waited here.
            now = 0.0 if self._spooler is None else time.monotonic()
            self._box.put_frame(frame, captured_s=captured_s, now=now)
            work = self._sender.take()
        self._sender.send_at_once(work)

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended on the device; their outcome is stored in the cloud, too."""
        with self._lock:
            now = 0.0 if self._spooler is None else time.monotonic()
            self._box.put_ended(ended, captured_s=captured_s, now=now)
            work = self._sender.take()
        self._sender.send_at_once(work)

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

    def take_requests(self) -> list[SteeringRequest]:
        """Return the changes that the cloud has asked for since the last call, in order.

        For each of them call `say_steering`, whether it was made or not.
        """
        if not self._requests:
            return []
        with self._lock:
            requests = list(self._requests)
            self._requests.clear()
            return requests

    def say_steering(
        self,
        *,
        mode: SteeringMode,
        target: float | None,
        pinned: int | None,
        error: str | None = None,
        answers: SteeringRequest | None = None,
    ) -> None:
        """Tell the cloud how this device is steered: now, if connected, and after each welcome.

        Args:
            mode: Whether there is a scheduler to steer.
            target: Frames per second to reach; None without a scheduler.
            pinned: The split of all frames; None if the scheduler chooses it.
            error: Why the change was not made, one line; None if it was.
            answers: The change that this answers.
        """
        state = SteeringState(
            mode=mode,
            target_fps=target,
            pinned=pinned,
            error=error,
            answers=None if answers is None else answers.number,
        )
        with self._lock:
            self._steering = state.unprompted()
        self.say(state.control())

    def say(self, control: Control) -> None:
        """Send a control message, in the place of an older one of its name; only if connected."""
        with self._lock:
            if not self._sender.is_attached:
                return
            self._sender.say(control)
            work = self._sender.take()
        self._sender.send_at_once(work)

    def finish(self, *, timeout_s: float | None) -> bool:
        """Say that the stream is complete and wait until the cloud confirms that it has all of it.

        Returns:
            Whether it did within the time; None waits for as long as reconnecting goes on.
        """
        with self._changed:
            self._sender.end()
            self._changed.wait_for(lambda: self._ended or self._failure is not None, timeout_s)
            if not self._ended:
                self._raise_failure()
            return self._ended

    def close(self) -> None:
        """End the connection and the threads; what was not acknowledged goes to the spool."""
        with self._changed:
            self._closing = True
            connection = self._connection
            self._sender.stop()
            self._changed.notify_all()
        self._dialer.close()
        if connection is not None:
            connection.close()
        for each in self._threads:
            if each.is_alive():
                each.join(CLOSE_TIMEOUT_S)
        if self._spooler is not None:
            self._spooler.close()

    def state(self) -> LinkState:
        """Return how the connection is doing."""
        with self._changed:
            live = self._connection.sent_bytes if self._connection else 0
            spooler = self._spooler
            return LinkState(
                connected=self._sender.is_attached,
                in_flight=self._outbox.frames if self._outbox is not None else 0,
                sent_bytes=self._sent_bytes + live,
                reconnects=max(0, self._sessions - 1),
                resent=self._outbox.resent if self._outbox is not None else 0,
                resumed=spooler.resumed if spooler is not None else 0,
                spooled=spooler.kept if spooler is not None else 0,
                spool_bytes=None if spooler is None else spooler.used_bytes,
                spool_limit_bytes=None if spooler is None else spooler.capacity_bytes,
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
            self._sender.stop()
            self._changed.notify_all()

    # The link thread: connect, receive, reconnect.

    def _run_link(self) -> None:
        try:
            while not self._closing and not self._ended:
                self._pause_without_progress(self._run_session())
        except OffloadError as error:
            self._fail(error)

    def _run_session(self) -> int:
        """Open a session, use it to its end, and return where it began."""
        opened = self._dialer.dial(replace(self._opening, position=self._position))
        try:
            position = self._begin(opened)
            try:
                self._receive(opened.connection, opened.session)
            except OffloadError as error:
                if self._box.position > position:
                    self._dialer.note_progress()
                self._lose(opened.connection, self._dialer.note_end(error))
        finally:
            opened.connection.close()
        return position

    @property
    def _position(self) -> int:
        """Up to where the stream is known to be acknowledged."""
        if self._outbox is not None:
            return self._outbox.position
        return self._spooler.position if self._spooler is not None else 0

    def _begin(self, opened: OpenSession) -> int:
        """Take the session into use, and return where the cloud says to go on.

        Raises:
            SessionLost: The stream was closed meanwhile.
        """
        welcome = opened.events[0]
        assert isinstance(welcome, Welcome)
        with self._changed:
            if self._closing:
                # The spool may be closed by now.
                raise SessionLost("the stream was closed while it was connecting")
            if self._outbox is None:
                self._outbox = self._make_outbox(welcome.next_seq)
            self._deliver(Acknowledgement(next_seq=welcome.next_seq, exceptions=welcome.exceptions))
            self._outbox.rewind()
            self._set_online(True)
            self._connection = opened.connection
            self._welcome = welcome
            # Whoever watches says so again: the server may be another one.
            self._watched_fps = 0.0
            self._wants_samples = False
            self._sessions += 1
            # Whoever asked for a change was told that the connection was lost.
            self._requests.clear()
            self._sender.attach(opened.connection, opened.session, self._outbox)
            if self._steering is not None:
                self._sender.say(self._steering.control())
            # Before the first frame: it may be one that is to be watched.
            for each in opened.events[1:]:
                self._note(each)
            self._changed.notify_all()
        self._recorder.record(
            events.SessionOpened(
                at_s=self._recorder.now(),
                stream=self._opening.stream,
                device=self._opening.device,
                app=self._opening.app,
                next_seq=welcome.next_seq,
                peer=opened.peer,
            )
        )
        return welcome.next_seq

    def _make_outbox(self, next_seq: int) -> Outbox:
        if self._spooler is None:
            return Outbox(position=next_seq, max_entries=self._window)
        outbox = self._spooler.make_outbox(next_seq=next_seq, max_entries=self._window)
        self._spooler.start(outbox, on_moved=self._note_moved)
        return outbox

    def _note_moved(self) -> None:
        self._changed.notify_all()
        self._sender.wake()

    def _set_online(self, online: bool) -> None:
        if isinstance(self._outbox, SpooledOutbox):
            self._outbox.is_online = online

    def _pause_without_progress(self, position: int) -> None:
        """Wait after a session in which nothing was acknowledged: the next may end the same way."""
        if self._ended or self._box.position > position:
            self._fruitless_sessions = 0
            return
        self._fruitless_sessions += 1
        bound_s = min(
            FIRST_RETRY_BOUND_S * 2 ** min(self._fruitless_sessions, 10), LAST_RETRY_BOUND_S
        )
        self._dialer.pause(bound_s)

    def _receive(self, connection: ByteStream, session: DeviceSession) -> None:
        heard_s = beat_s = time.monotonic()
        sent_bytes = connection.sent_bytes
        connection.set_timeout(TICK_S)
        while not self._ended:
            try:
                count = connection.receive_into(session.buffer())
            except TimeoutError:
                count = 0
            now = time.monotonic()
            if count:
                heard_s = now
                with self._changed:
                    self._set_online(True)
                    for event in session.received(count):
                        self._note(event)
                    self._changed.notify_all()
            elif now - heard_s >= SILENCE_S:
                raise SessionLost(f"server was silent for {now - heard_s:.0f} s")
            elif now - heard_s >= STALL_S:
                with self._changed:
                    self._set_online(False)
                    self._changed.notify_all()
            if now - beat_s >= TICK_S:
                if connection.sent_bytes == sent_bytes:
                    self._sender.beat(session)
                beat_s, sent_bytes = now, connection.sent_bytes

    def _note(self, event: Event) -> None:
        match event:
            case Acknowledgement():
                self._deliver(event)
                self._task_times += event.task_times
                self._cloud_load = event.load
            case EndConfirmed():
                self._ended = True
                self._sender.stop()
            case Control() if event.name == DRAIN:
                self._sender.drain()
            case Control() if event.name == WATCH:
                self._watched_fps = _watched_fps(event)
            case Control() if event.name == TELEMETRY:
                self._wants_samples = read_boolean(event.body, "wanted")
            case Control() if event.name in CHANGES:
                self._requests.append(SteeringRequest.read(event))
            case _:
                # A control message that this version does not know.
                pass

    def _deliver(self, said: Acknowledgement) -> None:
        if said.next_seq > self._box.window_stop:
            raise RemoteProtocolError(
                f"server stands at {said.next_seq}, this device at {self._box.window_stop}: is "
                "another one sending the same stream?"
            )
        self._deliveries += self._box.acknowledge(
            said.next_seq,
            said.exceptions,
            said.residences_s,
            time.monotonic(),
            decodes_s=said.decodes_s,
        )
        if self._spooler is not None and self.is_behind:
            self._spooler.wake()

    def _lose(self, connection: ByteStream, error: OffloadError) -> None:
        if self._sender.is_draining or not isinstance(error, SessionLost):
            self._dialer.try_next()
        with self._changed:
            if self._ended or self._closing:
                return
            self._connection = None
            self._sender.detach()
            self._set_online(False)
            self._sent_bytes += connection.sent_bytes
            in_flight = self._box.frames
        self._recorder.record(
            events.SessionLost(
                at_s=self._recorder.now(),
                stream=self._opening.stream,
                reason=str(error),
                in_flight=in_flight,
            )
        )


def _spooler(spool: "Spool | None", lock: threading.Lock) -> "Spooler | None":
    if spool is None:
        return None
    # Here, because it loads SQLite, which a device without a spool does without.
    from offload.device.spooling import Spooler

    return Spooler(spool, lock)


def _watched_fps(control: Control) -> float:
    fps = control.body.get("fps")
    if fps is None:
        return math.inf
    if type(fps) not in (int, float) or not 0 <= cast("float", fps) < math.inf:
        raise RemoteProtocolError("server asks for a number of frames a second that is none")
    return float(cast("float", fps))

"""The cloud program: finish the frames of many devices, store their results, acknowledge.

    python3 cloud_server_coordinator.py --app ball_tracking_example --results sqlite:results.db

One frame's path: a `DeviceLink` receives it, a `Stream` runs the tasks behind its split on a lane
of the thread pool, the `ResultsWriter` commits its outcome together with the stream's position, and
only then the device gets its acknowledgement. Everything but tasks and commits happens on the event
loop.
"""

import asyncio
import logging
import math
import os
import signal
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from offload import values as wire_values
from offload.arguments import check_writable, report_error, write_summary
from offload.auth import new_nonce
from offload.cloud.access import Access
from offload.cloud.acknowledging import acknowledgements
from offload.cloud.admission import Admission, Arrival, allow_open_files
from offload.cloud.buffers import BufferPool
from offload.cloud.device_link import Client, DeviceLink
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.keyed_locks import KeyedLocks
from offload.cloud.link_watch import LOOK_EVERY_S
from offload.cloud.options import Options, parse
from offload.cloud.report import StreamCounts, summarise
from offload.cloud.setup import load_apps, load_tls, load_tokens
from offload.cloud.stored_frames import StoredFrames
from offload.cloud.stream_table import StreamTable
from offload.cloud.transport import CloudConnection, log_failure
from offload.collector import collect_rarely
from offload.errors import (
    OffloadError,
    PayloadError,
    RemoteProtocolError,
    TaskError,
)
from offload.executors.opencv import share_processors
from offload.executors.threads import Lane, Quickness, ThreadPool
from offload.load import LoadMeter
from offload.loading import App
from offload.logs import Mishaps, end_with_any_thread
from offload.messages import (
    DRAIN,
    HEARTBEAT,
    WATCH,
    Control,
    End,
    Ended,
    Frame,
    Outcome,
    OutcomeRange,
    RefusalCode,
)
from offload.results import ResultsStore, StreamCommit, open_results, unpack_state
from offload.results.store import StreamRecord
from offload.results.writer import Finished, ResultsWriter, no_state, settle
from offload.session import CloudEvent, CloudSession, OpenRequested, SecretFor
from offload.transport import bound_endpoint, listening_sockets
from offload.wire import Admit
from task_interface import BoundPipeline, Context, PipelineRun, first_difference

logger = logging.getLogger("cloud")

Values = Mapping[str, wire_values.Value]

# What SIGTERM leaves for the frames in flight (contract, section 4).
DRAIN_S: Final = 10.0

# What the last commit may take though the drain has used up its time.
LAST_COMMIT_S: Final = 1.0

# Frames of one stream that may wait here for tasks and disk before its connection is no longer
# read: the window of a device is smaller, so this stops only those that ignore theirs, or whose
# frames are large.
MAX_WAITING_FRAMES: Final = 1100
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024

# Frames whose tasks take less are worked on by the event loop itself: to wake another thread, and
# to be woken by it, costs as much. They have to have been so quick for a while, since whatever they
# take, all other devices wait for it.
QUICK_S: Final = 200e-6
QUICK_IN_A_ROW: Final = 32

# Memory for payloads that is kept for the next ones: a window of pictures of some devices.
MAX_IDLE_BUFFER_BYTES: Final = 64 * 1024 * 1024

# A waiting frame, or run of ended frames, has objects beside its payload: message, job, outcome.
FRAME_OBJECTS_BYTES: Final = 4096

# A loop that comes round so late was held up: it has not read what the devices said meanwhile.
HELD_UP_S: Final = 1.0

# How often the machine's load is measured for the acknowledgements.
LOAD_PERIOD_S: Final = 1.0


class Stream:
    """One stream while it is open: its tasks' state, its lane, its place in the summary.

    Args:
        app: The pipeline that it runs.
        lane: Where its tasks run in order.
        counts: Its place in the summary.
        owner: Name of the token that opened it.
        put: Hands a finished frame to the writer.
        memory: Where its frames are counted while they wait.
        keeps_results: Whether the state of its tasks is to be stored with every result; else it is
            only when the stream ends, since it lives here until then.
    """

    def __init__(
        self,
        *,
        app: App,
        lane: Lane,
        counts: StreamCounts,
        owner: str,
        put: Callable[[Finished], None],
        memory: FrameMemory,
        keeps_results: bool,
    ) -> None:
        """Start at rest, with fresh tasks."""
        self.app = app
        self.counts = counts
        self.owner = owner
        self.name = counts.stream
        self.bound: BoundPipeline = app.pipeline.bind()
        self.link: DeviceLink | None = None
        self.waiting_frames = 0
        self.waiting_bytes = 0
        self.at_rest = asyncio.Event()
        self.at_rest.set()
        self.put = put
        self.picture: object = None
        self._picture_lock = threading.Lock()
        self.mishaps = Mishaps()
        self.snapshot = self.bound.snapshot if keeps_results else no_state
        # Whether the store can bring the tasks' state back.
        self.may_be_forgotten = keeps_results and not app.pipeline.forgetful
        self._memory = memory
        self._lane = lane
        self._quick = {
            split: Quickness(limit_s=QUICK_S, in_a_row=QUICK_IN_A_ROW)
            for split in app.pipeline.splits
        }

    @property
    def is_crowded(self) -> bool:
        """Whether so much waits that the connection should not be read."""
        return self.waiting_frames > MAX_WAITING_FRAMES or self.waiting_bytes > MAX_WAITING_BYTES

    def submit_frame(self, frame: Frame) -> None:
        """Run the frame's tasks on the lane; its outcome goes to the writer in order.

        Its bytes are reserved already.
        """
        work = _FrameWork(self, frame)
        self._enter(work.held_bytes)
        if not (
            self._quick[frame.split]
            and self._lane.run_inline(free=work.run_free, ordered=work.run_ordered)
        ):
            self._lane.submit(free=work.run_free, ordered=work.run_ordered)

    @property
    def is_at_rest(self) -> bool:
        """Whether all of its frames are stored."""
        return self.at_rest.is_set()

    def drop_picture(self) -> None:
        """Forget the newest picture."""
        self.picture = None

    def show(self, picture: object) -> None:
        """Keep the newest picture of the stream for whoever watches."""
        # Several of its tasks may run at once.
        with self._picture_lock:
            self.picture = picture
            self.counts.pictures += 1

    def book_cost(self, split: int, seconds: float) -> None:
        """Learn what the work on a frame with this split took."""
        self._quick[split].book(seconds)

    def submit_ended(self, ranges: Sequence[OutcomeRange]) -> None:
        """Hand frames that ended on the device to the writer, in order with the others."""
        for each in ranges:
            self._enter(0)
            finished = Finished(stream=self.name, outcome=each)
            self._lane.submit(free=_nothing, ordered=partial(self._pass_on, finished))

    def submit_end(self, next_seq: int) -> None:
        """Mark the stream as complete, after all of its frames."""
        self._enter(0)
        nothing = OutcomeRange(first=next_seq, count=0, outcome=Outcome.DROPPED)
        self._lane.submit(free=_nothing, ordered=partial(self._close, nothing))

    def leave(self, finished: Finished) -> None:
        """Book a frame as stored: it no longer waits here."""
        self.waiting_frames -= 1
        self.waiting_bytes -= finished.held_bytes
        self._memory.release(finished.held_bytes + FRAME_OBJECTS_BYTES)
        if self.waiting_frames == 0:
            self.at_rest.set()

    def _enter(self, held_bytes: int) -> None:
        self.waiting_frames += 1
        self.waiting_bytes += held_bytes
        self._memory.hold(FRAME_OBJECTS_BYTES)
        self.at_rest.clear()

    def _close(self, nothing: OutcomeRange, _: object) -> None:
        state = None
        try:
            state = self.bound.snapshot()
        except TaskError as error:
            logger.error("state_not_kept", extra={"stream": self.name, "reason": str(error)})
        self.put(Finished(stream=self.name, outcome=nothing, state=state, closes=True))

    def _pass_on(self, finished: Finished, _: object) -> None:
        self.put(finished)


class _FrameWork:
    """One frame on its way through the cloud's tasks: a free part, then one in order.

    Args:
        stream: The frame's stream.
        frame: As it came.
    """

    __slots__ = (
        "_context",
        "_frame",
        "_middle",
        "_received_at",
        "_received_s",
        "_spent_s",
        "_stream",
        "held_bytes",
    )

    def __init__(self, stream: Stream, frame: Frame) -> None:
        self._stream = stream
        self._frame = frame
        self._context = Context(
            stream=stream.name,
            seq=frame.seq,
            captured_at=frame.captured_at,
            watched=frame.watched,
            show=stream.show,
        )
        self._middle = stream.app.pipeline.first_in_order(frame.split)
        self._received_s = time.monotonic()
        self._received_at = time.time()
        self._spent_s = 0.0
        self.held_bytes = frame.held_bytes

    def run_free(self) -> PipelineRun:
        """Decode the frame, and run the tasks that need nothing of other frames."""
        began_s = time.perf_counter()
        try:
            run = self._run(self._values(), self._frame.split, self._middle)
        except PayloadError as error:
            first = self._stream.app.pipeline.names[self._frame.split]
            run = PipelineRun(values={}, error=TaskError(first, f"cannot read its values: {error}"))
        self._spent_s = time.perf_counter() - began_s
        return run

    def run_ordered(self, run: PipelineRun) -> None:
        """Run the tasks that see frames in order, and hand the outcome to the writer."""
        began_s = time.perf_counter()
        stream, frame, pipeline = self._stream, self._frame, self._stream.app.pipeline
        seconds, mishaps = run.seconds, run.mishaps
        if not run.ended and self._middle < len(pipeline):
            run = self._run(run.values, self._middle, len(pipeline))
            seconds |= run.seconds
            mishaps = mishaps + run.mishaps
        stream.mishaps.warn_of(mishaps)
        settled = settle(
            frame.seq,
            filtered_by=run.filtered_by,
            error=run.error,
            result=run.result,
            last_task=pipeline.names[-1],
            snapshot=stream.snapshot,
        )
        stream.put(
            Finished(
                stream=stream.name,
                outcome=settled.outcome,
                split=frame.split,
                captured_at=frame.captured_at,
                received_at=self._received_at,
                value=settled.value,
                state=settled.state,
                received_s=self._received_s,
                task_seconds=seconds,
                held_bytes=self.held_bytes,
            )
        )
        stream.book_cost(frame.split, self._spent_s + time.perf_counter() - began_s)

    def _values(self) -> Values:
        frame = self._frame
        values = wire_values.unpack(
            frame.tree, frame.buffers, max_decoded_bytes=frame.decoded_bytes
        )
        live = self._stream.app.pipeline.live_values(frame.split, watched=frame.watched)
        if not isinstance(values, dict) or not set(live) <= values.keys():
            raise PayloadError(f"expected {', '.join(live) or 'a dict'}")
        return values

    def _run(self, values: Values, start: int, stop: int) -> PipelineRun:
        return self._stream.bound.run(
            values, start=start, stop=stop, context=self._context, clock=time.perf_counter
        )


def _nothing() -> None:
    """Do nothing: the job has an ordered part only."""


class CloudServer:
    """Everything between options and final report.

    Args:
        options: What the user asked for.
        apps: The pipelines, by name.
        store: Where results are kept.
        access: Who may come in.
        tls: What TLS needs; None to speak without.
    """

    def __init__(
        self,
        options: Options,
        apps: Mapping[str, App],
        store: ResultsStore,
        access: Access,
        tls: ssl.SSLContext | None,
    ) -> None:
        """Prepare; nothing listens yet."""
        self._links: set[DeviceLink] = set()
        self._clients: dict[Client, DeviceLink] = {}
        self._stream_of: dict[DeviceLink, Stream] = {}
        self._options = options
        self._apps = apps
        self._store = store
        self._access = access
        self._tls = tls
        self._memory = FrameMemory(limit_bytes=options.memory_bytes)
        self._buffers = BufferPool(max_idle_bytes=MAX_IDLE_BUFFER_BYTES)
        self._pool = ThreadPool(options.workers)
        share_processors(self._pool.workers)
        # Tasks that may share globals run one frame at a time over all streams of their app.
        self._shared_lanes = {
            name: self._pool.lane() for name, app in apps.items() if app.pipeline.one_at_a_time
        }
        self._streams = StreamTable[Stream]()
        self._opening_locks = KeyedLocks()
        self._opening: dict[DeviceLink, asyncio.Task[None]] = {}
        self._refused: Counter[str] = Counter()
        self._load = LoadMeter()
        self._load_share = 0.0
        self._stop = asyncio.Event()
        self._signals = 0

    async def run(self) -> int:
        """Serve until told to stop, then write the report.

        Raises:
            ConfigurationError: The address or port cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(log_failure)
        sockets = listening_sockets(self._options.bind, self._options.port)
        allow_open_files(self._options.max_clients)
        self._loop = loop
        self._stored = StoredFrames(loop, self.acknowledge_stored)
        self._writer = ResultsWriter(self._store, on_committed=self._stored.put)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._reload_tokens)
        admission = Admission(
            sockets, make_connection=self._make_link, on_refused=self.note_refusal, tls=self._tls
        )
        admission.start()
        for each_socket in sockets:
            sys.stdout.write(f"listening on {bound_endpoint(each_socket)}\n")
        sys.stdout.flush()
        collect_rarely()
        self._measure_load()
        self._look_after_links(loop.time())
        await self._stop.wait()
        admission.stop()
        return await self._finish()

    async def _finish(self) -> int:
        """Drain, write the report, and return the exit code."""
        began_s = time.monotonic()
        drained = await self._drain()
        left_s = max(LAST_COMMIT_S, DRAIN_S - (time.monotonic() - began_s))
        all_written = self._writer.close(timeout_s=left_s)
        # What came after the drain, and was stored all the same, counts.
        self.acknowledge_stored()
        if not all_written:
            logger.error("results_not_written", extra={"why": "their devices will send them again"})
        write_summary(self._options.summary, self._summary())
        if not (drained and all_written):
            # A task or a disk hangs, and would hold up the end of the process for ever.
            logging.shutdown()
            os._exit(1)
        self._pool.close()
        self._store.close()
        return 0

    def handle(self, link: DeviceLink, event: CloudEvent) -> None:
        """Act on what a device said.

        Raises:
            RemoteProtocolError: It cannot be.
        """
        match event:
            case OpenRequested():
                # The device has proved who it is; frames of its last session may take long.
                link.settle()
                self._let_in(link, event)
            case Frame():
                self._take_frame(link, event)
            case Ended():
                self._stream_of[link].submit_ended(event.ranges)
            case End():
                self._stream_of[link].submit_end(event.next_seq)
            case Control(name=name) if name != HEARTBEAT:
                logger.debug("control_ignored", extra={"control": name})

    def link_made(self, link: DeviceLink) -> None:
        """Take note of a device that has connected."""
        self._links.add(link)

    def link_lost(self, link: DeviceLink, reason: str) -> None:
        """Keep a stream's state for when its device comes back."""
        self._make_room(link)
        if opening := self._opening.pop(link, None):
            opening.cancel()
        if stream := self._stream_of.pop(link, None):
            stream.link = None
            stream.counts.duplicates_ignored += link.session.duplicates_ignored
            self._streams.leave(stream, now=time.monotonic())
            logger.info("session_lost", extra={"stream": stream.name, "reason": reason})

    def link_gone(self, link: DeviceLink) -> None:
        """Forget a connection that has ended."""
        self._links.discard(link)

    def note_refusal(self, why: str, peer: str, reason: str) -> None:
        """Count a refusal and say it."""
        self._refused[why] += 1
        logger.warning("refused", extra={"why": why, "peer": peer, "reason": reason})

    def _make_link(self, arrival: Arrival) -> CloudConnection:
        return DeviceLink(
            self,
            arrival,
            credential=self._access.new_credential(),
            memory=self._memory,
            make_session=self._make_session,
        ).connection

    def _make_session(self, secret_for: SecretFor, admit: Admit) -> CloudSession:
        return CloudSession(
            secret_for=secret_for,
            insecure=self._options.insecure,
            nonce=new_nonce(),
            max_message_bytes=self._options.max_frame_bytes,
            take_memory=self._buffers.take,
            admit=admit,
        )

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            logger.warning("interrupted")
            os._exit(130)
        self._stop.set()

    def _reload_tokens(self) -> None:
        self._access.reload()
        for link in list(self._links):
            if link.credential.is_withdrawn:
                link.refuse(RefusalCode.TOKEN, f"token {link.credential.token!r} was withdrawn")

    def _measure_load(self) -> None:
        self._load_share = self._load.machine_share() or 0.0
        self._loop.call_later(LOAD_PERIOD_S, self._measure_load)

    def _look_after_links(self, due_s: float) -> None:
        """Find connections that do not live any more, and show the others that we do."""
        now = self._loop.time()
        for link in list(self._links):
            if now - due_s > HELD_UP_S:
                link.look_away()
            else:
                link.look(now)
        self._streams.forget_idle(now=time.monotonic())
        self._loop.call_later(LOOK_EVERY_S, self._look_after_links, now + LOOK_EVERY_S)

    # Opening a stream.

    def _let_in(self, link: DeviceLink, request: OpenRequested) -> None:
        """Check that the two ends fit, and that there is room for one more."""
        opening = request.opening
        app = self._apps.get(opening.app)
        if app is None:
            reason = f"server does not run app {opening.app!r:.80}, only {', '.join(self._apps)}"
            link.refuse(RefusalCode.PIPELINE, reason)
            return
        if difference := first_difference(opening.fingerprint, app.pipeline.fingerprint()):
            link.refuse(RefusalCode.PIPELINE, f"app {opening.app!r} differs: {difference}")
            return
        client = Client(owner=request.owner, app=app.name, stream=opening.stream)
        if older := self._clients.get(client):
            reason = f"stream {opening.stream!r} was taken over by a newer connection"
            older.refuse(RefusalCode.TAKEN_OVER, reason)
        elif len(self._clients) >= self._options.max_clients:
            link.refuse(RefusalCode.BUSY, f"server serves {len(self._clients)} clients already")
            return
        link.client = client
        self._clients[client] = link
        self._opening[link] = self._loop.create_task(self._open(link, request, app))

    async def _open(self, link: DeviceLink, request: OpenRequested, app: App) -> None:
        """Let the device go on where its stream stands; cancelled if it goes before that."""
        name = request.opening.stream
        async with self._opening_locks.hold(name):
            stream = self._streams.get(name)
            if stream is not None and stream.owner == request.owner:
                # Frames of an older session come first.
                await stream.at_rest.wait()
            try:
                await self._enter_stream(link, request, app)
            except OffloadError as error:
                logger.error("stream_not_opened", extra={"reason": str(error)})
                link.refuse(RefusalCode.INTERNAL, f"stream cannot be opened: {error}")

    async def _enter_stream(self, link: DeviceLink, request: OpenRequested, app: App) -> None:
        opening = request.opening
        in_thread = partial(self._loop.run_in_executor, None)
        record = await in_thread(
            partial(
                self._store.open_stream,
                stream=opening.stream,
                device=opening.device,
                app=app.name,
                owner=request.owner,
                now=time.time(),
            )
        )
        if record.owner != request.owner or record.app != app.name:
            what = "another token" if record.owner != request.owner else f"app {record.app!r}"
            reason = f"stream {opening.stream!r} belongs to {what}: choose another --stream"
            link.refuse(RefusalCode.OWNER, reason)
            return
        next_seq = record.next_seq
        if opening.position > next_seq:
            # The device was promised more than this store knows: it is not the one of before.
            next_seq = opening.position
            logger.warning(
                "position_adopted", extra={"stream": record.stream, "stored": record.next_seq}
            )
            commit = StreamCommit(stream=record.stream, next_seq=next_seq, at=time.time())
            await in_thread(self._store.commit, [commit])
        exceptions = await in_thread(
            self._store.ended_between, record.stream, opening.position, next_seq
        )
        make = partial(self._make_stream, record, app, next_seq)
        stream = self._streams.enter(record.stream, make)
        del self._opening[link]
        stream.link, self._stream_of[link] = link, stream
        link.session.accept(next_seq=next_seq, durable=self._store.durable, exceptions=exceptions)
        if self._options.watch_fps:
            fps = None if math.isinf(self._options.watch_fps) else self._options.watch_fps
            link.session.send_control(Control(name=WATCH, body={"fps": fps}))
        link.flush()
        logger.info(
            "session_opened",
            extra={
                "stream": record.stream,
                "device": opening.device,
                "app": app.name,
                "next_seq": next_seq,
                "peer": link.connection.peer,
            },
        )

    def _make_stream(self, record: StreamRecord, app: App, next_seq: int) -> Stream:
        """Return a stream in memory, with its tasks as the store knows them."""
        stream = Stream(
            app=app,
            lane=self._shared_lanes.get(app.name) or self._pool.lane(),
            counts=self._streams.tally.of(
                stream=record.stream, device=record.device, app=app.name, next_seq=next_seq
            ),
            owner=record.owner,
            put=self._writer.put,
            memory=self._memory,
            keeps_results=self._store.durable,
        )
        if record.state is not None:
            stream.bound.restore(unpack_state(record.state))
        return stream

    # Frames and their acknowledgements.

    def _take_frame(self, link: DeviceLink, frame: Frame) -> None:
        stream = self._stream_of[link]
        if frame.split not in stream.app.pipeline.splits:
            raise RemoteProtocolError(
                f"frame {frame.seq} has split {frame.split}, which is no split"
            )
        link.reserved_bytes -= frame.held_bytes
        stream.submit_frame(frame)
        if stream.is_crowded:
            link.set_crowded(True)

    def events_handled(self, link: DeviceLink) -> None:
        """Tell the devices what is stored, and wait if too much is in memory."""
        if self._memory.is_full:
            link.wait_for_memory()
        self._stored.look(link.connection)

    def acknowledge_stored(self) -> None:
        """Tell the devices what is stored now."""
        now = time.monotonic()
        for name, finished in self._stored.take().items():
            stream = self._streams.get(name)
            assert stream is not None
            for each in finished:
                stream.leave(each)
                if not each.closes:
                    stream.counts.add(each, now)
            self._acknowledge(stream, finished, now)

    def _acknowledge(self, stream: Stream, finished: Sequence[Finished], now: float) -> None:
        link = stream.link
        if link is not None:
            for each in acknowledgements(finished, now=now, load=self._load_share):
                link.session.acknowledge(each)
        if finished[-1].closes:
            if link is not None:
                link.session.confirm_end()
            self._close_stream(stream)
        if link is not None:
            link.flush()
            link.set_crowded(stream.is_crowded)

    def _make_room(self, link: DeviceLink) -> None:
        """Count the link's device as a client no longer."""
        if link.client is not None:
            del self._clients[link.client]
            link.client = None

    def _close_stream(self, stream: Stream) -> None:
        if (link := stream.link) is not None:
            self._make_room(link)
            del self._stream_of[link]
            stream.counts.duplicates_ignored += link.session.duplicates_ignored
            stream.link = None
        self._streams.close(stream)
        logger.info("stream_ended", extra=stream.counts.report())

    # The end.

    async def _drain(self) -> bool:
        """Let the devices stop sending, finish what is here, and tell them that this is the end.

        Returns:
            Whether all that was here could be finished in time.
        """
        logger.info("draining", extra={"streams": len(self._stream_of)})
        for link in list(self._links):
            if link in self._stream_of:
                link.session.send_control(Control(name=DRAIN))
                link.flush()
            else:
                link.refuse(RefusalCode.DRAINING, "the server is shutting down")
        waits = [stream.at_rest.wait() for stream in self._streams.all()]
        drained = True
        try:
            await asyncio.wait_for(asyncio.gather(*waits), DRAIN_S)
        except TimeoutError:
            logger.warning("not_drained", extra={"after_s": DRAIN_S})
            drained = False
        for link in list(self._links):
            link.refuse(RefusalCode.DRAINING, "the server is shutting down")
        # One turn of the loop hands the refusals to the sockets.
        await asyncio.sleep(0)
        return drained

    def _summary(self) -> dict[str, object]:
        for link, stream in self._stream_of.items():
            stream.counts.duplicates_ignored += link.session.duplicates_ignored
        return summarise(self._streams.tally, refused=self._refused, load=self._load)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cloud program and return its exit code."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        apps = load_apps(options.apps)
        check_writable(options.summary)
        tls = load_tls(options.tls)
        tokens = load_tokens(options.token_file, insecure=options.insecure, environment=os.environ)
        store = open_results(options.results)
        end_with_any_thread()
        if not store.durable:
            logger.warning(
                "results_not_kept",
                extra={"why": "--results none: exactly once holds only while this server lives"},
            )
        return asyncio.run(_serve(options, apps, store, Access(tokens), tls))
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130


async def _serve(
    options: Options,
    apps: Mapping[str, App],
    store: ResultsStore,
    access: Access,
    tls: ssl.SSLContext | None,
) -> int:
    return await CloudServer(options, apps, store, access, tls).run()


if __name__ == "__main__":
    sys.exit(main())

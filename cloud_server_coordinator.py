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
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from offload import values as wire_values
from offload.arguments import (
    check_writable,
    report_error,
    write_summary,
)
from offload.auth import ServerTokens, load_device_token, load_server_tokens, new_nonce
from offload.buffers import BufferPool
from offload.cloud_options import Options, parse
from offload.cloud_report import StreamCounts, summarise
from offload.cloud_transport import CloudConnection
from offload.collector import collect_rarely
from offload.device_link import DeviceLink
from offload.errors import (
    ConfigurationError,
    OffloadError,
    PayloadError,
    RemoteProtocolError,
    TaskError,
)
from offload.executors.opencv import share_processors
from offload.executors.threads import Lane, Quickness, ThreadPool
from offload.load import LoadMeter
from offload.loading import App, load_app
from offload.logs import Mishaps, end_with_any_thread
from offload.messages import (
    DRAIN,
    WATCH,
    Acknowledgement,
    Control,
    End,
    Ended,
    Frame,
    Outcome,
    OutcomeRange,
    RefusalCode,
    TaskTime,
    extend_ranges,
)
from offload.results import ResultsStore, StreamCommit, open_results, unpack_state
from offload.results_writer import Finished, ResultsWriter, no_state, settle
from offload.session import CloudEvent, CloudSession, OpenRequested
from offload.transport import bound_endpoint, listening_sockets
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

# Each acknowledgement is a system call here, and wakes a thread there. Frames that the loop ran
# itself are acknowledged together while the next ones are coming in, but none waits longer.
GROUPED_FRAMES: Final = 8
GROUPING_S: Final = 1e-3

# Memory for payloads that is kept for the next ones: a window of pictures of some devices.
MAX_IDLE_BUFFER_BYTES: Final = 64 * 1024 * 1024

# An acknowledgement fits its envelope of 64 KiB: an exception has two texts of 300 characters.
MAX_EXCEPTIONS: Final = 20
MAX_RESIDENCES: Final = 512

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
        """Run the frame's tasks on the lane; its outcome goes to the writer in order."""
        work = _FrameWork(self, frame)
        self._enter(1, work.held_bytes)
        if not (
            self._quick[frame.split]
            and self._lane.run_inline(free=work.run_free, ordered=work.run_ordered)
        ):
            self._lane.submit(free=work.run_free, ordered=work.run_ordered)

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
            self._enter(1, 0)
            finished = Finished(stream=self.name, outcome=each)
            self._lane.submit(free=_nothing, ordered=partial(self._pass_on, finished))

    def submit_end(self, next_seq: int) -> None:
        """Mark the stream as complete, after all of its frames."""
        self._enter(1, 0)
        nothing = OutcomeRange(first=next_seq, count=0, outcome=Outcome.DROPPED)
        self._lane.submit(free=_nothing, ordered=partial(self._close, nothing))

    def leave(self, finished: Finished) -> None:
        """Book a frame as stored: it no longer waits here."""
        self.waiting_frames -= 1
        self.waiting_bytes -= finished.held_bytes
        if self.waiting_frames == 0:
            self.at_rest.set()

    def _enter(self, frames: int, held_bytes: int) -> None:
        self.waiting_frames += frames
        self.waiting_bytes += held_bytes
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
        tokens: Who may come in.
    """

    def __init__(
        self, options: Options, apps: Mapping[str, App], store: ResultsStore, tokens: ServerTokens
    ) -> None:
        """Prepare; nothing listens yet."""
        self._links: set[DeviceLink] = set()
        self._stream_of: dict[DeviceLink, Stream] = {}
        self._options = options
        self._apps = apps
        self._store = store
        self._tokens = tokens
        self._buffers = BufferPool(max_idle_bytes=MAX_IDLE_BUFFER_BYTES)
        self._pool = ThreadPool(options.workers)
        share_processors(self._pool.workers)
        # Tasks that may share globals run one frame at a time over all streams of their app.
        self._shared_lanes = {
            name: self._pool.lane() for name, app in apps.items() if app.pipeline.one_at_a_time
        }
        self._streams: dict[str, Stream] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: dict[str, StreamCounts] = {}
        self._refused: Counter[str] = Counter()
        self._load = LoadMeter()
        self._load_share = 0.0
        self._stop = asyncio.Event()
        self._signals = 0
        # What was stored and not acknowledged yet; filled by the writer, emptied by the loop.
        self._stored: deque[Finished] = deque()
        self._will_acknowledge = False

    async def run(self) -> int:
        """Serve until told to stop, then write the report.

        Raises:
            ConfigurationError: The address or port cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        sockets = listening_sockets(self._options.bind, self._options.port)
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._writer = ResultsWriter(self._store, on_committed=self._committed)
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._signalled)
        servers = [await loop.create_server(self._accept, sock=each) for each in sockets]
        for each_socket in sockets:
            sys.stdout.write(f"listening on {bound_endpoint(each_socket)}\n")
        sys.stdout.flush()
        collect_rarely()
        self._measure_load()
        await self._stop.wait()
        for server in servers:
            server.close()
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
                link.opened()
                task = asyncio.get_running_loop().create_task(self._open(link, event))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            case Frame():
                self._take_frame(link, event)
            case Ended():
                self._stream_of[link].submit_ended(event.ranges)
            case End():
                self._stream_of[link].submit_end(event.next_seq)
            case Control():
                logger.debug("control_ignored", extra={"control": event.name})

    def link_made(self, link: DeviceLink) -> None:
        """Take note of a device that has connected."""
        self._links.add(link)

    def link_lost(self, link: DeviceLink, reason: str) -> None:
        """Keep a stream's state for when its device comes back."""
        if not link.is_open:
            self._links.discard(link)
        stream = self._stream_of.pop(link, None)
        if stream is None or stream.link is not link:
            return
        stream.link = None
        stream.counts.duplicates_ignored += link.session.duplicates_ignored
        if stream.name in self._streams:
            logger.info("session_lost", extra={"stream": stream.name, "reason": reason})

    def note_refusal(self, why: str, link: DeviceLink, reason: str) -> None:
        """Count a refusal and say it."""
        self._refused[why] += 1
        logger.warning("refused", extra={"peer": link.connection.peer, "reason": reason})

    def _accept(self) -> CloudConnection:
        session = CloudSession(
            secret_for=self._tokens.secret_for,
            insecure=self._options.insecure,
            nonce=new_nonce(),
            take_memory=self._buffers.take,
        )
        return DeviceLink(self, session).connection

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            logger.warning("interrupted")
            os._exit(130)
        self._stop.set()

    def _measure_load(self) -> None:
        self._load_share = self._load.machine_share() or 0.0
        asyncio.get_running_loop().call_later(LOAD_PERIOD_S, self._measure_load)

    # Opening a stream.

    async def _open(self, link: DeviceLink, request: OpenRequested) -> None:
        """Check that the two ends fit, and let the device go on where its stream stands."""
        opening = request.opening
        app = self._apps.get(opening.app)
        if app is None:
            self._refuse_pipeline(
                link,
                f"server does not run app {opening.app!r:.80}, only {', '.join(self._apps)}",
            )
            return
        if difference := first_difference(opening.fingerprint, app.pipeline.fingerprint()):
            self._refuse_pipeline(link, f"app {opening.app!r} differs: {difference}")
            return
        async with self._opening.setdefault(opening.stream, asyncio.Lock()):
            await self._take_over(request)
            if link.is_open:
                try:
                    await self._enter_stream(link, request, app)
                except OffloadError as error:
                    logger.error("stream_not_opened", extra={"reason": str(error)})
                    link.refuse(RefusalCode.INTERNAL, f"stream cannot be opened: {error}")

    async def _take_over(self, request: OpenRequested) -> None:
        """End an older session of the same stream, and wait until its frames are stored."""
        stream = self._streams.get(request.opening.stream)
        if stream is None:
            return
        if stream.link is not None and stream.owner == request.owner:
            older = stream.link
            reason = f"stream {stream.name!r} was taken over by a newer connection"
            self.note_refusal("taken_over", older, reason)
            older.refuse(RefusalCode.TAKEN_OVER, reason)
        if stream.owner == request.owner:
            await stream.at_rest.wait()

    async def _enter_stream(self, link: DeviceLink, request: OpenRequested, app: App) -> None:
        opening = request.opening
        loop = asyncio.get_running_loop()
        record = await loop.run_in_executor(
            None,
            partial(
                self._store.open_stream,
                stream=opening.stream,
                device=opening.device,
                app=app.name,
                owner=request.owner,
                now=time.time(),
            ),
        )
        if record.owner != request.owner or record.app != app.name:
            what = "another token" if record.owner != request.owner else f"app {record.app!r}"
            reason = f"stream {opening.stream!r} belongs to {what}: choose another --stream"
            self.note_refusal("owner", link, reason)
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
            await loop.run_in_executor(None, self._store.commit, [commit])
        exceptions = await loop.run_in_executor(
            None, self._store.ended_between, record.stream, opening.position, next_seq
        )
        if not link.is_open:
            return
        has_its_state = record.stream in self._streams
        stream = self._stream_for(record.stream, opening.device, request.owner, app, next_seq)
        if record.state is not None and not has_its_state:
            stream.bound.restore(unpack_state(record.state))
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

    def _stream_for(self, name: str, device: str, owner: str, app: App, next_seq: int) -> Stream:
        if name not in self._streams:
            counts = self._counts.setdefault(
                name, StreamCounts(stream=name, device=device, app=app.name, next_seq=next_seq)
            )
            self._streams[name] = Stream(
                app=app,
                lane=self._shared_lanes.get(app.name) or self._pool.lane(),
                counts=counts,
                owner=owner,
                put=self._writer.put,
                keeps_results=self._store.durable,
            )
        return self._streams[name]

    def _refuse_pipeline(self, link: DeviceLink, reason: str) -> None:
        self.note_refusal("pipeline", link, reason)
        link.refuse(RefusalCode.PIPELINE, reason)

    # Frames and their acknowledgements.

    def _take_frame(self, link: DeviceLink, frame: Frame) -> None:
        stream = self._stream_of[link]
        if frame.split not in stream.app.pipeline.splits:
            raise RemoteProtocolError(
                f"frame {frame.seq} has split {frame.split}, which is no split"
            )
        stream.submit_frame(frame)
        if stream.is_crowded:
            link.connection.set_reading(False)

    def _committed(self, batch: Sequence[Finished]) -> None:
        """Take note, in the thread that stored it, of what can be acknowledged."""
        self._stored.extend(batch)
        # The loop looks itself after what it ran itself. For others, waking it costs more than most
        # tasks: once is enough, until it has come round.
        if not self._will_acknowledge and threading.get_ident() != self._loop_thread:
            self._will_acknowledge = True
            self._loop.call_soon_threadsafe(self.acknowledge_stored)

    def events_handled(self, link: DeviceLink) -> None:
        """Tell the devices what is stored, unless it can wait for what is already on its way."""
        if not self._stored:
            return
        if len(self._stored) >= GROUPED_FRAMES or not link.connection.has_more:
            self.acknowledge_stored()
        elif not self._will_acknowledge:
            self._will_acknowledge = True
            self._loop.call_later(GROUPING_S, self.acknowledge_stored)

    def acknowledge_stored(self) -> None:
        """Tell the devices what is stored now."""
        self._will_acknowledge = False
        by_stream: dict[str, deque[Finished]] = {}
        while self._stored:
            each = self._stored.popleft()
            by_stream.setdefault(each.stream, deque()).append(each)
        for name, finished in by_stream.items():
            stream = self._streams[name]
            link = stream.link
            while finished:
                self._acknowledge_some(stream, finished)
            if link is not None:
                link.flush()
                link.connection.set_reading(not stream.is_crowded)

    def _acknowledge_some(self, stream: Stream, finished: deque[Finished]) -> None:
        """Acknowledge as many frames as fit one message."""
        now = time.monotonic()
        exceptions: list[OutcomeRange] = []
        residences_s: list[float] = []
        times: dict[int, TaskTime] = {}
        next_seq = 0
        closes = False
        while finished and len(exceptions) < MAX_EXCEPTIONS and len(residences_s) < MAX_RESIDENCES:
            each = finished.popleft()
            stream.leave(each)
            next_seq = each.outcome.stop
            closes = closes or each.closes
            if not each.closes:
                stream.counts.add(each, now)
            if each.received_s is not None:
                residences_s.append(now - each.received_s)
                if each.outcome.outcome is not Outcome.RESULT:
                    extend_ranges(exceptions, each.outcome)
            _add_times(times, each.task_seconds)
        if stream.link is None:
            if closes:
                self._close_stream(stream)
            return
        stream.link.session.acknowledge(
            Acknowledgement(
                next_seq=next_seq,
                exceptions=tuple(exceptions),
                residences_s=tuple(residences_s),
                task_times=tuple(times.values()),
                load=self._load_share,
            )
        )
        if closes:
            stream.link.session.confirm_end()
            self._close_stream(stream)

    def _close_stream(self, stream: Stream) -> None:
        """Forget a complete stream; its counts stay for the report."""
        del self._streams[stream.name]
        if stream.link is not None:
            stream.counts.duplicates_ignored += stream.link.session.duplicates_ignored
            stream.link = None
        lock = self._opening.get(stream.name)
        if lock is not None and not lock.locked():
            del self._opening[stream.name]
        logger.info("stream_ended", extra=stream.counts.report())

    # The end.

    async def _drain(self) -> bool:
        """Let the devices stop sending, finish what is here, and tell them that this is the end.

        Returns:
            Whether all that was here could be finished in time.
        """
        logger.info("draining", extra={"streams": len(self._streams)})
        for link, stream in list(self._stream_of.items()):
            if stream.link is link:
                link.session.send_control(Control(name=DRAIN))
                link.flush()
        waits = [stream.at_rest.wait() for stream in self._streams.values()]
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
        for stream in self._streams.values():
            if stream.link is not None:
                stream.counts.duplicates_ignored += stream.link.session.duplicates_ignored
        return summarise(list(self._counts.values()), refused=self._refused, load=self._load)


def _add_times(times: dict[int, TaskTime], seconds: Mapping[int, float]) -> None:
    for task, spent_s in seconds.items():
        before = times.get(task)
        times[task] = TaskTime(
            task=task,
            runs=1 + (before.runs if before else 0),
            seconds=spent_s + (before.seconds if before else 0.0),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cloud program and return its exit code."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        apps = _load_apps(options.apps)
        check_writable(options.summary)
        tokens = _load_tokens(options)
        store = open_results(options.results)
        end_with_any_thread()
        if not store.durable:
            logger.warning(
                "results_not_kept",
                extra={"why": "--results none: exactly once holds only while this server lives"},
            )
        return asyncio.run(_serve(options, apps, store, tokens))
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130


async def _serve(
    options: Options, apps: Mapping[str, App], store: ResultsStore, tokens: ServerTokens
) -> int:
    return await CloudServer(options, apps, store, tokens).run()


def _load_apps(specs: Sequence[str]) -> dict[str, App]:
    apps: dict[str, App] = {}
    for spec in specs:
        app = load_app(spec, source=None)
        if app.name in apps:
            raise ConfigurationError(f"app {app.name!r} is given twice")
        apps[app.name] = app
        for name in app.pipeline.forgetful:
            logger.warning(
                "state_not_kept",
                extra={"app": app.name, "task": name, "why": "it has no snapshot and restore"},
            )
    return apps


def _load_tokens(options: Options) -> ServerTokens:
    """Load the tokens; on the first start make one, and say how a device gets it."""
    if options.insecure:
        logger.warning("insecure", extra={"why": "any peer is accepted"})
        if options.token_file is None and load_device_token(None, os.environ) is None:
            return ServerTokens(tokens={}, path=None, created=False)
    # A server that accepts anybody still proves itself to devices that have a token of its.
    tokens = load_server_tokens(options.token_file, os.environ)
    if tokens.created:
        sys.stderr.write(
            f"made a token in {tokens.path}: this user's programs find it by themselves; "
            "a device on another machine gets a copy of that file with --token-file\n"
        )
        if sys.stderr.isatty():
            for token in tokens.tokens.values():
                sys.stderr.write(f"  or there: export OFFLOAD_TOKEN={token.line()}\n")
    return tokens


if __name__ == "__main__":
    sys.exit(main())

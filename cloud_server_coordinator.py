"""The cloud program: finish the frames of many devices, store their results, acknowledge.

    python3 cloud_server_coordinator.py --app ball_tracking_example --results sqlite:results.db

One frame's path: a `DeviceLink` receives it, its `Stream` runs the tasks behind its split, as a
`CloudFrame` on a lane of the thread pool, the `ResultsWriter` commits its outcome together with the
stream's position, and only then the device gets its acknowledgement. Everything but tasks and
commits happens on the event loop.
"""

import asyncio
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Final

import offload.core_packages  # noqa: F401  # first: it says which ones are missing
from offload import __version__
from offload.arguments import print_lines, report_error, write_summary
from offload.cloud.acknowledging import acknowledgements
from offload.cloud.admission import Admission, allow_open_files
from offload.cloud.device_link import Client, DeviceLink
from offload.cloud.event_log import EventLog, trial_field
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.keeping import Keeper, Keepers, kept_name
from offload.cloud.keyed_locks import KeyedLocks
from offload.cloud.link_watch import LOOK_EVERY_S
from offload.cloud.links import Links
from offload.cloud.opening import Standing, find_standing
from offload.cloud.operators import Operators
from offload.cloud.page import Page, open_page
from offload.cloud.picture_watch import PictureWatch
from offload.cloud.report import summarise
from offload.cloud.setup import Setup, set_up
from offload.cloud.steering import SteeredStream, Steering
from offload.cloud.stored_frames import StoredFrames
from offload.cloud.stream import Stream
from offload.cloud.stream_table import StreamTable
from offload.cloud.telemetry import DeviceTelemetry, ServerTelemetry
from offload.cloud.transport import log_failure
from offload.cloud.views import ServerViews
from offload.collector import collect_rarely
from offload.errors import AuthError, OffloadError, RemoteProtocolError
from offload.executors.opencv import share_processors
from offload.executors.threads import ThreadPool
from offload.load import LoadMeter
from offload.loading import App
from offload.logs import end_with_any_thread
from offload.messages import (
    DRAIN,
    HEARTBEAT,
    PROBE,
    SAMPLED,
    STEERING,
    TELEMETRY,
    WATCH,
    Change,
    Control,
    End,
    Ended,
    Frame,
    Open,
    OperatorRequest,
    Probe,
    Probed,
    RefusalCode,
    SteeringState,
    StreamSteering,
)
from offload.results import unpack_state
from offload.results.writer import Finished
from offload.session import CloudEvent, OpenRequested
from offload.telemetry.events import AppShape, ServerBegan, SessionLost, SessionOpened, StreamEnded
from offload.telemetry.recorder import Recorder
from offload.transport import bound_endpoint, listening_sockets
from task_interface import first_difference

logger = logging.getLogger("cloud")

# What SIGTERM leaves for the frames in flight (contract, section 4).
DRAIN_S: Final = 10.0

# What the last commit may take though the drain has used up its time.
LAST_COMMIT_S: Final = 1.0

# How often the machine's load is measured for the acknowledgements.
LOAD_PERIOD_S: Final = 1.0


class CloudServer:
    """Everything between options and final report.

    Args:
        setup: What the user asked for, and what was loaded for it.

    Attributes:
        views: What looks at its events, to be closed when it is over.
    """

    def __init__(self, setup: Setup) -> None:
        """Prepare; nothing listens yet."""
        options, apps = setup.options, setup.apps
        self._options = options
        self._apps = apps
        self._store = setup.store
        self._tls = setup.tls
        self._memory = FrameMemory(limit_bytes=options.memory_bytes)
        self._recorder = Recorder([EventLog()])
        self._links = Links(
            self,
            options=options,
            access=setup.access,
            memory=self._memory,
            recorder=self._recorder,
        )
        self._stream_of: dict[DeviceLink, Stream] = {}
        self._steering = Steering(self._recorder)
        self._steered: dict[DeviceLink, SteeredStream] = {}
        self._operators = Operators(self._steering)
        self._pool = ThreadPool(options.workers)
        share_processors(self._pool.workers)
        # Tasks that may share globals run one frame at a time over all streams of their app.
        self._shared_lanes = {
            name: self._pool.lane() for name, app in apps.items() if app.pipeline.one_at_a_time
        }
        self._streams = StreamTable[Stream]()
        self._opening_locks = KeyedLocks()
        self._opening: dict[DeviceLink, asyncio.Task[None]] = {}
        self._load = LoadMeter()
        self._load_share = 0.0
        self._telemetry = ServerTelemetry(self._recorder, load=self._load)
        self._heard: dict[DeviceLink, DeviceTelemetry] = {}
        self._pictures = PictureWatch(always_fps=options.watch_fps, ask=self._ask_for_pictures)
        self._setup = setup
        self._page: Page | None = None
        self.views = ServerViews(options, self._telemetry, environment=os.environ)
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
        if self._options.dashboard is not None:
            port = sockets[0].getsockname()[1]
            self._page = open_page(self._setup, self._options.dashboard, self, port=port)
            self._telemetry.add_view(self._page.source)
        allow_open_files(self._options.max_clients + (self._page.connections if self._page else 0))
        self._loop = loop
        self._stored = StoredFrames(loop, self.acknowledge_stored)
        self._keepers = Keepers(
            self._store, on_committed=self._stored.put, on_stale=self._give_up_soon
        )
        for each in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(each, self._signalled)
        loop.add_signal_handler(signal.SIGHUP, self._links.reload_tokens)
        admission = Admission(
            sockets,
            make_connection=self._links.make,
            on_refused=self._links.refusals.note,
            tls=self._tls,
        )
        admission.start()
        listening = tuple(bound_endpoint(each) for each in sockets)
        print_lines(f"listening on {each}" for each in listening)
        self._recorder.record(self._beginning(listening))
        if self._page is not None:
            self._page.start()
        collect_rarely()
        # The machine's load is that since the last question.
        self._load.machine_share()
        loop.call_later(LOAD_PERIOD_S, self._measure_load)
        self._look_around()
        await self._stop.wait()
        admission.stop()
        return await self._finish()

    async def _finish(self) -> int:
        """Drain, write the report, and return the exit code."""
        began_s = time.monotonic()
        drained = await self._drain()
        left_s = max(LAST_COMMIT_S, DRAIN_S - (time.monotonic() - began_s))
        unwritten = self._keepers.finish(timeout_s=left_s)
        # What came after the drain, and was stored all the same, counts.
        self.acknowledge_stored()
        if unwritten:
            frames = sum(each.outcome.count for each in unwritten)
            why = "the disk did not take them in time: their devices will send them again"
            logger.error("results_not_written", extra={"frames": frames, "why": why})
        if self._page is not None:
            await self._page.close()
        self._links.refusals.look(math.inf)
        write_summary(self._options.summary, self._summary())
        self.views.end(self._streams.tally)
        if unwritten or not drained:
            # A task or a disk hangs, and would hold up the end of the process for ever.
            logging.shutdown()
            os._exit(1)
        self._pool.close()
        self._store.close()
        return 0

    def _beginning(self, listening: tuple[str, ...]) -> ServerBegan:
        return ServerBegan(
            at_s=self._recorder.now(),
            began_at=time.time(),
            listening=listening,
            apps=tuple(
                AppShape(
                    name=app.name,
                    tasks=tuple(app.pipeline.names),
                    splits=tuple(app.pipeline.splits),
                )
                for app in self._apps.values()
            ),
            version=__version__,
        )

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
            case Control() if link.session.is_steering:
                self._operators.handle(link, event)
            case Control(name=name) if name == STEERING:
                self._steered[link].note(SteeringState.read(event))
            case Control(name=name) if name == PROBE:
                self._answer_probe(link, Probe.read(event))
            case Control(name=name) if name == SAMPLED and link in self._heard:
                self._heard[link].note(event.body)
            case Control(name=name) if name != HEARTBEAT:
                logger.debug("control_ignored", extra={"control": name})

    @staticmethod
    def _answer_probe(link: DeviceLink, probe: Probe) -> None:
        padding = bytes(probe.wanted_bytes)
        link.send_control(Probed(number=probe.number, at=time.time(), padding=padding).control())

    def link_made(self, link: DeviceLink) -> None:
        """Take note of a device that has connected."""
        self._links.add(link)

    def link_lost(self, link: DeviceLink, reason: str) -> None:
        """Keep a stream's state for when its device comes back."""
        self._links.let_out(link)
        self._operators.leave(link)
        if opening := self._opening.pop(link, None):
            opening.cancel()
        if stream := self._stream_of.pop(link, None):
            stream.let_go()
            self._forget_link(link)
            self._streams.leave(stream, now=time.monotonic())
            self._recorder.record(
                SessionLost(
                    at_s=self._recorder.now(),
                    stream=stream.name,
                    reason=reason,
                    in_flight=stream.waiting_frames,
                )
            )

    def _forget_link(self, link: DeviceLink) -> None:
        self._steering.leave(self._steered.pop(link))
        self._heard.pop(link, None)

    def link_gone(self, link: DeviceLink) -> None:
        """Forget a connection that has ended."""
        self._links.discard(link)

    def _signalled(self) -> None:
        self._signals += 1
        if self._signals > 1:
            logger.warning("interrupted")
            logging.shutdown()
            os._exit(130)
        self._stop.set()

    def _measure_load(self) -> None:
        self._load_share = self._load.machine_share() or 0.0
        if self._telemetry.is_wanted:
            self._telemetry.look(
                self._streams.all(),
                sessions=self._links.clients,
                operators=self._operators.connected,
                frame_bytes=self._memory.held_bytes,
                frame_limit_bytes=self._memory.limit_bytes,
                machine_part=self._load_share,
            )
        for name in self._pictures.forget(time.monotonic()):
            if stream := self._streams.get(name):
                stream.drop_picture()
        self._loop.call_later(LOAD_PERIOD_S, self._measure_load)

    def _look_around(self) -> None:
        """Find connections that do not live any more, and streams whose devices stay away."""
        self._links.look(self._loop.time())
        self._streams.forget_idle(now=time.monotonic())
        self._loop.call_later(LOOK_EVERY_S, self._look_around)

    # What the page asks for.

    def owner_of(self, stream: str) -> str | None:
        """Return the name of the token that opened a stream; None if it is not in memory."""
        found = self._streams.get(stream)
        return None if found is None else found.owner

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:
        """Have a device make a change, and return what came of it.

        Raises:
            SteeringError: The stream's device is not connected.
        """
        request = OperatorRequest(change=change, stream=stream)
        (steered,) = await self._steering.steer(request, by=by)
        return steered

    def look_at(self, stream: str) -> tuple[int, object] | None:
        """Return the newest picture with its number, and have more of them made for a while."""
        self._pictures.look(stream, time.monotonic())
        found = self._streams.get(stream)
        return None if found is None else found.newest_picture()

    def _ask_for_pictures(self, stream: str, fps: float) -> None:
        found = self._streams.get(stream)
        if found is not None and found.link is not None:
            found.link.send_control(_watch(fps))

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
        try:
            name = kept_name(opening)
        except AuthError as error:
            link.refuse(RefusalCode.OWNER, str(error))
            return
        request = replace(request, opening=replace(opening, stream=name))
        client = Client(owner=request.owner, app=app.name, stream=name)
        if not self._links.let_in(link, client):
            most = self._options.max_clients
            link.refuse(RefusalCode.BUSY, f"server is full (--max-clients {most})")
            return
        self._opening[link] = self._loop.create_task(self._open(link, request, app))

    async def _open(self, link: DeviceLink, request: OpenRequested, app: App) -> None:
        """Let the device go on where its stream stands; cancelled if it goes before that."""
        name = request.opening.stream
        async with self._opening_locks.hold(name):
            stream = self._streams.get(name)
            if stream is not None and stream.owner == request.owner:
                # Frames of an older session come first.
                await stream.waiting.are_over.wait()
            store = self._keepers.of(request.opening).store
            lookup = self._loop.run_in_executor(None, find_standing, store, request)
            try:
                standing = await asyncio.shield(lookup)
                self._enter_stream(link, request.opening, app, standing)
            except AuthError as error:
                link.refuse(RefusalCode.OWNER, str(error))
            except OffloadError as error:
                logger.error("stream_not_opened", extra={"reason": str(error)})
                link.refuse(RefusalCode.INTERNAL, f"stream cannot be opened: {error}")
            except asyncio.CancelledError:
                # Else it could open the stream in the store after the next device has.
                await asyncio.wait([lookup])
                raise

    def _enter_stream(self, link: DeviceLink, opening: Open, app: App, standing: Standing) -> None:
        name, next_seq = standing.record.stream, standing.next_seq
        kept = self._streams.get(name)
        if kept is not None and kept.stored_seq != standing.record.next_seq:
            # Another server has moved it on: its tasks' state is that of the store.
            self._streams.forget(kept)
        keeper = self._keepers.of(opening)
        stream = self._streams.enter(name, partial(self._make_stream, app, standing, keeper))
        stream.go_on_at(next_seq, epoch=standing.record.epoch)
        del self._opening[link]
        stream.link, self._stream_of[link] = link, stream
        link.session.accept(
            next_seq=next_seq,
            durable=keeper.store.durable,
            exceptions=standing.exceptions,
            workers=1 if app.pipeline.one_at_a_time else self._pool.workers,
        )
        if fps := self._pictures.fps_of(name):
            link.session.send_control(_watch(fps))
        self._steered[link] = self._steering.enter(
            name,
            device=opening.device,
            app=app.name,
            splits=app.pipeline.splits,
            send=link.send_control,
        )
        if self._telemetry.is_wanted:
            link.session.send_control(Control(name=TELEMETRY, body={"wanted": True}))
            self._heard[link] = DeviceTelemetry(
                self._recorder, stream=name, tasks=len(app.pipeline)
            )
        link.flush()
        self._recorder.record(
            SessionOpened(
                at_s=self._recorder.now(),
                stream=name,
                device=opening.device,
                app=app.name,
                next_seq=next_seq,
                peer=link.connection.peer,
            )
        )

    def _make_stream(self, app: App, standing: Standing, keeper: Keeper) -> Stream:
        """Return a stream in memory, with its tasks as the store knows them."""
        record = standing.record
        stream = Stream(
            app=app,
            lane=self._shared_lanes.get(app.name) or self._pool.lane(),
            counts=self._streams.tally.of(
                stream=record.stream,
                device=record.device,
                app=app.name,
                next_seq=standing.next_seq,
            ),
            owner=record.owner,
            put=keeper.put,
            memory=self._memory,
            keeps_results=keeper.store.durable,
        )
        if record.state is not None:
            stream.bound.restore(unpack_state(record.state))
        return stream

    # Frames and their acknowledgements.

    def _take_frame(self, link: DeviceLink, frame: Frame) -> None:
        stream = self._stream_of[link]
        if frame.split not in stream.pipeline.splits:
            raise RemoteProtocolError(
                f"frame {frame.seq} has split {frame.split}, which is no split"
            )
        link.reserved_bytes -= frame.held_bytes
        stream.submit_frame(frame)
        if stream.waiting.are_too_many:
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
                stream.waiting.leave(each.held_bytes)
                if not each.closes:
                    stream.counts.add(each, now)
            if not stream.is_stale:
                stream.stored_seq = finished[-1].outcome.stop
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
            link.set_crowded(stream.waiting.are_too_many)

    def _give_up_soon(self, stale: Sequence[Finished]) -> None:
        self._loop.call_soon_threadsafe(self._give_up, stale)

    def _give_up(self, stale: Sequence[Finished]) -> None:
        """End the sessions of streams that another server has opened; nothing is acknowledged."""
        # What was stored before comes first.
        self.acknowledge_stored()
        for each in stale:
            stream = self._streams.get(each.stream)
            assert stream is not None
            stream.waiting.leave(each.held_bytes)
            if stream.is_stale:
                continue
            stream.stored_seq = None
            reason = (
                f"another server that keeps the same results has taken stream {stream.name!r}"
                if stream.is_kept
                else f"stream {stream.name!r} is forgotten: too many others were used since"
            )
            logger.warning("stream_moved_on", extra={"stream": stream.name, "reason": reason})
            if stream.link is not None:
                stream.link.refuse(RefusalCode.INTERNAL, reason)

    def _close_stream(self, stream: Stream) -> None:
        if (link := stream.let_go()) is not None:
            self._links.let_out(link)
            del self._stream_of[link]
            self._forget_link(link)
        self._streams.close(stream)
        self._telemetry.look_last(stream)
        fields = {**stream.counts.report(), **trial_field(stream.name)}
        logger.info("stream_ended", extra=fields)
        self._recorder.record(StreamEnded(at_s=self._recorder.now(), stream=stream.name))

    # The end.

    async def _drain(self) -> bool:
        """Let the devices stop sending, finish what is here, and tell them that this is the end.

        Returns:
            Whether all that was here could be finished in time.
        """
        logger.info("draining", extra={"streams": len(self._stream_of)})
        for link in self._links.all():
            if link in self._stream_of:
                link.send_control(Control(name=DRAIN))
            else:
                link.refuse(RefusalCode.DRAINING, "the server is shutting down")
        waits = [stream.waiting.are_over.wait() for stream in self._streams.all()]
        drained = True
        try:
            await asyncio.wait_for(asyncio.gather(*waits), DRAIN_S)
        except TimeoutError:
            logger.warning("not_drained", extra={"after_s": DRAIN_S})
            drained = False
        for link in self._links.all():
            link.refuse(RefusalCode.DRAINING, "the server is shutting down")
        # One turn of the loop hands the refusals to the sockets.
        await asyncio.sleep(0)
        return drained

    def _summary(self) -> dict[str, object]:
        for stream in self._stream_of.values():
            stream.let_go()
        return summarise(self._streams.tally, refused=self._links.refusals.counts, load=self._load)


def _watch(fps: float) -> Control:
    return Control(name=WATCH, body={"fps": None if math.isinf(fps) else fps})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cloud program and return its exit code."""
    try:
        setup = set_up(sys.argv[1:] if arguments is None else arguments, os.environ)
        end_with_any_thread()
        server = CloudServer(setup)
        with closing(server.views):
            return asyncio.run(server.run())
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())

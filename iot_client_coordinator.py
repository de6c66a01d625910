"""The device program: capture frames, run the first tasks here, hand the rest to the cloud.

    python3 iot_client_coordinator.py                       # client only: all tasks run here
    python3 iot_client_coordinator.py 3 --host cloud        # tasks 1 to 3 here, the rest there
    python3 iot_client_coordinator.py 6 25 --host cloud     # automatic: hold 25 frames a second

One frame's path: `Capture` gives it a number, the scheduler a split, a `DeviceFrame` runs the tasks
before the split, several frames at a time as far as they need nothing of each other, and a delivery
(`Uplink` to the cloud, `LocalDelivery` in client-only mode) keeps it until its outcome is stored.
Sockets, buffers and reconnects are the business of ``offload``.
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from functools import partial
from typing import Final

import offload.core_packages  # noqa: F401  # first: it says which ones are missing
from offload import __version__
from offload.arguments import check_writable, report_error, write_summary
from offload.collector import collect_rarely
from offload.device.capture import Capture, Captured, Overload
from offload.device.choosing import Choosing
from offload.device.delivery import Delivery, open_local, open_uplink
from offload.device.display import Display, check_screen
from offload.device.drain import Drain, Interrupted
from offload.device.ending import check_ended_well, say_what_is_kept
from offload.device.local_delivery import LocalDelivery
from offload.device.options import Mode, Options, check_fits, parse
from offload.device.pictures import PictureRate
from offload.device.report import RunReport
from offload.device.sampling import Moment, Sampler
from offload.device.steering import DeviceSteering
from offload.device.survey import Survey
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState, Uplink
from offload.device.views import DeviceViews
from offload.errors import OffloadError, ReportError, TaskError
from offload.executors.device_frame import DeviceFrame
from offload.executors.in_order import InOrder
from offload.executors.opencv import share_processors
from offload.executors.threads import Quickness
from offload.load import LoadMeter
from offload.loading import App, load_app
from offload.logs import Mishaps, end_with_any_thread
from offload.messages import SAMPLED, Control, Open, Outcome, OutcomeRange, Welcome
from offload.results import unpack_state
from offload.results.writer import Finished, Snapshot, no_state, settle
from offload.telemetry.events import SAMPLE_PERIOD_S, RunBegan, RunEnded, TaskFailed
from offload.telemetry.form import to_fields
from offload.telemetry.reasons import ReasonWatch
from offload.transport import machine_name
from scheduler import Forecast, Reason
from task_interface import BoundPipeline, BoundSource, Context, Pipeline, nobody_looks

logger = logging.getLogger("device")

# How long the main loop waits at a time before it looks at signals and reports again.
TICK_S: Final = 0.2

# What a stream that cannot go on leaves for the frames in its workers: some pictures' time.
HAND_OVER_S: Final = 2.0

# Tasks that take less run in the main thread: another one would take as long to wake up.
QUICK_S: Final = 200e-6
QUICK_IN_A_ROW: Final = 8

# Longer than any decoder takes for one picture: what takes longer to read waits for its pictures.
SLOW_READ_S: Final = 20e-3


class DeviceRun:
    """One run of the device program: everything between options and final report.

    Args:
        options: What the user asked for.
        app: The pipeline to run.
        views: What looks at its events.
    """

    def __init__(self, options: Options, app: App, views: DeviceViews) -> None:
        """Prepare; nothing is opened yet."""
        self._options = options
        self._app = app
        self._pipeline: Pipeline = app.pipeline
        self._bound: BoundPipeline = app.pipeline.bind()
        self._totals = RunTotals(app.pipeline.names)
        self._load = LoadMeter()
        self._pictures = PictureRate()
        self._display: Display | None = None
        self._choosing = Choosing(app.pipeline, options)
        self._steering: DeviceSteering | None = None
        self._views = views
        self._recorder = views.recorder
        self._sampler = Sampler(
            stream=options.stream,
            totals=self._totals,
            load=self._load,
            choosing=self._choosing,
            period_s=min(SAMPLE_PERIOD_S, options.report_every_s),
        )
        self._reasons = ReasonWatch()
        self._survey: Survey | None = None
        # Tasks that may share globals with their source run as they would in a plain loop.
        workers = 1 if app.pipeline.one_at_a_time else options.device_workers
        share_processors(workers)
        self._workers = InOrder[DeviceFrame](workers, on_ready=self._wake)
        self._last_read_s = 0.0
        self._quick = {
            split: Quickness(limit_s=QUICK_S, in_a_row=QUICK_IN_A_ROW)
            for split in (*app.pipeline.splits, len(app.pipeline))
        }
        self._source: BoundSource | None = None
        self._capture: Capture | None = None
        self._delivery: Delivery | None = None
        self._uplink: Uplink | None = None
        self.drain = Drain(on_begin=self._stop_capture)
        self._unwritten: ReportError | None = None
        self._next_seq = self._first_seq = 0
        self._snapshot: Snapshot = no_state
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._mishaps = Mishaps()

    def run(self) -> int:
        """Run to the end of the stream, write the report, and return the exit code.

        Raises:
            OffloadError: The stream could not be opened, could not go on, or did not end well; the
                report is written all the same.
        """
        try:
            self._run_stream()
        except OffloadError as error:
            say_what_is_kept(self._report_now, self._options, after=error)
            raise
        check_ended_well(self._report_now, self._options)
        if self._unwritten is not None:
            raise self._unwritten
        return 0

    def _run_stream(self) -> None:
        try:
            if self._open():
                collect_rarely()
                self._work()
        except OffloadError:
            self._hand_over_rest()
            raise
        finally:
            if self._delivery is not None:
                self._delivery.close()
            if self._display is not None:
                self._display.close()
            if self._capture is not None:
                # What ended the stream is raised by now, and would be raised again here.
                with suppress(OffloadError):
                    self._absorb()
            self._report_end()

    def _stop_capture(self) -> None:
        if self._capture is not None:
            self._capture.stop()

    # From here on in the order of a frame's path.

    def _open(self) -> bool:
        """Find out where the stream stands, and open the source there; False if told to end."""
        self._recorder.record(self._beginning())
        if self._options.mode is Mode.CLIENT_ONLY:
            self._open_local()
        elif not self._open_uplink():
            return False
        self._began_s = time.monotonic()
        self._first_seq = self._next_seq
        self._capture = self._open_source()
        if self.drain.is_wanted:
            self._capture.stop()
        return True

    def _open_local(self) -> None:
        if self._options.display:
            check_screen(os.environ)
        delivery = self._delivery = open_local(self._options, app=self._app.name)
        self._next_seq = delivery.record.next_seq
        if delivery.is_durable:
            self._snapshot = self._bound.snapshot
        if delivery.record.state is not None:
            self._bound.restore(unpack_state(delivery.record.state))
        if self._options.display:
            self._display = Display(self._app.name)
            self._pictures.fps = math.inf

    def _open_uplink(self) -> bool:
        opening = Open(
            app=self._app.name,
            fingerprint=self._pipeline.fingerprint(),
            stream=self._options.stream,
            device=machine_name(),
            trial=self._options.trial,
        )
        uplink = self._delivery = self._uplink = open_uplink(
            self._options, opening, os.environ, self._recorder
        )
        uplink.start()
        while (welcome := uplink.wait_until_open(timeout_s=TICK_S)) is None:
            self.drain.say()
            if self.drain.is_wanted:
                return False
        self._next_seq = uplink.next_seq
        if self._options.mode is Mode.AUTOMATIC:
            self._choosing.begin(workers=self._workers.workers, cloud_workers=welcome.workers)
        assert self._options.split is not None, "there is a cloud"
        self._steering = DeviceSteering(
            uplink,
            self._choosing.scheduler,
            split=self._options.split,
            drain=self.drain,
            recorder=self._recorder,
            stream=self._options.stream,
        )
        self._check_durable(welcome)
        return True

    def _check_durable(self, welcome: Welcome) -> None:
        """Say if the server keeps what it should not, or does not keep what it should."""
        if self._options.trial and welcome.durable:
            why = "the server is of an older version, which knows no --trial"
            logger.warning("trial_is_kept", extra={"why": why})
        if not self._options.trial and not welcome.durable:
            logger.warning("results_not_durable", extra={"why": "the server keeps none"})

    def _open_source(self) -> Capture:
        declared = self._pipeline.source
        try:
            source = self._source = declared.bind()
            frames = source.open(self._next_seq)
        except OffloadError:
            raise
        # A user's source may raise anything.
        except Exception as error:
            raise TaskError(declared.name, f"raised {type(error).__name__}: {error}") from error
        rate_fps = self._options.rate_fps or source.rate_fps
        if self._options.survey:
            assert self._choosing.scheduler is not None, "the mode is automatic"
            self._survey = Survey(
                self._choosing.scheduler,
                self._pipeline.splits,
                is_paced=source.live or rate_fps is not None,
            )
        default = Overload.NEWEST if source.live else Overload.BLOCK
        return Capture(
            frames,
            start_seq=self._next_seq,
            overload=self._options.overload or default,
            limit=self._options.limit,
            rate_fps=rate_fps,
            reopen=source.open if source.live else None,
        )

    def _work(self) -> None:
        """Take frames until there are no more, then wait for the last outcomes."""
        failure: Exception | None = None
        try:
            is_over = False
            while not is_over:
                self._make_room()
                captured = self._take()
                if captured is not None:
                    self._begin(captured)
                self._hand_over_ready()
                self._absorb()
                is_over = self.drain.is_over or (captured is None and self._captures.is_over)
        # Whatever the source raises ends the stream, after the frames that it gave are finished.
        except _SourceFailed as error:
            failure = error.cause
        while self._workers.in_progress and not self.drain.is_over:
            self._hand_over_next()
            self._absorb()
        if not self._workers.in_progress:
            self._workers.close()
            self._drop_up_to(self._captures.next_seq)
            self._finish()
        if failure is not None:
            raise failure

    def _make_room(self) -> None:
        """Wait until window and workers can take one more frame.

        Frames in progress have their place in the window already. What a live source gives
        meanwhile waits, or is overwritten.
        """
        while self._workers.is_full or self._out.room <= self._workers.in_progress:
            if self._workers.in_progress:
                self._hand_over_next()
            elif self._wait_for_room():
                # What became of other frames can wait until this one is on its way.
                return
            self._absorb()
            if self.drain.is_over:
                return

    def _wait_for_room(self) -> bool:
        began_s = time.monotonic()
        has_room = self._out.wait_for_room(timeout_s=TICK_S)
        self._choosing.wait_for_room(time.monotonic() - began_s)
        return has_room

    def _take(self) -> Captured | None:
        # A source that was slow may wait for something inside; nothing is to wait for it.
        while (
            self._last_read_s > SLOW_READ_S and self._workers.in_progress and not self.drain.is_over
        ):
            self._hand_over_next()
        try:
            captured = self._captures.next(timeout_s=TICK_S)
            if captured is not None:
                self._last_read_s = captured.read_s
            return captured
        except OffloadError as error:
            raise _SourceFailed(error) from error
        # A user's source may raise anything.
        except Exception as error:
            name = self._pipeline.source.name
            wrapped = TaskError(name, f"raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            raise _SourceFailed(wrapped) from error

    def _begin(self, captured: Captured) -> None:
        """Choose the frame's split, and run the free part of its tasks: here, or on a worker."""
        now = time.monotonic()
        watched = self._is_watched(now)
        work = self._make_work(captured, now, watched=watched)
        self._totals.chose(work.split)
        assert self._source is not None
        run = partial(work.run_free, self._pipeline, self._source, self._bound)
        quick = self._quick[work.split]
        while self._workers.is_better_ended_first(quick) and not self.drain.is_over:
            self._hand_over_next()
        if self._workers.begin(work, run=run, quick=quick):
            self._hand_over(work)

    def _is_watched(self, now: float) -> bool:
        if self._uplink is not None:
            self._pictures.fps = self._uplink.watched_fps
        return self._pictures.takes(now)

    def _make_work(self, captured: Captured, now: float, *, watched: bool) -> DeviceFrame:
        show = self._display.show if self._display is not None else nobody_looks
        context = Context(
            stream=self._options.stream,
            seq=captured.seq,
            captured_at=captured.captured_at,
            watched=watched,
            show=show,
        )
        make = partial(
            DeviceFrame,
            captured.values,
            read_s=captured.read_s,
            captured_s=captured.captured_s,
            context=context,
        )
        uplink, choosing = self._uplink, self._choosing
        if uplink is None:
            return make(split=len(self._pipeline), encodings=None)
        way = choosing.choose(captured, now, watched=watched, is_behind=uplink.is_behind)
        # Whoever catches up needs all of the window, and the scheduler does not see to it.
        uplink.limit_window(self._options.window if uplink.is_behind else choosing.window)
        return make(split=way.split, encodings=way.encodings, padding_bytes=way.padding_bytes)

    def _wake(self) -> None:
        """Let the main thread look at a frame that is ready instead of waiting for the next one."""
        self._captures.wake()

    def _hand_over_ready(self) -> None:
        while self._workers.has_ready:
            self._hand_over_next()

    def _hand_over_next(self) -> None:
        """Hand over the oldest frame in progress, if it is ready within a tick."""
        work = self._workers.next_ready(timeout_s=TICK_S)
        if work is not None:
            self._hand_over(work)

    def _hand_over(self, work: DeviceFrame) -> None:
        """Run the rest of the frame's tasks, and put it where its outcome will be stored."""
        self._drop_up_to(work.seq)
        work.run_ordered(self._pipeline, self._bound)
        self._mishaps.warn_of(work.run.mishaps)
        self._totals.ran_on_device(work.run.seconds)
        self._next_seq = work.seq + 1
        if (error := work.run.error) is not None:
            extra = {"seq": work.seq, "task": error.task, "where": error.where}
            logger.debug("frame_failed", extra=extra)
        self._choosing.ran(work)
        if self._uplink is None:
            self._finish_here(work)
        elif work.run.ended:
            self._out.put_ended(work.ended(), captured_s=[work.captured_s])
        else:
            self._uplink.put_frame(work.message(), captured_s=work.captured_s)

    def _drop_up_to(self, seq: int) -> None:
        """Book what was captured and overwritten before it was taken."""
        if self._next_seq < seq:
            dropped = OutcomeRange(
                first=self._next_seq,
                count=seq - self._next_seq,
                outcome=Outcome.DROPPED,
                reason="overwritten by a newer frame",
            )
            self._out.put_ended(dropped, captured_s=())
            self._next_seq = seq

    def _finish_here(self, work: DeviceFrame) -> None:
        settled = settle(
            work.seq,
            filtered_by=work.run.filtered_by,
            error=work.run.error,
            result=work.run.result,
            last_task=self._pipeline.names[-1],
            snapshot=self._snapshot,
        )
        assert isinstance(self._delivery, LocalDelivery)
        finished = Finished(
            stream=self._options.stream,
            epoch=self._delivery.record.epoch,
            outcome=settled.outcome,
            split=len(self._pipeline),
            captured_at=work.context.captured_at,
            received_at=work.context.captured_at,
            value=settled.value,
            state=settled.state,
        )
        self._delivery.put_finished(finished, captured_s=[work.captured_s])

    def _absorb(self) -> None:
        """Learn what became of frames, and report when it is time."""
        self.drain.say()
        if self._steering is not None:
            self._steering.follow()
        deliveries = self._out.take_deliveries()
        task_times = self._uplink.take_task_times() if self._uplink is not None else []
        self._totals.ran_in_cloud(task_times)
        self._choosing.ran_in_cloud(task_times)
        for delivered in deliveries:
            self._warn_of_failure(delivered.outcome)
            if self._survey is not None:
                self._survey.finished(delivered)
            self._totals.finished(delivered)
            if self._uplink is not None:
                self._choosing.finished(delivered, cloud_load=self._uplink.cloud_load)
        if self._display is not None:
            self._display.refresh()
            if self._display.closed and not self.drain.is_wanted:
                self.drain.begin(why="the window was closed")
        now = time.monotonic()
        self._follow_survey(now)
        if self._sampler.is_due(now):
            self._sample(now)

    def _follow_survey(self, now: float) -> None:
        if self._survey is None or self.drain.is_wanted:
            return
        self._survey.follow(now, next_seq=self._captures.next_seq)
        if self._survey.is_over:
            self.drain.begin(why="every split was tried")

    def _warn_of_failure(self, outcome: OutcomeRange) -> None:
        """Say once per task that frames fail; the counts follow at the end."""
        if outcome.outcome is Outcome.FAILED and outcome.task not in self._totals.failures:
            self._recorder.record(
                TaskFailed(
                    at_s=self._recorder.now(),
                    stream=self._options.stream,
                    seq=outcome.first,
                    task=outcome.task,
                    reason=outcome.reason,
                )
            )

    def _finish(self) -> None:
        """Wait for the outcomes of the frames in flight: 10 s when told to stop, else for ever."""
        while not self._out.finish(timeout_s=TICK_S) and not self.drain.is_over:
            self._absorb()
            if self.drain.is_wanted and self._uplink is not None and self._uplink.is_resting:
                break
        self._ended_s = time.monotonic()

    def _hand_over_rest(self) -> None:
        """Put what was captured where it is kept, though the stream cannot go on.

        Else frames in the workers would be lost, and the workers abort the program at its end.
        """
        if self._capture is None or self._delivery is None:
            return
        self.drain.begin()
        by_s = time.monotonic() + HAND_OVER_S
        while self._workers.in_progress and time.monotonic() < by_s:
            self._hand_over_next()
        if not self._workers.in_progress:
            self._workers.close()
            self._drop_up_to(self._captures.next_seq)

    # Reports.

    def _beginning(self) -> RunBegan:
        return RunBegan(
            at_s=self._recorder.now(),
            began_at=time.time(),
            stream=self._options.stream,
            device=machine_name(),
            app=self._app.name,
            mode=str(self._options.mode),
            tasks=self._pipeline.names,
            splits=() if self._options.split is None else tuple(self._pipeline.splits),
            target_fps=self._options.target_fps,
            version=__version__,
        )

    def _sample(self, now: float) -> None:
        """Record how the run goes, and tell the cloud if it has asked."""
        uplink, options = self._uplink, self._options
        moment = Moment(
            now=now,
            at_s=self._recorder.now(),
            began_s=self._began_s,
            link=self._out.state(),
            has_cloud=uplink is not None,
            is_behind=uplink is not None and uplink.is_behind,
            capture=self._captures,
            is_live=self._source is not None and self._source.live,
            expected_frames=self._expected_frames,
            split=len(self._pipeline) if options.split is None else options.split,
            pinned=None if self._steering is None else self._steering.pinned,
        )
        sampled = self._sampler.sample(moment)
        self._recorder.record(sampled)
        if (changed := self._reasons.note(sampled)) is not None:
            self._recorder.record(changed)
        if uplink is not None and uplink.wants_samples:
            uplink.say(Control(name=SAMPLED, body=to_fields(sampled)))

    @property
    def _expected_frames(self) -> int | None:
        """How many frames this run will capture, as far as one can know."""
        if self._options.limit.duration_s is not None:
            # Nobody knows whether time or frames will be over first.
            return None
        counts = [self._options.limit.frames]
        if self._source is not None and self._source.frame_count is not None:
            counts.append(max(0, self._source.frame_count - self._first_seq))
        return min((each for each in counts if each is not None), default=None)

    @property
    def _report_now(self) -> RunReport:
        scheduler = self._choosing.scheduler
        return RunReport(
            mode=str(self._options.mode),
            app=self._app.name,
            stream=self._options.stream,
            target_fps=self._options.target_fps if scheduler is None else scheduler.target_fps,
            began_s=self._began_s,
            duration_s=(self._ended_s or time.monotonic()) - self._began_s,
            captured=self._capture.captured if self._capture is not None else 0,
            totals=self._totals,
            link=self._link_state,
            load=self._load,
            decisions=scheduler.decisions() if scheduler is not None else (),
            forecasts=self._forecasts,
        )

    @property
    def _forecasts(self) -> Sequence[Forecast]:
        if self._survey is not None:
            return self._survey.forecasts()
        scheduler = self._choosing.scheduler
        return scheduler.forecasts() if scheduler is not None else ()

    def _report_end(self) -> None:
        report = self._report_now
        try:
            write_summary(self._options.summary, report.summary())
        except ReportError as error:
            # Raised at the very end: what ended the stream is told first.
            self._unwritten = error
            logger.error("summary_not_written", extra={"reason": str(error)})
        if self._capture is None:
            return
        logger.info("finished", extra=report.closing_line())
        self._recorder.record(
            RunEnded(
                at_s=self._recorder.now(),
                stream=self._options.stream,
                duration_s=report.duration_s,
                fps=report.fps,
                **report.frames,
            )
        )
        for task, number in self._totals.failures.items():
            logger.warning("frames_failed", extra={"frames": number, "task": task})
        self._views.end(report)

    @property
    def _captures(self) -> Capture:
        assert self._capture is not None, "the source is open"
        return self._capture

    @property
    def _link_state(self) -> LinkState:
        return self._delivery.state() if self._delivery is not None else LinkState()

    @property
    def _out(self) -> Delivery:
        assert self._delivery is not None, "the stream is open"
        return self._delivery


class _SourceFailed(Exception):  # noqa: N818  # a signal inside this module, not an error of its own
    """The source raised ``cause``; the frames that it gave before are still finished."""

    def __init__(self, cause: OffloadError) -> None:
        super().__init__(str(cause))
        self.cause = cause


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the device program and return its exit code."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        app = load_app(
            options.app, source=options.source, source_is_default=options.source_is_default
        )
        check_fits(
            options,
            tasks=len(app.pipeline),
            splits=app.pipeline.splits,
            permits_lossy=app.pipeline.permits_lossy,
        )
        check_writable(options.summary)
        end_with_any_thread()
        views = DeviceViews(options, reasons=tuple(Reason), environment=os.environ)
        with closing(views):
            run = DeviceRun(options, app, views)
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, run.drain.interrupt)
            return run.run()
    except OffloadError as error:
        return report_error(error)
    except (Interrupted, KeyboardInterrupt):
        return 130


if __name__ == "__main__":
    sys.exit(main())

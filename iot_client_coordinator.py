"""The device program: capture frames, run the first tasks here, hand the rest to the cloud.

    python3 iot_client_coordinator.py                       # client only: all tasks run here
    python3 iot_client_coordinator.py 3 --host cloud        # tasks 1 to 3 here, the rest there
    python3 iot_client_coordinator.py 6 25 --host cloud     # automatic: hold 25 frames a second

One frame's path: `Capture` gives it a number, the scheduler a split, a `_FrameWork` runs the tasks
before the split, several frames at a time as far as they need nothing of each other, and a delivery
(`Uplink` to the cloud, `LocalDelivery` in client-only mode) keeps it until its outcome is stored.
Sockets, buffers and reconnects are the business of ``offload``.
"""

import logging
import math
import os
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Final, Protocol

from offload import values as wire_values
from offload.arguments import check_writable, report_error, write_summary
from offload.auth import load_device_token
from offload.collector import collect_rarely
from offload.device.capture import Capture, Captured, Overload
from offload.device.dialer import Dialer, Secure, leave_plain
from offload.device.display import Display, check_screen
from offload.device.encoding_choice import EncodingChoice, EncodingMode
from offload.device.link import LinkEstimate
from offload.device.local_delivery import LocalDelivery
from offload.device.options import Mode, Options, parse
from offload.device.outbox import Delivered
from offload.device.pictures import PictureRate
from offload.device.report import RunReport, count_frames
from offload.device.telemetry import RunTotals
from offload.device.uplink import LinkState, Uplink
from offload.errors import (
    ConfigurationError,
    OffloadError,
    PayloadError,
    ServerUnavailable,
    TaskError,
    WorkKept,
)
from offload.executors.in_order import InOrder
from offload.executors.opencv import share_processors
from offload.executors.threads import Quickness
from offload.load import LoadMeter
from offload.loading import App, load_app
from offload.logs import Mishaps, end_with_any_thread
from offload.messages import Frame, Open, Outcome, OutcomeRange
from offload.results import open_results, unpack_state
from offload.results.writer import Finished, Snapshot, no_state, settle
from offload.transport import machine_name
from offload.values.encodings import Encoding
from scheduler import Observation, OperatingPoint, ThroughputScheduler
from task_interface import (
    BoundPipeline,
    BoundSource,
    Context,
    Pipeline,
    PipelineRun,
    nobody_looks,
)

logger = logging.getLogger("device")

# How long the main loop waits at a time before it looks at signals and reports again.
TICK_S: Final = 0.2

# What the first SIGTERM or SIGINT leaves for the frames in flight (contract, section 4).
DRAIN_S: Final = 10.0

# What a stream that cannot go on leaves for the frames in its workers: some pictures' time.
HAND_OVER_S: Final = 2.0

# Tasks that take less run in the main thread: another one would take as long to wake up.
QUICK_S: Final = 200e-6
QUICK_IN_A_ROW: Final = 8

# Longer than any decoder takes for one picture: what takes longer to read waits for its pictures.
SLOW_READ_S: Final = 20e-3


class Delivery(Protocol):
    """Where frames go: the cloud, or this machine's store. See `Uplink` and `LocalDelivery`."""

    @property
    def room(self) -> int:
        """How many more frames may be put in now."""

    def wait_for_room(self, *, timeout_s: float) -> bool:
        """Wait until another frame may be put in; False if it may not by then."""

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended without a result."""

    def take_deliveries(self) -> list[Delivered]:
        """Return the frames that were finished since the last call."""

    def finish(self, *, timeout_s: float | None) -> bool:
        """Say that the stream is complete; True once all of it is stored."""

    def close(self) -> None:
        """Release what it holds."""

    def state(self) -> LinkState:
        """Return how it is doing."""


class Interrupted(BaseException):
    """The user interrupted a second time: end now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """What the scheduler is still to be told of a frame when its outcome comes."""

    split: int
    waited_s: float


class _FrameWork:
    """One frame on its way through the device's tasks: a free part, then one in order.

    Args:
        captured: The frame.
        split: How many tasks run here; all of them in client-only mode.
        context: What its tasks may know of it.
        encodings: How its values travel; None if they do not.
    """

    __slots__ = ("_encodings", "captured", "context", "packed", "run", "split")

    def __init__(
        self,
        captured: Captured,
        *,
        split: int,
        context: Context,
        encodings: Mapping[str, Encoding] | None,
    ) -> None:
        self.captured = captured
        self.split = split
        self.context = context
        self.run = PipelineRun(values={})
        self.packed: wire_values.Packed | None = None
        self._encodings = encodings

    def run_free(self, pipeline: Pipeline, source: BoundSource, bound: BoundPipeline) -> float:
        """Run what needs nothing of other frames, in any thread; return the seconds it took."""
        began_s = time.perf_counter()
        try:
            values = source.frame_values(self.captured.values)
        except TaskError as error:
            self.run = PipelineRun(values={}, error=error.released())
        else:
            prepared_s = time.perf_counter()
            stop = min(pipeline.first_in_order(1), self.split)
            self.run = _run(bound, values, 1, stop, self.context)
            self.run.seconds[0] = self.captured.read_s + prepared_s - began_s
            if stop == self.split:
                self._pack(pipeline)
        return time.perf_counter() - began_s

    def run_ordered(self, pipeline: Pipeline, bound: BoundPipeline) -> None:
        """Run the tasks that see frames in order, if the split lies behind any."""
        start = pipeline.first_in_order(1)
        if start < self.split and not self.run.ended:
            seconds, mishaps = self.run.seconds, self.run.mishaps
            self.run = _run(bound, self.run.values, start, self.split, self.context)
            self.run.seconds.update(seconds)
            self.run.mishaps.extend(mishaps)
            self._pack(pipeline)

    def _pack(self, pipeline: Pipeline) -> None:
        """Turn the live values into the form in which they travel."""
        run = self.run
        if self._encodings is None or run.ended:
            return
        names = pipeline.live_values(self.split, watched=self.context.watched)
        live = {name: run.values[name] for name in names}
        try:
            self.packed = wire_values.pack(live, encodings=self._encodings, clock=time.perf_counter)
        except PayloadError as error:
            task = _giver_of_what_cannot_cross(pipeline, self.split, live)
            failure = TaskError(task, f"gave a value: {error}")
            self.run = PipelineRun(values=run.values, seconds=run.seconds, error=failure)


def _run(
    bound: BoundPipeline,
    values: Mapping[str, wire_values.Value],
    start: int,
    stop: int,
    context: Context,
) -> PipelineRun:
    return bound.run(values, start=start, stop=stop, context=context, clock=time.perf_counter)


class DeviceRun:
    """One run of the device program: everything between options and final report.

    Args:
        options: What the user asked for.
        app: The pipeline to run.
    """

    def __init__(self, options: Options, app: App) -> None:
        """Prepare; nothing is opened yet."""
        self._options = options
        self._app = app
        self._pipeline: Pipeline = app.pipeline
        self._bound: BoundPipeline = app.pipeline.bind()
        self._totals = RunTotals(app.pipeline.names)
        self._load = LoadMeter()
        self._scheduler = _scheduler(options, app.pipeline)
        self._pending: dict[int, _Pending] = {}
        self._pictures = PictureRate()
        self._display: Display | None = None
        self._link = LinkEstimate()
        self._encoding_choice = EncodingChoice(options.encoding)
        # Tasks that may share globals with their source run as they would in a plain loop.
        workers = 1 if app.pipeline.one_at_a_time else options.device_workers
        share_processors(workers)
        self._workers = InOrder[_FrameWork](workers, on_ready=self._wake)
        self._last_read_s = 0.0
        self._quick = {
            split: Quickness(limit_s=QUICK_S, in_a_row=QUICK_IN_A_ROW)
            for split in (*app.pipeline.splits, len(app.pipeline))
        }
        self._source: BoundSource | None = None
        self._capture: Capture | None = None
        self._delivery: Delivery | None = None
        self._uplink: Uplink | None = None
        self._interrupted = False
        self._unsaid_signal: str | None = None
        self._stop_requested = False
        self._drain_by_s = math.inf
        self._next_seq = 0
        self._snapshot: Snapshot = no_state
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._next_report_s = self._began_s + options.report_every_s
        self._reported_failures: set[str] = set()
        self._mishaps = Mishaps()

    def run(self) -> int:
        """Run to the end of the stream, write the report, and return the exit code.

        Raises:
            OffloadError: The stream could not be opened, or could not go on; the report is written
                all the same.
        """
        try:
            self._run_stream()
        except ServerUnavailable as error:
            if self._link_state.spooled and not self._frames["abandoned"]:
                raise WorkKept(f"{error}; {self._what_is_kept()}") from error
            raise
        except OffloadError:
            if self._link_state.spooled:
                logger.warning("work_kept", extra={"how": self._what_is_kept()})
            raise
        frames = self._frames
        nothing_worked = frames["failed"] > 0 and self._totals.throughput_frames == 0
        if frames["abandoned"] or nothing_worked:
            return 1
        if frames["spooled"]:
            raise WorkKept(self._what_is_kept())
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

    def _what_is_kept(self) -> str:
        return (
            f"{self._link_state.spooled} frames are kept in {self._options.spool}: "
            f"start again with --stream {shlex.quote(self._options.stream)} and the same --spool"
        )

    def interrupt(self, signal_number: int, _frame: FrameType | None) -> None:
        """Begin to drain at the first signal; end at once at the second."""
        if self._interrupted:
            raise Interrupted
        self._interrupted = True
        # Said later: the main thread may be writing a line at this very moment, and a stream that
        # is written to cannot be written to from within.
        self._unsaid_signal = signal.Signals(signal_number).name
        self._stop()

    def _stop(self) -> None:
        """Capture no more frames, and give those that are here some time."""
        if not self._stop_requested:
            self._stop_requested = True
            self._drain_by_s = time.monotonic() + DRAIN_S
        if self._capture is not None:
            self._capture.stop()

    def _say_draining(self) -> None:
        if self._unsaid_signal is not None:
            logger.info("draining", extra={"signal": self._unsaid_signal})
            self._unsaid_signal = None

    # From here on in the order of a frame's path.

    def _open(self) -> bool:
        """Find out where the stream stands, and open the source there; False if told to stop."""
        if self._options.mode is Mode.CLIENT_ONLY:
            if self._options.display:
                check_screen(os.environ)
            self._delivery, self._next_seq = self._open_local()
            if self._options.display:
                self._display = Display(self._app.name)
                self._pictures.fps = math.inf
        else:
            self._delivery = self._uplink = self._make_uplink()
            self._uplink.start()
            while (welcome := self._uplink.wait_until_open(timeout_s=TICK_S)) is None:
                if self._stop_requested:
                    self._say_draining()
                    return False
            self._next_seq = self._uplink.next_seq
            if not welcome.durable:
                logger.warning("results_not_durable", extra={"why": "the server keeps none"})
        self._began_s = time.monotonic()
        self._capture = self._open_source()
        if self._stop_requested:
            self._capture.stop()
        return True

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
        default = Overload.NEWEST if source.live else Overload.BLOCK
        return Capture(
            frames,
            start_seq=self._next_seq,
            overload=self._options.overload or default,
            limit=self._options.limit,
            rate_fps=self._options.rate_fps or source.rate_fps,
            reopen=source.open if source.live else None,
        )

    def _open_local(self) -> tuple[LocalDelivery, int]:
        store = open_results(self._options.results)
        record = store.open_stream(
            stream=self._options.stream,
            device=machine_name(),
            app=self._app.name,
            owner="",
            now=time.time(),
        )
        if record.app != self._app.name:
            store.close()
            raise ConfigurationError(
                f"stream {self._options.stream!r} belongs to app {record.app!r}: "
                "choose another --stream"
            )
        if store.durable:
            self._snapshot = self._bound.snapshot
        if record.state is not None:
            self._bound.restore(unpack_state(record.state))
        return LocalDelivery(store, record), record.next_seq

    def _make_uplink(self) -> Uplink:
        options = self._options
        opening = Open(
            app=self._app.name,
            fingerprint=self._pipeline.fingerprint(),
            stream=options.stream,
            device=machine_name(),
        )
        dialer = Dialer(
            servers=options.servers,
            token=load_device_token(options.token_file, os.environ),
            retry_for_s=options.retry_for_s,
            secure=_secure(options),
        )
        spool = None
        if options.spool is not None:
            # Here, because it loads SQLite, which a device without a spool does without.
            from offload.device.spooling import open_spool

            spool = open_spool(options.spool, opening, limit_bytes=options.spool_limit)
        return Uplink(dialer=dialer, opening=opening, window=options.window, spool=spool)

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
                is_over = self._drain_is_over or (captured is None and self._captures.is_over)
        # Whatever the source raises ends the stream, after the frames that it gave are finished.
        except _SourceFailed as error:
            failure = error.cause
        while self._workers.in_progress and not self._drain_is_over:
            self._hand_over_next()
            self._absorb()
        if not self._workers.in_progress:
            self._workers.close()
            self._drop_up_to(self._captures.next_seq)
            self._finish()
        if failure is not None:
            raise failure

    @property
    def _captures(self) -> Capture:
        assert self._capture is not None, "the source is open"
        return self._capture

    @property
    def _captured_frames(self) -> int:
        return self._capture.captured if self._capture is not None else 0

    @property
    def _frames(self) -> dict[str, int]:
        return count_frames(self._totals, self._link_state, captured=self._captured_frames)

    @property
    def _link_state(self) -> LinkState:
        return self._delivery.state() if self._delivery is not None else LinkState()

    @property
    def _out(self) -> Delivery:
        assert self._delivery is not None, "the stream is open"
        return self._delivery

    @property
    def _drain_is_over(self) -> bool:
        return self._stop_requested and time.monotonic() >= self._drain_by_s

    def _hand_over_rest(self) -> None:
        """Put what was captured where it is kept, though the stream cannot go on.

        Else frames in the workers would be lost, and the workers abort the program at its end.
        """
        if self._capture is None or self._delivery is None:
            return
        self._stop()
        by_s = time.monotonic() + HAND_OVER_S
        while self._workers.in_progress and time.monotonic() < by_s:
            self._hand_over_next()
        if not self._workers.in_progress:
            self._workers.close()
            self._drop_up_to(self._captures.next_seq)

    def _make_room(self) -> None:
        """Wait until window and workers can take one more frame.

        Frames in progress have their place in the window already. What a live source gives
        meanwhile waits, or is overwritten.
        """
        while self._workers.is_full or self._out.room <= self._workers.in_progress:
            if self._workers.in_progress:
                self._hand_over_next()
            elif self._out.wait_for_room(timeout_s=TICK_S):
                # What became of other frames can wait until this one is on its way.
                return
            self._absorb()
            if self._drain_is_over:
                return

    def _take(self) -> Captured | None:
        # A source that was slow may wait for something inside; nothing is to wait for it.
        while (
            self._last_read_s > SLOW_READ_S
            and self._workers.in_progress
            and not self._drain_is_over
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
        split = self._options.split or len(self._pipeline)
        if self._uplink is not None and self._uplink.is_behind:
            # What goes to disk should be small, so that it lasts and is caught up with quickly.
            split = self._pipeline.splits[-1]
        elif self._scheduler is not None:
            split = self._scheduler.choose(now).point.split
            self._pending[captured.seq] = _Pending(split=split, waited_s=captured.waited_s)
        self._totals.chose(split)
        work = self._make_work(captured, split, watched=self._is_watched(now))
        assert self._source is not None
        run = partial(work.run_free, self._pipeline, self._source, self._bound)
        quick = self._quick[split]
        while self._workers.is_better_ended_first(quick) and not self._drain_is_over:
            self._hand_over_next()
        if self._workers.begin(work, run=run, quick=quick):
            self._hand_over(work)

    def _is_watched(self, now: float) -> bool:
        if self._uplink is not None:
            self._pictures.fps = self._uplink.watched_fps
        return self._pictures.takes(now)

    def _make_work(self, captured: Captured, split: int, *, watched: bool) -> _FrameWork:
        show = self._display.show if self._display is not None else nobody_looks
        context = Context(
            stream=self._options.stream,
            seq=captured.seq,
            captured_at=captured.captured_at,
            watched=watched,
            show=show,
        )
        encodings = None
        if self._uplink is not None:
            encodings = self._encoding_choice.choose(
                self._pipeline.encodings(split, watched=watched), self._link.seconds_per_byte
            )
        return _FrameWork(captured, split=split, context=context, encodings=encodings)

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

    def _hand_over(self, work: _FrameWork) -> None:
        """Run the rest of the frame's tasks, and put it where its outcome will be stored."""
        captured = work.captured
        self._drop_up_to(captured.seq)
        work.run_ordered(self._pipeline, self._bound)
        self._mishaps.warn_of(work.run.mishaps)
        self._totals.ran_on_device(work.run.seconds)
        self._next_seq = captured.seq + 1
        if self._uplink is None:
            self._finish_here(work)
        elif work.run.ended:
            self._put_ended(captured, work.run)
        else:
            self._put_frame(self._uplink, work)

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

    def _put_ended(self, captured: Captured, run: PipelineRun) -> None:
        if run.error is None:
            ended = OutcomeRange(
                first=captured.seq, count=1, outcome=Outcome.FILTERED, task=run.filtered_by or ""
            )
        else:
            task, reason = run.error.task, run.error.reason
            extra = {"seq": captured.seq, "task": task, "where": run.error.where}
            logger.debug("frame_failed", extra=extra)
            ended = OutcomeRange(
                first=captured.seq, count=1, outcome=Outcome.FAILED, task=task, reason=reason
            )
        self._out.put_ended(ended, captured_s=[captured.captured_s])

    def _finish_here(self, work: _FrameWork) -> None:
        captured, run = work.captured, work.run
        settled = settle(
            captured.seq,
            filtered_by=run.filtered_by,
            error=run.error,
            result=run.result,
            last_task=self._pipeline.names[-1],
            snapshot=self._snapshot,
        )
        finished = Finished(
            stream=self._options.stream,
            outcome=settled.outcome,
            split=len(self._pipeline),
            captured_at=captured.captured_at,
            received_at=captured.captured_at,
            value=settled.value,
            state=settled.state,
        )
        assert isinstance(self._delivery, LocalDelivery)
        self._delivery.put_finished(finished, captured_s=[captured.captured_s])

    def _put_frame(self, uplink: Uplink, work: _FrameWork) -> None:
        assert work.packed is not None
        self._encoding_choice.learn(work.packed.trials)
        frame = Frame(
            seq=work.captured.seq,
            split=work.split,
            captured_at=work.captured.captured_at,
            tree=work.packed.tree,
            buffers=work.packed.buffers,
            watched=work.context.watched,
            decoded_bytes=work.packed.decoded_bytes,
        )
        uplink.put_frame(frame, captured_s=work.captured.captured_s)

    def _absorb(self) -> None:
        """Learn what became of frames, and report when it is time."""
        self._say_draining()
        for delivered in self._out.take_deliveries():
            self._totals.finished(delivered)
            self._warn_of_failure(delivered.outcome)
            self._observe(delivered)
        if self._uplink is not None:
            self._totals.ran_in_cloud(self._uplink.take_task_times())
        if self._display is not None:
            self._display.refresh()
            if self._display.closed and not self._stop_requested:
                logger.info("draining", extra={"why": "the window was closed"})
                self._stop()
        now = time.monotonic()
        if now >= self._next_report_s:
            self._next_report_s = now + self._options.report_every_s
            self._report(now)

    def _observe(self, delivered: Delivered) -> None:
        if delivered.sent_s is not None and delivered.residence_s is not None:
            self._link.observe(
                byte_count=delivered.message_bytes,
                sent_s=delivered.sent_s,
                acknowledged_s=delivered.finished_s,
                residence_s=delivered.residence_s,
            )
        if self._scheduler is None:
            return
        outcome = delivered.outcome
        for seq in range(outcome.first, outcome.stop):
            pending = self._pending.pop(seq, None)
            counts = outcome.outcome in (Outcome.RESULT, Outcome.FILTERED)
            if pending is not None and counts:
                self._scheduler.observe(
                    Observation(
                        at_s=delivered.finished_s,
                        split=pending.split,
                        waited_for_source_s=pending.waited_s,
                    )
                )

    def _warn_of_failure(self, outcome: OutcomeRange) -> None:
        """Say once per task that frames fail; the counts follow at the end."""
        if outcome.outcome is Outcome.FAILED and outcome.task not in self._reported_failures:
            self._reported_failures.add(outcome.task)
            logger.warning(
                "frame_failed",
                extra={"seq": outcome.first, "task": outcome.task, "reason": outcome.reason},
            )

    def _finish(self) -> None:
        """Wait for the outcomes of the frames in flight: 10 s when told to stop, else for ever."""
        while not self._out.finish(timeout_s=TICK_S) and not self._drain_is_over:
            self._absorb()
            if self._stop_requested and self._uplink is not None and self._uplink.is_resting:
                break
        self._ended_s = time.monotonic()

    # Reports.

    def _report(self, now: float) -> None:
        fields: dict[str, object] = {"fps": round(self._totals.rate.per_second(now), 1)}
        if self._scheduler is not None:
            state = self._scheduler.state(now)
            fields |= {
                "target": self._scheduler.target_fps,
                "split": round(state.position, 2),
                "reason": str(state.reason),
            }
        elif self._options.split is not None:
            fields["split"] = self._options.split
        link = self._out.state()
        p95_s = self._totals.latency.percentile(0.95)
        fields |= {
            "latency_p95_ms": None if p95_s is None else round(1000 * p95_s),
            "in_flight": link.in_flight,
            "dropped": self._totals.outcomes[Outcome.DROPPED],
            "cpu_percent": round(self._load.cpu_percent),
        }
        if (share := self._load.machine_share()) is not None:
            fields["machine_percent"] = round(100 * share)
        if self._source is not None and self._source.live:
            age_s = self._captures.age_s(time.monotonic())
            fields["missed"] = self._captures.missed
            fields["newest_age_ms"] = None if age_s is None else round(1000 * age_s)
        if link.spooled:
            fields["spooled"] = link.spooled
        if self._uplink is not None:
            fields["cloud_percent"] = round(100 * link.cloud_load)
            if self._link.seconds_per_byte:
                fields["link_mbit"] = round(8e-6 / self._link.seconds_per_byte, 1)
        logger.info("progress", extra=fields)

    def _report_end(self) -> None:
        report = RunReport(
            mode=str(self._options.mode),
            app=self._app.name,
            stream=self._options.stream,
            target_fps=self._options.target_fps,
            began_s=self._began_s,
            duration_s=(self._ended_s or time.monotonic()) - self._began_s,
            captured=self._captured_frames,
            totals=self._totals,
            link=self._link_state,
            load=self._load,
            decisions=self._scheduler.decisions() if self._scheduler is not None else (),
        )
        write_summary(self._options.summary, report.summary())
        if self._capture is None:
            return
        logger.info("finished", extra=report.closing_line())
        for task, number in self._totals.failures.items():
            logger.warning("frames_failed", extra={"frames": number, "task": task})


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
        _check_split(options, app.pipeline)
        _check_encoding(options, app.pipeline)
        check_writable(options.summary)
        end_with_any_thread()
        run = DeviceRun(options, app)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, run.interrupt)
        return run.run()
    except OffloadError as error:
        return report_error(error)
    except (Interrupted, KeyboardInterrupt):
        return 130


def _check_split(options: Options, pipeline: Pipeline) -> None:
    splits = pipeline.splits
    if options.split is not None and options.split not in splits:
        raise ConfigurationError(
            f"K is {options.split}, expected {splits.start} to {splits.stop - 1} for the "
            f"{len(pipeline)} tasks of {options.app}"
        )


def _check_encoding(options: Options, pipeline: Pipeline) -> None:
    if options.encoding is EncodingMode.LOSSY and not pipeline.permits_lossy:
        raise ConfigurationError(
            f"--encoding lossy: no task of {options.app} permits a lossy encoding; "
            "leave the option out"
        )


def _secure(options: Options) -> Secure:
    """Return what encrypts connections, if the user wants that."""
    if not options.tls:
        return leave_plain
    # Here, because it loads OpenSSL's TLS, 5 MB that a device without it does without.
    from offload.tls import device_context, secure

    context = device_context(options.tls_ca, options.tls_cert, options.tls_key)
    return lambda connection, host: secure(connection, context, host)


def _scheduler(options: Options, pipeline: Pipeline) -> ThroughputScheduler | None:
    if options.target_fps is None or options.split is None:
        return None
    return ThroughputScheduler(
        [OperatingPoint(split=split) for split in pipeline.splits],
        target_fps=options.target_fps,
        start=OperatingPoint(split=options.split),
    )


def _giver_of_what_cannot_cross(
    pipeline: Pipeline, split: int, live: Mapping[str, wire_values.Value]
) -> str:
    """Return the name of the task that gave the first value that cannot be packed."""
    for name, value in live.items():
        try:
            wire_values.pack(value)
        except PayloadError:
            for each in reversed(pipeline.tasks[:split]):
                if name in each.gives:
                    return each.name
    return pipeline.names[split - 1]


if __name__ == "__main__":
    sys.exit(main())

"""The device program: capture frames, run the first tasks here, hand the rest to the cloud.

    python3 iot_client_coordinator.py                       # client only: all tasks run here
    python3 iot_client_coordinator.py 3 --host cloud        # tasks 1 to 3 here, the rest there
    python3 iot_client_coordinator.py 6 25 --host cloud     # automatic: hold 25 frames a second

One frame's path: `Capture` gives it a number, the scheduler a split, the pipeline runs the tasks
before the split, and a delivery (`Uplink` to the cloud, `LocalDelivery` in client-only mode) keeps
it until its outcome is stored. Sockets, buffers and reconnects are the business of ``offload``.
"""

import logging
import math
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import FrameType
from typing import Final, Protocol, cast

from offload import values as wire_values
from offload.arguments import (
    check_writable,
    report_error,
    write_summary,
)
from offload.auth import load_device_token
from offload.capture import Capture, Captured, Overload
from offload.device_options import Mode, Options, parse
from offload.errors import ConfigurationError, OffloadError, PayloadError, TaskError
from offload.load import LoadMeter
from offload.loading import App, load_app
from offload.local_delivery import LocalDelivery
from offload.logs import end_with_any_thread
from offload.messages import Frame, Open, Outcome, OutcomeRange
from offload.outbox import Delivered
from offload.results import open_results, unpack_state
from offload.results_writer import Finished, settle
from offload.telemetry import RunTotals
from offload.transport import machine_name
from offload.uplink import LinkState, Uplink
from scheduler import Observation, OperatingPoint, ThroughputScheduler
from task_interface import BoundPipeline, Context, Pipeline, PipelineRun

logger = logging.getLogger("device")

# How long the main loop waits at a time before it looks at signals and reports again.
TICK_S: Final = 0.2

# What the first SIGTERM or SIGINT leaves for the frames in flight (contract, section 4).
DRAIN_S: Final = 10.0


class Delivery(Protocol):
    """Where frames go: the cloud, or this machine's store. See `Uplink` and `LocalDelivery`."""

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
    """What is still to be known of a frame when its outcome comes."""

    split: int
    waited_s: float


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
        self._live = {split: app.pipeline.live_values(split) for split in app.pipeline.splits}
        self._capture: Capture | None = None
        self._delivery: Delivery | None = None
        self._uplink: Uplink | None = None
        self._stop_requested = False
        self._drain_by_s = math.inf
        self._start_seq = 0
        self._next_seq = 0
        self._began_s = time.monotonic()
        self._ended_s: float | None = None
        self._next_report_s = self._began_s + options.report_every_s
        self._reported_failures: set[str] = set()

    def run(self) -> int:
        """Run to the end of the stream, write the report, and return the exit code.

        Raises:
            OffloadError: The stream could not be opened, or could not go on; the report of a stream
                that was opened is written all the same.
        """
        try:
            if not self._open():
                return 0
            self._work()
        finally:
            if self._delivery is not None:
                self._delivery.close()
            if self._capture is not None:
                # What ended the stream is raised by now, and would be raised again here.
                with suppress(OffloadError):
                    self._absorb()
                self._report_end()
        frames = self._frames()
        nothing_worked = frames["failed"] > 0 and self._totals.throughput_frames == 0
        return 1 if frames["abandoned"] or nothing_worked else 0

    def interrupt(self, signal_number: int, _frame: FrameType | None) -> None:
        """Begin to drain at the first signal; end at once at the second."""
        if self._stop_requested:
            raise Interrupted
        self._stop_requested = True
        self._drain_by_s = time.monotonic() + DRAIN_S
        logger.info("draining", extra={"signal": signal.Signals(signal_number).name})
        if self._capture is not None:
            self._capture.stop()

    # From here on in the order of a frame's path.

    def _open(self) -> bool:
        """Find out where the stream stands, and open the source there; False if told to stop."""
        if self._options.mode is Mode.CLIENT_ONLY:
            self._delivery, self._start_seq = self._open_local()
        else:
            self._delivery = self._uplink = self._make_uplink()
            self._uplink.start()
            while (welcome := self._uplink.wait_until_open(timeout_s=TICK_S)) is None:
                if self._stop_requested:
                    return False
            self._start_seq = welcome.next_seq
            if not welcome.durable:
                logger.warning("results_not_durable", extra={"why": "the server keeps none"})
        self._next_seq = self._start_seq
        source = self._pipeline.source
        default = Overload.NEWEST if source.live else Overload.BLOCK
        self._began_s = time.monotonic()
        try:
            frames = source.open(self._start_seq)
        except OffloadError:
            raise
        # A user's source may raise anything.
        except Exception as error:
            raise TaskError(source.name, f"raised {type(error).__name__}: {error}") from error
        self._capture = Capture(
            frames,
            start_seq=self._start_seq,
            overload=self._options.overload or default,
            limit=self._options.limit,
            rate_fps=self._options.rate_fps or source.rate_fps,
        )
        if self._stop_requested:
            self._capture.stop()
        return True

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
        if record.state is not None:
            self._bound.restore(unpack_state(record.state))
        return LocalDelivery(store, record), record.next_seq

    def _make_uplink(self) -> Uplink:
        return Uplink(
            servers=self._options.servers,
            token=load_device_token(self._options.token_file, os.environ),
            opening=Open(
                app=self._app.name,
                fingerprint=self._pipeline.fingerprint(),
                stream=self._options.stream,
                device=machine_name(),
            ),
            window=self._options.window,
            retry_for_s=self._options.retry_for_s,
        )

    def _work(self) -> None:
        """Take frames until there are no more, then wait for the last outcomes."""
        failure: Exception | None = None
        try:
            while not self._is_over:
                self._wait_for_room()
                captured = self._take()
                if captured is not None:
                    self._drop_up_to(captured.seq)
                    self._process(captured)
                self._absorb()
        # Whatever the source raises ends the stream, after the frames that it gave are finished.
        except _SourceFailed as error:
            failure = error.cause
        self._drop_up_to(self._captures.next_seq)
        self._finish()
        if failure is not None:
            raise failure

    @property
    def _captures(self) -> Capture:
        assert self._capture is not None, "the source is open"
        return self._capture

    @property
    def _out(self) -> Delivery:
        assert self._delivery is not None, "the stream is open"
        return self._delivery

    @property
    def _is_over(self) -> bool:
        return self._captures.is_over or self._drain_is_over

    @property
    def _drain_is_over(self) -> bool:
        return time.monotonic() >= self._drain_by_s

    def _wait_for_room(self) -> None:
        """Wait for the window; frames that come meanwhile wait, or are overwritten."""
        while not self._out.wait_for_room(timeout_s=TICK_S):
            self._absorb()
            if self._drain_is_over:
                return

    def _take(self) -> Captured | None:
        try:
            return self._captures.next(timeout_s=TICK_S)
        except OffloadError as error:
            raise _SourceFailed(error) from error
        # A user's source may raise anything.
        except Exception as error:
            name = self._pipeline.source.name
            wrapped = TaskError(name, f"raised {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            raise _SourceFailed(wrapped) from error

    def _drop_up_to(self, seq: int) -> None:
        """Book what was captured and overwritten before it was taken."""
        if self._next_seq < seq:
            dropped = OutcomeRange(
                first=self._next_seq,
                count=seq - self._next_seq,
                outcome=Outcome.DROPPED,
                reason="overwritten by a newer frame",
            )
            self._out.put_ended(dropped, captured_s=[time.monotonic()] * dropped.count)
            self._next_seq = seq

    def _process(self, captured: Captured) -> None:
        """Run the frame's tasks here and hand it over."""
        now = time.monotonic()
        split = self._choose(now)
        self._totals.chose(split)
        self._pending[captured.seq] = _Pending(split=split, waited_s=captured.waited_s)
        context = Context(
            stream=self._options.stream, seq=captured.seq, captured_at=captured.captured_at
        )
        run = self._bound.run(
            cast("Mapping[str, wire_values.Value]", captured.values),
            start=1,
            stop=split,
            context=context,
            clock=time.perf_counter,
        )
        self._totals.ran_on_device({0: captured.read_s, **run.seconds})
        self._next_seq = captured.seq + 1
        if isinstance(self._delivery, LocalDelivery):
            self._finish_here(self._delivery, captured, run)
        elif run.ended:
            self._put_ended(captured, run)
        else:
            self._put_frame(captured, split, run)

    def _choose(self, now: float) -> int:
        if self._scheduler is not None:
            return self._scheduler.choose(now).point.split
        return self._options.split or len(self._pipeline)

    def _put_ended(self, captured: Captured, run: PipelineRun) -> None:
        if run.error is not None:
            self._put_failed(captured, run.error.task, run.error.reason, run.error)
            return
        filtered = OutcomeRange(
            first=captured.seq, count=1, outcome=Outcome.FILTERED, task=run.filtered_by or ""
        )
        self._out.put_ended(filtered, captured_s=[captured.captured_s])

    def _put_failed(self, captured: Captured, task: str, reason: str, error: Exception) -> None:
        logger.debug("frame_failed", extra={"seq": captured.seq, "task": task}, exc_info=error)
        failed = OutcomeRange(
            first=captured.seq, count=1, outcome=Outcome.FAILED, task=task, reason=reason
        )
        self._out.put_ended(failed, captured_s=[captured.captured_s])

    def _finish_here(self, local: LocalDelivery, captured: Captured, run: PipelineRun) -> None:
        settled = settle(
            captured.seq,
            filtered_by=run.filtered_by,
            error=run.error,
            result=run.result,
            last_task=self._pipeline.names[-1],
            snapshot=self._bound.snapshot,
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
        local.put_finished(finished, captured_s=[captured.captured_s])

    def _put_frame(self, captured: Captured, split: int, run: PipelineRun) -> None:
        live = {name: run.values[name] for name in self._live[split]}
        try:
            packed = wire_values.pack(live)
        except PayloadError as error:
            task = _giver_of_what_cannot_cross(self._pipeline, split, live)
            self._put_failed(captured, task, f"gave a value: {error}", error)
            return
        frame = Frame(
            seq=captured.seq,
            split=split,
            captured_at=captured.captured_at,
            tree=packed.tree,
            buffers=packed.buffers,
        )
        assert self._uplink is not None
        self._uplink.put_frame(frame, captured_s=captured.captured_s)

    def _absorb(self) -> None:
        """Learn what became of frames, and report when it is time."""
        for delivered in self._out.take_deliveries():
            self._totals.finished(delivered)
            self._warn_of_failure(delivered.outcome)
            self._observe(delivered)
        if self._uplink is not None:
            self._totals.ran_in_cloud(self._uplink.take_task_times())
        now = time.monotonic()
        if now >= self._next_report_s:
            self._next_report_s = now + self._options.report_every_s
            self._report(now)

    def _observe(self, delivered: Delivered) -> None:
        outcome = delivered.outcome
        for seq in range(outcome.first, outcome.stop):
            pending = self._pending.pop(seq, None)
            counts = outcome.outcome in (Outcome.RESULT, Outcome.FILTERED)
            if pending is not None and counts and self._scheduler is not None:
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
            "machine_percent": round(100 * self._load.machine_share()),
        }
        if self._uplink is not None:
            fields["cloud_percent"] = round(100 * link.cloud_load)
        logger.info("progress", extra=fields)

    def _frames(self) -> dict[str, int]:
        outcomes = self._totals.outcomes
        captured = self._captures.next_seq - self._start_seq
        return {
            "captured": captured,
            "resumed": 0,
            "completed": outcomes[Outcome.RESULT],
            "filtered": outcomes[Outcome.FILTERED],
            "dropped": outcomes[Outcome.DROPPED],
            "failed": outcomes[Outcome.FAILED],
            "spooled": 0,
            "abandoned": captured - outcomes.total(),
        }

    def _report_end(self) -> None:
        duration_s = (self._ended_s or time.monotonic()) - self._began_s
        report = self._summary(duration_s)
        write_summary(self._options.summary, report)
        frames = self._frames()
        logger.info(
            "finished",
            extra={
                **{name: number for name, number in frames.items() if number or name == "captured"},
                "fps": report["fps"],
                "duration_s": round(duration_s, 1),
            },
        )
        for task, number in self._totals.failures.items():
            logger.warning("frames_failed", extra={"frames": number, "task": task})

    def _summary(self, duration_s: float) -> dict[str, object]:
        link = self._out.state()
        totals = self._totals
        decisions = self._scheduler.decisions() if self._scheduler is not None else ()
        return {
            "mode": str(self._options.mode),
            "app": self._app.name,
            "stream": self._options.stream,
            "target_fps": self._options.target_fps,
            "duration_s": duration_s,
            "frames": self._frames(),
            "fps": totals.throughput_frames / duration_s if duration_s > 0 else 0.0,
            "latency_s": totals.latency_summary(),
            "split": totals.split_summary(),
            "sent_bytes": link.sent_bytes,
            "device_task_s": totals.device_task_s(),
            "cloud_task_s": totals.cloud_task_s(),
            "cloud_s_saved": totals.cloud_s_saved(),
            "tasks": totals.task_summary(),
            "reconnects": link.reconnects,
            "resent": link.resent,
            "cpu_s": self._load.cpu_s,
            "cpu_percent": self._load.cpu_percent,
            "peak_rss_bytes": self._load.peak_rss_bytes(),
            "scheduler": [
                {
                    "t": each.at_s - self._began_s,
                    "fps": each.fps,
                    "target": each.target_fps,
                    "split": each.split,
                    "reason": str(each.reason),
                }
                for each in decisions
            ],
        }


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

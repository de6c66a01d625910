"""What a device program's newest events say, as metrics. Pure.

Nothing is counted here: the counts are those of the events, and begin at zero with each run.

    metrics = DeviceMetrics(reasons=tuple(Reason), now=recorder.now)
    metrics.note(event)                             # it is a view of the recorder
    list(metrics.read())
"""

from collections.abc import Callable, Iterator, Sequence

from offload.metrics import device_families as families
from offload.metrics.families import SAMPLE_AGE, Reading, read_load, still_so
from offload.telemetry.events import (
    RunBegan,
    RunEnded,
    Sampled,
    SessionLost,
    SessionOpened,
    TelemetryEvent,
)


class DeviceMetrics:
    """The metrics of one run.

    Args:
        reasons: All reasons that a scheduler may have for its split.
        now: Returns the time, as the events have it.
    """

    def __init__(self, *, reasons: Sequence[str], now: Callable[[], float]) -> None:
        """Start with nothing to say."""
        self._reasons = reasons
        self._now = now
        # Each is replaced as a whole, so whoever reads needs no lock.
        self._began: RunBegan | None = None
        self._sample: Sampled | None = None
        self._ended: RunEnded | None = None
        # Known before the first sample: a run may begin in an outage.
        self._connected = False

    def note(self, event: TelemetryEvent) -> None:
        """Take in one event."""
        match event:
            case RunBegan():
                self._connected = event.mode == "client_only"
                self._began = event
            case SessionOpened():
                self._connected = True
            case SessionLost():
                self._connected = False
            case Sampled():
                self._connected = event.connected
                self._sample = event
            case RunEnded():
                self._ended = event

    def read(self) -> Iterator[Reading]:
        """Yield the values that there are now."""
        began, sample, ended = self._began, self._sample, self._ended
        if began is None:
            return
        yield families.RUN_INFO.at(
            1, began.stream, began.device, began.app, began.mode, began.version
        )
        yield families.RUN_START.at(began.began_at)
        yield families.CONNECTED.at(self._connected)
        if sample is None:
            return
        age_s = self._now() - sample.at_s
        yield SAMPLE_AGE.at(age_s)
        yield from still_so(self._read_sample(began, sample, ended), age_s)

    def _read_sample(
        self, began: RunBegan, sample: Sampled, ended: RunEnded | None
    ) -> Iterator[Reading]:
        yield from self._read_steering(sample)
        # The last frames are finished after the last sample.
        yield from _read_frames(ended or sample)
        yield from _read_flow(sample)
        yield from _read_tasks(began.tasks, sample)
        yield from _read_link(sample)
        yield from read_load(sample)
        yield from families.TEMPERATURE.if_known(sample.temperature_c)

    def _read_steering(self, sample: Sampled) -> Iterator[Reading]:
        yield families.THROUGHPUT.at(sample.fps)
        yield from families.TARGET.if_known(sample.target_fps)
        for forecast in sample.forecasts:
            yield families.FORECAST.at(forecast.fps, str(forecast.split))
        yield from families.SPLIT.if_known(sample.split)
        yield from families.PINNED_SPLIT.if_known(sample.pinned)
        if sample.reason is not None:
            for reason in self._reasons:
                yield families.REASON.at(reason == sample.reason, str(reason))
        for quantile, latency_s in (
            ("0.5", sample.latency_p50_s),
            ("0.95", sample.latency_p95_s),
            ("0.99", sample.latency_p99_s),
        ):
            yield from families.LATENCY.if_known(latency_s, quantile)


def _read_frames(counts: Sampled | RunEnded) -> Iterator[Reading]:
    yield families.CAPTURED.at(counts.captured)
    yield families.RESUMED.at(counts.resumed)
    yield families.FRAMES.at(counts.completed, "result")
    yield families.FRAMES.at(counts.filtered, "filtered")
    yield families.FRAMES.at(counts.failed, "failed")
    yield families.FRAMES.at(counts.dropped, "dropped")
    yield families.SPOOLED.at(counts.spooled)


def _read_flow(sample: Sampled) -> Iterator[Reading]:
    yield from families.MISSED.if_known(sample.missed)
    yield from families.NEWEST_AGE.if_known(sample.newest_age_s)
    yield from families.EXPECTED.if_known(sample.expected_frames)
    for split, frames in enumerate(sample.split_frames):
        if split:
            yield families.SPLIT_FRAMES.at(frames, str(split))
    yield families.IN_FLIGHT.at(sample.in_flight)
    yield families.WINDOW.at(sample.window)


def _read_tasks(names: Sequence[str], sample: Sampled) -> Iterator[Reading]:
    for name, task in zip(names, sample.tasks, strict=True):
        yield families.TASK_SECONDS.at(task.device_s, name, "device")
        yield families.TASK_SECONDS.at(task.cloud_s, name, "cloud")
        yield families.TASK_RUNS.at(task.device_runs, name, "device")
        yield families.TASK_RUNS.at(task.cloud_runs, name, "cloud")


def _read_link(sample: Sampled) -> Iterator[Reading]:
    yield families.RECONNECTS.at(sample.reconnects)
    yield families.RESENT.at(sample.resent)
    yield families.SENT_BYTES.at(sample.sent_bytes)
    yield from families.LINK_RATE.if_known(sample.link_bytes_per_s)
    yield from families.CLOUD_CPU.if_known(sample.cloud_load)
    yield from families.SPOOL_BYTES.if_known(sample.spool_bytes)
    yield from families.SPOOL_LIMIT.if_known(sample.spool_limit_bytes)

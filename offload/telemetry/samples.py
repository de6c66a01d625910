"""The numbers that a device's samples hold, one column each, small enough to keep for a thousand.

Pure. What a sample counts since the run began becomes a rate here: the difference to the sample
before, by the device's own clock.

    samples = Samples(tasks=7)
    samples.append(at_s, measure(sample, before))
    samples.keep_newest(600)
    samples.column("fps")                       # a number or None for each sample
"""

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from offload.telemetry.events import Sampled, StreamSampled, TaskTotals

#: What is known of each moment, besides when it was; the order is that of `measure`.
MEASURED: Final = (
    *("fps", "target_fps", "split", "pinned"),
    *("latency_p50_s", "latency_p95_s", "latency_p99_s", "in_flight", "window"),
    *("link_bytes_per_s", "sent_bytes_per_s"),
    *("captured_per_s", "dropped_per_s", "failed_per_s"),
    *("device_s_per_frame", "cloud_s_per_frame"),
    *("cpu_percent", "machine_part", "memory_bytes", "temperature_c", "cloud_load", "connected"),
)

# Samples that came at once after a stall tell no rate.
_LEAST_PERIOD_S: Final = 0.05

# More tasks than any chart can show, and a bound to what one stream takes.
MAX_TASKS: Final = 64

_UNKNOWN: Final = math.nan

# In single precision nothing from here on has digits after the point.
_WHOLE: Final = 2.0**23


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is known of one moment; what is not known is not a number.

    Attributes:
        values: In the order of `MEASURED`.
        device_part: For each task, which part (0 to 1) of the frames of this moment it ran for on
            the device, or would have if they had come so far.
    """

    values: Sequence[float]
    device_part: Sequence[float]

    def value(self, name: str) -> float | None:
        """Return one of the values by its name in `MEASURED`; None if it is not known."""
        return known(self.values[MEASURED.index(name)])


class Samples:
    """The samples of one stream, the oldest first.

    A sample takes 96 bytes, and 4 for each task.

    Args:
        tasks: How many there are.
    """

    def __init__(self, *, tasks: int) -> None:
        """Start without any."""
        self.tasks = tasks
        # Single precision is enough to look at, but not for the time of a server that runs for
        # a year.
        self._at_s = array("d")
        self._columns = tuple(array("f") for _ in range(len(MEASURED) + tasks))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._at_s)

    @property
    def bytes_each(self) -> int:
        """What one sample takes."""
        return self._at_s.itemsize + 4 * len(self._columns)

    @property
    def last(self) -> Measured | None:
        """The newest one; None if there is none."""
        if not self._at_s:
            return None
        values = [each[-1] for each in self._columns]
        return Measured(values=values[: len(MEASURED)], device_part=values[len(MEASURED) :])

    @property
    def last_at_s(self) -> float | None:
        """When the newest one was."""
        return self._at_s[-1] if self._at_s else None

    def append(self, at_s: float, measured: Measured) -> None:
        """Add one; parts of tasks that are missing are not known, and further ones are left out."""
        self._at_s.append(at_s)
        missing = [_UNKNOWN] * (self.tasks - len(measured.device_part))
        parts = (*measured.device_part[: self.tasks], *missing)
        for column, value in zip(self._columns, (*measured.values, *parts), strict=True):
            column.append(value)

    def keep_newest(self, most: int) -> None:
        """Forget the oldest ones past ``most``; now and then, so that each costs little."""
        if len(self) > most + most // 4:
            for column in (self._at_s, *self._columns):
                del column[: len(column) - most]

    def keep_every_second(self) -> None:
        """Forget every second one."""
        for column in (self._at_s, *self._columns):
            del column[1::2]

    def copy(self) -> "Samples":
        """Return what does not change any more, for another thread."""
        copied = Samples(tasks=self.tasks)
        copied._at_s = self._at_s[:]
        copied._columns = tuple(each[:] for each in self._columns)
        return copied

    def times(self) -> list[float]:
        """Return when they were."""
        return [round(each, 3) for each in self._at_s]

    def column(self, name: str) -> list[float | None]:
        """Return a column by its name in `MEASURED`."""
        return _known(self._columns[MEASURED.index(name)])

    def device_part(self, task: int) -> list[float | None]:
        """Return the column of a task, by its index; see `Measured.device_part`."""
        return _known(self._columns[len(MEASURED) + task])


def known(value: float) -> float | None:
    """Return a value as it is shown: six decimals; None if it is not known or has no end."""
    return round(value, 6) if math.isfinite(value) else None


def _known(column: "array[float]") -> list[float | None]:
    """Return what `known` does of each, for a tenth of the time."""
    values = np.array(column, dtype=np.float64)
    shown: list[float | None] = np.where(abs(values) < _WHOLE, values.round(6), values).tolist()
    for index in np.flatnonzero(~np.isfinite(values)).tolist():
        shown[index] = None
    return shown


def measure(now: Sampled, before: Sampled | None) -> Measured:
    """Return what a device's sample says of the moments since the one before, if there is one."""
    period_s = 0.0 if before is None else now.running_s - before.running_s
    if before is None or period_s < _LEAST_PERIOD_S or _is_another_run(now, before):
        period_s, before = math.inf, now
    finished = _finished(now) - _finished(before)
    values = (
        *(now.fps, _of(now.target_fps), _of(now.split), _of(now.pinned)),
        *(_of(now.latency_p50_s), _of(now.latency_p95_s), _of(now.latency_p99_s)),
        *(float(now.in_flight), float(now.window), _of(now.link_bytes_per_s)),
        _rate(now.sent_bytes - before.sent_bytes, period_s),
        _rate(now.captured - before.captured, period_s),
        _rate(now.dropped - before.dropped, period_s),
        _rate(now.failed - before.failed, period_s),
        _each(_device_s(now.tasks) - _device_s(before.tasks), finished),
        _each(_cloud_s(now.tasks) - _cloud_s(before.tasks), finished),
        *(now.cpu_percent, _of(now.machine_part), float(now.memory_bytes)),
        *(_of(now.temperature_c), _of(now.cloud_load), float(now.connected)),
    )
    return Measured(values=values, device_part=_device_part(now, before))


def measure_from_cloud(now: StreamSampled, before: StreamSampled | None) -> Measured:
    """Return what a server knows by itself of a stream whose device says nothing."""
    period_s = 0.0 if before is None else now.at_s - before.at_s
    if before is None or period_s < _LEAST_PERIOD_S or now.results < before.results:
        period_s, before = math.inf, now
    finished = now.results + now.filtered - before.results - before.filtered
    found = {
        "fps": _rate(finished, period_s),
        "sent_bytes_per_s": _rate(now.received_bytes - before.received_bytes, period_s),
        "dropped_per_s": _rate(now.dropped - before.dropped, period_s),
        "failed_per_s": _rate(now.failed - before.failed, period_s),
        "cloud_s_per_frame": _each(now.cloud_task_s - before.cloud_task_s, finished),
        "connected": 1.0,
    }
    return Measured(values=[found.get(name, _UNKNOWN) for name in MEASURED], device_part=())


def gap() -> Measured:
    """Return what is known of a device that is not connected: only this."""
    values = [0.0 if name == "connected" else _UNKNOWN for name in MEASURED]
    return Measured(values=values, device_part=())


def _is_another_run(now: Sampled, before: Sampled) -> bool:
    return now.captured < before.captured or len(now.tasks) != len(before.tasks)


def _finished(sample: Sampled) -> int:
    return sample.completed + sample.filtered + sample.failed


def _device_s(tasks: Sequence[TaskTotals]) -> float:
    return sum(each.device_s for each in tasks)


def _cloud_s(tasks: Sequence[TaskTotals]) -> float:
    return sum(each.cloud_s for each in tasks)


def _of(value: float | None) -> float:
    return _UNKNOWN if value is None else float(value)


def _rate(count: int, period_s: float) -> float:
    return count / period_s if math.isfinite(period_s) else _UNKNOWN


def _each(seconds: float, frames: int) -> float:
    return seconds / frames if frames > 0 else _UNKNOWN


def _device_part(now: Sampled, before: Sampled) -> list[float]:
    """A frame with split k runs tasks 1 to k on the device."""
    if now is before or len(now.split_frames) != len(before.split_frames):
        counts = list(now.split_frames)
    else:
        pairs = zip(now.split_frames, before.split_frames, strict=True)
        counts = [each - earlier for each, earlier in pairs]
    frames = sum(counts)
    if frames <= 0:
        return [_UNKNOWN] * min(len(now.tasks), MAX_TASKS)
    parts: list[float] = []
    behind = frames
    for index in range(min(len(now.tasks), MAX_TASKS)):
        behind -= counts[index] if index < len(counts) else 0
        parts.append(behind / frames)
    return parts

"""What a run was like, in numbers: counts of frames, latencies, costs of tasks. Pure.

totals = RunTotals(tasks=("get_frame", "measure"))
totals.ran_on_device({0: 0.002})
totals.finished(delivered)
totals.latency.percentile(0.95)
"""

import math
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offload.device.outbox import Delivered
from offload.messages import Outcome, TaskTime

# Buckets grow by 2 %, so that a percentile is off by 1 % at most; from 10 us up.
_BUCKET_GROWTH: Final = math.log(1.02)
_FIRST_BUCKET_S: Final = 1e-5

# Over this many seconds a rate is reported.
RATE_WINDOW_S: Final = 2.0


class LatencyHistogram:
    """Durations in buckets of 2 %, so that memory stays bounded however long a run is."""

    def __init__(self) -> None:
        """Start empty."""
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        ratio = max(seconds, _FIRST_BUCKET_S) / _FIRST_BUCKET_S
        self._buckets[math.floor(math.log(ratio) / _BUCKET_GROWTH)] += 1
        self._count += 1

    def percentile(self, share: float) -> float | None:
        """Return what ``share`` (0 to 1) of all do not exceed; None if there are none."""
        if self._count == 0:
            return None
        wanted = max(1, math.ceil(share * self._count))
        for bucket in sorted(self._buckets):
            wanted -= self._buckets[bucket]
            if wanted <= 0:
                return _FIRST_BUCKET_S * math.exp((bucket + 0.5) * _BUCKET_GROWTH)
        raise AssertionError("the buckets hold all durations")


class RateWindow:
    """Events per second over the last `RATE_WINDOW_S`."""

    def __init__(self) -> None:
        """Start without events."""
        self._events: deque[tuple[float, int]] = deque()
        self._count = 0
        self._began_s: float | None = None
        self._began_count = 0

    def add(self, now: float, count: int = 1) -> None:
        """Count ``count`` events at ``now``; time begins with the first ones."""
        if self._began_s is None:
            self._began_s, self._began_count = now, count
        self._events.append((now, count))
        self._count += count
        self._forget(now)

    def per_second(self, now: float) -> float:
        """Return the rate at ``now``; a pause counts as it goes on."""
        self._forget(now)
        if self._began_s is None or now <= self._began_s:
            return 0.0
        if now - self._began_s < RATE_WINDOW_S:
            # What took how long before the first ones, nobody knows.
            return (self._count - self._began_count) / (now - self._began_s)
        return self._count / RATE_WINDOW_S

    def _forget(self, now: float) -> None:
        while self._events and self._events[0][0] < now - RATE_WINDOW_S:
            self._count -= self._events.popleft()[1]


@dataclass(slots=True)
class TaskCost:
    """How often a task ran on each side, and its seconds there in all."""

    device_s: float = 0.0
    cloud_s: float = 0.0
    runs_device: int = 0
    runs_cloud: int = 0

    @property
    def mean_cloud_s(self) -> float:
        """Seconds of one run in the cloud; the device's where the cloud never ran it."""
        if self.runs_cloud:
            return self.cloud_s / self.runs_cloud
        return self.device_s / self.runs_device if self.runs_device else 0.0


class RunTotals:
    """Everything that a device's final report says of its frames and tasks.

    Args:
        tasks: The tasks' names in order.
    """

    def __init__(self, tasks: Sequence[str]) -> None:
        """Start at zero."""
        self.outcomes: Counter[Outcome] = Counter()
        self.latency = LatencyHistogram()
        self._recent_latency = LatencyHistogram()
        self.splits: Counter[int] = Counter()
        self.last_split: int | None = None
        self.failures: Counter[str] = Counter()
        self.first_reasons: dict[str, str] = {}
        self.rate = RateWindow()
        self._tasks = {name: TaskCost() for name in tasks}
        self.costs = list(self._tasks.values())

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks' names in order."""
        return list(self._tasks)

    @property
    def completed(self) -> int:
        """Frames that ended with a result."""
        return self.outcomes[Outcome.RESULT]

    @property
    def throughput_frames(self) -> int:
        """Finished frames that count as throughput: with a result, or filtered."""
        return self.completed + self.outcomes[Outcome.FILTERED]

    def chose(self, split: int) -> None:
        """Count the split that a frame takes."""
        self.splits[split] += 1
        self.last_split = split

    def ran_on_device(self, seconds: Mapping[int, float]) -> None:
        """Book the seconds of tasks, by index, that ran on the device for one frame."""
        for index, spent_s in seconds.items():
            cost = self.costs[index]
            cost.device_s += spent_s
            cost.runs_device += 1

    def ran_in_cloud(self, times: Sequence[TaskTime]) -> None:
        """Book what the cloud says that its tasks cost; indices that do not exist are ignored."""
        for each in times:
            if each.task < len(self.costs):
                self.costs[each.task].cloud_s += each.seconds
                self.costs[each.task].runs_cloud += each.runs

    def finished(self, delivered: Delivered) -> None:
        """Book one frame, or a run of frames that ended alike."""
        outcome = delivered.outcome
        self.outcomes[outcome.outcome] += outcome.count
        if outcome.outcome is Outcome.FAILED:
            self.failures[outcome.task] += outcome.count
            self.first_reasons.setdefault(outcome.task, outcome.reason)
        if outcome.outcome in (Outcome.RESULT, Outcome.FILTERED):
            self.rate.add(delivered.finished_s, outcome.count)
            for captured_s in delivered.captured_s:
                latency_s = delivered.finished_s - captured_s
                self.latency.add(latency_s)
                self._recent_latency.add(latency_s)

    def take_recent_latency(self) -> LatencyHistogram:
        """Return the latencies of frames that were finished since the last call."""
        recent, self._recent_latency = self._recent_latency, LatencyHistogram()
        return recent

    def latency_summary(self) -> dict[str, float | None]:
        """Return the percentiles of capture to acknowledgement, in seconds."""
        return {f"p{share}": self.latency.percentile(share / 100) for share in (50, 95, 99)}

    def split_summary(self) -> dict[str, object]:
        """Return mean, last and histogram of the splits that frames took."""
        frames = self.splits.total()
        mean = (
            sum(split * count for split, count in self.splits.items()) / frames if frames else None
        )
        return {
            "mean": mean,
            "last": self.last_split,
            "histogram": {str(split): self.splits[split] for split in sorted(self.splits)},
        }

    def task_summary(self) -> list[dict[str, object]]:
        """Return what each task cost on each side."""
        return [
            {
                "name": name,
                "device_s": cost.device_s,
                "cloud_s": cost.cloud_s,
                "runs_device": cost.runs_device,
                "runs_cloud": cost.runs_cloud,
            }
            for name, cost in self._tasks.items()
        ]

    def device_task_s(self) -> float:
        """Return the seconds of all tasks on the device."""
        return sum(cost.device_s for cost in self.costs)

    def cloud_task_s(self) -> float:
        """Return the seconds of all tasks in the cloud."""
        return sum(cost.cloud_s for cost in self.costs)

    def cloud_s_saved(self) -> float:
        """Return the cloud seconds that K = 1 would have cost on top.

        Each run on the device of a task after the first would have been one in the cloud; it is
        counted at the task's mean there, or at the device's where the cloud never ran it.
        """
        return sum(cost.runs_device * cost.mean_cloud_s for cost in self.costs[1:])

"""Estimate what every operating point takes, from what frames took.

Tasks have their seconds on the device and in the cloud, and a part of the frames that get to them;
points have what crosses there; the link has seconds per byte. From these follow, for every point
and captured frame, the seconds that it takes of each resource. Waiting is no work: it is left out.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from offload.scheduling.means import Mean, TaskMeans
from offload.scheduling.messages import Message, Messages
from offload.scheduling.terms import (
    DeviceCosts,
    Ending,
    Observation,
    OperatingPoint,
    Reason,
    SchedulerConfig,
)

# How soon means follow.
COSTS_S: Final = 1.0
STRETCH_S: Final = 2.0

# A cloud is taken to be so much faster than the device until both ran the same task; what both ran
# counts against a tenth of a millisecond of that belief.
CLOUD_SPEED_UP: Final = 10.0
BELIEF_S: Final = 1e-4

# So many frames at least are taken to get to every task. While there is nothing to see, and none
# does, all points behind the last one that filters would cost the same: nothing, whatever will
# cross there with the next thing that comes.
LEAST_REACH: Final = 0.05

# Receiving takes the cloud a twentieth of the time that the link takes, and 9 s for a gigabyte at
# most: on a thin link it is woken up for each packet, on a quick one many come at a time. Measured:
# 9.2 ns a byte at 20 Mbit/s, about 1 at 400.
RECEIVING_PART: Final = 0.05
MOST_RECEIVING_S_PER_BYTE: Final = 9e-9

# A link that nothing has measured is taken for a good one: the first large frame tells.
UNKNOWN_S_PER_BYTE: Final = 8e-8

# What a frame waits at least is the shortest wait of so many control periods.
WAIT_PERIODS: Final = 40

# A cloud that is busier than this makes us wait for the part that others take.
BUSY: Final = 0.9
MOST_OF_OTHERS: Final = 0.9

# What `Estimate.loads_s` are about, in its order, as a reason why a target is out of reach: the
# device in order and its workers, the link, the cloud in order and its workers.
LIMITS: Final = (
    Reason.INFEASIBLE_DEVICE,
    Reason.INFEASIBLE_DEVICE,
    Reason.INFEASIBLE_LINK,
    Reason.INFEASIBLE_CLOUD,
    Reason.INFEASIBLE_CLOUD,
)
DEVICE_LIMITS: Final = 2
LINK: Final = 2


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a captured frame takes at one point.

    Attributes:
        loads_s: Seconds of each resource, as in `LIMITS`.
        cost_s: Seconds of the cloud's processors.
        latency_s: From capture to acknowledgement, of a frame that goes all the way.
        longest_s: The longest that such a frame takes on the link or in the cloud.
        mean_bytes: What crosses, in the mean of all frames.
        most_bytes: Of its message.
    """

    loads_s: tuple[float, ...]
    cost_s: float
    latency_s: float
    longest_s: float
    mean_bytes: float
    most_bytes: float


class Model:
    """What frames take, estimated from those that were taken."""

    def __init__(self, points: Sequence[OperatingPoint], config: SchedulerConfig) -> None:
        self._points, self._config = points, config
        self._tasks = tasks = config.tasks or points[-1].split + 1
        self._device, self._cloud = TaskMeans(tasks, COSTS_S), TaskMeans(tasks, COSTS_S)
        self._messages = Messages(points)
        # How many of all frames get to each task, and how many ended at each since the last plan.
        self._reach = [Mean(COSTS_S) for _ in range(tasks)]
        self._ended = [0] * (tasks + 1)
        # Seconds of a frame on the device that no timer accounts for.
        self._overhead_s = Mean(COSTS_S)
        self._stretch = Mean(STRETCH_S)
        self._seconds_per_byte = Mean(COSTS_S)
        self._cloud_load = Mean(COSTS_S)
        self._own_cloud_s = 0.0
        self._others_part = 0.0
        # Of this period: what frames were under way, and what they stayed in the cloud.
        self._ways_s: list[float] = []
        self._stays_s: list[float] = []
        self._waits_s: deque[float] = deque(maxlen=WAIT_PERIODS)
        self._watched_part = 0.0
        self._folded_s = -math.inf

    @property
    def link_seen_s(self) -> float:
        """When the link was last measured."""
        return self._seconds_per_byte.seen_s

    @property
    def seconds_per_byte(self) -> float:
        """What a byte takes on the link."""
        mean = self._seconds_per_byte
        return mean.value if mean.is_known else UNKNOWN_S_PER_BYTE

    @property
    def last_task_s(self) -> float:
        """When the last task that may run on the device last did."""
        return self._device.means[self._points[-1].split - 1].seen_s

    def add_device(self, index: int, costs: DeviceCosts) -> None:
        """Take in what a frame took here."""
        self._device.add(costs.task_s)
        self._messages.add(index, costs)

    def add_overhead(self, seconds: float, frames: int) -> None:
        """Take in what some frames took on the device beside their tasks."""
        self._overhead_s.add(seconds, frames)

    def add_stretch(self, seconds: float, expected_s: float) -> None:
        """Take in what some frames took of the device in all, and what that was expected to be.

        A processor that is throttled or shared, and workers that share one, make all of its work
        take longer, whatever the timers of the tasks say.
        """
        if expected_s > 0:
            self._stretch.add(self.stretch * seconds / expected_s)

    @property
    def stretch(self) -> float:
        """By how much more than its parts the device's work takes."""
        return max(1.0, self._stretch.value)

    def add(self, index: int | None, seen: Observation) -> None:
        """Take in what became of a frame at a point, or at none of ours."""
        for each in seen.cloud_times:
            if each.task < self._tasks:
                self._cloud.means[each.task].add(each.seconds, each.runs)
                self._own_cloud_s += each.seconds
        if seen.ending is Ending.FINISHED:
            self._ended[self._tasks if seen.ended_by is None else seen.ended_by] += 1
        if seen.cloud_load is not None:
            self._cloud_load.add(seen.cloud_load)
        if index is not None:
            self._messages.add_decoding(index, seen)
        transfer_s = seen.transfer_s
        if transfer_s is not None and seen.transfer_bytes:
            self._seconds_per_byte.add(transfer_s / seen.transfer_bytes)
        if seen.round_trip_s is not None and seen.residence_s is not None:
            self._ways_s.append(seen.round_trip_s - seen.residence_s - (transfer_s or 0.0))
            self._stays_s.append(seen.residence_s)

    def fold(self, now: float, watched_part: float) -> None:
        """Take all that was added into the estimates; ``watched_part``: how many are watched."""
        self._watched_part = watched_part
        self._fold_waits()
        self._fold_others(now)
        self._fold_reach(now)
        for means in (self._device, self._cloud, self._overhead_s, self._seconds_per_byte):
            means.fold(now)
        self._stretch.fold(now)
        self._messages.fold(now, watched_part)
        self._folded_s = now

    def estimates(self, *, link_speed_up: float = 1.0) -> list[Estimate]:
        """Return what to plan with: what every point takes, and less where it may have improved.

        Args:
            link_speed_up: How much faster a link to assume than was measured.
        """
        return self._estimates(self._messages.hoped, self.seconds_per_byte / link_speed_up)

    def measured(self) -> list[Estimate]:
        """Return what every point takes as far as was measured, without any hope."""
        return self._estimates(self._messages.measured, self.seconds_per_byte)

    def _estimates(
        self, message: Callable[[int], Message], seconds_per_byte: float
    ) -> list[Estimate]:
        config = self._config
        device_s, cloud_s = self._task_seconds()
        reach = [max(LEAST_REACH, mean.value) if mean.is_known else 1.0 for mean in self._reach]
        runs = [
            part * (self._watched_part if task in config.on_demand else 1.0)
            for task, part in enumerate(reach)
        ]
        sums = _Sums(
            here=_sums([q * s for q, s in zip(runs, device_s, strict=True)]),
            there=_sums([q * s for q, s in zip(runs, cloud_s, strict=True)]),
            all_here=_sums(device_s),
            all_there=_sums(cloud_s),
            reach=[*reach, 1.0],
        )
        return [
            self._estimate(point.split, message(index), sums, seconds_per_byte)
            for index, point in enumerate(self._points)
        ]

    def _estimate(
        self, k: int, message: Message, sums: "_Sums", seconds_per_byte: float
    ) -> Estimate:
        config, here, there = self._config, sums.here, sums.there
        crossing = sums.reach[k]
        overhead_s = max(0.0, self._overhead_s.value)
        encode_s, decode_s = crossing * message.encode_s, crossing * message.decode_s
        # Tasks before `ordered` run side by side, and what follows the last one there as well.
        ordered = config.ordered_from if config.workers > 1 else 0
        free = min(k, ordered)
        cloud_free = max(k, config.ordered_from)
        cloud_s = there[-1] - there[k] + decode_s
        in_order_s = there[-1] - there[cloud_free] + decode_s * (config.ordered_from == 0)
        stretch = 1 / (1 - self._others_part)
        receiving_s_per_byte = min(RECEIVING_PART * seconds_per_byte, MOST_RECEIVING_S_PER_BYTE)
        whole_link_s = message.most_bytes * seconds_per_byte
        whole_cloud_s = sums.all_there[-1] - sums.all_there[k] + message.decode_s
        latency_s = (
            sums.all_here[k]
            + message.encode_s
            + overhead_s
            + whole_link_s
            + whole_cloud_s
            + min(self._waits_s, default=0.0)
        )
        return Estimate(
            loads_s=(
                (here[k] - here[free] + overhead_s + encode_s * (k > ordered)) * self.stretch,
                (here[free] + encode_s * (k <= ordered)) / config.workers * self.stretch,
                crossing * message.mean_bytes * seconds_per_byte,
                in_order_s * stretch,
                cloud_s / config.cloud_workers * stretch,
            ),
            cost_s=cloud_s + crossing * message.mean_bytes * receiving_s_per_byte,
            latency_s=latency_s,
            longest_s=max(whole_link_s, whole_cloud_s),
            mean_bytes=crossing * message.mean_bytes,
            most_bytes=message.most_bytes,
        )

    def _task_seconds(self) -> tuple[list[float], list[float]]:
        """Return the seconds of one run of each task, on the device and in the cloud.

        A task that was never seen on one side is scaled by those that were seen on both.
        """
        pairs = list(zip(self._device.means, self._cloud.means, strict=True))
        both = [(here, there) for here, there in pairs if here.is_known and there.is_known]
        here_s = sum(here.value for here, _ in both) + CLOUD_SPEED_UP * BELIEF_S
        speed_up = here_s / (sum(there.value for _, there in both) + BELIEF_S)
        return (
            [here.value if here.is_known else there.value * speed_up for here, there in pairs],
            [there.value if there.is_known else here.value / speed_up for here, there in pairs],
        )

    def _fold_reach(self, now: float) -> None:
        left = total = sum(self._ended)
        if not total:
            return
        for mean, ended in zip(self._reach, self._ended, strict=False):
            mean.add(left, total)
            mean.fold(now)
            left -= ended
        self._ended = [0] * (self._tasks + 1)

    def _fold_waits(self) -> None:
        """Settle what frames wait beside all work: on their way, and to be stored and reported."""
        if self._stays_s:
            stored_s = (sum(self._stays_s) - self._own_cloud_s) / len(self._stays_s)
            self._waits_s.append(max(0.0, min(self._ways_s)) + max(0.0, stored_s))
            self._ways_s, self._stays_s = [], []

    def _fold_others(self, now: float) -> None:
        """Settle which part of the cloud others take, if there is so little left that it shows."""
        own_part = self._own_cloud_s / max(now - self._folded_s, 1e-3) / self._config.cloud_workers
        self._own_cloud_s = 0.0
        self._cloud_load.fold(now)
        load = self._cloud_load.value
        self._others_part = min(MOST_OF_OTHERS, max(0.0, load - own_part)) if load > BUSY else 0.0


@dataclass(frozen=True, slots=True)
class _Sums:
    """Seconds of the tasks before each: as often as they run, or each once."""

    here: list[float]
    there: list[float]
    all_here: list[float]
    all_there: list[float]
    reach: list[float]


def _sums(seconds: Sequence[float]) -> list[float]:
    return list(accumulate(seconds, initial=0.0))

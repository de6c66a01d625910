"""Means that forget: told frame by frame, computed once per plan."""

import math
from collections.abc import Mapping
from typing import Final

# A mean of 3 samples that is so far off is a step, not noise: it is believed at once.
STEP_PART: Final = 0.3
STEP_SAMPLES: Final = 3


class Mean:
    """The mean of one quantity, over about ``time_constant_s``.

    Attributes:
        value: The mean, as of the last `fold`; 0 before the first one.
        seen_s: When samples last came; minus infinity if never.
        count: Samples since the last `fold`.
    """

    __slots__ = ("_sum", "_time_constant_s", "count", "seen_s", "value")

    def __init__(self, time_constant_s: float) -> None:
        self._time_constant_s = time_constant_s
        self.value = 0.0
        self.seen_s = -math.inf
        self.count = 0
        self._sum = 0.0

    @property
    def is_known(self) -> bool:
        """Whether there was ever a sample."""
        return self.seen_s > -math.inf

    def add(self, value: float, count: int = 1) -> None:
        """Take in one sample, or the sum of ``count`` of them."""
        self._sum += value
        self.count += count

    def fold(self, now: float) -> None:
        """Take what was added into the mean."""
        if not self.count:
            return
        mean = self._sum / self.count
        self.value += self._weight(mean, now) * (mean - self.value)
        self.seen_s = now
        self._sum, self.count = 0.0, 0

    def _weight(self, mean: float, now: float) -> float:
        is_off = abs(mean - self.value) > STEP_PART * self.value
        if not self.is_known or (is_off and self.count >= STEP_SAMPLES):
            return 1.0
        # A few samples after a long time should not count for all that was known.
        most = (self.count + 1) / (self.count + 2)
        return min(-math.expm1((self.seen_s - now) / self._time_constant_s), most)


class HopefulMean(Mean):
    """A mean that may have become better while nobody looked: so it falls until samples come.

    Attributes:
        measured: The mean that does not fall.
    """

    __slots__ = ("measured",)

    def __init__(self, time_constant_s: float) -> None:
        super().__init__(time_constant_s)
        self.measured = Mean(time_constant_s)

    def fold(self, now: float) -> None:
        """Take what was added into both means."""
        if self.count:
            self.measured.add(self._sum, self.count)
            self.measured.fold(now)
        super().fold(now)

    def fade(self, now: float, *, after_s: float, part: float) -> None:
        """Leave only ``part`` of the mean if no sample has come, and nothing faded, for so long."""
        if self.is_known and now - self.seen_s > after_s:
            self.value *= part
            self.seen_s = now


class TaskMeans:
    """The mean seconds of each task on one machine."""

    def __init__(self, tasks: int, time_constant_s: float) -> None:
        self.means = [Mean(time_constant_s) for _ in range(tasks)]

    def add(self, task_s: Mapping[int, float]) -> None:
        """Take in one run of some of them."""
        means = self.means
        for task, seconds in task_s.items():
            means[task].add(seconds)

    def fold(self, now: float) -> None:
        """Take what was added into the means, and let the other tasks follow in proportion.

        A machine that became slower is slower for the tasks, too, that it does not run now.
        """
        known = [mean for mean in self.means if mean.is_known]
        seen = [mean for mean in known if mean.count]
        unseen = [mean for mean in known if not mean.count]
        samples = max((mean.count for mean in seen), default=0)
        before_s = sum(mean.value for mean in seen)
        for mean in self.means:
            mean.fold(now)
        if samples >= STEP_SAMPLES and before_s > 0:
            factor = sum(mean.value for mean in seen) / before_s
            for mean in unseen:
                mean.value *= factor

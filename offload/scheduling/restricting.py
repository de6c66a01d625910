"""Keep to what is not the plan's to weigh: the size of a message, and the latency of a frame."""

import math
from collections.abc import Sequence
from typing import Final

from offload.scheduling.model import Estimate
from offload.scheduling.terms import Observation, SchedulerConfig

# A point that frames were too large for is left out for so long: what they contain changes. Sizes
# are means, so a little less may be too large as well.
TOO_LARGE_S: Final = 30.0
TOO_LARGE_PART: Final = 0.9

# In flight is twice what the plan needs, and a few: more would only wait in line when the link
# becomes slow, and all later frames behind them.
WINDOW_FACTOR: Final = 2.0
WINDOW_SPARE: Final = 4

# What latencies spread: a point whose frames take longer in the mean cannot keep to a limit.
LATENCY_SPREAD: Final = 1.25
# Little's law is about the mean, too. On a full link of 4 Mbit/s, with pictures of different sizes,
# the 95th percentile was 1.25 times what the window was made for.
WINDOW_SPREAD: Final = 1.5


class Restrictions:
    """Which points may be taken, and how many frames may be in flight."""

    def __init__(self, config: SchedulerConfig) -> None:
        self._config = config
        self._largest_bytes = math.inf
        self._largest_until_s = -math.inf

    def too_large(self, seen: Observation) -> None:
        """Leave out all points whose messages are as large, for a while."""
        self._largest_bytes = TOO_LARGE_PART * seen.message_bytes
        self._largest_until_s = seen.at_s + TOO_LARGE_S

    def fitting(
        self, estimates: Sequence[Estimate], indices: Sequence[int], now: float
    ) -> list[int]:
        """Return those of the points whose messages are not too large; the last one if none is."""
        if now > self._largest_until_s:
            self._largest_bytes = math.inf
        fitting = [i for i in indices if self.fits(estimates[i])]
        return fitting or [indices[-1]]

    def fits(self, estimate: Estimate) -> bool:
        """Return whether messages at a point are not too large, as of the last plan."""
        return estimate.most_bytes < self._largest_bytes

    def quick(self, estimates: Sequence[Estimate], indices: Sequence[int]) -> list[int]:
        """Return those of the points that keep to the latency; if none does, the quickest."""
        least_s = min(estimates[index].latency_s for index in indices)
        limit_s = max(least_s, self._config.max_latency_s / LATENCY_SPREAD)
        return [index for index in indices if estimates[index].latency_s <= limit_s]

    def window(self, fps: float, latency_s: float) -> int:
        """Return how many frames may be in flight, at so many a second that take so long each.

        By Little's law a frame takes as long as the window is wide, over the frames per second.
        """
        window = math.ceil(WINDOW_FACTOR * fps * latency_s) + WINDOW_SPARE + self._config.workers
        if self._config.max_latency_s < math.inf:
            most = self._config.max_latency_s * fps
            # Less than what is under way anyway would cost frames, and shorten no queue.
            needed = min(math.ceil(fps * latency_s) + 1, int(most))
            window = min(window, max(needed, int(most / WINDOW_SPREAD)))
        return max(1, min(self._config.window, window))

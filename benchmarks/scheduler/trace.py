"""A run, frame by frame: what `judging` judges and `pictures` draws. Pure.

trace.fps(40.0, 42.0), trace.cloud_s(40.0, 60.0), trace.split(40.0, 41.0)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A run, in seconds since all machines were started.

    Attributes:
        finished_s: When each frame was finished that counts as throughput, in order.
        latencies_s: Of each of them, from capture on.
        chosen_s: When each frame was taken, in order.
        splits: Of each of them.
        cpu_at_s: When processor seconds were read.
        cloud_cpu_s: What they were, all processes of that machine together.
        device_cpu_s: Those of the device.
        missed_packets: How many the emulation lost since this machine was too slow for the link.
        decisions: The scheduler's, as the device's report has them, times as above.
    """

    finished_s: Floats
    latencies_s: Floats
    chosen_s: Floats
    splits: Floats
    cpu_at_s: Floats
    cloud_cpu_s: Floats
    device_cpu_s: Floats
    missed_packets: int
    decisions: Sequence[Mapping[str, object]]

    def frames(self, begin_s: float, end_s: float) -> int:
        """Return how many frames were finished in between."""
        low, high = np.searchsorted(self.finished_s, [begin_s, end_s])
        return int(high - low)

    def fps(self, begin_s: float, end_s: float) -> float:
        """Return finished frames per second in between."""
        return self.frames(begin_s, end_s) / (end_s - begin_s)

    def cloud_s(self, begin_s: float, end_s: float) -> float:
        """Return the cloud's processor seconds in between."""
        return _grown(self.cpu_at_s, self.cloud_cpu_s, begin_s, end_s)

    def device_s(self, begin_s: float, end_s: float) -> float:
        """Return the device's processor seconds in between."""
        return _grown(self.cpu_at_s, self.device_cpu_s, begin_s, end_s)

    def latency_s(self, share: float, begin_s: float, end_s: float) -> float:
        """Return what ``share`` of the latencies do not exceed; nan if no frame was finished."""
        low, high = np.searchsorted(self.finished_s, [begin_s, end_s])
        return float(np.quantile(self.latencies_s[low:high], share)) if low < high else math.nan

    def split(self, begin_s: float, end_s: float) -> float:
        """Return the mean split of the frames taken in between; nan if none was."""
        low, high = np.searchsorted(self.chosen_s, [begin_s, end_s])
        return float(self.splits[low:high].mean()) if low < high else math.nan


def _grown(at_s: Floats, values: Floats, begin_s: float, end_s: float) -> float:
    begin, end = np.interp([begin_s, end_s], at_s, values)
    return float(end - begin)

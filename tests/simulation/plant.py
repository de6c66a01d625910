"""A device, a link and a cloud in virtual time, driven by a scheduler: the closed loop.

Each of the three takes one frame at a time and they overlap, so throughput is that of the slowest.
The device waits for the source (a camera that keeps only its latest frame) and for the window.
"""

import random
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, pstdev

from scheduler import Observation, ThroughputScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a frame costs. ``device_s[i]`` and ``cloud_s[i]`` are task i + 1's seconds."""

    device_s: Sequence[float]
    cloud_s: Sequence[float]
    link_s: float = 0.0001
    round_trip_s: float = 0.004

    def device_until(self, split: int) -> float:
        return sum(self.device_s[:split])

    def cloud_from(self, split: int) -> float:
        return sum(self.cloud_s[split:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """From ``at_s`` on the device takes ``device_factor`` times as long, or the target is new."""

    at_s: float
    device_factor: float | None = None
    target_fps: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The link carries nothing in between."""

    begin_s: float
    end_s: float


@dataclass(slots=True, kw_only=True)
class Trace:
    """What came of a run, for questions about it afterwards."""

    finished_s: list[float] = field(default_factory=list)
    chosen: list[tuple[float, int]] = field(default_factory=list)
    position_at: list[tuple[float, float]] = field(default_factory=list)

    def fps(self, begin_s: float, end_s: float) -> float:
        count = bisect_left(self.finished_s, end_s) - bisect_left(self.finished_s, begin_s)
        return count / (end_s - begin_s)

    def fps_deviation(self, begin_s: float, end_s: float) -> float:
        """Return the standard deviation of the FPS over 2 s windows."""
        starts = [begin_s + 0.5 * i for i in range(int((end_s - begin_s - 2) / 0.5) + 1)]
        return pstdev(self.fps(start, start + 2) for start in starts)

    def mean_split(self, begin_s: float, end_s: float) -> float:
        return fmean(split for at_s, split in self.chosen if begin_s <= at_s < end_s)

    def splits(self, begin_s: float, end_s: float) -> set[int]:
        return {split for at_s, split in self.chosen if begin_s <= at_s < end_s}

    def pair_changes(self, begin_s: float, end_s: float) -> int:
        """Return how often the pair of splits that is mixed changed."""
        pairs = [int(p) for at_s, p in self.position_at if begin_s <= at_s < end_s]
        return sum(a != b for a, b in pairwise(pairs))


@dataclass(slots=True, kw_only=True)
class Plant:
    """A pipeline on a device and in a cloud; ``run`` closes the loop around a scheduler."""

    costs: Costs
    camera_fps: float = float("inf")
    steps: Sequence[Step] = ()
    outages: Sequence[Outage] = ()
    window: int = 32
    # Relative standard deviation of every duration, and time between two acknowledgements.
    noise: float = 0.05
    acknowledge_every_s: float = 0.0
    seed: int = 1

    def run(
        self,
        scheduler: ThroughputScheduler,
        duration_s: float,
        watch: Callable[[float], None] = lambda _now: None,
    ) -> Trace:
        """Let frames through from time 0 on until ``duration_s``."""
        random_ = random.Random(self.seed)
        trace, unfinished = Trace(), deque[Observation]()
        steps = deque(sorted(self.steps, key=lambda step: step.at_s))
        device_s = link_s = cloud_s = 0.0
        factor, camera_frame, next_watch_s = 1.0, -1, 0.0

        def noisy(seconds: float) -> float:
            return seconds * max(0.2, random_.gauss(1, self.noise))

        while device_s < duration_s:
            if len(unfinished) == self.window:
                device_s = max(device_s, unfinished[0].at_s)
            waited_s = 0.0
            if self.camera_fps != float("inf"):
                latest = int(device_s * self.camera_fps + 1e-9)
                if latest <= camera_frame:
                    latest = camera_frame + 1
                    waited_s = latest / self.camera_fps - device_s
                camera_frame, device_s = latest, device_s + waited_s
            while steps and steps[0].at_s <= device_s:
                step = steps.popleft()
                factor = step.device_factor or factor
                if step.target_fps:
                    scheduler.target_fps = step.target_fps
            while unfinished and unfinished[0].at_s <= device_s:
                scheduler.observe(unfinished[0])
                trace.finished_s.append(unfinished.popleft().at_s)
            split = scheduler.choose(device_s).point.split
            trace.chosen.append((device_s, split))
            if device_s >= next_watch_s:
                next_watch_s = device_s + 0.5
                trace.position_at.append((device_s, scheduler.state(device_s).position))
                watch(device_s)
            device_s += noisy(factor * self.costs.device_until(split))
            link_s = self._after_outage(max(link_s, device_s)) + noisy(self.costs.link_s)
            cloud_s = max(cloud_s, link_s) + noisy(self.costs.cloud_from(split))
            unfinished.append(
                Observation(
                    at_s=self._acknowledged(cloud_s + self.costs.round_trip_s),
                    split=split,
                    waited_for_source_s=waited_s,
                )
            )
        return trace

    def _after_outage(self, at_s: float) -> float:
        return max([at_s, *(o.end_s for o in self.outages if o.begin_s <= at_s < o.end_s)])

    def _acknowledged(self, at_s: float) -> float:
        every_s = self.acknowledge_every_s
        return at_s if not every_s else (int(at_s / every_s) + 1) * every_s

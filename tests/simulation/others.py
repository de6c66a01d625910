"""What the scheduler is compared with: an oracle, a plain rule, and an integer PID."""

import math
from collections import deque
from collections.abc import Sequence

from offload.scheduling.mixture import Mixture, Way, cheapest, lightest
from scheduler import Choice, DeviceCosts, Dither, Ending, Observation, OperatingPoint, Reason
from tests.simulation.world import Scenario, cloud_costs, expected


class Oracle:
    """Knows at every moment what everything costs, and mixes accordingly."""

    # Of the device, the link and the cloud: noise makes queues where all of it is used.
    HEAD_ROOM = 0.97

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._points = [
            point
            for point in scenario.costs.points()
            if scenario.costs.bytes_raw(point.split, watched=False) * scenario.costs.part(point)
            <= scenario.max_message_bytes
        ]
        self.target_fps = scenario.world(0).target_fps
        self.window = scenario.window
        self._dithers: tuple[Dither[int], ...] = ()
        self._world: object = None

    def mixture(self, at_s: float, *, head_room: float = HEAD_ROOM) -> Mixture:
        """Return the best mixture at ``at_s``."""
        scenario = self._scenario
        world = scenario.world(at_s)
        goal = min(world.target_fps, scenario.camera_fps)
        loads = expected(scenario, world, self._points) * goal
        # A camera that keeps its newest frame only loses some wherever a device is always busy.
        is_newest = scenario.keeps_newest and goal == scenario.camera_fps
        loads[0 if is_newest else 2 :] /= head_room
        costs = cloud_costs(scenario, world, self._points)
        ways = [
            Way(index, tuple(loads[:, index]), costs[index]) for index in range(len(self._points))
        ]
        return cheapest(ways, [1.0] * len(loads)) or lightest(ways)

    def best_fps(self, at_s: float) -> float:
        """Return what can be reached at most, up to the goal."""
        world = self._scenario.world(at_s)
        goal = min(world.target_fps, self._scenario.camera_fps)
        return goal / max(1.0, self.mixture(at_s, head_room=1.0).load)

    def cost(self, at_s: float) -> float:
        """Return the cloud's seconds per frame."""
        return self.mixture(at_s).cost

    def choose(self, now: float, *, watched: bool = False) -> Choice:
        world = self._scenario.world(now)
        if world is not self._world:
            self._world = world
            shares = self.mixture(now).shares
            self._dithers = (Dither(shares), Dither(shares))
        point = self._points[self._dithers[watched].next()]
        return Choice(point=point, reason=Reason.SETTLED)

    def observe(self, observation: Observation) -> None:
        """It knows already."""

    def observe_device(self, costs: DeviceCosts) -> None:
        """It knows already."""


class _OnSplits:
    """Moves a whole split; of the encodings at each it is told the one with the fewest bytes."""

    def __init__(self, scenario: Scenario) -> None:
        costs = scenario.costs
        self._points: Sequence[OperatingPoint] = [
            min((p for p in costs.points() if p.split == split), key=costs.part)
            for split in range(1, costs.tasks)
        ]
        start = scenario.start().split
        self._place = start - 1
        self.target_fps = scenario.world(0).target_fps
        self.window = scenario.window
        self._finished_s: deque[float] = deque()
        self._next_s = 3.0

    def observe(self, observation: Observation) -> None:
        if observation.ending is Ending.FINISHED:
            self._finished_s.append(observation.at_s)

    def observe_device(self, costs: DeviceCosts) -> None:
        """They look at throughput alone."""

    def fps(self, now: float, seconds: float) -> float:
        while self._finished_s and self._finished_s[0] < now - seconds:
            self._finished_s.popleft()
        return len(self._finished_s) / min(seconds, now)

    def choose(self, now: float, *, watched: bool = False) -> Choice:  # noqa: ARG002  # see Chooser
        if now >= self._next_s:
            self._move(now)
        return Choice(point=self._points[self._place], reason=Reason.SETTLED)

    def _move(self, now: float) -> None:
        raise NotImplementedError


class PlainRule(_OnSplits):
    """Gives the cloud one more task every 3 s while short of the target, and takes none back."""

    def _move(self, now: float) -> None:
        self._next_s = now + 3.0
        if self.fps(now, 3.0) < 0.98 * self.target_fps:
            self._place = max(0, self._place - 1)


class IntegerPid(_OnSplits):
    """A PID on the split, rounded, with hysteresis and a dwell time."""

    KP, KI, KD = 1.0, 0.5, 0.1
    DEAD_BAND = 0.05
    DWELL_S = 1.5
    PERIOD_S = 0.5

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario)
        self._integral = 0.0
        self._error = 0.0
        self._base = float(self._place)
        self._moved_s = -math.inf

    def _move(self, now: float) -> None:
        self._next_s = now + self.PERIOD_S
        error = 1 - self.fps(now, 2.0) / self.target_fps
        change, self._error = (error - self._error) / self.PERIOD_S, error
        if abs(error) < self.DEAD_BAND:
            return
        top = len(self._points) - 1
        wanted = self._base - top * (self.KP * error + self._integral + self.KD * change)
        # Not beyond the ends: there it would only wind up.
        if 0 < wanted < top or (wanted <= 0 and error < 0) or (wanted >= top and error > 0):
            self._integral += self.KI * error * self.PERIOD_S
        place = max(0, min(top, round(wanted)))
        if place != self._place and now >= self._moved_s + self.DWELL_S:
            self._place += 1 if place > self._place else -1
            self._moved_s = now

"""What one would write first: give the cloud one more task whenever frames are too few. Pure.

It has what the device program needs of a scheduler; see ``scheduler.ThroughputScheduler``.

    rule = PlainRule(points, 25.0, config, start)
    choice = rule.choose(now, watched=True)
"""

from collections import deque
from collections.abc import Sequence
from typing import Final

from scheduler import (
    Choice,
    Decision,
    DeviceCosts,
    Ending,
    Forecast,
    Observation,
    OperatingPoint,
    Reason,
    SchedulerConfig,
    SchedulerState,
)

PERIOD_S: Final = 3.0

# Of the target; a little less than all of it may be the luck of a frame.
ENOUGH: Final = 0.98


class PlainRule:
    """Moves one task to the cloud every `PERIOD_S` while short of the target, and none back.

    Args:
        points: What frames may take; of those with the same split it takes the last, for the device
            program names the one with the fewest bytes last.
        target_fps: Finished frames per second to reach.
        config: Of it only the window counts.
        start: Where it begins.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        target_fps: float,
        config: SchedulerConfig,
        start: OperatingPoint,
    ) -> None:
        self.target_fps = target_fps
        self.window: Final = config.window
        self._points = {each.split: each for each in points}
        self._splits = sorted(self._points)
        self._place = self._splits.index(start.split)
        self._reason = Reason.COLD_START
        self._finished_s: deque[float] = deque()
        self._began_s: float | None = None
        self._next_s = 0.0
        self._decisions: list[Decision] = []

    def choose(self, now: float, *, watched: bool = False) -> Choice:  # noqa: ARG002  # all alike
        """Return how to run the next frame; judge the last `PERIOD_S` when they are over."""
        if self._began_s is None:
            self._began_s, self._next_s = now, now + PERIOD_S
        if now >= self._next_s:
            self._next_s = now + PERIOD_S
            self._decide(now)
        return Choice(point=self._points[self._split], reason=self._reason)

    def observe_device(self, costs: DeviceCosts) -> None:
        """Learn nothing: it looks at throughput alone."""

    def observe(self, observation: Observation) -> None:
        """Count a frame that was finished."""
        if observation.ending is Ending.FINISHED:
            self._finished_s.append(observation.at_s)

    def state(self, now: float) -> SchedulerState:
        """Return what to display."""
        return SchedulerState(
            at_s=now,
            fps=self._fps(now),
            target_fps=self.target_fps,
            position=float(self._split),
            reason=self._reason,
            points=(self._points[self._split],),
            trim=0.0,
            window=self.window,
        )

    def decisions(self) -> tuple[Decision, ...]:
        """Return all decisions, oldest first."""
        return tuple(self._decisions)

    def forecasts(self) -> tuple[Forecast, ...]:
        """Return nothing: it knows no costs."""
        return ()

    @property
    def _split(self) -> int:
        return self._splits[self._place]

    def _decide(self, now: float) -> None:
        fps = self._fps(now)
        self._reason = Reason.SETTLED
        if fps < ENOUGH * self.target_fps:
            self._reason = Reason.MOVED_MORE_CLOUD if self._place else Reason.INFEASIBLE_DEVICE
            self._place = max(0, self._place - 1)
        self._decisions.append(
            Decision(
                at_s=now,
                fps=fps,
                target_fps=self.target_fps,
                split=float(self._split),
                reason=self._reason,
            )
        )

    def _fps(self, now: float) -> float:
        while self._finished_s and self._finished_s[0] < now - PERIOD_S:
            self._finished_s.popleft()
        return len(self._finished_s) / PERIOD_S

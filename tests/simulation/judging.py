"""Runs schedulers through scenarios, and says how well they did."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from scheduler import Reason, SchedulerConfig, ThroughputScheduler
from tests.simulation.others import IntegerPid, Oracle, PlainRule
from tests.simulation.plant import Chooser, Plant, Trace
from tests.simulation.world import Scenario

# What goes before is the cold start.
BEGIN_S: Final = 5.0

# Frames over so many seconds are under target if they are fewer than this part of the goal.
SPAN_S: Final = 2.0
SETTLING_SPAN_S: Final = 1.0
UNDER: Final = 0.95
SETTLED_UNDER: Final = 0.92
OVER: Final = 1.08
SETTLED_FOR_S: Final = 3.0
TICK_S: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a run went.

    Attributes:
        under: Part of the time with less than 95 % of what the target asks and the source gives,
            over 2 s.
        cloud: Cloud seconds per frame against those of the oracle's run.
        settling_s: Mean of the steps' seconds until FPS over 1 s stays within 8 % of the goal for
            at least 3 s.
        error: (FPS - goal) / goal over the whole run but its beginning and 5 s after steps.
        pair_changes: How often in a minute the pair of points that are mixed changed, at the end.
        fps: Over the run but its beginning.
    """

    under: float
    cloud: float
    settling_s: float
    error: float
    pair_changes: float
    fps: float


def planner(scenario: Scenario) -> ThroughputScheduler:
    """Make what is judged."""
    costs = scenario.costs
    return ThroughputScheduler(
        costs.points(),
        scenario.world(0.0).target_fps,
        SchedulerConfig(
            tasks=costs.tasks,
            on_demand=costs.on_demand,
            ordered_from=costs.ordered_from,
            workers=scenario.device_workers,
            cloud_workers=scenario.cloud_workers,
            window=scenario.window,
            max_latency_s=scenario.max_latency_s,
        ),
        scenario.start(),
    )


SCHEDULERS: Final[dict[str, Callable[[Scenario], Chooser]]] = {
    "planner": planner,
    "oracle": Oracle,
    "rule": PlainRule,
    "pid": IntegerPid,
}


def run(scenario: Scenario, name: str = "planner", *, seed: int = 1) -> Trace:
    """Run a scenario with a scheduler."""
    return Plant(scenario, seed=seed).run(SCHEDULERS[name](scenario))


def judge(scenario: Scenario, name: str = "planner", *, seed: int = 1) -> Score:
    """Run a scenario with a scheduler and with the oracle, and compare."""
    trace = run(scenario, name, seed=seed)
    best = run(scenario, "oracle", seed=seed)
    return score(scenario, trace, best)


def score(scenario: Scenario, trace: Trace, best: Trace) -> Score:
    """Compare a run with the oracle's."""
    end_s = scenario.duration_s
    steps = scenario.steps_s
    return Score(
        under=_under(scenario, trace),
        cloud=trace.cloud_s_per_frame(BEGIN_S, end_s) / best.cloud_s_per_frame(BEGIN_S, end_s),
        settling_s=sum(_settling_s(scenario, trace, best, step) for step in steps)
        / max(1, len(steps)),
        error=_error(scenario, trace),
        pair_changes=_pair_changes(trace, end_s / 3, end_s) / (end_s * 2 / 3) * 60,
        fps=trace.fps(BEGIN_S, end_s),
    )


def goal_fps(scenario: Scenario, at_s: float) -> float:
    """Return what the target asks and the source gives."""
    return min(scenario.world(at_s).target_fps, scenario.camera_fps)


def _ticks(begin_s: float, end_s: float) -> list[float]:
    return [begin_s + TICK_S * tick for tick in range(int((end_s - begin_s) / TICK_S) + 1)]


def _under(scenario: Scenario, trace: Trace) -> float:
    ticks = _ticks(BEGIN_S, scenario.duration_s - 0.5)
    short = sum(
        trace.fps(at_s - SPAN_S, at_s) < UNDER * goal_fps(scenario, at_s - TICK_S) for at_s in ticks
    )
    return short / len(ticks)


def _settling_s(scenario: Scenario, trace: Trace, best: Trace, step_s: float) -> float:
    later = [each for each in scenario.steps_s if each > step_s]
    until_s = min([*later, scenario.duration_s - 0.5])
    settled_s = None
    for at_s in _ticks(step_s + SETTLING_SPAN_S, until_s):
        goal = goal_fps(scenario, at_s - TICK_S)
        fps = trace.fps(at_s - SETTLING_SPAN_S, at_s)
        best_fps = best.fps(at_s - SETTLING_SPAN_S, at_s)
        if not SETTLED_UNDER * min(goal, best_fps) <= fps <= OVER * max(goal, best_fps):
            settled_s = None
        elif settled_s is None:
            settled_s = at_s
        elif at_s >= settled_s + SETTLED_FOR_S:
            return settled_s - step_s - SETTLING_SPAN_S
    return until_s - step_s


def _error(scenario: Scenario, trace: Trace) -> float:
    edges = [BEGIN_S - 5, *scenario.steps_s, scenario.duration_s - 0.5]
    finished = wanted = 0.0
    for begin_s, end_s in pairwise(edges):
        begin_s += 5
        finished += trace.fps(begin_s, end_s) * (end_s - begin_s)
        wanted += goal_fps(scenario, begin_s) * (end_s - begin_s)
    return finished / wanted - 1


def _pair_changes(trace: Trace, begin_s: float, end_s: float) -> int:
    """Count how often a point is taken for 1 s that was not taken in the second before."""
    sets = [
        {
            (taken.split, taken.encoding)
            for taken in trace.taken
            if at_s <= taken.at_s < at_s + 1 and taken.reason is not Reason.PROBING
        }
        for at_s in range(int(begin_s), int(end_s))
    ]
    return sum(bool(len(later - sooner) > 0) for sooner, later in pairwise(sets))

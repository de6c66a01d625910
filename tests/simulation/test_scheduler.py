"""The scheduler in a closed loop with simulated pipelines, in virtual time.

`python -m tests.simulation` prints the figures that are asserted here, and those of the others.
"""

from dataclasses import dataclass, replace
from statistics import fmean, median

import pytest

from scheduler import Reason, ThroughputScheduler
from tests.simulation.judging import Score, judge, planner, run
from tests.simulation.others import Oracle
from tests.simulation.plant import Plant, Trace
from tests.simulation.scenarios import random_scenario, scenarios
from tests.simulation.world import Scenario

SCENARIOS = scenarios()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a scenario may cost: as in `Score`."""

    under: float = 1.0
    cloud: float = 1.0
    settling_s: float = float("inf")
    error: float = 1.0


STEADY = Limits(under=0.03, cloud=1.02)
STEP = Limits(under=0.05, cloud=1.03, settling_s=4.0)

# What was asked of the scheduler, and for the last ones what it does.
LIMITS = {
    "steady": STEADY,
    "started in the cloud": STEADY,
    "long way": STEADY,
    "too large": STEADY,
    "slow server": STEADY,
    "CPU step": STEP,
    "heating": STEP,
    "target step": STEP,
    "trap": Limits(under=0.10, cloud=1.05, settling_s=6.0),
    "link drop": Limits(under=0.16, cloud=1.05, settling_s=6.0),
    "bursty link": Limits(under=0.34, cloud=1.05),
    "above camera": Limits(under=0.03, cloud=1.03, error=0.01),
    "hidden load": Limits(settling_s=4.0, cloud=1.03, error=0.02),
    "content ends frames": STEP,
    "two workers": STEP,
    "link drop, encoded": Limits(under=0.13, cloud=1.2, settling_s=8.0, error=0.02),
    "watched": Limits(under=0.08, cloud=1.15),
}


def check(scores: list[Score], limits: Limits, *, slack: float = 0.0) -> None:
    assert fmean(each.under for each in scores) <= limits.under + slack
    assert fmean(each.cloud for each in scores) <= limits.cloud + slack
    assert fmean(each.settling_s for each in scores) <= limits.settling_s
    assert abs(fmean(each.error for each in scores)) <= limits.error


# One seed alone has a percent or two of luck.
@pytest.mark.parametrize("name", LIMITS)
def test_a_scenario_costs_no_more_than_was_asked(name: str) -> None:
    check([judge(SCENARIOS[name], seed=1)], LIMITS[name], slack=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", LIMITS)
def test_four_seeds_of_a_scenario_cost_no_more_than_was_asked(name: str) -> None:
    check([judge(SCENARIOS[name], seed=seed) for seed in range(4)], LIMITS[name])


# Those from 0 to 49 were looked at while the scheduler was written.
UNTUNED = 1000


def check_random(scores: list[Score]) -> None:
    assert fmean(each.under for each in scores) <= 0.10
    assert fmean(each.settling_s for each in scores) <= 4.0
    assert median(each.cloud for each in scores) <= 1.02


def test_pipelines_that_nobody_tuned_on_are_mastered() -> None:
    check_random([judge(random_scenario(seed)) for seed in range(UNTUNED, UNTUNED + 12)])


@pytest.mark.slow
def test_fifty_pipelines_that_nobody_tuned_on_are_mastered() -> None:
    check_random([judge(random_scenario(seed)) for seed in range(UNTUNED, UNTUNED + 50)])


@pytest.mark.parametrize("name", ["trap", "link drop"])
@pytest.mark.parametrize("other", ["rule", "pid"])
def test_a_rule_and_a_pid_fail_where_bytes_do_not_fall_with_the_split(
    name: str, other: str
) -> None:
    assert judge(SCENARIOS[name], other).under > 0.4


def test_an_oracle_holds_the_target_wherever_that_can_be_done() -> None:
    for name in ("steady", "CPU step", "trap", "target step", "hidden load"):
        assert judge(SCENARIOS[name], "oracle").under < 0.05


def steered(scenario: Scenario, *, seed: int = 1) -> tuple[ThroughputScheduler, Trace]:
    scheduler = planner(scenario)
    return scheduler, Plant(scenario, seed=seed).run(scheduler)


def test_target_out_of_reach_is_served_as_well_as_can_be_without_hunting() -> None:
    scenario = SCENARIOS["infeasible"]
    scheduler, trace = steered(scenario)
    assert trace.fps(5, 60) >= 0.98 * Oracle(scenario).best_fps(30)
    assert judge(scenario).pair_changes <= 3
    assert scheduler.state(60).reason in (Reason.INFEASIBLE_DEVICE, Reason.INFEASIBLE_LINK)


@pytest.mark.parametrize("name", ["above camera", "above camera, newest"])
def test_target_above_the_sources_rate_takes_the_source_for_the_limit(name: str) -> None:
    scheduler, trace = steered(SCENARIOS[name])
    assert trace.fps(5, 60) >= 0.985 * 18
    reasons = [each.reason for each in scheduler.decisions() if each.at_s > 15]
    assert reasons.count(Reason.SOURCE_LIMITED) > 0.3 * len(reasons)


def test_throttled_device_that_loses_frames_while_it_waits_is_not_taken_for_idle() -> None:
    scheduler, trace = steered(SCENARIOS["throttled"])
    assert trace.fps(25, 40) >= 0.95 * 18
    positions = [each.split for each in scheduler.decisions() if 25 < each.at_s < 40]
    before = [each.split for each in scheduler.decisions() if 10 < each.at_s < 20]
    assert fmean(positions) < fmean(before)


def test_frames_that_are_too_large_are_not_sent_for_ever() -> None:
    _, trace = steered(SCENARIOS["too large"])
    assert trace.failed < 10
    assert trace.fps(5, 60) >= 0.98 * 23


@pytest.mark.parametrize("limit_s", [0.3, 0.15])
def test_latency_stays_below_its_limit(limit_s: float) -> None:
    scenario = replace(SCENARIOS["infeasible"], max_latency_s=limit_s)
    scheduler, trace = steered(scenario)
    assert trace.latency_s(10, 60) < limit_s
    assert scheduler.window < 10


def test_points_that_take_too_long_are_left_out_and_that_is_said() -> None:
    scenario = replace(SCENARIOS["link drop, encoded"], max_latency_s=0.15)
    scheduler, trace = steered(scenario)
    assert trace.latency_s(30, 40) < 0.15
    assert Reason.HELD_LATENCY in {each.reason for each in scheduler.decisions()}


def test_link_that_nothing_large_crosses_is_measured_again() -> None:
    scenario = SCENARIOS["link drop, encoded"]
    _, trace = steered(scenario)
    assert trace.cloud_s_per_frame(48, 60) < 1.5 * trace.cloud_s_per_frame(10, 20)
    assert [each for each in trace.taken if each.padding_bytes and each.at_s > 20]


def test_same_observations_give_the_same_choices() -> None:
    scenario = SCENARIOS["link drop"]
    assert run(scenario, seed=7).taken == run(scenario, seed=7).taken

"""What the scheduler expects of each split, against what the simulated pipeline gives there."""

from dataclasses import replace
from typing import Final

import pytest

from scheduler import Forecast, Reason, ThroughputScheduler
from tests.simulation.judging import planner
from tests.simulation.plant import Plant
from tests.simulation.scenarios import BALL_ENCODED, EVEN, TRAP
from tests.simulation.world import Costs, Phase, Scenario, World, expected

LIMIT_OF_ROW: Final = ("device", "device", "link", "cloud")

# What was asked of a forecast.
NEAR: Final = 0.15


def scenario_of(costs: Costs, world: World, *, duration_s: float = 20.0) -> Scenario:
    phases = (Phase(begin_s=0.0, world=world),)
    return Scenario(name="", costs=costs, phases=phases, duration_s=duration_s)


def told(scenario: Scenario) -> list[Forecast]:
    scheduler = planner(scenario)
    Plant(scenario).run(scheduler)
    return list(scheduler.forecasts())


def reached(scenario: Scenario, split: int) -> float:
    """Return what a run gives that stays at a split; encodings are chosen as in any run."""
    scheduler = planner(scenario)
    scheduler.pin(split)
    return Plant(scenario).run(scheduler).fps(5, scenario.duration_s)


SCENES: Final = {
    "device": scenario_of(EVEN, World(target_fps=20)),
    "link": scenario_of(EVEN, World(target_fps=60, link_mbit=8)),
    "slow device": scenario_of(EVEN, World(target_fps=20, device_factor=4.0)),
    "hidden load": scenario_of(EVEN, World(target_fps=20, hidden_s=0.02)),
    "slow cloud": scenario_of(EVEN, World(target_fps=60, cloud_factor=12.0)),
    "trap": scenario_of(TRAP, World(target_fps=26, link_mbit=20)),
    "filtered": scenario_of(EVEN, World(target_fps=20, ends={3: 0.6})),
    "long run": scenario_of(EVEN, World(target_fps=20, link_mbit=8), duration_s=200.0),
    "long way": replace(
        scenario_of(EVEN, World(target_fps=20, link_mbit=400)), round_trip_s=0.8, window=8
    ),
    "two workers": replace(
        scenario_of(replace(EVEN, ordered_from=6), World(target_fps=20)),
        device_workers=2,
        cloud_workers=2,
    ),
}


@pytest.mark.parametrize("name", SCENES)
def test_every_split_gives_what_was_forecast_for_it(name: str) -> None:
    scenario = SCENES[name]
    found = told(scenario)
    assert [each.split for each in found] == list(range(1, scenario.costs.tasks))
    for each in found:
        short = replace(scenario, duration_s=20.0)
        assert each.fps == pytest.approx(reached(short, each.split), rel=NEAR), each


@pytest.mark.parametrize("name", ["slow device", "link", "slow cloud"])
def test_limit_is_what_takes_longest(name: str) -> None:
    scenario = SCENES[name]
    points = [point for point in scenario.costs.points() if point.encoding == "raw"]
    loads = expected(scenario, scenario.world(0.0), points)
    limits = [LIMIT_OF_ROW[int(row)] for row in loads.argmax(axis=0)]
    assert [each.limit for each in told(scenario)] == limits


def test_nothing_is_forecast_before_something_is_known() -> None:
    scenario = SCENES["device"]
    scheduler = planner(scenario)
    assert scheduler.forecasts() == ()
    Plant(replace(scenario, duration_s=0.05)).run(scheduler)
    assert scheduler.forecasts() == ()


def test_encoding_that_was_never_tried_is_not_promised_to_save_anything() -> None:
    # All that may run on the device does, and no frame is encoded anywhere else.
    scenario = scenario_of(BALL_ENCODED, World(target_fps=5, link_mbit=8))
    found = {each.split: each for each in told(scenario)}
    assert found[3].encoding == "raw"


def test_encoding_that_was_tried_long_ago_is_not_promised_to_have_become_better() -> None:
    def at_three(duration_s: float) -> Forecast:
        world = World(target_fps=60, link_mbit=8, watched_part=1.0)
        later = replace(world, target_fps=5)
        phases = (Phase(begin_s=0.0, world=world), Phase(begin_s=20.0, world=later))
        scenario = scenario_of(BALL_ENCODED, world, duration_s=duration_s)
        return told(replace(scenario, phases=phases))[2]

    assert at_three(19.0).encoding == at_three(200.0).encoding == "packed"
    assert at_three(200.0).link_s == pytest.approx(at_three(19.0).link_s, rel=NEAR)


def test_splits_whose_frames_are_too_large_are_left_out() -> None:
    world = World(target_fps=23, link_mbit=200)
    scenario = replace(scenario_of(TRAP, world), max_message_bytes=150_000, start_split=2)
    assert [each.split for each in told(scenario)] == [1, 3, 4, 5, 6]


def test_rate_is_what_can_be_reached_and_not_the_goal() -> None:
    scenario = replace(SCENES["device"], camera_fps=10.0)
    scheduler: ThroughputScheduler = planner(scenario)
    trace = Plant(scenario).run(scheduler)
    assert trace.fps(5, 20) == pytest.approx(10, rel=0.05)
    assert scheduler.state(20).reason in (Reason.SOURCE_LIMITED, Reason.SETTLED)
    assert scheduler.forecasts()[0].fps == pytest.approx(125, rel=NEAR)

"""The scenarios, and random pipelines that nobody tuned on."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from tests.simulation.others import Oracle
from tests.simulation.world import Costs, Encoding, Phase, Scenario, World

# Seven tasks like those of ball tracking, on a device that does 12 frames a second alone.
EVEN: Final = Costs(
    device_s=(0.008, 0.014, 0.018, 0.012, 0.010, 0.021, 0.004),
    cloud_s=(0.0008, 0.0014, 0.0018, 0.0012, 0.0010, 0.0021, 0.0004),
    raw_bytes=(0, 60_000, 60_000, 40_000, 20_000, 8_000, 2_000),
)

# Ball tracking, watched: frame, then frame and HSV, frame and mask, frame and contours, frame and
# circle, picture.
BALL: Final = Costs(
    device_s=(0.006, 0.016, 0.012, 0.004, 0.001, 0.003, 0.001),
    cloud_s=(0.0008, 0.0021, 0.0015, 0.0005, 0.0001, 0.0003, 0.0002),
    raw_bytes=(0, 421_600, 421_500, 140_600, 3_000, 300, 300),
    watched_bytes=(0, 421_600, 843_200, 562_100, 424_600, 421_900, 421_900),
    on_demand=frozenset({5}),
)

# The same with what its app permits: lossless for masks, JPEG where only the drawing is behind.
BALL_ENCODED: Final = replace(
    BALL,
    encodings={
        "raw": Encoding(parts={}),
        "packed": Encoding(parts={3: 0.03}, encode_s_per_byte=1e-9, decode_s_per_byte=5e-10),
        "jpeg": Encoding(
            parts={3: 0.1, 4: 0.06, 5: 0.06, 6: 0.06},
            encode_s_per_byte=1e-8,
            decode_s_per_byte=4e-9,
        ),
    },
)

# The mask is small, and everything before it is not: twice the bytes one task later.
TRAP: Final = Costs(
    device_s=(0.006, 0.020, 0.016, 0.010, 0.006, 0.012, 0.001),
    cloud_s=(0.0008, 0.0021, 0.0015, 0.0009, 0.0005, 0.0012, 0.0001),
    raw_bytes=(0, 421_600, 843_200, 20_000, 5_000, 2_000, 2_000),
)


# Somebody looks at every frame, over a thin link.
WATCHED: Final = World(target_fps=25, link_mbit=20, watched_part=1.0)


def _phases(*worlds: tuple[float, World]) -> tuple[Phase, ...]:
    return tuple(Phase(begin_s=begin_s, world=world) for begin_s, world in worlds)


def _stepped(
    name: str, costs: Costs, before: World, during: World, after: World | None = None
) -> Scenario:
    after = before if after is None else after
    phases = _phases((0.0, before), (20.0, during), (40.0, after))
    return Scenario(name=name, costs=costs, phases=phases, steps_s=(20.0, 40.0))


WORLD: Final = World(target_fps=20)


def scenarios() -> dict[str, Scenario]:
    """Return all of them by name."""
    all_ = (*_devices(), *_links(), *_clouds(), *_sources(), *_contents())
    return {each.name: each for each in all_}


def _steady(name: str, costs: Costs, world: World) -> Scenario:
    return Scenario(name=name, costs=costs, phases=_phases((0.0, world)))


def _devices() -> list[Scenario]:
    """Return what happens to a device."""
    steady = _steady("steady", EVEN, WORLD)
    twice = replace(WORLD, device_factor=2.0)
    busy, busier = replace(WORLD, target_fps=35), replace(twice, target_fps=35)
    parallel = _stepped("two workers", replace(EVEN, ordered_from=6), busy, busier)
    heating = [
        (float(at_s), replace(WORLD, device_factor=1 + 0.02 * (at_s - 10)))
        for at_s in range(10, 51)
    ]
    return [
        steady,
        replace(steady, name="started in the cloud", start_split=1),
        _stepped("CPU step", EVEN, WORLD, twice),
        Scenario(name="heating", costs=EVEN, phases=_phases((0.0, WORLD), *heating)),
        _stepped("target step", EVEN, WORLD, replace(WORLD, target_fps=40.0)),
        _stepped("hidden load", EVEN, WORLD, replace(WORLD, hidden_s=0.012)),
        replace(parallel, device_workers=2, cloud_workers=2),
    ]


def _links() -> list[Scenario]:
    """Return what happens to a link."""
    good, bad = replace(WORLD, link_mbit=20), replace(WORLD, link_mbit=2)
    bursts = [
        each for cycle in range(6) for each in ((10.0 * cycle, good), (10.0 * cycle + 8, bad))
    ]
    some = replace(WATCHED, watched_part=0.2)
    trap = World(target_fps=26, link_mbit=20)
    wide = _steady("too large", TRAP, World(target_fps=23, link_mbit=200))
    return [
        _stepped("link drop", EVEN, good, replace(WORLD, link_mbit=4)),
        _stepped("link drop, encoded", BALL_ENCODED, some, replace(some, link_mbit=4)),
        _steady("trap", TRAP, trap),
        Scenario(name="bursty link", costs=EVEN, phases=_phases(*bursts)),
        replace(_steady("long way", EVEN, WORLD), round_trip_s=0.2),
        replace(wide, max_message_bytes=150_000, start_split=2),
        _steady("infeasible", EVEN, World(target_fps=60, link_mbit=8)),
    ]


def _clouds() -> list[Scenario]:
    """Return what happens to a cloud."""
    slow = World(target_fps=12.6)
    steady = _steady("bursts of acknowledgements", EVEN, World(target_fps=40))
    wanted = World(target_fps=40, cloud_factor=2.0)
    return [
        _stepped("slow server", EVEN, slow, replace(slow, cloud_factor=30.0)),
        _stepped("busy server", EVEN, wanted, replace(wanted, busy_part=0.9)),
        replace(steady, acknowledged_every_s=0.4),
    ]


def _sources() -> list[Scenario]:
    """Return cameras that are slower than the target."""
    above = replace(_steady("above camera", EVEN, World(target_fps=40)), camera_fps=18)
    throttled = _stepped(
        "throttled", EVEN, World(target_fps=18), World(target_fps=18, hidden_s=0.02)
    )
    return [
        above,
        replace(above, name="above camera, newest", keeps_newest=True),
        replace(throttled, camera_fps=18, keeps_newest=True, hidden_looks_like_waiting=True),
    ]


def _contents() -> list[Scenario]:
    """Return what happens in front of a camera, and who looks at it."""
    nobody = replace(WATCHED, watched_part=0.0)
    half = replace(WATCHED, watched_part=0.5)
    return [
        _stepped("content ends frames", EVEN, WORLD, replace(WORLD, ends={3: 0.8})),
        _with_camera(_stepped("watched", BALL_ENCODED, nobody, WATCHED)),
        _with_camera(_stepped("half watched", BALL_ENCODED, half, replace(half, link_mbit=4))),
    ]


def _with_camera(scenario: Scenario) -> Scenario:
    return replace(scenario, camera_fps=30.0, keeps_newest=True)


def random_scenario(seed: int) -> Scenario:
    """Return a pipeline that nobody tuned on, with one step at 20 s that it can follow."""
    random_ = random.Random(seed)
    for _ in range(1000):
        scenario = _random_scenario(random_, f"random {seed}")
        if scenario is not None:
            return scenario
    raise AssertionError(f"no feasible pipeline of seed {seed}")


def _random_scenario(random_: random.Random, name: str) -> Scenario | None:
    def between(low: float, high: float) -> float:
        return math.exp(random_.uniform(math.log(low), math.log(high)))

    tasks = random_.randint(4, 9)
    total_s = 1 / between(5, 60)
    weights = [random_.random() ** 2 + 0.01 for _ in range(tasks)]
    device_s = [total_s * weight / sum(weights) for weight in weights]
    speed_up = between(2, 20)
    cloud_s = [seconds / speed_up / between(0.6, 1.6) for seconds in device_s]
    raw_bytes = [0, *(int(between(1e3, 4e5)) for _ in range(tasks - 1))]
    encodings = {"raw": Encoding(parts={})}
    if random_.random() < 0.5:
        encodings["packed"] = Encoding(
            parts={k: between(0.02, 0.6) for k in range(1, tasks) if random_.random() < 0.6},
            encode_s_per_byte=between(1e-10, 2e-8),
            decode_s_per_byte=between(1e-10, 5e-9),
        )
    costs = Costs(device_s=device_s, cloud_s=cloud_s, raw_bytes=raw_bytes, encodings=encodings)
    base = World(target_fps=1.0, link_mbit=between(4, 100))
    change: Callable[[World], World] = random_.choice(
        [
            lambda world: replace(world, device_factor=random_.uniform(0.5, 2.0)),
            lambda world: replace(world, link_mbit=world.link_mbit * between(0.2, 5)),
            lambda world: replace(world, target_fps=world.target_fps * random_.uniform(0.6, 1.5)),
            lambda world: replace(world, cloud_factor=between(1, 10)),
        ]
    )
    alone_fps = 1 / sum(device_s[:-1])
    target_fps = alone_fps * between(1.05, 5)
    world = replace(base, target_fps=target_fps)
    scenario = Scenario(
        name=name,
        costs=costs,
        phases=_phases((0.0, world), (20.0, change(world))),
        duration_s=40.0,
        round_trip_s=between(0.004, 0.08),
        steps_s=(20.0,),
    )
    oracle = Oracle(scenario)
    is_feasible = all(oracle.mixture(at_s).load <= 0.95 for at_s in (0.0, 20.0))
    return scenario if is_feasible or _fits(oracle) else None


def _fits(oracle: Oracle) -> bool:
    return all(oracle.mixture(at_s).load <= 1 + 1e-6 for at_s in (0.0, 20.0))

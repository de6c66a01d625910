"""What a simulated pipeline costs, and what the machines and the link are like at a time."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scheduler import OperatingPoint

Floats = NDArray[np.float64]

MBIT = 1e6 / 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How values travel: at each split what part of the bytes is left, and what a byte takes."""

    parts: Mapping[int, float]
    encode_s_per_byte: float = 0.0
    decode_s_per_byte: float = 0.0


RAW = Encoding(parts={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What a frame costs. ``device_s[i]`` and ``cloud_s[i]`` are task i + 1's seconds.

    ``raw_bytes[k]`` cross at the split k (``[0]`` is never used), ``watched_bytes[k]`` if somebody
    looks; None for the same. ``ends[i]`` is the part of the frames that get to task i + 1 and end
    there.
    """

    device_s: Sequence[float]
    cloud_s: Sequence[float]
    raw_bytes: Sequence[int]
    watched_bytes: Sequence[int] | None = None
    encodings: Mapping[str, Encoding] = field(default_factory=lambda: {"raw": RAW})
    on_demand: frozenset[int] = frozenset()
    ordered_from: int = 0

    @property
    def tasks(self) -> int:
        return len(self.device_s)

    def points(self) -> list[OperatingPoint]:
        return [
            OperatingPoint(split=split, encoding=name)
            for split in range(1, self.tasks)
            for name, encoding in self.encodings.items()
            if name == "raw" or split in encoding.parts
        ]

    def bytes_raw(self, split: int, *, watched: bool) -> int:
        sizes = self.watched_bytes if watched and self.watched_bytes else self.raw_bytes
        return sizes[split]

    def part(self, point: OperatingPoint) -> float:
        return self.encodings[point.encoding].parts.get(point.split, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How things are for a while.

    ``hidden_s`` of a frame's time on the device are seen by no timer. ``ends`` are as in `Costs`,
    by task's index. ``busy_part`` is what other devices take of the cloud.
    """

    target_fps: float
    device_factor: float = 1.0
    cloud_factor: float = 1.0
    link_mbit: float = 100.0
    hidden_s: float = 0.0
    watched_part: float = 0.0
    busy_part: float = 0.0
    ends: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A world from ``begin_s`` on."""

    begin_s: float
    world: World


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """All there is to a run but the scheduler."""

    name: str
    costs: Costs
    phases: Sequence[Phase]
    duration_s: float = 60.0
    start_split: int | None = None
    camera_fps: float = float("inf")
    keeps_newest: bool = False
    hidden_looks_like_waiting: bool = False
    round_trip_s: float = 0.02
    window: int = 32
    device_workers: int = 1
    cloud_workers: int = 1
    noise: float = 0.08
    max_latency_s: float = float("inf")
    max_message_bytes: float = float("inf")
    # Acknowledgements leave at multiples of this.
    acknowledged_every_s: float = 0.0
    # Whether to count the whole run's settling, or only that after these moments.
    steps_s: Sequence[float] = ()

    def world(self, at_s: float) -> World:
        begins = [phase.begin_s for phase in self.phases]
        return self.phases[max(0, bisect_right(begins, at_s) - 1)].world

    def start(self) -> OperatingPoint:
        points = self.costs.points()
        split = self.start_split or points[-1].split
        return next(point for point in points if point.split == split)


def reach(costs: Costs, world: World) -> list[float]:
    """Return how many of all frames get to each task."""
    parts, left = [], 1.0
    for task in range(costs.tasks):
        parts.append(left)
        left *= 1 - world.ends.get(task, 0.0)
    return parts


def expected(scenario: Scenario, world: World, points: Sequence[OperatingPoint]) -> Floats:
    """Return the mean seconds per frame that each point takes: float64[4, points].

    The rows: the device in order, each of its workers, the link, the cloud.
    """
    costs, parts = scenario.costs, reach(scenario.costs, world)
    runs = [
        part * (world.watched_part if task in costs.on_demand else 1.0)
        for task, part in enumerate(parts)
    ]
    columns = []
    for point in points:
        k, encoding = point.split, costs.encodings[point.encoding]
        raw = sum(
            weight * costs.bytes_raw(k, watched=watched)
            for watched, weight in ((False, 1 - world.watched_part), (True, world.watched_part))
        )
        crossing = (parts[k] if k < costs.tasks else 1.0) * raw
        device = [
            q * s * world.device_factor for q, s in zip(runs[:k], costs.device_s[:k], strict=True)
        ]
        coding = crossing * encoding.encode_s_per_byte * world.device_factor
        free = costs.ordered_from if scenario.device_workers > 1 else 0
        serial, parallel = sum(device[free:]) + world.hidden_s, sum(device[:free])
        if k > free:
            serial += coding
        else:
            parallel += coding
        cloud = sum(q * s for q, s in zip(runs[k:], costs.cloud_s[k:], strict=True))
        cloud = (cloud + crossing * encoding.decode_s_per_byte) * world.cloud_factor
        cloud /= 1 - world.busy_part
        columns.append(
            [
                serial,
                parallel / scenario.device_workers,
                crossing * costs.part(point) / (world.link_mbit * MBIT),
                cloud / scenario.cloud_workers,
            ]
        )
    return np.array(columns).T


def cloud_costs(scenario: Scenario, world: World, points: Sequence[OperatingPoint]) -> Floats:
    """Return the mean seconds of the cloud's processors per frame at each point."""
    own_part = 1 - world.busy_part
    means = expected(scenario, world, points)
    rate = world.link_mbit * MBIT
    costs: Floats = means[3] * scenario.cloud_workers * own_part
    costs += means[2] * rate * receiving_s_per_byte(world)
    return costs


def receiving_s_per_byte(world: World) -> float:
    """Return what receiving a byte takes the cloud: on a thin link it wakes up for each packet.

    Measured on a server on loopback and in emulated networks: 9.2 ns at 20 Mbit/s, 1 ns at 400.
    """
    return min(0.05 / (world.link_mbit * MBIT), 9e-9)

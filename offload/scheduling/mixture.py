"""Mix two of several ways to do something so that its limits hold at the least cost.

A way takes parts of several resources: 1 is all that there is. Of a mixture the second way takes
``share`` of all frames, so every load is linear in the share, each limit bounds it by one division,
and the best share of a pair is known in closed form. All pairs of the few ways that no other beats
are weighed. Pure::

    few = worth_mixing(ways)
    mixture = cheapest(few, limits) or lightest(few)
    mixture.first.key, mixture.second.key, mixture.share
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import le
from typing import Final

# What rounding may add to a limit that is met exactly.
TOLERANCE: Final = 1e-9

# A pair is kept while no other is so much better: noise alone should not change it.
KEEP_CHEAPER: Final = 1.01
KEEP_LIGHTER: Final = 1.03


@dataclass(frozen=True, slots=True)
class Way:
    """Something that may be mixed.

    Attributes:
        key: The caller's name for it.
        loads: Part of each resource that it takes, 0 or more; of all ways in the same order.
        cost: What is to be least.
        is_alone: Whether it mixes with no other.
    """

    key: int
    loads: tuple[float, ...]
    cost: float
    is_alone: bool = False


@dataclass(frozen=True, slots=True)
class Mixture:
    """Two ways (or one, twice), of which the second takes ``share`` of all frames, 0 to 1."""

    first: Way
    second: Way
    share: float

    @property
    def keys(self) -> frozenset[int]:
        """The keys of both."""
        return frozenset((self.first.key, self.second.key))

    @property
    def cost(self) -> float:
        """The mean cost."""
        return self.first.cost + self.share * (self.second.cost - self.first.cost)

    @property
    def loads(self) -> list[float]:
        """The mean part of each resource."""
        share, pairs = self.share, zip(self.first.loads, self.second.loads, strict=True)
        return [one + share * (two - one) for one, two in pairs]

    @property
    def load(self) -> float:
        """The largest of the loads; up to 1 all limits hold."""
        return max(self.loads)

    @property
    def bottleneck(self) -> int:
        """The place of that load among them."""
        return self.loads.index(self.load)

    @property
    def shares(self) -> dict[int, float]:
        """The part of each key that takes any."""
        if self.share in (0, 1) or self.first is self.second:
            return {(self.second if self.share else self.first).key: 1.0}
        return {self.first.key: 1 - self.share, self.second.key: self.share}


def worth_mixing(ways: Sequence[Way]) -> list[Way]:
    """Return the ways that no other beats in everything, by cost; their mixtures are the best.

    A way that mixes with no other beats only its like.
    """
    few: list[Way] = []
    for way in sorted(ways, key=lambda each: (each.cost, each.loads)):
        for other in few:
            # Those in ``few`` are no dearer.
            if all(map(le, other.loads, way.loads)) and way.is_alone >= other.is_alone:
                break
        else:
            few.append(way)
    return few


def cheapest(
    ways: Sequence[Way], limits: Sequence[float], present: frozenset[int] = frozenset()
) -> Mixture | None:
    """Return the cheapest mixture within all limits; None if there is none.

    Args:
        ways: What is mixed.
        limits: What the loads may be at most.
        present: Keys of a pair that is kept while no other is cheaper by `KEEP_CHEAPER`.
    """
    best: Mixture | None = None
    least = math.inf
    for one, two in _pairs(ways):
        if min(one.cost, two.cost) > KEEP_CHEAPER * least:
            continue
        share = _share_within(one, two, limits)
        if share is None:
            continue
        cost = one.cost + share * (two.cost - one.cost)
        if present == {one.key, two.key}:
            cost /= KEEP_CHEAPER
        if cost < least:
            best, least = Mixture(one, two, share), cost
    return best


def lightest(ways: Sequence[Way], present: frozenset[int] = frozenset()) -> Mixture:
    """Return the mixture whose largest load is smallest: what to do if nothing fits.

    Args:
        ways: What is mixed, at least one.
        present: Keys of a pair that is kept while no other is lighter by `KEEP_LIGHTER`.
    """
    best: Mixture | None = None
    least = math.inf
    # The lightest ones first: they soon show that most of the others need no look.
    for one, two in _pairs(sorted(ways, key=lambda way: max(way.loads))):
        # No share gets below the smaller one of both ends, in any load.
        if max(map(min, one.loads, two.loads)) > KEEP_LIGHTER * least:
            continue
        mixture = Mixture(one, two, _lightest_share(one, two))
        load = mixture.load
        if present == {one.key, two.key}:
            load /= KEEP_LIGHTER
        if load < least:
            best, least = mixture, load
    assert best is not None, "there is a way"
    return best


def _pairs(ways: Sequence[Way]) -> Iterator[tuple[Way, Way]]:
    """Yield each way with itself, then all pairs that may be mixed."""
    yield from zip(ways, ways, strict=True)
    yield from combinations([way for way in ways if not way.is_alone], 2)


def _share_within(one: Way, two: Way, limits: Sequence[float]) -> float | None:
    """Return the cheapest share within the limits; None if there is none."""
    lowest, highest = 0.0, 1.0
    for base, end, limit in zip(one.loads, two.loads, limits, strict=True):
        room, slope = limit + TOLERANCE - base, end - base
        if slope > 0:
            if room < highest * slope:
                highest = room / slope
        elif room < 0:
            if slope > room:
                return None
            lowest = max(lowest, room / slope)
    if lowest > highest:
        return None
    return highest if two.cost < one.cost else lowest


def _lightest_share(one: Way, two: Way) -> float:
    """Return the share whose largest load is smallest.

    The largest of several lines falls, then rises: go down along the line that is the largest, to
    where it meets the next one, until that one rises.
    """
    lines = [(base, end - base) for base, end in zip(one.loads, two.loads, strict=True)]
    base, slope = max(lines)
    share = 0.0
    while slope < 0:
        meets = [
            ((base - other) / (rise - slope), rise, other) for other, rise in lines if rise > slope
        ]
        share, slope, base = min(meets, default=(1.0, 0.0, 0.0))
    return min(share, 1.0)

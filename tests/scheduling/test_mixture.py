"""The best mixture of two ways, against one that tries shares by the thousand."""

import random
from itertools import combinations_with_replacement

import pytest

from offload.scheduling.mixture import Mixture, Way, cheapest, lightest, worth_mixing

SHARES = [share / 1000 for share in range(1001)]
LIMITS = [1.0] * 6


def random_ways(seed: int, *, heavy: float) -> list[Way]:
    random_ = random.Random(seed)
    return [
        Way(key, tuple(random_.random() * heavy for _ in LIMITS), random_.random())
        for key in range(7)
    ]


def tried(ways: list[Way]) -> list[Mixture]:
    """Return all pairs at each of `SHARES`."""
    return [
        Mixture(one, two, share)
        for one, two in combinations_with_replacement(ways, 2)
        for share in SHARES
    ]


@pytest.mark.parametrize("seed", range(20))
def test_no_mixture_within_the_limits_is_cheaper(seed: int) -> None:
    ways = random_ways(seed, heavy=1.5)
    costs = [mixture.cost for mixture in tried(ways) if mixture.load <= 1]
    found = cheapest(ways, LIMITS)
    assert (found is None) == (not costs)
    if found is not None:
        assert found.cost <= min(costs) + 1e-9
        assert found.load <= 1 + 1e-6


@pytest.mark.parametrize("seed", range(20))
def test_no_mixture_is_lighter_than_the_lightest(seed: int) -> None:
    ways = random_ways(seed, heavy=4)
    assert lightest(ways).load <= min(mixture.load for mixture in tried(ways)) + 1e-9


@pytest.mark.parametrize("seed", range(20))
def test_ways_that_are_beaten_in_everything_are_not_missed(seed: int) -> None:
    ways = random_ways(seed, heavy=1.2)
    few = worth_mixing(ways)
    best, same = cheapest(ways, LIMITS), cheapest(few, LIMITS)
    assert (best is None) == (same is None)
    if best is not None and same is not None:
        assert same.cost == pytest.approx(best.cost)
    assert lightest(few).load == pytest.approx(lightest(ways).load)


def test_of_equal_ways_one_is_left() -> None:
    ways = [Way(key, (1.0, 1.0), 1.0) for key in range(3)]
    assert len(worth_mixing(ways)) == 1


def test_a_way_that_mixes_with_no_other_does_not_replace_one_that_does() -> None:
    ways = [Way(0, (0.5,), 1.0, is_alone=True), Way(1, (0.6,), 1.1)]
    assert worth_mixing(ways) == ways


def two_ways(*, alone: bool = False) -> list[Way]:
    """Return a cheap way that is too slow, and a dear one that is quick."""
    return [Way(0, (2.0,), 1.0), Way(1, (0.5,), 4.0, is_alone=alone)]


def test_the_limit_is_met_exactly() -> None:
    found = cheapest(two_ways(), [1.0])
    assert found is not None
    assert found.shares == pytest.approx({0: 1 / 3, 1: 2 / 3})
    assert found.cost == pytest.approx(3.0)
    assert found.load == pytest.approx(1.0)


def test_a_lower_limit_leaves_room() -> None:
    found = cheapest(two_ways(), [0.8])
    assert found is not None
    assert found.load == pytest.approx(0.8)


def test_a_way_that_mixes_with_no_other_is_used_alone() -> None:
    found = cheapest(two_ways(alone=True), [1.0])
    assert found is not None
    assert found.shares == {1: 1.0}


def test_the_heaviest_resource_is_the_bottleneck() -> None:
    assert lightest([Way(0, (0.5, 3.0, 2.0), 1.0)]).bottleneck == 1


@pytest.mark.parametrize(("cheaper_by", "kept"), [(1.005, True), (1.05, False)])
def test_a_pair_is_kept_while_no_other_is_much_cheaper(cheaper_by: float, kept: bool) -> None:
    ways = [Way(0, (0.5,), 1.0), Way(1, (0.4,), cheaper_by)]
    found = cheapest(ways, [1.0], present=frozenset([1]))
    assert found is not None
    assert (found.keys == {1}) is kept


@pytest.mark.parametrize(("lighter_by", "kept"), [(1.01, True), (1.05, False)])
def test_a_pair_is_kept_while_no_other_is_much_lighter(lighter_by: float, kept: bool) -> None:
    ways = [Way(0, (2.0,), 1.0), Way(1, (2.0 * lighter_by,), 1.0)]
    assert (lightest(ways, present=frozenset([1])).keys == {1}) is kept


def test_the_order_of_ways_does_not_matter() -> None:
    ways = random_ways(3, heavy=1.5)
    one, other = cheapest(ways, LIMITS), cheapest(ways[::-1], LIMITS)
    assert one is not None
    assert other is not None
    assert one.cost == pytest.approx(other.cost)

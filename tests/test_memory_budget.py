"""The accounting of memory, and whose turn it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.cloud.memory_budget import MemoryBudget


def budget(limit_bytes: int = 100) -> MemoryBudget[str]:
    return MemoryBudget(limit_bytes=limit_bytes)


def in_turn(memory: MemoryBudget[str]) -> list[str]:
    """Return who may go on now; each of them takes nothing."""
    found = []
    while (waiter := memory.next_in_turn()) is not None:
        found.append(waiter)
    return found


def test_the_limit_itself_is_granted_and_one_byte_more_is_not() -> None:
    memory = budget()
    assert memory.reserve("a", 60)
    assert not memory.reserve("b", 41)
    memory.forget("b")
    assert memory.reserve("c", 40)
    assert not memory.is_full
    assert memory.held_bytes == 100


def test_what_is_more_than_the_limit_is_granted_while_nothing_is_held() -> None:
    memory = budget()
    assert memory.reserve("a", 1000)
    assert memory.is_full
    assert not memory.reserve("b", 1)


def test_nobody_overtakes_who_waits() -> None:
    memory = budget()
    assert memory.reserve("a", 60)
    assert not memory.reserve("large", 80)
    assert not memory.reserve("small", 1)
    assert memory.next_in_turn() is None
    memory.release(60)
    assert memory.next_in_turn() == "large"
    assert memory.reserve("large", 80)
    assert memory.next_in_turn() == "small"


def test_whose_turn_it_is_goes_before_those_who_still_wait_and_only_once() -> None:
    memory = budget()
    assert memory.reserve("a", 100)
    for each in ("first", "second"):
        assert not memory.reserve(each, 10)
    memory.release(100)
    assert memory.next_in_turn() == "first"
    assert memory.reserve("first", 10)
    assert not memory.reserve("first", 10)
    assert in_turn(memory) == ["second", "first"]


def test_who_asks_again_while_it_waits_keeps_its_place() -> None:
    memory = budget()
    assert memory.reserve("a", 100)
    for each in ("first", "second", "first"):
        assert not memory.reserve(each, 10)
    memory.release(100)
    assert in_turn(memory) == ["first", "second"]


def test_who_is_forgotten_holds_up_nobody() -> None:
    memory = budget()
    assert memory.reserve("a", 60)
    assert not memory.reserve("large", 80)
    assert not memory.reserve("small", 1)
    memory.forget("large")
    memory.forget("unknown")
    assert memory.next_in_turn() == "small"
    assert not memory.is_awaited


def test_what_is_there_already_counts_over_the_limit_and_then_nobody_goes_on() -> None:
    memory = budget()
    memory.hold(101)
    assert memory.is_full
    memory.wait("a", 0)
    assert memory.next_in_turn() is None
    memory.release(1)
    assert not memory.is_full
    assert memory.next_in_turn() == "a"


@pytest.mark.parametrize("limit_bytes", [1, 100])
@given(sizes=st.lists(st.integers(1, 150), max_size=30))
def test_all_who_wait_come_in_the_end_in_their_order_and_within_the_limit(
    limit_bytes: int, sizes: list[int]
) -> None:
    memory = budget(limit_bytes)
    granted: list[str] = []
    held: list[int] = []
    for number, size in enumerate(sizes):
        if memory.reserve(str(number), size):
            granted.append(str(number))
            held.append(size)
    while held:
        memory.release(held.pop(0))
        while (waiter := memory.next_in_turn()) is not None:
            assert memory.reserve(waiter, sizes[int(waiter)])
            granted.append(waiter)
            held.append(sizes[int(waiter)])
            assert memory.held_bytes <= limit_bytes or len(held) == 1
    assert granted == [str(number) for number in range(len(sizes))]
    assert memory.held_bytes == 0

"""Work that several threads do at a time comes back in the order in which it was begun."""

import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from offload.executors.in_order import InOrder
from offload.executors.threads import Quickness

LONG_S = 30.0

Start = Callable[[int], InOrder[int]]


@pytest.fixture
def start() -> Iterator[Start]:
    opened: list[InOrder[int]] = []

    def make(workers: int, on_ready: Callable[[], None] = lambda: None) -> InOrder[int]:
        opened.append(InOrder(workers, on_ready=on_ready))
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def never() -> Quickness:
    return Quickness(limit_s=0.0, in_a_row=1)


def always() -> Quickness:
    quick = Quickness(limit_s=LONG_S, in_a_row=1)
    quick.book(0.0)
    return quick


def wait_for(gate: threading.Event) -> float:
    assert gate.wait(LONG_S)
    return 0.0


@pytest.mark.parametrize("seed", range(5))
def test_work_comes_back_in_the_order_in_which_it_was_begun(start: Start, seed: int) -> None:
    workers = start(4)
    gates = [threading.Event() for _ in range(4)]
    for number, gate in enumerate(gates):
        assert not workers.begin(number, run=partial(wait_for, gate), quick=never())
    random.Random(seed).shuffle(gates)
    for gate in gates:
        gate.set()
    assert [workers.next_ready(timeout_s=LONG_S) for _ in gates] == [0, 1, 2, 3]
    assert workers.in_progress == 0


def test_one_worker_is_the_calling_thread(start: Start) -> None:
    found = list[threading.Thread]()

    def run() -> float:
        found.append(threading.current_thread())
        return 0.0

    assert start(1).begin(7, run=run, quick=never())
    assert found == [threading.current_thread()]


def test_quick_work_is_done_at_once_unless_it_would_overtake_other_work(start: Start) -> None:
    workers, gate = start(2), threading.Event()
    assert workers.begin(0, run=lambda: 0.0, quick=always())
    assert not workers.begin(1, run=lambda: wait_for(gate), quick=never())
    assert not workers.begin(2, run=lambda: 0.0, quick=always())
    gate.set()
    assert [workers.next_ready(timeout_s=LONG_S) for _ in range(2)] == [1, 2]


def test_workers_are_full_with_a_piece_each_and_one_that_waits(start: Start) -> None:
    workers, gate, found = start(2), threading.Event(), list[bool]()
    for number in range(3):
        found.append(workers.is_full)
        workers.begin(number, run=lambda: wait_for(gate), quick=never())
    assert (found, workers.is_full) == ([False, False, False], True)
    assert workers.next_ready(timeout_s=0.0) is None
    gate.set()
    assert workers.next_ready(timeout_s=LONG_S) == 0
    assert not workers.is_full


def test_the_caller_is_told_of_each_piece_that_is_ready() -> None:
    told = threading.Semaphore(0)
    workers = InOrder[int](2, on_ready=told.release)
    for number in range(5):
        workers.begin(number, run=lambda: 0.0, quick=never())
    assert all(told.acquire(timeout=LONG_S) for _ in range(5))
    assert workers.has_ready
    assert [workers.next_ready(timeout_s=0.0) for _ in range(5)] == list(range(5))
    assert not workers.has_ready
    workers.close()


def test_what_work_took_says_whether_the_next_is_quick(start: Start) -> None:
    workers, quick = start(2), Quickness(limit_s=1.0, in_a_row=2)
    for number in range(2):
        assert not workers.begin(number, run=lambda: 0.5, quick=quick)
        assert workers.next_ready(timeout_s=LONG_S) == number
    assert workers.begin(2, run=lambda: 0.5, quick=quick)


def test_quick_work_waits_for_other_quick_work_and_for_no_slow_work(start: Start) -> None:
    workers, gate = start(2), threading.Event()
    becomes_quick = Quickness(limit_s=LONG_S, in_a_row=1)
    assert not workers.is_better_ended_first(always())
    workers.begin(0, run=lambda: 0.0, quick=becomes_quick)
    assert workers.next_ready(timeout_s=LONG_S) == 0
    workers.begin(1, run=lambda: wait_for(gate), quick=never())
    assert not workers.is_better_ended_first(becomes_quick)
    gate.set()
    assert workers.next_ready(timeout_s=LONG_S) == 1
    slow_until_now = Quickness(limit_s=LONG_S, in_a_row=1)
    workers.begin(2, run=lambda: 0.0, quick=slow_until_now)
    slow_until_now.book(0.0)
    assert workers.is_better_ended_first(becomes_quick)
    assert not workers.is_better_ended_first(never())
    assert workers.next_ready(timeout_s=LONG_S) == 2

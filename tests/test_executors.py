"""Lanes: free parts run at the same time, ordered parts in the order of their submission."""

import random
import threading
from collections.abc import Iterator
from functools import partial

import pytest

from offload.executors.threads import Quickness, ThreadPool

LONG_S = 30.0
JOBS = 8


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    opened = ThreadPool(workers=JOBS)
    yield opened
    opened.close()


def wait_and_return(event: threading.Event, number: int) -> int:
    assert event.wait(LONG_S)
    return number


@pytest.mark.parametrize("seed", range(5))
def test_ordered_parts_keep_their_order_however_the_free_parts_end(
    pool: ThreadPool, seed: int
) -> None:
    lane, order = pool.lane(), list[int]()
    gates = [threading.Event() for _ in range(JOBS)]
    for number, gate in enumerate(gates):
        lane.submit(free=partial(wait_and_return, gate, number), ordered=order.append)
    random.Random(seed).shuffle(gates)
    for gate in gates:
        gate.set()
    pool.close()
    assert order == list(range(JOBS))


def test_free_parts_run_at_the_same_time(pool: ThreadPool) -> None:
    lane, met = pool.lane(), list[int]()
    meeting = threading.Barrier(JOBS)
    for _ in range(JOBS):
        lane.submit(free=lambda: meeting.wait(LONG_S), ordered=met.append)
    pool.close()
    assert sorted(met) == list(range(JOBS))


def test_ordered_parts_never_run_at_the_same_time(pool: ThreadPool) -> None:
    lane, inside, most = pool.lane(), list[int](), list[int]()

    def ordered(number: int) -> None:
        inside.append(number)
        most.append(len(inside))
        inside.remove(number)

    for number in range(500):
        lane.submit(free=partial(int, number), ordered=ordered)
    pool.close()
    assert most == [1] * 500


def test_a_lane_that_waits_does_not_hold_up_another(pool: ThreadPool) -> None:
    gate, done = threading.Event(), threading.Event()
    pool.lane().submit(free=lambda: wait_and_return(gate, 0), ordered=lambda _: None)
    pool.lane().submit(free=lambda: None, ordered=lambda _: done.set())
    assert done.wait(LONG_S)
    gate.set()


def test_a_part_that_raises_is_reported_and_nothing_overtakes_its_frame(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lane, order, reported = pool.lane(), list[int](), list[object]()
    monkeypatch.setattr(threading, "excepthook", lambda hook: reported.append(hook.exc_value))
    bug = RuntimeError("a bug of ours")

    def broken() -> int:
        raise bug

    lane.submit(free=lambda: 0, ordered=order.append)
    lane.submit(free=broken, ordered=order.append)
    lane.submit(free=lambda: 2, ordered=order.append)
    pool.close()
    assert order == [0]
    assert reported == [bug]


def test_a_pool_has_a_worker_per_processor_unless_told() -> None:
    assert ThreadPool(workers=None).workers >= 1
    assert ThreadPool(workers=3).workers == 3


def test_work_on_a_free_lane_may_run_in_the_calling_thread(pool: ThreadPool) -> None:
    lane, threads = pool.lane(), list[str]()
    ran = lane.run_inline(
        free=lambda: threading.current_thread().name,
        ordered=lambda name: threads.extend([name, threading.current_thread().name]),
    )
    assert ran
    assert threads == 2 * [threading.current_thread().name]


def test_work_overtakes_no_job_by_running_in_the_calling_thread(pool: ThreadPool) -> None:
    lane, gate, order = pool.lane(), threading.Event(), list[int]()
    lane.submit(free=lambda: wait_and_return(gate, 1), ordered=order.append)
    assert not lane.run_inline(free=lambda: 2, ordered=order.append)
    lane.submit(free=lambda: 3, ordered=order.append)
    gate.set()
    pool.close()
    assert order == [1, 3]


def test_jobs_that_came_while_work_ran_in_the_calling_thread_are_run_after_it(
    pool: ThreadPool,
) -> None:
    lane, order = pool.lane(), list[int]()
    submitted = threading.Event()

    def submit() -> None:
        lane.submit(free=submitted.set, ordered=lambda _: order.append(2))

    def ordered(_: object) -> None:
        submit()
        assert submitted.wait(LONG_S)
        order.append(1)

    assert lane.run_inline(free=lambda: None, ordered=ordered)
    pool.close()
    assert order == [1, 2]


def booked(*seconds: float) -> list[bool]:
    quick, found = Quickness(limit_s=0.1, in_a_row=3), []
    for each in seconds:
        quick.book(each)
        found.append(bool(quick))
    return found


def test_work_is_quick_once_it_was_so_for_a_while_and_until_it_is_slow() -> None:
    assert booked(0.01, 0.01, 0.01, 1.1, 0.01, 0.01, 0.01) == [
        *(False, False, True),
        *(False, False, False, True),
    ]


def test_work_is_quick_by_its_mean() -> None:
    assert booked(0.05, 0.05, 0.15)[-1]
    assert not booked(0.05, 0.15, 0.15)[-1]

"""Means that forget, and those of a machine's tasks."""

import math

import pytest

from offload.scheduling.means import HopefulMean, Mean, TaskMeans


def mean_of(values: list[float], *, at_s: float = 0.0) -> Mean:
    mean = Mean(1.0)
    for value in values:
        mean.add(value)
    mean.fold(at_s)
    return mean


def test_first_samples_are_believed() -> None:
    assert mean_of([1.0, 3.0]).value == 2.0


def test_mean_follows_by_its_time_constant() -> None:
    mean = mean_of([1.0] * 10)
    for _ in range(20):
        mean.add(1.2)
    mean.fold(0.5)
    assert mean.value == pytest.approx(1.2 - 0.2 * math.exp(-0.5))


def test_step_is_believed_at_once() -> None:
    mean = mean_of([1.0] * 10)
    for _ in range(3):
        mean.add(2.0)
    mean.fold(0.1)
    assert mean.value == 2.0


def test_one_sample_after_a_long_time_does_not_count_for_all() -> None:
    mean = mean_of([1.0] * 10)
    mean.add(4.0)
    mean.fold(1000.0)
    assert mean.value == pytest.approx(3.0)


def test_mean_without_new_samples_stays_and_says_since_when() -> None:
    mean = mean_of([1.0], at_s=3.0)
    mean.fold(10.0)
    assert (mean.value, mean.seen_s) == (1.0, 3.0)


def test_sum_of_several_samples_counts_like_each_of_them() -> None:
    mean = Mean(1.0)
    mean.add(6.0, 3)
    mean.fold(0.0)
    assert mean.value == 2.0


def test_tasks_that_do_not_run_follow_those_that_do() -> None:
    tasks = TaskMeans(3, 1.0)
    for _ in range(5):
        tasks.add({0: 1.0, 1: 2.0})
    tasks.fold(0.0)
    for _ in range(5):
        tasks.add({0: 3.0})
    tasks.fold(1.0)
    assert [mean.value for mean in tasks.means] == [3.0, pytest.approx(6.0), 0.0]


def test_one_slow_run_of_one_task_says_nothing_about_the_others() -> None:
    tasks = TaskMeans(2, 1.0)
    for _ in range(5):
        tasks.add({0: 1.0, 1: 2.0})
    tasks.fold(0.0)
    tasks.add({0: 9.0})
    tasks.fold(1.0)
    assert tasks.means[1].value == 2.0


def test_hopeful_mean_falls_until_samples_come_and_keeps_what_was_measured() -> None:
    mean = HopefulMean(1.0)
    mean.add(8.0)
    mean.fold(0.0)
    mean.fade(5.0, after_s=4.0, part=0.5)
    mean.fade(6.0, after_s=4.0, part=0.5)
    assert (mean.value, mean.measured.value) == (4.0, 8.0)
    mean.add(8.0)
    mean.fold(7.0)
    assert 4.0 < mean.value < 8.0
    assert mean.measured.value == 8.0

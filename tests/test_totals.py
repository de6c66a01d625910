"""A run in numbers: latencies, rates, outcomes and what tasks cost."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.device.outbox import Delivered
from offload.device.totals import RATE_WINDOW_S, LatencyHistogram, RateWindow, RunTotals
from offload.messages import Outcome, OutcomeRange, TaskTime


def delivered(outcome: Outcome, *, count: int = 1, latency_s: float = 0.1) -> Delivered:
    return Delivered(
        outcome=OutcomeRange(
            first=0, count=count, outcome=outcome, task="find", reason="raised OSError"
        ),
        split=1,
        captured_s=(10.0 - latency_s,) * count,
        finished_s=10.0,
    )


def totals() -> RunTotals:
    return RunTotals(("read", "find", "end"))


def test_a_histogram_without_durations_has_no_percentiles() -> None:
    assert LatencyHistogram().percentile(0.5) is None


@given(
    st.lists(st.floats(1e-4, 1e4), min_size=1, max_size=60), st.sampled_from([0.5, 0.95, 0.99, 1])
)
def test_a_percentile_is_within_one_percent(durations: list[float], share: float) -> None:
    histogram = LatencyHistogram()
    for each in durations:
        histogram.add(each)
    exact = sorted(durations)[max(1, math.ceil(share * len(durations))) - 1]
    assert histogram.percentile(share) == pytest.approx(exact, rel=0.0101)


@pytest.mark.parametrize("duration", [0.0, -1.0, 1e-9])
def test_a_duration_too_short_to_measure_counts_as_the_shortest(duration: float) -> None:
    histogram = LatencyHistogram()
    histogram.add(duration)
    assert histogram.percentile(0.5) == pytest.approx(1e-5, rel=0.0101)


def test_the_rate_covers_the_last_seconds_alone() -> None:
    rate = RateWindow()
    for tick in range(100):
        rate.add(tick / 10, 3)
    assert rate.per_second(9.9) == pytest.approx(30, rel=0.06)


def test_a_pause_lowers_the_rate_as_it_goes_on() -> None:
    rate = RateWindow()
    rate.add(0.0, 10)
    rates = [rate.per_second(now) for now in (RATE_WINDOW_S, RATE_WINDOW_S + 0.1)]
    assert rates == [10 / RATE_WINDOW_S, 0.0]


def test_results_and_filtered_frames_are_throughput_and_others_are_not() -> None:
    run = totals()
    for outcome, count in zip(Outcome, (1, 2, 4, 8), strict=True):
        run.finished(delivered(outcome, count=count))
    assert (run.completed, run.throughput_frames) == (1, 3)
    assert [run.outcomes[each] for each in Outcome] == [1, 2, 4, 8]
    assert run.rate.per_second(10.0 + RATE_WINDOW_S) == 3 / RATE_WINDOW_S
    assert run.failures == {"find": 4}


def test_latency_runs_from_capture_to_acknowledgement_of_finished_frames() -> None:
    run = totals()
    run.finished(delivered(Outcome.RESULT, latency_s=0.2))
    run.finished(delivered(Outcome.DROPPED, latency_s=9.0))
    assert run.latency_summary() == {
        each: pytest.approx(0.2, rel=0.0101) for each in ("p50", "p95", "p99")
    }


def test_recent_latency_is_that_of_frames_since_the_last_look() -> None:
    run = totals()
    run.finished(delivered(Outcome.RESULT, latency_s=20.0))
    run.take_recent_latency()
    run.finished(delivered(Outcome.RESULT, latency_s=0.2))
    assert run.take_recent_latency().percentile(0.95) == pytest.approx(0.2, rel=0.02)
    assert run.take_recent_latency().percentile(0.95) is None
    assert run.latency.percentile(0.95) == pytest.approx(20, rel=0.02)


def test_splits_are_summed_up_by_mean_last_and_histogram() -> None:
    run = totals()
    for split in (10, 2, 2, 2):
        run.chose(split)
    assert run.split_summary() == {"mean": 4.0, "last": 2, "histogram": {"2": 3, "10": 1}}
    assert list(run.split_summary()["histogram"]) == ["2", "10"]  # type: ignore[call-overload]  # a dict


def test_a_run_without_splits_has_none() -> None:
    assert totals().split_summary() == {"mean": None, "last": None, "histogram": {}}


def test_each_task_is_booked_on_the_side_where_it_ran() -> None:
    run = totals()
    run.ran_on_device({0: 0.5, 1: 0.25})
    run.ran_in_cloud([TaskTime(task=1, runs=2, seconds=4.0), TaskTime(task=2, runs=3, seconds=1.0)])
    assert (run.device_task_s(), run.cloud_task_s()) == (0.75, 5.0)
    assert run.task_summary()[1] == {
        "name": "find",
        "device_s": 0.25,
        "cloud_s": 4.0,
        "runs_device": 1,
        "runs_cloud": 2,
    }


def test_tasks_that_do_not_exist_are_ignored_when_the_cloud_names_them() -> None:
    run = totals()
    run.ran_in_cloud([TaskTime(task=3, runs=1, seconds=1.0)])
    assert run.cloud_task_s() == 0.0


def test_saved_seconds_are_counted_at_what_the_cloud_takes_for_a_task() -> None:
    run = totals()
    run.ran_on_device({0: 9.0, 1: 0.5})
    run.ran_on_device({0: 9.0, 1: 0.5})
    assert run.cloud_s_saved() == pytest.approx(1.0)
    run.ran_in_cloud([TaskTime(task=1, runs=10, seconds=1.0)])
    assert run.cloud_s_saved() == pytest.approx(0.2)


def test_a_rate_is_that_of_the_events_from_the_first_ones_on() -> None:
    rate = RateWindow()
    for number in range(11):
        rate.add(100 + number / 10)
    assert rate.per_second(101.0) == pytest.approx(10)


def test_one_event_is_no_rate() -> None:
    rate = RateWindow()
    assert rate.per_second(99.0) == 0
    rate.add(100.0, 5)
    assert rate.per_second(100.0) == rate.per_second(100.1) == 0

"""Message sizes, latency, and how many frames may be in flight."""

import math

import pytest

from offload.scheduling.model import Estimate
from offload.scheduling.restricting import TOO_LARGE_S, Restrictions
from offload.scheduling.terms import Ending, Observation, OperatingPoint, SchedulerConfig


def estimate(*, latency_s: float = 0.1, most_bytes: float = 100.0) -> Estimate:
    return Estimate(
        loads_s=(0.0,) * 5,
        cost_s=1.0,
        latency_s=latency_s,
        longest_s=0.0,
        mean_bytes=0.0,
        most_bytes=most_bytes,
    )


def restrictions(*, max_latency_s: float = math.inf, window: int = 32) -> Restrictions:
    return Restrictions(SchedulerConfig(max_latency_s=max_latency_s, window=window))


def too_large(size: int) -> Observation:
    point = OperatingPoint(split=1)
    return Observation(at_s=5.0, point=point, ending=Ending.TOO_LARGE, message_bytes=size)


SIZES = [estimate(most_bytes=size) for size in (1200.0, 950.0, 500.0)]


def test_points_with_messages_about_as_large_as_one_that_was_too_large_are_left_out() -> None:
    kept = restrictions()
    kept.too_large(too_large(1000))
    assert kept.fitting(SIZES, [0, 1, 2], 6.0) == [2]


def test_what_was_too_large_may_fit_again_later() -> None:
    kept = restrictions()
    kept.too_large(too_large(1000))
    assert kept.fitting(SIZES, [0, 1, 2], 5.1 + TOO_LARGE_S) == [0, 1, 2]


def test_if_all_are_too_large_the_last_one_is_taken() -> None:
    kept = restrictions()
    kept.too_large(too_large(100))
    assert kept.fitting(SIZES, [0, 1], 6.0) == [1]


LATENCIES = [estimate(latency_s=seconds) for seconds in (0.5, 0.2, 0.1)]


@pytest.mark.parametrize(("limit_s", "kept"), [(1.0, [0, 1, 2]), (0.26, [1, 2]), (0.05, [2])])
def test_points_that_take_too_long_are_left_out_down_to_the_quickest(
    limit_s: float, kept: list[int]
) -> None:
    assert restrictions(max_latency_s=limit_s).quick(LATENCIES, [0, 1, 2]) == kept


def test_window_holds_twice_what_is_under_way_and_a_few() -> None:
    assert restrictions().window(20.0, 0.1) == 4 + 4 + 1


def test_window_is_no_wider_than_the_device_permits() -> None:
    assert restrictions(window=8).window(100.0, 1.0) == 8


def test_window_is_no_wider_than_frames_may_take() -> None:
    assert restrictions(max_latency_s=0.6).window(20.0, 0.1) == 8
    assert restrictions(max_latency_s=0.2).window(20.0, 0.1) == 3


def test_window_lets_one_frame_through_whatever_the_latency() -> None:
    assert restrictions(max_latency_s=0.01).window(20.0, 0.1) == 1

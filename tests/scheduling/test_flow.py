"""Throughput, and where the device's time goes."""

import math

import pytest

from offload.scheduling.flow import DeviceTime, Throughput
from offload.scheduling.terms import DeviceCosts, Ending, Observation, OperatingPoint

POINT = OperatingPoint(split=1)


def finished(at_s: float, ending: Ending = Ending.FINISHED) -> Observation:
    return Observation(at_s=at_s, point=POINT, ending=ending)


def throughput(times_s: list[float]) -> Throughput:
    counted = Throughput()
    for at_s in times_s:
        counted.add(finished(at_s))
    return counted


def test_frames_of_one_acknowledgement_are_no_rate_yet() -> None:
    assert throughput([1.0] * 8).fps(1.0) == 0.0


def test_frames_in_bursts_have_the_rate_of_their_mean() -> None:
    assert throughput([burst / 2 for burst in range(9) for _ in range(10)]).fps(4.0) >= 20


def test_gap_is_an_outage_unless_gaps_are_the_pace() -> None:
    assert throughput([0.0, 0.1, 0.2]).is_stalled(1.8)
    assert not throughput([0.0, 2.0]).is_stalled(4.5)


def test_what_went_before_an_outage_does_not_count() -> None:
    times_s = [frame / 10 for frame in range(50)] + [100 + frame / 10 for frame in range(50)]
    assert throughput(times_s).fps(104.9) == pytest.approx(10, rel=0.02)


def steps(*, waited_s: float, every: int = 1) -> DeviceTime:
    """Return a device that took a frame each 50 ms for 2 s, of a source that gave more."""
    device = DeviceTime()
    for frame in range(40):
        device.take(frame * 0.05)
        if frame % 5 == 0:
            device.step(frame * 0.05)
        device.add(costs(every * frame, captured_s=frame * 0.05, waited_s=waited_s))
    device.take(2.0)
    return device


def test_time_that_no_timer_accounts_for_is_seen() -> None:
    step = steps(waited_s=0.0).step(2.0)
    assert step.unseen_s / step.frames == pytest.approx(0.04)
    assert step.idle_part == 0.0


def test_waiting_for_a_source_is_idleness_and_shows_its_rate() -> None:
    device = steps(waited_s=0.04)
    step = device.step(2.0)
    assert step.unseen_s == pytest.approx(0.0, abs=1e-9)
    assert step.idle_part == pytest.approx(0.8)
    assert step.busy_s / sum(step.busy_with.values()) == pytest.approx(0.01)
    assert device.source_fps == pytest.approx(20)


def test_waiting_while_frames_are_lost_is_work_that_somebody_does() -> None:
    device = steps(waited_s=0.04, every=2)
    step = device.step(2.0)
    assert step.idle_part == 0.0
    assert step.busy_s / step.busy_with[POINT] == pytest.approx(0.05)
    assert device.source_fps == pytest.approx(40)


def test_sources_rate_is_forgotten_when_it_has_not_shown_for_long() -> None:
    device = steps(waited_s=0.04)
    for frame in range(300):
        device.take(2.0 + frame * 0.05)
        device.add(costs(41 + frame, captured_s=2.0 + frame * 0.05))
    device.step(17.0)
    assert device.source_fps == math.inf


def test_source_of_a_busy_device_does_not_show() -> None:
    device = steps(waited_s=0.0)
    device.step(2.0)
    assert device.source_fps == math.inf


def test_pace_shows_behind_a_device_that_is_late_for_a_part_of_the_frames() -> None:
    device = DeviceTime()
    now = 0.0
    for frame in range(60):
        # Six frames in time, then one that the device is too late for by 60 ms.
        is_late = frame % 7 == 6
        now += 0.07 if is_late else 0.01
        device.take(now)
        device.add(costs(frame, captured_s=now, waited_s=0.0 if is_late else 0.004))
    step = device.step(now)
    assert device.source_fps == pytest.approx(100, rel=0.1)
    assert step.idle_part == 0.0


def test_bursts_of_a_network_camera_have_the_rate_of_their_mean() -> None:
    device = DeviceTime()
    now = 0.0
    for frame in range(60):
        now += 0.5 if frame % 5 == 0 else 0.002
        device.take(now)
        waited_s = 0.49 if frame % 5 == 0 else 0.0
        device.add(costs(frame, captured_s=now, waited_s=waited_s))
    device.step(now)
    assert device.source_fps == pytest.approx(10, rel=0.1)


def test_what_a_pause_lasted_says_nothing_of_frames_or_of_the_source() -> None:
    device = steps(waited_s=0.04)
    device.step(2.0)
    for frame in range(20):
        device.take(62.0 + frame * 0.1)
        device.add(costs(41 + frame, captured_s=62.0 + frame * 0.1, waited_s=0.09))
    step = device.step(64.0)
    assert step.busy_s / sum(step.busy_with.values()) == pytest.approx(0.01, rel=0.1)
    assert device.source_fps == pytest.approx(10)


def costs(seq: int, *, captured_s: float, waited_s: float = 0.0) -> DeviceCosts:
    return DeviceCosts(
        seq=seq, captured_s=captured_s, point=POINT, task_s={0: 0.01}, waited_for_source_s=waited_s
    )

"""A survey tries every split, and says what it gives: in time that the test makes up."""

from dataclasses import dataclass, field

import pytest

from offload.device.outbox import Delivered
from offload.device.survey import LEAST_FPS, LONGEST_S, SETTLING_S, WARMING_S, Survey
from offload.doctor.trying import survey_timeout_s
from offload.messages import Outcome, OutcomeRange
from scheduler import (
    DeviceCosts,
    Observation,
    OperatingPoint,
    SchedulerConfig,
    ThroughputScheduler,
)

SPLITS = (1, 2, 3)


@dataclass(slots=True)
class Device:
    """A device whose frames take what its split does, one after the other.

    ``period_s`` is what they really take by split, ``device_s`` what the timers of the tasks tell.
    Until ``cold_s`` they take ten times as long.
    """

    period_s: dict[int, float]
    device_s: float = 0.001
    bytes_at: dict[int, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 1000))
    seconds_per_byte: float = 1e-7
    outcome: Outcome = Outcome.RESULT
    is_paced: bool = False
    cold_s: float = 0.0
    now: float = 0.0
    tried: list[int] = field(default_factory=list)

    def run(self, *, until_s: float = 60.0) -> Survey:
        points = [OperatingPoint(split=split) for split in SPLITS]
        scheduler = ThroughputScheduler(points, 1e5, SchedulerConfig(tasks=4))
        survey = Survey(scheduler, SPLITS, is_paced=self.is_paced)
        seq = 0
        while not survey.is_over and self.now < until_s:
            survey.follow(self.now, next_seq=seq)
            if not survey.is_over:
                self._frame(scheduler, survey, seq)
                seq += 1
        return survey

    def _frame(self, scheduler: ThroughputScheduler, survey: Survey, seq: int) -> None:
        split = scheduler.choose(self.now).point.split
        if not self.tried or self.tried[-1] != split:
            self.tried.append(split)
        point = OperatingPoint(split=split)
        crosses = self.bytes_at[split]
        self.now += self.period_s[split] * (10 if self.now < self.cold_s else 1)
        scheduler.observe_device(
            DeviceCosts(
                seq=seq,
                captured_s=self.now,
                point=point,
                task_s=dict.fromkeys(range(split), self.device_s),
                raw_bytes={each: self.bytes_at[each] for each in SPLITS if each <= split},
                message_bytes=crosses,
            )
        )
        seen = Observation(
            at_s=self.now,
            point=point,
            message_bytes=crosses,
            transfer_s=crosses * self.seconds_per_byte,
            transfer_bytes=crosses,
        )
        scheduler.observe(seen)
        outcome = OutcomeRange(first=seq, count=1, outcome=self.outcome)
        survey.finished(
            Delivered(outcome=outcome, split=split, captured_s=(0.0,), finished_s=self.now)
        )


def test_every_split_is_tried_from_the_deepest_on_and_counted() -> None:
    device = Device({1: 0.01, 2: 0.02, 3: 0.05})
    survey = device.run()
    assert device.tried == [3, 2, 1]
    found = survey.forecasts()
    assert [each.split for each in found] == [1, 2, 3]
    assert [each.fps for each in found] == pytest.approx([100, 50, 20], rel=0.01)
    assert device.now < 3 * LONGEST_S


def test_what_was_counted_says_what_a_frame_takes_of_a_device_that_limits() -> None:
    found = Device({1: 0.01, 2: 0.02, 3: 0.05}).run().forecasts()
    assert {each.limit for each in found} == {"device"}
    assert [each.device_s for each in found] == pytest.approx([0.01, 0.02, 0.05], rel=0.01)


def test_device_that_is_slow_until_it_is_warm_changes_no_figure() -> None:
    cold_s = WARMING_S + SETTLING_S
    found = Device({1: 0.01, 2: 0.01, 3: 0.01}, cold_s=cold_s).run().forecasts()
    assert [each.fps for each in found] == pytest.approx([100, 100, 100], rel=0.01)


def test_filtered_frames_count_and_failed_ones_do_not() -> None:
    period_s = {1: 0.01, 2: 0.02, 3: 0.05}
    filtered = Device(period_s, outcome=Outcome.FILTERED).run().forecasts()
    assert filtered[2].fps == pytest.approx(20, rel=0.01)
    device = Device(period_s, outcome=Outcome.FAILED)
    assert device.run().is_over
    assert device.now <= 6 * LONGEST_S + 1


def test_split_whose_frames_would_fill_the_link_is_not_tried_but_reckoned() -> None:
    link_s = 2.0
    device = Device(
        {1: link_s, 2: 0.5, 3: 0.02},
        bytes_at={1: 4_000_000, 2: 1_000_000, 3: 1000},
        seconds_per_byte=link_s / 4_000_000,
    )
    survey = device.run()
    assert device.tried == [3, 2]
    slow = survey.forecasts()[0]
    assert slow.limit == "link"
    assert slow.fps == pytest.approx(1 / link_s, rel=0.1)
    assert slow.fps < LEAST_FPS


def test_paced_frames_do_not_hide_what_a_split_would_give() -> None:
    device = Device(dict.fromkeys(SPLITS, 0.1), device_s=0.005, is_paced=True)
    # Most of the time the device waits, and says so in no timer of its tasks.
    found = device.run().forecasts()
    assert all(each.fps >= 10 * 0.99 for each in found)


def test_survey_of_a_stream_without_a_word_ends_too() -> None:
    points = [OperatingPoint(split=split) for split in SPLITS]
    scheduler = ThroughputScheduler(points, 1e5, SchedulerConfig(tasks=4))
    survey = Survey(scheduler, SPLITS, is_paced=False)
    now = 0.0
    while not survey.is_over:
        survey.follow(now, next_seq=0)
        now += 0.1
    assert now <= 3 * 2 * LONGEST_S + 1
    assert survey.forecasts() == ()


@pytest.mark.parametrize("splits", [1, 6, 40])
def test_doctor_waits_for_the_longest_survey_that_there_may_be(splits: int) -> None:
    assert survey_timeout_s(splits) > WARMING_S + 2 * LONGEST_S * splits

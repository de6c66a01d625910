"""What samples count becomes rates and parts, small enough to keep many."""

import math

import pytest

from offload.telemetry.events import StreamSampled, TaskTotals
from offload.telemetry.samples import (
    MAX_TASKS,
    MEASURED,
    Measured,
    Samples,
    gap,
    measure,
    measure_from_cloud,
)
from tests.seen_events import sampled


def cloud_sampled(at_s: float, **said: float) -> StreamSampled:
    nothing = {
        **{"results": 0, "filtered": 0, "failed": 0, "dropped": 0, "duplicates_ignored": 0},
        **{"next_seq": 0, "cloud_task_s": 0.0, "received_bytes": 0, "waiting": 0},
    }
    named = {"stream": "s", "device": "pi", "app": "ball", "connected": True}
    return StreamSampled(**{"at_s": at_s, **named, **nothing, **said})  # type: ignore[arg-type]


def filled(numbers: range, *, tasks: int = 0) -> Samples:
    samples = Samples(tasks=tasks)
    for number in numbers:
        values = [float(number)] * len(MEASURED)
        samples.append(float(number), Measured(values=values, device_part=[0.5] * tasks))
    return samples


def test_what_was_counted_since_the_sample_before_becomes_a_rate_by_the_devices_clock() -> None:
    before = sampled(running_s=10.0, sent_bytes=1000, captured=100, dropped=5, failed=1)
    now = sampled(running_s=12.0, sent_bytes=5000, captured=150, dropped=7, failed=2, at_s=99.0)
    found = measure(now, before)
    assert found.value("sent_bytes_per_s") == 2000.0
    assert found.value("captured_per_s") == 25.0
    assert found.value("dropped_per_s") == 1.0
    assert found.value("failed_per_s") == 0.5


def test_seconds_per_frame_are_those_of_all_tasks_over_the_frames_that_ended() -> None:
    def tasks(device_s: float, cloud_s: float) -> tuple[TaskTotals, ...]:
        one = TaskTotals(device_s=device_s, cloud_s=cloud_s, device_runs=1, cloud_runs=1)
        return (one, one)

    before = sampled(running_s=1.0, completed=10, filtered=0, tasks=tasks(1.0, 2.0))
    now = sampled(running_s=2.0, completed=16, filtered=4, tasks=tasks(1.5, 4.0))
    found = measure(now, before)
    assert found.value("device_s_per_frame") == 0.1
    assert found.value("cloud_s_per_frame") == 0.4


@pytest.mark.parametrize(
    "before",
    [
        None,
        sampled(running_s=4.99),
        sampled(running_s=7.0),
        sampled(running_s=4.0, captured=51),
        sampled(running_s=4.0, task_count=3),
    ],
    ids=["first", "at once", "clock back", "another run", "another app"],
)
def test_a_sample_without_a_fitting_one_before_tells_no_rate(before: object) -> None:
    now = sampled(running_s=5.0, captured=50, fps=20.0)
    found = measure(now, before)  # type: ignore[arg-type]
    assert found.value("captured_per_s") is None
    assert found.value("device_s_per_frame") is None
    assert found.value("fps") == 20.0


def test_a_task_ran_on_the_device_for_frames_that_were_split_behind_it() -> None:
    before = sampled(running_s=1.0, split_frames=(0, 10, 0, 0), task_count=3)
    now = sampled(running_s=2.0, split_frames=(0, 16, 2, 2), task_count=3)
    # Of ten frames six were split behind the first task, two behind the second, two nowhere.
    assert measure(now, before).device_part == [1.0, 0.4, 0.2]


def test_without_frames_nobody_knows_where_tasks_run() -> None:
    now = sampled(running_s=2.0, split_frames=(0, 5, 5), task_count=2)
    samples = Samples(tasks=2)
    samples.append(2.0, measure(now, sampled(running_s=1.0, split_frames=(0, 5, 5), task_count=2)))
    assert [samples.device_part(task) for task in range(2)] == [[None], [None]]


def test_what_is_not_known_is_none_and_not_a_number_that_json_lacks() -> None:
    samples = Samples(tasks=0)
    samples.append(1.0, measure(sampled(latency_p95_s=None, temperature_c=1e300), None))
    assert samples.column("latency_p95_s") == [None]
    assert samples.column("temperature_c") == [None]


def test_a_server_knows_a_rate_of_its_own() -> None:
    before = cloud_sampled(10.0, results=100, filtered=20, cloud_task_s=1.0, received_bytes=100)
    now = cloud_sampled(12.0, results=140, filtered=30, cloud_task_s=2.0, received_bytes=500)
    found = measure_from_cloud(now, before)
    assert found.value("fps") == 25.0
    assert found.value("cloud_s_per_frame") == 0.02
    assert found.value("sent_bytes_per_s") == 200.0
    assert found.value("connected") == 1.0
    assert found.value("split") is None


def test_a_gap_says_only_that_the_device_is_away() -> None:
    found = gap()
    assert {name for name in MEASURED if found.value(name) is not None} == {"connected"}
    assert found.value("connected") == 0.0


def test_the_oldest_samples_are_forgotten_now_and_then() -> None:
    samples = filled(range(125))
    samples.keep_newest(100)
    assert len(samples) == 125
    samples = filled(range(126))
    samples.keep_newest(100)
    assert samples.times() == [float(number) for number in range(26, 126)]
    assert samples.column("fps") == samples.times()


def test_thinned_samples_are_every_second_one() -> None:
    samples = filled(range(7))
    samples.keep_every_second()
    assert samples.times() == [0.0, 2.0, 4.0, 6.0]


def test_a_copy_stays_as_it_is() -> None:
    samples = filled(range(2), tasks=1)
    copied = samples.copy()
    samples.append(2.0, gap())
    assert len(copied) == 2
    assert copied.device_part(0) == [0.5, 0.5]


def test_a_sample_takes_as_much_as_it_says() -> None:
    assert Samples(tasks=7).bytes_each == 8 + 4 * (len(MEASURED) + 7)


def test_a_pipeline_of_very_many_tasks_takes_no_more_than_a_long_one() -> None:
    found = measure(sampled(task_count=1000, split_frames=(1,) * 1001), None)
    assert len(found.device_part) == MAX_TASKS


@pytest.mark.parametrize(
    "value",
    [0.0, 0.1, -2.5, 1e-7, 29.97, 8388607.5, 16777217.0, 8.1e7, 1.2345678e10, math.inf, math.nan],
)
def test_a_column_has_each_value_as_it_is_shown(value: float) -> None:
    samples = Samples(tasks=1)
    samples.append(1.0, Measured(values=[value] * len(MEASURED), device_part=[value]))
    last = samples.last
    assert last is not None
    assert samples.column("fps") == samples.device_part(0) == [last.value("fps")]

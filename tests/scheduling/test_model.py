"""What every point takes, from reports as devices make them."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from offload.scheduling.messages import STALE_S
from offload.scheduling.model import Estimate, Model
from offload.scheduling.terms import DeviceCosts, Observation, OperatingPoint, SchedulerConfig

RAW = [OperatingPoint(split=split) for split in (1, 2, 3)]
PACKED = [OperatingPoint(split=split, encoding="packed") for split in (1, 2, 3)]
POINTS = [*RAW, *PACKED]
RAW_BYTES = {1: 1000, 2: 2000, 3: 500}

DEVICE, WORKERS, LINK, CLOUD, CLOUD_WORKERS = range(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    task: int
    runs: int
    seconds: float


def make_model(config: SchedulerConfig | None = None) -> Model:
    return Model(POINTS, config or SchedulerConfig(tasks=4))


def report(
    model: Model,
    index: int,
    *,
    raw_bytes: Mapping[int, int] | None = None,
    message_bytes: int = 0,
    watched: bool = False,
) -> None:
    point = POINTS[index]
    model.add_device(
        index,
        DeviceCosts(
            seq=0,
            captured_s=0.0,
            point=point,
            watched=watched,
            task_s=dict.fromkeys(range(point.split), 0.01),
            raw_bytes=raw_bytes or {},
            message_bytes=message_bytes,
        ),
    )


def observe(model: Model, index: int | None, **said: object) -> None:
    point = OperatingPoint(split=9) if index is None else POINTS[index]
    model.add(index, Observation(at_s=0.0, point=point, **said))  # type: ignore[arg-type]  # any


def estimates(model: Model, *, now: float = 0.0, watched_part: float = 0.0) -> list[Estimate]:
    model.fold(now, watched_part)
    return model.estimates()


def seconds_per_byte(model: Model, value: float = 1e-6) -> None:
    observe(model, 0, transfer_s=value * 1e5, transfer_bytes=100_000)


def sizes(found: list[Estimate]) -> list[float]:
    return [round(each.most_bytes, 3) for each in found]


# What crosses.


def test_what_crosses_unencoded_is_known_at_each_split_that_a_frame_passed() -> None:
    model = make_model()
    report(model, 2, raw_bytes=RAW_BYTES, message_bytes=500)
    assert sizes(estimates(model))[:3] == [1000, 2000, 500]


def test_encoding_that_was_never_tried_is_hoped_to_leave_little() -> None:
    model = make_model()
    report(model, 2, raw_bytes=RAW_BYTES, message_bytes=500)
    assert sizes(estimates(model))[3:] == [20, 40, 10]


def test_message_of_a_frame_whose_raw_bytes_nobody_counted_tells_what_its_encoding_leaves() -> None:
    model = make_model()
    report(model, 2, raw_bytes=RAW_BYTES, message_bytes=500)
    estimates(model)
    report(model, 4, message_bytes=600)
    assert sizes(estimates(model, now=1.0))[4] == 600


def test_encoder_that_was_held_up_once_does_not_rule_its_encoding_out() -> None:
    model = make_model()
    for turn, encode_s in enumerate((0.5, 0.002, 0.002, 0.1)):
        costs = DeviceCosts(
            seq=turn,
            captured_s=0.0,
            point=POINTS[2],
            raw_bytes=RAW_BYTES,
            message_bytes=500,
            encode_s=encode_s,
        )
        model.add_device(2, costs)
        estimates(model, now=float(turn))
    device_s = estimates(model, now=4.0)[2].loads_s[0] - estimates(model, now=4.0)[1].loads_s[0]
    assert 0.0 < device_s < 0.006


def test_encoding_that_was_tried_long_ago_may_have_become_better() -> None:
    model = make_model()
    report(model, 4, raw_bytes=RAW_BYTES, message_bytes=1600)
    assert sizes(estimates(model))[4] == 1600
    assert sizes(estimates(model, now=STALE_S + 1))[4] == 800


def test_watched_frames_count_by_their_share_and_the_largest_message_by_itself() -> None:
    model = make_model()
    seconds_per_byte(model)
    report(model, 0, raw_bytes={1: 1000}, message_bytes=1000)
    report(model, 0, raw_bytes={1: 5000}, message_bytes=5000, watched=True)
    found = estimates(model, watched_part=0.25)[0]
    assert found.loads_s[LINK] == pytest.approx(2000e-6)
    assert found.most_bytes == 5000


def test_time_to_decode_that_is_unknown_is_not_taken_for_none() -> None:
    model = make_model()
    report(model, 3, raw_bytes=RAW_BYTES, message_bytes=500)
    observe(model, 3, message_bytes=500, decode_s=0.02)
    before = estimates(model)[3].cost_s
    for now in range(1, 20):
        observe(model, 3, message_bytes=500, decode_s=0.0)
        assert estimates(model, now=float(now))[3].cost_s == pytest.approx(before)


# What tasks take.


def test_task_that_ran_nowhere_costs_the_cloud_a_tenth_of_what_it_would_take_here() -> None:
    model = make_model()
    report(model, 2, raw_bytes=RAW_BYTES, message_bytes=500)
    found = estimates(model)
    assert found[0].cost_s - found[2].cost_s == pytest.approx(0.002, rel=0.01)


def test_sums_for_several_frames_come_with_the_first_one_whosever_it_is() -> None:
    model = make_model()
    report(model, 2, message_bytes=500)
    times = [Times(task=2, runs=5, seconds=0.05), Times(task=3, runs=10, seconds=0.2)]
    observe(model, None, cloud_times=times)
    found = estimates(model)
    assert found[1].loads_s[CLOUD] == pytest.approx(0.03)
    assert found[2].loads_s[CLOUD] == pytest.approx(0.02)


def test_frame_that_a_task_ends_costs_nothing_after_it() -> None:
    model = make_model()
    report(model, 2, message_bytes=500)
    observe(model, 2, cloud_times=[Times(task=3, runs=1, seconds=0.02)])
    for frame in range(9):
        observe(model, 2, ended_by=0 if frame < 5 else None)
    found = estimates(model)[2]
    assert found.loads_s[DEVICE] == pytest.approx(0.02)
    assert found.loads_s[CLOUD] == pytest.approx(0.01)


def test_tasks_before_the_first_in_order_run_side_by_side_on_both_sides() -> None:
    model = make_model(SchedulerConfig(tasks=4, workers=2, cloud_workers=4, ordered_from=2))
    report(model, 2, message_bytes=500)
    observe(model, 0, cloud_times=[Times(task=3, runs=1, seconds=0.02)])
    found = estimates(model)[2]
    assert found.loads_s[DEVICE] == pytest.approx(0.01)
    assert found.loads_s[WORKERS] == pytest.approx(0.01)
    assert found.loads_s[CLOUD] == pytest.approx(0.02)
    assert found.loads_s[CLOUD_WORKERS] == pytest.approx(0.005)


def test_time_that_nothing_accounts_for_is_added_at_every_split() -> None:
    model = make_model()
    report(model, 2, message_bytes=500)
    model.add_overhead(0.05, 10)
    assert [each.loads_s[DEVICE] for each in estimates(model)][:3] == pytest.approx(
        [0.015, 0.025, 0.035]
    )


# What lies between.


def test_frames_wait_for_their_way_and_for_being_stored_beside_all_work() -> None:
    model = make_model()
    report(model, 2, message_bytes=500)
    before = estimates(model)[2].latency_s
    observe(
        model,
        2,
        round_trip_s=0.5,
        residence_s=0.32,
        transfer_s=0.1,
        transfer_bytes=0,
        cloud_times=[Times(task=3, runs=1, seconds=0.02)],
    )
    after = estimates(model, now=1.0)[2].latency_s
    assert after - before == pytest.approx(0.08 + 0.30 + 0.02)


@pytest.mark.parametrize(("load", "stretched"), [(0.85, 1.0), (0.95, 10.0)])
def test_cloud_that_others_keep_busy_takes_longer(load: float, stretched: float) -> None:
    model = make_model()
    estimates(model)
    report(model, 2, message_bytes=500)
    observe(model, 2, cloud_load=load, cloud_times=[Times(task=3, runs=1, seconds=0.05)])
    assert estimates(model, now=1.0)[2].loads_s[CLOUD] == pytest.approx(0.05 * stretched)


def test_better_link_makes_messages_cheaper_and_nothing_else() -> None:
    model = make_model()
    seconds_per_byte(model)
    report(model, 2, raw_bytes=RAW_BYTES, message_bytes=500)
    model.fold(0.0, 0.0)
    one, other = model.estimates()[1], model.estimates(link_speed_up=4.0)[1]
    assert one.loads_s[LINK] == pytest.approx(4 * other.loads_s[LINK])
    assert one.loads_s[DEVICE] == other.loads_s[DEVICE]

"""What the scheduler is told of a frame comes from what was measured, and from nothing else."""

from collections.abc import Mapping, Sequence

import pytest

from offload.device.capture import Captured
from offload.device.encoding_choice import EncodingMode
from offload.device.feedback import SIZES_EVERY_S, Feedback
from offload.device.outbox import Delivered
from offload.device.point_encodings import PointEncodings
from offload.executors.device_frame import DeviceFrame
from offload.messages import Outcome, OutcomeRange, TaskTime
from offload.values.encodings import PACKED, RAW, Encoding, parse
from scheduler import Choice, DeviceCosts, Ending, Observation, OperatingPoint, Reason
from task_interface import Context

TASKS = ("grab", "find", "tell")
POINT = OperatingPoint(split=2)


def work(seq: int, *, captured_s: float = 0.0) -> DeviceFrame:
    """Return a frame whose tasks here took some time."""
    context = Context(stream="s", seq=seq, captured_at=0.0)
    frame = DeviceFrame(
        None, read_s=0.0, captured_s=captured_s, split=2, context=context, encodings={}
    )
    frame.run.seconds.update({0: 0.25, 1: 0.5})
    frame.encode_s = 0.125
    return frame


def sizes(_work: DeviceFrame) -> Mapping[int, Mapping[str, int]]:
    return {1: {"picture": 1000}, 2: {"picture": 60, "mask": 40}}


def permitted(split: int, *, watched: bool) -> Mapping[str, Sequence[Encoding]]:
    jpeg = (RAW, parse("jpeg")) if watched else (RAW,)
    return {"picture": (RAW,)} if split == 1 else {"picture": jpeg, "mask": (RAW, PACKED)}


class Device:
    """A device that has chosen how frames are run, and learns what became of them."""

    def __init__(self) -> None:
        encodings = PointEncodings(permitted, (1, 2), EncodingMode.AUTO)
        self.feedback = Feedback(TASKS, encodings=encodings, boundary_bytes=sizes)

    def choose(self, seq: int, *, reason: Reason = Reason.SETTLED) -> None:
        captured = Captured(
            seq=seq, values=None, captured_s=0.0, captured_at=0.0, read_s=0.0, waited_s=0.75
        )
        choice = Choice(point=POINT, reason=reason)
        self.feedback.chose(captured, choice, watched=True, waited_for_room_s=1.5)

    def finish(
        self, outcome: OutcomeRange, *, transfer_s: float | None = None, message_bytes: int = 0
    ) -> list[Observation]:
        is_sent = message_bytes > 0
        delivered = Delivered(
            outcome=outcome,
            split=2,
            captured_s=tuple(float(seq) for seq in range(outcome.first, outcome.stop)),
            finished_s=10.0,
            sent_s=8.0 if is_sent else None,
            residence_s=0.5 if is_sent else None,
            decode_s=0.125,
            message_bytes=message_bytes,
        )
        times = [TaskTime(task=2, runs=1, seconds=0.25)]
        return list(
            self.feedback.observations(delivered, times, transfer_s=transfer_s, cloud_load=0.5)
        )


def ended(first: int, outcome: Outcome, *, count: int = 1, task: str = "") -> OutcomeRange:
    return OutcomeRange(first=first, count=count, outcome=outcome, task=task)


def test_the_device_s_part_is_told_with_its_waits_apart_from_its_work() -> None:
    device = Device()
    device.choose(7)
    assert device.feedback.device_costs(work(7, captured_s=3.0)) == DeviceCosts(
        seq=7,
        captured_s=3.0,
        point=POINT,
        watched=True,
        waited_for_source_s=0.75,
        waited_for_room_s=1.5,
        task_s={0: 0.25, 1: 0.5},
        raw_bytes={1: 1000, 2: 100},
        unencoded_bytes={OperatingPoint(split=2, encoding="lossless"): 60},
        message_bytes=100,
        encode_s=0.125,
    )


def test_a_frame_that_the_scheduler_did_not_choose_is_not_its_business() -> None:
    device = Device()
    assert device.feedback.device_costs(work(7)) is None
    assert device.finish(ended(7, Outcome.RESULT), message_bytes=100) == []


def test_sizes_are_looked_at_now_and_then_and_for_frames_that_measure() -> None:
    device = Device()
    looked_at: list[int] = []
    for seq in range(100):
        device.choose(seq, reason=Reason.PROBING if seq == 33 else Reason.SETTLED)
        costs = device.feedback.device_costs(work(seq, captured_s=seq * SIZES_EVERY_S / 10))
        if costs is not None and costs.raw_bytes:
            looked_at.append(seq)
    assert 33 in looked_at
    assert 9 <= len(looked_at) <= 12


def test_the_rest_is_told_with_the_acknowledgement() -> None:
    device = Device()
    device.choose(7)
    device.feedback.device_costs(work(7))
    assert device.finish(ended(7, Outcome.RESULT), transfer_s=0.25, message_bytes=300) == [
        Observation(
            at_s=10.0,
            point=POINT,
            watched=True,
            ending=Ending.FINISHED,
            ended_by=None,
            message_bytes=100,
            decode_s=0.125,
            transfer_s=0.25,
            transfer_bytes=300,
            round_trip_s=2.0,
            residence_s=0.5,
            cloud_times=[TaskTime(task=2, runs=1, seconds=0.25)],
            cloud_load=0.5,
        )
    ]
    assert device.finish(ended(7, Outcome.RESULT), message_bytes=300) == []


def test_the_cloud_s_times_are_told_once_for_a_run_of_frames() -> None:
    device = Device()
    for seq in (3, 4, 5):
        device.choose(seq)
    seen = device.finish(ended(3, Outcome.FILTERED, count=3, task="find"))
    assert [len(each.cloud_times) for each in seen] == [1, 0, 0]
    assert {each.ended_by for each in seen} == {1}
    assert {each.round_trip_s for each in seen} == {None}


@pytest.mark.parametrize(
    ("outcome", "task", "ending"),
    [
        (Outcome.FILTERED, "find", Ending.FINISHED),
        (Outcome.FAILED, "tell", Ending.FAILED),
        (Outcome.FAILED, "", Ending.TOO_LARGE),
    ],
)
def test_how_a_frame_ended_is_told(outcome: Outcome, task: str, ending: Ending) -> None:
    device = Device()
    device.choose(0)
    (seen,) = device.finish(ended(0, outcome, task=task))
    assert seen.ending is ending


def test_dropped_frames_are_none_of_those_that_were_chosen() -> None:
    device = Device()
    assert device.finish(ended(0, Outcome.DROPPED, count=1000)) == []

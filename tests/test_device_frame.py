"""One frame's tasks on the device: first beside other frames, then in order, then on its way."""

from collections.abc import Mapping

import numpy as np
import pytest

from offload.executors.device_frame import DeviceFrame
from offload.messages import MAX_PADDING_BYTES, Outcome, OutcomeRange
from offload.values import Value, unpack
from offload.values.encodings import PACKED, Encoding
from offload.wire import encode
from task_interface import FILTER, Context, Pipeline, Placement, source, task


@source(gives="number")
def numbers() -> object:
    yield from range(10)


@task(gives="half")
def halve(number: int, context: Context) -> object:
    context.show(number)
    if number == 3:
        return FILTER
    if number == 4:
        raise ValueError("four")
    return {number} if number == 5 else number / 2


@task(gives="total", placement=Placement.DEVICE)
class Total:
    def __init__(self) -> None:
        self.total = 0.0

    def __call__(self, half: float) -> float:
        self.total += half
        return self.total


@task()
def finish(half: float, total: float) -> Value:
    return [half, total]


@source(gives="mask", encodings=("raw", "packed"))
def masks() -> object:
    yield from ()


@task()
def count(mask: Value) -> Value:
    return mask is None


class Device:
    """What a device program has of its app."""

    def __init__(self) -> None:
        self.pipeline = Pipeline([numbers, halve, Total, finish])
        self.bound = self.pipeline.bind()
        self.source = self.pipeline.source.bind()
        self.halved: list[object] = []

    def frame(
        self, seq: int, *, split: int, encodings: Mapping[str, Encoding] | None = None
    ) -> DeviceFrame:
        context = Context(
            stream="s", seq=seq, captured_at=100.0 + seq, watched=False, show=self.halved.append
        )
        return DeviceFrame(
            seq,
            read_s=0.5,
            captured_s=float(seq),
            split=split,
            context=context,
            encodings=encodings,
        )

    def run_free(self, frame: DeviceFrame) -> DeviceFrame:
        assert frame.run_free(self.pipeline, self.source, self.bound) >= 0
        return frame

    def run(self, frame: DeviceFrame) -> DeviceFrame:
        self.run_free(frame).run_ordered(self.pipeline, self.bound)
        return frame


def test_tasks_that_keep_state_wait_for_the_frame_s_turn() -> None:
    device = Device()
    later, earlier = (device.run_free(device.frame(seq, split=4)) for seq in (2, 1))
    assert (later.run.values["half"], "total" in later.run.values) == (1.0, False)
    for each in (earlier, later):
        each.run_ordered(device.pipeline, device.bound)
    assert [each.run.result for each in (earlier, later)] == [[0.5, 0.5], [1.0, 1.5]]
    assert device.halved == [2, 1]


def test_each_task_that_ran_is_timed_and_reading_is_part_of_the_first() -> None:
    device = Device()
    assert device.run(device.frame(1, split=2)).run.seconds.keys() == {0, 1}
    seconds = device.run(device.frame(1, split=4)).run.seconds
    assert seconds.keys() == {0, 1, 2, 3}
    assert 0.5 <= seconds[0] < 0.6


@pytest.mark.parametrize("split", [2, 3])
def test_what_later_tasks_take_travels_with_the_split(split: int) -> None:
    device = Device()
    frame = device.run(device.frame(7, split=split, encodings={}))
    message = frame.message()
    assert (message.seq, message.split, message.captured_at) == (7, split, 107.0)
    values = unpack(message.tree, message.buffers)
    assert values == ({"half": 3.5} if split == 2 else {"half": 3.5, "total": 3.5})


def test_nothing_is_packed_where_all_tasks_run_here() -> None:
    device = Device()
    assert device.run(device.frame(1, split=4)).packed is None


@pytest.mark.parametrize(
    ("seq", "outcome", "task_name", "reason"),
    [
        (3, Outcome.FILTERED, "halve", ""),
        (4, Outcome.FAILED, "halve", "raised ValueError: four"),
        (5, Outcome.FAILED, "halve", "gave a value: set at half cannot cross the network"),
    ],
    ids=["filtered", "raised", "cannot cross"],
)
def test_a_frame_that_ends_here_says_how_and_by_which_task(
    seq: int, outcome: Outcome, task_name: str, reason: str
) -> None:
    device = Device()
    frame = device.run(device.frame(seq, split=2, encodings={}))
    assert frame.run.ended
    assert frame.packed is None
    assert frame.ended() == OutcomeRange(
        first=seq, count=1, outcome=outcome, task=task_name, reason=reason
    )


def test_what_would_travel_is_known_at_each_split_that_the_frame_has_passed() -> None:
    device = Device()
    passed = device.run(device.frame(7, split=3, encodings={}))
    assert passed.boundary_bytes(device.pipeline) == {3: {"half": 9, "total": 9}}
    filtered = device.run(device.frame(3, split=3, encodings={}))
    assert filtered.boundary_bytes(device.pipeline) == {}


def test_encodings_save_bytes_and_take_seconds() -> None:
    frame = DeviceFrame(
        np.zeros((64, 64), np.uint8),
        read_s=0.0,
        captured_s=0.0,
        split=1,
        context=Context(stream="s", seq=0, captured_at=0.0),
        encodings={"mask": PACKED},
    )
    pipeline = Pipeline([masks, count])
    frame.run_free(pipeline, pipeline.source.bind(), pipeline.bind())
    assert frame.boundary_bytes(pipeline) == {1: {"mask": 4096}}
    assert 4000 < frame.saved_bytes < 4096
    assert frame.encode_s > 0.0


def test_padding_is_sent_along_and_never_more_than_an_envelope_holds() -> None:
    sent = [
        DeviceFrame(
            np.zeros((64, 64), np.uint8),
            read_s=0.0,
            captured_s=0.0,
            split=1,
            context=Context(stream="s", seq=0, captured_at=0.0),
            encodings={},
            padding_bytes=padding_bytes,
        )
        for padding_bytes in (0, 1000, 10**9)
    ]
    pipeline = Pipeline([masks, count])
    for each in sent:
        each.run_free(pipeline, pipeline.source.bind(), pipeline.bind())
    sizes = [sum(map(len, encode(each.message()))) for each in sent]
    assert 1000 < sizes[1] - sizes[0] < 1100
    assert 0 < sizes[2] - sizes[0] - MAX_PADDING_BYTES < 100

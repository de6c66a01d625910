"""A device does what operators ask for, as far as it can, and says what came of it."""

from dataclasses import dataclass, field

import pytest

from offload.device.drain import Drain
from offload.device.steering import DeviceSteering
from offload.messages import (
    Change,
    DrainDevice,
    PinSplit,
    Release,
    SetTarget,
    SteeringMode,
    SteeringRequest,
)
from offload.telemetry.recorder import Recorder
from scheduler import DeviceCosts, Observation, OperatingPoint, ThroughputScheduler


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    mode: SteeringMode
    target: float | None
    pinned: int | None
    error: str | None
    answers: SteeringRequest | None


@dataclass(slots=True)
class Asker:
    """Asks for what a test says, and keeps the answers."""

    requests: list[SteeringRequest] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)

    def take_requests(self) -> list[SteeringRequest]:
        requests, self.requests = self.requests, []
        return requests

    def say_steering(
        self,
        *,
        mode: SteeringMode,
        target: float | None,
        pinned: int | None,
        error: str | None = None,
        answers: SteeringRequest | None = None,
    ) -> None:
        self.said.append(
            Said(mode=mode, target=target, pinned=pinned, error=error, answers=answers)
        )


def scheduler() -> ThroughputScheduler:
    points = [OperatingPoint(split=split) for split in (1, 2, 3)]
    return ThroughputScheduler(points, target_fps=10.0)


def splits_taken(steered: ThroughputScheduler, *, from_s: float) -> list[int]:
    """Return the splits of frames that all go well, 20 a second for some seconds."""
    splits: list[int] = []
    for seq in range(60):
        now = from_s + seq / 20
        point = steered.choose(now).point
        splits.append(point.split)
        steered.observe_device(DeviceCosts(seq=seq, captured_s=now, point=point))
        steered.observe(Observation(at_s=now, point=point))
    return splits


def steering_of(
    asker: Asker, steered: ThroughputScheduler | None, drain: Drain | None = None
) -> DeviceSteering:
    return DeviceSteering(
        asker,
        steered,
        split=2,
        drain=drain or Drain(on_begin=lambda: None),
        recorder=Recorder(),
        stream="s",
    )


def after(
    *changes: Change, steered: ThroughputScheduler | None, drain: Drain | None = None
) -> list[Said]:
    """Return what a device says that is asked for these changes, after its first word."""
    asker = Asker()
    steering = steering_of(asker, steered, drain)
    asker.requests = [
        SteeringRequest(change=change, number=number) for number, change in enumerate(changes)
    ]
    asked = list(asker.requests)
    steering.follow()
    steering.follow()
    assert [each.answers for each in asker.said] == [None, *asked]
    return asker.said[1:]


@pytest.mark.parametrize(
    ("steered", "expected"),
    [(scheduler(), (SteeringMode.AUTOMATIC, 10.0, None)), (None, (SteeringMode.MANUAL, None, 2))],
    ids=["automatic", "manual"],
)
def test_a_device_says_how_it_is_steered_before_anybody_asks(
    steered: ThroughputScheduler | None, expected: tuple[SteeringMode, float | None, int | None]
) -> None:
    asker = Asker()
    steering_of(asker, steered)
    (said,) = asker.said
    assert (said.mode, said.target, said.pinned) == expected
    assert said.error is None


def test_a_target_counts_from_the_next_frame_on() -> None:
    steered = scheduler()
    (said,) = after(SetTarget(fps=25.0), steered=steered)
    assert steered.target_fps == 25.0
    assert (said.target, said.pinned, said.error) == (25.0, None, None)


def test_a_pin_holds_until_it_is_released() -> None:
    steered = scheduler()
    pinned, released = after(PinSplit(split=1), Release(), steered=steered)
    assert (pinned.pinned, pinned.error) == (1, None)
    assert (released.pinned, released.error) == (None, None)
    assert set(splits_taken(steered, from_s=0.0)) != {1}
    after(PinSplit(split=1), steered=steered)
    # A frame may be under way that was chosen before.
    assert set(splits_taken(steered, from_s=10.0)[1:]) == {1}


def test_a_split_that_there_is_not_changes_nothing() -> None:
    steered = scheduler()
    first, second = after(PinSplit(split=3), PinSplit(split=4), steered=steered)
    assert first.error is None
    assert second.error is not None
    assert "split is 4, expected one of [1, 2, 3]" in second.error
    assert second.pinned == 3


@pytest.mark.parametrize("change", [SetTarget(fps=25.0), PinSplit(split=2), Release()])
def test_a_device_in_manual_mode_changes_nothing_and_says_why(change: Change) -> None:
    (said,) = after(change, steered=None)
    assert (said.mode, said.pinned) == (SteeringMode.MANUAL, 2)
    assert said.error is not None
    assert "manual mode" in said.error


@pytest.mark.parametrize("steered", [scheduler(), None], ids=["automatic", "manual"])
def test_a_device_that_is_told_to_finish_begins_to_drain(
    steered: ThroughputScheduler | None,
) -> None:
    drain = Drain(on_begin=lambda: None)
    (said,) = after(DrainDevice(), steered=steered, drain=drain)
    assert said.error is None
    assert drain.is_wanted

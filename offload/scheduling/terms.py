"""What the scheduler is told, and what it answers: values only."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

RAW: Final = "raw"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Say how a frame is run: the device runs tasks 1 to ``split``, the cloud the rest.

    Attributes:
        split: How many tasks the device runs.
        encoding: How what crosses travels, a name; `RAW` is known to save nothing.
    """

    split: int
    encoding: str = RAW


class Ending(StrEnum):
    """How a frame ended."""

    FINISHED = "finished"
    """With a result, or because a task filtered it."""
    FAILED = "failed"
    """A task raised."""
    TOO_LARGE = "too_large"
    """Its message was larger than one of the ends permits."""


class TaskTime(Protocol):
    """What one task cost in the cloud: how often it ran, and its seconds in all."""

    @property
    def task(self) -> int:
        """Its index, from 0."""

    @property
    def runs(self) -> int:
        """How often."""

    @property
    def seconds(self) -> float:
        """In all of these runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCosts:
    """Report what a frame took on the device, as soon as its tasks there have run.

    Attributes:
        seq: Its sequence number; those that are left out were overwritten by newer frames.
        captured_s: When the source had it, monotonic device seconds.
        point: As it was chosen.
        watched: Whether tasks on demand ran.
        waited_for_source_s: How long the device stood idle for it to be captured.
        waited_for_room_s: How long the device stood idle since the window was full. Waiting for a
            worker is not part of it.
        task_s: Seconds of each task that ran on the device, by its index from 0, without waiting.
        raw_bytes: What would cross unencoded at each split that the frame passed, its own too. Of
            some frames now and then, and of those that measure, will do.
        unencoded_bytes: Of these, what is not encoded at the points where some values travel as
            they are. The encodings there have not to be tried to know that.
        message_bytes: What crosses, without padding; 0 if it ended on the device.
        encode_s: Seconds to encode what crosses.
    """

    seq: int
    captured_s: float
    point: OperatingPoint
    watched: bool = False
    waited_for_source_s: float = 0.0
    waited_for_room_s: float = 0.0
    task_s: Mapping[int, float] = field(default_factory=dict)
    raw_bytes: Mapping[int, int] = field(default_factory=dict)
    unencoded_bytes: Mapping[OperatingPoint, int] = field(default_factory=dict)
    message_bytes: int = 0
    encode_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Report what became of a frame that was taken, in the order of the stream.

    Attributes:
        at_s: When the device learned it, monotonic device seconds: the same for all frames of one
            acknowledgement, so that a burst is seen as one.
        point: As it was chosen. Of others (an earlier run's) all counts but the decoding.
        watched: Whether tasks on demand ran.
        ending: How it ended.
        ended_by: Index of the task that filtered it or raised; None if all tasks ran.
        message_bytes: What crossed, or was too large to.
        decode_s: Seconds to decode it, in the cloud.
        transfer_s: Seconds that the link took for the message; None if that could not be measured.
        transfer_bytes: What the link carried in that time, padding included.
        round_trip_s: From the beginning of its sending to ``at_s``; None if it was not sent.
        residence_s: From its last byte in to its acknowledgement out, in the cloud; None as above.
        cloud_times: What the tasks took in the cloud, of all frames since the last report.
        cloud_load: Part of the cloud's processors in use, by whomever; None if unknown.
    """

    at_s: float
    point: OperatingPoint
    watched: bool = False
    ending: Ending = Ending.FINISHED
    ended_by: int | None = None
    message_bytes: int = 0
    decode_s: float = 0.0
    transfer_s: float | None = None
    transfer_bytes: int = 0
    round_trip_s: float | None = None
    residence_s: float | None = None
    cloud_times: Sequence[TaskTime] = ()
    cloud_load: float | None = None


class Reason(StrEnum):
    """Why the split is where it is."""

    COLD_START = "cold_start"
    """Too few frames are finished to know anything; the split is the one the user gave."""
    SETTLED = "settled"
    """The target is met, or exceeded with nothing left to move to the device."""
    MOVED_MORE_DEVICE = "moved_more_device"
    """The device takes work from the cloud: it can, and that costs the cloud less."""
    MOVED_MORE_CLOUD = "moved_more_cloud"
    """The cloud takes work from the device: else the target would be missed."""
    HELD_HYSTERESIS = "held_hysteresis"
    """Off the target, but moves on their way make up for it, or no other point is much better."""
    HELD_LATENCY = "held_latency"
    """Cheaper points are left out, since frames would take longer than permitted."""
    SOURCE_LIMITED = "source_limited"
    """The source gives fewer frames than the target asks for; the pipeline keeps up with it."""
    INFEASIBLE_DEVICE = "infeasible_device"
    """The target is out of reach, and the device limits what is done instead."""
    INFEASIBLE_LINK = "infeasible_link"
    """The target is out of reach, and the link limits what is done instead."""
    INFEASIBLE_CLOUD = "infeasible_cloud"
    """The target is out of reach, and the cloud limits what is done instead."""
    STALLED = "stalled"
    """No frame has been finished for long (an outage): nothing to learn from, nothing moves."""
    PROBING = "probing"
    """This one frame is run so as to measure what it costs."""
    PINNED = "pinned"
    """There is one split only, or somebody fixed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Tell the device how to run its next frame, and why.

    Attributes:
        point: The operating point of the frame.
        padding_bytes: Bytes to add to its message so as to measure the link.
        reason: Of the last decision, not of the dither.
    """

    point: OperatingPoint
    padding_bytes: int = 0
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerState:
    """Show where the loop stands.

    ``position`` is the mean split that frames take now, ``points`` are those that are mixed,
    ``trim`` is the part that the plan is asked for beyond the goal.
    """

    at_s: float
    fps: float
    target_fps: float
    position: float
    reason: Reason
    points: tuple[OperatingPoint, ...]
    trim: float
    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Record what one control period found and where it left the (mean) ``split``."""

    at_s: float
    fps: float
    target_fps: float
    split: float
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Say what one split would give with the encoding that is best there.

    Attributes:
        split: The device runs tasks 1 to this.
        encoding: How values would travel.
        fps: Frames per second that it would reach at most.
        limit: What would keep it from more: ``device``, ``link`` or ``cloud``.
        device_s: Seconds of the device for each frame; of several workers, each one's share.
        link_s: Seconds of the link.
        cloud_s: Seconds of the cloud's processors.
        link_bytes: Bytes that cross.
    """

    split: int
    encoding: str
    fps: float
    limit: str
    device_s: float
    link_s: float
    cloud_s: float
    link_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """Say what the pipeline and the machines are like.

    Attributes:
        tasks: Number of tasks; None for one more than the last split.
        on_demand: Indices of the tasks that only watched frames run.
        ordered_from: Index of the first task that sees frames in order: those before it run side
            by side on the workers. From 1 on, or 0 if everything runs in order.
        workers: Device threads for tasks.
        cloud_workers: Threads for tasks in the cloud.
        window: Most frames in flight.
        max_latency_s: What capture to acknowledgement may take, as 95th percentile.
    """

    tasks: int | None = None
    on_demand: frozenset[int] = frozenset()
    ordered_from: int = 0
    workers: int = 1
    cloud_workers: int = 1
    window: int = 32
    max_latency_s: float = math.inf

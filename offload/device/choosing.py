"""Choose how each frame is run, and learn from what became of it.

The split is the user's, or the scheduler's in automatic mode; with it goes how the values travel.

    choosing = Choosing(pipeline, options)
    choosing.begin(workers=2, cloud_workers=4)           # automatic mode only
    way = choosing.choose(captured, now, watched=False, is_behind=False)
    choosing.ran(work)                                   # its tasks here have run
    choosing.ran_in_cloud(task_times)
    choosing.finished(delivered, cloud_load=0.3)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from offload.device.capture import Captured
from offload.device.encoding_choice import EncodingChoice
from offload.device.feedback import Feedback
from offload.device.link import LinkEstimate
from offload.device.options import Options
from offload.device.outbox import Delivered
from offload.device.point_encodings import PointEncodings
from offload.executors.device_frame import DeviceFrame
from offload.messages import TaskTime
from offload.values.encodings import Encoding
from scheduler import OperatingPoint, SchedulerConfig, ThroughputScheduler
from task_interface import Pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one frame is run.

    Attributes:
        split: How many tasks run here.
        encodings: How its values travel; those that are not named travel raw.
        padding_bytes: What is sent along so as to measure the link.
    """

    split: int
    encodings: Mapping[str, Encoding]
    padding_bytes: int = 0


class Choosing:
    """Chooses how the frames of one run are run between this device and a cloud.

    Args:
        pipeline: What they run.
        options: What the user asked for.

    Attributes:
        link: What the link costs, learnt from all messages.
        scheduler: Who chooses in automatic mode, from `begin` on; None in the others.
    """

    def __init__(self, pipeline: Pipeline, options: Options) -> None:
        """Start without knowing anything."""
        self._pipeline = pipeline
        self._options = options
        self._encoding_choice = EncodingChoice(options.encoding)
        self._encodings = PointEncodings(pipeline.encodings, pipeline.splits, options.encoding)
        self._feedback = Feedback(
            pipeline.names,
            encodings=self._encodings,
            boundary_bytes=lambda work: work.boundary_bytes(pipeline),
        )
        self._waited_for_room_s = 0.0
        # What the scheduler is to be told with the next frame that it has chosen.
        self._task_times: list[TaskTime] = []
        self.link = LinkEstimate()
        self.scheduler: ThroughputScheduler | None = None

    def begin(self, *, workers: int, cloud_workers: int) -> None:
        """Let a scheduler choose from now on.

        Args:
            workers: Threads for tasks on this device.
            cloud_workers: Threads for them in the cloud.
        """
        options, pipeline = self._options, self._pipeline
        assert options.target_fps is not None, "the mode is automatic"
        points = [
            OperatingPoint(split=split, encoding=str(way))
            for split in pipeline.splits
            for way in self._encodings.names(split)
        ]
        config = SchedulerConfig(
            tasks=len(pipeline),
            on_demand=frozenset(
                index for index, each in enumerate(pipeline.tasks) if each.on_demand
            ),
            ordered_from=pipeline.first_in_order(1),
            workers=workers,
            cloud_workers=cloud_workers,
            window=options.window,
            max_latency_s=options.max_latency_s or math.inf,
        )
        # Nothing is known of the link yet, so the first frames are made as small as they can be.
        start = next(point for point in reversed(points) if point.split == options.split)
        self.scheduler = ThroughputScheduler(points, options.target_fps, config, start)

    @property
    def window(self) -> int:
        """How many messages may be in flight now."""
        return self._options.window if self.scheduler is None else self.scheduler.window

    def wait_for_room(self, seconds: float) -> None:
        """Note that the device stood idle for so long, since the window was full."""
        self._waited_for_room_s += seconds

    def choose(self, captured: Captured, now: float, *, watched: bool, is_behind: bool) -> Way:
        """Return how a frame is run.

        Args:
            captured: The frame.
            now: Monotonic seconds.
            watched: Whether its tasks on demand run.
            is_behind: Whether it goes to disk before it is sent.
        """
        if self.scheduler is None or is_behind:
            # What goes to disk should be small, so that it lasts and is caught up with quickly.
            split = self._pipeline.splits[-1] if is_behind else self._options.split
            assert split is not None, "there is a cloud"
            permitted = self._pipeline.encodings(split, watched=watched)
            chosen = self._encoding_choice.choose(permitted, self.link.seconds_per_byte)
            return Way(split=split, encodings=chosen)
        choice = self.scheduler.choose(now, watched=watched)
        self._feedback.chose(
            captured, choice, watched=watched, waited_for_room_s=self._waited_for_room_s
        )
        self._waited_for_room_s = 0.0
        split, encoding = choice.point.split, choice.point.encoding
        encodings = self._encodings.of(split, encoding, watched=watched)
        return Way(split=split, encodings=encodings, padding_bytes=choice.padding_bytes)

    def ran(self, work: DeviceFrame) -> None:
        """Learn what a frame took here, in the order of the stream."""
        if work.packed is not None:
            self._encoding_choice.learn(work.packed.trials)
        if self.scheduler is not None and (costs := self._feedback.device_costs(work)):
            self.scheduler.observe_device(costs)

    def ran_in_cloud(self, task_times: Sequence[TaskTime]) -> None:
        """Learn what the cloud's tasks took since the last call, before what became of frames."""
        if self.scheduler is not None:
            self._task_times += task_times

    def finished(self, delivered: Delivered, *, cloud_load: float) -> None:
        """Learn what became of one frame, or of a run of frames that ended alike.

        Args:
            delivered: The frames.
            cloud_load: Part of the cloud's processors in use.
        """
        transfer_s: float | None = None
        if delivered.sent_s is not None and delivered.residence_s is not None:
            transfer_s = self.link.observe(
                byte_count=delivered.message_bytes,
                sent_s=delivered.sent_s,
                acknowledged_s=delivered.finished_s,
                residence_s=delivered.residence_s,
            )
        if self.scheduler is not None:
            for each in self._feedback.observations(
                delivered, self._task_times, transfer_s=transfer_s, cloud_load=cloud_load
            ):
                self.scheduler.observe(each)
                self._task_times = []

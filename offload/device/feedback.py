"""Tell the scheduler what frames cost: on the device as soon as it is known, the rest afterwards.

Keeps what is known of a frame between its choice and its acknowledgement. Pure.

    feedback = Feedback(pipeline.names, encodings=..., boundary_bytes=...)
    feedback.chose(captured, choice, watched=False, waited_for_room_s=0.0)
    scheduler.observe_device(feedback.device_costs(work))           # its tasks here have run
    for each in feedback.observations(delivered, task_times, transfer_s=None, cloud_load=0.3):
        scheduler.observe(each)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offload.device.capture import Captured
from offload.device.outbox import Delivered
from offload.device.point_encodings import PointEncodings, Way
from offload.executors.device_frame import DeviceFrame
from offload.messages import Outcome, TaskTime
from scheduler import (
    Choice,
    DeviceCosts,
    Ending,
    Observation,
    OperatingPoint,
    Reason,
)

# To look at the size of all values costs some microseconds, and sizes change with what is in front
# of the camera: ten times a second is often enough.
SIZES_EVERY_S: Final = 0.1

_ENDINGS: Final = {
    Outcome.RESULT: Ending.FINISHED,
    Outcome.FILTERED: Ending.FINISHED,
    Outcome.FAILED: Ending.FAILED,
}


@dataclass(slots=True, kw_only=True)
class _Chosen:
    """A frame that is under way."""

    point: OperatingPoint
    watched: bool
    is_probe: bool
    waited_for_source_s: float
    waited_for_room_s: float
    message_bytes: int = 0


class Feedback:
    """What the scheduler is to be told of the frames of one run.

    Args:
        tasks: Their tasks' names, in order.
        encodings: How their values travel at each point.
        boundary_bytes: Returns what each value of a frame takes, unencoded, that would cross at
            each split that the frame passed.
    """

    def __init__(
        self,
        tasks: Sequence[str],
        *,
        encodings: PointEncodings,
        boundary_bytes: Callable[[DeviceFrame], Mapping[int, Mapping[str, int]]],
    ) -> None:
        """Start without frames."""
        self._index_of = {name: index for index, name in enumerate(tasks)}
        self._encodings = encodings
        self._boundary_bytes = boundary_bytes
        self._chosen: dict[int, _Chosen] = {}
        self._next_sizes_s = 0.0

    def chose(
        self, captured: Captured, choice: Choice, *, watched: bool, waited_for_room_s: float
    ) -> None:
        """Note how a frame is run, and for how long the device stood idle before it."""
        self._chosen[captured.seq] = _Chosen(
            point=choice.point,
            watched=watched,
            is_probe=choice.reason is Reason.PROBING,
            waited_for_source_s=captured.waited_s,
            waited_for_room_s=waited_for_room_s,
        )

    def device_costs(self, work: DeviceFrame) -> DeviceCosts | None:
        """Return what a frame took here; None if the scheduler did not choose its point."""
        chosen = self._chosen.get(work.seq)
        if chosen is None:
            return None
        sizes: Mapping[int, Mapping[str, int]] = {}
        if chosen.is_probe or work.captured_s >= self._next_sizes_s:
            self._next_sizes_s = work.captured_s + SIZES_EVERY_S
            sizes = self._boundary_bytes(work)
        raw_bytes = {split: sum(values.values()) for split, values in sizes.items()}
        chosen.message_bytes = work.payload_bytes
        if work.split in raw_bytes:
            # What travels in the envelope counts, too.
            chosen.message_bytes = raw_bytes[work.split] - work.saved_bytes
        return DeviceCosts(
            seq=work.seq,
            captured_s=work.captured_s,
            point=chosen.point,
            watched=chosen.watched,
            waited_for_source_s=chosen.waited_for_source_s,
            waited_for_room_s=chosen.waited_for_room_s,
            task_s=work.run.seconds,
            raw_bytes=raw_bytes,
            unencoded_bytes=self._unencoded_bytes(sizes, watched=chosen.watched),
            message_bytes=chosen.message_bytes,
            encode_s=work.encode_s,
        )

    def _unencoded_bytes(
        self, sizes: Mapping[int, Mapping[str, int]], *, watched: bool
    ) -> dict[OperatingPoint, int]:
        found: dict[OperatingPoint, int] = {}
        for split, values in sizes.items():
            for way in self._encodings.names(split):
                encoded = self._encodings.of(split, way, watched=watched)
                unencoded = sum(size for name, size in values.items() if name not in encoded)
                if way is not Way.RAW and unencoded:
                    found[OperatingPoint(split=split, encoding=str(way))] = unencoded
        return found

    def observations(
        self,
        delivered: Delivered,
        task_times: Sequence[TaskTime],
        *,
        transfer_s: float | None,
        cloud_load: float,
    ) -> Iterator[Observation]:
        """Yield what the scheduler is to learn of frames that are finished and stored.

        Args:
            delivered: One frame, or a run of them that ended on the device.
            task_times: What the cloud's tasks took since the last call.
            transfer_s: How long the link took for the message; None if that is not known.
            cloud_load: Part of the cloud's processors in use.
        """
        outcome = delivered.outcome
        for seq in range(outcome.first, outcome.stop):
            chosen = self._chosen.pop(seq, None)
            if chosen is None or outcome.outcome is Outcome.DROPPED:
                continue
            sent_s = delivered.sent_s
            yield Observation(
                at_s=delivered.finished_s,
                point=chosen.point,
                watched=chosen.watched,
                ending=_ending(delivered),
                ended_by=self._index_of.get(outcome.task),
                message_bytes=chosen.message_bytes,
                decode_s=delivered.decode_s,
                transfer_s=transfer_s,
                transfer_bytes=delivered.message_bytes,
                round_trip_s=None if sent_s is None else delivered.finished_s - sent_s,
                residence_s=delivered.residence_s,
                cloud_times=task_times,
                cloud_load=cloud_load,
            )
            task_times = ()


def _ending(delivered: Delivered) -> Ending:
    outcome = delivered.outcome
    # Of frames that fail, only those that cannot be sent have no task that did it.
    if outcome.outcome is Outcome.FAILED and not outcome.task:
        return Ending.TOO_LARGE
    return _ENDINGS[outcome.outcome]

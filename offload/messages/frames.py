"""The messages of an open session: frames and ended ranges one way, acknowledgements the other."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Final, Self, cast

from offload.errors import RemoteProtocolError
from offload.messages.envelope import (
    MAX_SEQ,
    Fields,
    MessageType,
    is_duration,
    is_seq,
    read_boolean,
    read_integer,
    read_list,
    read_number,
    read_seq,
)
from offload.messages.outcomes import Outcome, OutcomeRange, read_ranges

# Padding stands in the envelope, which has place for 64 KiB.
MAX_PADDING_BYTES: Final = 48 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Device to cloud: the live values of one frame; ``split`` tasks ran on the device.

    ``tree`` describes the values, ``buffers`` hold their bytes (see ``values``), and
    ``decoded_bytes`` is what those that travel encoded take when they are decoded. A ``watched``
    frame has the values that only serve to show it, too. ``padding_bytes`` are sent along so as to
    measure the link; a receiver skips them, so they are 0 there. ``held_bytes`` is the memory that
    a received frame may take, as it came and decoded.
    """

    TYPE: ClassVar = MessageType.FRAME
    seq: int
    split: int
    captured_at: float
    tree: object
    buffers: tuple[memoryview, ...] = ()
    watched: bool = False
    decoded_bytes: int = 0
    padding_bytes: int = 0
    held_bytes: int = field(default=0, compare=False)

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields; the buffers travel behind the envelope."""
        fields: dict[str, object] = {
            "seq": self.seq,
            "split": self.split,
            "at": self.captured_at,
            "values": self.tree,
        }
        if self.watched:
            fields["watched"] = True
        if self.decoded_bytes:
            fields["decoded"] = self.decoded_bytes
        if self.padding_bytes:
            fields["padding"] = bytes(self.padding_bytes)
        return fields

    @classmethod
    def from_fields(
        cls, fields: Fields, buffers: tuple[memoryview, ...] = (), held_bytes: int = 0
    ) -> Self:
        """Read what `fields` wrote; ``buffers`` are the pieces of the payload."""
        if "values" not in fields:
            raise RemoteProtocolError("frame has no values")
        return cls(
            seq=_frame_seq(fields, "seq"),
            split=read_integer(fields, "split"),
            captured_at=read_number(fields, "at"),
            tree=fields["values"],
            buffers=buffers,
            watched="watched" in fields and read_boolean(fields, "watched"),
            decoded_bytes=read_seq(fields, "decoded") if "decoded" in fields else 0,
            held_bytes=held_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Device to cloud: frames that ended on the device, as ranges in order."""

    TYPE: ClassVar = MessageType.ENDED
    ranges: tuple[OutcomeRange, ...]

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"ranges": [each.row() for each in self.ranges]}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote; results cannot end on the device."""
        ranges = read_ranges(fields, "ranges")
        if not ranges:
            raise RemoteProtocolError("message of ended frames covers none")
        if any(each.outcome is Outcome.RESULT for each in ranges):
            raise RemoteProtocolError("ended frames claim a result, which only the cloud can give")
        if any(b.first != a.stop for a, b in pairwise(ranges)):
            raise RemoteProtocolError("ranges of ended frames do not follow each other")
        return cls(ranges=ranges)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTime:
    """What one task cost: how often it ran, and its seconds in all."""

    task: int
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """Cloud to device: all before ``next_seq`` is finished and stored.

    ``exceptions`` are the frames since the last acknowledgement that ended in the cloud without a
    result. ``residences_s`` has one entry per frame message that this acknowledgement covers, in
    order: seconds from its last byte received to this message. ``decodes_s`` has as many, or none:
    the part of them for which its values were decoded. ``task_times`` are the cloud's costs since
    the last acknowledgement; ``load`` is the share of the cloud's processors in use, 0 to 1.
    """

    TYPE: ClassVar = MessageType.ACKNOWLEDGEMENT
    next_seq: int
    exceptions: tuple[OutcomeRange, ...] = ()
    residences_s: tuple[float, ...] = ()
    decodes_s: tuple[float, ...] = ()
    task_times: tuple[TaskTime, ...] = ()
    load: float = 0.0

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        fields: dict[str, object] = {
            "next": self.next_seq,
            "exceptions": [each.row() for each in self.exceptions],
            "residences": list(self.residences_s),
            "tasks": [[each.task, each.runs, each.seconds] for each in self.task_times],
            "load": self.load,
        }
        if self.decodes_s:
            fields["decodes"] = list(self.decodes_s)
        return fields

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            next_seq=read_seq(fields, "next"),
            exceptions=read_ranges(fields, "exceptions"),
            residences_s=_durations(fields, "residences"),
            decodes_s=_durations(fields, "decodes") if "decodes" in fields else (),
            task_times=tuple(map(_task_time, read_list(fields, "tasks"))),
            load=_load(fields, "load"),
        )


def _frame_seq(fields: Fields, name: str) -> int:
    # The position after the last frame has to be a sequence number, too.
    seq = read_seq(fields, name)
    if seq == MAX_SEQ:
        raise RemoteProtocolError(f"field {name!r} is {seq}, expected less")
    return seq


def _durations(fields: Fields, name: str) -> tuple[float, ...]:
    durations = read_list(fields, name)
    for each in durations:
        if not is_duration(each):
            raise RemoteProtocolError(f"{name} are not all seconds")
    return tuple(map(float, cast("list[float]", durations)))


def _task_time(row: object) -> TaskTime:
    if not isinstance(row, list) or len(row) < 3:
        raise RemoteProtocolError("task time is no list of three fields")
    task, runs, seconds = row[:3]
    if not (is_seq(task) and is_seq(runs) and is_duration(seconds)):
        raise RemoteProtocolError("task time has a field of the wrong type")
    return TaskTime(task=task, runs=runs, seconds=float(seconds))


def _load(fields: Fields, name: str) -> float:
    load = read_number(fields, name)
    if not 0 <= load <= 1:
        raise RemoteProtocolError(f"field {name!r} is {load}, expected 0 to 1")
    return load

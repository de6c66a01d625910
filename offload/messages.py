"""The messages of the protocol as typed values: what each says, and how it maps to an envelope.

Pure. Bytes are the business of ``wire``, order and meaning over time that of ``session``. Every
message has a ``fields()`` (a small dict for the envelope) and a ``from_fields()``, which trusts
nothing: a field that is missing or of the wrong type is a `RemoteProtocolError`; a field that is
unknown is ignored.

    message = Acknowledgement(next_seq=7, ...)
    message_type, fields = message.TYPE, message.fields()
    again = decode_message(message_type, fields, payload=())
"""

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import ClassVar, Final, Self, TypeVar, cast

from offload.errors import RemoteProtocolError

PROTOCOL_VERSION: Final = 3

Fields = Mapping[str, object]

# Position arithmetic stays inside 64 bits on both ends, with room to add a count.
MAX_SEQ: Final = 2**62

# Long enough for any one-line reason; a task that raises with a megabyte of text must not fill
# the envelope of its neighbours.
MAX_TEXT_CHARACTERS: Final = 300

# A row has two such texts of up to four bytes a character, so this many fit an envelope, whatever
# they say.
MAX_RANGES: Final = 20

# Lists and maps inside a fingerprint or the body of a control message. Theirs are two levels deep,
# and code that prints or compares what a peer nested a thousand deep would end in RecursionError.
MAX_DEPTH: Final = 8


class Outcome(IntEnum):
    """How one frame ended."""

    RESULT = 0
    FILTERED = 1
    FAILED = 2
    DROPPED = 3


class RefusalCode(StrEnum):
    """Why the cloud ends a session; the device's exit code follows from it."""

    PROTOCOL = "protocol"
    PIPELINE = "pipeline"
    TOKEN = "token"
    OWNER = "owner"
    TAKEN_OVER = "taken_over"
    DRAINING = "draining"
    LIMIT = "limit"
    BUSY = "busy"
    TIMEOUT = "timeout"
    INTERNAL = "internal"


class MessageType(IntEnum):
    """The type byte of a message's header."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    OPEN = 4
    WELCOME = 5
    FRAME = 6
    ENDED = 7
    ACKNOWLEDGEMENT = 8
    CONTROL = 9
    END = 10
    END_CONFIRMED = 11
    REFUSAL = 12


def text(value: str) -> str:
    """Return ``value`` as one line of at most `MAX_TEXT_CHARACTERS` characters.

    What cannot be printed is replaced: a surrogate (as in the name of a file that is no UTF-8)
    could not be sent, and a control character is the peer's hand on a terminal.
    """
    line = " ".join(value.split())
    if not line.isprintable():
        line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
    return line if len(line) <= MAX_TEXT_CHARACTERS else line[: MAX_TEXT_CHARACTERS - 1] + "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRange:
    """Neighbouring frames that ended alike: ``count`` of them, from ``first`` on."""

    first: int
    count: int
    outcome: Outcome
    task: str = ""
    reason: str = ""

    @property
    def stop(self) -> int:
        """One past the last sequence number."""
        return self.first + self.count

    def row(self) -> list[object]:
        """Return the range as the list that travels in an envelope."""
        return [self.first, self.count, int(self.outcome), text(self.task), text(self.reason)]

    @classmethod
    def from_row(cls, row: object) -> Self:
        """Read what `row` wrote."""
        if not isinstance(row, list) or len(row) < 5:
            raise RemoteProtocolError(f"outcome range is {_shown(row)}, expected five fields")
        first, count, outcome, task, reason = row[:5]
        if not (_is_seq(first) and _is_seq(count) and count > 0 and _is_seq(first + count)):
            raise RemoteProtocolError(f"outcome range covers {_shown(first)}, {_shown(count)}")
        if type(outcome) is not int or outcome not in Outcome.__members__.values():
            raise RemoteProtocolError(f"outcome is {_shown(outcome)}, expected 0 to 3")
        if not (isinstance(task, str) and isinstance(reason, str)):
            raise RemoteProtocolError("outcome range has a task or a reason that is no text")
        return cls(
            first=first, count=count, outcome=Outcome(outcome), task=text(task), reason=text(reason)
        )


def is_stream_name(name: str) -> bool:
    """Return whether ``name`` can be a stream's: it stands in logs, tables and file names."""
    return 1 <= len(name) <= 128 and name.isprintable()


def extend_ranges(ranges: list[OutcomeRange], new: OutcomeRange) -> None:
    """Append ``new`` to ``ranges``, joined with the last one where it continues it."""
    if ranges:
        last = ranges[-1]
        alike = (last.outcome, last.task, last.reason) == (new.outcome, new.task, new.reason)
        if alike and last.stop == new.first:
            ranges[-1] = OutcomeRange(
                first=last.first,
                count=last.count + new.count,
                outcome=last.outcome,
                task=last.task,
                reason=last.reason,
            )
            return
    ranges.append(new)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Device to cloud, first: who speaks which protocol, and which token it knows."""

    TYPE: ClassVar = MessageType.HELLO
    protocol: int
    version: str
    token_name: str
    nonce: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {
            "protocol": self.protocol,
            "version": self.version,
            "token": self.token_name,
            "nonce": self.nonce,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            protocol=_integer(fields, "protocol"),
            version=_text(fields, "version"),
            token_name=_text(fields, "token"),
            nonce=_bytes(fields, "nonce"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Cloud to device: its own proof (empty if it accepts peers without a token) and a nonce."""

    TYPE: ClassVar = MessageType.CHALLENGE
    version: str
    nonce: bytes
    proof: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"version": self.version, "nonce": self.nonce, "proof": self.proof}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            version=_text(fields, "version"),
            nonce=_bytes(fields, "nonce"),
            proof=_bytes(fields, "proof"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Device to cloud: the proof that it knows the token's secret; empty if it has none."""

    TYPE: ClassVar = MessageType.PROOF
    proof: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"proof": self.proof}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(proof=_bytes(fields, "proof"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Device to cloud: the stream, and the pipeline that it runs.

    ``fingerprint`` is a list with one plain description per task, opaque to the protocol: the cloud
    compares it with its own and names the first difference. All frames before ``position`` have
    been acknowledged to this device; it is 0 when the device starts and asks where the stream
    stands.
    """

    TYPE: ClassVar = MessageType.OPEN
    app: str
    fingerprint: list[object]
    stream: str
    device: str
    position: int = 0

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {
            "app": self.app,
            "fingerprint": self.fingerprint,
            "stream": self.stream,
            "device": self.device,
            "position": self.position,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        stream = _text(fields, "stream")
        if not is_stream_name(stream):
            raise RemoteProtocolError("stream name is not 1 to 128 printable characters")
        return cls(
            app=_text(fields, "app"),
            fingerprint=_shallow(_list(fields, "fingerprint"), "fingerprint"),
            stream=stream,
            device=text(_text(fields, "device")),
            position=_seq(fields, "position"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Cloud to device: the session is open; all before ``next_seq`` is finished and stored.

    ``exceptions`` are the frames from the device's position on that ended without a result: their
    acknowledgement was lost with the connection before. ``durable`` says whether results survive a
    restart of the server. A message of more than ``max_message_bytes``, with header and envelope,
    is refused.
    """

    TYPE: ClassVar = MessageType.WELCOME
    next_seq: int
    durable: bool
    max_message_bytes: int
    exceptions: tuple[OutcomeRange, ...] = ()

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {
            "next": self.next_seq,
            "durable": self.durable,
            "max_message": self.max_message_bytes,
            "exceptions": [each.row() for each in self.exceptions],
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            next_seq=_seq(fields, "next"),
            durable=_boolean(fields, "durable"),
            max_message_bytes=_seq(fields, "max_message"),
            exceptions=_ranges(fields, "exceptions"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Device to cloud: the live values of one frame; ``split`` tasks ran on the device.

    ``tree`` describes the values, ``buffers`` hold their bytes (see ``values``), and
    ``decoded_bytes`` is what those that travel encoded take when they are decoded. A ``watched``
    frame has the values that only serve to show it, too. ``held_bytes`` is the memory that a
    received frame may take, as it came and decoded.
    """

    TYPE: ClassVar = MessageType.FRAME
    seq: int
    split: int
    captured_at: float
    tree: object
    buffers: tuple[memoryview, ...] = ()
    watched: bool = False
    decoded_bytes: int = 0
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
            split=_integer(fields, "split"),
            captured_at=_number(fields, "at"),
            tree=fields["values"],
            buffers=buffers,
            watched="watched" in fields and _boolean(fields, "watched"),
            decoded_bytes=_seq(fields, "decoded") if "decoded" in fields else 0,
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
        ranges = _ranges(fields, "ranges")
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
    order: seconds from its last byte received to this message. ``task_times`` are the cloud's costs
    since the last acknowledgement; ``load`` is the share of the cloud's processors in use, 0 to 1.
    """

    TYPE: ClassVar = MessageType.ACKNOWLEDGEMENT
    next_seq: int
    exceptions: tuple[OutcomeRange, ...] = ()
    residences_s: tuple[float, ...] = ()
    task_times: tuple[TaskTime, ...] = ()
    load: float = 0.0

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {
            "next": self.next_seq,
            "exceptions": [each.row() for each in self.exceptions],
            "residences": list(self.residences_s),
            "tasks": [[each.task, each.runs, each.seconds] for each in self.task_times],
            "load": self.load,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        residences = _list(fields, "residences")
        for each in residences:
            if not _is_duration(each):
                raise RemoteProtocolError("residences are not all seconds")
        return cls(
            next_seq=_seq(fields, "next"),
            exceptions=_ranges(fields, "exceptions"),
            residences_s=tuple(map(float, cast("list[float]", residences))),
            task_times=tuple(map(_task_time, _list(fields, "tasks"))),
            load=_load(fields, "load"),
        )


# Control messages. "heartbeat", either way, says that its sender is alive and has nothing else to
# say. From the cloud: "drain" asks for a pause, since the server is about to end and finishes what
# it has; "watch" asks for frames with what serves to show them, ``fps`` a second, None for all, 0
# for none.
HEARTBEAT: Final = "heartbeat"
DRAIN: Final = "drain"
WATCH: Final = "watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Either way: a name and a small body; names that the receiver does not know are ignored."""

    TYPE: ClassVar = MessageType.CONTROL
    name: str
    body: dict[str, object] = field(default_factory=dict)

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"name": self.name, "body": self.body}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        body = fields.get("body")
        if not isinstance(body, dict):
            raise RemoteProtocolError("control message has no body")
        return cls(name=_text(fields, "name"), body=_shallow(body, "body"))


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Device to cloud: the stream is complete; it holds the frames before ``next_seq``."""

    TYPE: ClassVar = MessageType.END
    next_seq: int

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"next": self.next_seq}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(next_seq=_seq(fields, "next"))


@dataclass(frozen=True, slots=True, kw_only=True)
class EndConfirmed:
    """Cloud to device: every frame of the stream is finished and stored."""

    TYPE: ClassVar = MessageType.END_CONFIRMED
    next_seq: int

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"next": self.next_seq}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(next_seq=_seq(fields, "next"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Cloud to device, last: why the session ends, in words for the device's user."""

    TYPE: ClassVar = MessageType.REFUSAL
    code: str
    reason: str

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"code": self.code, "reason": text(self.reason)}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote; a code that this version does not know is kept as it is."""
        return cls(code=_text(fields, "code"), reason=text(_text(fields, "reason")))


Message = (
    Hello
    | Challenge
    | Proof
    | Open
    | Welcome
    | Frame
    | Ended
    | Acknowledgement
    | Control
    | End
    | EndConfirmed
    | Refusal
)

_READERS: Final[dict[int, Callable[[Fields], Message]]] = {
    kind.TYPE: kind.from_fields
    for kind in (
        Hello,
        Challenge,
        Proof,
        Open,
        Welcome,
        Ended,
        Acknowledgement,
        Control,
        End,
        EndConfirmed,
        Refusal,
    )
}


def decode_message(
    kind: int, fields: Fields, buffers: Sequence[memoryview] = (), held_bytes: int = 0
) -> Message:
    """Return the message that an envelope and its payload pieces say.

    Raises:
        RemoteProtocolError: The type is unknown, or a field is missing or of the wrong type.
    """
    if kind == MessageType.FRAME:
        return Frame.from_fields(fields, tuple(buffers), held_bytes)
    reader = _READERS.get(kind)
    if reader is None:
        raise RemoteProtocolError(f"message type is {kind}, expected 1 to {max(MessageType):d}")
    if buffers:
        raise RemoteProtocolError(f"message of type {kind} has a payload, expected none")
    return reader(fields)


def _ranges(fields: Fields, name: str) -> tuple[OutcomeRange, ...]:
    return tuple(map(OutcomeRange.from_row, _list(fields, name)))


def _is_seq(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_SEQ


def _is_duration(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast("float", value) < float("inf")


def _task_time(row: object) -> TaskTime:
    if not isinstance(row, list) or len(row) < 3:
        raise RemoteProtocolError("task time is no list of three fields")
    task, runs, seconds = row[:3]
    if not (_is_seq(task) and _is_seq(runs) and _is_duration(seconds)):
        raise RemoteProtocolError("task time has a field of the wrong type")
    return TaskTime(task=task, runs=runs, seconds=float(seconds))


def _seq(fields: Fields, name: str) -> int:
    value = fields.get(name)
    if not _is_seq(value):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected a sequence number")
    return cast("int", value)


def _integer(fields: Fields, name: str) -> int:
    value = fields.get(name)
    if type(value) is not int:
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected an integer")
    return value


def _frame_seq(fields: Fields, name: str) -> int:
    # The position after the last frame has to be a sequence number, too.
    seq = _seq(fields, name)
    if seq == MAX_SEQ:
        raise RemoteProtocolError(f"field {name!r} is {seq}, expected less")
    return seq


def _number(fields: Fields, name: str) -> float:
    value = fields.get(name)
    if type(value) not in (int, float) or not math.isfinite(cast("float", value)):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected a finite number")
    return float(cast("float", value))


def _load(fields: Fields, name: str) -> float:
    load = _number(fields, name)
    if not 0 <= load <= 1:
        raise RemoteProtocolError(f"field {name!r} is {load}, expected 0 to 1")
    return load


def _boolean(fields: Fields, name: str) -> bool:
    value = fields.get(name)
    if not isinstance(value, bool):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected true or false")
    return value


def _text(fields: Fields, name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected text")
    return value


def _bytes(fields: Fields, name: str) -> bytes:
    value = fields.get(name)
    if not isinstance(value, bytes):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected bytes")
    return value


def _list(fields: Fields, name: str) -> list[object]:
    value = fields.get(name)
    if not isinstance(value, list):
        raise RemoteProtocolError(f"field {name!r} is {_shown(value)}, expected a list")
    return value


_Container = TypeVar("_Container", list[object], dict[str, object])


def _shallow(container: _Container, name: str) -> _Container:
    """Return ``container`` if it is no deeper than `MAX_DEPTH` and has text for keys."""
    level: list[object] = [container]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                if not all(isinstance(key, str) for key in each):
                    raise RemoteProtocolError(f"field {name!r} has a key that is no text")
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = inner
    if any(isinstance(each, list | dict) for each in level):
        raise RemoteProtocolError(f"field {name!r} is nested too deep, expected {MAX_DEPTH} levels")
    return container


def _shown(value: object) -> str:
    """Return what a peer sent, short and in one line, for an error message."""
    # Unlike repr, which fails on lists nested a thousand deep, this looks a few levels in.
    return reprlib.repr(value)[:40]

"""The messages that say how a session goes on, and how it ends: control, end, refusal."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import ClassVar, Final, Self

from offload.errors import RemoteProtocolError
from offload.messages.envelope import (
    Fields,
    MessageType,
    check_depth,
    read_seq,
    read_text,
    text,
)

# Control messages. "heartbeat", either way, says that its sender is alive and has nothing else to
# say. From the cloud: "drain" asks for a pause, since the server is about to end and finishes what
# it has; "watch" asks for frames with what serves to show them, ``fps`` a second, None for all, 0
# for none; "telemetry" asks, by ``wanted``, for a "sampled" a second: how the device's run goes.
HEARTBEAT: Final = "heartbeat"
DRAIN: Final = "drain"
WATCH: Final = "watch"
TELEMETRY: Final = "telemetry"
SAMPLED: Final = "sampled"


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
        return cls(name=read_text(fields, "name"), body=check_depth(body, "body"))


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
        return cls(next_seq=read_seq(fields, "next"))


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
        return cls(next_seq=read_seq(fields, "next"))


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
        return cls(code=read_text(fields, "code"), reason=text(read_text(fields, "reason")))

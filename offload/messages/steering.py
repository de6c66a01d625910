"""Steering a device while it runs: what operators ask for, and what devices are told and say.

Pure. All of it travels as control messages (PROTOCOL.md, section 8). An operator sends an
`OperatorRequest` to the cloud; the cloud passes its change on to devices, each as a
`SteeringRequest`; a device answers with its `SteeringState`; the operator gets a `Steered`.

    session.send_control(SteeringRequest(change=SetTarget(fps=25.0), number=1).control())
    SteeringRequest.read(control).change        # SetTarget(fps=25.0)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Self, TypeVar, cast

from offload.errors import RemoteProtocolError
from offload.messages.control import Control
from offload.messages.envelope import (
    Fields,
    is_seq,
    read_boolean,
    read_integer,
    read_list,
    read_number,
    read_text,
    shown,
    text,
)
from offload.messages.opening import is_stream_name

_Read = TypeVar("_Read")

# From an operator to the cloud, and but for the last one from there to the devices.
TARGET: Final = "target"
PIN: Final = "pin"
RELEASE: Final = "release"
# Not "drain", which says that the server is about to end.
FINISH: Final = "finish"
STREAMS: Final = "streams"
CHANGES: Final = frozenset((TARGET, PIN, RELEASE, FINISH))
OPERATOR_REQUESTS: Final = frozenset((*CHANGES, STREAMS))

# What a device says, and what an operator is answered.
STEERING: Final = "steering"
STEERED: Final = "steered"

# As many streams fit an envelope of 64 KiB, whatever they are called and say: each has three texts
# of at most 300 characters, and a name of 128.
MAX_STEERED: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SetTarget:
    """Finish ``fps`` frames a second from now on, a finite number over 0."""

    fps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PinSplit:
    """Run every frame at this split from now on."""

    split: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Let the scheduler choose the split again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainDevice:
    """Capture no more frames, finish those in flight, and end: as on SIGTERM."""


Change = SetTarget | PinSplit | Release | DrainDevice


class SteeringMode(StrEnum):
    """Whether a device has a scheduler that can be steered; any device can be drained."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringRequest:
    """Cloud to device: a change, with the number that the device's answer repeats."""

    change: Change
    number: int | None = None

    def control(self) -> Control:
        """Return it as a control message."""
        return _control(self.change, {"request": self.number})

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: The change is none.
        """
        return cls(change=_read_change(control), number=_read_number(control.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringState:
    """Device to cloud: how the device is steered now.

    Attributes:
        mode: Manual devices have no scheduler, and change nothing.
        target_fps: The target; None in manual mode.
        pinned: The split of all frames; None if the scheduler chooses it.
        error: Why the last change was not made, one line; None if it was, or there was none.
        answers: The number of the last change; None if this answers none.
    """

    mode: SteeringMode
    target_fps: float | None
    pinned: int | None
    error: str | None = None
    answers: int | None = None

    def unprompted(self) -> Self:
        """Return the same as it is said when nobody has asked: after a welcome."""
        return replace(self, error=None, answers=None)

    def control(self) -> Control:
        """Return it as a control message."""
        body = {**_state_fields(self), "request": self.answers}
        return Control(name=STEERING, body=body)

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: A field is missing, or of the wrong type.
        """
        body = control.body
        return cls(
            mode=_read_mode(body),
            target_fps=_read_target(body),
            pinned=_optional(body, "pinned", read_integer),
            error=_optional(body, "error", _read_line),
            answers=_read_number(body),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorRequest:
    """Operator to cloud: a change of one stream or of all, or None to ask how they are steered."""

    change: Change | None = None
    stream: str | None = None

    def control(self) -> Control:
        """Return it as a control message."""
        fields: dict[str, object] = {} if self.stream is None else {"stream": self.stream}
        if self.change is None:
            return Control(name=STREAMS, body=fields)
        return _control(self.change, fields)

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: The change is none, or the stream's name is no text.
        """
        change = None if control.name == STREAMS else _read_change(control)
        return cls(change=change, stream=_optional(control.body, "stream", read_text))


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSteering:
    """How one stream is steered, and who sends it; ``state`` is None if its device never said.

    ``error`` says why a change was not made, which the device itself may not know.
    """

    stream: str
    device: str
    app: str
    state: SteeringState | None
    error: str | None = None

    def fields(self) -> dict[str, object]:
        """Return it as a map for the wire."""
        named = {"stream": self.stream, "device": self.device, "app": text(self.app)}
        state = _NOTHING_SAID if self.state is None else _state_fields(self.state)
        return {**named, **state, "error": None if self.error is None else text(self.error)}

    @classmethod
    def read(cls, value: object) -> Self:
        """Read what `fields` wrote.

        Raises:
            RemoteProtocolError: It is no map, or a field is missing or of the wrong type.
        """
        if not isinstance(value, dict):
            raise RemoteProtocolError(f"steered stream is {shown(value)}, expected a map")
        is_said = value.get("mode") is not None
        return cls(
            stream=_read_stream(value),
            device=_read_line(value, "device"),
            app=_read_line(value, "app"),
            state=SteeringState.read(Control(name=STEERING, body=value)) if is_said else None,
            error=_optional(value, "error", _read_line),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """Cloud to operator: a part of the answer, of at most `MAX_STEERED` streams.

    Attributes:
        streams: Those that were asked for.
        error: Why there is no other answer, one line; None if there is.
        more: Whether another part follows.
    """

    streams: tuple[StreamSteering, ...] = ()
    error: str | None = None
    more: bool = False

    def control(self) -> Control:
        """Return it as a control message."""
        error = None if self.error is None else text(self.error)
        streams = [each.fields() for each in self.streams]
        return Control(name=STEERED, body={"streams": streams, "error": error, "more": self.more})

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: A field is missing, or of the wrong type.
        """
        return cls(
            streams=tuple(map(StreamSteering.read, read_list(control.body, "streams"))),
            error=_optional(control.body, "error", _read_line),
            more=read_boolean(control.body, "more"),
        )


_NOTHING_SAID: Final[Mapping[str, object]] = {"mode": None, "target": None, "pinned": None}


def _state_fields(state: SteeringState) -> dict[str, object]:
    return {
        "mode": str(state.mode),
        "target": state.target_fps,
        "pinned": state.pinned,
        "error": None if state.error is None else text(state.error),
    }


def _control(change: Change, others: Mapping[str, object]) -> Control:
    match change:
        case SetTarget(fps=fps):
            return Control(name=TARGET, body={"fps": fps, **others})
        case PinSplit(split=split):
            return Control(name=PIN, body={"split": split, **others})
        case Release():
            return Control(name=RELEASE, body=dict(others))
        case DrainDevice():
            return Control(name=FINISH, body=dict(others))


def change_name(change: Change) -> str:
    """Return what people call it: ``target``, ``pin``, ``release`` or ``drain``."""
    return "drain" if isinstance(change, DrainDevice) else _control(change, {}).name


def change_value(change: Change) -> float | None:
    """Return what a change sets: the target in frames per second, the split, or nothing."""
    match change:
        case SetTarget(fps=fps):
            return fps
        case PinSplit(split=split):
            return split
        case _:
            return None


def _read_change(control: Control) -> Change:
    if control.name == TARGET:
        return SetTarget(fps=_read_fps(control.body, "fps"))
    if control.name == PIN:
        return PinSplit(split=read_integer(control.body, "split"))
    return Release() if control.name == RELEASE else DrainDevice()


def _read_fps(body: Fields, name: str) -> float:
    fps = read_number(body, name)
    if fps <= 0:
        raise RemoteProtocolError(f"field {name!r} is {shown(fps)}, expected a number over 0")
    return fps


def _read_target(body: Fields) -> float | None:
    return None if body.get("target") is None else _read_fps(body, "target")


def _read_mode(body: Fields) -> SteeringMode:
    mode = read_text(body, "mode")
    try:
        return SteeringMode(mode)
    except ValueError:
        expected = " or ".join(SteeringMode)
        raise RemoteProtocolError(f"mode is {shown(mode)}, expected {expected}") from None


def _read_number(body: Fields) -> int | None:
    number = body.get("request")
    if number is not None and not is_seq(number):
        raise RemoteProtocolError(f"request is {shown(number)}, expected its number")
    return cast("int | None", number)


def _read_line(body: Fields, name: str) -> str:
    return text(read_text(body, name))


def _read_stream(body: Fields) -> str:
    name = read_text(body, "stream")
    if not is_stream_name(name):
        raise RemoteProtocolError(f"stream is {shown(name)}, expected the name of one")
    return name


def _optional(body: Fields, name: str, read: Callable[[Fields, str], _Read]) -> _Read | None:
    return None if body.get(name) is None else read(body, name)

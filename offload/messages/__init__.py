"""The messages of the protocol as typed values: what each says, and how it maps to an envelope.

Pure. Bytes are the business of ``wire``, order and meaning over time that of ``session``. Every
message has a ``fields()`` (a small dict for the envelope) and a ``from_fields()``, which trusts
nothing: a field that is missing or of the wrong type is a `RemoteProtocolError`; a field that is
unknown is ignored.

    message = Acknowledgement(next_seq=7, ...)
    message_type, fields = message.TYPE, message.fields()
    again = decode_message(message_type, fields, buffers=())

The two stand side by side in each message: ``opening``, ``frames`` and ``control`` have the
messages, ``steering`` and ``probing`` what control messages say, ``outcomes`` how frames ended,
``envelope`` the checks of single fields.
"""

from collections.abc import Callable, Sequence
from typing import Final

from offload.errors import RemoteProtocolError
from offload.messages.control import (
    DRAIN,
    HEARTBEAT,
    SAMPLED,
    TELEMETRY,
    WATCH,
    Control,
    End,
    EndConfirmed,
    Refusal,
    RefusalCode,
)
from offload.messages.envelope import (
    MAX_DEPTH,
    MAX_SEQ,
    MAX_TEXT_CHARACTERS,
    Fields,
    MessageType,
    text,
)
from offload.messages.frames import (
    MAX_PADDING_BYTES,
    Acknowledgement,
    Ended,
    Frame,
    TaskTime,
)
from offload.messages.opening import (
    TRIAL_SUFFIX,
    Challenge,
    Hello,
    Open,
    Proof,
    Welcome,
    is_stream_name,
    is_trial,
)
from offload.messages.outcomes import MAX_RANGES, Outcome, OutcomeRange, extend_ranges
from offload.messages.probing import MAX_PROBE_BYTES, PROBE, PROBED, Probe, Probed
from offload.messages.steering import (
    CHANGES,
    MAX_STEERED,
    OPERATOR_REQUESTS,
    STEERED,
    STEERING,
    Change,
    DrainDevice,
    OperatorRequest,
    PinSplit,
    Release,
    SetTarget,
    Steered,
    SteeringMode,
    SteeringRequest,
    SteeringState,
    StreamSteering,
    change_name,
    change_value,
)

__all__ = [
    "CHANGES",
    "DRAIN",
    "HEARTBEAT",
    "MAX_DEPTH",
    "MAX_PADDING_BYTES",
    "MAX_PROBE_BYTES",
    "MAX_RANGES",
    "MAX_SEQ",
    "MAX_STEERED",
    "MAX_TEXT_CHARACTERS",
    "OPERATOR_REQUESTS",
    "PROBE",
    "PROBED",
    "PROTOCOL_VERSION",
    "SAMPLED",
    "STEERED",
    "STEERING",
    "TELEMETRY",
    "TRIAL_SUFFIX",
    "WATCH",
    "Acknowledgement",
    "Challenge",
    "Change",
    "Control",
    "DrainDevice",
    "End",
    "EndConfirmed",
    "Ended",
    "Fields",
    "Frame",
    "Hello",
    "Message",
    "MessageType",
    "Open",
    "OperatorRequest",
    "Outcome",
    "OutcomeRange",
    "PinSplit",
    "Probe",
    "Probed",
    "Proof",
    "Refusal",
    "RefusalCode",
    "Release",
    "SetTarget",
    "Steered",
    "SteeringMode",
    "SteeringRequest",
    "SteeringState",
    "StreamSteering",
    "TaskTime",
    "Welcome",
    "change_name",
    "change_value",
    "decode_message",
    "extend_ranges",
    "is_stream_name",
    "is_trial",
    "text",
]

PROTOCOL_VERSION: Final = 3

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

"""What damaged bytes are given to: decoder and sessions, in every state that they can be in.

A session is brought into its state by the recorded handshake, with the recorded nonces. The cloud
does with what comes what the server does: it welcomes, reads the values, acknowledges.

    tally = Tally()
    run(Case(target=Target.CLOUD_OPEN, session=sessions()[0], chunks=(b"TO",)), tally)
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from typing import Final

from offload.errors import (
    AuthError,
    HandshakeError,
    OffloadError,
    PayloadError,
    Refused,
    RemoteProtocolError,
    TurnedAway,
)
from offload.messages import (
    Acknowledgement,
    End,
    Ended,
    Frame,
    Open,
    Outcome,
    OutcomeRange,
    RefusalCode,
    Welcome,
)
from offload.session import CloudSession, DeviceSession, OpenRequested
from offload.values import unpack
from offload.wire import MAX_MESSAGE_BYTES, Decoder
from tests.faults.parts import Part, read_stream
from tests.faults.recordings import Recording, decoded, load_recordings

# What the cores may answer to whatever comes, by their own documentation; all else is a bug.
DECODER_ERRORS: Final = (RemoteProtocolError,)
CLOUD_ERRORS: Final = (AuthError, HandshakeError, RemoteProtocolError)
DEVICE_ERRORS: Final = (*CLOUD_ERRORS, Refused, TurnedAway)

# Messages of each direction until frames and acknowledgements may follow.
HANDSHAKE_TO_CLOUD: Final = 3
HANDSHAKE_TO_DEVICE: Final = 2


class Target(Enum):
    """What is given the bytes, and in which state it is then."""

    DECODER = auto()
    CLOUD_NEW = auto()
    CLOUD_DECIDING = auto()
    CLOUD_OPEN = auto()
    CLOUD_STARVED = auto()
    CLOUD_REFUSING = auto()
    DEVICE_NEW = auto()
    DEVICE_OPEN = auto()
    DEVICE_ENDING = auto()

    @property
    def is_cloud(self) -> bool:
        """Whether the bytes are a device's."""
        return not self.name.startswith("DEVICE")

    @property
    def errors(self) -> tuple[type[OffloadError], ...]:
        """The errors that it may answer with."""
        if self is Target.DECODER:
            return DECODER_ERRORS
        return CLOUD_ERRORS if self.is_cloud else DEVICE_ERRORS

    @property
    def is_new(self) -> bool:
        """Whether the handshake is damaged, too."""
        return self in (Target.DECODER, Target.CLOUD_NEW, Target.DEVICE_NEW)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A recording, ready to be damaged.

    Attributes:
        recording: As it was recorded.
        to_cloud: The device's messages.
        to_device: The cloud's messages.
        opening: What the device asked for.
        welcome: The one in ``to_device``; None if the device was refused.
        stop: One past the last frame of which the device spoke.
    """

    recording: Recording
    to_cloud: tuple[Part, ...]
    to_device: tuple[Part, ...]
    opening: Open
    welcome: Welcome | None
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Some bytes for a target.

    Attributes:
        target: What gets them.
        session: The recorded one from which they come.
        chunks: The damaged bytes, as they arrive, after the handshake unless that is damaged, too.
    """

    target: Target
    session: Session
    chunks: tuple[bytes, ...]


@dataclass(slots=True, kw_only=True)
class Tally:
    """What came of many cases.

    Attributes:
        cases: How many there were.
        errors: How often which error came out; "none" where the session bore it.
        opened: How many of the sessions were open, or came to be.
        read: Frames whose values could be read.
        unreadable: Frames whose values could not be read, which is no matter of the session's.
        slowest_s: What the slowest case took of a processor.
        slowest: Its number.
    """

    cases: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    opened: int = 0
    read: int = 0
    unreadable: int = 0
    slowest_s: float = 0.0
    slowest: int = -1


@cache
def sessions() -> tuple[Session, ...]:
    """Return the corpus."""
    return tuple(map(_session, load_recordings()))


def _session(recording: Recording) -> Session:
    stops = [0]
    for each in decoded(recording.to_cloud):
        if isinstance(each, Frame):
            stops.append(each.seq + 1)
        elif isinstance(each, Ended):
            stops.append(each.ranges[-1].stop)
    return Session(
        recording=recording,
        to_cloud=tuple(read_stream(recording.to_cloud)),
        to_device=tuple(read_stream(recording.to_device)),
        opening=recording.opening,
        welcome=recording.welcome,
        stop=max(stops),
    )


def run(case: Case, tally: Tally) -> None:
    """Give a case to its target.

    Raises:
        Exception: Anything but the errors that the target may answer with: a bug.
    """
    tally.cases += 1
    try:
        _RUNS[case.target](case, tally)
    except case.target.errors as error:
        tally.errors[type(error).__name__] += 1
    else:
        tally.errors["none"] += 1


# How each target is brought into its state.


def _run_decoder(case: Case, tally: Tally) -> None:
    decoder = Decoder(max_message_bytes=MAX_MESSAGE_BYTES)
    for chunk in case.chunks:
        for message in _feed(decoder, chunk):
            _read_values(message, tally)


def _run_new_cloud(case: Case, tally: Tally) -> None:
    _give_cloud(_new_cloud(case.session), case, case.chunks, tally)


def _run_deciding_cloud(case: Case, tally: Tally) -> None:
    session = _new_cloud(case.session)
    _feed(session, joined(case.session.to_cloud[:HANDSHAKE_TO_CLOUD]))
    for chunk in case.chunks:
        for event in _feed(session, chunk):
            _read_values(event, tally)


def _run_open_cloud(case: Case, tally: Tally) -> None:
    handshake = joined(case.session.to_cloud[:HANDSHAKE_TO_CLOUD])
    _give_cloud(_new_cloud(case.session), case, (handshake, *case.chunks), tally)


def _run_starved_cloud(case: Case, tally: Tally) -> None:
    """Let the cloud have no memory for every message, when it asks for the first time."""
    answers: list[bool] = []

    def admit(held_bytes: int) -> bool:
        assert 0 < held_bytes <= 2 * MAX_MESSAGE_BYTES
        answers.append(len(answers) % 2 == 1)
        return answers[-1]

    handshake = joined(case.session.to_cloud[:HANDSHAKE_TO_CLOUD])
    session = _new_cloud(case.session, admit=admit)
    _give_cloud(session, case, (handshake, *case.chunks), tally)


def _run_refusing_cloud(case: Case, tally: Tally) -> None:
    session = _new_cloud(case.session)
    _give_cloud(session, case, [joined(case.session.to_cloud[:HANDSHAKE_TO_CLOUD])], tally)
    session.refuse(RefusalCode.INTERNAL, "the test says so")
    for chunk in case.chunks:
        assert _feed(session, chunk) == []


def _run_new_device(case: Case, tally: Tally) -> None:
    session = _new_device(case.session)
    for chunk in case.chunks:
        for event in _feed(session, chunk):
            if isinstance(event, Welcome):
                tally.opened += 1
                _stand_in(session, event, case.session.stop)


def _run_open_device(case: Case, tally: Tally) -> None:
    session = _new_device(case.session)
    (welcome,) = _feed(session, joined(case.session.to_device[:HANDSHAKE_TO_DEVICE]))
    assert isinstance(welcome, Welcome)
    _stand_in(session, welcome, case.session.stop)
    if case.target is Target.DEVICE_ENDING:
        session.send_end()
    tally.opened += 1
    for chunk in case.chunks:
        _feed(session, chunk)


def _stand_in(session: DeviceSession, welcome: Welcome, stop: int) -> None:
    """Send one range instead of all that the device sent in the recording."""
    if welcome.next_seq < stop:
        whole = OutcomeRange(
            first=welcome.next_seq, count=stop - welcome.next_seq, outcome=Outcome.DROPPED
        )
        session.send_ended(Ended(ranges=(whole,)))


def _give_cloud(session: CloudSession, case: Case, chunks: Sequence[bytes], tally: Tally) -> None:
    """Do what the server does with a session: welcome, unpack, acknowledge, confirm the end."""
    for chunk in chunks:
        for event in _feed(session, chunk):
            _read_values(event, tally)
            if isinstance(event, OpenRequested):
                tally.opened += 1
                welcome = case.session.welcome
                session.accept(
                    next_seq=welcome.next_seq if welcome else 0,
                    durable=True,
                    exceptions=welcome.exceptions if welcome else (),
                )
            elif isinstance(event, End):
                session.acknowledge(Acknowledgement(next_seq=event.next_seq))
                session.confirm_end()
        session.take_outgoing()


def _new_cloud(session: Session, admit: Callable[[int], bool] = lambda _: True) -> CloudSession:
    recording = session.recording
    known = {each.name: each.secret for each in [recording.cloud_token] if each}
    return CloudSession(
        secret_for=known.get,
        insecure=recording.insecure,
        nonce=recording.cloud_nonce,
        admit=admit,
    )


def _new_device(session: Session) -> DeviceSession:
    recording = session.recording
    return DeviceSession(
        opening=session.opening, token=recording.device_token, nonce=recording.device_nonce
    )


def _read_values(message: object, tally: Tally) -> None:
    if isinstance(message, Frame):
        try:
            unpack(message.tree, message.buffers, max_decoded_bytes=message.decoded_bytes)
        except PayloadError:
            tally.unreadable += 1
        else:
            tally.read += 1


def _feed(receiver: Decoder | DeviceSession | CloudSession, data: bytes) -> list[object]:
    """Give ``data`` to a core, as much at once as it takes, and ask a starved one again."""
    events: list[object] = []
    decoder = receiver if isinstance(receiver, Decoder) else receiver._decoder
    while data:
        buffer = receiver.buffer()
        assert len(buffer) > 0
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        data = data[count:]
        events += receiver.received(count)
        while decoder.is_starved:
            events += receiver.received(0)
    return events


def joined(parts: Iterable[Part]) -> bytes:
    """Return the bytes of messages as they were recorded."""
    return b"".join(each.raw or b"" for each in parts)


_RUNS: Final[dict[Target, Callable[[Case, Tally], None]]] = {
    Target.DECODER: _run_decoder,
    Target.CLOUD_NEW: _run_new_cloud,
    Target.CLOUD_DECIDING: _run_deciding_cloud,
    Target.CLOUD_OPEN: _run_open_cloud,
    Target.CLOUD_STARVED: _run_starved_cloud,
    Target.CLOUD_REFUSING: _run_refusing_cloud,
    Target.DEVICE_NEW: _run_new_device,
    Target.DEVICE_OPEN: _run_open_device,
    Target.DEVICE_ENDING: _run_open_device,
}

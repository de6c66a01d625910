"""The protocol over time, as two cores without I/O: bytes in, events out.

`DeviceSession` and `CloudSession` know who may say what when, check every position, and queue what
they have to say in ``outgoing`` as pieces for a gathering send. They know no sockets, threads or
clocks.

    session = DeviceSession(opening=..., token=..., nonce=...)
    connection.send(session.take_outgoing())
    count = connection.receive_into(session.buffer())
    for event in session.received(count): ...

The order of a session: hello, challenge, proof and open, welcome; then frames and ended ranges one
way and acknowledgements the other; then end and its confirmation. Control messages go both ways
once open.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Final

from offload import __version__
from offload.auth import NONCE_BYTES, Role, Token, prove, proves
from offload.errors import (
    AuthError,
    HandshakeError,
    LocalProtocolError,
    OffloadError,
    Refused,
    RemoteProtocolError,
    TurnedAway,
)
from offload.messages import (
    HEARTBEAT,
    MAX_RANGES,
    PROTOCOL_VERSION,
    Acknowledgement,
    Challenge,
    Control,
    End,
    EndConfirmed,
    Ended,
    Frame,
    Hello,
    Message,
    Open,
    Outcome,
    OutcomeRange,
    Proof,
    Refusal,
    RefusalCode,
    Welcome,
)
from offload.wire import (
    ENVELOPE_ONLY_BYTES,
    HANDSHAKE_BYTES,
    MAX_MESSAGE_BYTES,
    MOST_MESSAGE_BYTES,
    Admit,
    Decoder,
    Piece,
    TakeMemory,
    always,
    encode,
    fresh_memory,
)

# A device that offers no token says so with an empty name.
NO_TOKEN: Final = ""

# Each end sends something at least every 2 s, looking once a second, and who has heard nothing for
# 5 s is alone: so a peer that is gone is noticed within 6 s, and a link may stall for 3.
TICK_S: Final = 1.0
SILENCE_S: Final = 5.0

# Whoever can go on without an answer need not wait that long to do so: two heartbeats are missing.
STALL_S: Final = 3.0

Event = Message
SecretFor = Callable[[str], bytes | None]


class State(Enum):
    """Where a session stands; DECIDING is the cloud's alone, between open and welcome."""

    HELLO = auto()
    PROOF = auto()
    OPENING = auto()
    DECIDING = auto()
    OPEN = auto()
    ENDING = auto()
    CLOSED = auto()


class _Session:
    """What both ends share: a decoder, a queue of pieces to send, a state."""

    def __init__(self, decoder: Decoder) -> None:
        self.state = State.HELLO
        self._decoder = decoder
        self._max_sent_bytes = ENVELOPE_ONLY_BYTES
        self._outgoing: list[Piece] = []

    def buffer(self) -> memoryview:
        """Return the place for the next received bytes."""
        return self._decoder.buffer()

    def take_outgoing(self) -> list[Piece]:
        """Return the pieces that are to be sent now, and forget them."""
        pieces, self._outgoing = self._outgoing, []
        return pieces

    @property
    def is_ending(self) -> bool:
        """Whether the end of the stream has been said."""
        return self.state in (State.ENDING, State.CLOSED)

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self.state is State.CLOSED

    @property
    def is_talking(self) -> bool:
        """Whether control messages may be sent: from the welcome to the end."""
        return self.state in (State.OPEN, State.ENDING)

    def send_control(self, control: Control) -> None:
        """Queue a control message."""
        self._require(State.OPEN, State.ENDING)
        self._send(control)

    def send_heartbeat(self) -> None:
        """Queue a sign of life."""
        self.send_control(Control(name=HEARTBEAT))

    def _send(self, message: Message) -> int:
        pieces = encode(message, max_message_bytes=self._max_sent_bytes)
        self._outgoing += pieces
        return sum(map(len, pieces))

    def _require(self, *states: State) -> None:
        if self.state not in states:
            raise LocalProtocolError(f"session is {self.state.name}, expected {states[0].name}")

    def _unexpected(self, message: Message) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"peer sent {type(message).__name__} while the session is {self.state.name}"
        )


class DeviceSession(_Session):
    """The device's end of one session.

    Args:
        opening: The stream, its pipeline and the position up to which it is acknowledged.
        token: The device's token, or None; with one, only a server that proves it is talked to.
        nonce: `NONCE_BYTES` fresh random bytes.
    """

    def __init__(self, *, opening: Open, token: Token | None, nonce: bytes) -> None:
        """Queue the hello."""
        super().__init__(Decoder(max_message_bytes=ENVELOPE_ONLY_BYTES))
        self._opening = opening
        self._token = token
        self._nonce = nonce
        self._acknowledged = opening.position
        self._sent = opening.position
        self._send(
            Hello(
                protocol=PROTOCOL_VERSION,
                version=__version__,
                token_name=token.name if token else NO_TOKEN,
                nonce=nonce,
            )
        )

    def received(self, count: int) -> Iterator[Event]:
        """Yield what ``count`` more received bytes mean: welcome, acknowledgements, control, end.

        Take all of them: what came before a refusal in the same bytes counts.

        Raises:
            AuthError: The server refused the token, or could not prove that it knows it.
            HandshakeError: The server refused the protocol, the app or the pipeline.
            Refused: The server ended the session for good, for another reason.
            TurnedAway: The server ended the session and may be back.
            RemoteProtocolError: The server broke the protocol.
        """
        for message in self._decoder.received(count):
            event = self._receive(message)
            if event is not None:
                yield event

    def send_frame(self, frame: Frame) -> int:
        """Queue a frame, and return the size of its message in bytes.

        Frames and ended ranges must follow each other without a gap.

        Raises:
            PayloadError: The frame is too large for one message; nothing was queued.
        """
        self._require(State.OPEN)
        self._check_next(frame.seq)
        message_bytes = self._send(frame)
        self._sent = frame.seq + 1
        return message_bytes

    def send_ended(self, ended: Ended) -> None:
        """Queue the outcomes of frames that ended on the device."""
        self._require(State.OPEN)
        # Runs of ended frames are acknowledged range by range, so that after a reconnect the first
        # ones of a run may be known already; the cloud ignores them.
        self._check_next(min(max(ended.ranges[0].first, self._sent), ended.ranges[-1].stop))
        self._send(ended)
        self._sent = ended.ranges[-1].stop

    def send_end(self) -> None:
        """Queue the end of the stream; the server confirms it once all is stored."""
        self._require(State.OPEN)
        self._send(End(next_seq=self._sent))
        self.state = State.ENDING

    def _check_next(self, seq: int) -> None:
        if seq != self._sent:
            raise LocalProtocolError(f"frame to send is {seq}, expected {self._sent}")

    def _receive(self, message: Message) -> Event | None:
        match message:
            case Refusal():
                self.state = State.CLOSED
                raise _REFUSALS.get(message.code, Refused)(f"server refused: {message.reason}")
            case Challenge() if self.state is State.HELLO:
                self._answer(message)
                return None
            case Welcome() if self.state is State.OPENING:
                self._check_welcome(message)
                return message
            case Acknowledgement() if self.state in (State.OPEN, State.ENDING):
                self._check_acknowledgement(message)
                return message
            case Control() if self.state in (State.OPEN, State.ENDING):
                return message
            case EndConfirmed() if self.state is State.ENDING:
                self._check_end(message)
                return message
            case _:
                raise self._unexpected(message)

    def _answer(self, challenge: Challenge) -> None:
        proof = b""
        if self._token is not None:
            secret = self._token.secret
            if not proves(secret, Role.SERVER, self._nonce, challenge.nonce, challenge.proof):
                raise AuthError(
                    f"server could not prove that it knows token {self._token.name!r}: "
                    + (
                        "the device and the server hold different secrets"
                        if challenge.proof
                        else "it has no token of that name and takes any device"
                    )
                )
            proof = prove(secret, Role.DEVICE, self._nonce, challenge.nonce)
        self._send(Proof(proof=proof))
        self._send(self._opening)
        self.state = State.OPENING

    def _check_welcome(self, welcome: Welcome) -> None:
        if welcome.next_seq < self._opening.position:
            raise RemoteProtocolError(
                f"server stands at {welcome.next_seq}, but has acknowledged all before "
                f"{self._opening.position}"
            )
        if not ENVELOPE_ONLY_BYTES <= welcome.max_message_bytes <= MOST_MESSAGE_BYTES:
            raise RemoteProtocolError(
                f"server takes messages of up to {welcome.max_message_bytes} bytes, expected "
                f"{ENVELOPE_ONLY_BYTES} to {MOST_MESSAGE_BYTES}"
            )
        _check_exceptions(welcome.exceptions, self._opening.position, welcome.next_seq)
        self._acknowledged = self._sent = welcome.next_seq
        self._max_sent_bytes = welcome.max_message_bytes
        self.state = State.OPEN

    def _check_acknowledgement(self, acknowledgement: Acknowledgement) -> None:
        if not self._acknowledged <= acknowledgement.next_seq <= self._sent:
            raise RemoteProtocolError(
                f"server acknowledges all before {acknowledgement.next_seq}, expected "
                f"{self._acknowledged} to {self._sent}"
            )
        _check_exceptions(acknowledgement.exceptions, self._acknowledged, acknowledgement.next_seq)
        self._acknowledged = acknowledgement.next_seq

    def _check_end(self, confirmed: EndConfirmed) -> None:
        if not confirmed.next_seq == self._sent == self._acknowledged:
            raise RemoteProtocolError(
                f"server confirms the end at {confirmed.next_seq}, expected {self._sent} with all "
                "acknowledged"
            )
        self.state = State.CLOSED


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequested:
    """A device that may talk to this server wants to open a stream.

    ``owner`` is the name of the token that it proved; empty if it has none.
    """

    opening: Open
    owner: str


CloudEvent = OpenRequested | Frame | Ended | Control | End


class CloudSession(_Session):
    """The cloud's end of one session.

    Args:
        secret_for: Returns the secret of a token's name, or None if there is no such token.
        insecure: Accept devices that know no token.
        nonce: `NONCE_BYTES` fresh random bytes.
        max_message_bytes: Largest message of a device that has proved who it is.
        take_memory: Where the memory for frames' payloads comes from.
        admit: Whether there is memory for a message now; see `Decoder`.
    """

    def __init__(
        self,
        *,
        secret_for: SecretFor,
        insecure: bool,
        nonce: bytes,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        take_memory: TakeMemory = fresh_memory,
        admit: Admit = always,
    ) -> None:
        """Wait for the hello."""
        super().__init__(
            Decoder(max_message_bytes=HANDSHAKE_BYTES, take_memory=take_memory, admit=admit)
        )
        self._max_message_bytes = max_message_bytes
        self._secret_for = secret_for
        self._insecure = insecure
        self._nonce = nonce
        self._peer_nonce = b""
        self._token_name = NO_TOKEN
        self._secret: bytes | None = None
        self._expected = 0
        self._acknowledged = 0
        self.duplicates_ignored = 0

    def received(self, count: int) -> list[CloudEvent]:
        """Return what ``count`` more received bytes mean; frames come in order and without a gap.

        What was received before, after a reconnect, is ignored and counted in
        ``duplicates_ignored``.

        Raises:
            AuthError: The device knows no token of this server's.
            HandshakeError: The device speaks another protocol version.
            RemoteProtocolError: The device broke the protocol.
        """
        return [
            event
            for message in self._decoder.received(count)
            if (event := self._receive(message)) is not None
        ]

    @property
    def is_starved(self) -> bool:
        """Whether there is no memory for the message that has begun; see `Decoder`."""
        return self._decoder.is_starved

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._decoder.mid_message

    @property
    def messages(self) -> int:
        """How many messages have come."""
        return self._decoder.messages

    @property
    def payload_bytes(self) -> int:
        """The size of the payload that is being received; 0 if none is."""
        return self._decoder.payload_bytes

    def release(self) -> None:
        """Give back the memory for received bytes: the connection has ended."""
        self._decoder.release()

    @property
    def has_proved(self) -> bool:
        """Whether the device has proved who it is, where that is asked."""
        return self.state not in (State.HELLO, State.PROOF)

    def accept(
        self, *, next_seq: int, durable: bool, exceptions: Sequence[OutcomeRange] = ()
    ) -> None:
        """Open the session: the device goes on at ``next_seq``; see `Welcome`."""
        self._require(State.DECIDING)
        welcome = Welcome(
            next_seq=next_seq,
            durable=durable,
            max_message_bytes=self._max_message_bytes,
            exceptions=_fitting(exceptions),
        )
        self._send(welcome)
        self._expected = self._acknowledged = next_seq
        self.state = State.OPEN

    def refuse(self, code: RefusalCode, reason: str) -> None:
        """Queue a refusal, whatever the state, and end the session."""
        if self.state is not State.CLOSED:
            self._send(Refusal(code=code, reason=reason))
            self.state = State.CLOSED

    def acknowledge(self, acknowledgement: Acknowledgement) -> None:
        """Queue an acknowledgement."""
        self._require(State.OPEN, State.ENDING)
        if not self._acknowledged <= acknowledgement.next_seq <= self._expected:
            raise LocalProtocolError(
                f"acknowledging all before {acknowledgement.next_seq}, expected "
                f"{self._acknowledged} to {self._expected}"
            )
        self._send(acknowledgement)
        self._acknowledged = acknowledgement.next_seq

    def confirm_end(self) -> None:
        """Queue the confirmation that all frames of the stream are stored."""
        self._require(State.ENDING)
        if self._acknowledged != self._expected:
            raise LocalProtocolError("confirming an end with frames unacknowledged")
        self._send(EndConfirmed(next_seq=self._expected))
        self.state = State.CLOSED

    def _receive(self, message: Message) -> CloudEvent | None:
        match message:
            case Hello() if self.state is State.HELLO:
                self._challenge(message)
                return None
            case Proof() if self.state is State.PROOF:
                self._check_proof(message)
                return None
            case Open() if self.state is State.OPENING:
                self.state = State.DECIDING
                return OpenRequested(opening=message, owner=self._token_name)
            case Frame() if self.state is State.OPEN:
                return self._in_order(message)
            case Ended() if self.state is State.OPEN:
                return self._new_part(message)
            case Control() if self.state in (State.OPEN, State.ENDING):
                return message
            case End() if self.state is State.OPEN:
                self._check_end(message)
                return message
            case _ if self.state is State.CLOSED:
                # What was under way when the session was refused.
                return None
            case _:
                raise self._unexpected(message)

    def _challenge(self, hello: Hello) -> None:
        if hello.protocol != PROTOCOL_VERSION:
            older = "device" if hello.protocol < PROTOCOL_VERSION else "server"
            raise HandshakeError(
                f"device speaks protocol {hello.protocol} (version {hello.version!r:.22}), "
                f"the server {PROTOCOL_VERSION} (version {__version__}): upgrade the {older}"
            )
        if len(hello.nonce) != NONCE_BYTES:
            raise RemoteProtocolError(f"nonce is {len(hello.nonce)} bytes, expected {NONCE_BYTES}")
        self._secret = self._secret_for(hello.token_name)
        if self._secret is None and not self._insecure:
            raise AuthError(
                "server asks for a token and the device has none: give it --token-file"
                if hello.token_name == NO_TOKEN
                else f"server knows no token with the name {hello.token_name!r:.80}"
            )
        self._peer_nonce = hello.nonce
        proof = b""
        if self._secret is not None:
            self._token_name = hello.token_name
            proof = prove(self._secret, Role.SERVER, hello.nonce, self._nonce)
        self._send(Challenge(version=__version__, nonce=self._nonce, proof=proof))
        self.state = State.PROOF

    def _check_proof(self, message: Proof) -> None:
        if self._secret is not None and not proves(
            self._secret, Role.DEVICE, self._peer_nonce, self._nonce, message.proof
        ):
            raise AuthError(
                f"device could not prove that it knows token {self._token_name!r}: "
                "the device and the server hold different secrets"
            )
        self._decoder.raise_limit(self._max_message_bytes)
        self.state = State.OPENING

    def _in_order(self, frame: Frame) -> Frame | None:
        if frame.seq < self._expected:
            self.duplicates_ignored += 1
            return None
        self._check_gap(frame.seq)
        self._expected = frame.seq + 1
        return frame

    def _new_part(self, ended: Ended) -> Ended | None:
        """Return the ranges from the expected position on; what lies before is known already."""
        ranges = []
        for each in ended.ranges:
            known = min(each.count, max(0, self._expected - each.first))
            self.duplicates_ignored += known
            if known < each.count:
                self._check_gap(each.first + known)
                self._expected = each.stop
                ranges.append(
                    OutcomeRange(
                        first=each.first + known,
                        count=each.count - known,
                        outcome=each.outcome,
                        task=each.task,
                        reason=each.reason,
                    )
                )
        return Ended(ranges=tuple(ranges)) if ranges else None

    def _check_gap(self, seq: int) -> None:
        if seq != self._expected:
            raise RemoteProtocolError(f"device sent frame {seq}, expected {self._expected}")

    def _check_end(self, end: End) -> None:
        if end.next_seq != self._expected:
            raise RemoteProtocolError(
                f"device ends the stream at {end.next_seq}, received all before {self._expected}"
            )
        self.state = State.ENDING


def _check_exceptions(exceptions: Sequence[OutcomeRange], first: int, stop: int) -> None:
    for each in exceptions:
        if each.first < first or each.stop > stop:
            raise RemoteProtocolError(
                f"server names exceptions from {each.first} to before {each.stop}, expected them "
                f"within {first} and {stop}"
            )
        if each.outcome is Outcome.RESULT:
            raise RemoteProtocolError("server names a result as an exception")


def _fitting(exceptions: Sequence[OutcomeRange]) -> tuple[OutcomeRange, ...]:
    """Return the outcomes of a welcome, with as many of their reasons as surely fit."""
    # A thousand failed frames with a reason each are more than an envelope holds. A device whose
    # welcome cannot be sent could never come back; one that does not learn a reason can.
    return tuple(
        replace(each, task="", reason="") if index >= MAX_RANGES else each
        for index, each in enumerate(exceptions)
    )


# A server that drains, is busy or has a problem of its own may be back, or another one answers; so
# may a link that was too slow be better. A code that this version does not know is final.
_REFUSALS: Final[dict[str, type[OffloadError]]] = {
    RefusalCode.PROTOCOL: HandshakeError,
    RefusalCode.PIPELINE: HandshakeError,
    RefusalCode.TOKEN: AuthError,
    RefusalCode.OWNER: AuthError,
    RefusalCode.DRAINING: TurnedAway,
    RefusalCode.BUSY: TurnedAway,
    RefusalCode.TIMEOUT: TurnedAway,
    RefusalCode.INTERNAL: TurnedAway,
}

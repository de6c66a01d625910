"""The cloud's end of a session: it lets a device in, takes its frames, and says what is stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from offload import __version__
from offload.auth import NONCE_BYTES, Role, TokenRole, prove, proves
from offload.errors import (
    AuthError,
    HandshakeError,
    LocalProtocolError,
    RemoteProtocolError,
)
from offload.messages import (
    HEARTBEAT,
    MAX_RANGES,
    OPERATOR_REQUESTS,
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
    OutcomeRange,
    Proof,
    Refusal,
    RefusalCode,
    Welcome,
)
from offload.session.core import NO_TOKEN, Session, State
from offload.wire import (
    ENVELOPE_ONLY_BYTES,
    HANDSHAKE_BYTES,
    MAX_MESSAGE_BYTES,
    Admit,
    Decoder,
    TakeMemory,
    always,
    fresh_memory,
)

SecretFor = Callable[[str], bytes | None]
RoleOf = Callable[[str], TokenRole | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequested:
    """A device that may talk to this server wants to open a stream.

    ``owner`` is the name of the token that it proved; empty if it has none.
    """

    opening: Open
    owner: str


def devices_only(token_name: str) -> TokenRole:  # noqa: ARG001  # see `RoleOf`
    """Take every token for a device's."""
    return TokenRole.DEVICE


CloudEvent = OpenRequested | Frame | Ended | Control | End


class CloudSession(Session):
    """The cloud's end of one session.

    Args:
        secret_for: Returns the secret of a token's name, or None if there is no such token.
        role_of: Returns what the token of a name is for: only a device's opens streams, and only an
            operator's steers.
        insecure: Accept devices that know no token. Operators always have to know one.
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
        role_of: RoleOf = devices_only,
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
        self._role_of = role_of
        self._insecure = insecure
        self._nonce = nonce
        self._peer_nonce = b""
        self._offered_name = NO_TOKEN
        self._token_name = NO_TOKEN
        self._secret: bytes | None = None
        self._role = TokenRole.DEVICE
        self._expected = 0
        self._acknowledged = 0
        self.duplicates_ignored = 0

    def received(self, count: int) -> list[CloudEvent]:
        """Return what ``count`` more received bytes mean; frames come in order and without a gap.

        What was received before, after a reconnect, is ignored and counted in
        ``duplicates_ignored``.

        Raises:
            AuthError: The peer knows no token of this server's, or only one of the other role.
            HandshakeError: The device speaks another protocol version.
            RemoteProtocolError: The device broke the protocol.
        """
        return [
            event
            for message in self._decoder.received(count)
            if (event := self._receive(message)) is not None
        ]

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

    @property
    def is_steering(self) -> bool:
        """Whether this is an operator's session."""
        return self.state is State.STEERING

    @property
    def may_show_life(self) -> bool:
        """Whether heartbeats may be sent: from the open, or an operator's request, to the end."""
        return self.is_talking or self.state is State.DECIDING

    def send_heartbeat(self) -> None:
        """Queue a sign of life; the device that waits for its welcome needs it, too."""
        self._require(State.DECIDING, State.OPEN, State.ENDING, State.STEERING)
        self._send(Control(name=HEARTBEAT))

    def accept(
        self,
        *,
        next_seq: int,
        durable: bool,
        exceptions: Sequence[OutcomeRange] = (),
        workers: int = 1,
    ) -> None:
        """Open the session: the device goes on at ``next_seq``; see `Welcome`."""
        self._require(State.DECIDING)
        welcome = Welcome(
            next_seq=next_seq,
            durable=durable,
            max_message_bytes=self._max_message_bytes,
            exceptions=_fitting(exceptions),
            workers=workers,
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
                self._check_opens_streams()
                self.state = State.DECIDING
                return OpenRequested(opening=message, owner=self._token_name)
            case Frame() if self.state is State.OPEN:
                return self._in_order(message)
            case Ended() if self.state is State.OPEN:
                return self._new_part(message)
            case Control(name=name) if self.state is State.OPENING and name in OPERATOR_REQUESTS:
                self._check_steers()
                self.state = State.STEERING
                return message
            case Control() if self.is_talking:
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
        self._offered_name = hello.token_name
        proof = b""
        if self._secret is not None:
            self._token_name = hello.token_name
            self._role = self._role_of(hello.token_name) or TokenRole.DEVICE
            proof = prove(self._secret, Role.SERVER, hello.nonce, self._nonce)
        self._send(Challenge(version=__version__, nonce=self._nonce, proof=proof))
        self.state = State.PROOF

    def _check_proof(self, message: Proof) -> None:
        if not message.proof and self._offered_name != NO_TOKEN:
            raise AuthError(
                "device does not believe that this server knows token "
                f"{self._offered_name!r:.80}: "
                + (
                    "this server has no token of that name"
                    if self._secret is None
                    else "the device and the server hold different secrets"
                )
            )
        if self._secret is not None and not proves(
            self._secret, Role.DEVICE, self._peer_nonce, self._nonce, message.proof
        ):
            raise AuthError(
                f"device could not prove that it knows token {self._token_name!r}: "
                "the device and the server hold different secrets"
            )
        # Only devices send payloads.
        is_device = self._role is TokenRole.DEVICE
        limit = self._max_message_bytes if is_device else ENVELOPE_ONLY_BYTES
        self._decoder.raise_limit(limit)
        self.state = State.OPENING

    def _check_opens_streams(self) -> None:
        if self._role is not TokenRole.DEVICE:
            kind = "an operator's" if self._role is TokenRole.OPERATOR else f"a {self._role}'s"
            raise AuthError(
                f"token {self._token_name!r} is {kind}, which opens no stream: give the "
                "device one of its own"
            )

    def _check_steers(self) -> None:
        if self._role is not TokenRole.OPERATOR:
            shown = f"token {self._token_name!r}" if self._token_name else "a peer without a token"
            raise AuthError(f"{shown} may not steer, only an operator's token may")

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


def _fitting(exceptions: Sequence[OutcomeRange]) -> tuple[OutcomeRange, ...]:
    """Return the outcomes of a welcome, with as many of their reasons as surely fit."""
    # A thousand failed frames with a reason each are more than an envelope holds. A device whose
    # welcome cannot be sent could never come back; one that does not learn a reason can.
    return tuple(
        replace(each, task="", reason="") if index >= MAX_RANGES else each
        for index, each in enumerate(exceptions)
    )

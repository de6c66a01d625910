"""The device's end of a session: it says who it is, sends frames, and learns what is stored."""

from collections.abc import Iterator, Sequence

from offload.auth import Token
from offload.errors import (
    LocalProtocolError,
    RemoteProtocolError,
)
from offload.messages import (
    HEARTBEAT,
    Acknowledgement,
    Challenge,
    Control,
    End,
    EndConfirmed,
    Ended,
    Frame,
    Message,
    Open,
    Outcome,
    OutcomeRange,
    Refusal,
    Welcome,
)
from offload.session.caller import CallerSession
from offload.session.core import State
from offload.wire import ENVELOPE_ONLY_BYTES, MOST_MESSAGE_BYTES

Event = Message


class DeviceSession(CallerSession):
    """The device's end of one session.

    Args:
        opening: The stream, its pipeline and the position up to which it is acknowledged.
        token: The device's token, or None; with one, only a server that proves it is talked to.
        nonce: `NONCE_BYTES` fresh random bytes.
    """

    WHO = "device"

    def __init__(self, *, opening: Open, token: Token | None, nonce: bytes) -> None:
        """Queue the hello."""
        super().__init__(token=token, nonce=nonce)
        self._opening = opening
        self._acknowledged = opening.position
        self._sent = opening.position

    @property
    def is_opening(self) -> bool:
        """Whether the server knows who asks, and the welcome may take long."""
        return self.state is State.OPENING

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
                raise self._refused(message)
            case Challenge() if self.state is State.HELLO:
                self._prove(message)
                self._send(self._opening)
                self.state = State.OPENING
                return None
            case Welcome() if self.state is State.OPENING:
                self._check_welcome(message)
                return message
            case Control(name=name) if self.is_opening and name == HEARTBEAT:
                return None
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


def _check_exceptions(exceptions: Sequence[OutcomeRange], first: int, stop: int) -> None:
    for each in exceptions:
        if each.first < first or each.stop > stop:
            raise RemoteProtocolError(
                f"server names exceptions from {each.first} to before {each.stop}, expected them "
                f"within {first} and {stop}"
            )
        if each.outcome is Outcome.RESULT:
            raise RemoteProtocolError("server names a result as an exception")

"""A device's and a cloud's session, joined without sockets: what one queues, the other receives."""

from collections.abc import Sequence
from typing import Final

from offload.auth import NONCE_BYTES, Token, TokenRole
from offload.messages import (
    Acknowledgement,
    Ended,
    Frame,
    Message,
    Open,
    Outcome,
    OutcomeRange,
    Steered,
)
from offload.session import (
    CloudEvent,
    CloudSession,
    DeviceSession,
    Event,
    OpenRequested,
    OperatorSession,
)
from offload.wire import MAX_MESSAGE_BYTES, Decoder, Piece, encode

TOKEN: Final = Token(name="default", secret=b"correct-horse-battery")
OPERATOR: Final = Token(
    name="boss", secret=b"whose-word-all-devices-follow", role=TokenRole.OPERATOR
)


def opening(*, position: int = 0, fingerprint: Sequence[object] = ()) -> Open:
    return Open(
        app="counting",
        fingerprint=list(fingerprint),
        stream="s1",
        device="pi",
        position=position,
    )


def frame(seq: int, *, payload: bytes = b"") -> Frame:
    return Frame(
        seq=seq,
        split=1,
        captured_at=1.5,
        tree={"data": [6, 0]} if payload else {},
        buffers=(memoryview(payload),) if payload else (),
    )


def dropped(first: int, count: int = 1, reason: str = "") -> OutcomeRange:
    return OutcomeRange(first=first, count=count, outcome=Outcome.DROPPED, reason=reason)


def ended(*ranges: OutcomeRange) -> Ended:
    return Ended(ranges=ranges)


def joined(pieces: Sequence[Piece]) -> bytes:
    return b"".join(bytes(each) for each in pieces)


def encoded(*messages: Message) -> bytes:
    return b"".join(joined(encode(each)) for each in messages)


def feed(
    receiver: Decoder | DeviceSession | CloudSession | OperatorSession, data: bytes
) -> list[Message | CloudEvent | Steered]:
    """Give ``data`` to a decoder or a session, as much at once as it takes."""
    events: list[Message | CloudEvent | Steered] = []
    while data:
        buffer = receiver.buffer()
        count = min(len(buffer), len(data))
        buffer[:count] = data[:count]
        events += receiver.received(count)
        data = data[count:]
    return events


class SessionPair:
    """Both ends of one session.

    Attributes:
        to_cloud: All that the device has sent.
        to_device: All that the cloud has sent.
    """

    def __init__(
        self,
        *,
        device_token: Token | None = TOKEN,
        cloud_tokens: Sequence[Token] = (TOKEN,),
        insecure: bool = False,
        asked: Open | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
    ) -> None:
        secrets = {each.name: each.secret for each in cloud_tokens}
        self.device = DeviceSession(
            opening=asked or opening(), token=device_token, nonce=bytes(NONCE_BYTES)
        )
        self.cloud = CloudSession(
            secret_for=secrets.get,
            insecure=insecure,
            nonce=b"\xff" * NONCE_BYTES,
            max_message_bytes=max_message_bytes,
        )
        self.to_cloud = b""
        self.to_device = b""

    def send_to_cloud(self) -> list[CloudEvent]:
        data = joined(self.device.take_outgoing())
        self.to_cloud += data
        return feed(self.cloud, data)  # type: ignore[return-value]  # a cloud session's events

    def send_to_device(self) -> list[Event]:
        data = joined(self.cloud.take_outgoing())
        self.to_device += data
        return feed(self.device, data)  # type: ignore[return-value]  # a device session's events

    def shake_hands(self) -> OpenRequested:
        """Exchange hello, challenge, proof and open."""
        assert self.send_to_cloud() == []
        assert self.send_to_device() == []
        (requested,) = self.send_to_cloud()
        assert isinstance(requested, OpenRequested)
        return requested

    def open(self, *, next_seq: int = 0) -> "SessionPair":
        """Shake hands, and let the cloud welcome the device."""
        self.shake_hands()
        self.cloud.accept(next_seq=next_seq, durable=True)
        assert len(self.send_to_device()) == 1
        return self

    def acknowledge(self, next_seq: int, *exceptions: OutcomeRange) -> list[Event]:
        self.cloud.acknowledge(Acknowledgement(next_seq=next_seq, exceptions=exceptions))
        return self.send_to_device()


class OperatorPair:
    """An operator's and a cloud's session, joined."""

    def __init__(
        self,
        *,
        token: Token = OPERATOR,
        cloud_tokens: Sequence[Token] = (TOKEN, OPERATOR),
        insecure: bool = False,
    ) -> None:
        known = {each.name: each for each in cloud_tokens}
        self.operator = OperatorSession(token=token, nonce=bytes(NONCE_BYTES))
        self.cloud = CloudSession(
            secret_for=lambda name: known[name].secret if name in known else None,
            role_of=lambda name: known[name].role,
            insecure=insecure,
            nonce=b"\xff" * NONCE_BYTES,
        )

    def send_to_cloud(self) -> list[CloudEvent]:
        data = joined(self.operator.take_outgoing())
        return feed(self.cloud, data)  # type: ignore[return-value]  # a cloud session's events

    def send_to_operator(self) -> list[Steered]:
        data = joined(self.cloud.take_outgoing())
        return feed(self.operator, data)  # type: ignore[return-value]  # an operator session's events

    def shake_hands(self) -> "OperatorPair":
        """Exchange hello, challenge and proof."""
        assert self.send_to_cloud() == []
        assert self.send_to_operator() == []
        return self

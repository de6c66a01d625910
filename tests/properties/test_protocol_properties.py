"""Any message survives any cut; any bytes give messages or the peer's error, and nothing else."""

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.auth import NONCE_BYTES, Role, prove
from offload.device.outbox import Delivered, Outbox
from offload.errors import (
    AuthError,
    HandshakeError,
    PayloadError,
    Refused,
    RemoteProtocolError,
    SessionLost,
)
from offload.messages import (
    MAX_SEQ,
    OPERATOR_REQUESTS,
    STEERED,
    STEERING,
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
    OperatorRequest,
    Outcome,
    OutcomeRange,
    Proof,
    Refusal,
    RefusalCode,
    Steered,
    SteeringMode,
    SteeringRequest,
    SteeringState,
    TaskTime,
    Welcome,
    is_stream_name,
    text,
)
from offload.session import CloudSession, DeviceSession, OperatorSession
from offload.values import unpack
from offload.wire import MAX_MESSAGE_BYTES, Decoder
from tests.golden.messages import MESSAGES, golden_bytes
from tests.session_pair import (
    TOKEN,
    OperatorPair,
    SessionPair,
    dropped,
    encoded,
    ended,
    feed,
    frame,
    opening,
)

PEER_ERRORS = (AuthError, HandshakeError, RemoteProtocolError, Refused, SessionLost)

seqs = st.integers(0, MAX_SEQ) | st.integers(0, 300)
counts = st.integers(1, 2**40)
numbers = st.floats(allow_nan=False, allow_infinity=False)
seconds = st.floats(0, 1e9)
texts = st.text(max_size=20)
reasons = st.text(max_size=350).map(text)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | numbers | texts | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
ranges = st.builds(
    OutcomeRange,
    first=st.integers(0, MAX_SEQ - 2**40),
    count=counts,
    outcome=st.sampled_from(Outcome),
    task=reasons,
    reason=reasons,
)
some_ranges = st.lists(ranges, max_size=4).map(tuple)


def in_a_row(parts: list[OutcomeRange]) -> tuple[OutcomeRange, ...]:
    found: list[OutcomeRange] = []
    for each in parts:
        first = found[-1].stop if found else each.first % 2**60
        found.append(replace(each, first=first))
    return tuple(found)


ended_ranges = st.lists(
    ranges.filter(lambda each: each.outcome is not Outcome.RESULT), min_size=1, max_size=4
).map(in_a_row)
messages: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Hello,
        protocol=st.integers(-(2**63), 2**64 - 1),
        version=texts,
        token_name=texts,
        nonce=st.binary(),
    ),
    st.builds(Challenge, version=texts, nonce=st.binary(), proof=st.binary()),
    st.builds(Proof, proof=st.binary()),
    st.builds(
        Open,
        app=texts,
        fingerprint=st.lists(st.dictionaries(texts, texts | st.lists(texts), max_size=3)),
        stream=st.text(min_size=1, max_size=128).filter(is_stream_name),
        device=reasons,
        position=seqs,
    ),
    st.builds(
        Welcome,
        next_seq=seqs,
        durable=st.booleans(),
        max_message_bytes=seqs,
        exceptions=some_ranges,
    ),
    st.builds(
        Frame,
        seq=st.integers(0, MAX_SEQ - 1),
        split=st.integers(-(2**63), 2**64 - 1),
        captured_at=numbers,
        tree=plain,
        buffers=st.lists(
            st.binary(max_size=300).map(lambda data: memoryview(data)), max_size=4
        ).map(tuple),
    ),
    st.builds(Ended, ranges=ended_ranges),
    st.builds(
        Acknowledgement,
        next_seq=seqs,
        exceptions=some_ranges,
        residences_s=st.lists(seconds, max_size=5).map(tuple),
        task_times=st.lists(
            st.builds(TaskTime, task=seqs, runs=seqs, seconds=seconds), max_size=3
        ).map(tuple),
        load=st.floats(0, 1),
    ),
    st.builds(Control, name=texts, body=st.dictionaries(texts, texts | st.integers(0, 9))),
    st.builds(End, next_seq=seqs),
    st.builds(EndConfirmed, next_seq=seqs),
    st.builds(Refusal, code=texts, reason=reasons),
)

# msgpack's own corners: extension types, timestamps, claims of 2**32 items, deep nesting.
corners = st.sampled_from(
    [
        b"\xd6\xff\x00\x00\x00\x00",
        b"\xc7\x00\x05",
        b"\xc1",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xdc\xff\xff" * 50,
        b"\x91" * 200 + b"\xc0",
        b"\x91" * 900 + b"\xc0",
        b"\x81\xa1a" * 300 + b"\xc0",
        b"\xa2\xff\xfe",
        b"\xc3",
        b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00",
        b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00",
        b"\xcf" + b"\xff" * 8,
        b"\xff",
        b"\x80",
        b"\x90",
        b"\x91\x95\x00\x01\x01\xa0\xa0",
        b"\x81\x01\x02",
        b"\x81\xc4\x01a\x02",
    ]
)
FIELDS = sorted({name for each in MESSAGES.values() for name in each.fields()} | {"sizes"})


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in cuts)})
    return [data[start:stop] for start, stop in pairwise(places)]


def message_bytes(kind: int, fields: dict[str, bytes], payload: bytes) -> bytes:
    """Return a message whose fields are given as msgpack, in whatever state that is."""
    envelope = bytes([0x80 | len(fields)]) + b"".join(
        msgpack.packb(name) + value for name, value in fields.items()
    )
    return struct.pack("!2sBxII", b"TO", kind, len(envelope), len(payload)) + envelope + payload


def packed(message: Message) -> dict[str, bytes]:
    fields = {name: msgpack.packb(value) for name, value in message.fields().items()}
    if isinstance(message, Frame):
        fields["sizes"] = msgpack.packb([each.nbytes for each in message.buffers])
    return fields


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A message of which some fields hold something else, or are gone."""
    message = draw(st.sampled_from(list(MESSAGES.values())))
    fields = packed(message)
    wrong = st.dictionaries(
        st.sampled_from(sorted(fields)) | st.sampled_from(FIELDS),
        corners | plain.map(msgpack.packb) | st.just(b""),
        min_size=1,
        max_size=2,
    )
    for name, value in draw(wrong).items():
        fields[name] = value
        if not value:
            del fields[name]
    kind = draw(st.just(message.TYPE.value) | st.integers(0, 255))
    payload = draw(st.just(b"") | st.binary(max_size=40))
    if isinstance(message, Frame) and draw(st.booleans()):
        payload = encoded(message)[
            -sum(each.nbytes + -each.nbytes % 8 for each in message.buffers) :
        ]
    return message_bytes(kind, fields, payload)


@st.composite
def mutated(draw: st.DrawFn, data: bytes) -> bytes:
    """``data`` with a few bytes changed, put in, taken out or repeated."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(found)))
        stop = place + draw(st.integers(0, 3))
        found[place:stop] = draw(st.binary(max_size=3) | st.just(bytes(found[place : place + 100])))
    return bytes(found)


@given(st.lists(messages, min_size=1, max_size=4), st.lists(st.integers(0, 10**6), max_size=8))
def test_any_messages_survive_any_cut(sent: list[Message], cuts: list[int]) -> None:
    decoder = Decoder(max_message_bytes=MAX_MESSAGE_BYTES)
    found = [each for piece in cut(encoded(*sent), cuts) for each in feed(decoder, piece)]
    assert found == sent
    assert not decoder.mid_message


garbage = (
    st.binary()
    | st.binary().map(lambda data: b"TO" + data)
    | st.builds(
        lambda kind, envelope, payload: (
            struct.pack("!2sBxII", b"TO", kind, len(envelope), len(payload)) + envelope + payload
        ),
        st.integers(0, 13),
        st.binary() | corners | plain.map(msgpack.packb),
        st.binary(max_size=20),
    )
    | damaged()
    | st.sampled_from(list(golden_bytes().values())).flatmap(mutated)
)


@given(st.lists(garbage, max_size=3).map(b"".join), st.lists(st.integers(0, 10**6), max_size=3))
def test_any_bytes_give_messages_or_the_peers_error(data: bytes, cuts: list[int]) -> None:
    decoder = Decoder(max_message_bytes=100_000)
    found: list[object] = []
    with suppress(RemoteProtocolError):
        for piece in cut(data, cuts):
            found += feed(decoder, piece)
    for each in found:
        if isinstance(each, Frame):
            with suppress(PayloadError):
                unpack(each.tree, each.buffers)


def device_that_waits() -> DeviceSession:
    return SessionPair().device


def device_that_opens() -> DeviceSession:
    pair = SessionPair()
    pair.send_to_cloud()
    pair.send_to_device()
    return pair.device


def open_device() -> DeviceSession:
    device = SessionPair().open().device
    for seq in range(5):
        device.send_frame(frame(seq))
    return device


def ending_device() -> DeviceSession:
    device = open_device()
    device.send_end()
    return device


def cloud_that_waits() -> CloudSession:
    return SessionPair().cloud


def cloud_that_asks() -> CloudSession:
    pair = SessionPair()
    pair.send_to_cloud()
    return pair.cloud


def cloud_that_knows() -> CloudSession:
    pair = SessionPair(asked=opening())
    pair.send_to_cloud()
    proof = prove(TOKEN.secret, Role.DEVICE, bytes(NONCE_BYTES), b"\xff" * NONCE_BYTES)
    feed(pair.cloud, encoded(Proof(proof=proof)))
    return pair.cloud


def deciding_cloud() -> CloudSession:
    pair = SessionPair()
    pair.shake_hands()
    pair.cloud.send_heartbeat()
    return pair.cloud


def open_cloud() -> CloudSession:
    return SessionPair().open(next_seq=1).cloud


def refusing_cloud() -> CloudSession:
    cloud = open_cloud()
    cloud.refuse(RefusalCode.INTERNAL, "x")
    return cloud


def operator_that_asks() -> OperatorSession:
    pair = OperatorPair().shake_hands()
    pair.operator.ask(OperatorRequest())
    return pair.operator


def steering_cloud() -> CloudSession:
    pair = OperatorPair().shake_hands()
    pair.operator.ask(OperatorRequest())
    pair.send_to_cloud()
    return pair.cloud


@pytest.mark.parametrize(
    "make",
    [
        operator_that_asks,
        steering_cloud,
        device_that_waits,
        device_that_opens,
        open_device,
        ending_device,
        cloud_that_waits,
        cloud_that_asks,
        cloud_that_knows,
        deciding_cloud,
        open_cloud,
        refusing_cloud,
    ],
)
@given(data=st.lists(garbage | messages.map(encoded), min_size=1, max_size=3).map(b"".join))
def test_any_bytes_give_a_session_events_or_an_error_of_the_peers(
    make: Callable[[], DeviceSession | CloudSession | OperatorSession], data: bytes
) -> None:
    session = make()
    with suppress(*PEER_ERRORS):
        feed(session, data)


control_bodies = st.fixed_dictionaries(
    {},
    optional={
        **{name: plain for name in ("fps", "split", "stream", "request", "error", "more")},
        "mode": st.sampled_from(SteeringMode) | plain,
        **{name: st.none() | st.integers() | numbers | plain for name in ("target", "pinned")},
        "streams": st.lists(plain, max_size=3) | plain,
    },
)


@pytest.mark.parametrize(
    "read", [SteeringRequest.read, OperatorRequest.read, SteeringState.read, Steered.read]
)
@given(name=st.sampled_from([*OPERATOR_REQUESTS, STEERING, STEERED]), body=control_bodies)
def test_any_word_about_steering_is_understood_or_an_error_of_the_peers(
    read: Callable[[Control], object], name: str, body: dict[str, object]
) -> None:
    with suppress(RemoteProtocolError):
        read(Control(name=name, body=body))


def recorded() -> tuple[tuple[bytes, bytes], tuple[bytes, bytes]]:
    """Return what a device and a cloud say, each up to the welcome and from there on."""
    pair = SessionPair().open()
    handshake = pair.to_cloud, pair.to_device
    send_stream(pair.device)
    pair.send_to_cloud()
    pair.acknowledge(2, OutcomeRange(first=0, count=1, outcome=Outcome.FILTERED, task="find"))
    pair.acknowledge(4)
    pair.cloud.confirm_end()
    pair.send_to_device()
    stream = pair.to_cloud[len(handshake[0]) :], pair.to_device[len(handshake[1]) :]
    return handshake, stream


def send_stream(device: DeviceSession) -> None:
    device.send_frame(frame(0, payload=b"x" * 20))
    device.send_ended(ended(dropped(1, 3)))
    device.send_control(Control(name="x", body={"fps": 2}))
    device.send_end()


HANDSHAKE, STREAM = recorded()


@given(mutated(HANDSHAKE[0]), mutated(HANDSHAKE[1]))
def test_a_damaged_handshake_is_a_handshake_or_an_error_of_the_peers(
    to_cloud: bytes, to_device: bytes
) -> None:
    pair = SessionPair()
    with suppress(*PEER_ERRORS):
        feed(pair.cloud, to_cloud)
    with suppress(*PEER_ERRORS):
        feed(pair.device, to_device)


@given(mutated(STREAM[0]), mutated(STREAM[1]))
def test_a_damaged_stream_is_a_stream_or_an_error_of_the_peers(
    to_cloud: bytes, to_device: bytes
) -> None:
    pair = SessionPair().open()
    send_stream(pair.device)
    with suppress(*PEER_ERRORS):
        feed(pair.cloud, to_cloud)
    with suppress(*PEER_ERRORS):
        feed(pair.device, to_device)


class Plant:
    """A device's outbox and a cloud's store, whose connection is lost again and again."""

    def __init__(self) -> None:
        self.outbox = Outbox(position=0, max_entries=5)
        self.stored: list[int] = []
        self.filtered: list[OutcomeRange] = []
        self.delivered: list[Delivered] = []
        self.reconnect()

    def reconnect(self) -> None:
        asked = opening(position=self.outbox.position)
        self.pair = SessionPair(asked=asked)
        self.pair.shake_hands()
        lost = [each for each in self.filtered if each.first >= asked.position]
        self.pair.cloud.accept(next_seq=len(self.stored), durable=True, exceptions=lost)
        (welcome,) = self.pair.send_to_device()
        assert isinstance(welcome, Welcome)
        self.finish(welcome)
        self.outbox.rewind()

    def put(self, kind: int) -> None:
        """Put in a frame, or a few that ended here."""
        seq = self.outbox.next_seq
        if kind == 0:
            self.outbox.put_frame(frame(seq), captured_s=float(seq))
            return
        times = [float(each) for each in range(seq, seq + kind)]
        self.outbox.put_ended(dropped(seq, kind, reason=str(kind % 2)), captured_s=times)

    def send(self) -> None:
        """Send one entry; the cloud stores what arrives, and filters every third frame."""
        if not self.outbox.has_unsent:
            return
        message = self.outbox.take(0.0).message()
        if isinstance(message, Frame):
            self.pair.device.send_frame(message)
        else:
            self.pair.device.send_ended(message)
        for event in self.pair.send_to_cloud():
            if isinstance(event, Frame):
                self.stored.append(event.seq)
                if event.seq % 3 == 0:
                    ended_there = OutcomeRange(first=event.seq, count=1, outcome=Outcome.FILTERED)
                    self.filtered.append(ended_there)
            elif isinstance(event, Ended):
                for each in event.ranges:
                    self.stored += range(each.first, each.stop)

    def acknowledge(self, back: int) -> None:
        """Acknowledge all that is stored but for the last ``back`` frames."""
        next_seq = max(len(self.stored) - back, self.outbox.position)
        news = [each for each in self.filtered if self.outbox.position <= each.first < next_seq]
        for event in self.pair.acknowledge(next_seq, *news):
            assert isinstance(event, Acknowledgement)
            self.finish(event)

    def finish(self, event: Welcome | Acknowledgement) -> None:
        self.delivered += self.outbox.acknowledge(event.next_seq, event.exceptions, (), 0.0)


@given(
    st.lists(
        st.tuples(st.just("put"), st.integers(0, 3))
        | st.tuples(st.just("send"), st.just(0))
        | st.tuples(st.just("acknowledge"), st.integers(0, 3))
        | st.tuples(st.just("reconnect"), st.just(0)),
        max_size=40,
    )
)
def test_every_frame_is_stored_once_and_finished_once_however_often_the_connection_is_lost(
    steps: list[tuple[str, int]],
) -> None:
    plant = Plant()
    for name, number in steps:
        if name == "put":
            plant.put(number)
        elif name == "send":
            plant.send()
        elif name == "acknowledge":
            plant.acknowledge(number)
        else:
            plant.reconnect()
    plant.reconnect()
    while plant.outbox.has_unsent:
        plant.send()
    plant.acknowledge(0)

    frames = plant.outbox.next_seq
    assert plant.stored == list(range(frames))
    assert len(plant.outbox) == plant.outbox.frames == 0
    outcomes = [each.outcome for each in plant.delivered]
    assert [each.first for each in outcomes] == [0, *(each.stop for each in outcomes)][:-1]
    assert sum(each.count for each in outcomes) == frames
    seen = [each for each in plant.delivered if each.outcome.outcome is not Outcome.DROPPED]
    assert [list(each.captured_s) for each in seen] == [
        list(range(each.outcome.first, each.outcome.stop)) for each in seen
    ]
    there = [each.first for each in outcomes if each.outcome is Outcome.FILTERED]
    assert there == [each.first for each in plant.filtered]

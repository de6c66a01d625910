"""Messages as bytes: golden ones, cut streams, limits, and envelopes that are not ours."""

import struct
import tracemalloc
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

from offload.auth import NONCE_BYTES
from offload.errors import PayloadError, RemoteProtocolError
from offload.messages import Control, End, Frame, Hello, MessageType, Refusal, RefusalCode
from offload.session import CloudSession, DeviceSession, OpenRequested
from offload.values import MAX_DECODED_BYTES, MAX_NODES
from offload.wire import (
    ALIGNMENT,
    HANDSHAKE_BYTES,
    MAX_ENVELOPE_BYTES,
    MAX_INLINE_TREE_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TREE_BYTES,
    SMALL_BYTES,
    UNPACKED_FACTOR,
    Decoder,
    decode,
    encode,
)
from task_interface import Task
from tests.golden.messages import (
    DEVICE_NONCE,
    MESSAGES,
    OPENING,
    SERVER_NONCE,
    TOKEN,
    golden_bytes,
)
from tests.session_pair import encoded, feed, frame, joined

GOLDEN = golden_bytes()


def decoder(max_message_bytes: int = MAX_MESSAGE_BYTES) -> Decoder:
    return Decoder(max_message_bytes=max_message_bytes)


def message_bytes(kind: int, envelope: bytes, payload: bytes = b"") -> bytes:
    return struct.pack("!2sBxII", b"TO", kind, len(envelope), len(payload)) + envelope + payload


def frame_bytes(fields: dict[str, object], payload: bytes = b"") -> bytes:
    whole = {"seq": 0, "split": 1, "at": 0.0, "values": {}, **fields}
    return message_bytes(MessageType.FRAME, msgpack.packb(whole), payload)


def test_the_golden_file_has_every_message_and_every_message_type() -> None:
    assert list(GOLDEN) == list(MESSAGES)
    assert {each.TYPE for each in MESSAGES.values()} == set(MessageType)


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_becomes_its_golden_bytes(name: str) -> None:
    assert encoded(MESSAGES[name]).hex(" ") == GOLDEN[name].hex(" ")


@pytest.mark.parametrize("name", MESSAGES)
def test_golden_bytes_become_their_message(name: str) -> None:
    assert feed(decoder(), GOLDEN[name]) == [MESSAGES[name]]


def test_the_golden_session_is_one_that_a_cloud_takes_part_in() -> None:
    cloud = CloudSession(
        secret_for={TOKEN.name: TOKEN.secret}.get, insecure=False, nonce=SERVER_NONCE
    )
    feed(cloud, GOLDEN["hello"])
    assert feed(cloud, GOLDEN["proof"] + GOLDEN["open"]) == [
        OpenRequested(opening=OPENING, owner=TOKEN.name)
    ]
    cloud.take_outgoing()
    cloud.accept(next_seq=0, durable=True)
    assert joined(cloud.take_outgoing()) == GOLDEN["welcome"]
    sent = ["frame", "ended", "control", "end"]
    events = feed(cloud, b"".join(GOLDEN[name] for name in sent))
    assert events == [MESSAGES[name] for name in sent]
    cloud.acknowledge(MESSAGES["acknowledgement"])  # type: ignore[arg-type]  # it is one
    cloud.confirm_end()
    assert joined(cloud.take_outgoing()) == GOLDEN["acknowledgement"] + GOLDEN["end_confirmed"]


def test_the_golden_session_is_one_that_a_device_takes_part_in() -> None:
    device = DeviceSession(opening=OPENING, token=TOKEN, nonce=DEVICE_NONCE)
    device.take_outgoing()
    assert feed(device, GOLDEN["challenge"]) == []
    assert joined(device.take_outgoing()) == GOLDEN["proof"] + GOLDEN["open"]
    assert feed(device, GOLDEN["welcome"]) == [MESSAGES["welcome"]]
    device.send_frame(MESSAGES["frame"])  # type: ignore[arg-type]  # it is a Frame
    device.send_ended(MESSAGES["ended"])  # type: ignore[arg-type]  # it is an Ended
    device.send_end()
    sent = joined(device.take_outgoing())
    assert sent == GOLDEN["frame"] + GOLDEN["ended"] + GOLDEN["end"]
    received = ["acknowledgement", "control", "end_confirmed"]
    events = feed(device, b"".join(GOLDEN[name] for name in received))
    assert events == [MESSAGES[name] for name in received]


@pytest.mark.parametrize("chunk_bytes", [1, 2, 3, 7, 11, 13, 64, 1000])
def test_a_decoder_yields_the_same_messages_however_the_stream_is_cut(chunk_bytes: int) -> None:
    stream = b"".join(GOLDEN.values())
    receiver, messages = decoder(), []
    for start in range(0, len(stream), chunk_bytes):
        messages += feed(receiver, stream[start : start + chunk_bytes])
    assert messages == list(MESSAGES.values())
    assert not receiver.mid_message


def test_a_payload_is_received_into_its_own_buffer() -> None:
    payload = bytes(range(250)) * 1000
    data = encoded(frame(0, payload=payload))
    receiver = decoder()
    feed(receiver, data[:-200_000])
    assert len(receiver.buffer()) == 200_000
    (message,) = feed(receiver, data[-200_000:])
    assert isinstance(message, Frame)
    assert message.buffers[0] == payload


def test_a_message_keeps_its_payload_when_the_next_one_comes() -> None:
    first, second = b"a" * 300, b"b" * 300
    messages = feed(decoder(), encoded(frame(0, payload=first), frame(1, payload=second)))
    assert [bytes(each.buffers[0]) for each in messages if isinstance(each, Frame)] == [
        first,
        second,
    ]


def test_envelopes_of_the_largest_size_follow_each_other_through_the_staging_buffer() -> None:
    text = Control(name="x", body={"text": "y" * (MAX_ENVELOPE_BYTES - 22)})
    data = encoded(text)
    assert len(data) == Decoder.STAGING_BYTES
    receiver, messages = decoder(), []
    stream = encoded(End(next_seq=1)) + 3 * data
    for start in range(0, len(stream), 50_000):
        messages += feed(receiver, stream[start : start + 50_000])
    assert messages == [End(next_seq=1), text, text, text]


@pytest.mark.parametrize("sent", [1, 2, 11, 12, 13, 40, 90, 100])
def test_a_decoder_says_whether_it_is_inside_a_message(sent: int) -> None:
    receiver = decoder()
    assert not receiver.mid_message
    assert feed(receiver, GOLDEN["frame"][:sent]) == []
    assert receiver.mid_message


def test_pieces_start_at_multiples_of_eight_bytes() -> None:
    pieces = tuple(memoryview(bytes(size)) for size in (1, 8, 0, 15))
    header, *rest = encode(Frame(seq=0, split=1, captured_at=0.0, tree={}, buffers=pieces))
    assert header[8:12] == (8 + 8 + 0 + 16).to_bytes(4, "big")
    assert [len(each) for each in rest] == [1, 7, 8, 0, 15, 1]


def test_encoding_copies_no_payload() -> None:
    payload = bytearray(1000)
    pieces = encode(Frame(seq=0, split=1, captured_at=0.0, tree={}, buffers=(memoryview(payload),)))
    payload[0] = 7
    assert pieces[1][0] == 7


def test_a_message_of_exactly_the_limit_is_accepted() -> None:
    data = GOLDEN["frame"]
    assert len(feed(decoder(len(data)), data)) == 1
    with pytest.raises(RemoteProtocolError, match=f"is {len(data)} bytes, expected at most"):
        feed(decoder(len(data) - 1), data)


def test_a_message_past_the_limit_is_refused_by_its_header_alone() -> None:
    header = struct.pack("!2sBxII", b"TO", MessageType.FRAME, 10, 2**32 - 1)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="message is 4294967317 bytes"):
            feed(decoder(), header)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_envelope_past_the_limit_is_refused_by_its_header_alone() -> None:
    header = struct.pack("!2sBxII", b"TO", MessageType.CONTROL, MAX_ENVELOPE_BYTES + 1, 0)
    with pytest.raises(
        RemoteProtocolError, match="envelope is 65537 bytes, expected at most 65536"
    ):
        feed(decoder(), header)


def test_before_the_limit_is_raised_a_decoder_has_no_place_for_more() -> None:
    assert len(decoder(HANDSHAKE_BYTES).buffer()) == HANDSHAKE_BYTES
    assert len(decoder().buffer()) > MAX_ENVELOPE_BYTES


def test_a_limit_raised_after_one_message_holds_for_the_next_of_the_same_bytes() -> None:
    small, large = Refusal(code="x", reason="small"), Control(name="large", body={"a": "b" * 2000})
    receiver = decoder(HANDSHAKE_BYTES)
    data = encoded(small, large)
    receiver.buffer()[:] = data[:HANDSHAKE_BYTES]
    messages = receiver.received(HANDSHAKE_BYTES)
    assert next(messages) == small
    receiver.raise_limit(MAX_MESSAGE_BYTES)
    assert list(messages) == []
    assert feed(receiver, data[HANDSHAKE_BYTES:]) == [large]


def test_a_message_too_large_to_send_is_a_payload_error() -> None:
    payload = memoryview(bytes(MAX_MESSAGE_BYTES))
    with pytest.raises(PayloadError, match="message is 67108"):
        encode(Frame(seq=0, split=1, captured_at=0.0, tree={}, buffers=(payload,)))
    with pytest.raises(PayloadError, match="envelope is 65537 bytes, expected at most 65536"):
        encode(Control(name="x", body={"text": "y" * (MAX_ENVELOPE_BYTES - 21)}))


@pytest.mark.parametrize("text", ["\ud800", "a\udcff"])
def test_a_text_that_is_no_unicode_is_a_payload_error_at_the_sender(text: str) -> None:
    with pytest.raises(PayloadError, match="message cannot be encoded"):
        encode(Hello(protocol=1, version=text, token_name="", nonce=bytes(NONCE_BYTES)))


def test_an_int_past_64_bits_is_a_payload_error_at_the_sender() -> None:
    with pytest.raises(PayloadError, match="message cannot be encoded"):
        encode(Control(name="x", body={"value": 2**64}))


@pytest.mark.parametrize("data", [b"G", b"GET / HTTP/1.1\r\n", b"TX", b"\0"])
def test_bytes_of_another_protocol_are_refused_at_the_first_wrong_one(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="message begins with"):
        feed(decoder(), data)


@pytest.mark.parametrize("data", [b"\x16\x03\x01", b"\x15\x03\x03"])
def test_a_peer_that_speaks_tls_is_told_apart(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="peer speaks TLS, and this end does not"):
        feed(decoder(), data)


ONES = memoryview(bytes([1] * 1000))


def test_a_message_that_is_not_admitted_waits_until_it_is() -> None:
    asked: list[int] = []
    room = [False]

    def admit(held_bytes: int) -> bool:
        asked.append(held_bytes)
        return room[0]

    receiver = Decoder(max_message_bytes=MAX_MESSAGE_BYTES, admit=admit)
    sent = Frame(seq=0, split=1, captured_at=0.0, tree=None, buffers=(ONES,), decoded_bytes=5000)
    data = encoded(Control(name="x"), sent, Control(name="y"))
    receiver.buffer()[: len(data)] = data
    assert list(receiver.received(len(data))) == [Control(name="x")]
    assert receiver.is_starved
    assert list(receiver.received(0)) == []
    room[0] = True
    assert list(receiver.received(0)) == [sent, Control(name="y")]
    assert not receiver.is_starved
    assert asked == [6000, 6000, 6000]


@pytest.mark.parametrize("numbers", [100, 3000, 50_000])
def test_a_tree_that_is_large_counts_with_what_it_may_become(numbers: int) -> None:
    asked: list[int] = []

    def admit(held_bytes: int) -> bool:
        asked.append(held_bytes)
        return True

    receiver = Decoder(max_message_bytes=MAX_MESSAGE_BYTES, admit=admit)
    (message,) = feed(receiver, encoded(with_tree([0, *([0.5] * numbers)])))
    assert isinstance(message, Frame)
    tree_bytes = 9 * numbers
    assert asked == ([] if tree_bytes < MAX_INLINE_TREE_BYTES else [message.held_bytes])
    most_values = 100_000
    expected_bytes = UNPACKED_FACTOR * min(tree_bytes, 2 * most_values)
    assert message.held_bytes >= (expected_bytes if asked else 0)


def test_a_frame_declares_what_it_takes_when_decoded_within_the_limit() -> None:
    most = Frame(seq=0, split=1, captured_at=0.0, tree=None, decoded_bytes=MAX_DECODED_BYTES)
    assert feed(decoder(), encoded(most)) == [most]
    for wrong in (MAX_DECODED_BYTES + 1, 2**60):
        with pytest.raises(RemoteProtocolError, match="'decoded' is no number up to"):
            feed(decoder(), encoded(replace(most, decoded_bytes=wrong)))


@pytest.mark.parametrize("kind", [0, 13, 255])
def test_an_unknown_message_type_is_refused(kind: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"message type is {kind}, expected 1 to 12"):
        feed(decoder(), message_bytes(kind, b"\x80"))


def test_the_reserved_byte_is_ignored() -> None:
    data = bytearray(GOLDEN["end"])
    data[3] = 255
    assert feed(decoder(), bytes(data)) == [MESSAGES["end"]]


@pytest.mark.parametrize(
    ("envelope", "why"),
    [
        (b"", "incomplete|No more data"),
        (b"\xc1", "FormatError"),
        (b"\x81\xa4next", "incomplete"),
        (b"\x81\xa4next\x01\x00", "extra data"),
        (b"\x90", "no map with text keys"),
        (b"\xc0", "no map with text keys"),
        (b"\x81\x01\x02", "int is not allowed for map key"),
        (b"\x81\x90\x02", "list is not allowed for map key"),
        (b"\x81\xc4\x04next\x01", "no map with text keys"),
        (b"\x81\xa1\xff\x01", "utf-8"),
        (b"\x81\xa1a" + b"\x91" * 2000 + b"\xc0", "StackError"),
        (b"\x81\xa1a\xd6\xff\x00\x00\x00\x00", "max_ext_len"),
        (b"\x81\xa1a\xd4\x05\x00", "max_ext_len"),
        (b"\x81\xa1a\xc7\x00\x05", "extension type 5"),
        (b"\x81\xa1a\xc7\x00\xff", "timestamp"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "max_array_len"),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\x81\xa1a\xc6\xff\xff\xff\xff", "incomplete|max_bin_len"),
        (b"\xdf\xff\xff\xff\xff", "max_map_len"),
        (b"\x81\xa1a\xdf\xff\xff\xff\xff" + bytes(SMALL_BYTES), "No more data"),
    ],
)
def test_an_envelope_that_is_no_map_of_plain_values_is_refused(envelope: bytes, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        feed(decoder(), message_bytes(MessageType.END, envelope))


@pytest.mark.parametrize(
    ("claim", "envelope_bytes"),
    [(SMALL_BYTES - 20, SMALL_BYTES), (0xFFFF, MAX_ENVELOPE_BYTES)],
    ids=["small", "large"],
)
def test_lists_that_claim_items_which_are_not_there_take_little_memory(
    claim: int, envelope_bytes: int
) -> None:
    item = b"\xdc" + claim.to_bytes(2, "big")
    lists = b"\x81\xa1a" + item * min(1000, envelope_bytes // len(item) - 5)
    data = message_bytes(MessageType.END, lists + bytes(envelope_bytes - len(lists)))
    receiver = decoder()
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match=r"No more data|incomplete"):
            feed(receiver, data)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_fields_that_a_message_does_not_have_are_ignored() -> None:
    data = message_bytes(MessageType.END, msgpack.packb({"next": 3, "later": {"a": [1]}, "": None}))
    assert feed(decoder(), data) == [End(next_seq=3)]


@pytest.mark.parametrize(
    ("sizes", "payload", "why"),
    [
        ([8], b"", "payload is 0 bytes, its pieces 8"),
        ([], bytes(8), "payload is 8 bytes, its pieces 0"),
        ([1], bytes(1), "payload is 1 bytes, its pieces 8"),
        ([1, 1], bytes(8), "payload is 8 bytes, its pieces 16"),
        ([2**64 - 1], bytes(8), "payload is 8 bytes"),
        ([-8, 16], bytes(8), "no list of byte counts"),
        ([True], bytes(8), "no list of byte counts"),
        ([8.0], bytes(8), "no list of byte counts"),
        (["8"], bytes(8), "no list of byte counts"),
        ({"0": 8}, bytes(8), "no list of byte counts"),
        (None, bytes(8), "no list of byte counts"),
        ([0] * 513, b"", "has 513 pieces, expected at most 512"),
    ],
)
def test_sizes_that_do_not_fit_the_payload_are_refused(
    sizes: object, payload: bytes, why: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        feed(decoder(), frame_bytes({"sizes": sizes}, payload))


def test_what_stands_in_the_padding_is_ignored() -> None:
    (message,) = feed(decoder(), frame_bytes({"sizes": [3]}, b"abcXXXXX"))
    assert isinstance(message, Frame)
    assert [bytes(each) for each in message.buffers] == [b"abc"]


def test_only_a_frame_may_have_a_payload() -> None:
    envelope = msgpack.packb({"next": 3, "sizes": [8]})
    with pytest.raises(RemoteProtocolError, match="message of type 10 has a payload"):
        feed(decoder(), message_bytes(MessageType.END, envelope, bytes(8)))


def test_the_example_of_the_document_is_the_golden_session() -> None:
    root = Path(__file__).parents[1]
    document = (root / "PROTOCOL.md").read_text("utf-8")
    sections = (root / "tests/golden/messages.hex").read_text("utf-8").split("\n\n")
    session = sections[1:12]
    assert session[0].startswith("[hello]")
    assert session[-1].startswith("[end_confirmed]")
    assert "\n\n".join(session) in document


def test_the_document_names_every_message_type_and_refusal_code() -> None:
    document = (Path(__file__).parents[1] / "PROTOCOL.md").read_text("utf-8")
    for kind in MessageType:
        assert f"| {kind:d} | {kind.name.lower()} |" in document
    for code in RefusalCode:
        assert f"| `{code}` |" in document


def test_the_document_names_every_field_of_a_message_and_of_a_task() -> None:
    document = (Path(__file__).parents[1] / "PROTOCOL.md").read_text("utf-8")
    task = Task(name="measure", function=len, parameters=(), takes=(), gives=())
    fields = set(task.description()).union(*(each.fields() for each in MESSAGES.values()))
    assert [name for name in sorted(fields) if f"`{name}`" not in document] == []


def with_tree(tree: object, *, payload: bytes = b"") -> Frame:
    buffers = (memoryview(payload),) if payload else ()
    return Frame(seq=0, split=1, captured_at=0.0, tree=tree, buffers=buffers)


@pytest.mark.parametrize("payload", [b"", b"ball"])
def test_a_tree_too_large_for_an_envelope_travels_in_the_payload(payload: bytes) -> None:
    tree = {"numbers": [0, *(float(each) for each in range(50_000))]}
    data = encoded(with_tree(tree, payload=payload))
    assert struct.unpack_from("!2sBxII", data)[2] < 100
    (message,) = feed(decoder(), data)
    assert message == with_tree(tree, payload=payload)


def test_a_tree_past_its_limit_is_a_payload_error_at_the_sender() -> None:
    tree = {"text": "x" * MAX_TREE_BYTES}
    with pytest.raises(PayloadError, match="give long lists of numbers as an array"):
        encode(with_tree(tree))


@pytest.mark.parametrize(
    ("fields", "payload", "why"),
    [
        ({"tree": 8}, bytes(16), "payload is 16 bytes, its pieces 8"),
        ({"tree": "8"}, bytes(8), "'tree' is no number of bytes"),
        ({"tree": -8}, bytes(8), "'tree' is no number of bytes"),
        ({"tree": 8}, b"\xc1" * 8, "tree of values is no msgpack"),
        ({"tree": MAX_TREE_BYTES + 1}, bytes(8), "no number of bytes up to 1048576"),
    ],
)
def test_a_tree_in_the_payload_that_is_none_is_refused(
    fields: dict[str, object], payload: bytes, why: str
) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        feed(decoder(), frame_bytes(fields, payload))


def test_a_tree_may_hold_only_so_many_values_however_they_are_nested() -> None:
    items = [0] * (MAX_NODES - 1)
    most = msgpack.packb([items, items])
    (message,) = feed(decoder(), frame_bytes({"tree": len(most)}, padded(most)))
    assert isinstance(message, Frame)
    assert message.tree == [items, items]
    tree = msgpack.packb([items, [*items, 0]])
    with pytest.raises(RemoteProtocolError, match=f"it has over {2 * MAX_NODES} values"):
        feed(decoder(), frame_bytes({"tree": len(tree)}, padded(tree)))


def padded(tree: bytes) -> bytes:
    return tree + bytes(-len(tree) % ALIGNMENT)


def test_the_limit_may_be_raised_again() -> None:
    receiver = decoder(HANDSHAKE_BYTES)
    for limit in (1000, 2000, 90_000):
        receiver.raise_limit(limit)
        assert len(receiver.buffer()) == Decoder.STAGING_BYTES
    assert len(feed(receiver, encoded(frame(0, payload=bytes(80_000))))) == 1


def test_a_decoder_that_is_released_keeps_no_memory_and_nobody_who_gave_it() -> None:
    given: list[weakref.ref[np.ndarray[Any, Any]]] = []

    class Pool:
        def take(self, size: int) -> memoryview:
            memory = np.empty(size, np.uint8)
            given.append(weakref.ref(memory))
            return memory.data

        def admit(self, held_bytes: int) -> bool:
            return held_bytes > 0

    pool = Pool()
    owner = weakref.ref(pool)
    receiver = Decoder(max_message_bytes=MAX_MESSAGE_BYTES, take_memory=pool.take, admit=pool.admit)
    del pool
    feed(receiver, encoded(frame(0, payload=bytes(80_000)))[:50_000])
    assert receiver.payload_bytes == 80_000
    assert given[0]() is not None
    receiver.release()
    assert receiver.payload_bytes == len(receiver.buffer()) == 0
    assert given[0]() is None
    assert owner() is None


def test_one_message_is_decoded_from_its_bytes_and_no_less() -> None:
    for name, message in MESSAGES.items():
        assert decode(memoryview(GOLDEN[name])) == message
        with pytest.raises(RemoteProtocolError, match="expected at most"):
            decode(memoryview(GOLDEN[name][:-1]))
        for cut in (b"", GOLDEN[name][:11]):
            with pytest.raises(RemoteProtocolError, match="are not one message"):
                decode(memoryview(cut))


def test_after_a_large_payload_little_is_read_ahead_so_that_little_is_copied() -> None:
    receiver = decoder()
    assert len(receiver.buffer()) == Decoder.STAGING_BYTES
    feed(receiver, encoded(frame(0, payload=bytes(100_000))))
    assert len(receiver.buffer()) == Decoder.READ_AHEAD_BYTES
    feed(receiver, encoded(frame(1, payload=bytes(100))))
    assert len(receiver.buffer()) == Decoder.STAGING_BYTES


def test_more_than_one_message_is_not_decoded_as_one() -> None:
    whole = encoded(Control(name="x"))
    for tail in (b"T", whole):
        with pytest.raises(RemoteProtocolError, match="are not one message"):
            decode(memoryview(whole + tail))

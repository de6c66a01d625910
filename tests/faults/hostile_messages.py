"""A hundred messages and more that no honest peer sends, and what the server says to each.

for each in HOSTILE:
    answer = attempt(port, each)
    assert each.is_fit(answer)
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from offload.messages import PROTOCOL_VERSION, Acknowledgement, MessageType, Refusal
from offload.values.encodings import MAX_DECODED_BYTES
from offload.wire import HEADER, MAGIC, MAX_ENVELOPE_BYTES
from task_interface import Pipeline
from tests.faults.hostile import APPS, Peer
from tests.faults.parts import Part, Raw, written

GIB: Final = 2**30

# However it is said that a value cannot be read.
_UNREAD: Final = "(protocol: .* is no msgpack|failed: cannot read its values)"

# Before the proof, between it and the opening, or when frames may come.
STRANGER: Final = "stranger"
KNOWN: Final = "known"
INSIDE: Final = "inside"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hostile:
    """What one hostile peer sends.

    Attributes:
        name: What is wrong with it.
        place: How far the peer has come by then.
        data: The bytes.
        says: A pattern of the server's answer: the refusal's code and reason, or what it says of
            the frame that failed.
    """

    name: str
    place: str
    data: bytes
    says: str

    def is_fit(self, answer: str) -> bool:
        """Return whether the server said what it should."""
        return re.search(self.says, answer) is not None


def attempt(port: int, hostile: Hostile, stream: str) -> str:
    """Be that peer, and return what the server says."""
    with Peer(port) as peer:
        if hostile.place != STRANGER:
            peer.prove()
        if hostile.place == INSIDE:
            peer.open(opening(stream))
        peer.send(hostile.data)
        while (said := peer.answer()) is not None:
            if isinstance(said, Refusal):
                return f"{said.code}: {said.reason}"
            if isinstance(said, Acknowledgement):
                return "; ".join(f"failed: {each.reason}" for each in said.exceptions) or "borne"
    return "hung up"


@cache
def fingerprint(app: str = "good_app") -> list[object]:
    """Return what the server expects of a device with that app."""
    namespace: dict[str, object] = {"__name__": app}
    exec(APPS[app], namespace)
    pipeline = namespace["pipeline"]
    assert isinstance(pipeline, Pipeline)
    return pipeline.fingerprint()


def opening(stream: str, **odd: object) -> bytes:
    """Return a message ``open`` for the good device's app."""
    fields = {"app": "good_app", "fingerprint": fingerprint(), "stream": stream, "device": "evil"}
    return message(MessageType.OPEN, {**fields, "position": 0, **odd})


def message(
    kind: MessageType,
    fields: dict[str, object],
    pieces: Sequence[bytes] = (),
    *,
    apart: bool = False,
) -> bytes:
    """Return a message's bytes; a `Raw` in it stands there as it is."""
    return written(Part(raw=None, kind=kind, fields=fields, pieces=tuple(pieces), tree_apart=apart))


def frame(picture: object, *pieces: bytes, apart: bool = False, **odd: object) -> bytes:
    """Return a frame whose picture is that node."""
    fields: dict[str, object] = {"seq": 0, "split": 1, "at": 0.0}
    values = {"number": 0, "picture": picture}
    return message(MessageType.FRAME, {**fields, "values": values, **odd}, pieces, apart=apart)


def header(kind: MessageType, envelope_bytes: int, payload_bytes: int) -> bytes:
    """Return the first bytes of a message, and nothing behind them."""
    return HEADER.pack(MAGIC, kind, envelope_bytes, payload_bytes)


def hello(**odd: object) -> bytes:
    """Return a hello with odd fields."""
    fields = {"protocol": PROTOCOL_VERSION, "version": "0", "token": "evil", "nonce": bytes(32)}
    return message(MessageType.HELLO, {**fields, **odd})


@cache
def packed(decoded_bytes: int) -> bytes:
    """Return zeros, one bit for each byte when decoded, as small as they get."""
    return zlib.compress(bytes(decoded_bytes // 8), 9)


def nested(depth: int, opener: bytes = b"\x91") -> Raw:
    return Raw(opener * depth + b"\xc0")


def jpeg_header(height: int, width: int) -> bytes:
    """Return a JPEG that says its size, and has no picture."""
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return b"\xff\xd8\xff\xc0\x00\x0b\x08" + size + b"\x01\x01\x11\x00\xff\xd9"


def _lengths() -> list[Hostile]:
    found = []
    for place, kind in ((STRANGER, MessageType.HELLO), (INSIDE, MessageType.FRAME)):
        for envelope_bytes, payload_bytes, says in (
            (0, GIB, "limit: message is 1073741836 bytes"),
            (0, 2**32 - 1, "limit: message is 4294967307 bytes"),
            (GIB, 0, "protocol: envelope is 1073741824 bytes"),
            (2**32 - 1, 2**32 - 1, "protocol: envelope is 4294967295 bytes"),
            (MAX_ENVELOPE_BYTES + 1, 0, "protocol: envelope is 65537 bytes"),
        ):
            name = f"length of {envelope_bytes} and {payload_bytes}"
            data = header(kind, envelope_bytes, payload_bytes)
            found.append(Hostile(name=name, place=place, data=data, says=says))
    long_hello = Hostile(
        name="hello of 2 kB", place=STRANGER, data=hello(version="x" * 2000), says="limit: message"
    )
    return [*found, long_hello]


def _sizes() -> list[Hostile]:
    broken = "protocol: (sizes of the payload|payload (is|has))"
    pieces: dict[str, object] = {
        "a piece of 1 GiB": [GIB],
        "a negative piece": [-8, 16],
        "513 pieces": [0] * 513,
        "sizes that are no list": 8,
        "sizes that are no numbers": [None],
        "a piece of 2^63": [2**63],
    }
    return [
        *(
            _inside(name, frame([3, "|u1", 0, 8], bytes(8), sizes=each), broken)
            for name, each in pieces.items()
        ),
        *(
            _inside(f"a tree of {each} bytes", frame(0, apart=True, tree=each), "protocol: ")
            for each in (-1, 2**40, GIB)
        ),
    ]


def _nesting() -> list[Hostile]:
    no_msgpack = "protocol: (envelope|tree of values) is no msgpack"
    claims = {
        "an array of 2^32 items": b"\xdd\xff\xff\xff\xff",
        "a map of 2^32 items": b"\xdf\xff\xff\xff\xff",
        "text of 4 GiB": b"\xdb\xff\xff\xff\xff",
        "binary of 4 GiB": b"\xc6\xff\xff\xff\xff",
        "fifty arrays of 65,535 items, nested": b"\xdc\xff\xff" * 50,
        "a million arrays, nested": b"\x91" * 1_000_000 + b"\xc0",
    }
    deep = "failed: cannot read its values"
    return [
        *(
            _inside(name, frame(Raw(each), apart=len(each) > 1000), no_msgpack)
            for name, each in claims.items()
        ),
        _inside("60,000 arrays, nested", frame(nested(60_000)), no_msgpack),
        _inside("900 lists, nested", frame(nested(900, b"\x92\x00")), deep),
        _inside("33 lists, nested", frame(nested(33, b"\x92\x00")), deep),
        _inside("300 maps, nested", frame(nested(300, b"\x81\xa1a")), deep),
        _stranger("a hello of 900 arrays", hello(version=nested(900)), "protocol: "),
        _stranger("a hello of maps", hello(nonce=nested(290, b"\x81\xa1a")), "protocol: "),
        _known("a fingerprint of 900 arrays", opening("e", fingerprint=[nested(900)]), "protocol"),
        _known("a fingerprint of 1,000 maps", opening("e", fingerprint=[{}] * 1000), "pipeline: "),
    ]


def _greedy() -> list[Hostile]:
    """Return a million values in a megabyte, which take seventy in memory."""
    found = []
    for name, each in {"maps": b"\x80", "lists": b"\x90"}.items():
        million = b"\xdd\x00\x0f\x42\x3f\x00" + each * 999_998
        lists = b"\xdc\x00\x65\x00" + 100 * (b"\xdc\x27\x06\x00" + each * 9_989)
        found += [
            _inside(f"a million empty {name}", frame(Raw(million), apart=True), _UNREAD),
            _inside(f"a hundred lists of empty {name}", frame(Raw(lists), apart=True), _UNREAD),
        ]
    return found


def _extensions() -> list[Hostile]:
    junk = {
        "an empty extension": b"\xc7\x00\x05",
        "an extension of a byte": b"\xd4\x00\x00",
        "an extension of 16 bytes": b"\xd8\x2a" + bytes(16),
        "an extension of 1 kB": b"\xc8\x04\x00\x7f" + bytes(1024),
        "an extension of 4 GiB": b"\xc9\xff\xff\xff\xff\x01",
        "a timestamp": b"\xd6\xff" + bytes(4),
        "a timestamp of 12 bytes": b"\xc7\x0c\xff" + b"\xff" * 12,
        "a byte that msgpack never uses": b"\xc1",
        "text that is no UTF-8": b"\xa2\xff\xfe",
        "a key that is a number": b"\x81\x01\x02",
        "a key that is a list": b"\x81\x90\xc0",
    }
    return [
        *(_inside(name, frame(Raw(each)), _UNREAD) for name, each in junk.items()),
        *(
            _stranger(f"{name} in a hello", hello(version=Raw(each)), "(protocol|limit): ")
            for name, each in junk.items()
        ),
    ]


def _shapes() -> list[Hostile]:
    unread = "failed: cannot read its values"
    shapes: dict[str, list[object]] = {
        "a negative length": [-1],
        "two negative lengths": [-1, -8],
        "2^32 times 2^32": [2**32, 2**32],
        "a product that overflows to 8": [2**61 + 1, 8],
        "nothing times 2^62": [0, 2**62],
        "33 dimensions": [1] * 33,
        "65 dimensions": [1] * 65,
        "half an element": [0.5],
        "a truth as a length": [True, 8],
        "no number as a length": [None],
        "2^63 elements": [2**63],
    }
    kinds = ("O", "|O", "<U4", "|V8", "<f16", "M8[ns]", "", "|u1" * 1000)
    lists: dict[str, list[object]] = {
        "2^31 arrays": [2**31],
        "-1 arrays": [-1],
        "100,001 arrays": [100_001],
        "3,000 arrays, the last of 2^40": [3000, *[0] * 2999, 2**40],
        "an array of -8": [1, -8],
    }
    return [
        *(
            _inside(name, frame([3, "|u1", 0, *each], bytes(8)), unread)
            for name, each in shapes.items()
        ),
        *(
            _inside(f"dtype {each[:8]!r}", frame([3, each, 0, 1], bytes(8)), unread)
            for each in kinds
        ),
        *(
            _inside(name, frame([7, "|u1", 0, *each], bytes(8)), unread)
            for name, each in lists.items()
        ),
        _inside("a place that is not there", frame([3, "|u1", 1, 8], bytes(8)), unread),
        _inside("a piece that is used twice", frame([0, [6, 0], [6, 0]], bytes(8)), unread),
        _inside("an integer of 60 kB", frame([2, bytes(60_000)]), unread),
        _inside("a tag that is not there", frame([11, 0], bytes(8)), unread),
        _inside("a key of 2,000 characters", frame({"x" * 2000: 0}), unread),
    ]


def _bombs() -> list[Hostile]:
    unread = "failed: cannot read its values"
    whole, bomb = MAX_DECODED_BYTES, packed(MAX_DECODED_BYTES)
    mask = [9, "|u1", 0, 0, 255]
    many = [0, *([9, "|u1", place, 0, 255, whole] for place in range(40))]
    undeclared = "protocol: field 'decoded'"
    return [
        _inside("a mask of 64 MiB that says nothing", frame([*mask, whole], bomb), unread),
        _inside("a mask of 64 MiB that says 8", frame([*mask, whole], bomb, decoded=8), unread),
        _inside("64 MiB in a mask of 8", frame([*mask, 8], bomb, decoded=8), unread),
        _inside("64 MiB in a mask of 8, said", frame([*mask, 8], bomb, decoded=whole), unread),
        _inside("a mask past 64 MiB", frame([*mask, whole + 8], bomb, decoded=whole), unread),
        _inside("a mask of 2^62", frame([*mask, 2**31, 2**31], bomb, decoded=whole), unread),
        _inside("a negative mask", frame([*mask, -8], bomb, decoded=whole), unread),
        _inside(
            "a mask that breaks off", frame([*mask, 8000], packed(8000)[:-6], decoded=8000), unread
        ),
        _inside("forty masks of 64 MiB", frame(many, *[bomb] * 40, decoded=8), unread),
        _inside(
            "a JPEG of 65,535 x 65,535",
            frame([10, 0, 65_535, 65_535], jpeg_header(65_535, 65_535), decoded=whole),
            unread,
        ),
        _inside(
            "a JPEG that is larger than it says",
            frame([10, 0, 8, 8], jpeg_header(8000, 8000), decoded=64),
            unread,
        ),
        _inside(
            "a JPEG without a picture",
            frame([10, 0, 800, 800], jpeg_header(800, 800), decoded=640_000),
            unread,
        ),
        _inside(
            "64 MiB that are not there",
            frame([3, "|u1", 0, 8], bytes(8), decoded=whole),
            "failed: ",
        ),
        _inside("-1 bytes decoded", frame(0, decoded=-1), undeclared),
        _inside("64 MiB and a byte decoded", frame(0, decoded=whole + 1), undeclared),
        _inside("2^63 bytes decoded", frame(0, decoded=2**63), undeclared),
        _inside("a text as bytes decoded", frame(0, decoded="many"), undeclared),
        _inside("a truth as bytes decoded", frame(0, decoded=True), undeclared),
    ]


def _orders() -> list[Hostile]:
    def ended(*ranges: list[object]) -> bytes:
        return message(MessageType.ENDED, {"ranges": list(ranges)})

    def control(name: str = "heartbeat", /, **body: object) -> bytes:
        return message(MessageType.CONTROL, {"name": name, "body": body})

    broken = "protocol: "
    return [
        *(
            _inside(f"frame {each} as the first", frame(0, seq=each), broken)
            for each in (1, -1, 2**62, 2**63)
        ),
        *(_inside(f"split {each}", frame(0, split=each), broken) for each in (0, -1, 3, 2**40)),
        _inside("2^62 frames and one that ended", ended([0, 2**62 + 1, 3, "", ""]), broken),
        _inside("-1 frames that ended", ended([0, -1, 3, "", ""]), broken),
        _inside("no range", ended(), broken),
        _inside("results by word", ended([0, 1, 0, "", ""]), broken),
        _inside("an outcome that is not there", ended([0, 1, 99, "", ""]), broken),
        _inside("ranges that overlap", ended([0, 9, 3, "", ""], [3, 9, 3, "", ""]), broken),
        _inside("an end past all frames", message(MessageType.END, {"next": 9}), broken),
        _inside("a second opening", opening("other"), broken),
        _inside("a body of 300 maps, nested", control(a=nested(300, b"\x81\xa1a")), broken),
        _inside("a way of being steered that is none", control("steering", mode="free"), broken),
        _inside("a pin of a text", control("steering", mode="manual", pinned="all"), broken),
        _inside("an answer of the server's", message(MessageType.WELCOME, {"next": 0}), broken),
        _stranger("a frame before the hello", frame(0), broken),
        _stranger("GET / HTTP/1.1", b"GET / HTTP/1.1\r\nHost: cloud\r\n\r\n", broken),
        _stranger("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00", "peer speaks TLS"),
        _stranger("zeros", bytes(1000), broken),
        _stranger("protocol 2^63", hello(protocol=2**63), broken),
        _stranger("a nonce of a byte", hello(nonce=b"x"), broken),
        _stranger("a token of 600 characters", hello(token="x" * 600), "token: "),
        _known("a stream's name of 10,000 characters", opening("x" * 10_000), broken),
        _known("a stream's name that clears screens", opening("\x1b[2J"), broken),
        _known("an app's name of 10,000 characters", opening("e", app="x" * 10_000), "pipeline: "),
        _known("an order to all devices", control("target", fps=1), "token: .* may not steer"),
        _known("a look at all devices", control("streams"), "token: .* may not steer"),
        _known("a way of being steered, too early", control("steering", mode="manual"), broken),
        _known("a position of 2^62 and one", opening("e", position=2**62 + 1), broken),
    ]


def _inside(name: str, data: bytes, says: str) -> Hostile:
    return Hostile(name=name, place=INSIDE, data=data, says=says)


def _known(name: str, data: bytes, says: str) -> Hostile:
    return Hostile(name=name, place=KNOWN, data=data, says=says)


def _stranger(name: str, data: bytes, says: str) -> Hostile:
    return Hostile(name=name, place=STRANGER, data=data, says=says)


HOSTILE: Final = (
    *(*_lengths(), *_sizes(), *_nesting(), *_extensions()),
    *(*_shapes(), *_bombs(), *_orders()),
)

GREEDY: Final = 5 * tuple(_greedy())

# Past no limit: a mask of 64 MiB, as large as it may be, and as the tasks want it or not.
LARGEST: Final = tuple(
    _inside(
        f"a mask of {shape}",
        frame([9, "|u1", 0, 0, 255, *shape], packed(MAX_DECODED_BYTES), decoded=MAX_DECODED_BYTES),
        says,
    )
    for shape, says in (((4096, 4096, 4), "borne"), ((8192, 8192), "failed: raised IndexError"))
)


def crowded_frame(seq: int) -> bytes:
    """Return a frame of 60 kB for ``late_app`` that takes 4 MB where it waits."""
    maps = Raw(b"\xdc\xea\x61\x00" + b"\x80" * 60_000)
    values = {"number": 0, "brightness": 0, "more": maps}
    return message(MessageType.FRAME, {"seq": seq, "split": 2, "at": 0.0, "values": values})

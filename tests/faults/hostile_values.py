"""Odd numbers, odd values, and values that are made to hurt whoever unpacks them."""

import zlib
from collections.abc import Callable
from functools import cache
from random import Random
from typing import Final

from offload.values.encodings import MAX_DECODED_BYTES
from offload.values.form import DTYPES
from tests.faults.byte_damage import BYTE_DAMAGES, NUMBERS
from tests.faults.parts import Raw

# What msgpack can say and we do not: extension types, counts of things that are not there, nesting,
# text that is no UTF-8, keys that are no text.
CORNERS: Final = tuple(
    map(
        Raw,
        (
            b"",
            b"\xc1",
            b"\xc7\x00\x05",
            b"\xd4\x00\x00",
            b"\xd6\xff\x00\x00\x00\x00",
            b"\xd7\xff" + b"\xff" * 8,
            b"\xc9\xff\xff\xff\xff\x01",
            b"\xc6\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\xdd\x00\x01\x00\x00",
            b"\xdc\xff\xff" * 50,
            b"\xdc\xff\xff" + b"\xc0" * 0xFFFF,
            b"\xdc\xff\x00" + b"\x90" * 0xFF00,
            b"\xde\x80\x00" + b"\xa0\xc0" * 0x8000,
            b"\x91" * 33 + b"\xc0",
            b"\x92\x00" * 40 + b"\xc0",
            b"\x92\x00" * 400 + b"\xc0",
            b"\x91" * 900 + b"\xc0",
            b"\x91" * 60_000 + b"\xc0",
            b"\x81\xa1a" * 300 + b"\xc0",
            b"\xa2\xff\xfe",
            b"\xa3\xed\xa0\x80",
            b"\x81\x01\x02",
            b"\x81\xc4\x01a\x02",
            b"\x81\x90\xc0",
            b"\x82\xa1a\xc0\xa1a\xc3",
        ),
    )
)

ODD_VALUES: Final[tuple[object, ...]] = (
    *(None, True, False, 0.5, -0.5, float("nan"), float("inf"), float("-inf"), 1e308, 5e-324),
    *("", "x", "next", "|u1", "\x1b[2J\n", "x" * 129, "x" * 5000, "\N{GRINNING FACE}" * 400),
    *(b"", b"\0", b"x" * 31, b"x" * 33, b"\xff" * 257, bytes(5000)),
    *([], {}, [[]], [0], [1, [0]], {"": {}}, [0] * 300, [[0, 1, 1, "", ""]] * 50),
    *CORNERS,
)


# Values that are made to hurt whoever unpacks them; each comes with the pieces that it needs.

_Attack = tuple[object, list[bytes]]


def attack(place: int, rng: Random) -> _Attack:
    """Return a tree, and the pieces that it uses from ``place`` on."""
    return rng.choice(_ATTACKS)(place, rng)


def _dimensions(rng: Random) -> list[int]:
    return [rng.choice(NUMBERS) for _ in range(rng.choice((1, 2, 2, 3, 4, 33, 65)))]


def _odd_array(place: int, rng: Random) -> _Attack:
    dtype = rng.choice((*DTYPES, "O", "|O", "<U4", "<f16", ">M8", ""))
    data = bytes(rng.choice((0, 0, 1, 8, 16)))
    shape = rng.choice((_dimensions(rng), [0, *_dimensions(rng)], [2**32, 2**32], [-1], []))
    return rng.choice((([3, dtype, data, *shape], []), ([3, dtype, place, *shape], [data])))


def _many_arrays(place: int, rng: Random) -> _Attack:
    count = rng.choice((*NUMBERS, 3000, 3000))
    shapes = rng.choice(([], [0] * 3000, [1] * 3000, _dimensions(rng)))
    data = bytes(rng.choice((0, 1, 3000)))
    tag, dtype = rng.choice((7, 8)), rng.choice(("|u1", "<f8", ">c16"))
    return [tag, dtype, place, count, *shapes], [data]


def _mask_bomb(place: int, rng: Random) -> _Attack:
    # The largest ones that are permitted take a tenth of a second each.
    elements = MAX_DECODED_BYTES if rng.random() < 0.01 else rng.choice((8, 2**16, 2**20))
    declared = rng.choice((elements, elements, elements + 1, elements - 8, *NUMBERS))
    shape = rng.choice(([declared], [declared, 1], [1, declared], [declared, declared]))
    data = _zeros_packed(elements // 8) + rng.choice((b"", b"", b"\0", _zeros_packed(8)))
    levels = [rng.choice((0, 255, 256, -1)), rng.choice((0, 1, 255))]
    return [9, rng.choice(("|u1", "|b1", "<f8")), place, *levels, *shape], [data]


def _many_masks(place: int, rng: Random) -> _Attack:
    # Each is permitted, all together are not.
    elements, count = rng.choice(((8, 2), (8, 40), (8, 513), (2**12, 40), (2**16, 3)))
    if rng.random() < 0.005:
        elements, count = MAX_DECODED_BYTES, 40
    masks = [[9, "|u1", place + index, 0, 255, elements] for index in range(count)]
    return [0, *masks], [_zeros_packed(elements // 8)] * count


@cache
def _zeros_packed(size: int) -> bytes:
    return zlib.compress(bytes(size))


def _jpeg_bomb(place: int, rng: Random) -> _Attack:
    height, width = rng.choice((0, 1, 16, 100, 65_535)), rng.choice((0, 1, 16, 100, 65_535))
    if rng.random() < 0.01:
        height, width = 4096, 5461
    colours = rng.choice((1, 3, 4))
    shape = [height, width, *([colours] if colours > 1 else [])]
    data = _jpeg(height, width, colours) + rng.randbytes(rng.choice((0, 10, 500))) + b"\xff\xd9"
    if rng.random() < 0.5:
        data = rng.choice(BYTE_DAMAGES)(data, rng)
    return [10, place, *rng.choice((shape, shape, shape, _dimensions(rng)))], [data]


def _jpeg(height: int, width: int, colours: int) -> bytes:
    """Return a JPEG up to its scan, without tables: the decoder has to do with what comes."""
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    frame = b"\x08" + size + bytes([colours])
    frame += b"".join(bytes([each + 1, 0x11, 0]) for each in range(colours))
    scan = bytes([colours]) + b"".join(bytes([each + 1, 0]) for each in range(colours))
    return (
        b"\xff\xd8"
        + b"\xff\xdb\x00\x43\x00"
        + b"\x01" * 64
        + b"\xff\xc0"
        + (len(frame) + 2).to_bytes(2, "big")
        + frame
        + b"\xff\xc4\x00\x14\x00\x01"
        + bytes(16)
        + b"\xff\xc4\x00\x14\x10\x01"
        + bytes(16)
        + b"\xff\xda"
        + (len(scan) + 5).to_bytes(2, "big")
        + scan
        + b"\x00\x3f\x00"
    )


def _odd_tags(place: int, rng: Random) -> _Attack:
    node = [rng.randrange(-1, 13), *(rng.choice(ODD_VALUES) for _ in range(rng.randrange(6)))]
    if len(node) > 2 and rng.random() < 0.7:
        node[1:3] = rng.choice(tuple(DTYPES)), place
    return node, rng.choice(([], [b"\xff\xfe text that is none"]))


def _deep_list(place: int, rng: Random) -> _Attack:  # noqa: ARG001  # the signature of attacks
    node: object = 0
    for _ in range(rng.choice((1, 31, 32, 33, 60))):
        node = [rng.choice((0, 1)), node] if rng.random() < 0.7 else {"k": node}
    return node, []


_ATTACKS: Final[tuple[Callable[[int, Random], _Attack], ...]] = (
    _odd_array,
    _odd_array,
    _many_arrays,
    _mask_bomb,
    _many_masks,
    _jpeg_bomb,
    _odd_tags,
    _deep_list,
)

"""Damage to bytes, by chance that a seed decides, without knowledge of what they say."""

from collections.abc import Callable
from random import Random
from typing import Final

from offload.messages import MAX_SEQ
from offload.values.form import MAX_NODES

# Where counts and lengths of one, two, four and eight bytes end, and our own limits.
NUMBERS: Final = (
    *(-(2**63), -(2**31), -2, -1, 0, 1, 2, 3, 7, 8, 31, 32, 33, 127, 128, 255, 256, 300, 511, 512),
    *(1023, 1024, 4096, 4097, 2**16 - 1, 2**16, 2**16 + 1, MAX_NODES, MAX_NODES + 1, 2**20),
    *(2**26 - 1, 2**26, 2**26 + 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, MAX_SEQ, MAX_SEQ + 1),
    *(2**63 - 1, 2**63, 2**64 - 1),
)

# Bytes, without knowledge.


def _flip_bits(data: bytes, rng: Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _change_bytes(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    new = rng.randbytes(rng.choice((1, 2, 4, 16)))
    return data[:place] + new + data[place + len(new) :]


def _truncate(data: bytes, rng: Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _insert(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.randbytes(rng.choice((1, 4, 100))) + data[place:]


def _duplicate(data: bytes, rng: Random) -> bytes:
    start, stop = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    return data[:stop] + data[start:stop] * rng.choice((1, 1, 5)) + data[stop:]


def _delete(data: bytes, rng: Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + data[place + rng.choice((1, 2, 8, 100, len(data))) :]


def _set_number(data: bytes, rng: Random) -> bytes:
    place, size = rng.randrange(len(data)), rng.choice((1, 2, 4, 8))
    number = rng.choice(NUMBERS) % (1 << 8 * size)
    return data[:place] + number.to_bytes(size, "big") + data[place + size :]


BYTE_DAMAGES: Final[tuple[Callable[[bytes, Random], bytes], ...]] = (
    _flip_bits,
    _change_bytes,
    _truncate,
    _insert,
    _duplicate,
    _delete,
    _set_number,
)

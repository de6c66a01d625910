"""The tree in which a value travels: its tags, its limits, and what values there are.

What ``values`` and ``unpacking`` have in common. In a tree None, bool, float, short str and
bytes, and int of 64 bits stand for themselves, and so does a dict. Everything else is a list that
starts with a tag:

    [0, item, ...]                             list
    [1, item, ...]                             tuple
    [2, bytes]                                 int past 64 bits: two's complement, big end first
    [3, dtype, place, dimension, ...]          array, in C order
    [4, dtype, bytes]                          numpy scalar
    [5, place]                                 long str, UTF-8
    [6, place]                                 long bytes
    [7, dtype, place, count, dimension, ...]   list of arrays of one dtype and rank, end to end,
                                               with each array's dimensions in turn
    [8, dtype, place, count, dimension, ...]   tuple of such arrays
    [9, dtype, place, low, high, dimension, ...]
                                               array of two values, as bits: see ``encodings``
    [10, place, dimension, ...]                picture, as JPEG

A place is the index of a buffer, or, for arrays only, the bytes themselves. Buffers are used once
each, in the order of the tree. A dtype states its byte order, as in ``"<f4"``; the receiver
converts. An array's memory layout (order, strides, byte order) is not part of its value.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from offload.errors import PayloadError
from offload.values.encodings import Array

Plain: TypeAlias = bool | int | float | str | bytes | None

#: What may cross the network. Contents of containers are again values, dict keys are str; the
#: types are meant exactly, without their subclasses. Arrays hold bool, int, float or complex.
Value: TypeAlias = Plain | tuple[Any, ...] | list[Any] | dict[str, Any] | np.generic | Array

# Containers inside containers. Both ends recurse, two calls for each level; data that a task
# returns is rarely deeper than five, so anything past this is a cycle or an attack.
MAX_DEPTH: Final = 32

# Values in one tree, each array of a list counted. A Python object takes 30 to 200 bytes, so this
# bounds a hostile tree to about 20 MB; who has more numbers than this has an array.
MAX_NODES: Final = 100_000

# numpy 1 stops at 32 dimensions, numpy 2 at 64; the peer may have either.
MAX_RANK: Final = 32

# One gathering send takes at most 1024 pieces on Linux (IOV_MAX); half of that leaves room for
# headers and for a second message.
MAX_BUFFERS: Final = 512

# Python refuses to print an int of more than 4300 digits; 1024 bytes are 2466 of them.
MAX_INT_BYTES: Final = 1024

# Up to here a copy into the tree costs less than one more buffer on both sides.
MAX_INLINE_ARRAY_BYTES: Final = 256

# Longer str and bytes get a buffer, since the tree has to fit a small envelope.
MAX_INLINE_TEXT_BYTES: Final = 4096

# Keys are names, and stay inside the tree.
MAX_KEY_CHARACTERS: Final = 1024

# Contours come by the hundred and are a few hundred bytes each: copied together they make one
# buffer. Past this mean size they are pictures, and pictures are not copied.
MAX_JOINED_ARRAY_BYTES: Final = 64 * 1024

# An array without elements has no bytes to check its other dimensions against. numpy refuses
# those whose product overflows its index, which has 32 bits on a small device.
MAX_EMPTY_EXTENT_BYTES: Final = 2**31 - 1

LIST: Final = 0
TUPLE: Final = 1
INT: Final = 2
ARRAY: Final = 3
SCALAR: Final = 4
STR: Final = 5
BYTES: Final = 6
ARRAY_LIST: Final = 7
ARRAY_TUPLE: Final = 8
MASK: Final = 9
JPEG: Final = 10

# Fixed width only: a long double has 8, 12 or 16 bytes, depending on the machine. A peer's dtype
# is looked up here and never parsed.
_WIDE_ITEMS: Final = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
DTYPES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(name)
    for name in ("|b1", "|i1", "|u1", *(order + item for order in "<>" for item in _WIDE_ITEMS))
}


class Walk:
    """Where we are in a value, and how much of it we have seen.

    Attributes:
        nodes: Values seen so far.
        path: Keys and indices that lead to the value that is looked at.
        decoded_bytes: What all encoded arrays together take when they are decoded.
    """

    __slots__ = ("decoded_bytes", "nodes", "path")

    def __init__(self) -> None:
        """Start at the root."""
        self.nodes = 0
        self.path: list[str | int] = []
        self.decoded_bytes = 0

    def enter(self, count: int) -> None:
        """Check the limits of a container, before anyone looks at its ``count`` values."""
        self.nodes += count
        if self.nodes > MAX_NODES:
            raise self.error("value", f"makes more than {MAX_NODES} in all, expected an array")
        if len(self.path) >= MAX_DEPTH:
            raise self.error("value", f"is nested too deep, expected at most {MAX_DEPTH} levels")

    def check_text(self, text: str) -> None:
        """Refuse what is no Unicode text."""
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error("str", "holds surrogates, expected Unicode text") from error

    def check_key(self, key: object) -> None:
        """Refuse what cannot be a key."""
        if type(key) is not str:
            raise self.error("dict", f"has a key of type {type(key).__name__}, expected str")
        if len(key) > MAX_KEY_CHARACTERS:
            found = f"has a key of {len(key)} characters"
            raise self.error("dict", f"{found}, expected at most {MAX_KEY_CHARACTERS}")
        self.check_text(key)

    def check_shape(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Refuse the shapes that a receiver might be unable to make."""
        if len(shape) > MAX_RANK:
            raise self.error("array", f"has {len(shape)} dimensions, expected at most {MAX_RANK}")
        if 0 in shape:
            extent = dtype.itemsize * math.prod(dimension or 1 for dimension in shape)
            if extent > MAX_EMPTY_EXTENT_BYTES:
                raise self.error("array", "is empty, but its other dimensions are too large")

    def error(self, subject: str, problem: str) -> PayloadError:
        """Return an error that says where we are."""
        where = "".join(map(_step, self.path)).removeprefix(".")
        return PayloadError(f"{subject} at {where} {problem}" if where else f"{subject} {problem}")


def _step(step: str | int) -> str:
    """Say one step of a path; a key may be a peer's, so it is cut and escaped."""
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() and len(step) <= 40 else f"[{step[:40]!r}]"

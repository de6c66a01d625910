"""What may cross the network, and the form in which it travels.

``pack`` turns a value into a small tree, which an envelope can hold, and a list of buffers, which
travel beside it: a picture's buffer is the picture's own memory. ``unpack`` is the way back, for
trees from a peer that is not trusted. How a tree becomes bytes, and how many bytes a message may
have, is the business of ``wire``.

    packed = pack({"frame": frame, "time_s": 1.5})
    packed.tree     # {"frame": [3, "|u1", 0, 281, 500, 3], "time_s": 1.5}
    packed.buffers  # one memoryview of 421500 bytes, on the memory of ``frame``
    unpack(packed.tree, packed.buffers)["frame"]  # a view on that buffer

In a tree None, bool, float, short str and bytes, and int of 64 bits stand for themselves, and so
does a dict. Everything else is a list that starts with a tag:

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

A place is the index of a buffer, or, for arrays only, the bytes themselves. Buffers are used once
each, in the order of the tree. A dtype states its byte order, as in ``"<f4"``; the receiver
converts. An array's memory layout (order, strides, byte order) is not part of its value.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from offload.errors import PayloadError

Array: TypeAlias = NDArray[Any]
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

_LIST: Final = 0
_TUPLE: Final = 1
_INT: Final = 2
_ARRAY: Final = 3
_SCALAR: Final = 4
_STR: Final = 5
_BYTES: Final = 6
_ARRAY_LIST: Final = 7
_ARRAY_TUPLE: Final = 8

# Fixed width only: a long double has 8, 12 or 16 bytes, depending on the machine. A peer's dtype
# is looked up here and never parsed.
_WIDE_ITEMS: Final = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    name: np.dtype(name)
    for name in ("|b1", "|i1", "|u1", *(order + item for order in "<>" for item in _WIDE_ITEMS))
}

# By C type instead, since numpy has two scalar types for one width (int64 and longlong on Linux).
_SCALAR_TYPES: Final = tuple(np.dtype(code).type for code in "?bBhHiIlLqQefdFD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A value as it travels.

    Attributes:
        tree: None, bool, 64-bit int, float, str, bytes, and lists and str-keyed dicts of these.
        buffers: Contiguous, one dimension, format ``B``; at most ``MAX_BUFFERS``. Those of
            C-contiguous arrays and of bytes are views on the memory of the packed value: leave
            that value as it is until they are sent.
    """

    tree: object
    buffers: tuple[memoryview, ...]


def pack(value: Value) -> Packed:
    """Turn ``value`` into the form in which it travels.

    C-contiguous arrays of more than ``MAX_INLINE_ARRAY_BYTES`` are not copied, unless they come
    as a list or tuple of many small ones. Types of one width count as one: where numpy tells
    ``longlong`` from ``int64``, it arrives as ``int64``.

    Raises:
        PayloadError: ``value`` holds something that cannot cross, or too much; the message names
            the type and where it is, as in ``set at circle[2] cannot cross the network``.
    """
    packing = _Packing()
    tree = packing.pack(value)
    if len(packing.buffers) > MAX_BUFFERS:
        raise PayloadError(
            f"value holds {len(packing.buffers)} large arrays, str and bytes, "
            f"expected at most {MAX_BUFFERS}"
        )
    return Packed(tree=tree, buffers=tuple(packing.buffers))


def unpack(tree: object, buffers: Sequence[memoryview]) -> Value:
    """Turn what a peer sent back into the value that it packed.

    Args:
        tree: As in ``Packed``; not trusted.
        buffers: As in ``Packed``. Arrays are views on them, writable where the buffer is, and
            keep them exported for as long as they live. Small arrays, and arrays in the other
            byte order, are writable copies.

    Raises:
        PayloadError: The tree is malformed, does not fit the buffers, or is past a limit.
    """
    if len(buffers) > MAX_BUFFERS:
        raise PayloadError(f"value has {len(buffers)} buffers, expected at most {MAX_BUFFERS}")
    unpacking = _Unpacking(buffers)
    value = unpacking.unpack(tree)
    if unpacking.used != len(buffers):
        raise PayloadError(f"value uses {unpacking.used} buffers, expected {len(buffers)}")
    return value


class _Walk:
    """Where we are in a value, and how much of it we have seen."""

    __slots__ = ("nodes", "path")

    def __init__(self) -> None:
        self.nodes = 0
        self.path: list[str | int] = []

    def enter(self, count: int) -> None:
        """Check the limits of a container, before anyone looks at its ``count`` values."""
        self.nodes += count
        if self.nodes > MAX_NODES:
            raise self.error("value", f"makes more than {MAX_NODES} in all, expected an array")
        if len(self.path) >= MAX_DEPTH:
            raise self.error("value", f"is nested too deep, expected at most {MAX_DEPTH} levels")

    def check_text(self, text: str) -> None:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise self.error("str", "holds surrogates, expected Unicode text") from error

    def check_key(self, key: object) -> None:
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
        where = "".join(map(_step, self.path)).removeprefix(".")
        return PayloadError(f"{subject} at {where} {problem}" if where else f"{subject} {problem}")


class _Packing(_Walk):
    """One call of ``pack``."""

    __slots__ = ("buffers",)

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[memoryview] = []

    def pack(self, value: Value) -> object:
        pack_type = _PACKERS.get(type(value))
        if pack_type is None:
            raise self._refusal(value)
        return pack_type(self, value)

    def pack_plain(self, value: Plain) -> object:
        return value

    def pack_int(self, value: int) -> object:
        if -(2**63) <= value < 2**63:
            return value
        # One bit more for the sign.
        size = value.bit_length() // 8 + 1
        if size > MAX_INT_BYTES:
            raise self.error("int", f"takes {size} bytes, expected at most {MAX_INT_BYTES}")
        return [_INT, value.to_bytes(size, "big", signed=True)]

    def pack_str(self, value: str) -> object:
        if len(value) <= MAX_INLINE_TEXT_BYTES and value.isascii():
            return value
        self.check_text(value)
        data = value.encode()
        return value if len(data) <= MAX_INLINE_TEXT_BYTES else [_STR, self._add(memoryview(data))]

    def pack_bytes(self, value: bytes) -> object:
        if len(value) <= MAX_INLINE_TEXT_BYTES:
            return value
        return [_BYTES, self._add(memoryview(value))]

    def pack_scalar(self, value: np.generic) -> object:
        return [_SCALAR, value.dtype.str, value.tobytes()]

    def pack_array(self, value: Array) -> object:
        name = value.dtype.str
        if name not in _DTYPES:
            raise self.error(f"array of {value.dtype}", "cannot cross the network")
        self.check_shape(value.shape, value.dtype)
        return [_ARRAY, name, self._place(value), *value.shape]

    def pack_list(self, value: list[Any]) -> object:
        self.enter(len(value))
        return self._join(_ARRAY_LIST, value) or self._pack_items([_LIST], value)

    def pack_tuple(self, value: tuple[Any, ...]) -> object:
        self.enter(len(value))
        return self._join(_ARRAY_TUPLE, value) or self._pack_items([_TUPLE], value)

    def pack_dict(self, value: dict[str, Any]) -> object:
        self.enter(len(value))
        tree: dict[str, object] = {}
        path = self.path
        path.append("")
        for key, item in value.items():
            if type(key) is not str or not key.isascii() or len(key) > MAX_KEY_CHARACTERS:
                path.pop()
                self.check_key(key)
                path.append(key)
            path[-1] = key
            tree[key] = self.pack(item)
        path.pop()
        return tree

    def _pack_items(self, tree: list[object], items: Sequence[Any]) -> list[object]:
        path = self.path
        path.append(0)
        for index, item in enumerate(items):
            path[-1] = index
            tree.append(self.pack(item))
        path.pop()
        return tree

    def _join(self, tag: int, items: Sequence[Any]) -> list[object] | None:
        """Pack ``items`` end to end, if they are many arrays of one kind and small."""
        if len(items) < 2 or type(items[0]) is not np.ndarray:
            return None
        dtype, rank = items[0].dtype, items[0].ndim
        if dtype.str not in _DTYPES or not all(
            type(item) is np.ndarray and item.ndim == rank and item.dtype == dtype for item in items
        ):
            return None
        if sum(item.nbytes for item in items) > len(items) * MAX_JOINED_ARRAY_BYTES:
            return None
        dimensions: list[int] = []
        for item in items:
            self.check_shape(item.shape, dtype)
            dimensions += item.shape
        # The result has native byte order, whatever that of the items.
        joined = np.concatenate(items, axis=None)
        return [tag, joined.dtype.str, self._place(joined), len(items), *dimensions]

    def _place(self, array: Array) -> int | bytes:
        if array.nbytes <= MAX_INLINE_ARRAY_BYTES:
            return array.tobytes()
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        return self._add(array.data.cast("B"))

    def _add(self, buffer: memoryview) -> int:
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def _refusal(self, value: object) -> PayloadError:
        name = type(value).__name__
        for plain in _PACKERS:
            if isinstance(value, plain):
                return self.error(
                    name,
                    f"is a subclass of {plain.__name__} and cannot cross the network, "
                    f"expected a plain {plain.__name__}",
                )
        return self.error(name, "cannot cross the network")


class _Unpacking(_Walk):
    """One call of ``unpack``."""

    __slots__ = ("buffers", "used")

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        super().__init__()
        self.buffers = buffers
        self.used = 0

    def unpack(self, node: object) -> Value:
        unpack_type = _UNPACKERS.get(type(node))
        if unpack_type is None:
            raise self.error(type(node).__name__, "is not part of a tree")
        return unpack_type(self, node)

    def unpack_plain(self, node: Plain) -> Value:
        return node

    def unpack_str(self, node: str) -> str:
        if not node.isascii():
            self.check_text(node)
        return node

    def unpack_dict(self, node: dict[str, object]) -> dict[str, Value]:
        self.enter(len(node))
        for key in node:
            self.check_key(key)
        path = self.path
        path.append("")
        value: dict[str, Value] = {}
        for key, item in node.items():
            path[-1] = key
            value[key] = self.unpack(item)
        path.pop()
        return value

    def unpack_tagged(self, node: list[object]) -> Value:
        tag = node[0] if node else None
        unpack_tag = _TAG_UNPACKERS.get(tag) if type(tag) is int else None
        if unpack_tag is None:
            raise self.error("list", f"has no known tag, expected 0 to {max(_TAG_UNPACKERS)}")
        return unpack_tag(self, node)

    def unpack_list(self, node: list[object]) -> list[Value]:
        self.enter(len(node) - 1)
        path = self.path
        path.append(0)
        items: list[Value] = []
        for index in range(1, len(node)):
            path[-1] = index - 1
            items.append(self.unpack(node[index]))
        path.pop()
        return items

    def unpack_tuple(self, node: list[object]) -> tuple[Value, ...]:
        return tuple(self.unpack_list(node))

    def unpack_int(self, node: list[object]) -> int:
        if len(node) != 2 or type(node[1]) is not bytes or len(node[1]) > MAX_INT_BYTES:
            raise self.error("int", f"is malformed, expected at most {MAX_INT_BYTES} bytes")
        return int.from_bytes(node[1], "big", signed=True)

    def unpack_long_str(self, node: list[object]) -> str:
        try:
            return str(self._only_buffer(node), "utf-8")
        except UnicodeDecodeError as error:
            raise self.error("str", "is not UTF-8") from error

    def unpack_long_bytes(self, node: list[object]) -> bytes:
        return bytes(self._only_buffer(node))

    def unpack_scalar(self, node: list[object]) -> np.generic:
        if len(node) != 3 or type(node[2]) is not bytes:
            raise self.error("numpy scalar", "is malformed, expected a dtype and bytes")
        scalar: np.generic = self._elements(self._dtype(node[1]), node[2], 1)[0]
        return scalar

    def unpack_array(self, node: list[object]) -> Array:
        if len(node) < 3:
            raise self.error("array", "is malformed, expected a dtype, a place and dimensions")
        dtype, data, shape = self._dtype(node[1]), self._data(node[2]), self._dimensions(node[3:])
        self.check_shape(shape, dtype)
        return self._elements(dtype, data, math.prod(shape)).reshape(shape)

    def unpack_array_list(self, node: list[object]) -> list[Array]:
        if len(node) < 4 or type(node[3]) is not int or not 0 < node[3] <= MAX_NODES:
            raise self.error("arrays", "are malformed, expected a dtype, a place and a count")
        dtype, data, count = self._dtype(node[1]), self._data(node[2]), node[3]
        self.enter(count)
        dimensions = self._dimensions(node[4:])
        rank, rest = divmod(len(dimensions), count)
        if rest:
            raise self.error("arrays", f"have {len(dimensions)} dimensions for {count} of them")
        shapes = [dimensions[index * rank : (index + 1) * rank] for index in range(count)]
        for shape in shapes:
            self.check_shape(shape, dtype)
        ends = list(accumulate(math.prod(shape) for shape in shapes))
        elements = self._elements(dtype, data, ends[-1])
        starts = [0, *ends[:-1]]
        return [
            elements[start:end].reshape(shape)
            for start, end, shape in zip(starts, ends, shapes, strict=True)
        ]

    def unpack_array_tuple(self, node: list[object]) -> tuple[Array, ...]:
        return tuple(self.unpack_array_list(node))

    def _dtype(self, name: object) -> np.dtype[Any]:
        dtype = _DTYPES.get(name) if type(name) is str else None
        if dtype is None:
            raise self.error("array", "has no known dtype")
        return dtype

    def _dimensions(self, items: list[object]) -> list[int]:
        dimensions = [item for item in items if type(item) is int and item >= 0]
        if len(dimensions) != len(items):
            raise self.error("array", "has a dimension that is not an int of at least 0")
        return dimensions

    def _data(self, place: object) -> bytearray | memoryview:
        # A copy, since an array on bytes could not be written to, and small arrays should not
        # behave otherwise than large ones.
        return bytearray(place) if type(place) is bytes else self._buffer(place)

    def _only_buffer(self, node: list[object]) -> memoryview:
        if len(node) != 2:
            raise self.error("long str or bytes", "is malformed, expected a place")
        return self._buffer(node[1])

    def _buffer(self, place: object) -> memoryview:
        # In order and once each, so that no two arrays of a value share memory.
        if type(place) is not int or place != self.used:
            raise self.error("place", f"is not the next buffer, expected {self.used}")
        if place >= len(self.buffers):
            raise self.error("place", f"is past the last of {len(self.buffers)} buffers")
        self.used += 1
        return self.buffers[place]

    def _elements(
        self, dtype: np.dtype[Any], data: bytes | bytearray | memoryview, count: int
    ) -> Array:
        """View ``data`` as ``count`` elements, in native byte order."""
        if len(data) != count * dtype.itemsize:
            found = f"has {len(data)} bytes"
            raise self.error("array", f"{found}, which do not fit its shape and dtype {dtype.str}")
        # Not ``np.ndarray(buffer=...)``: that one does not keep the buffer exported, so the
        # memory could be resized or given back while the array lives.
        elements = np.frombuffer(data, dtype)
        return elements if dtype.isnative else elements.astype(dtype.newbyteorder("="))


def _step(step: str | int) -> str:
    """Say one step of a path; a key may be a peer's, so it is cut and escaped."""
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.isidentifier() and len(step) <= 40 else f"[{step[:40]!r}]"


_PACKERS: Final[dict[type, Callable[[_Packing, Any], object]]] = {
    type(None): _Packing.pack_plain,
    bool: _Packing.pack_plain,
    int: _Packing.pack_int,
    float: _Packing.pack_plain,
    str: _Packing.pack_str,
    bytes: _Packing.pack_bytes,
    list: _Packing.pack_list,
    tuple: _Packing.pack_tuple,
    dict: _Packing.pack_dict,
    np.ndarray: _Packing.pack_array,
    **dict.fromkeys(_SCALAR_TYPES, _Packing.pack_scalar),
}

_UNPACKERS: Final[dict[type, Callable[[_Unpacking, Any], Value]]] = {
    type(None): _Unpacking.unpack_plain,
    bool: _Unpacking.unpack_plain,
    int: _Unpacking.unpack_plain,
    float: _Unpacking.unpack_plain,
    bytes: _Unpacking.unpack_plain,
    str: _Unpacking.unpack_str,
    dict: _Unpacking.unpack_dict,
    list: _Unpacking.unpack_tagged,
}

_TAG_UNPACKERS: Final[dict[int, Callable[[_Unpacking, list[object]], Value]]] = {
    _LIST: _Unpacking.unpack_list,
    _TUPLE: _Unpacking.unpack_tuple,
    _INT: _Unpacking.unpack_int,
    _ARRAY: _Unpacking.unpack_array,
    _SCALAR: _Unpacking.unpack_scalar,
    _STR: _Unpacking.unpack_long_str,
    _BYTES: _Unpacking.unpack_long_bytes,
    _ARRAY_LIST: _Unpacking.unpack_array_list,
    _ARRAY_TUPLE: _Unpacking.unpack_array_tuple,
}

"""The way back from a tree and its buffers to the value, for trees from a peer that is not trusted.

``values`` offers `unpack`, and its documentation shows it; ``form`` says what a tree holds.
"""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, Final, cast

import numpy as np

from offload.errors import PayloadError
from offload.values import form as form
from offload.values.encodings import (
    MAX_DECODED_BYTES,
    Array,
    Buffer,
    Jpeg,
    Mask,
    decode_jpeg,
    decode_mask,
)
from offload.values.form import (
    DTYPES,
    MAX_BUFFERS,
    MAX_INT_BYTES,
    MAX_KEY_CHARACTERS,
    MAX_NODES,
    MAX_RANK,
    Plain,
    Value,
    Walk,
)


def unpack(
    tree: object, buffers: Sequence[memoryview], *, max_decoded_bytes: int = MAX_DECODED_BYTES
) -> Value:
    """Turn what a peer sent back into the value that it packed.

    Args:
        tree: As in ``Packed``; not trusted.
        buffers: As in ``Packed``. Arrays are views on them, writable where the buffer is, and
            keep them exported for as long as they live. Small arrays, and arrays in the other
            byte order, are writable copies.
        max_decoded_bytes: Most that all encoded arrays together may take when they are decoded.

    Raises:
        PayloadError: The tree is malformed, does not fit the buffers, or is past a limit.
    """
    if len(buffers) > MAX_BUFFERS:
        raise PayloadError(f"value has {len(buffers)} buffers, expected at most {MAX_BUFFERS}")
    unpacking = _Unpacking(buffers, max_decoded_bytes)
    value = unpacking.unpack(tree)
    if unpacking.used != len(buffers):
        raise PayloadError(f"value uses {unpacking.used} buffers, expected {len(buffers)}")
    return value


class _Unpacking(Walk):
    """One call of ``unpack``."""

    __slots__ = ("buffers", "max_decoded_bytes", "used")

    def __init__(self, buffers: Sequence[memoryview], max_decoded_bytes: int) -> None:
        # Instead of calling the other one: this is done for every frame.
        self.nodes = 0
        self.path: list[str | int] = []
        self.decoded_bytes = 0
        self.buffers = buffers
        self.max_decoded_bytes = max_decoded_bytes
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
            if type(key) is not str or not key.isascii() or len(key) > MAX_KEY_CHARACTERS:
                self.check_key(key)
        path = self.path
        path.append("")
        value: dict[str, Value] = {}
        for key, item in node.items():
            # Not by the table: most values of a dict are numbers, and this is faster.
            if type(item) is float:
                value[key] = item
            else:
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
        if 0 in shape or len(shape) > MAX_RANK:
            self.check_shape(shape, dtype)
        return self._elements(dtype, data, math.prod(shape)).reshape(shape)

    def unpack_mask(self, node: list[object]) -> Array:
        if len(node) < 5 or not all(type(each) is int and 0 <= each <= 255 for each in node[3:5]):
            raise self.error("mask", "is malformed, expected a dtype, a place and two values")
        dtype = self._dtype(node[1])
        if dtype.char not in "?B":
            raise self.error("mask", f"has dtype {dtype.str}, expected |b1 or |u1")
        data, shape = self._encoded(node[2]), self._dimensions(node[5:])
        self._enter_decoded(shape, dtype)
        mask = Mask(low=cast("int", node[3]), high=cast("int", node[4]), data=data)
        try:
            return decode_mask(mask, shape, dtype)
        except PayloadError as error:
            raise self.error("mask", f"cannot be decoded: {error}") from error

    def unpack_jpeg(self, node: list[object]) -> Array:
        if len(node) < 2:
            raise self.error("picture", "is malformed, expected a place and dimensions")
        jpeg, shape = Jpeg(data=self._encoded(node[1])), self._dimensions(node[2:])
        self._enter_decoded(shape, DTYPES["|u1"])
        try:
            return decode_jpeg(jpeg, shape)
        except PayloadError as error:
            raise self.error("picture", f"cannot be decoded: {error}") from error

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
        dtype = DTYPES.get(name) if type(name) is str else None
        if dtype is None:
            raise self.error("array", "has no known dtype")
        return dtype

    def _dimensions(self, items: list[object]) -> list[int]:
        for item in items:
            if type(item) is not int or item < 0:
                raise self.error("array", "has a dimension that is not an int of at least 0")
        return cast("list[int]", items)

    def _data(self, place: object) -> bytearray | memoryview:
        # A copy, since an array on bytes could not be written to, and small arrays should not
        # behave otherwise than large ones.
        return bytearray(place) if type(place) is bytes else self._buffer(place)

    def _encoded(self, place: object) -> Buffer:
        return place if type(place) is bytes else self._buffer(place)

    def _enter_decoded(self, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        """Check the limits of an encoded array, before it takes memory."""
        self.check_shape(shape, dtype)
        self.decoded_bytes += math.prod(shape)
        if self.decoded_bytes > self.max_decoded_bytes:
            problem = f"makes more than {self.max_decoded_bytes} bytes when all is decoded"
            raise self.error("value", problem)

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
    form.LIST: _Unpacking.unpack_list,
    form.TUPLE: _Unpacking.unpack_tuple,
    form.INT: _Unpacking.unpack_int,
    form.ARRAY: _Unpacking.unpack_array,
    form.SCALAR: _Unpacking.unpack_scalar,
    form.STR: _Unpacking.unpack_long_str,
    form.BYTES: _Unpacking.unpack_long_bytes,
    form.ARRAY_LIST: _Unpacking.unpack_array_list,
    form.ARRAY_TUPLE: _Unpacking.unpack_array_tuple,
    form.MASK: _Unpacking.unpack_mask,
    form.JPEG: _Unpacking.unpack_jpeg,
}

"""What may cross the network, and the form in which it travels.

``pack`` turns a value into a small tree, which an envelope can hold, and a list of buffers, which
travel beside it: a picture's buffer is the picture's own memory. ``unpack`` is the way back, for
trees from a peer that is not trusted. How a tree becomes bytes, and how many bytes a message may
have, is the business of ``wire``.

    packed = pack({"frame": frame, "time_s": 1.5})
    packed.tree     # {"frame": [3, "|u1", 0, 281, 500, 3], "time_s": 1.5}
    packed.buffers  # one memoryview of 421500 bytes, on the memory of ``frame``
    unpack(packed.tree, packed.buffers)["frame"]  # a view on that buffer

``form`` says what a tree holds. Arrays that are named for it travel encoded, in one of the
ways of ``encodings``; `unpack` finds out by itself.

    packed = pack({"mask": mask}, encodings={"mask": PACKED}, clock=time.perf_counter)
    packed.trials   # (Trial(name="mask", raw_bytes=140500, travelled_bytes=403, ...),)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

import numpy as np

from offload.errors import PayloadError
from offload.values import form as form
from offload.values.encodings import (
    MAX_DECODED_BYTES,
    RAW,
    Array,
    Buffer,
    Encoding,
    Jpeg,
    Trial,
    encode,
)
from offload.values.form import (
    DTYPES,
    MAX_BUFFERS,
    MAX_DEPTH,
    MAX_INLINE_ARRAY_BYTES,
    MAX_INLINE_TEXT_BYTES,
    MAX_INT_BYTES,
    MAX_JOINED_ARRAY_BYTES,
    MAX_KEY_CHARACTERS,
    MAX_NODES,
    MAX_RANK,
    Plain,
    Value,
    Walk,
)
from offload.values.unpacking import unpack

__all__ = [
    "MAX_BUFFERS",
    "MAX_DECODED_BYTES",
    "MAX_DEPTH",
    "MAX_NODES",
    "Array",
    "Packed",
    "Value",
    "pack",
    "raw_bytes",
    "unpack",
]

Clock = Callable[[], float]

# So many values of a list say what the others take.
_MOST_SIZED: Final = 64

# What a number takes in an envelope, with the byte that says what it is.
_NUMBER_BYTES: Final = 9

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
        trials: What each encoding that was asked for brought.
        decoded_bytes: What all arrays that travel encoded take when they are decoded.
    """

    tree: object
    buffers: tuple[memoryview, ...]
    trials: tuple[Trial, ...] = ()
    decoded_bytes: int = 0


def pack(
    value: Value, *, encodings: Mapping[str, Encoding] | None = None, clock: Clock | None = None
) -> Packed:
    """Turn ``value`` into the form in which it travels.

    C-contiguous arrays of more than ``MAX_INLINE_ARRAY_BYTES`` are not copied, unless they come
    as a list or tuple of many small ones. Types of one width count as one: where numpy tells
    ``longlong`` from ``int64``, it arrives as ``int64``.

    Args:
        value: What is to travel. Not modified.
        encodings: How the values of these names travel, if ``value`` is a dict. What an encoding
            does not fit travels raw, and so do small arrays; names that are not there are ignored.
        clock: Seconds, for ``Trial.encode_s``; without it nothing is timed, and that is 0.

    Raises:
        PayloadError: ``value`` holds something that cannot cross, or too much; the message names
            the type and where it is, as in ``set at circle[2] cannot cross the network``.
    """
    packing = _Packing()
    if encodings and type(value) is dict:
        packing.clock = clock or _no_clock
        value = _with_wishes(value, encodings)
    tree = packing.pack(value)
    buffers = packing.buffers
    if len(buffers) > MAX_BUFFERS:
        raise PayloadError(
            f"value holds {len(buffers)} large arrays, str and bytes, expected at most "
            f"{MAX_BUFFERS}"
        )
    if packing.trials:
        return Packed(
            tree=tree,
            buffers=tuple(buffers),
            trials=tuple(packing.trials),
            decoded_bytes=packing.decoded_bytes,
        )
    return Packed(tree=tree, buffers=tuple(buffers))


def raw_bytes(value: Value, *, depth: int = MAX_DEPTH) -> int:
    """Return about how many bytes ``value`` takes if it travels as it is.

    Of a long list some values stand for all. What is nested deeper than ``depth`` is left out: it
    cannot travel.
    """
    if isinstance(value, np.ndarray):
        return int(value.nbytes)
    if isinstance(value, str | bytes):
        return len(value)
    if not isinstance(value, dict | list | tuple):
        return _NUMBER_BYTES
    if not value or depth == 0:
        return 0
    inside = value.values() if isinstance(value, dict) else value
    sample = [raw_bytes(each, depth=depth - 1) for each in islice(inside, _MOST_SIZED)]
    return sum(sample) * len(value) // len(sample)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wish:
    """A value in the place of which its encoded form is to travel."""

    name: str
    value: Any
    encoding: Encoding


def _with_wishes(values: dict[str, Any], encodings: Mapping[str, Encoding]) -> dict[str, Any]:
    wishes = {
        name: _Wish(name=name, value=values[name], encoding=encoding)
        for name, encoding in encodings.items()
        if name in values and encoding != RAW
    }
    # The names keep their order.
    return {**values, **wishes}


def _no_clock() -> float:
    return 0.0


class _Packing(Walk):
    """One call of ``pack``."""

    __slots__ = ("buffers", "clock", "trials")

    def __init__(self) -> None:
        # Instead of calling the other one: this is done for every frame.
        self.nodes = 0
        self.path: list[str | int] = []
        self.decoded_bytes = 0
        self.buffers: list[memoryview] = []
        self.trials: list[Trial] = []
        self.clock = _no_clock

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
        return [form.INT, value.to_bytes(size, "big", signed=True)]

    def pack_str(self, value: str) -> object:
        if len(value) <= MAX_INLINE_TEXT_BYTES and value.isascii():
            return value
        self.check_text(value)
        data = value.encode()
        return (
            value if len(data) <= MAX_INLINE_TEXT_BYTES else [form.STR, self._add(memoryview(data))]
        )

    def pack_bytes(self, value: bytes) -> object:
        if len(value) <= MAX_INLINE_TEXT_BYTES:
            return value
        return [form.BYTES, self._add(memoryview(value))]

    def pack_scalar(self, value: np.generic) -> object:
        return [form.SCALAR, value.dtype.str, value.tobytes()]

    def pack_array(self, value: Array) -> list[object]:
        dtype, shape = value.dtype, value.shape
        name = _NAMES.get(dtype)
        if name is None:
            raise self.error(f"array of {dtype}", "cannot cross the network")
        if 0 in shape or len(shape) > MAX_RANK:
            self.check_shape(shape, dtype)
        return [form.ARRAY, name, self._place(value), *shape]

    def pack_wish(self, wish: _Wish) -> object:
        array = wish.value
        raw_bytes = array.nbytes if type(array) is np.ndarray else 0
        fits = MAX_INLINE_ARRAY_BYTES < raw_bytes <= MAX_DECODED_BYTES - self.decoded_bytes
        began = self.clock()
        encoded = encode(array, wish.encoding) if fits else None
        trial = Trial(
            name=wish.name,
            encoding=wish.encoding,
            raw_bytes=raw_bytes,
            travelled_bytes=raw_bytes if encoded is None else len(encoded.data),
            encode_s=self.clock() - began,
        )
        self.trials.append(trial)
        if encoded is None:
            return self.pack(array)
        self.check_shape(array.shape, array.dtype)
        self.decoded_bytes += raw_bytes
        place = self._place_bytes(encoded.data)
        if isinstance(encoded, Jpeg):
            return [form.JPEG, place, *array.shape]
        return [form.MASK, array.dtype.str, place, encoded.low, encoded.high, *array.shape]

    def pack_list(self, value: list[Any]) -> object:
        self.enter(len(value))
        return self._join(form.ARRAY_LIST, value) or self._pack_items([form.LIST], value)

    def pack_tuple(self, value: tuple[Any, ...]) -> object:
        self.enter(len(value))
        return self._join(form.ARRAY_TUPLE, value) or self._pack_items([form.TUPLE], value)

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
            # Not by the table: most values of a dict are numbers, and this is faster.
            kind = type(item)
            if kind is float or item is None or kind is bool:
                tree[key] = item
            else:
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
        if dtype.str not in DTYPES or not all(
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
        memory = array.data
        if not memory.c_contiguous:
            memory = np.ascontiguousarray(array).data
        return self._add(memory.cast("B"))

    def _place_bytes(self, data: Buffer) -> int | bytes:
        if len(data) <= MAX_INLINE_TEXT_BYTES:
            return bytes(data)
        return self._add(memoryview(data))

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


# Looked up by the dtype itself, which is faster than asking for its text.
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}

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
    _Wish: _Packing.pack_wish,
    **dict.fromkeys(_SCALAR_TYPES, _Packing.pack_scalar),
}

"""How results, and the state of a stream's tasks, become bytes for a store, and come back.

A result is plain msgpack, so that a program in any language can read it. A state is read by the
task that gave it and by nobody else: it keeps every type, in the form in which values travel.

    blob = pack_result({"circle": (3, 4), "area": np.int64(7)})
    unpack_result(blob)  # {"circle": [3, 4], "area": 7}
"""

from collections.abc import Mapping
from typing import Final

import msgpack
import numpy as np

from offload.errors import PayloadError, ResultsError
from offload.sizes import size_in_words
from offload.values import Array, Value, pack, unpack

# The largest message that a server accepts by default; a result is smaller than its frame.
MAX_RESULT_BYTES: Final = 64 * 1024 * 1024

# A state is written with each group of frames: at 64 MiB a store would do nothing else.
MAX_STATE_BYTES: Final = 64 * 1024 * 1024

_ARRAY_EXTENSION: Final = 1
_INTEGER_EXTENSION: Final = 2

# What `Value` allows: objects would need pickle, and a long double differs between machines.
_ONE_BYTE_DTYPES: Final = ("|b1", "|i1", "|u1")
_WIDE_DTYPES: Final = ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_DTYPES: Final = frozenset(
    (*_ONE_BYTE_DTYPES, *(f"{order}{each}" for order in "<>" for each in _WIDE_DTYPES))
)


def pack_result(value: object) -> bytes:
    """Return ``value`` as msgpack.

    Tuples become lists and numpy scalars Python's own. A numpy array becomes an extension of type 1
    (msgpack of dtype, shape, bytes in C order), and so does a complex scalar, with an empty shape.
    An integer outside 64 bits becomes an extension of type 2 (decimal text).

    Raises:
        PayloadError: A value of another type, a key that is no text, nesting past msgpack's limit,
            or more than `MAX_RESULT_BYTES`.
    """
    try:
        packed = bytes(msgpack.packb(value, default=_pack_extension))
        if len(packed) > MAX_RESULT_BYTES:
            raise ValueError(
                f"it is {size_in_words(len(packed))}, expected at most {MAX_RESULT_BYTES}"
            )
        # Reading it back at once proves that what is stored can be read, at msgpack's own speed.
        _unpack(packed)
    except (TypeError, ValueError, OverflowError, msgpack.UnpackException) as error:
        raise PayloadError(f"result cannot be stored: {error}") from error
    return packed


def unpack_result(blob: bytes) -> object:
    """Return the value that `pack_result` packed; its arrays are read-only.

    Raises:
        ResultsError: The bytes are not a packed result.
    """
    if len(blob) > MAX_RESULT_BYTES:
        raise ResultsError(
            f"result is {size_in_words(len(blob))}, expected at most {MAX_RESULT_BYTES}"
        )
    try:
        return _unpack(blob)
    except (TypeError, ValueError, OverflowError, msgpack.UnpackException) as error:
        raise ResultsError(f"bytes are not a stored result: {error}") from error


def pack_state(state: Mapping[str, Value]) -> bytes:
    """Return the states of a stream's tasks, by name, as bytes for `StreamCommit.state`.

    Raises:
        PayloadError: A state holds what is no `Value`, or more than `MAX_STATE_BYTES`.
    """
    packed = pack(dict(state))
    state_bytes = sum(each.nbytes for each in packed.buffers)
    if state_bytes > MAX_STATE_BYTES:
        raise PayloadError(
            f"state is {size_in_words(state_bytes)}, expected at most {MAX_STATE_BYTES}"
        )
    return bytes(msgpack.packb([packed.tree, list(packed.buffers)]))


def unpack_state(blob: bytes) -> dict[str, Value]:
    """Return what `pack_state` packed, each value of its own type; arrays are writable.

    Raises:
        ResultsError: The bytes are not a packed state.
    """
    try:
        tree, buffers = msgpack.unpackb(blob)
        state = unpack(tree, [memoryview(bytearray(each)) for each in buffers])
    except (TypeError, ValueError, PayloadError, msgpack.UnpackException) as error:
        raise ResultsError(f"bytes are not a stored state: {error}") from error
    if not isinstance(state, dict):
        raise ResultsError(f"stored state is {type(state).__name__}, expected states by name")
    return state


def _unpack(blob: bytes) -> object:
    return msgpack.unpackb(blob, ext_hook=_unpack_extension, object_pairs_hook=_text_keys)


def _pack_extension(value: object) -> object:
    if isinstance(value, int):
        return msgpack.ExtType(_INTEGER_EXTENSION, str(int(value)).encode())
    if isinstance(value, np.generic) and isinstance(value.item(), bool | int | float):
        return value.item()
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.str not in _DTYPES:
            raise TypeError(f"array of dtype {array.dtype} is no array of numbers")
        parts = [array.dtype.str, list(array.shape), array.tobytes()]
        return msgpack.ExtType(_ARRAY_EXTENSION, msgpack.packb(parts))
    raise TypeError(f"{type(value).__name__} is no type that a result may hold")


def _unpack_extension(code: int, data: bytes) -> object:
    if code == _INTEGER_EXTENSION:
        return int(data)
    if code != _ARRAY_EXTENSION:
        raise ValueError(f"extension type is {code}, expected 1 or 2")
    dtype, shape, content = msgpack.unpackb(data)
    if dtype not in _DTYPES:
        raise ValueError(f"array dtype is {dtype!r:.40}, expected one of numbers")
    if min(shape, default=0) < 0:
        raise ValueError(f"array shape is {shape!r:.40}, expected no negative dimension")
    array: Array = np.ndarray(tuple(shape), np.dtype(dtype), buffer=content)
    if array.nbytes != len(content):
        raise ValueError(f"array has {len(content)} bytes, expected {array.nbytes}")
    return array


def _text_keys(pairs: list[tuple[object, object]]) -> dict[object, object]:
    for key, _ in pairs:
        if not isinstance(key, str):
            raise TypeError(f"key {key!r:.40} of a dict is {type(key).__name__}, expected str")
    return dict(pairs)

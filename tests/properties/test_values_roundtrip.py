"""Any value arrives as it was sent; any tree gives a value or a PayloadError, nothing else."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from offload.errors import PayloadError
from offload.values import Packed, Value, pack, unpack
from offload.values.encodings import (
    PACKED,
    Jpeg,
    Mask,
    decode_jpeg,
    decode_mask,
    encode_jpeg,
    encode_mask,
)

dtypes = st.sampled_from(
    [np.dtype(f"{kind}{size}") for size in (2, 4, 8) for kind in "iuf"]
    + [np.dtype(name) for name in ("b1", "i1", "u1", "c8", "c16")]
)
shapes = npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
arrays: st.SearchStrategy[np.ndarray[Any, Any]] = dtypes.flatmap(
    lambda dtype: npst.arrays(dtype, shapes)
)
alike = st.tuples(dtypes, st.integers(0, 3)).flatmap(
    lambda kind: st.lists(
        npst.arrays(kind[0], npst.array_shapes(min_dims=kind[1], max_dims=kind[1], min_side=0)),
        max_size=5,
    )
)
texts = st.text() | st.builds(lambda text: text * 500, st.text(min_size=1))
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | texts
    | texts.map(str.encode)
    | arrays
    | arrays.filter(lambda array: array.ndim == 0).map(lambda array: array[()])
    | alike
    | alike.map(tuple)
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=5)
    ),
    max_leaves=12,
)

# Pieces of real trees in wrong places come further than noise does.
hints = st.sampled_from(
    [
        *range(-1, 12),
        2**31,
        2**32,
        2**62,
        2**63,
        2**64 - 1,
        *["|u1", "|b1", "<f4", ">f8", "<c16", "|O", "<M8[s]", "i4,f4", "\ud800", b"", bytes(8)],
    ]
)
plain = hints | st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
tagged = st.builds(lambda tag, rest: [tag, *rest], st.integers(0, 10), st.lists(hints, max_size=9))
trees = st.recursive(
    plain | tagged,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.builds(lambda tag, rest: [tag, *rest], st.integers(0, 10), st.lists(inner, max_size=6))
        | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=15,
)


def received(packed: Packed) -> Value:
    return unpack(packed.tree, [memoryview(bytearray(buffer)) for buffer in packed.buffers])


def same(found: object, sent: object) -> bool:
    if type(found) is not type(sent):
        return False
    if isinstance(found, np.ndarray | np.generic) and isinstance(sent, np.ndarray | np.generic):
        return (found.shape, found.dtype, found.tobytes()) == (
            sent.shape,
            sent.dtype,
            sent.tobytes(),
        )
    if isinstance(found, list | tuple) and isinstance(sent, list | tuple):
        return len(found) == len(sent) and all(map(same, found, sent))
    if isinstance(found, dict) and isinstance(sent, dict):
        return list(found) == list(sent) and all(same(found[key], sent[key]) for key in found)
    if isinstance(found, float) and isinstance(sent, float) and math.isnan(sent):
        return math.isnan(found)
    return found == sent


def is_plain(node: object) -> bool:
    if type(node) is list:
        return all(map(is_plain, node))
    if type(node) is dict:
        return all(type(key) is str and is_plain(item) for key, item in node.items())
    if type(node) is int:
        return -(2**63) <= node < 2**63
    return node is None or type(node) in (bool, float, str, bytes)


@given(values)
def test_any_value_arrives_as_it_was_sent(value: Value) -> None:
    packed = pack(value)
    assert is_plain(packed.tree)
    assert all((buffer.format, buffer.ndim) == ("B", 1) for buffer in packed.buffers)
    assert same(received(packed), value)


@given(trees, st.lists(st.binary(max_size=40), max_size=3))
def test_any_tree_gives_a_value_or_a_payload_error(tree: object, memory: list[bytes]) -> None:
    try:
        value = unpack(tree, [memoryview(piece) for piece in memory])
    except PayloadError:
        return
    assert same(received(pack(value)), value)


@given(values, st.data())
def test_a_damaged_tree_gives_a_value_or_a_payload_error(value: Value, data: st.DataObject) -> None:
    packed = pack(value)
    nodes = [packed.tree]
    for node in nodes:
        nodes.extend(node if type(node) is list else [])
        nodes.extend(node.values() if type(node) is dict else [])
    lists = [node for node in nodes if type(node) is list and node]
    if lists:
        damaged = data.draw(st.sampled_from(lists))
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(plain)
    try:
        found = received(packed)
    except PayloadError:
        return
    assert same(received(pack(found)), found)


two_valued = st.tuples(
    npst.arrays(bool, npst.array_shapes(max_dims=4, max_side=40)),
    st.integers(0, 255),
    st.integers(0, 255),
).map(lambda drawn: np.where(drawn[0], drawn[1], drawn[2]).astype(np.uint8))
masks = two_valued | two_valued.map(lambda mask: mask.astype(bool)) | two_valued.map(np.transpose)


@given(st.dictionaries(st.text(max_size=3), masks | arrays | leaves, max_size=4))
def test_any_value_arrives_as_it_was_sent_by_a_lossless_encoding(value: dict[str, Value]) -> None:
    packed = pack(value, encodings=dict.fromkeys(value, PACKED))
    assert is_plain(packed.tree)
    assert same(received(packed), value)
    assert len(packed.trials) == len(value)


@given(masks)
def test_any_array_of_two_values_is_a_mask(mask: np.ndarray[Any, Any]) -> None:
    encoded = encode_mask(mask)
    assert encoded is not None
    assert same(decode_mask(encoded, mask.shape, mask.dtype), np.ascontiguousarray(mask))


dimensions = st.lists(st.integers(0, 70), max_size=4)


@given(st.binary(max_size=200), dimensions, st.integers(0, 255), st.integers(0, 255))
def test_garbage_is_a_mask_or_a_payload_error(
    data: bytes, shape: list[int], low: int, high: int
) -> None:
    try:
        found = decode_mask(Mask(low=low, high=high, data=data), shape, np.dtype(np.uint8))
    except PayloadError:
        return
    assert list(found.shape) == shape
    assert set(np.unique(found)) <= {low, high}


@given(masks, st.data())
def test_a_damaged_mask_is_a_mask_or_a_payload_error(
    mask: np.ndarray[Any, Any], data: st.DataObject
) -> None:
    encoded = encode_mask(mask)
    assert encoded is not None
    damaged = Mask(low=encoded.low, high=encoded.high, data=_damaged(bytes(encoded.data), data))
    try:
        found = decode_mask(damaged, mask.shape, mask.dtype)
    except PayloadError:
        return
    assert found.shape == mask.shape


pictures = st.sampled_from([(9, 17, 3), (16, 8), (1, 1, 3), (40, 33)]).flatmap(
    lambda shape: npst.arrays(np.uint8, shape)
)


@given(pictures, st.integers(1, 100), st.data())
def test_a_damaged_picture_is_a_picture_or_a_payload_error(
    picture: np.ndarray[Any, Any], quality: int, data: st.DataObject
) -> None:
    encoded = encode_jpeg(picture, quality)
    assert encoded is not None
    damaged = Jpeg(data=_damaged(bytes(encoded.data), data))
    try:
        found = decode_jpeg(damaged, picture.shape)
    except PayloadError:
        return
    assert (found.shape, found.dtype) == (picture.shape, picture.dtype)


def _damaged(sound: bytes, data: st.DataObject) -> bytes:
    """Change some bytes, or cut or add some."""
    start = data.draw(st.integers(0, len(sound)))
    stop = data.draw(st.integers(start, min(len(sound), start + 8)))
    return sound[:start] + data.draw(st.binary(max_size=8)) + sound[stop:]

"""Any value arrives as it was sent; any tree gives a value or a PayloadError, nothing else."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from offload.errors import PayloadError
from offload.values import Packed, Value, pack, unpack

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
        *range(-1, 10),
        2**31,
        2**32,
        2**62,
        2**63,
        2**64 - 1,
        *["|u1", "|b1", "<f4", ">f8", "<c16", "|O", "<M8[s]", "i4,f4", "\ud800", b"", bytes(8)],
    ]
)
plain = hints | st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
tagged = st.builds(lambda tag, rest: [tag, *rest], st.integers(0, 8), st.lists(hints, max_size=9))
trees = st.recursive(
    plain | tagged,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.builds(lambda tag, rest: [tag, *rest], st.integers(0, 8), st.lists(inner, max_size=6))
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

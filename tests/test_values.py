"""What may cross the network arrives as it was sent; what may not is refused by name and place."""

import enum
from collections import OrderedDict, namedtuple
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from offload import values
from offload.errors import PayloadError
from offload.values import Packed, Value, pack, raw_bytes, unpack
from offload.values.encodings import MAX_DECODED_BYTES, PACKED, RAW, Encoding, Trial, parse

Point = namedtuple("Point", "x y")


class Side(enum.IntEnum):
    DEVICE = 1


class Picture(np.ndarray[Any, Any]):
    """A subclass of an array, as users make them."""


def received(packed: Packed) -> Value:
    """Unpack from memory of our own, as a receiver does."""
    return unpack(packed.tree, [memoryview(bytearray(buffer)) for buffer in packed.buffers])


def assert_same(found: object, sent: object) -> None:
    """Equal in type, in dtype and in every bit, all the way down."""
    assert type(found) is type(sent)
    if isinstance(found, np.ndarray) and isinstance(sent, np.ndarray):
        assert found.shape == sent.shape
        assert found.dtype == sent.dtype
        assert found.tobytes() == sent.tobytes()
        assert found.flags.c_contiguous
        assert found.flags.writeable
    elif isinstance(found, np.generic) and isinstance(sent, np.generic):
        assert found.tobytes() == sent.tobytes()
    elif isinstance(found, list | tuple) and isinstance(sent, list | tuple):
        assert len(found) == len(sent)
        for one, other in zip(found, sent, strict=True):
            assert_same(one, other)
    elif isinstance(found, dict) and isinstance(sent, dict):
        assert list(found) == list(sent)
        for key in found:
            assert_same(found[key], sent[key])
    else:
        assert repr(found) == repr(sent)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        False,
        0,
        1,
        -(2**63),
        2**63 - 1,
        2**63,
        -(2**63) - 1,
        2**64,
        10**300,
        -(10**300),
        0.0,
        -0.0,
        1.5,
        float("inf"),
        float("nan"),
        "",
        "blau und grün",
        "x" * 4096,
        "x" * 4097,
        "ü" * 2049,
        b"",
        b"\x00\xff",
        b"x" * 4096,
        b"x" * 4097,
        (),
        [],
        {},
        (1,),
        [1, [2, (3, [4.0])], {"a": (None, True)}],
        {"circle": (12.5, 7.0, 30), "": {"": []}, "größe": b"1"},
    ],
    ids=lambda value: repr(value)[:20],
)
def test_plain_values_arrive_as_they_were_sent(value: Value) -> None:
    assert_same(received(pack(value)), value)


@pytest.mark.parametrize("code", list("?bBhHiIlLqQefdFD"))
@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 2), (5,), (20, 40), (1,) * 32])
def test_arrays_of_every_dtype_and_shape_arrive_as_they_were_sent(
    code: str, shape: tuple[int, ...]
) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(code)
    assert_same(received(pack(array)), array)


@pytest.mark.parametrize("code", list("?bBhHiIlLefdFD"))
def test_numpy_scalars_arrive_as_numpy_scalars_of_the_same_type(code: str) -> None:
    scalar = np.dtype(code).type(1)
    assert_same(received(pack(scalar)), scalar)


def test_a_longlong_arrives_as_the_int64_that_it_equals() -> None:
    assert_same(received(pack(np.longlong(-1))), np.dtype("=i8").type(-1))


@pytest.mark.parametrize("elements", [4, 400])
def test_arrays_in_the_other_byte_order_arrive_equal_in_native_order(elements: int) -> None:
    sent = np.arange(elements, dtype=">f4")
    found = received(pack([sent, {"again": sent}]))
    assert isinstance(found, list)
    for array in (found[0], found[1]["again"]):
        assert array.dtype == np.dtype("f4")
        assert array.dtype.isnative
        assert array.flags.writeable
        np.testing.assert_array_equal(array, sent)


@pytest.mark.parametrize("place", ["f", "reversed", "every_other"])
@pytest.mark.parametrize("side", [5, 50])
def test_arrays_in_any_memory_layout_arrive_equal_in_c_order(place: str, side: int) -> None:
    square = np.arange(side * side, dtype=np.int16).reshape(side, side)
    sent = {"f": square.T, "reversed": square[::-1], "every_other": square[:, ::2]}[place]
    assert not sent.flags.c_contiguous
    assert_same(received(pack(sent)), np.ascontiguousarray(sent))


def test_read_only_arrays_arrive_writable() -> None:
    sent = np.zeros(1000)
    sent.flags.writeable = False
    assert_same(received(pack(sent)), np.zeros(1000))


def test_a_picture_travels_without_a_copy_on_either_side() -> None:
    picture = np.zeros((281, 500, 3), np.uint8)
    packed = pack({"frame": picture, "time_s": 1.5})
    assert packed.tree == {"frame": [3, "|u1", 0, 281, 500, 3], "time_s": 1.5}
    [buffer] = packed.buffers
    assert (buffer.format, buffer.ndim, buffer.nbytes) == ("B", 1, picture.nbytes)
    assert np.shares_memory(np.frombuffer(buffer, np.uint8), picture)
    memory = bytearray(buffer)
    value = unpack(packed.tree, [memoryview(memory)])
    assert isinstance(value, dict)
    assert np.shares_memory(value["frame"], np.frombuffer(memory, np.uint8))


def test_a_buffer_stays_exported_while_an_array_lives_on_it() -> None:
    packed = pack(np.zeros(1000))
    memory = bytearray(packed.buffers[0])
    array = unpack(packed.tree, [memoryview(memory)])
    with pytest.raises(BufferError):
        memory.clear()
    del array
    memory.clear()


def test_arrays_on_a_read_only_buffer_are_read_only() -> None:
    packed = pack(np.zeros(1000))
    array = unpack(packed.tree, [memoryview(bytes(packed.buffers[0]))])
    assert isinstance(array, np.ndarray)
    assert not array.flags.writeable


def test_arrays_of_up_to_256_bytes_travel_inside_the_tree() -> None:
    assert pack(np.zeros(256, np.uint8)).tree == [3, "|u1", bytes(256), 256]
    assert pack(np.zeros(257, np.uint8)).tree == [3, "|u1", 0, 257]


def test_the_form_of_every_special_value_is_fixed() -> None:
    value = {
        "list": [1, (2, "a")],
        "large": 2**64,
        "pair": np.array([1, 2], ">i2"),
        "scalar": np.float32(1),
        "text": "x" * 4097,
        "data": b"y" * 4097,
    }
    packed = pack(value)
    assert packed.tree == {
        "list": [0, 1, [1, 2, "a"]],
        "large": [2, b"\x01" + bytes(8)],
        "pair": [3, ">i2", b"\x00\x01\x00\x02", 2],
        "scalar": [4, np.dtype("f4").str, np.float32(1).tobytes()],
        "text": [5, 0],
        "data": [6, 1],
    }
    assert [bytes(buffer) for buffer in packed.buffers] == [b"x" * 4097, b"y" * 4097]


@pytest.mark.parametrize("container", [list, tuple])
def test_many_small_arrays_of_one_kind_travel_as_one_buffer(container: type) -> None:
    contours = container(np.full((n, 1, 2), n, np.int32) for n in (30, 1, 0, 400))
    packed = pack(contours)
    assert len(packed.buffers) == 1
    assert isinstance(packed.tree, list)
    assert packed.tree[2:] == [0, 4, 30, 1, 2, 1, 1, 2, 0, 1, 2, 400, 1, 2]
    assert_same(received(packed), contours)


@pytest.mark.parametrize(
    "arrays",
    [
        [np.zeros(2, "f4"), np.zeros(2, "f8")],
        [np.zeros(2), np.zeros((1, 2))],
        [np.zeros(2), 1],
        [np.zeros(2)],
        (np.array(1), np.array(2)),
        [np.zeros((0, 3)), np.zeros((0, 4))],
        [np.arange(6.0).reshape(2, 3).T, np.arange(6.0).reshape(2, 3)[::-1]],
    ],
    ids=["dtypes", "ranks", "not_an_array", "one", "rank_0", "empty", "layouts"],
)
def test_lists_of_arrays_arrive_as_sent_however_alike_they_are(arrays: Value) -> None:
    found = received(pack(arrays))
    assert type(found) is type(arrays)
    assert isinstance(found, list | tuple)
    assert isinstance(arrays, list | tuple)
    for one, other in zip(found, arrays, strict=True):
        assert_same(one, np.array(other, order="C") if isinstance(other, np.ndarray) else other)


def test_lists_of_pictures_are_not_joined_since_that_would_copy_them() -> None:
    pictures = [np.zeros((480, 640), np.uint8) for _ in range(3)]
    packed = pack(pictures)
    for buffer, picture in zip(packed.buffers, pictures, strict=True):
        assert np.shares_memory(np.frombuffer(buffer, np.uint8), picture)
    assert_same(received(packed), pictures)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1, 2}, "set cannot cross the network"),
        ({"circle": [1, 2, {3}]}, r"set at circle\[2\] cannot cross the network"),
        ({"a": {"b c": ({},)}, "d": {"b c": (object(),)}}, r"object at d\['b c'\]\[0\] cannot"),
        ([[1], bytearray(2)], r"bytearray at \[1\] cannot"),
        (Fraction(1, 2), "Fraction cannot"),
        (1j, "complex cannot"),
        ([Side.DEVICE], r"Side at \[0\] is a subclass of int"),
        (Point(1, 2), "Point is a subclass of tuple"),
        (OrderedDict(a=1), "OrderedDict is a subclass of dict"),
        (np.str_("a"), "str_ is a subclass of str"),
        (np.bytes_(b"a"), "bytes_ is a subclass of bytes"),
        (np.datetime64("2024-01-01"), "datetime64 cannot"),
        (np.longdouble(1), "longdouble cannot"),
        (np.ma.masked_array([1], [True]), "MaskedArray is a subclass of ndarray"),
        (np.zeros(3).view(Picture), "Picture is a subclass of ndarray"),
        ({"a": np.array([{}])}, "array of object at a cannot cross the network"),
        (np.zeros(3, "i4,f4"), "array of .* cannot cross"),
        (np.zeros(3, "M8[s]"), r"array of datetime64\[s\] cannot cross"),
        (np.zeros(3, "U2"), "array of <U2 cannot cross"),
        ([np.array(["a"]), np.array(["b"])], r"array of <U1 at \[0\] cannot cross"),
        ({"a": {1: 2}}, "dict at a has a key of type int, expected str"),
        ({"a": {np.str_("b"): 2}}, "dict at a has a key of type str_, expected str"),
        ({"k" * 1025: 1}, "dict has a key of 1025 characters, expected at most 1024"),
        ({"a": "\ud800"}, "str at a holds surrogates"),
        ("\ud800" * 5000, "str holds surrogates"),
        ({"\ud800": 1}, "str holds surrogates"),
        (2 ** (8 * 1024), "int takes 1025 bytes, expected at most 1024"),
        (np.zeros((0, 2**40)), "array is empty, but its other dimensions are too large"),
        ([np.zeros((0, 2**40))] * 2, "array is empty, but its other dimensions are too large"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_cross_is_refused_by_type_and_place(value: Any, message: str) -> None:
    with pytest.raises(PayloadError, match=f"^{message}"):
        pack(value)


@pytest.mark.skipif(np.longdouble(1).itemsize == 8, reason="long double is float64 here")
def test_arrays_of_long_doubles_are_refused() -> None:
    with pytest.raises(PayloadError, match=r"^array of \w+ cannot cross the network"):
        pack(np.zeros(3, np.longdouble))


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="numpy 1 stops at 32")
def test_arrays_of_more_than_32_dimensions_are_refused() -> None:
    with pytest.raises(PayloadError, match="has 33 dimensions, expected at most 32"):
        pack(np.zeros((1,) * 33))


def test_nesting_is_limited_at_both_ends() -> None:
    deepest = nested(values.MAX_DEPTH)
    assert_same(received(pack(deepest)), deepest)
    with pytest.raises(PayloadError, match="nested too deep, expected at most 32 levels"):
        pack([deepest])
    with pytest.raises(PayloadError, match="nested too deep"):
        unpack([0, pack(deepest).tree], [])


def test_a_value_that_holds_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append({"again": circle})
    with pytest.raises(PayloadError, match="nested too deep"):
        pack(circle)


@pytest.mark.parametrize(
    "half_of_the_limit",
    [
        [0] * (values.MAX_NODES // 2),
        (0,) * (values.MAX_NODES // 2),
        dict.fromkeys(map(str, range(values.MAX_NODES // 2)), 0),
        [np.array(1)] * (values.MAX_NODES // 2),
    ],
    ids=["list", "tuple", "dict", "arrays"],
)
def test_the_number_of_values_is_limited_at_both_ends(half_of_the_limit: Value) -> None:
    rest = values.MAX_NODES // 2 - 2
    fits = pack([half_of_the_limit, [0] * rest])
    assert isinstance(received(fits), list)
    with pytest.raises(PayloadError, match="makes more than 100000 in all"):
        pack([half_of_the_limit, [0] * (rest + 1)])
    assert isinstance(fits.tree, list)
    fits.tree[2].append(0)
    with pytest.raises(PayloadError, match="makes more than 100000 in all"):
        received(fits)


def test_the_number_of_buffers_is_limited_at_both_ends() -> None:
    most = {str(index): np.zeros(1000) for index in range(values.MAX_BUFFERS)}
    packed = pack(most)
    assert_same(received(packed), most)
    with pytest.raises(PayloadError, match="513 large arrays, str and bytes, expected at most 512"):
        pack({**most, "more": "x" * 5000})
    with pytest.raises(PayloadError, match="513 buffers, expected at most 512"):
        unpack(packed.tree, [*packed.buffers, memoryview(b"")])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([], "list has no known tag"),
        ([11], "list has no known tag"),
        ([-1], "list has no known tag"),
        ([True], "list has no known tag"),
        ([0.0], "list has no known tag"),
        ([[]], "list has no known tag"),
        ([{}], "list has no known tag"),
        ({1: 2}, "dict has a key of type int"),
        ({"k" * 1025: 2}, "dict has a key of 1025 characters"),
        ({"a": [0, {2}]}, r"set at a\[0\] is not part of a tree"),
        ((0, 1), "tuple is not part of a tree"),
        (Side.DEVICE, "Side is not part of a tree"),
        ("\ud800", "str holds surrogates"),
        ([2], "int is malformed"),
        ([2, 1], "int is malformed"),
        ([2, b"", b""], "int is malformed"),
        ([2, bytes(1025)], "int is malformed, expected at most 1024 bytes"),
        ([3], "array is malformed"),
        ([3, "|u1"], "array is malformed"),
        ([3, "|O", b"", 0], "array has no known dtype"),
        ([3, "u1", b"", 0], "array has no known dtype"),
        ([3, "<f16", b"", 0], "array has no known dtype"),
        ([3, [], b"", 0], "array has no known dtype"),
        ([3, "|u1", b"ab", 3], "array has 2 bytes, which do not fit"),
        ([3, "|u1", b"ab", 1], "array has 2 bytes, which do not fit"),
        ([3, "|u1", b"", 2**62, 2**62], "array has 0 bytes, which do not fit"),
        ([3, "|u1", b"", 2**32, 2**32], "array has 0 bytes, which do not fit"),
        ([3, "|u1", b"", 0, 2**63], "array is empty, but its other dimensions are too large"),
        ([3, "|u1", b"a", -1, -1], "array has a dimension that is not an int of at least 0"),
        ([3, "|u1", b"a", -1], "array has a dimension that is not an int of at least 0"),
        ([3, "|u1", b"a", 1.0], "array has a dimension"),
        ([3, "|u1", b"a", True], "array has a dimension"),
        ([3, "|u1", b"a", [1]], "array has a dimension"),
        ([3, "|u1", b"a", *[1] * 33], "array has 33 dimensions"),
        ([3, "|u1", 0, 1], "place is past the last of 0 buffers"),
        ([3, "|u1", -1, 1], "place is not the next buffer, expected 0"),
        ([3, "|u1", False, 1], "place is not the next buffer"),
        ([3, "|u1", "0", 1], "place is not the next buffer"),
        ([4, "<f4"], "numpy scalar is malformed"),
        ([4, "<f4", b"abc"], "array has 3 bytes"),
        ([4, "<f4", 0], "numpy scalar is malformed"),
        ([4, "<M8", bytes(8)], "array has no known dtype"),
        ([5], "long str or bytes is malformed"),
        ([6, b"abc"], "place is not the next buffer"),
        ([7, "|u1", b""], "arrays are malformed"),
        ([7, "|u1", b"", 0], "arrays are malformed"),
        ([7, "|u1", b"", -1], "arrays are malformed"),
        ([7, "|u1", b"", 10**6], "arrays are malformed"),
        ([7, "|u1", b"ab", 2, 1], "arrays have 1 dimensions for 2 of them"),
        ([7, "|u1", b"ab", 2, 1, 2], "array has 2 bytes, which do not fit"),
        ([8, "|u1", b"ab", 2, 3, -1], "array has a dimension"),
        ([8, "|u1", b"", 2, 0, 2**63, 0, 0], "array is empty, but"),
        ([9, "|u1", b"", 0], "mask is malformed"),
        ([9, "|u1", b"", 0, 256, 8], "mask is malformed"),
        ([9, "|u1", b"", -1, 0, 8], "mask is malformed"),
        ([9, "|u1", b"", 0, True, 8], "mask is malformed"),
        ([9, "|i1", b"", 0, 1, 8], r"mask has dtype \|i1, expected \|b1 or \|u1"),
        ([9, "<u2", b"", 0, 1, 8], "mask has dtype <u2"),
        ([9, "|O", b"", 0, 1, 8], "array has no known dtype"),
        ([9, "|u1", "", 0, 1, 8], "place is not the next buffer"),
        ([9, "|u1", b"", 0, 1, -8], "array has a dimension that is not"),
        ([9, "|u1", b"", 0, 1, 8], "mask cannot be decoded: mask does not decompress"),
        ([9, "|u1", b"", 0, 1, 0], "mask cannot be decoded: encoded array is 0 bytes"),
        ([9, "|u1", b"", 0, 1, 2**30], "value makes more than 67108864 bytes when all is decoded"),
        ([9, "|u1", b"", 0, 1, *[1] * 33], "array has 33 dimensions"),
        ([10], "picture is malformed"),
        ([10, b"", 4, 4, 4], "picture cannot be decoded: picture has shape"),
        ([10, b"", 4, 4], "picture cannot be decoded: picture is no complete JPEG"),
        ([10, b"", 2**20, 2**20, 3], "value makes more than 67108864 bytes"),
        ([10, 0, 4, 4], "place is past the last of 0 buffers"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_malformed_tree_is_refused(tree: object, message: str) -> None:
    with pytest.raises(PayloadError, match=f"^{message}"):
        unpack(tree, [])


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ([5, 0], "str is not UTF-8"),
        (None, "value uses 0 buffers, expected 1"),
        ([0, [6, 0], [6, 0]], r"place at \[1\] is not the next buffer, expected 1"),
        ([3, "<u2", 0, 2], "array has 2 bytes, which do not fit its shape and dtype <u2"),
    ],
    ids=repr,
)
def test_a_tree_that_does_not_fit_its_buffers_is_refused(tree: object, message: str) -> None:
    with pytest.raises(PayloadError, match=f"^{message}"):
        unpack(tree, [memoryview(b"\xff\xff")])


def test_a_long_key_of_a_peer_is_cut_and_escaped_in_messages() -> None:
    with pytest.raises(PayloadError) as raised:
        unpack({"\n" * 1000: []}, [])
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 200


# Encodings


JPEG = parse("jpeg:90")


class Ticks:
    """A clock that is one second later each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def spot(*, side: int = 300) -> Any:
    mask = np.zeros((side, side), np.uint8)
    mask[50:90, 20:70] = 255
    return mask


def noise() -> Any:
    return np.random.default_rng(0).integers(0, 256, (100, 120, 3), dtype=np.uint8)


def test_a_named_mask_travels_as_bits_and_arrives_bit_for_bit() -> None:
    packed = pack({"mask": spot(), "time_s": 1.5}, encodings={"mask": PACKED})
    assert isinstance(packed.tree, dict)
    tag, dtype, data, low, high, *shape = packed.tree["mask"]
    assert (tag, dtype, low, high, shape) == (9, "|u1", 0, 255, [300, 300])
    assert type(data) is bytes
    assert len(data) < 300
    assert packed.buffers == ()
    assert_same(received(packed), {"mask": spot(), "time_s": 1.5})


def test_a_mask_that_stays_large_gets_a_buffer() -> None:
    sent = {"mask": noise() > 127, "more": np.zeros(400)}
    packed = pack(sent, encodings={"mask": PACKED})
    assert isinstance(packed.tree, dict)
    assert packed.tree["mask"][:3] == [9, "|b1", 0]
    assert packed.tree["more"][:3] == [3, np.dtype("f8").str, 1]
    assert_same(received(packed), sent)


def test_a_named_picture_travels_as_jpeg_and_arrives_writable() -> None:
    packed = pack({"frame": noise()}, encodings={"frame": JPEG})
    assert packed.tree == {"frame": [10, 0, 100, 120, 3]}
    found = received(packed)
    assert isinstance(found, dict)
    assert found["frame"].shape == (100, 120, 3)
    assert found["frame"].flags.writeable


@pytest.mark.parametrize("encoding", [PACKED, JPEG])
@pytest.mark.parametrize(
    "value",
    [
        *[None, 1.5, "text", {"mask": [1]}, [np.zeros(900, np.uint8)]],
        *[np.zeros(900, "f4"), np.arange(900, dtype=np.uint8), np.zeros((0, 900), np.uint8)],
        np.zeros(256, np.uint8),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_an_encoding_does_not_fit_travels_raw(value: Value, encoding: Encoding) -> None:
    packed = pack({"it": value, "more": 1}, encodings={"it": encoding})
    plain = pack({"it": value, "more": 1})
    assert (packed.tree, packed.buffers) == (plain.tree, plain.buffers)
    [trial] = packed.trials
    assert trial.travelled_bytes == trial.raw_bytes == getattr(value, "nbytes", 0)


def test_values_keep_their_order_and_their_own_encodings() -> None:
    sent = {"frame": noise(), "mask": spot(), "other": spot(), "time_s": 1.5}
    packed = pack(sent, encodings={"mask": PACKED, "frame": JPEG, "absent": PACKED, "other": RAW})
    assert isinstance(packed.tree, dict)
    assert list(packed.tree) == ["frame", "mask", "other", "time_s"]
    assert [each[0] for each in list(packed.tree.values())[:3]] == [10, 9, 3]
    assert [each.name for each in packed.trials] == ["frame", "mask"]


def test_a_trial_says_what_an_encoding_cost() -> None:
    packed = pack({"mask": spot(), "time_s": 1.5}, encodings={"mask": PACKED}, clock=Ticks())
    assert isinstance(packed.tree, dict)
    assert packed.trials == (
        Trial(
            name="mask",
            encoding=PACKED,
            raw_bytes=90_000,
            travelled_bytes=len(packed.tree["mask"][2]),
            encode_s=1.0,
        ),
    )


def test_without_encodings_there_are_no_trials() -> None:
    assert pack({"mask": spot()}).trials == ()
    assert pack(spot(), encodings={"mask": PACKED}).trials == ()


def test_what_all_encoded_values_take_is_limited_at_both_ends() -> None:
    half = np.zeros(MAX_DECODED_BYTES // 2, np.uint8)
    both: dict[str, Value] = {"a": half, "b": half}
    packed = pack({**both, "c": spot()}, encodings=dict.fromkeys("abc", PACKED))
    assert [trial.travelled_bytes == trial.raw_bytes for trial in packed.trials] == [
        *[False, False, True],
    ]
    tree: Any = packed.tree
    assert tree["c"][0] == 3
    assert_same(received(packed), {**both, "c": spot()})
    with pytest.raises(PayloadError, match="more than 67108864 bytes when all is decoded"):
        unpack([0, tree["a"], tree["b"], [9, "|u1", b"", 0, 1, 1]], packed.buffers)


def test_a_mask_of_too_many_dimensions_is_refused_like_any_array() -> None:
    if np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("numpy 1 stops at 32")
    with pytest.raises(PayloadError, match="has 33 dimensions, expected at most 32"):
        pack({"mask": np.zeros((300,) + (1,) * 32, np.uint8)}, encodings={"mask": PACKED})


def test_a_damaged_mask_is_refused_with_its_place() -> None:
    packed = pack({"mask": spot()}, encodings={"mask": PACKED})
    tree: Any = packed.tree
    tree["mask"][-1] += 8
    with pytest.raises(PayloadError, match=r"^mask at mask cannot be decoded: mask does not"):
        received(packed)


def test_a_value_is_packed_with_what_it_takes_when_decoded_and_held_to_it() -> None:
    packed = pack({"mask": spot(), "time_s": 1.5}, encodings={"mask": PACKED})
    assert packed.decoded_bytes == spot().nbytes
    unpack(packed.tree, packed.buffers, max_decoded_bytes=packed.decoded_bytes)
    with pytest.raises(PayloadError, match=r"more than \d+ bytes when all is decoded"):
        unpack(packed.tree, packed.buffers, max_decoded_bytes=packed.decoded_bytes - 1)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (np.zeros((4, 5), np.uint16), 40),
        (b"abc", 3),
        ({"a": "abcd", "b": [1, 2.5]}, 22),
        ([0.5] * 100_000, 900_000),
        ([], 0),
    ],
)
def test_what_a_value_takes_unencoded_is_known_without_packing_it(value: Value, size: int) -> None:
    assert raw_bytes(value) == size


def test_a_value_that_contains_itself_has_a_size_all_the_same() -> None:
    endless: list[Value] = [1]
    endless.append(endless)
    assert raw_bytes(endless) < 1000

"""Encodings: what fits one comes back, what does not travels raw, what is hostile is refused."""

import subprocess
import sys
import tracemalloc
import zlib
from collections.abc import Mapping
from itertools import islice
from typing import Any

import cv2
import numpy as np
import pytest

from ball_tracking_example import make_pipeline
from offload.device.encoding_choice import EncodingChoice, EncodingMode
from offload.errors import ConfigurationError, PayloadError
from offload.values import Value, encodings, pack, unpack
from offload.values.encodings import (
    PACKED,
    RAW,
    Encoding,
    Jpeg,
    Kind,
    Mask,
    decode_jpeg,
    decode_mask,
    encode,
    encode_jpeg,
    encode_mask,
    parse,
)
from task_interface import Context

U8 = np.dtype(np.uint8)


def picture(height: int = 48, width: int = 64) -> Any:
    """A smooth picture, of which JPEG loses little."""
    rows, columns = np.mgrid[:height, :width]
    planes = (255 * rows // height, 255 * columns // width, 255 * (rows + columns) // 200)
    return np.stack(planes, axis=-1).astype(np.uint8)


def jpeg_bytes(array: Any, *settings: int) -> bytes:
    done, data = cv2.imencode(".jpg", array, list(settings))
    assert done
    return data.tobytes()


def deflated(count: int, *, level: int = 1) -> bytes:
    return zlib.compress(bytes(count), level)


# Names


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("raw", RAW),
        ("packed", PACKED),
        ("jpeg", Encoding(kind=Kind.JPEG, quality=80)),
        ("jpeg:1", Encoding(kind=Kind.JPEG, quality=1)),
        ("jpeg:100", Encoding(kind=Kind.JPEG, quality=100)),
    ],
)
def test_an_encoding_is_read_by_its_name(text: str, encoding: Encoding) -> None:
    assert parse(text) == encoding
    assert parse(str(encoding)) == encoding


@pytest.mark.parametrize(
    "text",
    [
        *["", "zip", "RAW", "raw:1", "packed:", "jpeg:", "jpeg:0", "jpeg:101", "jpeg:-5"],
        *["jpeg:8.5", "jpeg:²", "jpeg:" + "9" * 5000],
    ],
    ids=lambda text: text[:10],
)
def test_another_name_is_wrong_usage(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"unknown encoding .* expected raw, packed, jpeg"):
        parse(text)


def test_only_jpeg_loses_something() -> None:
    assert [parse(each).is_lossy for each in ("raw", "packed", "jpeg")] == [False, False, True]


def test_nobody_pays_for_opencv_and_zlib_before_something_is_encoded() -> None:
    code = (
        "import sys, offload.values, offload.values.encodings\n"
        "assert not {'cv2', 'zlib'} & sys.modules.keys(), 'imported'\n"
    )
    subprocess.run([sys.executable, "-S", "-c", _with_packages(code)], check=True, timeout=60)


def _with_packages(code: str) -> str:
    """Without ``site``, which may import anything, but with the same packages."""
    return f"import sys\nsys.path[:] = {sys.path!r}\n{code}"


# Masks


@pytest.mark.parametrize("values", [(0, 255), (255, 0), (0, 1), (7, 3), (200, 199), (0, 0), (9, 9)])
@pytest.mark.parametrize("shape", [(1,), (7,), (8,), (281, 500), (3, 0x10001), (2, 3, 4, 5)])
def test_a_mask_comes_back_bit_for_bit(values: tuple[int, int], shape: tuple[int, ...]) -> None:
    chosen = np.random.default_rng(1).random(shape) < 0.5
    sent = np.where(chosen, *values).astype(np.uint8)
    mask = encode_mask(sent)
    assert mask is not None
    found = decode_mask(mask, shape, U8)
    assert (found.dtype, found.shape, found.tobytes()) == (U8, shape, sent.tobytes())
    assert found.flags.writeable


def test_a_mask_of_bool_comes_back_as_bool() -> None:
    sent = np.eye(50, dtype=bool)
    mask = encode_mask(sent)
    assert mask is not None
    found = decode_mask(mask, sent.shape, sent.dtype)
    assert found.dtype == np.dtype(bool)
    np.testing.assert_array_equal(found, sent)


@pytest.mark.parametrize("place", ["f", "reversed", "every_other"])
def test_a_mask_in_any_memory_layout_comes_back_equal(place: str) -> None:
    square = np.tri(50, dtype=np.uint8) * 255
    sent = {"f": square.T, "reversed": square[::-1], "every_other": square[:, ::2]}[place]
    mask = encode_mask(sent)
    assert mask is not None
    np.testing.assert_array_equal(decode_mask(mask, sent.shape, U8), sent)


def test_the_bits_of_a_mask_stand_in_a_fixed_order() -> None:
    mask = encode_mask(np.array([[5, 5, 9], [5, 9, 9], [9, 5, 5]], np.uint8))
    assert mask is not None
    assert (mask.low, mask.high) == (5, 9)
    assert zlib.decompress(mask.data) == bytes([0b00101110, 0b00000000])


def test_a_mask_with_one_spot_takes_some_hundred_bytes() -> None:
    sent = cv2.circle(np.zeros((281, 500), np.uint8), (200, 100), 40, 255, -1)
    mask = encode_mask(sent)
    assert mask is not None
    assert len(mask.data) < 500


@pytest.mark.parametrize("at", [0, 2, 70_000, 149_999])
def test_a_third_value_anywhere_makes_an_array_no_mask(at: int) -> None:
    array = np.tile(np.array([0, 255], np.uint8), 75_000)
    assert encode_mask(array) is not None
    array[at] = 1
    assert encode_mask(array) is None


@pytest.mark.parametrize(
    "array",
    [np.zeros(9, np.int8), np.zeros(9, np.uint16), np.zeros(9), np.zeros((0, 3), np.uint8)],
    ids=["int8", "uint16", "float", "empty"],
)
def test_what_is_not_of_bytes_or_empty_is_no_mask(array: Any) -> None:
    assert encode_mask(array) is None


def test_an_array_that_a_receiver_would_refuse_is_no_mask() -> None:
    assert encode_mask(np.zeros(encodings.MAX_DECODED_BYTES + 1, np.uint8)) is None


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "exactly 10 bytes"),
        (b"garbage", "cannot be decompressed"),
        (deflated(9), "exactly 10 bytes"),
        (deflated(11), "exactly 10 bytes"),
        (deflated(10_000_000), "exactly 10 bytes"),
        (deflated(10)[:-1], "exactly 10 bytes"),
        (deflated(10) + b"x", "exactly 10 bytes"),
        (deflated(10)[:-1] + b"\xff", "cannot be decompressed"),
    ],
    ids=["empty", "garbage", "short", "long", "bomb", "cut", "more", "sum"],
)
def test_bytes_that_are_not_exactly_the_declared_mask_are_refused(
    data: bytes, message: str
) -> None:
    with pytest.raises(PayloadError, match=message):
        decode_mask(Mask(low=0, high=1, data=data), [80], U8)


def test_a_bomb_takes_no_more_memory_than_what_was_declared() -> None:
    bomb = deflated(100_000_000, level=9)
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="exactly 10 bytes"):
            decode_mask(Mask(low=0, high=1, data=bomb), [80], U8)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [[0], [2**26 + 1], [2**40, 2**40], [8192, 8193]])
def test_a_mask_of_no_or_too_many_elements_is_refused_before_it_takes_memory(
    shape: list[int],
) -> None:
    with pytest.raises(PayloadError, match="bytes when decoded, expected 1 to 67108864"):
        decode_mask(Mask(low=0, high=1, data=deflated(10)), shape, U8)


# JPEG


@pytest.mark.parametrize("sent", [picture(), picture()[:, :, 0]], ids=["colour", "grey"])
def test_a_picture_comes_back_nearly_as_it_was(sent: Any) -> None:
    jpeg = encode_jpeg(sent, 90)
    assert jpeg is not None
    found = decode_jpeg(jpeg, sent.shape)
    assert (found.dtype, found.shape) == (U8, sent.shape)
    assert np.abs(found.astype(int) - sent).mean() < 3
    assert found.flags.writeable


def test_a_picture_in_another_memory_layout_comes_back_alike() -> None:
    sent = picture()[::-1, ::-1]
    jpeg, of_copy = encode_jpeg(sent, 80), encode_jpeg(sent.copy(), 80)
    assert jpeg is not None
    assert of_copy is not None
    assert bytes(jpeg.data) == bytes(of_copy.data)


def test_a_higher_quality_takes_more_bytes() -> None:
    sizes = [len(jpeg.data) for q in (10, 50, 95) if (jpeg := encode_jpeg(picture(), q))]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 5, 3), np.int8),
        np.zeros((5, 5, 3)),
        np.zeros((5, 5, 4), np.uint8),
        np.zeros((5, 5, 1), np.uint8),
        np.zeros(5, np.uint8),
        np.zeros((0, 5, 3), np.uint8),
        np.zeros((5, 0), np.uint8),
        np.zeros((65_501, 1), np.uint8),
        np.zeros((5, 5), bool),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_what_is_no_picture_is_not_encoded_as_jpeg(array: Any) -> None:
    assert encode_jpeg(array, 80) is None


def test_the_largest_side_of_a_jpeg_comes_back() -> None:
    sent = np.full((65_500, 1), 7, np.uint8)
    jpeg = encode_jpeg(sent, 80)
    assert jpeg is not None
    np.testing.assert_array_equal(decode_jpeg(jpeg, sent.shape), sent)


def test_the_orientation_that_a_picture_states_is_ignored() -> None:
    sent = picture(40, 60)
    plain = jpeg_bytes(sent)
    turn = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    tagged = plain[:2] + b"\xff\xe1" + (len(turn) + 2).to_bytes(2, "big") + turn + plain[2:]
    turned = cv2.imdecode(np.frombuffer(tagged, np.uint8), cv2.IMREAD_COLOR)
    assert turned is not None
    assert turned.shape == (60, 40, 3)
    np.testing.assert_array_equal(
        decode_jpeg(Jpeg(data=tagged), sent.shape), decode_jpeg(Jpeg(data=plain), sent.shape)
    )


def with_size(jpeg: bytes, height: int, width: int) -> bytes:
    at = jpeg.index(b"\xff\xc0")
    return jpeg[: at + 5] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + jpeg[at + 9 :]


def with_scan_twice(jpeg: bytes) -> bytes:
    at = jpeg.index(b"\xff\xda")
    return jpeg[:at] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + jpeg[at:]


COLOUR = jpeg_bytes(picture())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no complete JPEG"),
        (b"\xff\xd8\xff\xd9", "no baseline JPEG"),
        (COLOUR[:-1], "no complete JPEG"),
        (b"\x89PNG" + COLOUR, "no complete JPEG"),
        (with_size(COLOUR, 47, 64), r"picture is \[47, 64, 3\] by its own header"),
        (with_size(COLOUR, 65_500, 64), r"picture is \[65500, 64, 3\] by its own header"),
        (jpeg_bytes(picture()[:, :, 0]), r"picture is \[48, 64\] by its own header"),
        (jpeg_bytes(picture(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "no baseline JPEG with one scan"),
        (with_scan_twice(COLOUR), "no baseline JPEG with one scan"),
        (COLOUR[:2] + b"\x00" + COLOUR[2:], "no baseline JPEG"),
        (COLOUR[:2] + b"\xff\xe0\x00\x00" + COLOUR[2:], "no baseline JPEG"),
        (COLOUR[:2] + b"\xff\xe0\xff\xff" + COLOUR[2:], "no baseline JPEG"),
    ],
    ids=[
        *["empty", "no_picture", "cut", "png", "lower", "higher", "grey", "progressive"],
        *["scans", "noise", "segment_of_0", "segment_too_long"],
    ],
)
def test_what_is_not_the_declared_picture_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        decode_jpeg(Jpeg(data=data), [48, 64, 3])


@pytest.mark.parametrize("shape", [[], [48], [48, 64, 1], [48, 64, 4], [1, 48, 64, 3]])
def test_a_shape_that_no_picture_has_is_refused(shape: list[int]) -> None:
    with pytest.raises(PayloadError, match="expected height, width and 3 or none"):
        decode_jpeg(Jpeg(data=COLOUR), shape)


def test_a_picture_of_too_many_pixels_is_refused_even_if_its_header_agrees() -> None:
    large = with_size(COLOUR, 65_500, 400)
    with pytest.raises(PayloadError, match="bytes when decoded, expected 1 to 67108864"):
        decode_jpeg(Jpeg(data=large), [65_500, 400, 3])


def test_each_encoding_fits_what_it_is_for() -> None:
    mask = np.eye(20, dtype=np.uint8)
    assert encode(mask, RAW) is None
    assert isinstance(encode(mask, PACKED), Mask)
    assert encode(picture(), PACKED) is None
    assert isinstance(encode(picture(), parse("jpeg")), Jpeg)
    assert encode(np.zeros(20), parse("jpeg")) is None


# What an encoding must never change


def results_of(split: int, mode: EncodingMode, *, watched: bool) -> tuple[list[Value], set[str]]:
    """Track the ball at ``split``; return the results and the names of what travelled encoded."""
    pipeline = make_pipeline("synthetic:640x480")
    source, choice = pipeline.source.bind(), EncodingChoice(mode)
    device, cloud = pipeline.bind(), make_pipeline(None).bind()
    results: list[Value] = []
    encoded: set[str] = set()
    for seq, raw in enumerate(islice(source.open(0), 40)):
        frame = Context(stream="s", seq=seq, captured_at=0.0, watched=watched)
        here = device.run(
            source.frame_values(raw), start=1, stop=split, context=frame, clock=lambda: 0.0
        )
        if not here.ended:
            permitted = pipeline.encodings(split, watched=watched)
            live = {name: here.values[name] for name in permitted}
            packed = pack(live, encodings=choice.choose(permitted, None))
            choice.learn(packed.trials)
            encoded |= {each.name for each in packed.trials}
            crossed = unpack(packed.tree, [memoryview(bytearray(each)) for each in packed.buffers])
            assert isinstance(crossed, Mapping)
            there = cloud.run(crossed, start=split, stop=7, context=frame, clock=lambda: 0.0)
            assert there.error is None
            results.append(there.result)
    return results, encoded


@pytest.mark.parametrize(
    "split", [1, *(pytest.param(each, marks=pytest.mark.slow) for each in (2, 3, 4, 5)), 6]
)
def test_no_encoding_changes_a_result_watched_or_not(split: int) -> None:
    plain, _ = results_of(split, EncodingMode.RAW, watched=False)
    assert len(plain) > 20
    for mode in EncodingMode:
        for watched in (False, True):
            assert results_of(split, mode, watched=watched)[0] == plain


def test_the_frame_travels_as_jpeg_only_where_nothing_but_the_drawing_needs_it() -> None:
    encoded = [results_of(k, EncodingMode.LOSSY, watched=True)[1] for k in (1, 2, 3, 5, 6)]
    assert encoded == [set(), {"frame"}, {"frame", "mask"}, {"frame"}, {"picture"}]
    assert results_of(3, EncodingMode.LOSSLESS, watched=True)[1] == {"mask"}

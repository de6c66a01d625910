"""The ways in which an array may travel, other than as its own memory.

``raw`` is an array's bytes as they are. ``packed`` is for masks: arrays of uint8 or bool with at
most two values, as one bit each, compressed; nothing is lost. ``jpeg`` is for pictures and loses a
little. An encoding that does not fit an array gives None, and the array travels raw.

    parse("jpeg:90")                # Encoding(kind=Kind.JPEG, quality=90)
    bits = encode(mask, PACKED)     # Mask(low=0, high=255, data=b"..."), or None
    decode_mask(bits, mask.shape, mask.dtype)

Decoders are for bytes from a peer that is not trusted: they check what is declared against what is
there before memory is taken, and whatever is wrong is a `PayloadError`. How encoded arrays stand in
a message is the business of ``values``. Pure; zlib and OpenCV are imported by those who need them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from offload.errors import ConfigurationError, PayloadError

Array: TypeAlias = NDArray[Any]
Buffer: TypeAlias = bytes | memoryview

#: What OpenCV uses for still pictures is 95; 80 halves the bytes, and the eye sees no difference.
DEFAULT_JPEG_QUALITY: Final = 80

# A mask of zeros shrinks 8000 times, so its bytes say nothing about the memory that it takes. No
# decoded array is larger than what could have come raw in the largest message (64 MiB): a picture
# of 22 megapixels.
MAX_DECODED_BYTES: Final = 64 * 1024 * 1024

# libjpeg's own limit for either side of a picture.
MAX_JPEG_SIDE: Final = 65_500

# On masks the higher levels cost up to ten times as much and save a tenth.
_ZLIB_LEVEL: Final = 1

# Elements that are looked at together; a multiple of 8. What is made of so many stays in the fast
# cache, and in memory that malloc keeps: whole masks at once take five times as long.
_CHUNK: Final = 64 * 1024

_START: Final = b"\xff\xd8"
_END: Final = b"\xff\xd9"
_BASELINE: Final = 0xC0
_SCAN: Final = 0xDA
# Tables, restart intervals, application data and comments: what may stand before the picture.
_SKIPPED: Final = frozenset([0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE])


class Kind(StrEnum):
    """A way to travel, without its settings."""

    RAW = "raw"
    PACKED = "packed"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a value travels.

    Attributes:
        kind: The way.
        quality: Of JPEG, from 1 (smallest) to 100 (nearest); None for the others.
    """

    kind: Kind
    quality: int | None = None

    @property
    def is_lossy(self) -> bool:
        """Whether what arrives may differ from what was sent."""
        return self.kind is Kind.JPEG

    def __str__(self) -> str:
        """Return the form that `parse` reads."""
        return f"{self.kind}:{self.quality}" if self.quality is not None else str(self.kind)


RAW: Final = Encoding(kind=Kind.RAW)
PACKED: Final = Encoding(kind=Kind.PACKED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """An array of at most two values as it travels.

    Attributes:
        low: The value of the bits that are 0, from 0 to 255.
        high: The value of the bits that are 1.
        data: One bit per element in C order, the first in the highest bit of the first byte,
            filled up to a whole byte; compressed by zlib.
    """

    low: int
    high: int
    data: Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """A picture as it travels: ``data`` is a JPEG file."""

    data: Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What trying an encoding on a value of one frame brought.

    Attributes:
        name: Of the value.
        encoding: The one that was tried.
        raw_bytes: What the array takes as it is; 0 if the value is no array at all.
        travelled_bytes: What it took on its way: ``raw_bytes`` where the encoding did not fit.
        encode_s: Seconds that it took to encode, or to see that the encoding does not fit.
    """

    name: str
    encoding: Encoding
    raw_bytes: int
    travelled_bytes: int
    encode_s: float


def parse(text: str) -> Encoding:
    """Read ``raw``, ``packed``, ``jpeg`` or ``jpeg:QUALITY``.

    Raises:
        ConfigurationError: It is none of these, or the quality is not from 1 to 100.
    """
    name, colon, rest = text.partition(":")
    if name == Kind.JPEG:
        if not colon:
            return Encoding(kind=Kind.JPEG, quality=DEFAULT_JPEG_QUALITY)
        if rest.isascii() and rest.isdigit() and len(rest) <= 3 and 1 <= int(rest) <= 100:
            return Encoding(kind=Kind.JPEG, quality=int(rest))
    elif text == Kind.RAW:
        return RAW
    elif text == Kind.PACKED:
        return PACKED
    raise ConfigurationError(
        f"unknown encoding {text!r}, expected raw, packed, jpeg or jpeg:QUALITY (1 to 100)"
    )


def encode(array: Array, encoding: Encoding) -> Mask | Jpeg | None:
    """Return ``array`` in the form of ``encoding``, or None if that is raw or does not fit it."""
    if encoding.kind is Kind.PACKED:
        return encode_mask(array)
    if encoding.kind is Kind.JPEG:
        assert encoding.quality is not None
        return encode_jpeg(array, encoding.quality)
    return None


def encode_mask(array: Array) -> Mask | None:
    """Return ``array`` as bits, or None if it is no array of uint8 or bool with at most two values.

    Args:
        array: Of any shape and memory layout. Not modified.
    """
    import zlib

    if array.dtype.char not in "?B" or not 0 < array.nbytes <= MAX_DECODED_BYTES:
        return None
    elements = array.reshape(-1).view(np.uint8)
    low = high = int(elements[0])
    packed = np.empty(-(-len(elements) // 8), np.uint8)
    for start in range(0, len(elements), _CHUNK):
        chunk = elements[start : start + _CHUNK]
        bits = chunk != low
        if high == low:
            high = int(chunk[bits.argmax()])
        # As long as there is one value only, high is low, and no bit is set.
        if high != low and not np.array_equal(bits, chunk == high):
            return None
        packed[start // 8 : (start + _CHUNK) // 8] = np.packbits(bits)
    return Mask(low=low, high=high, data=zlib.compress(packed.data, _ZLIB_LEVEL))


def decode_mask(mask: Mask, shape: Sequence[int], dtype: np.dtype[Any]) -> Array:
    """Return the array that was encoded, as a writable one of its own memory.

    Args:
        mask: As it came; ``low`` and ``high`` are from 0 to 255.
        shape: As declared; no dimension is negative.
        dtype: uint8 or bool.

    Raises:
        PayloadError: The bits are not those of an array of this shape, or it is too large.
    """
    count = _checked_bytes(shape)
    packed = np.frombuffer(_inflate(mask.data, -(-count // 8)), np.uint8)
    elements = np.unpackbits(packed, count=count)
    # In the arithmetic of bytes, so that a high below low works as well.
    elements *= np.uint8((mask.high - mask.low) % 256)
    elements += np.uint8(mask.low)
    return elements.view(dtype).reshape(shape)


def encode_jpeg(array: Array, quality: int) -> Jpeg | None:
    """Return ``array`` as JPEG, or None if it is no picture.

    Args:
        array: uint8[height, width, 3], BGR, or uint8[height, width], grey. Not modified.
        quality: From 1 to 100.
    """
    if array.dtype != np.uint8 or not _is_picture(array.shape):
        return None
    if not 0 < array.nbytes <= MAX_DECODED_BYTES or max(array.shape[:2]) > MAX_JPEG_SIDE:
        return None
    import cv2

    done, data = cv2.imencode(
        ".jpg", np.ascontiguousarray(array), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return Jpeg(data=data.reshape(-1).data) if done else None


def decode_jpeg(jpeg: Jpeg, shape: Sequence[int]) -> Array:
    """Return the picture, as a writable array of its own memory; orientation tags are ignored.

    Args:
        jpeg: As it came; a baseline JPEG with one scan, grey or of three components.
        shape: As declared, [height, width] or [height, width, 3].

    Raises:
        PayloadError: The data are not a JPEG of this shape, or it is too large.
    """
    if not _is_picture(shape):
        raise PayloadError(f"picture has shape {list(shape)}, expected height, width and 3 or none")
    _checked_bytes(shape)
    found = _jpeg_shape(jpeg.data)
    if found != list(shape):
        raise PayloadError(f"picture is {found} by its own header, expected {list(shape)}")
    import cv2

    colour = cv2.IMREAD_GRAYSCALE if len(shape) == 2 else cv2.IMREAD_COLOR
    try:
        picture = cast(
            "Array | None",
            cv2.imdecode(
                np.frombuffer(jpeg.data, np.uint8), colour | cv2.IMREAD_IGNORE_ORIENTATION
            ),
        )
    except cv2.error as error:
        raise PayloadError("picture cannot be decoded") from error
    if picture is None or picture.shape != tuple(shape):
        raise PayloadError("picture cannot be decoded")
    return picture


def _is_picture(shape: Sequence[int]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)


def _checked_bytes(shape: Sequence[int]) -> int:
    count = math.prod(shape)
    if not 0 < count <= MAX_DECODED_BYTES:
        raise PayloadError(
            f"encoded array is {count} bytes when decoded, expected 1 to {MAX_DECODED_BYTES}"
        )
    return count


def _inflate(data: Buffer, expected_bytes: int) -> bytes:
    import zlib

    inflater = zlib.decompressobj()
    try:
        # One byte more than expected, so that too much is seen, and the end is read.
        inflated = inflater.decompress(data, expected_bytes + 1)
    except zlib.error as error:
        raise PayloadError("mask cannot be decompressed") from error
    if len(inflated) != expected_bytes or not inflater.eof or inflater.unused_data:
        raise PayloadError(f"mask does not decompress to exactly {expected_bytes} bytes")
    return inflated


def _jpeg_shape(data: Buffer) -> list[int]:
    """Return [height, width] or [height, width, components] by the JPEG's own header.

    Only what our encoder writes is accepted: one baseline frame and one scan of all components.
    In a progressive picture, or one of many scans, a few bytes cost as much work as all pixels.
    """
    if bytes(data[:2]) != _START or bytes(data[-2:]) != _END:
        raise PayloadError("picture is no complete JPEG")
    shape: list[int] = []
    at = 2
    while at + 4 <= len(data):
        marker, segment_bytes = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        segment = bytes(data[at + 4 : at + 2 + segment_bytes])
        if data[at] != 0xFF or len(segment) != segment_bytes - 2:
            break
        if marker == _BASELINE and not shape and len(segment) >= 6 and segment[0] == 8:
            shape = [int.from_bytes(segment[1:3], "big"), int.from_bytes(segment[3:5], "big")]
            shape += [] if segment[5] == 1 else [segment[5]]
        elif marker == _SCAN and shape and segment and [*shape, 1][2] == segment[0]:
            return shape
        elif marker not in _SKIPPED:
            break
        at += 2 + segment_bytes
    raise PayloadError("picture is no baseline JPEG with one scan")

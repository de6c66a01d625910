"""The newest picture of a stream, as JPEG: made once for all who look, at most so often.

shown = Pictures(source, work)
picture = await shown.newer_than("porch", 17)
"""

import asyncio
import time
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import numpy as np

from offload.dashboard.sources import Picture, Source
from offload.values.encodings import DEFAULT_JPEG_QUALITY, encode_jpeg

# Enough to see that something moves; each costs the server some milliseconds.
PICTURE_FPS: Final = 5

# A browser asks again after it, which shows that it still looks.
WAIT_S: Final = 2.0

# How often it is looked for a new one; a fifth of the time between two.
_POLL_S: Final = 0.04

# Pictures that are kept for others who look at the same stream, some hundred kilobytes each. Those
# past it are made again for each.
MAX_KEPT: Final = 32


class NoPicture(Exception):  # noqa: N818  # it says what there is, to a visitor
    """What the app gave is no picture that can be shown; the message says what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Jpeg:
    """A picture of a stream as JPEG, with its number."""

    number: int
    content: bytes


@dataclass(slots=True, kw_only=True)
class _Made:
    """The one that was made last of a stream, or is being made."""

    number: int
    at_s: float
    jpeg: asyncio.Future[bytes | None]
    words: str


class Pictures:
    """The pictures of all streams.

    Args:
        source: Where they come from.
        work: Where they are made.
    """

    def __init__(self, source: Source, work: Executor) -> None:
        """Start without any."""
        self._source = source
        self._work = work
        # In the order of their last making.
        self._made: dict[str, _Made] = {}
        self._is_closing = False

    def close(self) -> None:
        """Let those end who wait for one."""
        self._is_closing = True

    async def newer_than(self, stream: str, number: int) -> Jpeg | None:
        """Return the newest picture once there is a newer one; None if there is none in time.

        Raises:
            NoPicture: It cannot be shown.
        """
        until_s = time.monotonic() + WAIT_S
        while (now := time.monotonic()) < until_s and not self._is_closing:
            made = self._look(stream, number, now)
            # A number below is that of a stream that began anew.
            if made is not None and made.number != number:
                jpeg = await asyncio.shield(made.jpeg)
                if jpeg is None:
                    raise NoPicture(made.words)
                return Jpeg(number=made.number, content=jpeg)
            await asyncio.sleep(_POLL_S)
        return None

    def _look(self, stream: str, number: int, now: float) -> _Made | None:
        """Return the newest one that may be shown now; it may be in the making.

        One that the browser has is not made again for it, though it may not be kept any more.
        """
        found, made = self._source.look(stream), self._made.get(stream)
        if found is None:
            self._made.pop(stream, None)
            return None
        if made is not None and (
            made.number == found.number or now - made.at_s < 1 / PICTURE_FPS or not made.jpeg.done()
        ):
            return made
        return None if found.number == number else self._make(stream, found, now)

    def _make(self, stream: str, picture: Picture, now: float) -> _Made:
        loop = asyncio.get_running_loop()
        jpeg = loop.run_in_executor(self._work, _encode, picture.content)
        self._made.pop(stream, None)
        made = _Made(number=picture.number, at_s=now, jpeg=jpeg, words=_in_words(picture.content))
        self._made[stream] = made
        if len(self._made) > MAX_KEPT:
            del self._made[next(iter(self._made))]
        return made


def _encode(content: object) -> bytes | None:
    if not isinstance(content, np.ndarray):
        return None
    jpeg = encode_jpeg(content, DEFAULT_JPEG_QUALITY)
    return None if jpeg is None else bytes(jpeg.data)


def _in_words(content: object) -> str:
    """Say what the app gave in the place of a picture."""
    if isinstance(content, np.ndarray):
        shape = ", ".join(map(str, content.shape))
        found = f"{content.dtype}[{shape}]"
    else:
        found = type(content).__name__
    return f"the app's picture is {found}, expected uint8[height, width, 3] or uint8[height, width]"

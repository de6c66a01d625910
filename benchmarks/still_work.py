"""One picture again and again, without any work: what the transport is measured with.

    run_peer(Peer.FLOOR, partial(make_still_work, "640x480"), frames=5000, window=8)

`apps.make_still` is the same for our programs. This module loads numpy and nothing else, so that
the many short processes of a benchmark start quickly.
"""

import re
from collections.abc import Iterator
from typing import Final

import numpy as np

from benchmarks.peer_work import Array, Message, Work

_SIZE: Final = re.compile(r"(\d{1,4})x(\d{1,4})")
_DEFAULT_SIZE: Final = "640x480"


def make_still_work(spec: str) -> Work:
    """Return what `make_still` does, for a peer: one picture travels, and nothing is computed."""
    picture = make_still_picture(spec)

    def device() -> Iterator[Message]:
        message = Message(time_s=0.0, arrays=[picture])
        while True:
            yield message

    def cloud(message: Message) -> None:
        answer(message.arrays[0])

    return Work(shapes=[picture.shape], device=device, cloud=cloud)


def make_still_picture(spec: str) -> Array:
    """Return noise, uint8[height, width, 3], of the size that ``spec`` says; 640x480 if none."""
    size = _SIZE.fullmatch(spec) or _SIZE.fullmatch(_DEFAULT_SIZE)
    assert size is not None
    width, height = int(size[1]), int(size[2])
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def answer(frame: Array) -> dict[str, int]:
    """Return a small result without a look at the pixels of uint8[height, width, 3]."""
    return {"rows": frame.shape[0], "columns": frame.shape[1]}

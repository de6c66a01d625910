"""Ball tracking without us: the same functions, in one loop or under a peer.

    run_peer(Peer.FLOOR, partial(make_ball_work, Ships.FRAME), frames=600, window=8)
    track_alone(frames=600, opencv_threads=1)

`apps.make_ball` is the same for our programs.
"""

import time
from collections.abc import Iterator, Mapping
from enum import StrEnum
from itertools import islice
from typing import Any, Final, cast

from ball_tracking_example import taskified
from ball_tracking_example.sequential import track
from ball_tracking_example.sources import Image
from benchmarks.apps import SceneSource, make_scene
from benchmarks.peer_work import Message, Shape, Work
from benchmarks.peers import WARM_FRAMES, PeerRun, limit_opencv, process_cpu_s
from task_interface import FILTER, Context

_NOBODY_LOOKS: Final = Context(stream="bench", seq=0, captured_at=0.0)


# What a picture of 640x480 has after the resize, and its mask.
_FRAME: Final = (375, 500, 3)
_MASK: Final = (375, 500)


class Ships(StrEnum):
    """What a peer sends for a frame of ball tracking, and so where it splits the tasks."""

    FRAME = "frame"
    MASK = "mask"
    MASK_AND_FRAME = "mask and frame"


SHAPES: Final[Mapping[Ships, list[Shape]]] = {
    Ships.FRAME: [_FRAME],
    Ships.MASK: [_MASK],
    Ships.MASK_AND_FRAME: [_MASK, _FRAME],
}


def make_ball_work(ships: Ships) -> Work:
    """Return what `make_ball` does, for a peer: the same functions, called one after the other."""

    def device() -> Iterator[Message]:
        source = SceneSource(make_scene())
        for raw in source.open(0):
            frame, time_s = source.prepare(*raw)
            if ships is Ships.FRAME:
                yield Message(time_s=time_s, arrays=[frame])
                continue
            mask = find_mask(frame)
            arrays = [mask] if ships is Ships.MASK else [mask, frame]
            yield Message(time_s=time_s, arrays=arrays)

    show_frame = taskified.ShowFrame()

    def cloud(message: Message) -> None:
        received = message.arrays[0]
        mask = find_mask(received) if ships is Ships.FRAME else received
        contours: Any = taskified.find_contours.function(mask)
        circle: Any = FILTER
        if contours is not FILTER:
            circle = taskified.calculate_circle.function(contours)
        if circle is not FILTER:
            show_frame(circle, message.time_s, None, _NOBODY_LOOKS)

    return Work(shapes=SHAPES[ships], device=device, cloud=cloud)


def find_mask(frame: Image) -> Image:
    """Run the tasks that compute on pictures."""
    hsv = taskified.calculate_hsv.function(frame)
    return cast("Image", taskified.calculate_mask.function(hsv))


def track_alone(frames: int, opencv_threads: int) -> PeerRun:
    """Track ``frames`` frames in one plain loop, in this process; 0 threads: OpenCV's choice."""
    limit_opencv(opencv_threads)
    source = SceneSource(make_scene())
    prepared = (source.prepare(*raw) for raw in source.open(0))
    results = track(prepared)
    for _ in islice(results, WARM_FRAMES):
        pass
    cpu_began_s = process_cpu_s()
    began_s = time.perf_counter()
    for _ in islice(results, frames):
        pass
    return PeerRun(
        frames=frames,
        fps=frames / (time.perf_counter() - began_s),
        cpu_s=process_cpu_s() - cpu_began_s,
        round_trips_s=[],
    )

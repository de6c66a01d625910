"""The apps that the benchmarks run: what costs nothing, and ball tracking, on frames in memory.

Each is named on a command line, for both programs:

    --app benchmarks.apps:make_still --source 640x480   one picture, again and again; no work
    --app benchmarks.apps:make_ball                     ball tracking on a scene made before

A scene, a file or a camera costs more than everything that is to be measured, so frames are made
when the app is loaded, and the source only hands them out.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any, Final

import imutils
from numpy.typing import NDArray

from ball_tracking_example import taskified
from ball_tracking_example.scene import Scene
from ball_tracking_example.sources import WIDTH
from benchmarks.still_work import answer, make_still_picture
from task_interface import Pipeline, source, task

Image = NDArray[Any]

# Frames of the scene that are kept: they fit no cache, and last two seconds of its time.
SCENE_FRAMES: Final = 60
SCENE_FPS: Final = 30.0


def make_still(spec: str | None) -> Pipeline:
    """Build two tasks without work: a source of one picture, and a last task with a small result.

    Args:
        spec: The picture's size, such as ``640x480``; what is no size, as the device's default
            source, is taken for that, and so is None.
    """
    picture = make_still_picture(spec or "")

    @source(gives="frame")
    def get_frame() -> Iterator[Image]:
        while True:
            yield picture

    return Pipeline([get_frame, task()(answer)])


def make_ball(spec: str | None) -> Pipeline:
    """Build ball tracking, the example's own tasks, on frames in memory.

    Args:
        spec: Only whether it is None matters: the cloud makes no frames.
    """
    scene = SceneSource(() if spec is None else make_scene())
    first, *others = taskified.make_pipeline(None).tasks
    return Pipeline([source(gives=first.gives, name=first.name)(scene), *others])


class SceneSource:
    """Pictures in memory, round and round, while media time goes on; each is resized anew.

    Args:
        pictures: uint8[height, width, 3] each, before the resize; none where nobody opens it.
    """

    live = False
    rate_fps: float | None = None

    def __init__(self, pictures: Sequence[Image]) -> None:
        self._pictures = pictures

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield pictures with their media seconds."""
        for seq in count(start_seq):
            yield self._pictures[seq % len(self._pictures)], seq / SCENE_FPS

    @staticmethod
    def prepare(picture: Image, time_s: float) -> tuple[Image, float]:
        """Return the picture at the tracker's width, as the example's own sources do."""
        return imutils.resize(picture, width=WIDTH), time_s


def make_scene() -> list[Image]:
    """Draw the frames of the example's synthetic scene, uint8[480, 640, 3] each."""
    scene = Scene(width=640, height=480, fps=SCENE_FPS)
    return [scene.frame(index) for index in range(SCENE_FRAMES)]

"""Ball tracking as seven tasks that can be split between a device and the cloud.

The work of ``sequential.py``, cut into steps. Only the first and the last task keep anything from
one frame to the next: the others may run anywhere, several frames at once.

    get_frame         frame, time_s   resized to 500 pixels of width
    calculate_hsv     hsv             blurred, in hue, saturation and value
    calculate_mask    mask            where it is green, without specks
    find_contours     contours        ends a frame that has none
    calculate_circle  circle          ends a frame whose largest contour is too small
    draw_circle       picture         only if somebody watches
    show_frame        the result      in the cloud: trail, count and speed of each stream
"""

import math
from collections import deque
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import cv2

from ball_tracking_example.sequential import BLUR, GREEN_FROM, GREEN_TO, MIN_RADIUS, SQUARE
from ball_tracking_example.sources import Image, SyntheticSource, make_source
from task_interface import FILTER, Context, Pipeline, Placement, source, task

__all__ = ["TRAIL_LENGTH", "ShowFrame", "make_pipeline"]

# About a second of a usual camera: enough to see where the ball came from.
TRAIL_LENGTH: Final = 32

_YELLOW: Final = (0, 255, 255)
_RED: Final = (0, 0, 255)


def make_pipeline(spec: str | None) -> Pipeline:
    """Build the seven tasks on a source.

    Args:
        spec: What to look at (see ``sources.make_source``). None where the first task never runs,
            as in the cloud; nothing is opened then.

    Raises:
        LoadingError: ``spec`` is not one that this app knows, or is a file that cannot be read.
    """
    frames = SyntheticSource() if spec is None else make_source(spec)
    return Pipeline(
        [
            # As JPEG only where nothing but the drawing needs it; see `task`.
            source(gives=("frame", "time_s"), encodings=("raw", "jpeg"), name="get_frame")(frames),
            calculate_hsv,
            calculate_mask,
            find_contours,
            calculate_circle,
            draw_circle,
            task(name="show_frame", placement=Placement.CLOUD)(ShowFrame),
        ]
    )


@task(gives="hsv")
def calculate_hsv(frame: Image) -> Image:
    """Return the blurred frame as uint8[height, width, 3] of hue (0-179), saturation and value."""
    return cv2.cvtColor(cv2.GaussianBlur(frame, BLUR, 0), cv2.COLOR_BGR2HSV)


@task(gives="mask", encodings=("raw", "packed"))
def calculate_mask(hsv: Image) -> Image:
    """Return uint8[height, width], 255 where the picture is green, without specks, 0 elsewhere."""
    mask = cv2.inRange(hsv, GREEN_FROM, GREEN_TO)
    mask = cv2.erode(mask, SQUARE, iterations=2)
    return cv2.dilate(mask, SQUARE, iterations=2)


@task(gives="contours")
def find_contours(mask: Image) -> Any:
    """Return the outer contours, each int32[points, 1, 2] of x and y; FILTER if there is none."""
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return contours or FILTER


@task(gives="circle")
def calculate_circle(contours: Sequence[Image]) -> Any:
    """Return the largest contour's centroid and enclosing circle, or FILTER if it is too small.

    Returns:
        ``x`` and ``y`` of the centroid, ``radius``, ``centre_x`` and ``centre_y`` of the smallest
        circle around the contour, all in pixels.
    """
    largest = max(contours, key=cv2.contourArea)
    (centre_x, centre_y), radius = cv2.minEnclosingCircle(largest)
    if radius <= MIN_RADIUS:
        return FILTER
    x, y = centre_x, centre_y
    moments = cv2.moments(largest)
    # A contour that is a line has no area and so no centroid; its circle has a centre all the same.
    if moments["m00"] > 0:
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    return {"x": x, "y": y, "radius": radius, "centre_x": centre_x, "centre_y": centre_y}


# Nothing is computed from the picture, so that it may lose a little on its way to whoever watches.
@task(gives="picture", on_demand=True, encodings=("raw", "jpeg"))
def draw_circle(frame: Image, circle: dict[str, float]) -> Image:
    """Return a copy of the frame with the circle and the centroid drawn on it."""
    picture = frame.copy()
    centre = (round(circle["centre_x"]), round(circle["centre_y"]))
    cv2.circle(picture, centre, round(circle["radius"]), _YELLOW, 2)
    cv2.circle(picture, (round(circle["x"]), round(circle["y"])), 5, _RED, cv2.FILLED)
    return picture


class ShowFrame:
    """Keeps one stream's trail, counts its detections, and measures the ball's speed."""

    def __init__(self) -> None:
        """Start a stream in which nothing was detected yet."""
        self._trail: deque[tuple[float, float]] = deque(maxlen=TRAIL_LENGTH)
        self._detections = 0
        self._time_s = 0.0

    def __call__(
        self, circle: dict[str, float], time_s: float, picture: Image | None, context: Context
    ) -> dict[str, float | None]:
        """Return the frame's result, and hand the picture with the trail to whoever watches.

        Returns:
            ``x`` and ``y`` (centroid) and ``radius`` in pixels, ``detections`` of this stream so
            far including this one, and ``speed_px_s`` since the last detection, which is None for
            the first one and where media time did not advance.
        """
        speed_px_s = self._speed(circle["x"], circle["y"], time_s)
        self._trail.append((circle["x"], circle["y"]))
        self._detections += 1
        self._time_s = time_s
        if picture is not None:
            context.show(self._with_trail(picture))
        return {
            "x": circle["x"],
            "y": circle["y"],
            "radius": circle["radius"],
            "detections": self._detections,
            "speed_px_s": speed_px_s,
        }

    def snapshot(self) -> dict[str, Any]:
        """Return all that later results depend on, as a value of its own."""
        return {
            "trail": [[x, y] for x, y in self._trail],
            "detections": self._detections,
            "time_s": self._time_s,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what ``snapshot`` returned."""
        self._trail = deque(((x, y) for x, y in state["trail"]), maxlen=TRAIL_LENGTH)
        self._detections = state["detections"]
        self._time_s = state["time_s"]

    def _speed(self, x: float, y: float, time_s: float) -> float | None:
        # A camera that was opened anew counts its seconds from 0 again.
        if not self._trail or time_s <= self._time_s:
            return None
        last_x, last_y = self._trail[-1]
        return math.hypot(x - last_x, y - last_y) / (time_s - self._time_s)

    def _with_trail(self, picture: Image) -> Image:
        # A task leaves what it is given as it is: others may hold it, too.
        picture = picture.copy()
        points = [(round(x), round(y)) for x, y in self._trail]
        for place, (start, end) in enumerate(pairwise(points)):
            age = len(points) - 1 - place
            cv2.line(picture, start, end, _RED, round(2.5 * math.sqrt(TRAIL_LENGTH / age)))
        return picture

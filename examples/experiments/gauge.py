"""Read a gauge: an app whose splits differ, so that experiments show something.

The picture is large on the link and the readings are small; the work lies in between:

    get_frame    picture   160x240, grey, 38 kB
    smooth       smooth    38 kB
    shrink       small     9.6 kB
    find_needle  profile   0.7 kB
    read_angle   degrees   a number
    Readings     result    in the cloud: mean and highest reading of each stream

So a split at 1 asks much of the link and little of the device, a split at 5 the other way round.

    python3 iot_client_coordinator.py --app examples.experiments.gauge --frames 300
"""

import math
from collections.abc import Iterator
from itertools import count
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from task_interface import FILTER, Pipeline, Placement, source, task

Image = NDArray[np.uint8]

HEIGHT: Final = 160
WIDTH: Final = 240
CENTRE: Final = (WIDTH // 2, HEIGHT // 2)
RADIUS: Final = 70

_WIDER_THAN_NEEDLE: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))

# Degrees of the needle's profile: as many columns as a circle has degrees.
_DEGREES: Final = 360
# A needle stands out by some grey levels; a profile without one is only noise.
_LEAST_CONTRAST: Final = 5.0


@source(gives="picture")
def get_frame() -> Iterator[Image]:
    """Yield pictures of a gauge whose needle goes up and down, without end."""
    noise = np.random.default_rng(0).integers(0, 40, (HEIGHT, WIDTH), np.uint8)
    for seq in count():
        degrees = 150 + 100 * math.sin(seq / 40)
        picture = np.roll(noise, seq * 7, axis=1)
        cv2.circle(picture, CENTRE, RADIUS + 5, 90, 2)
        cv2.line(picture, CENTRE, _tip(degrees), 200, 3)
        yield picture


@task(gives="smooth")
def smooth(picture: Image) -> Image:
    """Return the picture without its noise, edges kept: uint8[160, 240]."""
    return np.asarray(cv2.fastNlMeansDenoising(picture, None, 20, 5, 7), np.uint8)


@task(gives="small")
def shrink(smooth: Image) -> Image:
    """Return what is narrow and bright, at half the size: uint8[80, 120]."""
    narrow = cv2.morphologyEx(smooth, cv2.MORPH_TOPHAT, _WIDER_THAN_NEEDLE)
    return np.asarray(cv2.resize(narrow, (WIDTH // 2, HEIGHT // 2)), np.uint8)


@task(gives="profile")
def find_needle(small: Image) -> Any:
    """Return how bright the gauge is in each direction, float32[360], or FILTER without needle."""
    large = cv2.resize(small, (WIDTH * 2, HEIGHT * 2), interpolation=cv2.INTER_CUBIC)
    centre = (CENTRE[0] * 2, CENTRE[1] * 2)
    around = cv2.warpPolar(large, (RADIUS * 2, _DEGREES), centre, RADIUS * 2, cv2.INTER_CUBIC)
    profile = around.mean(axis=1, dtype=np.float32)
    return profile if profile.max() - profile.mean() > _LEAST_CONTRAST else FILTER


@task(gives="degrees")
def read_angle(profile: NDArray[np.float32]) -> float:
    """Return the direction that fits a needle best, to a degree."""
    degrees = np.arange(_DEGREES)
    apart = np.abs(degrees[:, None] - degrees[None, :])
    apart = np.minimum(apart, _DEGREES - apart)
    return float(np.argmax(np.exp(-((apart / 2) ** 2)) @ profile))


@task(placement=Placement.CLOUD)
class Readings:
    """Keeps one stream's readings together."""

    def __init__(self) -> None:
        """Start a stream without any reading."""
        self._count = 0
        self._total = 0.0
        self._highest = 0.0

    def __call__(self, degrees: float) -> dict[str, float]:
        """Return the reading, and the mean and the highest one so far."""
        self._count += 1
        self._total += degrees
        self._highest = max(self._highest, degrees)
        return {
            "degrees": degrees,
            "mean": self._total / self._count,
            "highest": self._highest,
        }

    def snapshot(self) -> Any:
        """Return what later results depend on."""
        return [self._count, self._total, self._highest]

    def restore(self, state: Any) -> None:
        """Go on from what ``snapshot`` returned."""
        self._count, self._total, self._highest = state


pipeline = Pipeline([get_frame, smooth, shrink, find_needle, read_angle, Readings])


def _tip(degrees: float) -> tuple[int, int]:
    angle = math.radians(degrees)
    return (
        round(CENTRE[0] + RADIUS * math.cos(angle)),
        round(CENTRE[1] + RADIUS * math.sin(angle)),
    )

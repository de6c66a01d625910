"""A synthetic scene: a green ball that moves before a textured wall and behind two occluders.

Everything about frame ``i`` follows from the seed and from ``i`` alone, so any frame can be made
without those before it, and a stream that is resumed sees what it would have seen. The ball's true
place is known, which is what a recording cannot offer. What is done with the frames is left to
others.

    scene = Scene(width=640, height=480, fps=30, seed=0)
    frame = scene.frame(17)  # uint8[480, 640, 3], BGR
    ball = scene.ball(17)  # where it is, and how much of it can be seen
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_FPS", "MAX_SIDE", "MIN_SIDE", "Ball", "Scene"]

# Below this there is no room for a ball and two occluders; above, one frame is larger than 100 MB.
MIN_SIDE: Final = 64
MAX_SIDE: Final = 8192

# Faster than any camera that one would imitate.
MAX_FPS: Final = 1000.0

# Fresh noise costs more than everything else in a frame. A frame takes a window of one fixed sheet
# instead; this many pixels of play in x and in y make 4096 windows that look unrelated.
_NOISE_PLAY: Final = 64
_NOISE_AMPLITUDE: Final = 12

# Drawing at sixteenths of a pixel, so that a slow ball does not jump from pixel to pixel.
_SUBPIXEL_BITS: Final = 4

# BGR. Hue 45 of 180 is in the middle of the range that the tracker accepts; the leaf is as green
# but so small that the tracker must refuse it by its radius.
_BALL_COLOUR: Final = (50, 200, 125)
_RIM_COLOUR: Final = (35, 150, 92)
_LEAF_COLOUR: Final = (20, 190, 105)
_LEAF_RADIUS: Final = 4.6
_PILLAR_COLOUR: Final = (92, 104, 128)
_PANEL_COLOUR: Final = (150, 128, 112)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ball:
    """The true state of the ball in one frame.

    Attributes:
        x: Centre in pixels from the left edge.
        y: Centre in pixels from the top edge.
        radius: In pixels.
        visible: Share of the ball's width that no occluder covers: 0.0 is hidden, 1.0 is clear.
    """

    x: float
    y: float
    radius: float
    visible: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Strip:
    """An occluder over the whole height, between two columns."""

    left: float
    right: float
    colour: tuple[int, int, int]

    def covers(self, left: float, right: float) -> float:
        """Return how many pixels of ``left..right`` lie behind this strip."""
        return max(0.0, min(right, self.right) - max(left, self.left))


class Scene:
    """An endless synthetic recording.

    Args:
        width: Pixels, ``MIN_SIDE`` to ``MAX_SIDE``.
        height: Pixels, ``MIN_SIDE`` to ``MAX_SIDE``.
        fps: Frames per second of the scene's own time, more than 0 and at most ``MAX_FPS``: it sets
            how far the ball moves between frames.
        seed: Another seed is another wall, another path and other noise.

    Raises:
        ValueError: A size or the rate is out of range.
    """

    def __init__(
        self, width: int = 640, height: int = 480, fps: float = 30.0, seed: int = 0
    ) -> None:
        """Make what all frames share: the wall and a sheet of noise."""
        if not (MIN_SIDE <= width <= MAX_SIDE and MIN_SIDE <= height <= MAX_SIDE):
            raise ValueError(
                f"scene is {width}x{height}, expected {MIN_SIDE} to {MAX_SIDE} pixels a side"
            )
        if not 0 < fps <= MAX_FPS:
            raise ValueError(f"scene rate is {fps:g}, expected more than 0 and at most {MAX_FPS:g}")
        self.width = width
        self.height = height
        self.fps = fps
        # All lengths below are for 640x480.
        self._scale = min(width / 640, height / 480)
        random = np.random.default_rng(seed)
        self._phases = random.uniform(0.0, 2 * math.pi, 6).tolist()
        self._hash_key = int(random.integers(1 << 32))
        self._wall = self._make_wall(random)
        self._noise = _make_noise(random, height + _NOISE_PLAY, width + _NOISE_PLAY)

    def frame(self, index: int) -> NDArray[Any]:
        """Draw frame ``index``, from 0.

        Returns:
            uint8[height, width, 3], BGR; the caller's own.
        """
        picture = self._wall.copy()
        self._draw_ball(picture, self.ball(index))
        for strip in self._strips(index / self.fps):
            left, right = round(strip.left), round(strip.right)
            picture[:, max(0, left) : max(0, right)] = strip.colour
        noise = self._noise_window(index)
        return cv2.addWeighted(picture, self._light(index), noise, 1.0, -_NOISE_AMPLITUDE)

    def ball(self, index: int) -> Ball:
        """Return where the ball is in frame ``index``, and how much of it can be seen."""
        time_s = index / self.fps
        phase = self._phases
        # A phase that itself swings makes the ball hurry and dawdle: up to 900 px/s at 640x480.
        along = 2 * math.pi * time_s / 5.3 + 1.7 * math.sin(2 * math.pi * time_s / 7.9 + phase[0])
        across = 2 * math.pi * time_s / 3.7 + 1.1 * math.sin(2 * math.pi * time_s / 6.1 + phase[1])
        radius = self._scale * (26 + 6 * math.sin(2 * math.pi * time_s / 9.7 + phase[2]))
        x = self.width / 2 + (self.width / 2 - 1.3 * radius) * math.sin(along + phase[3])
        y = self.height / 2 + (self.height / 2 - 1.3 * radius) * math.sin(across + phase[4])
        left, right = x - radius, x + radius
        # The two strips never overlap, so what they cover can be added.
        covered = sum(strip.covers(left, right) for strip in self._strips(time_s))
        return Ball(x=x, y=y, radius=radius, visible=max(0.0, 1.0 - covered / (right - left)))

    def _strips(self, time_s: float) -> tuple[_Strip, _Strip]:
        """Return the fixed pillar and the swinging panel, each wider than the ball ever is."""
        half = 60 * self._scale
        pillar = 0.25 * self.width
        panel = self.width * (0.7 + 0.15 * math.sin(2 * math.pi * time_s / 13.1 + self._phases[5]))
        return (
            _Strip(left=pillar - half, right=pillar + half, colour=_PILLAR_COLOUR),
            _Strip(left=panel - half, right=panel + half, colour=_PANEL_COLOUR),
        )

    def _light(self, index: int) -> float:
        """Return the brightness of frame ``index``: a slow swing, and a slower one like a cloud."""
        time_s = index / self.fps
        return (
            0.95
            + 0.12 * math.sin(2 * math.pi * time_s / 17.0)
            + 0.06 * math.sin(2 * math.pi * time_s / 41.0)
        )

    def _noise_window(self, index: int) -> NDArray[Any]:
        # Knuth's multiplicative hash: neighbouring frames land far apart on the sheet.
        hashed = ((index ^ self._hash_key) * 2654435761) & 0xFFFFFFFF
        down, right = (hashed >> 26) % _NOISE_PLAY, (hashed >> 20) % _NOISE_PLAY
        return self._noise[down : down + self.height, right : right + self.width]

    def _draw_ball(self, picture: NDArray[Any], ball: Ball) -> None:
        _draw_disc(picture, ball.x, ball.y, ball.radius, _RIM_COLOUR)
        _draw_disc(picture, ball.x, ball.y, 0.85 * ball.radius, _BALL_COLOUR)

    def _make_wall(self, random: "np.random.Generator") -> NDArray[Any]:
        """Make a cloudy wall of three grains, bluish grey, with one small green leaf on it."""
        relief = np.zeros((self.height, self.width), np.float32)
        for cells, weight in ((6, 30.0), (24, 14.0), (96, 6.0)):
            coarse = random.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
            size = (self.width, self.height)
            relief += weight * cv2.resize(coarse, size, interpolation=cv2.INTER_LINEAR)
        # Little saturation everywhere, so that nothing but the ball and the leaf counts as green.
        wall = np.stack([150 + relief, 138 + relief, 132 + relief], axis=2).astype(np.uint8)
        radius = _LEAF_RADIUS * self.width / 640
        _draw_disc(wall, 0.9 * self.width, 0.1 * self.height, radius, _LEAF_COLOUR)
        return wall


def _draw_disc(
    picture: NDArray[Any], x: float, y: float, radius: float, colour: tuple[int, int, int]
) -> None:
    unit = 1 << _SUBPIXEL_BITS
    centre = (round(x * unit), round(y * unit))
    size = round(radius * unit)
    cv2.circle(picture, centre, size, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _make_noise(random: "np.random.Generator", height: int, width: int) -> NDArray[Any]:
    """Make a sheet of noise around ``_NOISE_AMPLITUDE``, different in each channel."""
    return random.integers(0, 2 * _NOISE_AMPLITUDE + 1, (height, width, 3), dtype=np.uint8)

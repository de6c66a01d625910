"""A device is asked for pictures while somebody looks, and goes back to what it did before."""

import math

import pytest

from offload.cloud.picture_watch import LOOK_FPS, LOOK_S, PictureWatch


class Asked:
    """Keeps what devices were asked for."""

    def __init__(self, *, always_fps: float = 0.0) -> None:
        self.said: list[tuple[str, float]] = []
        self.watch = PictureWatch(
            always_fps=always_fps, ask=lambda stream, fps: self.said.append((stream, fps))
        )


def test_a_device_is_asked_once_while_somebody_looks() -> None:
    asked = Asked()
    for now in (0.0, 1.0, 2.0):
        asked.watch.look("porch", now)
    assert asked.said == [("porch", LOOK_FPS)]
    assert asked.watch.fps_of("porch") == LOOK_FPS
    assert asked.watch.fps_of("garden") == 0.0


def test_nobody_looks_any_more_after_a_while() -> None:
    asked = Asked()
    asked.watch.look("porch", 0.0)
    asked.watch.look("garden", 1.0)
    assert asked.watch.forget(LOOK_S) == []
    assert asked.watch.forget(LOOK_S + 0.5) == ["porch"]
    assert asked.said[2:] == [("porch", 0.0)]
    assert asked.watch.fps_of("porch") == 0.0
    asked.watch.look("porch", 4.0)
    assert asked.said[3:] == [("porch", LOOK_FPS)]


@pytest.mark.parametrize(
    ("always_fps", "said"),
    [(2.0, [("porch", LOOK_FPS), ("porch", 2.0)]), (30.0, []), (math.inf, [])],
)
def test_the_larger_rate_counts(always_fps: float, said: list[tuple[str, float]]) -> None:
    asked = Asked(always_fps=always_fps)
    assert asked.watch.fps_of("porch") == always_fps
    asked.watch.look("porch", 0.0)
    assert asked.watch.fps_of("porch") == max(always_fps, LOOK_FPS)
    assert asked.watch.forget(10.0) == ["porch"]
    assert asked.said == said

"""At most so many frames a second are watched."""

import math

import pytest

from offload.device.pictures import PictureRate


def watched(rate: PictureRate, *, fps: float, seconds: float, start_s: float = 100.0) -> int:
    frames = round(fps * seconds)
    return sum(rate.takes(start_s + number / fps) for number in range(frames))


def test_nobody_watches_unless_asked() -> None:
    assert watched(PictureRate(), fps=30, seconds=10) == 0


def test_all_frames_are_watched_where_all_are_asked_for() -> None:
    assert watched(PictureRate(math.inf), fps=30, seconds=10) == 300


@pytest.mark.parametrize("frames_fps", [7.0, 30.0, 33.3, 200.0])
def test_as_many_a_second_are_watched_as_are_asked_for(frames_fps: float) -> None:
    assert watched(PictureRate(5.0), fps=frames_fps, seconds=20) == pytest.approx(100, abs=1)


def test_all_frames_are_watched_where_fewer_come_than_are_asked_for() -> None:
    assert watched(PictureRate(30.0), fps=4, seconds=10) == 40


def test_a_pause_is_not_made_up_for() -> None:
    rate = PictureRate(5.0)
    watched(rate, fps=30, seconds=1, start_s=0.0)
    assert watched(rate, fps=30, seconds=1, start_s=60.0) <= 6


def test_a_change_acts_from_the_next_frame_on() -> None:
    rate = PictureRate(0.1)
    assert rate.takes(0.0)
    rate.fps = 0.0
    assert not rate.takes(20.0)

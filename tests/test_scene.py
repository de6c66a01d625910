"""The synthetic scene: the same for everyone, and true to what it says about its ball."""

import math
from itertools import islice, pairwise

import numpy as np
import pytest

from ball_tracking_example.scene import MAX_FPS, MAX_SIDE, MIN_SIDE, Scene
from ball_tracking_example.sequential import track
from ball_tracking_example.sources import WIDTH, make_source

FRAMES = 400


def test_frames_are_colour_pictures_of_the_size_asked_for() -> None:
    frame = Scene(width=320, height=200).frame(0)
    assert frame.shape == (200, 320, 3)
    assert frame.dtype == np.uint8


def test_two_scenes_of_one_seed_are_the_same() -> None:
    ours, theirs = Scene(160, 120, seed=5), Scene(160, 120, seed=5)
    for index in (0, 1, 77):
        np.testing.assert_array_equal(ours.frame(index), theirs.frame(index))
        assert ours.ball(index) == theirs.ball(index)


def test_another_seed_is_another_scene() -> None:
    ours, theirs = Scene(160, 120, seed=5), Scene(160, 120, seed=6)
    assert ours.ball(0) != theirs.ball(0)
    assert not np.array_equal(ours.frame(0), theirs.frame(0))


def test_a_frame_does_not_depend_on_those_drawn_before_it() -> None:
    one_by_one, at_once = Scene(160, 120), Scene(160, 120)
    frames = [one_by_one.frame(index) for index in range(50)]
    np.testing.assert_array_equal(at_once.frame(49), frames[49])


def test_a_frame_is_the_callers_own() -> None:
    scene = Scene(160, 120)
    before = scene.frame(3).copy()
    scene.frame(3)[:] = 0
    np.testing.assert_array_equal(scene.frame(3), before)


def test_noise_differs_from_frame_to_frame_even_where_nothing_moves() -> None:
    corners = [Scene(160, 120, fps=1000).frame(index)[:8, :8].tobytes() for index in range(20)]
    assert len(set(corners)) == 20


def test_light_changes_slowly() -> None:
    scene = Scene(160, 120)
    means = [float(scene.frame(index).mean()) for index in range(0, 600, 30)]
    assert max(means) - min(means) > 15
    neighbours = abs(float(scene.frame(100).mean()) - float(scene.frame(101).mean()))
    assert neighbours < 3


def test_the_ball_is_at_times_slow_and_at_times_fast() -> None:
    scene = Scene()
    balls = [scene.ball(index) for index in range(900)]
    speeds = [
        math.hypot(after.x - before.x, after.y - before.y) * scene.fps
        for before, after in pairwise(balls)
    ]
    assert min(speeds) < 40
    assert max(speeds) > 600


def test_the_ball_stays_inside_the_picture() -> None:
    scene = Scene(width=640, height=360)
    for index in range(2000):
        ball = scene.ball(index)
        assert ball.radius <= ball.x <= 640 - ball.radius
        assert ball.radius <= ball.y <= 360 - ball.radius


def test_the_ball_is_at_times_hidden_and_mostly_clear() -> None:
    scene = Scene()
    shares = [scene.ball(index).visible for index in range(0, 3000, 5)]
    assert min(shares) == 0.0
    assert sum(share == 1.0 for share in shares) > len(shares) / 2


@pytest.mark.parametrize(
    ("spec", "scene"),
    [
        ("synthetic", Scene()),
        ("synthetic:1280x720", Scene(1280, 720)),
        ("synthetic:320x240@10", Scene(320, 240, 10)),
    ],
)
def test_a_clear_ball_is_found_where_it_is_and_a_hidden_one_nowhere(
    spec: str, scene: Scene
) -> None:
    to_tracked_size = WIDTH / scene.width
    clear, near, hidden = 0, 0, 0
    for index, found in enumerate(track(islice(make_source(spec).open(0), FRAMES))):
        ball = scene.ball(index)
        if ball.visible == 0.0:
            hidden += 1
            assert found is None
        if ball.visible == 1.0:
            clear += 1
            if found is not None:
                assert found["x"] is not None
                assert found["y"] is not None
                x, y = ball.x * to_tracked_size, ball.y * to_tracked_size
                near += math.hypot(found["x"] - x, found["y"] - y) < 6
    assert clear > FRAMES / 3
    assert hidden > 0
    assert near >= 0.95 * clear


@pytest.mark.parametrize(
    ("width", "height", "fps"),
    [
        (MIN_SIDE - 1, 480, 30.0),
        (640, MAX_SIDE + 1, 30.0),
        (640, 480, 0.0),
        (640, 480, MAX_FPS + 1),
        (640, 480, math.nan),
    ],
)
def test_a_scene_out_of_range_is_refused(width: int, height: int, fps: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        Scene(width, height, fps)


def test_the_smallest_scene_can_be_drawn() -> None:
    assert Scene(MIN_SIDE, MIN_SIDE).frame(12345).shape == (MIN_SIDE, MIN_SIDE, 3)

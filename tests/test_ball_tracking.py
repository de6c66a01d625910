"""The ball tracking example: its seven tasks do what the plain loop does, wherever it is split."""

import inspect
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import cv2
import imutils
import numpy as np
import pytest

from ball_tracking_example import make_pipeline, sequential
from ball_tracking_example.scene import Scene
from ball_tracking_example.sequential import track
from ball_tracking_example.sources import WIDTH, CaptureSource, SyntheticSource, make_source
from ball_tracking_example.taskified import ShowFrame, calculate_circle
from offload.values import Value
from task_interface import (
    FILTER,
    BoundPipeline,
    Context,
    LoadingError,
    Pipeline,
    PipelineRun,
)

REPOSITORY = Path(__file__).resolve().parent.parent
GREEN_BALL = REPOSITORY.parent / "shared" / "data" / "green_ball.mp4"
SYNTHETIC_FRAMES = 200
NAMES = (
    "get_frame",
    "calculate_hsv",
    "calculate_mask",
    "find_contours",
    "calculate_circle",
    "draw_circle",
    "show_frame",
)

needs_recording = pytest.mark.skipif(
    not GREEN_BALL.exists(), reason="green_ball.mp4 is not in ../shared/data"
)

Result = dict[str, float | None] | None

RECORDED_FRAMES = 40


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the path of a short video whose frames depend on those before them, as is usual."""
    path = str(tmp_path_factory.mktemp("videos") / "ball.mp4")
    writer = cv2.VideoWriter(path, cv2.VideoWriter.fourcc(*"mp4v"), 20.0, (320, 240))
    scene = Scene(320, 240)
    for index in range(RECORDED_FRAMES):
        writer.write(scene.frame(index))
    writer.release()
    return path


def no_time() -> float:
    return 0.0


def context(seq: int, *, pictures: list[object] | None = None) -> Context:
    """Return the context of one frame, watched if there is a list for its pictures."""
    if pictures is None:
        return Context(stream="s", seq=seq, captured_at=0.0)
    return Context(stream="s", seq=seq, captured_at=0.0, watched=True, show=pictures.append)


def frames_of(pipeline: Pipeline, frames: int, start_seq: int = 0) -> Iterator[dict[str, Value]]:
    source = pipeline.source.bind()
    return map(source.frame_values, islice(source.open(start_seq), frames))


def run_whole(pipeline: Pipeline, frames: int) -> list[PipelineRun]:
    bound = pipeline.bind()
    return [
        bound.run(values, start=1, stop=7, context=context(seq), clock=no_time)
        for seq, values in enumerate(frames_of(pipeline, frames))
    ]


def run_split(
    pipeline: Pipeline, split: int, frames: int, pictures: list[object] | None = None
) -> list[Result]:
    """Run a device and a cloud that share nothing but the live values."""
    device, cloud = pipeline.bind(), make_pipeline(None).bind()
    names = pipeline.live_values(split, watched=pictures is not None)
    results: list[Result] = []
    for seq, values in enumerate(frames_of(pipeline, frames)):
        here = context(seq, pictures=pictures)
        first = device.run(values, start=1, stop=split, context=here, clock=no_time)
        if first.ended:
            assert first.error is None
            results.append(None)
            continue
        crossing = {name: frozen(first.values[name]) for name in names}
        second = cloud.run(crossing, start=split, stop=7, context=here, clock=no_time)
        results.append(result_of(second))
    return results


def result_of(run: PipelineRun) -> Result:
    assert run.error is None
    return cast("Result", run.result)


def frozen(value: Value) -> Value:
    """Return the value with its arrays read-only, as those received from a network are."""
    if isinstance(value, np.ndarray):
        copy = value.copy()
        copy.flags.writeable = False
        return copy
    if isinstance(value, (list, tuple)):
        return tuple(frozen(each) for each in value)
    return value


def results_of_loop(spec: str, frames: int) -> list[Result]:
    return list(track(islice(make_source(spec).open(0), frames)))


def test_the_seven_tasks_have_their_names_and_order() -> None:
    assert make_pipeline(None).names == NAMES


def test_the_split_may_be_anywhere_between_the_first_and_the_last_task() -> None:
    assert list(make_pipeline(None).splits) == [1, 2, 3, 4, 5, 6]


def test_the_state_of_the_last_task_survives_a_restart() -> None:
    assert make_pipeline(None).forgetful == ()


def test_device_and_cloud_agree_on_the_tasks_whatever_the_source() -> None:
    fingerprint = make_pipeline("synthetic:320x240@25").fingerprint()
    assert fingerprint == make_pipeline(None).fingerprint()
    assert fingerprint == make_pipeline("camera:0").fingerprint()


def test_unwatched_frames_ship_no_picture_once_the_contours_are_known() -> None:
    pipeline = make_pipeline(None)
    live = [pipeline.live_values(split) for split in pipeline.splits]
    assert live == [
        ("frame", "time_s"),
        ("hsv", "time_s"),
        ("mask", "time_s"),
        ("contours", "time_s"),
        ("circle", "time_s"),
        ("circle", "time_s"),
    ]


def test_watched_frames_ship_the_frame_until_the_picture_is_drawn_and_then_the_picture() -> None:
    pipeline = make_pipeline(None)
    live = [pipeline.live_values(split, watched=True) for split in pipeline.splits]
    assert live == [
        ("frame", "time_s"),
        ("frame", "hsv", "time_s"),
        ("frame", "mask", "time_s"),
        ("contours", "frame", "time_s"),
        ("circle", "frame", "time_s"),
        ("circle", "picture", "time_s"),
    ]


def test_tasks_and_loop_agree_on_every_synthetic_frame() -> None:
    runs = run_whole(make_pipeline("synthetic"), SYNTHETIC_FRAMES)
    expected = results_of_loop("synthetic", SYNTHETIC_FRAMES)
    assert [result_of(run) for run in runs] == expected
    assert None in expected
    assert sum(result is not None for result in expected) > SYNTHETIC_FRAMES / 2


def test_synthetic_frames_end_early_for_both_reasons() -> None:
    runs = run_whole(make_pipeline("synthetic:320x240"), 600)
    ends = Counter(run.filtered_by for run in runs)
    assert set(ends) == {None, "find_contours", "calculate_circle"}


@needs_recording
@pytest.mark.slow
def test_tasks_and_loop_agree_on_every_recorded_frame() -> None:
    runs = run_whole(make_pipeline(str(GREEN_BALL)), 2000)
    expected = results_of_loop(str(GREEN_BALL), 2000)
    assert [result_of(run) for run in runs] == expected
    assert len(expected) == 1004
    # OpenCV 4.10 and 5.0 decode a little differently: 911 and 908 detections.
    assert sum(result is not None for result in expected) in range(900, 920)


@pytest.mark.parametrize("watched", [False, True], ids=["unwatched", "watched"])
@pytest.mark.parametrize("split", [1, 2, 3, 4, 5, 6])
def test_every_split_gives_the_results_of_the_loop(split: int, watched: bool) -> None:
    pictures: list[object] | None = [] if watched else None
    results = run_split(make_pipeline("synthetic:320x240"), split, 120, pictures)
    assert results == results_of_loop("synthetic:320x240", 120)
    if pictures is not None:
        assert len(pictures) == sum(result is not None for result in results)


@needs_recording
@pytest.mark.parametrize("split", [1, pytest.param(3, marks=pytest.mark.slow), 6])
def test_a_split_recording_gives_the_results_of_the_loop(split: int) -> None:
    results = run_split(make_pipeline(str(GREEN_BALL)), split, 150)
    assert results == results_of_loop(str(GREEN_BALL), 150)


def test_a_result_is_made_of_plain_numbers() -> None:
    results = [result for result in results_of_loop("synthetic", 20) if result is not None]
    runs = [run.result for run in run_whole(make_pipeline("synthetic"), 20) if not run.ended]
    assert json.loads(json.dumps(runs)) == runs == results
    assert isinstance(runs[0], dict)
    assert list(runs[0]) == ["x", "y", "radius", "detections", "speed_px_s"]


def test_no_task_changes_a_value_that_it_was_given() -> None:
    pipeline = make_pipeline("synthetic")
    bound = pipeline.bind()
    for seq, values in enumerate(frames_of(pipeline, 30)):
        given = {name: frozen(value) for name, value in values.items()}
        here = context(seq, pictures=[])
        for stop in range(2, 8):
            run = bound.run(given, start=stop - 1, stop=stop, context=here, clock=no_time)
            assert run.error is None
            if run.ended:
                break
            given = {name: frozen(value) for name, value in run.values.items()}


def circle(x: float, y: float) -> dict[str, float]:
    return {"x": x, "y": y, "radius": 9.0, "centre_x": x, "centre_y": y}


def test_speed_is_the_way_over_media_time() -> None:
    show_frame = ShowFrame()
    speeds = [
        show_frame(circle(x, y), time_s, None, context(0))["speed_px_s"]
        for x, y, time_s in ((10.0, 10.0, 1.0), (13.0, 14.0, 1.5), (13.0, 14.0, 2.0))
    ]
    assert speeds == [None, 10.0, 0.0]


@pytest.mark.parametrize("time_s", [5.0, 0.1])
def test_speed_is_unknown_where_media_time_does_not_advance(time_s: float) -> None:
    show_frame = ShowFrame()
    show_frame(circle(0, 0), 5.0, None, context(0))
    assert show_frame(circle(9, 9), time_s, None, context(1))["speed_px_s"] is None


def test_the_loop_knows_no_speed_either_where_media_time_does_not_advance() -> None:
    frame, _ = next(make_source("synthetic").open(0))
    speeds = [found and found["speed_px_s"] for found in track((frame, t) for t in (1.0, 1.0, 0.5))]
    assert speeds == [None, None, None]
    assert [found is None for found in track([(frame, 0.0)])] == [False]


def test_each_stream_counts_its_own_detections() -> None:
    pipeline = make_pipeline("synthetic")
    first, second = pipeline.bind(), pipeline.bind()
    assert last_detections(first, pipeline, 12) == 12
    assert last_detections(second, pipeline, 5) == 5


def last_detections(bound: BoundPipeline, pipeline: Pipeline, frames: int) -> float | None:
    runs = [
        bound.run(values, start=1, stop=7, context=context(seq), clock=no_time)
        for seq, values in enumerate(frames_of(pipeline, frames))
    ]
    results = [run.result for run in runs if isinstance(run.result, dict)]
    return cast("float", results[-1]["detections"])


@pytest.mark.parametrize("stopped_at", [1, 40, 100])
def test_a_restored_stream_goes_on_as_if_nothing_had_happened(stopped_at: int) -> None:
    pipeline = make_pipeline("synthetic")
    uninterrupted, before = pipeline.bind(), pipeline.bind()
    after: BoundPipeline | None = None
    for seq, values in enumerate(frames_of(pipeline, 130)):
        if seq == stopped_at:
            # The state must survive being stored, so it goes through text and back.
            after = make_pipeline(None).bind()
            after.restore(json.loads(json.dumps(before.snapshot())))
        seen: list[list[object]] = [[], []]
        runs = [
            bound.run(
                values, start=1, stop=7, context=context(seq, pictures=pictures), clock=no_time
            )
            for bound, pictures in zip((uninterrupted, after or before), seen, strict=True)
        ]
        assert result_of(runs[0]) == result_of(runs[1])
        np.testing.assert_array_equal(np.array(seen[0]), np.array(seen[1]))


def test_a_snapshot_does_not_change_with_later_frames() -> None:
    show_frame = ShowFrame()
    show_frame(circle(1, 2), 0.0, None, context(0))
    taken = show_frame.snapshot()
    kept = json.dumps(taken)
    show_frame(circle(3, 4), 1.0, None, context(1))
    assert json.dumps(taken) == kept


def test_the_trail_remembers_32_centres_and_no_more() -> None:
    show_frame = ShowFrame()
    for step in range(100):
        show_frame(circle(step, step), float(step), None, context(step))
    trail = show_frame.snapshot()["trail"]
    assert trail == [[step, step] for step in range(68, 100)]


def test_the_picture_shows_the_trail_and_the_one_given_stays_as_it_was() -> None:
    shown: list[object] = []
    show_frame, picture = ShowFrame(), np.zeros((100, 100, 3), np.uint8)
    for step in (10, 50, 90):
        show_frame(circle(step, 50), float(step), picture, context(0, pictures=shown))
    last = cast("np.ndarray[Any, Any]", shown[-1])
    assert last[50, 30].tolist() == last[50, 70].tolist() == [0, 0, 255]
    assert not picture.any()


def test_a_circle_of_5_pixels_is_too_small_and_a_larger_one_is_not() -> None:
    def largest(radius: int) -> object:
        square = np.array([[0, 0], [2 * radius, 0], [2 * radius, 1], [0, 1]], np.int32)
        return calculate_circle.function([square.reshape(-1, 1, 2)])

    assert largest(4) is FILTER
    found = largest(6)
    assert isinstance(found, Mapping)
    assert found["radius"] == pytest.approx(6.0, abs=0.1)


def test_a_contour_without_area_has_the_centre_of_its_circle() -> None:
    line = np.array([[[0, 0]], [[20, 0]]], np.int32)
    found = calculate_circle.function([line])
    assert isinstance(found, Mapping)
    assert (found["x"], found["y"]) == (10.0, 0.0)


@pytest.mark.parametrize("spec", ["synthetic", "synthetic:320x240@24"])
def test_a_synthetic_stream_is_resumed_where_it_stopped(spec: str) -> None:
    whole = list(islice(make_source(spec).open(0), 20))
    assert_same_frames(islice(make_source(spec).open(15), 5), whole[15:])


def test_a_file_ends_at_its_end_and_is_resumed_where_it_stopped(recording: str) -> None:
    source = make_source(recording)
    whole = list(source.open(0))
    assert len(whole) == RECORDED_FRAMES
    assert [time_s for _, time_s in whole] == [seq / 20 for seq in range(RECORDED_FRAMES)]
    assert_same_frames(source.open(33), whole[33:])
    assert list(source.open(RECORDED_FRAMES)) == []
    assert list(source.open(10 * RECORDED_FRAMES)) == []


def test_a_file_that_has_gone_since_is_not_taken_for_one_that_ended(
    recording: str, tmp_path: Path
) -> None:
    moved = tmp_path / "moved.mp4"
    moved.write_bytes(Path(recording).read_bytes())
    source = make_source(str(moved))
    moved.unlink()
    with pytest.raises(LoadingError, match=r"moved\.mp4"):
        next(source.open(0))


def assert_same_frames(
    found: Iterator[tuple[Any, float]], expected: list[tuple[Any, float]]
) -> None:
    for (frame, time_s), (expected_frame, expected_time_s) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(frame, expected_frame)
        assert time_s == expected_time_s


@pytest.mark.parametrize("size", [(480, 640), (281, 501), (720, 1280), (1000, 333), (64, 64)])
def test_a_frame_is_resized_as_imutils_does_it_and_stays_what_it_was(size: tuple[int, int]) -> None:
    picture = np.random.default_rng(1).integers(0, 255, (*size, 3), np.uint8)
    kept = picture.copy()
    frame, time_s = SyntheticSource().prepare(picture, 1.5)
    np.testing.assert_array_equal(frame, imutils.resize(picture, width=WIDTH))
    np.testing.assert_array_equal(picture, kept)
    assert time_s == 1.5


def test_a_frame_that_has_the_width_already_is_not_copied() -> None:
    picture = np.zeros((281, WIDTH, 3), np.uint8)
    assert SyntheticSource().prepare(picture, 0.0)[0] is picture


def test_every_source_resizes_apart_from_reading(recording: str) -> None:
    for source in (make_source("synthetic:320x240"), make_source(recording)):
        picture, time_s = next(source.open(3))
        assert picture.shape == (240, 320, 3)
        frame, same_time_s = source.prepare(picture, time_s)
        assert frame.shape == (375, WIDTH, 3)
        assert same_time_s == time_s > 0.0


@pytest.mark.parametrize(
    ("spec", "height", "rate_fps", "second_frame_s"),
    [
        ("synthetic", 375, None, 1 / 30),
        ("synthetic:1280x720", 281, None, 1 / 30),
        ("synthetic:@25", 375, 25.0, 1 / 25),
        ("synthetic:640x360@12.5", 281, 12.5, 1 / 12.5),
    ],
)
def test_a_synthetic_source_has_the_size_and_rate_asked_for(
    spec: str, height: int, rate_fps: float | None, second_frame_s: float
) -> None:
    pipeline = make_pipeline(spec)
    frames = list(frames_of(pipeline, 2))
    assert cast("Any", frames[0]["frame"]).shape == (height, WIDTH, 3)
    assert [values["time_s"] for values in frames] == [0.0, second_frame_s]
    source = pipeline.source.bind()
    assert (source.live, source.rate_fps) == (False, rate_fps)


@pytest.mark.parametrize("spec", ["camera:0", "rtsp://127.0.0.1/ball"])
def test_cameras_are_live_and_not_opened_before_the_first_frame(spec: str) -> None:
    assert make_pipeline(spec).source.bind().live


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "nonsense",
        "missing.mp4",
        "synthetic:",
        "synthetic:640",
        "synthetic:@",
        "synthetic:0x0",
        "synthetic:63x480",
        "synthetic:640x99999",
        "synthetic:640x480@0",
        "synthetic:640x480@5000",
        "synthetic:640x480@-1",
        "camera:",
        "camera:front",
        "http://127.0.0.1/ball.mp4",
        str(REPOSITORY),
        __file__,
    ],
)
def test_a_source_that_cannot_be_is_refused_at_once_in_one_line(
    spec: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(LoadingError) as caught:
        make_pipeline(spec)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_video_that_is_cut_off_is_refused_in_one_line(tmp_path: Path) -> None:
    # It begins like one, so that FFmpeg has something to complain of. A process of its own, since
    # FFmpeg's log is set up once, by whatever opens a video first.
    cut_off = tmp_path / "cut_off.mp4"
    cut_off.write_bytes(b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + b"\x00" * 500)
    ran = subprocess.run(
        [sys.executable, "-m", "ball_tracking_example.sequential", str(cut_off)],
        cwd=REPOSITORY,
        env={k: v for k, v in os.environ.items() if k != "OPENCV_FFMPEG_LOGLEVEL"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1
    assert "cut_off.mp4" in ran.stderr


def test_a_video_without_a_frame_is_refused_at_once(tmp_path: Path) -> None:
    empty = tmp_path / "empty.avi"
    writer = cv2.VideoWriter(
        str(empty), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (64, 64)
    )
    writer.release()
    with pytest.raises(LoadingError, match=r"empty\.avi"):
        make_pipeline(str(empty))


def test_a_camera_that_does_not_open_says_what_to_try(capfd: pytest.CaptureFixture[str]) -> None:
    frames = make_pipeline("camera:97").source.bind().open(0)
    with pytest.raises(LoadingError, match=r"v4l2-ctl --list-devices.*group `video`") as caught:
        next(frames)
    assert "camera:97 does not open" in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_stream_that_does_not_open_keeps_its_password_to_itself() -> None:
    frames = make_pipeline("rtsp://me:secret@127.0.0.1:1/ball").source.bind().open(0)
    with pytest.raises(LoadingError, match=r"rtsp://127\.0\.0\.1:1/ball") as caught:
        next(frames)
    assert "secret" not in str(caught.value)


def test_a_live_source_that_ends_raises_and_its_time_never_goes_back(recording: str) -> None:
    times = []
    frames = CaptureSource(recording, name="camera:0", advice="").open(7)
    with pytest.raises(RuntimeError, match="camera:0 stopped giving frames"):  # noqa: PT012  # ends
        for _, time_s in frames:
            times.append(time_s)
    assert len(times) == RECORDED_FRAMES
    assert times == sorted(times)
    assert times[0] >= 0.0


def test_a_missing_picamera2_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(LoadingError, match=r"python3-picamera2.*--system-site-packages"):
        make_pipeline("picamera:0")


class LentCamera:
    """What picamera2 offers of one camera."""

    closed = 0

    def __init__(self, number: int) -> None:
        if number > 0:
            raise IndexError("list index out of range")
        self._shade = count(1)

    def create_video_configuration(self, *, main: dict[str, object]) -> dict[str, object]:
        return main

    def configure(self, configuration: dict[str, object]) -> None:
        assert configuration["format"] == "RGB888"

    def start(self) -> None: ...

    def capture_array(self, name: str) -> object:
        assert name == "main"
        return np.full((480, 640, 3), next(self._shade), np.uint8)

    def close(self) -> None:
        LentCamera.closed += 1


@pytest.fixture
def _picamera2(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("picamera2")
    monkeypatch.setattr(module, "Picamera2", LentCamera, raising=False)
    monkeypatch.setitem(sys.modules, "picamera2", module)
    monkeypatch.setattr(LentCamera, "closed", 0)


@pytest.mark.usefixtures("_picamera2")
def test_a_raspberry_pi_camera_gives_frames_and_is_closed_after_use() -> None:
    source = make_source("picamera:0")
    frames = source.open(0)
    assert source.live
    assert [next(frames)[0][0, 0, 0] for _ in range(3)] == [1, 2, 3]
    assert next(frames)[0].shape == (480, 640, 3)
    cast("Any", frames).close()
    assert LentCamera.closed == 1


@pytest.mark.usefixtures("_picamera2")
def test_a_raspberry_pi_camera_that_is_not_there_says_how_to_list_them() -> None:
    with pytest.raises(LoadingError, match=r"picamera:3 does not open.*--list-cameras"):
        next(make_source("picamera:3").open(0))


def test_trying_a_file_leaves_the_log_settings_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("OPENCV_FFMPEG_LOGLEVEL", raising=False)
    logging = getattr(cv2.utils, "logging", cv2)
    before = logging.getLogLevel()
    logging.setLogLevel(2)
    try:
        with pytest.raises(LoadingError):
            make_pipeline(__file__)
        assert logging.getLogLevel() == 2
    finally:
        logging.setLogLevel(before)
    assert "OPENCV_FFMPEG_LOGLEVEL" not in os.environ


def test_importing_the_example_loads_no_opencv_and_the_loop_knows_no_tasks() -> None:
    code = "import sys, ball_tracking_example as b; print('cv2' in sys.modules, b.__all__)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False ['make_pipeline']\n"
    assert "task_interface" not in inspect.getsource(sequential)


def test_the_tasks_do_without_imutils() -> None:
    code = "import sys, ball_tracking_example.taskified; print('imutils' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"


def test_the_loop_prints_results_as_json_lines_and_its_rate_apart(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sequential.main(["synthetic:320x240", "--frames", "40"]) == 0
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]
    expected = results_of_loop("synthetic:320x240", 40)
    assert lines == [
        {"seq": seq} | result for seq, result in enumerate(expected) if result is not None
    ]
    assert "40 frames in" in printed.err


def test_the_loop_ends_with_2_and_one_line_if_there_is_no_such_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sequential.main(["nonsense"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1

"""Where frames come from: the synthetic scene, a video file, a camera, a network stream.

A source gives each frame and the media time at which it belongs: the place in the recording for a
file and for the synthetic scene, seconds since it was opened for a camera. It is never the wall
clock, so that speeds come out the same wherever and whenever they are computed. Nothing is opened
before ``open``, except that a file is tried at once: a typing error should end the program early.
``prepare`` resizes a frame to ``WIDTH``; it needs no other frame, so several may be resized at
once.

    source = make_source("synthetic:640x480@30")
    for picture, time_s in source.open(start_seq=0):
        frame, time_s = source.prepare(picture, time_s)
"""

import contextlib
import importlib
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import cv2
from numpy.typing import NDArray

from ball_tracking_example.scene import MAX_FPS, MAX_SIDE, MIN_SIDE, Scene
from task_interface import LoadingError

__all__ = ["WIDTH", "Image", "LoadingError", "Source", "make_source"]

# Frames are tracked at this width: a ball worth finding is still large, and there is far less to do
# than in a camera's full picture.
WIDTH: Final = 500

# The rate of media time where nothing says another: an unpaced scene, a file without a usable rate.
DEFAULT_FPS: Final = 30.0

# What a Raspberry Pi camera is asked for; all is resized to WIDTH, so more would be wasted.
_PICAMERA_SIZE: Final = (640, 480)

# OpenCV's LOG_LEVEL_SILENT, which OpenCV 4 does not export.
_SILENT: Final = 0

# FFmpeg has a log of its own, below OpenCV's, that only this variable silences (-8 is "quiet").
# OpenCV reads it once, when the first video is opened.
_FFMPEG_LOG_VARIABLE: Final = "OPENCV_FFMPEG_LOGLEVEL"
_FFMPEG_QUIET: Final = "-8"

_SYNTHETIC: Final = re.compile(r"synthetic(?::(?=.)(?:(\d{1,5})x(\d{1,5}))?(?:@(\d+(?:\.\d+)?))?)?")
_CAMERA: Final = re.compile(r"(camera|picamera):(\d{1,3})")

_CAMERA_ADVICE: Final = (
    "try another number (`v4l2-ctl --list-devices` lists them), close other programs that use it, "
    "and check that this user is in the group `video`"
)
_RTSP_ADVICE: Final = "check the address, user and password, and that the camera is reachable"

Image: TypeAlias = NDArray[Any]
"""A picture: uint8[height, width, 3], BGR, or uint8[height, width] for a mask."""


class Source(Protocol):
    """What gives the frames of a stream."""

    live: bool
    """True where frames pass by whether or not somebody takes them."""

    rate_fps: float | None
    """The rate at which frames should be taken, or None for as fast as they come."""

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield frames with their media seconds, from frame ``start_seq`` on."""

    def prepare(self, picture: Image, time_s: float) -> tuple[Image, float]:
        """Return a frame that ``open`` gave at width ``WIDTH``, and its media seconds."""


def make_source(spec: str) -> Source:
    """Make the source that ``spec`` names.

    Args:
        spec: ``synthetic[:WxH@FPS]`` (size and rate are optional), ``camera:N``, ``picamera:N``, an
            ``rtsp://`` URL, or the path of a video file.

    Raises:
        LoadingError: ``spec`` is none of these, is a file that cannot be read as a video, or needs
            picamera2 where that is missing.
    """
    if synthetic := _SYNTHETIC.fullmatch(spec):
        return _make_synthetic(*synthetic.groups())
    if camera := _CAMERA.fullmatch(spec):
        kind, number = camera[1], int(camera[2])
        if kind == "picamera":
            return PicameraSource(number)
        return CaptureSource(number, name=spec, advice=_CAMERA_ADVICE)
    if spec.startswith("rtsp://"):
        return CaptureSource(spec, name=_without_password(spec), advice=_RTSP_ADVICE)
    if Path(spec).is_file():
        return FileSource(Path(spec))
    raise LoadingError(
        f"no such source or file: {spec!r}, expected synthetic[:WxH@FPS], camera:N, picamera:N, "
        "an rtsp:// URL or the path of a video file"
    )


class _Resizing:
    """What all sources have in common."""

    def prepare(self, picture: Image, time_s: float) -> tuple[Image, float]:
        """Return the picture at width ``WIDTH`` and in its proportions, and ``time_s``.

        Not modified; one that has the width already is returned as it is.
        """
        height, width = picture.shape[:2]
        if width != WIDTH:
            # As imutils.resize does it, without the 8 MB that importing imutils takes.
            size = (WIDTH, int(height * (WIDTH / width)))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        return picture, time_s


class SyntheticSource(_Resizing):
    """The synthetic scene; see ``scene.py``. It never ends.

    Args:
        width: Pixels before the resize.
        height: Pixels before the resize.
        rate_fps: Rate to be paced to and rate of media time; None for unpaced and ``DEFAULT_FPS``.
    """

    live = False

    def __init__(self, width: int = 640, height: int = 480, rate_fps: float | None = None) -> None:
        self.rate_fps = rate_fps
        self._width = width
        self._height = height

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield the scene's frames with ``seq / fps`` seconds, from frame ``start_seq``."""
        fps = self.rate_fps or DEFAULT_FPS
        scene = Scene(self._width, self._height, fps)
        seq = start_seq
        while True:
            yield scene.frame(seq), seq / fps
            seq += 1


class FileSource(_Resizing):
    """A video file, from its first frame to its last, as fast as it decodes.

    Args:
        path: The file.

    Raises:
        LoadingError: OpenCV cannot open it, or gets no frame from it.
    """

    live = False
    rate_fps: float | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._capture() as capture:
            # As the file says, which some do not know, or only about.
            frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
            self.frame_count = int(frames) if frames > 0 else None
            if not capture.grab():
                raise LoadingError(
                    f"cannot read {str(path)!r}: it holds no frame that OpenCV decodes"
                )

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield the file's frames with ``seq / fps`` seconds, from frame ``start_seq``.

        A ``start_seq`` past the end gives no frame.

        Raises:
            LoadingError: The file can no longer be opened.
        """
        with self._capture() as capture:
            fps = capture.get(cv2.CAP_PROP_FPS)
            if not (math.isfinite(fps) and fps > 0):
                fps = DEFAULT_FPS
            # Seeking by frame number lands on a key frame in many formats; counting is exact.
            for _ in range(start_seq):
                if not capture.grab():
                    return
            seq = start_seq
            while (grabbed := capture.read())[0]:
                yield grabbed[1], seq / fps
                seq += 1

    @contextlib.contextmanager
    def _capture(self) -> Iterator[cv2.VideoCapture]:
        with _quiet_opencv():
            capture = cv2.VideoCapture(str(self._path))
        try:
            if not capture.isOpened():
                raise LoadingError(
                    f"cannot read {str(self._path)!r}: it is not a video that OpenCV opens"
                )
            yield capture
        finally:
            capture.release()


class CaptureSource(_Resizing):
    """A live source that OpenCV captures: a camera by its number, or a network stream by its URL.

    Args:
        target: What OpenCV opens.
        name: What errors call it.
        advice: What to do if it gives no frame.
    """

    live = True
    rate_fps: float | None = None

    def __init__(self, target: int | str, *, name: str, advice: str) -> None:
        self._target = target
        self._name = name
        self._advice = advice

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield what the camera sees with the seconds since it was opened.

        Args:
            start_seq: Ignored: what a live source has shown is gone.

        Raises:
            LoadingError: It does not open, or gives no first frame.
            RuntimeError: It stopped giving frames.
        """
        del start_seq
        opened_at = time.monotonic()
        with _quiet_opencv():
            capture = (
                cv2.VideoCapture(self._target)
                if isinstance(self._target, int)
                else cv2.VideoCapture(self._target, cv2.CAP_FFMPEG)
            )
        try:
            grabbed, frame = capture.read()
            if not grabbed:
                found = "gives no frame" if capture.isOpened() else "does not open"
                raise LoadingError(f"{self._name} {found}: {self._advice}")
            while grabbed:
                yield frame, time.monotonic() - opened_at
                grabbed, frame = capture.read()
            raise RuntimeError(f"{self._name} stopped giving frames")
        finally:
            capture.release()


class PicameraSource(_Resizing):
    """A Raspberry Pi camera, through picamera2.

    Args:
        number: Which camera, from 0.

    Raises:
        LoadingError: picamera2 is missing or does not load.
    """

    live = True
    rate_fps: float | None = None

    def __init__(self, number: int) -> None:
        self._number = number
        # Debian packages it together with the libcamera that it needs, so we never require it.
        try:
            self._picamera2 = importlib.import_module("picamera2")
        except ImportError as error:
            raise LoadingError(
                f"picamera:{number} needs picamera2 ({error}): `sudo apt install "
                "python3-picamera2`, in a virtual environment made with --system-site-packages"
            ) from error

    def open(self, start_seq: int) -> Iterator[tuple[Image, float]]:
        """Yield what the camera sees with the seconds since it was opened.

        Args:
            start_seq: Ignored: what a live source has shown is gone.

        Raises:
            LoadingError: There is no such camera, or another program uses it.
        """
        del start_seq
        opened_at = time.monotonic()
        try:
            camera = self._picamera2.Picamera2(self._number)
        except (IndexError, RuntimeError) as error:
            raise LoadingError(
                f"picamera:{self._number} does not open ({error}): try another number "
                "(`rpicam-hello --list-cameras` lists them), check its cable, and close other "
                "programs that use it"
            ) from error
        try:
            # libcamera names formats by bit order: its RGB888 is blue, green, red in memory.
            main = {"size": _PICAMERA_SIZE, "format": "RGB888"}
            camera.configure(camera.create_video_configuration(main=main))
            camera.start()
            while True:
                frame = camera.capture_array("main")
                yield frame, time.monotonic() - opened_at
        finally:
            camera.close()


def _make_synthetic(width: str | None, height: str | None, fps: str | None) -> SyntheticSource:
    size = (int(width or 640), int(height or 480))
    if not all(MIN_SIDE <= side <= MAX_SIDE for side in size):
        raise LoadingError(
            f"synthetic scene of {size[0]}x{size[1]}, "
            f"expected {MIN_SIDE} to {MAX_SIDE} pixels a side"
        )
    rate_fps = None if fps is None else float(fps)
    if rate_fps is not None and not 0 < rate_fps <= MAX_FPS:
        raise LoadingError(
            f"synthetic scene at {rate_fps:g} FPS, expected more than 0 and at most {MAX_FPS:g}"
        )
    return SyntheticSource(*size, rate_fps)


def _without_password(url: str) -> str:
    """Return ``url`` without user and password, for errors that end up in logs."""
    return re.sub(r"^rtsp://[^/]*@", "rtsp://", url)


@contextlib.contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Keep OpenCV from telling of a failure itself; our error is one line and says what to do."""
    # OpenCV 5 moved these functions from its top level into a module.
    logging = getattr(cv2.utils, "logging", cv2)
    level = logging.getLogLevel()
    logging.setLogLevel(_SILENT)
    users_choice = os.environ.get(_FFMPEG_LOG_VARIABLE)
    os.environ.setdefault(_FFMPEG_LOG_VARIABLE, _FFMPEG_QUIET)
    try:
        yield
    finally:
        logging.setLogLevel(level)
        if users_choice is None:
            del os.environ[_FFMPEG_LOG_VARIABLE]

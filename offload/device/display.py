"""The window of ``--display``: the newest picture of a stream, drawn while the tasks go on.

Tasks hand their pictures to `Display.show`; nothing waits there. The main loop calls
`Display.refresh` as often as it comes round, and most of these calls return at once: the window is
looked after at a bounded rate. What is drawn, and when, is the business of the app.

    check_screen(os.environ)
    display = Display("ball_tracking_example")
    display.show(picture)
    while not display.closed:
        display.refresh()
    display.close()
"""

import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np

from offload.errors import ConfigurationError

logger = logging.getLogger("display")

# OpenCV sleeps 2 ms whenever it handles events, in the thread that runs the frames. Thirty times a
# second this is 7 % of it, and no eye sees more in a view that is there to look after a stream.
REFRESH_FPS: Final = 30.0

# The window opens as large as the picture, but not larger than the smallest common screen.
MAX_OPEN_WIDTH: Final = 1024
MAX_OPEN_HEIGHT: Final = 576

# Importing OpenCV from a slow card takes seconds. A screen that is still silent then has hung.
PROBE_LIMIT_S: Final = 20.0

NO_KEY: Final = -1
CLOSING_KEYS: Final = frozenset({ord("q"), ord("Q"), 27})

# Qt does not raise where it finds no screen: it aborts the process. So another one tries first.
PROBE: Final = """
import sys, cv2
try:
    cv2.namedWindow("offload", cv2.WINDOW_NORMAL | cv2.WINDOW_GUI_NORMAL)
except cv2.error as error:
    sys.exit(error.err)
"""

ADVICE: Final = "run this in a desktop session, or leave --display out"


# uint8[height, width] or uint8[height, width, channels]; one channel is grey, more are BGR or BGRA.
Picture = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class Window(Protocol):
    """What a `Display` asks of a window; `OpenCvWindow` is the one on a screen."""

    def draw(self, picture: Picture) -> None:
        """Show the picture from the next `handle_events` on. Not modified.

        Raises:
            ValueError: It cannot be shown.
        """

    def handle_events(self) -> int:
        """Let the window be drawn, moved and closed; return the pressed key, or `NO_KEY`."""

    def is_open(self) -> bool:
        """Whether the user has not closed it."""

    def destroy(self) -> None:
        """Take it off the screen."""


class OpenCvWindow:
    """A window of OpenCV, opened at once.

    One thread makes it and calls it, the main one: not every system has windows on others.

    Args:
        title: What stands on it.
    """

    def __init__(self, title: str) -> None:
        # Here and not above: a device without --display may have no window library at all.
        import cv2

        # Qt would say between our log lines that OpenCV's wheel has no fonts for it.
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false")
        self._cv2 = cv2
        self._title = title
        self._is_sized = False
        # The plain window: the other one has a tool bar that takes width from small pictures.
        flags = cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL
        cv2.namedWindow(title, flags)

    def draw(self, picture: Picture) -> None:
        """Show the picture from the next `handle_events` on. Not modified.

        Raises:
            ValueError: OpenCV cannot show it.
        """
        try:
            self._cv2.imshow(self._title, picture)
        except self._cv2.error as error:
            raise ValueError(error.err) from error
        if not self._is_sized:
            self._is_sized = True
            height, width = picture.shape[:2]
            scale = min(1.0, MAX_OPEN_WIDTH / width, MAX_OPEN_HEIGHT / height)
            size = max(1, round(width * scale)), max(1, round(height * scale))
            self._cv2.resizeWindow(self._title, *size)

    def handle_events(self) -> int:
        """Let the window be drawn, moved and closed; return the pressed key, or `NO_KEY`."""
        return self._cv2.pollKey()

    def is_open(self) -> bool:
        """Whether the user has not closed it."""
        try:
            return self._cv2.getWindowProperty(self._title, self._cv2.WND_PROP_VISIBLE) > 0
        # With its last window Qt is gone, and cannot be asked any more.
        except self._cv2.error:
            return False

    def destroy(self) -> None:
        """Take it off the screen."""
        if self.is_open():
            self._cv2.destroyWindow(self._title)


class Display:
    """A window with the newest picture of a stream.

    `show` may be called from any thread; the one that made the display calls the other methods.

    Args:
        title: What stands on the window.
        open_window: Opens it.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        title: str,
        *,
        open_window: Callable[[str], Window] = OpenCvWindow,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the window; `check_screen` says before whether that is possible."""
        self._window = open_window(title)
        self._clock = clock
        # Of one thread that puts in and another that takes out, neither waits nor loses the newest.
        self._newest: deque[object] = deque(maxlen=1)
        self._due_s = clock()
        self._closed = False
        self._warned = False

    @property
    def closed(self) -> bool:
        """Whether the user closed the window or pressed q or Esc, or `close` was called."""
        return self._closed

    def show(self, picture: object) -> None:
        """Keep the picture for the next `refresh`, in the place of an older one.

        It is not copied: what is written into it before it is drawn will be seen.

        Args:
            picture: uint8[height, width, 3], BGR. Anything else is not shown, and the first time
                logged as a warning.
        """
        self._newest.append(picture)

    def refresh(self) -> None:
        """Draw the newest picture, and see what the user does with the window.

        Returns at once if that was done less than 1 / `REFRESH_FPS` ago, or the display is closed.
        """
        now = self._clock()
        if self._closed or now < self._due_s:
            return
        # Counted from now on: a loop that was held up has nothing to catch up with.
        self._due_s = now + 1 / REFRESH_FPS
        if self._newest:
            self._draw(self._newest.popleft())
        key = self._window.handle_events()
        if (key != NO_KEY and key & 0xFF in CLOSING_KEYS) or not self._window.is_open():
            self.close()

    def close(self) -> None:
        """Take the window off the screen; the second time nothing happens."""
        if not self._closed:
            self._closed = True
            self._window.destroy()

    def _draw(self, picture: object) -> None:
        try:
            self._window.draw(_as_picture(picture))
        except ValueError as error:
            if not self._warned:
                self._warned = True
                logger.warning("picture_not_shown", extra={"why": str(error)})


def check_screen(environment: Mapping[str, str]) -> None:
    """Find out whether a window can be opened, by opening one in another process for a moment.

    Raises:
        ConfigurationError: It cannot: there is no screen, this program may not use it, or OpenCV is
            built without windows.
    """
    names = ("DISPLAY", "WAYLAND_DISPLAY")
    if sys.platform == "linux" and not any(environment.get(each) for each in names):
        raise ConfigurationError(
            f"no screen for --display: neither {' nor '.join(names)} is set; {ADVICE}"
        )
    # Only --display needs these two, and both take their time to load.
    import subprocess

    import cv2

    if not cv2.currentUIFramework():
        raise ConfigurationError(
            "no window for --display: this OpenCV is a headless build; install opencv-python in "
            "its place, or leave --display out"
        )
    try:
        probe = subprocess.run(
            # -P: a file of the working directory must not stand for a module of the library.
            [sys.executable, "-P", "-c", PROBE],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PROBE_LIMIT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"no screen for --display: it does not answer within {PROBE_LIMIT_S:g} s; {ADVICE}"
        ) from error
    if probe.returncode != 0:
        said = [line.strip() for line in probe.stderr.splitlines() if line.strip()]
        why = said[0] if said else f"a trial window ended with exit code {probe.returncode}"
        raise ConfigurationError(f"no screen for --display: {why}; {ADVICE}")


def _as_picture(picture: object) -> Picture:
    if not isinstance(picture, np.ndarray):
        found = type(picture).__name__
    elif (
        picture.dtype == np.uint8
        and picture.size > 0
        and (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] in (1, 3, 4)))
    ):
        return picture
    else:
        found = f"{picture.dtype}{list(picture.shape)}"
    raise ValueError(f"the picture is {found}, expected uint8[height, width, 3]")

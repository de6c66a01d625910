"""What the display does with pictures, keys and time; its real window: tests/integration."""

import logging
import os
import threading

import numpy as np
import pytest

from offload.device.display import NO_KEY, REFRESH_FPS, Display, Picture, check_screen
from offload.errors import ConfigurationError


class MemoryWindow:
    """A window without a screen: it keeps what is drawn, and its user does what a test says."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.drawn: list[Picture] = []
        self.events_handled = 0
        self.pressed_key = NO_KEY
        self.closed_by_user = False
        self.destroyed = 0

    def draw(self, picture: Picture) -> None:
        assert self.is_open(), "drawing would open the window again"
        self.drawn.append(picture)

    def handle_events(self) -> int:
        self.events_handled += 1
        return self.pressed_key

    def is_open(self) -> bool:
        return not self.closed_by_user and not self.destroyed

    def destroy(self) -> None:
        self.destroyed += 1


class ManualClock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Bench:
    """A display with its window and its clock."""

    def __init__(self) -> None:
        self.window = MemoryWindow("")
        self.clock = ManualClock()
        self.display = Display("a title", open_window=self._open, clock=self.clock)

    def refresh_when_due(self) -> None:
        self.clock.now_s += 1.001 / REFRESH_FPS
        self.display.refresh()

    def drawn_values(self) -> list[int]:
        return [int(each.flat[0]) for each in self.window.drawn]

    def _open(self, title: str) -> MemoryWindow:
        self.window.title = title
        return self.window


@pytest.fixture
def bench() -> Bench:
    return Bench()


def picture(value: int) -> Picture:
    return np.full((4, 6, 3), value, np.uint8)


def test_the_window_is_opened_with_the_title(bench: Bench) -> None:
    assert bench.window.title == "a title"
    assert not bench.display.closed


def test_a_picture_is_drawn_once_and_only_the_newest_of_several(bench: Bench) -> None:
    for value in (1, 2, 3):
        bench.display.show(picture(value))
    bench.refresh_when_due()
    bench.refresh_when_due()
    assert bench.drawn_values() == [3]


def test_the_first_picture_is_drawn_without_a_wait(bench: Bench) -> None:
    bench.display.show(picture(1))
    bench.display.refresh()
    assert bench.drawn_values() == [1]


def test_a_loop_that_comes_round_often_is_held_up_at_the_bounded_rate_only(bench: Bench) -> None:
    for number in range(10_000):
        bench.clock.now_s += 1e-4
        bench.display.show(picture(number % 256))
        bench.display.refresh()
    assert REFRESH_FPS - 2 <= len(bench.window.drawn) <= REFRESH_FPS + 1
    assert bench.window.events_handled == len(bench.window.drawn)


def test_a_loop_that_was_held_up_has_nothing_to_catch_up_with(bench: Bench) -> None:
    bench.clock.now_s += 60.0
    for _ in range(100):
        bench.display.refresh()
    assert bench.window.events_handled == 1


def test_the_window_is_looked_after_while_no_picture_comes(bench: Bench) -> None:
    bench.refresh_when_due()
    bench.refresh_when_due()
    assert bench.window.events_handled == 2
    assert bench.window.drawn == []


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27, 0x100000 + ord("q")])
def test_q_and_esc_close_the_display(bench: Bench, key: int) -> None:
    bench.window.pressed_key = key
    bench.refresh_when_due()
    assert bench.display.closed
    assert bench.window.destroyed == 1


@pytest.mark.parametrize("key", [ord("a"), ord(" "), 13])
def test_other_keys_do_nothing(bench: Bench, key: int) -> None:
    bench.window.pressed_key = key
    bench.refresh_when_due()
    assert not bench.display.closed


def test_a_window_that_the_user_closed_stays_closed(bench: Bench) -> None:
    bench.window.closed_by_user = True
    bench.refresh_when_due()
    assert bench.display.closed
    bench.display.show(picture(1))
    bench.refresh_when_due()
    assert bench.window.drawn == []


def test_a_display_is_closed_once(bench: Bench) -> None:
    bench.display.close()
    bench.display.close()
    assert bench.display.closed
    assert bench.window.destroyed == 1


def test_pictures_may_come_from_any_thread(bench: Bench) -> None:
    threads = [
        threading.Thread(target=bench.display.show, args=(picture(value),)) for value in range(8)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    bench.refresh_when_due()
    assert len(bench.window.drawn) == 1


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (4, 6, 3), (4, 6, 4)])
def test_grey_and_coloured_pictures_are_drawn(bench: Bench, shape: tuple[int, ...]) -> None:
    bench.display.show(np.ones(shape, np.uint8))
    bench.refresh_when_due()
    assert [each.shape for each in bench.window.drawn] == [shape]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (None, "NoneType"),
        (b"jpeg", "bytes"),
        (np.zeros((4, 6, 3), np.float64), "float64[4, 6, 3]"),
        (np.zeros((4, 6, 2), np.uint8), "uint8[4, 6, 2]"),
        (np.zeros((0, 6, 3), np.uint8), "uint8[0, 6, 3]"),
        (np.zeros(6, np.uint8), "uint8[6]"),
    ],
)
def test_what_is_no_picture_is_one_warning_and_the_next_picture_is_drawn(
    bench: Bench, caplog: pytest.LogCaptureFixture, wrong: object, named: str
) -> None:
    for _ in range(3):
        bench.display.show(wrong)
        bench.refresh_when_due()
    bench.display.show(picture(7))
    bench.refresh_when_due()
    assert bench.drawn_values() == [7]
    (warning,) = caplog.records
    assert (warning.levelno, warning.message) == (logging.WARNING, "picture_not_shown")
    assert vars(warning)["why"] == f"the picture is {named}, expected uint8[height, width, 3]"


def test_without_a_screen_the_error_says_what_to_do() -> None:
    with pytest.raises(
        ConfigurationError, match=r"neither DISPLAY nor WAYLAND_DISPLAY is set; run this"
    ):
        check_screen({"DISPLAY": ""})


def test_a_screen_that_is_not_there_is_an_error_and_no_aborted_process() -> None:
    environment = {**os.environ, "DISPLAY": ":9999"}
    environment.pop("WAYLAND_DISPLAY", None)
    with pytest.raises(ConfigurationError, match=r"^no (screen|window) for --display: [^\n]+$"):
        check_screen(environment)


def test_a_headless_opencv_is_named_as_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cv2.currentUIFramework", lambda: "")
    with pytest.raises(ConfigurationError, match="headless build; install opencv-python"):
        check_screen({"DISPLAY": ":0"})

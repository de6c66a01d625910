"""The live line of a device: what it says, and what it leaves out."""

from dataclasses import replace
from typing import Any

import pytest

from offload.console.device_line import DeviceState, device_line
from offload.console.text import Look, Tone, line_cells
from tests.console.samples import ASCII, LOOKS, UNICODE, began, ran, sampled


def state(*, mode: str = "automatic", **changes: Any) -> DeviceState:
    sample = sampled(**changes)
    return DeviceState(began=began(mode=mode), sample=sample, is_connected=sample.connected)


def said(shown: DeviceState, *, width: int = 200, look: Look = UNICODE) -> str:
    return "".join(each.text for each in device_line(shown, width=width, look=look))


def test_the_whole_line_says_all_that_the_program_knows() -> None:
    assert said(state()) == (
        " ✓ 25.1/25 FPS  ●●●◐○○○ 3.4/7   50 %  0:30 left  link 18.2 Mbit/s   4 in flight"
        "  p95 84 ms   0 dropped  settled"
    )


def test_where_the_encoding_has_no_signs_there_are_letters() -> None:
    line = said(state(link_bytes_per_s=None), look=ASCII)
    assert line.isascii()
    assert line.startswith(" = 25.1/25 FPS  ###+... 3.4/7")
    assert "link - " in line


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", range(1, 200))
def test_no_line_is_wider_than_the_terminal(width: int, look: Look) -> None:
    for each in (
        state(failed=3, spooled=120, dropped=12, latency_p95_s=12.3),
        state(tasks=ran(30), split=13.5, reason="held_latency"),
        DeviceState(began=began(app="\u6771" * 90), sample=None, is_connected=False),
    ):
        assert line_cells(device_line(each, width=width, look=look)) <= width


@pytest.mark.parametrize(
    ("width", "kept", "left_out"),
    [
        (39, ["FPS", "3.4/7", "50 %"], ["settled", "left"]),
        (59, ["settled", "left"], ["p95", "link"]),
        (79, ["p95"], ["dropped", "link"]),
        (99, ["link", "dropped"], ["in flight"]),
    ],
)
def test_the_least_important_is_left_out_first(
    width: int, kept: list[str], left_out: list[str]
) -> None:
    line = said(state(), width=width)
    assert all(each in line for each in kept)
    assert not any(each in line for each in left_out)


def test_before_the_first_frames_it_says_for_what_the_program_waits() -> None:
    waiting = DeviceState(began=began(), sample=None, is_connected=False)
    assert said(waiting) == " ball_tracking  connecting to the server"
    opened = DeviceState(began=began(), sample=None, is_connected=True)
    assert said(opened) == " ball_tracking  waiting for the first frame"
    alone = DeviceState(began=began(mode="client_only"), sample=None, is_connected=False)
    assert said(alone) == " ball_tracking  waiting for the first frame"


def test_without_a_target_none_is_shown_and_none_is_missed() -> None:
    shown = state(mode="manual", target_fps=None, reason=None, split=3.0)
    assert said(shown).startswith(" 25.1 FPS  ●●●○○○○ 3/7")
    tones = {each.tone for each in device_line(shown, width=200, look=UNICODE)}
    assert tones == {Tone.PLAIN, Tone.QUIET}


def test_a_client_alone_says_nothing_of_links() -> None:
    shown = state(mode="client_only", target_fps=None, reason=None, split=7.0)
    assert said(shown) == " 25.1 FPS  ●●●●●●● 7/7     50 %  0:30 left  p95 84 ms   0 dropped"


def test_what_is_not_known_is_a_dash() -> None:
    line = said(state(split=None, latency_p95_s=None, link_bytes_per_s=None))
    assert "  —/7  " in line
    assert "p95 —" in line
    assert "link —" in line


def test_of_a_run_without_an_end_there_is_no_progress() -> None:
    line = said(state(expected_frames=None))
    assert "%" not in line
    assert "left" not in line


@pytest.mark.parametrize(
    ("changes", "percent", "left"),
    [
        ({"completed": 0, "filtered": 0}, "  0 %", False),
        ({"running_s": 1.0}, " 50 %", False),
        ({"fps": 0.0}, " 50 %", False),
        ({"completed": 1490, "filtered": 10}, "100 %", False),
        ({"completed": 1489, "filtered": 10}, " 99 %", True),
        ({"completed": 0, "filtered": 0, "expected_frames": 0}, "100 %", False),
        # 750 of 1500 captured and 1500 taken over from an earlier run.
        ({"resumed": 1500}, " 25 %", True),
    ],
)
def test_time_left_is_said_only_where_it_can_be_known(
    changes: dict[str, Any], percent: str, left: bool
) -> None:
    line = said(state(**changes))
    assert percent in line
    assert ("left" in line) is left


@pytest.mark.parametrize(
    ("running_s", "words"),
    [(1.0, "  1 %  0:59 left"), (45.0, " 75 %  0:15 left"), (61.0, "100 %  link")],
)
def test_of_a_run_that_ends_after_some_time_it_says_how_much_is_left(
    running_s: float, words: str
) -> None:
    # Also while no frame comes back.
    shown = state(expected_frames=None, running_s=running_s, fps=0.0)
    assert words in said(replace(shown, duration_s=60.0))


def test_what_went_wrong_takes_room_only_if_it_did() -> None:
    assert "failed" not in said(state())
    assert "3 failed" in said(state(failed=3), width=45)
    assert "120 on disk" in said(state(spooled=120))


def test_a_lost_server_is_said_in_the_place_of_the_reason() -> None:
    line = said(state(connected=False, reason="stalled"), width=50)
    assert "not connected" in line
    assert "no frame" not in line

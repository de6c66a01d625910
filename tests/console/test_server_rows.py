"""A server's rows: which devices, in how much room, and what is said of each."""

from dataclasses import replace
from typing import Any

import pytest

from offload.console.server_rows import Row, ServerState, server_lines
from offload.console.text import Look, Tone, line_cells
from tests.console.samples import LOOKS, UNICODE, ran, sampled, seen, server_sampled


def row(device: str, *, stream: str = "porch", **changes: Any) -> Row:
    """Return what is known of a device that says how it goes."""
    sample = seen(stream, device=device)
    said = sampled(stream=stream, **changes)
    return Row(stream=stream, device=device, sample=sample, said=said)


def shown(
    rows: list[Row], *, width: int = 160, height: int = 40, look: Look = UNICODE
) -> list[str]:
    state = ServerState(rows=rows, server=server_sampled(sessions=len(rows)))
    lines = server_lines(state, width=width, height=height, look=look)
    return ["".join(each.text for each in line) for line in lines]


def test_each_device_has_a_row_below_the_titles() -> None:
    heading, titles, first, second = shown([row("pi-2", fps=12.0), row("pi-1")])
    assert heading == " 2 devices   CPU 42 %   frames in memory 11.5 MiB of 1.0 GiB"
    assert titles.split() == [
        *("device", "stream", "FPS", "target", "split", "link", "p95"),
        *("in", "flight", "dropped", "failed", "reason"),
    ]
    assert first.split() == [
        *("pi-1", "porch", "✓", "25.1", "25", "●●●◐○○○", "3.4/7", "18.2", "Mbit/s", "84", "ms"),
        *("4", "0", "0", "settled"),
    ]
    assert second.split()[:5] == ["pi-2", "porch", "✗", "12.0", "25"]


def test_without_devices_it_says_so() -> None:
    assert shown([]) == [" no devices   CPU 42 %   frames in memory 11.5 MiB of 1.0 GiB"]
    nothing = server_lines(ServerState(rows=[], server=None), width=80, height=24, look=UNICODE)
    assert [each.text for line in nothing for each in line] == [" ", "no devices"]


def test_a_device_that_says_nothing_of_itself_is_shown_as_its_server_sees_it() -> None:
    before, sample = seen(at_s=30.0, results=720), seen(at_s=31.0, failed=1)
    silent = Row(stream="porch", device="pi", sample=sample, before=before)
    assert shown([silent])[2].split() == [
        *("pi", "porch", "20.0", "—", "—", "—", "—", "—", "5", "1", "—")
    ]


def test_a_device_that_has_just_come_has_a_row_of_dashes() -> None:
    assert shown([Row(stream="porch", device="pi")])[2].split() == ["pi", "porch", *["—"] * 9]


def test_what_a_device_said_long_ago_is_not_how_it_goes() -> None:
    old = row("pi")
    assert "✓" in shown([old])[2]
    assert "✓" not in shown([replace(old, sample=seen(device="pi", at_s=35.0))])[2]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [*range(1, 60), 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int, look: Look) -> None:
    rows = [
        row("pi-1", reason="infeasible_device"),
        row("\u6771" * 60, stream="\x1b]0;title\x07"),
        row("pi-3", fps=1e300, target_fps=-1e300, split=1e300, latency_p95_s=1e300, tasks=ran(30)),
    ]
    state = ServerState(rows=rows, server=server_sampled())
    for line in server_lines(state, width=width, height=24, look=look):
        assert line_cells(line) <= width
        assert "".join(each.text for each in line).isprintable()


@pytest.mark.parametrize("height", [1, 2, 3, 4, 5, 12, 24, 100])
def test_the_lines_leave_one_of_the_terminal_free(height: int) -> None:
    lines = shown([row(f"pi-{number:02}") for number in range(30)], height=height)
    assert len(lines) <= max(1, height - 1)


def test_rows_that_do_not_fit_are_counted_and_so_are_those_among_them_that_miss_their_target() -> (
    None
):
    rows = [row(f"pi-{number:02}", fps=25.0 if number % 2 else 12.0) for number in range(20)]
    lines = shown(rows, height=12)
    assert lines[2].split()[0] == "pi-00"
    assert len(lines) == 11
    assert lines[-1] == " and 12 more, 6 under target"


def test_as_many_rows_as_fit_need_no_count() -> None:
    lines = shown([row(f"pi-{number}") for number in range(9)], height=12)
    assert len(lines) == 11
    assert "more" not in lines[-1]


def test_streams_are_named_before_all_else_where_devices_are_not_enough() -> None:
    alone = [row("pi-1", stream="porch"), row("pi-2", stream="garden")]
    same = [row("pi", stream="porch"), row("pi", stream="garden")]
    assert "porch" not in "".join(shown(alone, width=40))
    assert "porch" in "".join(shown(same, width=40))


def test_failed_frames_stand_out() -> None:
    state = ServerState(rows=[row("pi", failed=3)], server=None)
    spans = server_lines(state, width=160, height=24, look=UNICODE)[2]
    assert [each.text for each in spans if each.tone is Tone.BAD] == ["3"]

"""What the views of the two programs draw, and when there is none."""

import logging
from collections.abc import Iterator

import pytest

from offload.console.table import Column, Table
from offload.console.text import Span, Tone
from offload.console.views import live_device_view, live_server_view
from offload.logs import JsonFormatter, TextFormatter
from offload.telemetry.events import RunEnded, StreamEnded
from offload.telemetry.recorder import Recorder
from tests.console.samples import began, lost, opened, sampled, seen, server_sampled
from tests.console.terminal import Terminal

XTERM = {"TERM": "xterm-256color"}


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(columns=120, lines=12) as made:
        yield made


@pytest.fixture(autouse=True)
def handler(terminal: Terminal) -> Iterator[logging.Handler]:
    """Have log lines written to the terminal, as the programs do."""
    root = logging.getLogger()
    level, handlers, made = root.level, root.handlers, logging.StreamHandler(terminal.output)
    made.setFormatter(TextFormatter())
    # Without those that a test before has left, whose lines may be for machines.
    root.handlers = [made]
    root.setLevel(logging.INFO)
    yield made
    root.handlers = handlers
    root.setLevel(level)


@pytest.mark.parametrize("environment", [{}, {"TERM": ""}, {"TERM": "dumb"}])
def test_a_terminal_that_cannot_move_its_cursor_has_no_view(
    terminal: Terminal, environment: dict[str, str]
) -> None:
    assert live_device_view(terminal.output, environment) is None
    assert live_server_view(terminal.output, environment) is None


def test_what_is_no_terminal_has_no_view() -> None:
    assert live_device_view(None, XTERM) is None
    with open("/dev/null", "w", encoding="utf-8") as nothing:
        assert live_device_view(nothing, XTERM) is None


def test_where_log_lines_are_for_machines_there_is_no_view(
    terminal: Terminal, handler: logging.Handler
) -> None:
    handler.setFormatter(JsonFormatter())
    assert live_device_view(terminal.output, XTERM) is None


def test_who_asks_for_warnings_only_gets_no_view(terminal: Terminal) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    assert live_device_view(terminal.output, XTERM) is None


def test_a_device_s_line_follows_its_run(terminal: Terminal) -> None:
    view = live_device_view(terminal.output, XTERM)
    assert view is not None
    recorder = Recorder([view])
    recorder.record(began())
    assert terminal.rows() == [" ball_tracking  connecting to the server"]
    recorder.record(opened())
    assert terminal.rows() == [" ball_tracking  waiting for the first frame"]
    recorder.record(sampled())
    assert terminal.rows()[0].startswith(" ✓ 25.1/25 FPS  ●●●◐○○○ 3.4/7   50 %")
    recorder.record(lost())
    assert terminal.rows()[0].endswith("not connected")
    view.close()
    assert terminal.rows() == []


def test_a_device_s_line_says_how_long_its_run_will_go_on(terminal: Terminal) -> None:
    view = live_device_view(terminal.output, XTERM, duration_s=40.0)
    assert view is not None
    recorder = Recorder([view])
    recorder.record(began())
    recorder.record(sampled(expected_frames=None, running_s=30.0))
    assert " 75 %  0:10 left" in terminal.rows()[0]
    view.close()


def test_what_changes_nothing_draws_nothing(terminal: Terminal) -> None:
    view = live_device_view(terminal.output, XTERM)
    assert view is not None
    view.note(sampled())
    view.note(began())
    drawn = terminal.rows(), len(terminal.written)
    counts = dict.fromkeys(
        ("captured", "resumed", "completed", "filtered", "dropped", "failed", "spooled"), 0
    )
    view.note(RunEnded(at_s=9.0, stream="porch", duration_s=9.0, abandoned=0, fps=0.0, **counts))
    assert (terminal.rows(), len(terminal.written)) == drawn
    view.close()


def test_no_color_leaves_colours_out_and_nothing_else(terminal: Terminal) -> None:
    view = live_device_view(terminal.output, {**XTERM, "NO_COLOR": "1"})
    assert view is not None
    view.note(began())
    view.note(sampled(failed=3))
    assert "3 failed" in terminal.rows()[0]
    assert b"\x1b[3" not in terminal.written
    assert b"\x1b[0m" not in terminal.written
    view.close()


def test_a_server_has_a_row_for_each_connected_device(terminal: Terminal) -> None:
    view = live_server_view(terminal.output, XTERM)
    assert view is not None
    view.note(server_sampled(sessions=0))
    assert terminal.rows()[0].startswith(" no devices   CPU 42 %")
    view.note(opened("porch", device="pi-1"))
    view.note(opened("garden", device="pi-2"))
    assert [row.split()[0] for row in terminal.rows()] == ["2", "device", "pi-1", "pi-2"]
    view.note(lost("porch"))
    assert [row.split()[0] for row in terminal.rows()] == ["1", "device", "pi-2"]
    view.close()
    assert terminal.rows() == []


def test_a_row_says_what_the_server_sees_until_the_device_says_more(terminal: Terminal) -> None:
    view = live_server_view(terminal.output, XTERM)
    assert view is not None
    view.note(opened())
    view.note(seen(at_s=30.0, results=700))
    view.note(seen(at_s=31.0, results=720))
    view.note(server_sampled())
    assert terminal.rows()[2].split()[:3] == ["pi", "porch", "20.0"]
    view.note(sampled())
    view.note(server_sampled())
    assert terminal.rows()[2].split()[:5] == ["pi", "porch", "✓", "25.1", "25"]
    view.close()


def test_streams_that_are_not_connected_take_no_room(terminal: Terminal) -> None:
    view = live_server_view(terminal.output, XTERM)
    assert view is not None
    for name in ("ended", "gone", "here"):
        view.note(seen(name, device=name))
    view.note(seen("gone", device="gone", connected=False))
    view.note(StreamEnded(at_s=32.0, stream="ended"))
    view.note(sampled(stream="never opened"))
    view.note(server_sampled())
    assert [row.split()[0] for row in terminal.rows()] == ["1", "device", "here"]
    view.close()


def test_a_name_that_would_steer_the_terminal_is_shown_without_its_power(
    terminal: Terminal,
) -> None:
    view = live_server_view(terminal.output, XTERM)
    assert view is not None
    view.note(opened("\x1b[2J\x07\r\n", device="\x1b]0;owned\x07"))
    assert b"owned\x07" not in terminal.written
    assert terminal.rows()[2].split()[:2] == ["?]0;owned?", "?[2J???"]
    view.close()


def test_a_table_stays_when_the_view_is_closed(terminal: Terminal) -> None:
    view = live_device_view(terminal.output, XTERM)
    assert view is not None
    view.note(began())
    logging.getLogger("device").info("finished")
    columns = [Column(title="task", rank=0), Column(title="runs", rank=1, is_right=True)]
    rows = [[Span(text="measure", tone=Tone.PLAIN), Span(text="3")]]
    view.close(Table(columns=columns, rows=rows))
    finished, *table = terminal.rows()
    assert finished.endswith("INFO finished")
    assert table == ["", " task     runs", " measure     3"]
    assert terminal.cursor == (4, 0)

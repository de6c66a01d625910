"""What the two programs show on a terminal: a real pseudo-terminal, drawn by an emulator."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.console.terminal import Terminal
from tests.integration.programs import CLIENT, SERVER, WAIT_S, client, cloud_server, write_app

pytestmark = pytest.mark.integration

# Fifty frames a second, and a line of its own now and then; the last frames say when they may end.
APP: Final = """
import time
from pathlib import Path

number = 0

def capture():
    global number
    number += 1
    time.sleep(0.02)
    return (number <= 400 and not Path("enough").exists()), number

def double(value):
    if value == 30:
        print("thirty", "balls")
    return True, 2 * value

def keep(value):
    return True, value

tasks = [capture, double, keep]
"""

# In the place of the last task: one that does not end while the test lasts.
SLOW: Final = """Path("begun").touch(); time.sleep(60); return True, value"""

COLOUR: Final = re.compile(rb"\x1b\[[0-9;]*m")


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(columns=110, lines=30) as made:
        yield made


@pytest.fixture
def app(tmp_path: Path) -> str:
    return write_app(tmp_path, "counted", APP)


@contextmanager
def in_terminal(
    terminal: Terminal, script: Path, folder: Path, *arguments: str, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """Run a program whose output is all on the terminal, as a user sees it."""
    process = subprocess.Popen(
        [sys.executable, str(script), *arguments],
        cwd=folder,
        env={**os.environ, "TERM": "xterm-256color", **environment},
        stdin=subprocess.DEVNULL,
        stdout=terminal.output,
        stderr=terminal.output,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(WAIT_S)


def wait_until(holds: Callable[[list[str]], bool], terminal: Terminal) -> list[str]:
    """Read the terminal until its rows are as wanted, and return them."""
    give_up_s = time.monotonic() + WAIT_S
    while not holds(rows := terminal.rows()):
        assert time.monotonic() < give_up_s, "\n".join(rows)
        time.sleep(0.02)
    return rows


def ended(process: "subprocess.Popen[str]", terminal: Terminal) -> int:
    """Wait until a program has ended, reading what it writes meanwhile."""
    wait_until(lambda _rows: process.poll() is not None, terminal)
    return process.wait(WAIT_S)


def test_a_device_has_a_live_line_below_its_log_lines_and_leaves_a_table(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    with (
        cloud_server(tmp_path, "--app", app) as server,
        in_terminal(terminal, CLIENT, tmp_path, "1", *server.address, "--app", app) as device,
    ):
        rows = wait_until(lambda rows: "FPS" in rows[-1] if rows else False, terminal)
        assert "INFO session_opened" in rows[0]
        assert "1/3" in rows[-1]
        assert terminal.cursor == (len(rows) - 1, 0)
        (tmp_path / "enough").touch()
        assert ended(device, terminal) == 0
    opened, finished, empty, titles, *tasks = terminal.rows()
    assert "INFO session_opened" in opened
    assert "INFO finished" in finished
    assert (empty, titles.split()[:3]) == ("", ["task", "runs", "here"])
    assert [row.split()[0] for row in tasks[:4]] == ["capture", "double", "keep", "all"]
    assert terminal.cursor == (len(terminal.rows()), 0)
    assert terminal.shows_cursor
    assert terminal.wraps


def test_what_a_task_prints_stays_whole_above_the_live_line(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    with in_terminal(terminal, CLIENT, tmp_path, "--app", app) as device:
        wait_until(lambda rows: "thirty balls" in rows, terminal)
        wait_until(lambda rows: "FPS" in rows[-1] if rows else False, terminal)
        (tmp_path / "enough").touch()
        assert ended(device, terminal) == 0
    assert "thirty balls" in terminal.rows()
    assert not any("FPS" in row for row in terminal.rows())


def test_an_interrupted_device_leaves_its_terminal_clean(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    with in_terminal(terminal, CLIENT, tmp_path, "--app", app) as device:
        wait_until(lambda rows: "FPS" in rows[-1] if rows else False, terminal)
        device.send_signal(signal.SIGINT)
        assert ended(device, terminal) == 0
    said = "\n".join(terminal.rows())
    assert "INFO draining" in said
    assert "INFO finished" in said
    assert "FPS" not in said
    assert terminal.cursor == (len(terminal.rows()), 0)


def test_a_wrong_server_is_one_line_of_error_and_no_remains_of_a_live_one(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    with in_terminal(
        terminal,
        CLIENT,
        tmp_path,
        "1",
        "--host",
        "127.0.0.1",
        "--port",
        "1",
        "--retry-for",
        "0.5",
        "--app",
        app,
    ) as device:
        assert ended(device, terminal) == 69
    *_, last = terminal.rows()
    assert last.startswith("error: cannot reach 127.0.0.1:1")
    assert b"connecting to the server" in terminal.written
    assert not any("connecting to" in row for row in terminal.rows())


def test_no_color_is_honoured(terminal: Terminal, tmp_path: Path, app: str) -> None:
    with in_terminal(terminal, CLIENT, tmp_path, "--app", app, NO_COLOR="1") as device:
        wait_until(lambda rows: "FPS" in rows[-1] if rows else False, terminal)
        (tmp_path / "enough").touch()
        assert ended(device, terminal) == 0
    assert not COLOUR.search(terminal.written)


def test_a_dumb_terminal_gets_progress_lines(terminal: Terminal, tmp_path: Path, app: str) -> None:
    options = ("--app", app, "--report-every", "0.2")
    with in_terminal(terminal, CLIENT, tmp_path, *options, TERM="dumb") as device:
        wait_until(lambda rows: any("INFO progress" in row for row in rows), terminal)
        (tmp_path / "enough").touch()
        assert ended(device, terminal) == 0
    assert b"\x1b" not in terminal.written


def test_json_log_lines_have_a_terminal_for_themselves(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    options = ("--app", app, "--report-every", "0.2", "--log-format", "json")
    with in_terminal(terminal, CLIENT, tmp_path, *options) as device:
        wait_until(lambda rows: any('"progress"' in row for row in rows), terminal)
        (tmp_path / "enough").touch()
        assert ended(device, terminal) == 0
    assert b"\x1b" not in terminal.written


def test_a_server_has_a_row_for_each_device_and_leaves_a_table(
    terminal: Terminal, tmp_path: Path, app: str
) -> None:
    options = ("--bind", "127.0.0.1", "--port", "0", "--app", app, "--results", "none")
    with in_terminal(terminal, SERVER, tmp_path, *options) as server:
        rows = wait_until(lambda rows: any("no devices" in row for row in rows), terminal)
        (port,) = [row.rsplit(":", 1)[1] for row in rows if row.startswith("listening on")]
        stream = ("--stream", "porch", "--app", app)
        with client(tmp_path, "1", "--host", "127.0.0.1", "--port", port, *stream) as device:
            rows = wait_until(lambda rows: "1/3" in rows[-1], terminal)
            assert rows[-3].startswith(" 1 device ")
            assert rows[-1].split()[1] == "porch"
            (tmp_path / "enough").touch()
            assert device.wait().code == 0
        wait_until(lambda rows: rows[-1].startswith(" no devices"), terminal)
        server.send_signal(signal.SIGTERM)
        assert ended(server, terminal) == 0
    *_, empty, titles, row = terminal.rows()
    assert (empty, titles.split()[:2]) == ("", ["device", "stream"])
    assert row.split()[1] == "porch"
    assert terminal.cursor == (len(terminal.rows()), 0)


def test_a_server_that_is_interrupted_twice_leaves_its_terminal_clean(
    terminal: Terminal, tmp_path: Path
) -> None:
    slow = write_app(tmp_path, "slow", APP.replace("return True, value", SLOW))
    options = ("--bind", "127.0.0.1", "--port", "0", "--app", slow, "--results", "none")
    with in_terminal(terminal, SERVER, tmp_path, *options) as server:
        rows = wait_until(lambda rows: any("no devices" in row for row in rows), terminal)
        (port,) = [row.rsplit(":", 1)[1] for row in rows if row.startswith("listening on")]
        with client(tmp_path, "1", "--host", "127.0.0.1", "--port", port, "--app", slow):
            wait_until(lambda _rows: (tmp_path / "begun").exists(), terminal)
            server.send_signal(signal.SIGINT)
            wait_until(lambda rows: any("INFO draining" in row for row in rows), terminal)
            server.send_signal(signal.SIGINT)
            assert ended(server, terminal) == 130
    assert terminal.rows()[-1].endswith("WARNING interrupted")

"""Lines at the foot of a real pseudo-terminal, and what is written while they are shown."""

import io
import logging
import os
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from itertools import count
from typing import Final, TextIO

import pytest

from offload.console.live import (
    MAX_DRAWS,
    MAX_KEPT_CHARACTERS,
    MAX_UNFINISHED_CHARACTERS,
    LiveTerminal,
    Picture,
)
from tests.console.terminal import Terminal

# Long past what any of it takes: it only ends a test that has failed already.
WAIT_S: Final = 30.0


class ManualClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with Terminal(columns=40, lines=8) as made:
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def live(terminal: Terminal, clock: ManualClock) -> Iterator[LiveTerminal]:
    made = LiveTerminal(terminal.output, clock=clock)
    yield made
    made.close()


def lines(*texts: str) -> Picture:
    return lambda _size: texts


def test_lines_are_drawn_over_those_before(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    live.show(lines(" a long line", " second", " third"))
    assert terminal.rows() == [" a long line", " second", " third"]
    clock.now_s += 1.0
    live.show(lines(" short", " other"))
    assert terminal.rows() == [" short", " other"]


def test_the_cursor_rests_in_the_margin_of_the_first_line_and_can_be_seen(
    terminal: Terminal, live: LiveTerminal
) -> None:
    terminal.output.write("before\n")
    live.show(lines(" first", " second"))
    assert terminal.cursor == (1, 0)
    assert terminal.shows_cursor
    assert terminal.wraps


def test_it_leaves_the_terminal_as_it_would_be_without_it(
    terminal: Terminal, live: LiveTerminal
) -> None:
    terminal.output.write("before\n")
    live.show(lines(" first", " second"))
    live.close(lines("a table"))
    live.close(lines("another"))
    assert terminal.rows() == ["before", "a table"]
    assert terminal.cursor == (2, 0)
    assert terminal.wraps


def test_after_it_is_closed_nothing_is_drawn(terminal: Terminal, live: LiveTerminal) -> None:
    live.close()
    live.show(lines(" first"))
    assert terminal.rows() == []


def test_what_is_too_wide_does_not_wrap(terminal: Terminal, live: LiveTerminal) -> None:
    live.show(lines(" " + "x" * 100, " second"))
    assert len(terminal.rows()) == 2


def test_a_new_size_counts_from_the_next_picture_on(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    live.show(lambda size: [f" {size.columns} x {size.lines}"])
    assert terminal.rows() == [" 40 x 8"]
    terminal.resize(columns=30, lines=6)
    clock.now_s += 1.0
    live.show(lambda size: [f" {size.columns} x {size.lines}"])
    assert terminal.rows() == [" 30 x 6"]


def test_a_terminal_that_does_not_know_its_size_is_taken_for_a_usual_one(
    terminal: Terminal, live: LiveTerminal
) -> None:
    terminal.resize(columns=40, lines=8)
    termios.tcsetwinsize(terminal.output.fileno(), (0, 0))
    live.show(lambda size: [f" {size.columns} x {size.lines}"])
    assert terminal.rows() == [" 80 x 24"]


def test_lines_at_the_foot_of_a_full_screen_stay_whole(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    for number in range(10):
        terminal.output.write(f"before {number}\n")
    for number in range(3):
        clock.now_s += 1.0
        live.show(lines(f" first {number}", " second"))
    assert terminal.rows() == [*(f"before {each}" for each in range(10)), " first 2", " second"]


def test_no_more_than_a_few_pictures_are_drawn_within_a_second(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    for number in range(20):
        live.show(lines(f" number {number}"))
    assert terminal.rows() == [f" number {MAX_DRAWS - 1}"]
    clock.now_s += 1.0
    live.show(lines(" next"))
    assert terminal.rows() == [" next"]


# What others write meanwhile.


@pytest.fixture
def handler(terminal: Terminal) -> Iterator[logging.Handler]:
    """Have log lines written to the terminal, as the programs do."""
    made = logging.StreamHandler(terminal.output)
    logging.getLogger().addHandler(made)
    yield made
    logging.getLogger().removeHandler(made)


@pytest.mark.usefixtures("handler")
def test_log_lines_go_above_the_lines_whole(terminal: Terminal, live: LiveTerminal) -> None:
    live.show(lines(" first", " second"))
    logging.getLogger("test").warning("session_lost\nwith a traceback")
    logging.getLogger("test").warning("x" * 50)
    assert terminal.rows() == [
        "session_lost",
        "with a traceback",
        "x" * 40,
        "x" * 10,
        " first",
        " second",
    ]


@pytest.mark.usefixtures("handler")
def test_many_log_lines_are_not_followed_by_as_many_pictures(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    live.show(lines(" live"))
    for number in range(20):
        logging.getLogger("test").warning("line %d", number)
    assert terminal.rows() == [f"line {each}" for each in range(20)]
    assert terminal.written.count(b" live") == MAX_DRAWS
    clock.now_s += 1.0
    logging.getLogger("test").warning("the last")
    assert terminal.rows()[-2:] == ["the last", " live"]


def test_when_it_is_closed_handlers_write_to_their_stream_again(
    terminal: Terminal, handler: logging.StreamHandler[TextIO], live: LiveTerminal
) -> None:
    before = list(logging.getLogger().handlers)
    live.close()
    assert handler.stream is terminal.output
    assert len(logging.getLogger().handlers) == len(before) - 1


@contextmanager
def standard_streams(terminal: Terminal) -> Iterator[None]:
    """Let standard output and standard error be the terminal, as for a program in it."""
    with (
        redirect_stderr(terminal.output),
        os.fdopen(os.dup(terminal.output.fileno()), "w", encoding="utf-8") as output,
        redirect_stdout(output),
    ):
        yield
        assert sys.stderr is terminal.output
        assert sys.stdout is output


def test_what_a_task_prints_goes_above_the_lines_once_it_is_a_line(terminal: Terminal) -> None:
    with standard_streams(terminal):
        live = LiveTerminal(terminal.output)
        live.show(lines(" live"))
        print("seen", end=" ")  # noqa: T201  # a task may print, and is not asked how
        assert terminal.rows() == [" live"]
        print(3, "balls", flush=True)  # noqa: T201
        sys.stderr.writelines(["a warning\n", "and more"])
        assert terminal.rows() == ["seen 3 balls", "a warning", " live"]
        live.close()
        assert terminal.rows() == ["seen 3 balls", "a warning", "and more"]


def test_what_never_becomes_a_line_is_not_kept_for_ever(terminal: Terminal) -> None:
    with standard_streams(terminal):
        live = LiveTerminal(terminal.output)
        sys.stdout.write("." * (MAX_UNFINISHED_CHARACTERS + 1))
        assert terminal.rows()[0] == "." * 40
        live.close()


def test_standard_output_that_goes_elsewhere_is_left_alone(terminal: Terminal) -> None:
    with Terminal() as other, redirect_stderr(terminal.output), redirect_stdout(other.output):
        live = LiveTerminal(terminal.output)
        assert sys.stdout is other.output
        live.close()


@pytest.mark.usefixtures("handler")
def test_threads_that_log_and_draw_at_once_lose_nothing_and_do_not_wait_for_ever(
    terminal: Terminal, live: LiveTerminal, clock: ManualClock
) -> None:
    numbers = count()

    def log() -> None:
        for _ in range(50):
            logging.getLogger("test").warning("line %d", next(numbers))

    threads = [threading.Thread(target=log) for _ in range(4)]
    for each in threads:
        each.start()
    while any(each.is_alive() for each in threads):
        clock.now_s += 0.1
        live.show(lines(" live"))
        terminal.rows()
    live.close()
    assert sorted(terminal.rows()) == sorted(f"line {number}" for number in range(200))


def test_a_thread_that_logs_while_it_is_closed_does_not_wait_for_ever(
    terminal: Terminal, handler: logging.Handler, live: LiveTerminal
) -> None:
    live.show(lines(" live"))
    closing = threading.Thread(target=live.close)
    # As a thread in the middle of a line.
    with handler.lock or nullcontext():
        closing.start()
        while terminal.rows():
            pass
        logging.getLogger("test").warning("late")
    closing.join(WAIT_S)
    assert terminal.rows() == ["late"]


class StuckOutput(io.TextIOWrapper):
    """Writes nothing before it is let."""

    def __init__(self, terminal: Terminal) -> None:
        super().__init__(os.fdopen(os.dup(terminal.output.fileno()), "wb"), encoding="utf-8")
        self.is_asked = threading.Event()
        self.is_let = threading.Event()

    def write(self, text: str) -> int:
        self.is_asked.set()
        self.is_let.wait(WAIT_S)
        return super().write(text)


def test_who_draws_does_not_wait_for_who_writes(terminal: Terminal) -> None:
    with StuckOutput(terminal) as output:
        live = LiveTerminal(output)
        writing = threading.Thread(target=live.write_above, args=("a line\n",))
        writing.start()
        assert output.is_asked.wait(WAIT_S)
        live.show(lines(" live"))
        assert terminal.rows() == []
        output.is_let.set()
        writing.join(WAIT_S)
        assert terminal.rows()[0] == "a line"
        live.close()


def test_a_terminal_that_takes_nothing_holds_nobody_up(
    terminal: Terminal, live: LiveTerminal
) -> None:
    termios.tcflow(terminal.output.fileno(), termios.TCOOFF)
    live.show(lines(" live"))
    termios.tcflow(terminal.output.fileno(), termios.TCOON)
    assert terminal.rows() == []


@pytest.mark.usefixtures("handler")
def test_who_logs_to_a_terminal_that_takes_nothing_goes_on_and_the_lines_come_later(
    terminal: Terminal, live: LiveTerminal
) -> None:
    live.show(lines(" live"))
    assert terminal.rows() == [" live"]
    log = logging.getLogger("test").warning
    termios.tcflow(terminal.output.fileno(), termios.TCOOFF)
    logging_ = threading.Thread(target=lambda: [log(each) for each in ("one", "two")], daemon=True)
    logging_.start()
    logging_.join(WAIT_S / 10)
    was_held_up = logging_.is_alive()
    termios.tcflow(terminal.output.fileno(), termios.TCOON)
    logging_.join(WAIT_S)
    assert not was_held_up
    live.show(lines(" live"))
    assert terminal.rows() == ["one", "two", " live"]


def test_of_what_a_terminal_does_not_take_only_so_much_is_kept(
    terminal: Terminal, live: LiveTerminal
) -> None:
    termios.tcflow(terminal.output.fileno(), termios.TCOOFF)
    live.write_above("kept\n")
    live.write_above("x\ny\n" * MAX_KEPT_CHARACTERS)
    termios.tcflow(terminal.output.fileno(), termios.TCOON)
    live.close()
    left_out = 2 * MAX_KEPT_CHARACTERS
    assert "".join(terminal.rows()) == (
        f"kept({left_out} lines left out while the terminal stood still)"
    )


def test_a_terminal_that_has_gone_is_no_error(live: LiveTerminal, terminal: Terminal) -> None:
    live.show(lines(" live"))
    terminal.hang_up()
    live.show(lines(" live"))
    live.close(lines("a table"))


# A shell's child in the background, and then in the foreground.
JOB: Final = """
import os, sys
from offload.console.live import LiveTerminal

terminal = os.open(sys.argv[1], os.O_RDWR)  # the controlling terminal of this session
proceed, stop = os.pipe(), os.pipe()
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    output = os.fdopen(terminal, "w")
    live = LiveTerminal(output)
    live.show(lambda size: [" in the background"])
    os.write(stop[1], b"1")
    os.read(proceed[0], 1)
    live.show(lambda size: [" in the foreground"])
    os._exit(0)
os.read(stop[0], 1)
os.tcsetpgrp(terminal, job)
os.write(proceed[1], b"1")
os.waitpid(job, 0)
"""


def test_in_the_background_of_a_shell_nothing_is_drawn(terminal: Terminal) -> None:
    subprocess.run(
        [sys.executable, "-c", JOB, terminal.name], start_new_session=True, check=True, timeout=30
    )
    assert terminal.rows() == [" in the foreground"]
    assert b"background" not in terminal.written


# A program that ends without a word.
ENDING: Final = """
import logging, os, sys
from offload.console.live import LiveTerminal
from offload.logs import set_up_logs

set_up_logs(level="info", style="text")
live = LiveTerminal(sys.stderr)
live.show(lambda size: [" live"])
logging.getLogger("threads").critical("thread_failed")
logging.shutdown()
os._exit(1)
"""


def test_a_program_that_ends_at_once_leaves_a_clean_terminal(terminal: Terminal) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ENDING], stderr=terminal.output, check=False, timeout=30
    )
    assert ended.returncode == 1
    (line,) = terminal.rows()
    assert line.endswith("CRITICAL thread_failed")
    assert b" live" in terminal.written
    assert terminal.cursor == (1, 0)

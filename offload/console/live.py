"""Lines at the foot of a terminal that are drawn again and again, with log lines above them.

    terminal = LiveTerminal(sys.stderr)
    terminal.show(lambda size: [f"{size.columns} columns"])
    logger.info("this is printed above it")
    terminal.close(lambda size: ["and this stays"])

While lines are shown, what log handlers, ``sys.stderr`` and ``sys.stdout`` write to the same
terminal goes through here: the lines are taken away, the text is written whole, and the lines come
back below it. A terminal that takes nothing (Ctrl-S) holds nobody up who logs: lines wait until it
does, and only the end of the program waits for it. What writes past Python (a library's own
warnings) overwrites a line until it is drawn again.

The cursor is never hidden. It rests in front of the first line, so whatever ends the program, or
only stops it (Ctrl-Z, kill -9), leaves a terminal that needs no repair.
"""

import logging
import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TextIO, TypeAlias, cast

# So many times in each second lines are drawn at most: as often as an eye follows figures.
MAX_DRAWS: Final = 4
DRAWS_WITHIN_S: Final = 1.0

# Of a terminal that does not know its size.
USUAL_COLUMNS: Final = 80
USUAL_LINES: Final = 24

# What is written without a line break is kept until it comes, but no more than this.
MAX_UNFINISHED_CHARACTERS: Final = 2_000

# Of what is written while the terminal takes nothing (Ctrl-S), so much is kept until it does.
MAX_KEPT_CHARACTERS: Final = 100_000

# To the end of the screen. The cursor is at the upper left of what is shown.
ERASE: Final = "\r\x1b[J"
ERASE_REST_OF_LINE: Final = "\x1b[K"
# Cut what is too wide after all: terminals do not agree on the width of every sign.
WRAP_OFF: Final = "\x1b[?7l"
WRAP_ON: Final = "\x1b[?7h"

# Makes the lines for a terminal of that size, from values that do not change any more.
Picture: TypeAlias = Callable[[os.terminal_size], Sequence[str]]


class LiveTerminal:
    """Keeps lines at the foot of a terminal. Any thread may call it.

    Args:
        output: Where the terminal is.
        clock: Monotonic seconds.
    """

    def __init__(self, output: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Show nothing yet, but have all that is written to the terminal written from here."""
        self._output = output
        self._clock = clock
        # One thread may come back here while it writes: with a warning of the garbage collector.
        self._lock = threading.RLock()
        self._picture: Picture | None = None
        self._kept = ""
        self._lines_left_out = 0
        self._is_drawn = False
        self._is_closed = False
        self._drawn_at_s: deque[float] = deque(maxlen=MAX_DRAWS)
        self._detour = _Detour(self, output)

    def show(self, picture: Picture) -> None:
        """Show lines in the place of those before, now or, past `MAX_DRAWS`, with the next ones.

        Nothing is drawn while the program is in the background of its shell, or while the terminal
        takes nothing (Ctrl-S): no frame waits for a picture of it. A terminal that has gone is no
        error.
        """
        self._picture = picture
        # Whoever holds the lock may wait for a terminal that takes nothing.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._takes_more():
                self._write(self._with_lines_above(""))
        finally:
            self._lock.release()

    def write_above(self, text: str) -> None:
        """Write whole lines above what is shown, now or once the terminal takes them.

        Raises:
            OSError: The terminal takes nothing any more.
        """
        with self._lock:
            if not self._is_closed and not self._takes_more():
                self._keep(text)
                return
            self._output.write(self._with_lines_above(text))
            self._output.flush()

    def close(self, last: Picture | None = None) -> None:
        """Take the lines away, leave ``last`` in their place, and let others write as before.

        The second time nothing happens.
        """
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._write(self._erase() + self._take_kept())
        # Without the lock: a thread that writes a log line holds its handler's, and waits for ours.
        self._detour.end()
        with self._lock:
            lines = [] if last is None else last(self._size())
            self._write("".join(f"{each}\n" for each in lines))

    def _keep(self, text: str) -> None:
        if len(self._kept) + len(text) <= MAX_KEPT_CHARACTERS:
            self._kept += text
        else:
            self._lines_left_out += text.count("\n")

    def _take_kept(self) -> str:
        kept, self._kept = self._kept, ""
        if self._lines_left_out:
            kept += f"({self._lines_left_out} lines left out while the terminal stood still)\n"
            self._lines_left_out = 0
        return kept

    def _with_lines_above(self, text: str) -> str:
        """Return what draws the lines, below what was kept and ``text``."""
        if not (above := self._take_kept() + text):
            return self._drawn()
        erase, self._is_drawn = self._erase(), False
        return erase + above + self._drawn()

    def _erase(self) -> str:
        # In the background, the cursor is where the shell has put it.
        return ERASE if self._is_drawn and self._is_in_foreground() else ""

    def _drawn(self) -> str:
        """Return what draws the lines, if it is time for that, and take note of it."""
        now = self._clock()
        is_full = len(self._drawn_at_s) == MAX_DRAWS
        if (
            self._picture is None
            or self._is_closed
            or (is_full and now - self._drawn_at_s[0] < DRAWS_WITHIN_S)
            or not self._is_in_foreground()
        ):
            return ""
        lines = self._picture(self._size())
        self._drawn_at_s.append(now)
        self._is_drawn = True
        up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
        shown = "\r\n".join(f"{each}{ERASE_REST_OF_LINE}" for each in lines)
        return f"\r{WRAP_OFF}{shown}\x1b[J{up}\r{WRAP_ON}"

    def _size(self) -> os.terminal_size:
        try:
            size = os.get_terminal_size(self._output.fileno())
        except OSError:
            size = os.terminal_size((0, 0))
        return os.terminal_size((size.columns or USUAL_COLUMNS, size.lines or USUAL_LINES))

    def _is_in_foreground(self) -> bool:
        try:
            return os.tcgetpgrp(self._output.fileno()) == os.getpgrp()
        # It is a terminal, but not the one from which jobs are controlled.
        except OSError:
            return True

    def _takes_more(self) -> bool:
        try:
            return bool(select.select([], [self._output.fileno()], [], 0)[1])
        except OSError:
            return False

    def _write(self, text: str) -> None:
        """Write to a terminal that may have gone: then nobody misses it."""
        try:
            self._output.write(text)
            self._output.flush()
        except OSError:
            self._picture = None


class _Detour:
    """Leads what is written to a terminal through a `LiveTerminal`.

    Args:
        terminal: Where it is to go.
        output: The stream that has the terminal.
    """

    def __init__(self, terminal: LiveTerminal, output: TextIO) -> None:
        above = _Above(terminal, output)
        self._streams = [above]
        self._output = output
        self._handlers = [
            each
            for each in logging.getLogger().handlers
            if isinstance(each, logging.StreamHandler) and each.stream is output
        ]
        for each in self._handlers:
            each.setStream(cast("TextIO", above))
        if sys.stderr is output:
            sys.stderr = cast("TextIO", above)
        if _is_same_terminal(sys.stdout, output):
            self._streams.append(_Above(terminal, sys.stdout))
            sys.stdout = cast("TextIO", self._streams[-1])
        self._last = _BeforeExit(terminal)
        logging.getLogger().addHandler(self._last)

    def end(self) -> None:
        """Lead nothing through it any more."""
        logging.getLogger().removeHandler(self._last)
        for handler in self._handlers:
            handler.setStream(self._output)
        for stream in self._streams:
            # Somebody else may have taken their places meanwhile.
            if sys.stderr is stream:
                sys.stderr = stream.output
            if sys.stdout is stream:
                sys.stdout = stream.output
            stream.finish()


class _Above:
    """Stands for an output stream whose lines go above what is shown.

    Args:
        terminal: What shows it.
        output: The stream for which it stands.
    """

    def __init__(self, terminal: LiveTerminal, output: TextIO) -> None:
        self.output = output
        self._terminal = terminal
        self._lock = threading.RLock()
        self._unfinished = ""

    def write(self, text: str) -> int:
        """Write the lines that are complete, and keep the rest."""
        with self._lock:
            whole, end, rest = (self._unfinished + text).rpartition("\n")
            if len(rest) > MAX_UNFINISHED_CHARACTERS:
                whole, end, rest = whole + end + rest, "\n", ""
            self._unfinished = rest
        if end:
            self._terminal.write_above(whole + end)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write all of them."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Do nothing: lines are written at once, and what is no line yet waits."""

    def finish(self) -> None:
        """Write what never became a line."""
        with self._lock:
            rest, self._unfinished = self._unfinished, ""
        if rest:
            self._terminal.write_above(f"{rest}\n")

    # What else a stream has is that of the real one.
    def __getattr__(self, name: str) -> Any:
        return getattr(self.output, name)


class _BeforeExit(logging.Handler):
    """Closes a terminal when logging is shut down, the last that is done before `os._exit`.

    Args:
        terminal: What is to be closed.
    """

    def __init__(self, terminal: LiveTerminal) -> None:
        # No record has that level.
        super().__init__(level=sys.maxsize)
        self._terminal = terminal

    def close(self) -> None:
        self._terminal.close()
        super().close()


def _is_same_terminal(stream: TextIO | None, output: TextIO) -> bool:
    return (
        stream is not None
        and stream.isatty()
        and os.path.sameopenfile(stream.fileno(), output.fileno())
    )

"""A terminal in memory: a pseudo-terminal, whose bytes an emulator draws.

with Terminal(columns=80, lines=10) as terminal:
    terminal.output.write("hello\\n")
    assert terminal.rows() == ["hello"]
"""

import fcntl
import os
import struct
import termios
from contextlib import suppress
from types import TracebackType
from typing import Final, TextIO

import pyte

# Comes out of a terminal as it goes in, and is nothing to it.
END: Final = b"\0"


class Terminal:
    """A terminal of so many columns and lines, and the stream that writes to it."""

    def __init__(self, *, columns: int = 100, lines: int = 12) -> None:
        self._reader, self._writer = os.openpty()
        self.output: TextIO = os.fdopen(self._writer, "w", encoding="utf-8", buffering=1)
        self._screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self._screen)
        self.written = b""
        self._is_gone = False
        self.resize(columns=columns, lines=lines)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with suppress(OSError):
            self.output.close()
        self.hang_up()

    def hang_up(self) -> None:
        """Be gone, like a window that was closed."""
        if not self._is_gone:
            self._is_gone = True
            os.close(self._reader)

    @property
    def name(self) -> str:
        """Name of the device."""
        return os.ttyname(self._writer)

    def resize(self, *, columns: int, lines: int) -> None:
        """Change the size that programs see, and that of the screen."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._writer, termios.TIOCSWINSZ, size)
        self._screen.resize(lines, columns)

    def rows(self) -> list[str]:
        """Return all rows that were ever shown, without empty ones at the end."""
        self._take_in()
        above = [
            "".join(row[column].data for column in range(self._screen.columns))
            for row in self._screen.history.top
        ]
        rows = [each.rstrip() for each in (*above, *self._screen.display)]
        while rows and not rows[-1]:
            rows.pop()
        return rows

    @property
    def cursor(self) -> tuple[int, int]:
        """The cursor's row, counted as in `rows`, and column."""
        self._take_in()
        return len(self._screen.history.top) + self._screen.cursor.y, self._screen.cursor.x

    @property
    def shows_cursor(self) -> bool:
        """Whether the cursor can be seen."""
        self._take_in()
        return not self._screen.cursor.hidden

    @property
    def wraps(self) -> bool:
        """Whether what is too wide goes on in the next row, as it does unless told otherwise."""
        self._take_in()
        return pyte.modes.DECAWM in self._screen.mode

    def _take_in(self) -> None:
        """Draw what was written until now."""
        os.write(self._writer, END)
        taken = b""
        while END not in taken:
            taken += os.read(self._reader, 65536)
        taken = taken.replace(END, b"")
        self.written += taken
        self._stream.feed(taken)

"""Say what is being looked at while it takes: on a terminal only, and nothing stays of it.

with Progress(sys.stderr) as progress:
    progress.say("each task's time")
"""

from typing import Final, Self, TextIO

_CLEAR_LINE: Final = "\r\x1b[K"


class Progress:
    """A line on a terminal; nothing at all elsewhere.

    Args:
        stream: Where it stands.
    """

    def __init__(self, stream: TextIO) -> None:
        """Show nothing yet."""
        self._stream = stream if stream.isatty() else None

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self.clear()

    def say(self, what: str) -> None:
        """Show what is being looked at."""
        self._write(f"{_CLEAR_LINE}looking at {what} ...")

    def clear(self) -> None:
        """Make room for something else."""
        self._write(_CLEAR_LINE)

    def _write(self, text: str) -> None:
        if self._stream is not None:
            self._stream.write(text)
            self._stream.flush()

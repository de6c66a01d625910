"""Say what is being looked at while it takes: on a terminal only, and nothing stays of it.

with Progress(sys.stderr, os.environ) as progress:
    progress.say("each task's time")
"""

from collections.abc import Mapping
from typing import Final, Self, TextIO

_CLEAR_LINE: Final = "\r\x1b[K"


class Progress:
    """A line on a terminal; nothing at all elsewhere.

    Args:
        stream: Where it stands; None if it is closed.
        environment: ``TERM`` says whether lines can be taken away again there.
    """

    def __init__(self, stream: TextIO | None, environment: Mapping[str, str]) -> None:
        """Show nothing yet."""
        is_shown = environment.get("TERM", "") not in ("", "dumb")
        self._stream = stream if stream is not None and stream.isatty() and is_shown else None

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

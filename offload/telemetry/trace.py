"""A run's events in a file, one JSON object a line: to look back at it, and for bug reports.

with closing(open_trace(Path("run.jsonl"))) as trace:
recorder.add(trace)
for event in read_trace(Path("run.jsonl")): ...
"""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from offload.errors import ConfigurationError
from offload.telemetry.events import TelemetryEvent
from offload.telemetry.form import from_fields, to_fields

logger = logging.getLogger(__name__)

# The longest event is that of a pipeline with a thousand tasks, some hundred bytes each.
MAX_LINE_CHARACTERS: Final = 1024 * 1024


class TraceWriter:
    """Writes events as they come; a disk that does not take them ends the trace, not the run.

    Args:
        path: What the file is called.
        file: It, open for writing.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        """Write nothing yet."""
        self._path = path
        self._file: TextIO | None = file

    def note(self, event: TelemetryEvent) -> None:
        """Write one event, so that it is in the file whatever ends the program."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(to_fields(event), separators=(",", ":")) + "\n")
            self._file.flush()
        except OSError as error:
            self._give_up(self._file, error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            file, self._file = self._file, None
            # All of it was flushed.
            file.close()

    def _give_up(self, file: TextIO, error: OSError) -> None:
        self._file = None
        # What is still in its buffer fails once more.
        with suppress(OSError):
            file.close()
        how = "it ends here; nothing else of the run is lost"
        extra = {"trace": str(self._path), "reason": error.strerror, "how": how}
        logger.error("trace_not_written", extra=extra)


def open_trace(path: Path) -> TraceWriter:
    """Begin a trace, in the place of one that is there.

    Raises:
        ConfigurationError: It cannot be written.
    """
    try:
        return TraceWriter(path, path.open("w", encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot write --trace {path}: {error.strerror}") from error


def read_trace(path: Path) -> Iterator[TelemetryEvent]:
    """Yield the events of a trace; a last line that was cut off is left out.

    Raises:
        ConfigurationError: The file cannot be read, or a line of it is no event.
    """
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(_lines(file, path), start=1):
                event = _read_line(line, f"{path}, line {number}")
                if event is not None:
                    yield event
    except OSError as error:
        raise ConfigurationError(f"trace {path} cannot be read: {error.strerror}") from error


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    while line := file.readline(MAX_LINE_CHARACTERS):
        if len(line) == MAX_LINE_CHARACTERS:
            raise ConfigurationError(f"{path} has a line of over a million characters: no trace")
        yield line


def _read_line(line: str, place: str) -> TelemetryEvent | None:
    try:
        return from_fields(json.loads(line))
    except RecursionError:
        raise ConfigurationError(f"{place}: nested too deep for a trace") from None
    except ValueError as error:
        # Whatever ended the program may have cut off its last line.
        if not line.endswith("\n"):
            return None
        raise ConfigurationError(f"{place}: no event of a trace: {error}") from error

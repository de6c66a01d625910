"""A run's events in a file, one JSON object a line: to look back at it, and for bug reports.

with closing(open_trace(Path("run.jsonl"))) as trace:
recorder.add(trace)
for event in read_trace(Path("run.jsonl")): ...
"""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from queue import Full, Queue
from typing import Final, TextIO

from offload.errors import ConfigurationError
from offload.telemetry.events import TelemetryEvent
from offload.telemetry.form import from_fields, to_fields

logger = logging.getLogger(__name__)

# The longest event is that of a pipeline with a thousand tasks, some hundred bytes each.
MAX_LINE_CHARACTERS: Final = 1024 * 1024

# So many events may wait for the disk: a server with a thousand devices makes them in two seconds,
# a device in an hour.
MAX_WAITING: Final = 4096

# How long the end of a run waits for a disk.
CLOSE_TIMEOUT_S: Final = 1.0


class TraceWriter:
    """Writes events as they come, on a thread of its own.

    A disk or a pipe that is slow holds nobody up: events past `MAX_WAITING` are left out. One that
    fails ends the trace, not the run.

    Args:
        path: What the file is called.
        file: It, open for writing.
    """

    def __init__(self, path: Path, file: TextIO) -> None:
        """Write nothing yet."""
        self._path = path
        self._file = file
        self._waiting: Queue[TelemetryEvent | None] = Queue(MAX_WAITING)
        self._is_over = False
        self._is_incomplete = False
        self._thread = threading.Thread(target=self._write_all, name="trace", daemon=True)
        self._thread.start()

    def note(self, event: TelemetryEvent) -> None:
        """Have one event written: at once, unless others wait for the disk."""
        if self._is_over:
            return
        try:
            self._waiting.put_nowait(event)
        except Full:
            self._leave_out()

    def close(self) -> None:
        """Wait a little until all of it is written, and close the file."""
        by_s = time.monotonic() + CLOSE_TIMEOUT_S
        with suppress(Full):
            self._waiting.put(None, timeout=0.0 if self._is_over else CLOSE_TIMEOUT_S)
        self._thread.join(max(0.0, by_s - time.monotonic()))
        if self._thread.is_alive():
            self._give_up("the disk does not take its last events")

    def _write_all(self) -> None:
        try:
            with self._file as file:
                while (event := self._waiting.get()) is not None:
                    file.write(json.dumps(to_fields(event), separators=(",", ":")) + "\n")
                    # So that it is in the file whatever ends the program.
                    if self._waiting.empty():
                        file.flush()
        except OSError as error:
            self._give_up(error.strerror or str(error))

    def _leave_out(self) -> None:
        if not self._is_incomplete:
            self._is_incomplete = True
            why = "the disk is too slow: some events are left out"
            logger.warning("trace_incomplete", extra={"trace": str(self._path), "why": why})

    def _give_up(self, reason: str) -> None:
        if self._is_over:
            return
        self._is_over = True
        how = "it ends here; nothing else of the run is lost"
        extra = {"trace": str(self._path), "reason": reason, "how": how}
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
        why = "no JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ConfigurationError(f"{place}: no event of a trace: {why}") from error

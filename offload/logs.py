"""Set up logging for the two programs: one line per event on standard error.

A line is a fixed snake_case name plus fields, for people (``text``) or for machines (``json``).
Where standard error is a pipe that nobody reads, lines are left out: no frame waits for its reader.
"""

import atexit
import json
import logging
import os
import select
import stat
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final, TextIO, cast

from offload.errors import TaskError

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

# Of what is logged while a pipe takes nothing, so much is kept until it does.
MAX_KEPT_BYTES: Final = 256 * 1024

# What the end of the program waits for a pipe's reader.
END_S: Final = 2.0

# What every record has; all else came in as a field.
_BUILT_IN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class TextFormatter(logging.Formatter):
    """``12:03:04 INFO session_opened next_seq=0``, without the fields that are not known."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line, with the traceback below it if there is one."""
        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        known = {name: value for name, value in _fields(record).items() if value is not None}
        fields = "".join(f" {name}={_shown(value)}" for name, value in known.items())
        line = f"{moment} {record.levelname} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One JSON object per line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object."""
        line: dict[str, object] = {
            "at": record.created,
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logs(*, level: str, style: str) -> None:
    """Send log lines of at least ``level`` to standard error in ``style``."""
    handler = PipeHandler(sys.stderr) if _is_pipe(sys.stderr) else logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    atexit.register(_drop_unwritten)


def write_last(text: str) -> None:
    """Write lines for the user to standard error, behind those of the log.

    Where it is closed, or cannot be written, they are left out: the exit code still tells.
    """
    for each in logging.getLogger().handlers:
        if isinstance(each, PipeHandler):
            each.pipe.write(text)
            return
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
    # Its disk is full, or its reader has gone: nobody can be told.
    except OSError:
        atexit.register(_drop_unwritten)


def give_up(output: TextIO) -> None:
    """Lead a standard stream nowhere, with all that it has not taken yet."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output.fileno())
    os.close(nowhere)


class PipeHandler(logging.StreamHandler[TextIO]):
    """Writes lines to a pipe whose reader may stand still: it leaves lines out, and says how many.

    Args:
        output: The stream of the pipe.
    """

    def __init__(self, output: TextIO) -> None:
        """Write nothing yet."""
        self.pipe = _Pipe(output)
        self._left_out = 0
        super().__init__(cast("TextIO", self.pipe))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, now or once the pipe takes it, or leave it out."""
        if self.pipe.is_full:
            self._left_out += 1
            return
        self._say_left_out()
        super().emit(record)

    def close(self) -> None:
        """Write what is kept, if the pipe takes it within `END_S`."""
        self._say_left_out()
        self.pipe.finish()
        super().close()

    def _say_left_out(self) -> None:
        lines, self._left_out = self._left_out, 0
        if lines:
            said = {"levelname": "WARNING", "msg": "log_lines_left_out", "lines": lines}
            super().emit(logging.makeLogRecord({**said, "why": "nobody read them"}))


class _Pipe:
    """Takes text at any time; what the pipe does not take at once, a thread writes when it does."""

    def __init__(self, output: TextIO) -> None:
        self._descriptor = output.fileno()
        self._encoding = output.encoding
        # One thread may come back here while it writes: with a warning of the garbage collector.
        self._lock = threading.RLock()
        self._kept = bytearray()
        self._has_thread = False

    @property
    def is_full(self) -> bool:
        return len(self._kept) >= MAX_KEPT_BYTES

    def write(self, text: str) -> None:
        with self._lock:
            self._kept += text.encode(self._encoding, "backslashreplace")
            self._write(within_s=0.0)
            if self._kept and not self._has_thread:
                self._has_thread = True
                threading.Thread(target=self._write_rest, name="logs", daemon=True).start()

    def flush(self) -> None:
        """Do nothing: what can be written is written at once."""

    def finish(self) -> None:
        with self._lock:
            self._write(within_s=END_S)

    def _write_rest(self) -> None:
        while True:
            select.select((), (self._descriptor,), ())
            with self._lock:
                self._write(within_s=0.0)
                if not self._kept:
                    self._has_thread = False
                    return

    def _write(self, *, within_s: float) -> None:
        """Write what the pipe takes in that time."""
        until_s = time.monotonic() + within_s
        while self._kept:
            left_s = max(0.0, until_s - time.monotonic())
            if not select.select((), (self._descriptor,), (), left_s)[1]:
                return
            # A pipe that takes something takes so much without waiting.
            piece = bytes(self._kept[: select.PIPE_BUF])
            del self._kept[: select.PIPE_BUF]
            try:
                written = os.write(self._descriptor, piece)
            # Somebody else has filled it meanwhile; only a pipe that never waits says so.
            except BlockingIOError:
                self._kept[:0] = piece
                return
            # Its reader has gone, and nobody misses the lines.
            except OSError:
                self._kept.clear()
                return
            self._kept[:0] = piece[written:]


class Mishaps:
    """Warns of what tasks on demand raised, once for each task: nothing else shows it."""

    def __init__(self) -> None:
        """Start without warnings."""
        self._warned_of: set[str] = set()

    def warn_of(self, mishaps: Sequence[TaskError]) -> None:
        """Warn of those tasks that no warning named yet."""
        for each in mishaps:
            if each.task not in self._warned_of:
                self._warned_of.add(each.task)
                logging.getLogger("tasks").warning(
                    "task_on_demand_failed", extra={"task": each.task, "reason": each.reason}
                )


def end_with_any_thread() -> None:
    """End the process, with exit code 1, when a thread of it ends by an error that nobody expected.

    The others would wait for it for ever. What was acknowledged is stored; the rest is sent again.
    """

    def end(arguments: threading.ExceptHookArgs) -> None:
        name = arguments.thread.name if arguments.thread else "unknown"
        error = arguments.exc_value
        logging.getLogger("threads").critical(
            "thread_failed",
            extra={"thread_name": name, "reason": f"{type(error).__name__}: {error}"},
            exc_info=error if logging.getLogger().isEnabledFor(logging.DEBUG) else None,
        )
        logging.shutdown()
        os._exit(1)

    threading.excepthook = end


def _drop_unwritten() -> None:
    """Drop what standard error did not take: else Python tries again, and ends with code 120."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def _is_pipe(output: TextIO | None) -> bool:
    try:
        mode = 0 if output is None else os.fstat(output.fileno()).st_mode
    # It is no stream of the system.
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _BUILT_IN}


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return json.dumps(text) if " " in text or not text else text

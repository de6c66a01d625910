"""Set up logging for the two programs: one line per event on standard error.

A line is a fixed snake_case name plus fields, for people (``text``) or for machines (``json``).
"""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

from offload.errors import TaskError

LEVELS: Final = ("debug", "info", "warning", "error")
FORMATS: Final = ("text", "json")

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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


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


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _BUILT_IN}


def _shown(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return json.dumps(text) if " " in text or not text else text

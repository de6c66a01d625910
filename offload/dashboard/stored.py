"""Stored results of a stream: a page of them, and all of them for a download.

SQLite is read in threads, by a connection for each request, and a batch at a time: a browser that
is slow or goes keeps nothing open in the file, and no file is ever in memory.
"""

import asyncio
import logging
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

from offload.dashboard.doors import Visit
from offload.dashboard.lasting import Places
from offload.errors import OffloadError, ResultsError
from offload.results.reading import (
    BATCH_ROWS,
    COLUMNS,
    Row,
    SizedRow,
    csv_head,
    csv_line,
    finite,
    json_line,
    newest,
    rows,
    value_of,
)
from offload.results.sqlite import connect_reader

logger = logging.getLogger("dashboard")

# Of each value that a table shows; what is longer is a picture or the like.
MAX_SHOWN_BYTES: Final = 4096

# Rows on one page of the table.
MAX_ROWS: Final = 500
DEFAULT_ROWS: Final = 100

# A download holds a thread while a batch is read; the others are for what the page shows.
MAX_DOWNLOADS: Final = 4

Line = Callable[[Row], str]

_LINES: Final[dict[str, tuple[str, Line]]] = {
    "csv": ("text/csv; charset=utf-8", csv_line),
    "jsonl": ("application/x-ndjson", json_line),
}


def media_type(kind: str) -> str:
    """Return the media type of a download: ``csv`` or ``jsonl``."""
    return _LINES[kind][0]


def read_page(path: Path, stream: str, *, before: int | None, limit: int) -> dict[str, Any]:
    """Return the newest results of a stream before a sequence number, for a table.

    Raises:
        ResultsError: They cannot be read now.
    """
    try:
        with closing(connect_reader(path)) as connection:
            found = newest(
                connection, stream, before=before, limit=limit + 1, value_bytes=MAX_SHOWN_BYTES
            )
    except (OffloadError, sqlite3.Error) as error:
        raise ResultsError(f"results cannot be read: {error}") from error
    shown = found[:limit]
    following = shown[-1].row[1] if len(found) > limit else None
    return {"kept": True, "rows": [_fields(each) for each in shown], "next": following}


class Downloads:
    """The downloads under way.

    Args:
        work: Where they are read.

    Attributes:
        places: Each has taken one.
    """

    def __init__(self, work: Executor) -> None:
        """Start without any."""
        self.places = Places(MAX_DOWNLOADS)
        self._work = work

    async def read(
        self, visit: Visit, path: Path, stream: str, kind: str
    ) -> AsyncGenerator[str, None]:
        """Yield all results of a stream as text, a batch at a time, until the visit is over.

        Raises:
            ResultsError: They cannot be read, or the visit is over: what was sent is not all.
        """
        loop = asyncio.get_running_loop()
        reader = _Reader(path, stream, _LINES[kind][1])
        try:
            if kind == "csv":
                yield csv_head()
            while text := await loop.run_in_executor(self._work, reader.batch):
                yield text
                if visit.is_over:
                    raise ResultsError("whoever reads them has signed out, or may not any more")
        except (OffloadError, sqlite3.Error) as error:
            # What was sent is an answer that stops in the middle, which the browser says.
            logger.error("download_failed", extra={"stream": stream, "reason": str(error)})
            raise ResultsError(f"results cannot be read: {error}") from error
        finally:
            # A batch may be under way that nobody waits for any more.
            self._work.submit(reader.close)


class _Reader:
    """Reads the rows of one download, by a connection that is opened with the first batch."""

    def __init__(self, path: Path, stream: str, line: Line) -> None:
        self._path, self._stream, self._line = path, stream, line
        # Held while the file is read: a connection is not closed in the middle of that.
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._rows: Iterator[Row] = iter(())
        self._is_over = False

    def batch(self) -> str:
        """Return the next lines; empty at the end."""
        with self._lock:
            if self._connection is None and not self._is_over:
                self._connection = connect_reader(self._path)
                self._rows = rows(self._connection, stream=self._stream)
            return "".join(self._line(row) for row in islice(self._rows, BATCH_ROWS))

    def close(self) -> None:
        """Give everything back, once a batch that is under way is read."""
        with self._lock:
            self._is_over, self._rows = True, iter(())
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _fields(found: SizedRow) -> dict[str, Any]:
    value: object
    if found.value_bytes > MAX_SHOWN_BYTES:
        value = f"({found.value_bytes} bytes: see the download)"
    else:
        try:
            value = value_of(found.row)
        except ResultsError as error:
            value = f"({error})"
    return dict(zip(COLUMNS[1:], (*map(finite, found.row[1:-1]), value), strict=True))

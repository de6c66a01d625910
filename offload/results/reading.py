"""Read results for people and their programs: rows in order, as JSON or CSV.

    with closing(connect_reader(Path("results.db"))) as connection:
        for row in rows(connection, stream="porch"):
            json_line(row)
        newest(connection, "porch", before=None, limit=100, value_bytes=4096)

Arrays become nested lists, bytes base64 text, complex numbers [real, imaginary]; numbers that are
not finite become null. In CSV a text that a spreadsheet would take for a formula has a ' in front.
"""

import base64
import csv
import io
import json
import math
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from offload.errors import ResultsError
from offload.results.values import unpack_result

# Rows are fetched in batches, so that no query stays open while a pipe's reader pauses: an open one
# would keep the server's log from being reset.
BATCH_ROWS: Final = 64

# A result may hold pictures. With what has come to this much, a batch is over.
BATCH_BYTES: Final = 8 * 1024 * 1024

# What a device calls its stream is opened in the spreadsheets of others.
_FORMULA_STARTS: Final = ("=", "+", "-", "@")
_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)

Row = tuple[object, ...]

COLUMNS: Final = ("stream", "seq", "captured_at", "received_at", "split", "value")
_VALUE: Final = COLUMNS.index("value")
SELECT: Final = f"SELECT {', '.join(COLUMNS)}, rowid FROM results"

# Of a value whose length alone is asked for, SQLite reads nothing else.
_SELECT_SIZED: Final = (
    f"SELECT {', '.join(COLUMNS[:-1])}, CASE WHEN length(value) <= ?3 THEN value END,"
    " COALESCE(length(value), 0) FROM results"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SizedRow:
    """A row, and how many bytes its value has; a value that was too long for a look is None."""

    row: Row
    value_bytes: int


def rows(connection: sqlite3.Connection, *, stream: str | None = None) -> Iterator[Row]:
    """Yield all results, or a stream's, by stream and sequence number."""
    after: Row = ("" if stream is None else stream, -1)
    # Of one stream, what comes behind it is another one's.
    only = "" if stream is None else " AND stream = ?3"
    query = f"{SELECT} WHERE (stream, seq) > (?1, ?2){only} ORDER BY stream, seq LIMIT {BATCH_ROWS}"
    named = () if stream is None else (stream,)
    while batch := _batch(connection.execute(query, (*after, *named))):
        yield from (row[:-1] for row in batch)
        after = batch[-1][:2]


def newest(
    connection: sqlite3.Connection, stream: str, *, before: int | None, limit: int, value_bytes: int
) -> list[SizedRow]:
    """Return a stream's newest results before a sequence number, None for all, the newest first.

    A value of more than ``value_bytes`` is not read: its row has None in its place.
    """
    where = "" if before is None else " AND seq < ?4"
    query = f"{_SELECT_SIZED} WHERE stream = ?1{where} ORDER BY seq DESC LIMIT ?2"
    named = () if before is None else (before,)
    found = connection.execute(query, (stream, limit, value_bytes, *named))
    return [SizedRow(row=row[:-1], value_bytes=row[-1]) for row in found]


def committed(connection: sqlite3.Connection, start: int, end: int) -> Iterator[Row]:
    """Yield the results after position ``start``, up to ``end``, in the order of their commit."""
    query = f"{SELECT} WHERE rowid > ? AND rowid <= ? ORDER BY rowid LIMIT {BATCH_ROWS}"
    while batch := _batch(connection.execute(query, (start, end))):
        yield from (row[:-1] for row in batch)
        start = batch[-1][-1]


def end_of(connection: sqlite3.Connection) -> int:
    """Return the position of the last result that was committed; 0 if there is none."""
    (end,) = connection.execute("SELECT COALESCE(MAX(rowid), 0) FROM results").fetchone()
    return int(end)


def json_line(row: Row) -> str:
    """Return a row as one line of JSON.

    Raises:
        ResultsError: Its value cannot be read.
    """
    record = dict(zip(COLUMNS, (*map(finite, row[:-1]), value_of(row)), strict=True))
    return json.dumps(record) + "\n"


def csv_line(row: Row) -> str:
    """Return a row as one line of CSV, its value as JSON.

    Raises:
        ResultsError: Its value cannot be read.
    """
    return _csv([*map(finite, row[:-1]), json.dumps(value_of(row))])


def csv_head() -> str:
    """Return the first line of CSV: the names of the columns."""
    return _csv(COLUMNS)


def value_of(row: Row) -> object:
    """Return the value of a row as `json` can write it.

    Raises:
        ResultsError: It cannot be read.
    """
    stream, seq, *_, value = row
    if not isinstance(value, bytes):
        raise ResultsError(
            f"result {seq} of stream {stream!r} is {type(value).__name__}, not bytes"
        )
    try:
        return json_value(unpack_result(value))
    except ResultsError as error:
        raise ResultsError(f"result {seq} of stream {stream!r} cannot be read: {error}") from error


def json_value(value: object) -> object:
    """Return ``value`` as `json` can write it; what is not finite becomes None.

    Raises:
        ResultsError: The value holds something that no result can hold.
    """
    if isinstance(value, dict):
        return {key: json_value(each) for key, each in value.items()}
    if isinstance(value, list):
        return [json_value(each) for each in value]
    if isinstance(value, np.ndarray):
        # Of integers each is finite; to look at them all takes four times as long as to list them.
        return value.tolist() if value.dtype.kind in "biu" else json_value(value.tolist())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, complex):
        return [finite(value.real), finite(value.imag)]
    if value is None or isinstance(value, bool | int | float | str):
        return finite(value)
    raise ResultsError(f"value holds {type(value).__name__}, which no result can hold")


def finite(value: object) -> object:
    """Return a value; None if it is a number that is not finite."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _batch(query: sqlite3.Cursor) -> list[tuple[Any, ...]]:
    """Return the first rows that a query finds, up to `BATCH_BYTES`, and end it."""
    batch, batch_bytes = [], 0
    with closing(query):
        for row in query:
            batch.append(row)
            value = row[_VALUE]
            # In a damaged file it may be anything.
            batch_bytes += len(value) if isinstance(value, bytes | str) else 0
            if batch_bytes >= BATCH_BYTES:
                break
    return batch


def _csv(cells: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(map(_harmless, cells))
    return line.getvalue()


def _harmless(cell: object) -> object:
    """Return a cell that no spreadsheet runs (OWASP: CSV injection); numbers are as they are."""
    if isinstance(cell, str) and cell.startswith(_FORMULA_STARTS) and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell

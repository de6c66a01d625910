"""Results in an SQLite file: a row per result and failure, a row of position and counts per stream.

store = SqliteResults(Path("results.db"))
with closing(connect_reader(Path("results.db"))) as connection: ...
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError, ResultsError
from offload.messages import Outcome, OutcomeRange, extend_ranges
from offload.results.store import (
    MAX_ENDED_FRAMES,
    Place,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    count_outcomes,
    goes_on,
)

# A device names its failed frames by ranges, and twenty bytes can claim 2**62 of them. A range
# keeps one row per frame up to here, about 100 MB; the counters stay exact beyond it.
MAX_FAILURE_ROWS: Final = 1_000_000

# Another process (a second server, a backup) may hold the file's write lock this long.
BUSY_TIMEOUT_S: Final = 5.0

_COLUMNS: Final = {
    "results": ("stream", "seq", "captured_at", "received_at", "split", "value"),
    "failures": ("stream", "seq", "task", "reason", "at"),
    "streams": (
        *("stream", "device", "app", "owner", "opened_at", "closed_at", "next_seq"),
        *("filtered", "failed", "dropped", "state"),
    ),
}

_SCHEMA: Final = (
    """CREATE TABLE IF NOT EXISTS results(
        stream TEXT, seq INTEGER, captured_at REAL, received_at REAL, split INTEGER,
        value BLOB /* msgpack */, PRIMARY KEY (stream, seq))""",
    """CREATE TABLE IF NOT EXISTS failures(
        stream TEXT, seq INTEGER, task TEXT, reason TEXT, at REAL, PRIMARY KEY (stream, seq))""",
    """CREATE TABLE IF NOT EXISTS streams(
        stream TEXT PRIMARY KEY, device TEXT, app TEXT, owner TEXT, opened_at REAL, closed_at REAL,
        next_seq INTEGER, filtered INTEGER, failed INTEGER, dropped INTEGER, state BLOB,
        epoch INTEGER NOT NULL DEFAULT 0)""",
)

# Files of version 0.1 have no such column; whoever only reads them needs none.
_ADD_EPOCH: Final = "ALTER TABLE streams ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0"


class SqliteResults(ResultsStore):
    """Results in an SQLite file, on disk when `commit` returns.

    Args:
        path: The file; made if missing, in a folder that exists.

    Raises:
        ConfigurationError: The file cannot be opened or written, or is not a results file.
    """

    durable = True

    def __init__(self, path: Path) -> None:
        """Open the file, and make its tables if it is new."""
        self._path = path
        self._lock = threading.Lock()
        _check_place(path)
        self._connection = _connect(path, "rwc")
        try:
            # A file of somebody else's is looked at before anything in it is changed.
            if not _is_empty(self._connection):
                _check_schema(self._connection, path)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                for statement in _SCHEMA:
                    self._connection.execute(statement)
                if "epoch" not in _columns_of(self._connection, "streams"):
                    self._connection.execute(_ADD_EPOCH)
        except sqlite3.Error as error:
            self._connection.close()
            raise _cannot_open(path, error) from error
        except ConfigurationError:
            self._connection.close()
            raise

    def commit(self, commits: Sequence[StreamCommit]) -> list[StreamCommit]:
        """Store ``commits`` in one transaction; see `ResultsStore.commit`."""
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                return [each for each in commits if not self._write(each)]
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error

    def open_stream(
        self, *, stream: str, device: str, app: str, owner: str, now: float
    ) -> StreamRecord:
        """Return the stream's record, new or as stored; see `ResultsStore.open_stream`."""
        try:
            with self._lock, self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._connection.execute(
                    "INSERT INTO streams VALUES (?, ?, ?, ?, ?, NULL, 0, 0, 0, 0, NULL, 1)"
                    " ON CONFLICT (stream) DO UPDATE SET closed_at = NULL, epoch = epoch + 1"
                    " WHERE owner = excluded.owner AND app = excluded.app",
                    (stream, device, app, owner, now),
                )
                return self._read_record(stream)
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error

    def ended_between(self, stream: str, first: int, stop: int) -> list[OutcomeRange]:
        """Return which stored frames have no result; see `ResultsStore.ended_between`."""
        first = max(first, stop - MAX_ENDED_FRAMES)
        span = (stream, first, stop)
        where = "WHERE stream = ? AND seq >= ? AND seq < ?"
        try:
            with self._lock:
                rows = self._connection.execute(f"SELECT seq FROM results {where}", span)
                with_result = {seq for (seq,) in rows}
                rows = self._connection.execute(
                    f"SELECT seq, task, reason FROM failures {where}", span
                )
                failures = {seq: (task, reason) for seq, task, reason in rows}
        except sqlite3.Error as error:
            raise self._cannot_write(error) from error
        ranges: list[OutcomeRange] = []
        for seq in range(first, stop):
            if seq not in with_result:
                task, reason = failures.get(seq, ("", ""))
                outcome = Outcome.FAILED if seq in failures else Outcome.FILTERED
                extend_ranges(
                    ranges,
                    OutcomeRange(first=seq, count=1, outcome=outcome, task=task, reason=reason),
                )
        return ranges

    def close(self) -> None:
        """Close the file; a later call raises `ResultsError`, except for this one."""
        with self._lock:
            self._connection.close()

    def _write(self, commit: StreamCommit) -> bool:
        """Store a commit, and return whether it could be: a stale one is not."""
        row = self._connection.execute(
            "SELECT epoch, next_seq FROM streams WHERE stream = ?", (commit.stream,)
        ).fetchone()
        if not goes_on(commit, stored=row and Place(epoch=row[0], next_seq=row[1])):
            return False
        name = commit.stream
        self._connection.executemany(
            "INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)",
            [
                (name, each.seq, each.captured_at, each.received_at, each.split, each.value)
                for each in commit.results
            ],
        )
        if any(each.outcome is Outcome.FAILED for each in commit.ended):
            self._connection.executemany(
                "INSERT INTO failures VALUES (?, ?, ?, ?, ?)", _failure_rows(commit)
            )
        counts = count_outcomes(commit)
        self._connection.execute(
            "UPDATE streams SET next_seq = ?, filtered = filtered + ?, failed = failed + ?,"
            " dropped = dropped + ?, state = COALESCE(?, state), closed_at = COALESCE(?, closed_at)"
            " WHERE stream = ?",
            (
                commit.next_seq,
                counts[Outcome.FILTERED],
                counts[Outcome.FAILED],
                counts[Outcome.DROPPED],
                commit.state,
                commit.closed_at,
                name,
            ),
        )
        return True

    def _read_record(self, stream: str) -> StreamRecord:
        columns = (*_COLUMNS["streams"], "epoch")
        row = self._connection.execute(
            f"SELECT {', '.join(columns)} FROM streams WHERE stream = ?", (stream,)
        ).fetchone()
        (results,) = self._connection.execute(
            "SELECT COUNT(*) FROM results WHERE stream = ?", (stream,)
        ).fetchone()
        return StreamRecord(**dict(zip(columns, row, strict=True)), results=results)

    def _cannot_write(self, error: sqlite3.Error) -> ResultsError:
        return ResultsError(
            f"results cannot be written to {str(self._path)!r}: {error};"
            " check the disk's free space and who else has the file open"
        )


def connect_reader(path: Path) -> sqlite3.Connection:
    """Open a results file for reading; it is neither made nor changed.

    Raises:
        ConfigurationError: There is no such file, it cannot be read, or is not a results file.
    """
    _check_place(path)
    if not path.exists():
        raise ConfigurationError(f"results file {str(path)!r} does not exist")
    # Even a reader shares memory with a writer, in a file beside this one. Who may not make that
    # file can read all the same where no writer is at work.
    is_at_rest = not path.with_name(f"{path.name}-wal").exists()
    alone = is_at_rest and not os.access(path.absolute().parent, os.W_OK)
    connection = _connect(path, "ro&immutable=1" if alone else "ro")
    try:
        _check_schema(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise _cannot_open(path, error) from error
    except ConfigurationError:
        connection.close()
        raise
    return connection


def _failure_rows(commit: StreamCommit) -> Iterator[tuple[str, int, str, str, float]]:
    for each in commit.ended:
        if each.outcome is Outcome.FAILED:
            task, reason = _storable(each.task), _storable(each.reason)
            for seq in islice(range(each.first, each.stop), MAX_FAILURE_ROWS):
                yield commit.stream, seq, task, reason, commit.at


def _storable(text: str) -> str:
    # An exception that quotes a file name may hold lone surrogates, which SQLite refuses.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _check_place(path: Path) -> None:
    try:
        if path.is_dir():
            raise ConfigurationError(f"results file {str(path)!r} is a folder, expected a file")
        if not path.absolute().parent.is_dir():
            raise ConfigurationError(
                f"results file {str(path)!r} is in a folder that does not exist;"
                " make the folder first"
            )
    except OSError as error:
        raise _cannot_open(path, error.strerror) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    # As an absolute URI no name is special: a file called ":memory:" would else lose everything.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    try:
        return sqlite3.connect(
            uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
    except sqlite3.Error as error:
        raise _cannot_open(path, error) from error


def _is_empty(connection: sqlite3.Connection) -> bool:
    (count,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
    return bool(count == 0)


def _check_schema(connection: sqlite3.Connection, path: Path) -> None:
    for table, expected in _COLUMNS.items():
        found = _columns_of(connection, table)
        missing = [name for name in expected if name not in found]
        if missing:
            raise ConfigurationError(
                f"{str(path)!r} is not a results file of this version: table {table!r} has no"
                f" {', '.join(missing)}; name another file"
            )


def _columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    rows = connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
    return {name for (name,) in rows}


def _cannot_open(path: Path, reason: object) -> ConfigurationError:
    return ConfigurationError(
        f"results file {str(path)!r} cannot be opened: {reason};"
        " check its permissions, or name another file"
    )

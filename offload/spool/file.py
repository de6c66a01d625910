"""The SQLite file of a spool: its tables, its transactions, and how far it and its log may grow.

It has no policy: errors of SQLite are passed on as they are, for `offload.spool` to decide about.

    file = SpoolFile.for_writing(path, FileLimits.within(limit_bytes))
    file.begin(origin)
    file.write(Change(old_stop=0, first=0, stop=1, records=(record,)))
    for entry in file.entries_from(0): ...
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from offload.spool.entries import HEADER_BYTES, PAGE_BYTES, Entry, Kind, log_path, seal, unseal
from offload.spool.limits import FileLimits

# A transaction writes the pages of what it adds and deletes. Besides, there is the way through the
# tree above them, split at worst, the page of the notes, and those that name free pages.
_OTHER_PAGES: Final = 8
_PAGES_PER_LIST_OF_FREE: Final = 1000

# What a row takes besides its content: the header, and a key, types, and where it goes on.
ROW_BYTES: Final = HEADER_BYTES + 32

_TABLES: Final = (
    "CREATE TABLE records(first INTEGER PRIMARY KEY, header BLOB NOT NULL, content BLOB NOT NULL)",
    "CREATE TABLE notes(id INTEGER PRIMARY KEY, header BLOB NOT NULL, content BLOB NOT NULL)",
)

# Notes are written twice, on the same page: a flipped bit spoils one of the two.
_COPIES: Final = 2

# What SQLite reports if a file does not hold what it wrote there. A table that has gone is an
# ERROR; an error of input is a bad sector; and a file may say of itself that it is read-only.
_DAMAGE: Final = frozenset((sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_DAMAGE_IN_DETAIL: Final = frozenset(
    (sqlite3.SQLITE_IOERR_READ, sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_READONLY)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One transaction: what is kept afterwards covers ``first`` to before ``stop``.

    Attributes:
        old_stop: Where what is kept ended before; nothing from here on is ours.
        first: The first frame that is still needed.
        stop: One past the last frame.
        records: What is added.
    """

    old_stop: int
    first: int
    stop: int
    records: Sequence[Entry] = ()


class NoRoomError(Exception):
    """The file has as many pages as it may; nothing of the change is stored.

    Args:
        fitting: How many of the change's records had found room.
        could_trim: Whether there is more to delete that is not needed.
    """

    def __init__(self, *, fitting: int, could_trim: bool) -> None:
        super().__init__(f"the file has room for {fitting} more records")
        self.fitting = fitting
        self.could_trim = could_trim


class SpoolFile:
    """One connection to the file. Nobody else can open it for as long as that is for writing."""

    def __init__(self, path: Path, limits: FileLimits, query: str) -> None:
        self._limits = limits
        self._log_path = log_path(path)
        self._connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?{query}",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        # A flipped bit may turn bytes into text, which need not be text at all.
        self._connection.text_factory = bytes

    @classmethod
    def for_writing(cls, path: Path, limits: FileLimits) -> Self:
        """Open the file, which must exist, and keep others out.

        Raises:
            sqlite3.Error: It cannot be opened; BUSY: another program has it.
        """
        file = cls(path, limits, "mode=rw")
        file._prepare(
            # Without sharing there is no third file, and a lock that ends with the program.
            "locking_mode = EXCLUSIVE",
            f"page_size = {PAGE_BYTES}",
            "journal_mode = WAL",
            "synchronous = FULL",
            # So nothing is written before the commit: a full disk shows there, a full file before.
            "cache_spill = OFF",
            # Zeros over what was deleted would be written to the memory card for nothing.
            "secure_delete = OFF",
            "temp_store = MEMORY",
            "cell_size_check = ON",
            f"wal_autocheckpoint = {limits.checkpoint // PAGE_BYTES}",
            f"max_page_count = {limits.file // PAGE_BYTES}",
        )
        return file

    @classmethod
    def for_reading(cls, path: Path, limits: FileLimits) -> Self:
        """Open the file on a disk that is read-only; nothing is locked.

        On another disk, closing it might remove a log that is damaged.

        Raises:
            sqlite3.Error: It cannot be opened.
        """
        if not log_path(path).exists():
            # SQLite would make one.
            return cls.without_log(path, limits)
        # SQLite's usual way needs a lock, which needs a file that can be written.
        file = cls(path, limits, "mode=ro&vfs=unix-none")
        file._prepare("locking_mode = EXCLUSIVE")
        return file

    @classmethod
    def without_log(cls, path: Path, limits: FileLimits) -> Self:
        """Open the file as it was before what its log holds, without touching anything.

        Raises:
            sqlite3.Error: It cannot be opened.
        """
        file = cls(path, limits, "mode=ro&immutable=1")
        file._prepare()
        return file

    def write(self, change: Change) -> bool:
        """Make ``change`` in one transaction; it is on disk when this returns.

        Returns:
            Whether all that is not needed is deleted; a transaction deletes only so much.

        Raises:
            NoRoomError: There is no room in the file.
            sqlite3.Error: It cannot be written: FULL if the disk has no room.
        """
        self._make_room_in_log(change)
        with self._transaction():
            is_trimmed = self._trim(change)
            fitting = 0
            try:
                self._note(Entry(kind=Kind.POSITION, first=change.first, stop=change.stop))
                for record in change.records:
                    self._insert(record)
                    fitting += 1
            except sqlite3.Error as error:
                if primary_code(error) == sqlite3.SQLITE_FULL:
                    raise NoRoomError(fitting=fitting, could_trim=not is_trimmed) from error
                raise
        return is_trimmed

    def entries_from(self, first: int) -> Iterator[Entry | None]:
        """Yield the records in order, from the one that holds ``first``; None: one is damaged.

        Raises:
            sqlite3.Error: The file is damaged, or cannot be read.
        """
        rows = self._connection.execute(
            "SELECT header, content FROM records WHERE first >="
            " COALESCE((SELECT MAX(first) FROM records WHERE first <= ?1), ?1) ORDER BY first",
            (first,),
        )
        with closing(rows):
            for header, content in rows:
                yield _unseal(header, content)

    def note(self, kind: Kind) -> Entry | None:
        """Return what was noted last of this kind, or None if there is nothing.

        Raises:
            sqlite3.Error: The file is damaged, or cannot be read.
        """
        ids = range(kind * _COPIES, (kind + 1) * _COPIES)
        for each in ids:
            row = self._connection.execute(
                "SELECT header, content FROM notes WHERE id = ?", (each,)
            ).fetchone()
            entry = None if row is None else _unseal(*row)
            if entry is not None and entry.kind is kind:
                return entry
        return None

    def _holds(self, entry: Entry) -> bool:
        """Return whether ``entry`` is here, or was replaced or deleted since."""
        position = self.note(Kind.POSITION)
        if position is None:
            return False
        if entry.kind is Kind.POSITION:
            return (position.stop, position.first) >= (entry.stop, entry.first)
        if entry.kind is Kind.ORIGIN or entry.stop <= position.first:
            return True
        query = "SELECT 1 FROM records WHERE first = ?"
        return self._connection.execute(query, (entry.first,)).fetchone() is not None

    def notes(self) -> dict[Kind, Entry]:
        """Return all that was noted, each as it is now.

        Raises:
            sqlite3.Error: The file is damaged, or cannot be read.
        """
        return {kind: note for kind in Kind if (note := self.note(kind)) is not None}

    def begin(self, origin: Entry) -> None:
        """Make the tables of a new file; whatever an older one holds is deleted.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        with self._transaction():
            if self.is_new():
                for statement in _TABLES:
                    self._connection.execute(statement)
            self._connection.execute("DELETE FROM records")
            self._connection.execute("DELETE FROM notes")
            self._note(origin)
            self._note(Entry(kind=Kind.POSITION))

    def copy(self, entries: Iterable[Entry]) -> None:
        """Take over entries of another file, in transactions of a group's size.

        Of records with the same first frame the last one stays, and so it is with notes.

        Raises:
            sqlite3.Error: They cannot be written.
        """
        waiting = iter(entries)
        while True:
            copied_bytes = 0
            with self._transaction():
                for entry in waiting:
                    if entry.kind is Kind.RECORD:
                        self._insert(entry)
                    else:
                        self._note(entry)
                    copied_bytes += len(entry.content) + ROW_BYTES
                    if copied_bytes >= self._limits.group:
                        break
                else:
                    return

    def used_bytes(self) -> int:
        """What it holds; the file itself never shrinks while it is in use."""
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE_BYTES

    def is_new(self) -> bool:
        """Return whether the file has no tables yet."""
        return not self._tables()

    def fault(self, logged: Iterable[Entry]) -> str:
        """Read the whole file and return what is wrong with its structure, or nothing.

        Args:
            logged: What is known to have been in the log; contents do not matter. SQLite takes a
                damaged log for one that ends there.

        Raises:
            sqlite3.Error: It is damaged so much that it cannot be checked, or cannot be read.
        """
        (found,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != b"ok":
            # SQLite puts the name of the database between stars, and before what it found.
            return " ".join(found.decode(errors="replace").rpartition("***")[2].split())
        if not all(map(self._holds, logged)):
            return "its log is damaged"
        if self.is_new():
            return ""
        # A column that lost its type still answers, but finds nothing.
        if self._tables() != _TABLES:
            return "its tables are damaged"
        return "" if self.note(Kind.POSITION) is not None else "its position is damaged"

    def shrink_if_empty(self) -> None:
        """Give the pages of a file that keeps nothing back to the disk.

        Raises:
            sqlite3.Error: It cannot be written.
        """
        position = self.note(Kind.POSITION)
        if position is None or position.first < position.stop:
            return
        self._connection.execute("DELETE FROM records")
        (free_pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        if free_pages:
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            # A file that was larger than the limit has kept its size as the limit until now.
            self._connection.execute(f"PRAGMA max_page_count = {self._limits.file // PAGE_BYTES}")

    def close(self) -> None:
        """Close the file; the log is put into it and removed, if the disk allows."""
        self._connection.close()

    def _tables(self) -> tuple[str, ...]:
        rows = self._connection.execute("SELECT sql FROM sqlite_master ORDER BY rowid")
        return tuple(sql.decode(errors="replace") for (sql,) in rows)

    def _prepare(self, *pragmas: str) -> None:
        """Set the connection up and read the file's tables, or close it."""
        try:
            for pragma in pragmas:
                self._connection.execute(f"PRAGMA {pragma}").fetchall()
            self._tables()
        except sqlite3.Error:
            self.close()
            raise
        except UnicodeDecodeError as error:
            # SQLite's own message quotes a name of a table that has a wrong bit.
            self.close()
            damaged = sqlite3.DatabaseError("its tables are damaged")
            damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
            raise damaged from error

    def _insert(self, record: Entry) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
            (record.first, seal(record), record.content),
        )

    def _note(self, entry: Entry) -> None:
        header = seal(entry)
        for copy in range(_COPIES):
            self._connection.execute(
                "INSERT OR REPLACE INTO notes VALUES (?, ?, ?)",
                (entry.kind * _COPIES + copy, header, entry.content),
            )

    def _trim(self, change: Change) -> bool:
        """Delete what is not needed, as far as one transaction may, and return whether that is all.

        The pages of small records are written once more before they are free: so the log grows.
        """
        execute = self._connection.execute
        if change.first >= change.old_stop:
            # SQLite does this at once, without writing the pages that become free.
            execute("DELETE FROM records")
            return True
        # What a failed transaction left, if its pages reached the disk all the same.
        execute("DELETE FROM records WHERE first >= ?", (change.old_stop,))
        trimmed_bytes = 0
        rows = execute(
            "SELECT first, length(content) FROM records WHERE first <"
            " (SELECT MAX(first) FROM records WHERE first <= ?) ORDER BY first",
            (change.first,),
        )
        last = -1
        for first, content_bytes in rows:
            last = first
            # The other pages of a large record become free without being written.
            trimmed_bytes += min(content_bytes + ROW_BYTES, PAGE_BYTES)
            if trimmed_bytes >= self._limits.checkpoint:
                break
        rows.close()
        execute("DELETE FROM records WHERE first <= ?", (last,))
        return trimmed_bytes < self._limits.checkpoint

    def _make_room_in_log(self, change: Change) -> None:
        """Empty the log if ``change`` might make it too large; as a rule it is emptied before."""
        added_bytes = sum(len(each.content) + ROW_BYTES for each in change.records)
        lists = self._limits.file // PAGE_BYTES // _PAGES_PER_LIST_OF_FREE
        pages = (self._limits.checkpoint + added_bytes) // (PAGE_BYTES - 4)
        needed = (pages + _OTHER_PAGES + lists) * (PAGE_BYTES + 24)
        if self._log_bytes() + needed > self._limits.log:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _log_bytes(self) -> int:
        try:
            return self._log_path.stat().st_size
        except FileNotFoundError:
            return 0

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        finally:
            # After some errors SQLite has rolled back by itself.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether the bytes of the file are to blame, and not the disk or another program."""
    return primary_code(error) in _DAMAGE or error.sqlite_errorcode in _DAMAGE_IN_DETAIL


def primary_code(error: sqlite3.Error) -> int:
    """Return the kind of an error of SQLite, without its details."""
    return error.sqlite_errorcode & 0xFF


def _unseal(header: Any, content: Any) -> Entry | None:
    # Where a bit of its type is flipped, a column can be anything.
    is_sound = isinstance(header, bytes) and isinstance(content, bytes)
    return unseal(header, content) if is_sound else None

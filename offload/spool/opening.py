"""Open a spool's file; if it is damaged, save what can be read, and set the damaged file aside.

At any moment of this the power may fail: the new file is written under another name, renamed when
it is whole, and then takes the old one's place, at the next opening if not now.

    opened = open_sound(path, limits, origin=origin)
    spool_file, what_was_wrong = opened.file, opened.note
    position = peek(path).get(Kind.POSITION)
"""

import errno
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from offload.errors import SpoolError
from offload.spool.entries import (
    PAGE_BYTES,
    Entry,
    Kind,
    Unreadable,
    durable_log_entries,
    find_entries,
    find_in_log,
    log_path,
)
from offload.spool.file import SpoolFile, is_damage
from offload.spool.limits import FileLimits

# Whoever wants to know what happened to the disk looks at one or two. They lie beside the limit.
MAX_DAMAGED_FILES: Final = 3

# As large as SQLite's files can be, nearly.
_NO_LIMITS: Final = FileLimits.within(2**30 * PAGE_BYTES)

_NOTES: Final = frozenset((Kind.POSITION, Kind.ORIGIN))


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A file whose structure is sound, and what was done to make it so, or nothing."""

    file: SpoolFile
    note: str = ""


class _DamagedError(Exception):
    """The file is damaged.

    Args:
        fault: What was found.
        file: The connection, if there is one. Closing it may change what is found in the bytes.
    """

    def __init__(self, fault: str, file: SpoolFile | None) -> None:
        super().__init__(fault)
        self.file = file


def open_sound(path: Path, limits: FileLimits, *, origin: Entry, unreadable: Unreadable) -> Opened:
    """Open the file for writing, made new if there is none, mended if it is damaged.

    Args:
        path: The file, in a folder that exists.
        limits: How large it may grow.
        origin: Says whose the file is, if it is new, or does not tell any more.
        unreadable: What to do about pages of a damaged file that cannot be read.

    Raises:
        OSError: It cannot be made, or read.
        SpoolError: It is damaged and cannot be mended now.
        sqlite3.Error: It cannot be opened; BUSY: another program has it.
    """
    _finish(path)
    with suppress(OSError):
        _remove_partial(path)
    # SQLite would let everybody read it, and would not say what is wrong with the place.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    try:
        return Opened(file=_open_checked(path, limits, origin))
    except _DamagedError as damaged:
        note = mend(
            path, origin=origin, file=damaged.file, fault=str(damaged), unreadable=unreadable
        )
    try:
        return Opened(file=_open_checked(path, limits, origin), note=note)
    except _DamagedError as damaged:
        raise SpoolError(f"spool {str(path)!r} is damaged again: {damaged}") from damaged


def mend(
    path: Path, *, origin: Entry, file: SpoolFile | None, fault: str, unreadable: Unreadable
) -> str:
    """Put a new file with all that can be read in the place of a damaged one, and say so.

    Args:
        path: The damaged file.
        origin: Says whose it is, if the damaged file does not tell.
        file: The connection to the damaged file, if there is one; it is closed.
        fault: What is wrong with it.
        unreadable: What to do about pages of it that cannot be read.

    Raises:
        SpoolError: No new file can be written, or pages cannot be read that are not to be left
            out. The damaged file stays where it is.
    """
    try:
        _salvage(path, origin, unreadable)
    except (OSError, sqlite3.Error) as error:
        raise SpoolError(
            f"spool {str(path)!r} is damaged ({fault}) and cannot be mended: {error}"
        ) from error
    finally:
        if file is not None:
            file.close()
    aside = _finish(path)
    return (
        f"spool {str(path)!r} was damaged ({fault}): what can be read is kept,"
        f" the damaged file is set aside as {aside}"
    )


def exists(path: Path) -> bool:
    """Return whether there is a file, or a mended one that did not come to its place yet."""
    return path.exists() or _salvaged(path).exists()


def peek(path: Path) -> dict[Kind, Entry]:
    """Return the newest notes of a spool that is not opened for it, as far as they can be read.

    This changes nothing, and is quick: it looks into the log, but not through the file.
    """
    notes: dict[Kind, Entry] = {}
    # It may be damaged, or nothing has come from the log into the file yet.
    with suppress(sqlite3.Error), closing(SpoolFile.without_log(path, _NO_LIMITS)) as file:
        for kind in _NOTES:
            _keep_newest(notes, file.note(kind))
    with suppress(OSError):
        for entry in find_in_log(path, _NOTES):
            _keep_newest(notes, entry)
    return notes


def _open_checked(path: Path, limits: FileLimits, origin: Entry) -> SpoolFile:
    """Open the file, and raise `_DamagedError` unless all of it is as SQLite left it."""
    logged = durable_log_entries(path)
    file: SpoolFile | None = None
    try:
        file = SpoolFile.for_writing(path, limits)
        fault = file.fault(logged)
        if not fault and file.is_new():
            file.begin(origin)
        elif not fault:
            file.shrink_if_empty()
    except sqlite3.Error as error:
        if is_damage(error):
            raise _DamagedError(str(error), file) from error
        if file is not None:
            file.close()
        raise
    if fault:
        raise _DamagedError(fault, file)
    return file


def remove(path: Path) -> None:
    """Remove a spool that is closed, and what an earlier mending may have left of it.

    Raises:
        OSError: The disk does not let go of it.
    """
    for each in (path, log_path(path), _salvaged(path)):
        each.unlink(missing_ok=True)
    _remove_partial(path)


def _salvage(path: Path, origin: Entry, unreadable: Unreadable) -> None:
    """Write all that can be read of the spool at ``path`` to a new file, and leave the old one."""
    _remove_partial(path)
    try:
        _write_partial(path, origin, unreadable)
        _partial(path).replace(_salvaged(path))
    except (OSError, sqlite3.Error):
        # It would lie beside the limit. A disk that does not let go of it is asked again later.
        with suppress(OSError):
            _remove_partial(path)
        raise
    _sync(path.parent)


def _write_partial(path: Path, origin: Entry, unreadable: Unreadable) -> None:
    partial = _partial(path)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    # More may be found than was kept, if it cannot be told what was deleted.
    with closing(SpoolFile.for_writing(partial, _NO_LIMITS)) as file:
        file.begin(origin)
        _copy(path, file, unreadable)


def _remove_partial(path: Path) -> None:
    partial = _partial(path)
    for each in (partial, log_path(partial)):
        each.unlink(missing_ok=True)


def _finish(path: Path) -> Path | None:
    """Put a salvaged file in the damaged one's place, and return where that is now; else None."""
    salvaged = _salvaged(path)
    if not salvaged.exists():
        return None
    aside = set_aside(path)
    salvaged.replace(path)
    _sync(path.parent)
    return aside


def set_aside(path: Path) -> Path:
    """Rename the file and its log, and return the new name: NAME.damaged, NAME.damaged-2 and so on.

    Past `MAX_DAMAGED_FILES` the last one is replaced.

    Raises:
        OSError: They cannot be renamed.
    """
    numbers = range(1, MAX_DAMAGED_FILES + 1)
    names = [f"{path.name}.damaged" + (f"-{number}" if number > 1 else "") for number in numbers]
    aside = next(
        (each for name in names if not (each := path.with_name(name)).exists()),
        path.with_name(names[-1]),
    )
    log_path(aside).unlink(missing_ok=True)
    # The log goes first: without it the file is older, but with a foreign one it would be wrong.
    for old, new in ((log_path(path), log_path(aside)), (path, aside)):
        if old.exists():
            old.replace(new)
    _sync(path.parent)
    return aside


def _copy(path: Path, file: SpoolFile, unreadable: Unreadable) -> None:
    notes: dict[Kind, Entry] = {}
    for entry in find_entries(path, _NOTES, unreadable):
        _keep_newest(notes, entry)
    position = notes.pop(Kind.POSITION, None)
    first = 0 if position is None else position.first
    # What was deleted may still be found, too; it is not needed.
    found = find_entries(path, {Kind.RECORD}, unreadable)
    span = _Span()
    file.copy(span.covering(each for each in found if each.stop > first))
    if position is None:
        position = Entry(kind=Kind.POSITION, first=span.first, stop=span.stop)
    file.copy([*notes.values(), replace(position, stop=max(position.stop, span.stop))])


def _keep_newest(notes: dict[Kind, Entry], entry: Entry | None) -> None:
    if entry is None:
        return
    newest = notes.get(entry.kind, entry)
    # Those found later were written later, except where the file is newer than its log.
    if (entry.stop, entry.first) >= (newest.stop, newest.first):
        notes[entry.kind] = entry


class _Span:
    """From the first frame to past the last one of the records that have passed through."""

    def __init__(self) -> None:
        self.first = self.stop = 0

    def covering(self, records: Iterable[Entry]) -> Iterator[Entry]:
        for each in records:
            self.first = min(self.first, each.first) if self.stop else each.first
            self.stop = max(self.stop, each.stop)
            yield each


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.name}.partial")


def _salvaged(path: Path) -> Path:
    return path.with_name(f"{path.name}.salvaged")


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)

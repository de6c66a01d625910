"""Reach a spool's file for as long as the program runs, whatever becomes of the disk below it.

A file that cannot be opened or written is opened again, after a while; on a read-only disk it is
read as it is; a damaged one is mended. What keeps the user from any spool at all is told at once.

    access = SpoolAccess(path, limits, origin=origin, clock=time.monotonic)
    access.position               # of what an earlier run has left
    try:
        access.writable().write(change)
    except sqlite3.Error as error:
        access.recover(error)     # raises SpoolError, unless it is worth another try at once
"""

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError, HandshakeError, SpoolError
from offload.spool.entries import Entry, Kind, Unreadable, durable_log_entries
from offload.spool.file import SpoolFile, is_damage, primary_code
from offload.spool.limits import FileLimits
from offload.spool.opening import exists, mend, open_sound, peek, remove, set_aside

# How often a file that cannot be written is tried again: opening one reads all of it.
RETRY_S: Final = 1.0

# A disk that fails for a while may give later what it does not give now. But the stream waits for
# that, so it does not do so for ever: what is on a bad sector is then given up.
UNREADABLE_S: Final = 60.0

# What is wrong with the disk, not with what the user named; any other error is the user's to mend.
_DISK_ERRORS: Final = frozenset(
    (errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENXIO, errno.ENODEV, errno.ESTALE)
)


class SpoolAccess:
    """The file of a spool; see the module.

    Args:
        path: The file; its folder is made if missing, only for this user.
        limits: How large it may grow.
        origin: Whose the file must be.
        clock: Monotonic seconds.

    Attributes:
        position: What an earlier run has left: from its first frame to past its last one.
        can_write: Whether the file is open, and could be written so far.
        note: What was found wrong last, or nothing.

    Raises:
        ConfigurationError: The place cannot be used, or another program uses the file.
        HandshakeError: It keeps frames of another origin.
    """

    def __init__(
        self, path: Path, limits: FileLimits, *, origin: Entry, clock: Callable[[], float]
    ) -> None:
        """Open the file, or make it; a disk that cannot be written only leaves a ``note``."""
        self._path = path
        self._name = f"spool {str(path)!r}"
        self._limits = limits
        self._origin = origin
        self._clock = clock
        self._file: SpoolFile | None = None
        self.can_write = False
        self._retry_at_s = clock()
        # At the start nothing is waited for: without a position the stream could not begin.
        self._give_up_at_s = clock()
        # If the file cannot be opened now, the stream goes on without what it keeps: where to then.
        self._expected_stop: int | None = None
        self._was_open = False
        self._reason = self.note = ""
        try:
            self._open()
        except SpoolError as error:
            self.note = str(error)
            self._put_off(self.note)
            self._open_to_read()
        notes = peek(path) if self._file is None else self._file.notes()
        if self._is_foreign(notes):
            self._begin_anew()
            notes = {}
        self.position = notes.get(Kind.POSITION, Entry(kind=Kind.POSITION))
        if self._file is None:
            self._expected_stop = self.position.stop

    def writable(self) -> SpoolFile:
        """Return the file, opened again if that is due.

        Raises:
            SpoolError: It cannot be written.
        """
        if self._file is not None and self.can_write:
            return self._file
        if self._clock() < self._retry_at_s:
            raise SpoolError(self._reason)
        self.close()
        try:
            self._open()
        except (SpoolError, ConfigurationError) as error:
            self._put_off(str(error))
            self._open_to_read()
            raise SpoolError(self._reason) from error
        assert self._file is not None, "it was opened"
        return self._file

    def readable(self) -> SpoolFile:
        """Return the file; on a read-only disk as it is there.

        Raises:
            SpoolError: It cannot be read.
        """
        if self._file is None:
            with suppress(SpoolError):
                self.writable()
        if self._file is None:
            raise SpoolError(self._reason)
        return self._file

    def recover(self, error: sqlite3.Error) -> None:
        """Mend the file if ``error`` says that it is damaged: then it may be tried again at once.

        Raises:
            SpoolError: It is something else, or cannot be mended now.
        """
        if self.can_write:
            self._give_up_at_s = self._clock() + UNREADABLE_S
        if primary_code(error) == sqlite3.SQLITE_FULL:
            # The connection is as good as before; at the next try the disk may have room again.
            raise SpoolError(f"{self._name} cannot be written: no space left on the disk")
        if not is_damage(error):
            self.can_write = False
            self._put_off(f"{self._name} cannot be used: {error}")
            raise SpoolError(self._reason)
        if not self.can_write:
            # Opening it mends it.
            self.writable()
            return
        damaged, self._file, self.can_write = self._file, None, False
        self._put_off(f"{self._name} is damaged: {error}")
        with self._translating():
            self.note = mend(
                self._path,
                origin=self._origin,
                file=damaged,
                fault=str(error),
                unreadable=self._unreadable,
            )
        self._retry_at_s = self._clock()

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self.can_write = None, False

    def remove(self) -> None:
        """Remove the file, once it is closed; if the disk does not let go of it, it stays."""
        with suppress(OSError):
            remove(self._path)

    @property
    def _unreadable(self) -> Unreadable:
        is_over = self._clock() >= self._give_up_at_s
        return Unreadable.LEAVE_OUT if is_over else Unreadable.RAISE

    def _open(self) -> None:
        with self._translating():
            if self._was_open and not exists(self._path):
                # On a disk that was taken out. A new file in its place would say that all is lost.
                raise SpoolError(f"{self._name} is gone: bring its disk back, or start again")
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._opened()
            if self._expected_stop is not None and not self._goes_on_from(file):
                # Frames in it may have numbers that the stream has given to others since.
                file.close()
                aside = set_aside(self._path)
                self.note = f"{self._name} could not be opened in time; it is set aside as {aside}"
                file = self._opened()
        self._file, self.can_write, self._expected_stop = file, True, None
        self._was_open = True

    def _opened(self) -> SpoolFile:
        opened = open_sound(
            self._path, self._limits, origin=self._origin, unreadable=self._unreadable
        )
        self.note = opened.note or self.note
        return opened.file

    def _open_to_read(self) -> None:
        """Open the file if its disk is read-only and it is sound; nothing can be mended there."""
        try:
            if not os.statvfs(self._path.parent).f_flag & os.ST_RDONLY:
                return
            logged = durable_log_entries(self._path)
            self._file = SpoolFile.for_reading(self._path, self._limits)
            fault = self._file.fault(logged)
        except (OSError, sqlite3.Error) as error:
            fault = str(error)
        if fault:
            self.note = f"{self._reason}; it cannot be read, either: {fault}"
            self.close()

    def _goes_on_from(self, file: SpoolFile) -> bool:
        notes = file.notes()
        position = notes.get(Kind.POSITION, Entry(kind=Kind.POSITION))
        origin = notes.get(Kind.ORIGIN, self._origin)
        return position.stop == self._expected_stop and origin.content == self._origin.content

    def _is_foreign(self, notes: Mapping[Kind, Entry]) -> bool:
        """Return whether the file is of another origin; if that keeps frames, refuse it."""
        origin, position = notes.get(Kind.ORIGIN), notes.get(Kind.POSITION)
        if origin is None or origin.content == self._origin.content:
            return False
        if position is not None and position.first < position.stop:
            self.close()
            raise HandshakeError(
                f"{self._name} keeps {position.stop - position.first} frames of another pipeline"
                f" ({_shown(origin)}, expected {_shown(self._origin)}): run the version that made"
                " them, or remove the file"
            )
        return True

    def _begin_anew(self) -> None:
        """Empty a file of another origin, which keeps nothing; if that fails, it waits."""
        if self._file is None or not self.can_write:
            self.close()
            return
        try:
            self._file.begin(self._origin)
        except sqlite3.Error as error:
            self.note = f"{self._name} cannot be used: {error}"
            self._put_off(self.note)
            self.close()

    def _put_off(self, reason: str) -> None:
        """Note why the file cannot be used; it is tried again only after a while."""
        self._reason = reason
        self._retry_at_s = self._clock() + RETRY_S

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except (FileExistsError, NotADirectoryError) as error:
            folder = str(self._path.parent)
            raise ConfigurationError(
                f"spool folder {folder!r} cannot be made: a file is in its place; name a folder"
            ) from error
        except OSError as error:
            kind = SpoolError if error.errno in _DISK_ERRORS else ConfigurationError
            raise kind(f"{self._name} cannot be used: {error.strerror}") from error
        except sqlite3.Error as error:
            if primary_code(error) == sqlite3.SQLITE_BUSY:
                raise ConfigurationError(f"{self._name} is in use by another program") from error
            raise SpoolError(f"{self._name} cannot be opened: {error}") from error


def _shown(origin: Entry) -> str:
    return repr(origin.content.decode(errors="replace").split("\n")[-1])

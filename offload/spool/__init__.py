"""The device's durable queue: messages that the cloud has not acknowledged, in an SQLite file.

What `append` returned for survives a crash and a power cut, and takes a bounded part of the disk. A
disk that is full, cannot be written or is damaged makes calls raise `SpoolError`; each later call
tries again. Nothing here starts threads or logs, and one thread at a time may use a spool.

    spool = Spool(Path("spool"), stream="s", pipeline="ball 1f0c", limit_bytes=256 << 20)
    spool.append([Record(first=spool.stop, stop=spool.stop + 1, content=message)])
    for record in spool.read(spool.first, max_bytes=1 << 20): ...
    spool.release(acknowledged)

``folder`` knows whose files lie where; ``file`` is one of them, within ``limits``; ``entries`` are
the bytes in it; ``opening`` saves what it can of a damaged one, and ``access`` tries again where
the disk fails.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from offload.errors import ConfigurationError, LocalProtocolError, SpoolError, SpoolFull
from offload.spool.access import SpoolAccess
from offload.spool.entries import Entry, Kind
from offload.spool.file import ROW_BYTES, Change, NoRoomError
from offload.spool.folder import Left, left_behind, origin_of, spool_path
from offload.spool.limits import MIN_LIMIT_BYTES, FileLimits

__all__ = ["Left", "Record", "Spool", "left_behind", "spool_path"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One message on disk: the frames from ``first`` to before ``stop``.

    ``content`` is the message; None when read: it is lost, since its bytes are damaged.
    """

    first: int
    stop: int
    content: bytes | None


class Spool:
    """The spool of one stream, in a file of its own.

    Args:
        folder: Where the file is; made if missing, only for this user.
        stream: Name of the stream.
        pipeline: Names the app and its tasks. Frames of another pipeline are not read.
        limit_bytes: What the file and its log may take on disk together. A damaged file that was
            set aside comes on top.
        is_named: Whether anybody knows the stream's name. If not, nobody will ask for its position:
            the file goes when the spool is closed and keeps nothing.
        clock: Monotonic seconds.

    Attributes:
        first: The first frame that is still needed.
        stop: One past the last frame. If it equals ``first``, the spool is empty. Both are 0 in a
            new spool, and outlive the program even where nothing is kept.

    Raises:
        ConfigurationError: The folder or file cannot be used, another program uses it, or the limit
            is under `MIN_LIMIT_BYTES`.
        HandshakeError: The file keeps frames of another pipeline.
    """

    def __init__(
        self,
        folder: Path,
        *,
        stream: str,
        pipeline: str,
        limit_bytes: int,
        is_named: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open the file, or make it; a disk that cannot be written only leaves a ``note``."""
        if limit_bytes < MIN_LIMIT_BYTES:
            raise ConfigurationError(
                f"spool limit is {limit_bytes} bytes, expected at least {MIN_LIMIT_BYTES}"
            )
        self._name = f"spool {str(spool_path(folder, stream))!r}"
        self._is_named = is_named
        self._limits = FileLimits.within(limit_bytes)
        self._access = SpoolAccess(
            spool_path(folder, stream),
            self._limits,
            origin=origin_of(stream, pipeline),
            clock=clock,
        )
        self.first, self.stop = self._access.position.first, self._access.position.stop
        # What the file knows of: where it begins, and whether all before is deleted.
        self._stored_first = self.first
        self._is_trimmed = False

    def append(self, records: Sequence[Record]) -> None:
        """Store ``records``; they are on disk when this returns.

        They are stored in transactions of 1 MiB at most, less with a small limit, or of one larger
        record. If one fails, those before stay stored: ``stop`` says so.

        Args:
            records: They follow each other without a gap, and begin at ``stop``; if nothing is
                kept, they may also begin after it.

        Raises:
            SpoolFull: There is no room for a record, or it is too large for this spool.
            SpoolError: The disk cannot be written.
            LocalProtocolError: The records do not follow what is kept.
        """
        self._check_order(records)
        for group in self._groups(records):
            self._store(group)

    def read(self, first: int, *, max_bytes: int, max_records: int | None = None) -> list[Record]:
        """Return records in order, from the one that holds frame ``first``.

        They follow each other without a gap: what is lost is a record without content.

        Args:
            first: Where to begin, ``spool.first <= first``. From ``spool.stop`` on there is
                nothing.
            max_bytes: At most so many bytes of contents, unless the first record has more.
            max_records: At most so many records.

        Raises:
            SpoolError: The disk cannot be read now; nothing is lost by that.
            LocalProtocolError: The frame is released.
        """
        if first < self.first:
            raise LocalProtocolError(f"frame {first} is released, expected {self.first} or later")
        if first >= self.stop:
            return []
        most = self.frames if max_records is None else max_records
        return self._recovering(lambda: self._read(first, max_bytes, most))

    def release(self, before: int) -> None:
        """Note that frames before ``before`` are not needed; it goes to disk with the next change.

        A record that holds later frames, too, stays.
        """
        self.first = max(self.first, min(before, self.stop))

    def flush(self) -> None:
        """Put on disk what was released, and delete it.

        Raises:
            SpoolError: The disk cannot be written.
        """
        while self.first > self._stored_first or not self._is_trimmed:
            self._write(Change(old_stop=self.stop, first=self.first, stop=self.stop))

    def close(self) -> None:
        """Close the file. What was released goes to disk if it can; else it is only sent again."""
        if self._access.can_write:
            with suppress(SpoolError):
                self.flush()
        self._access.close()
        if not self._is_named and not self.frames:
            self._access.remove()

    @property
    def record_bytes(self) -> int:
        """How large one record may be."""
        return self._limits.record

    @property
    def capacity_bytes(self) -> int:
        """What `used_bytes` may be."""
        return self._limits.file

    def used_bytes(self) -> int:
        """Return what is kept, in bytes of the file.

        Raises:
            SpoolError: The disk does not say.
        """
        if not self.frames:
            return 0
        return self._recovering(lambda: self._access.readable().used_bytes())

    @property
    def frames(self) -> int:
        """How many frames are kept."""
        return self.stop - self.first

    @property
    def can_write(self) -> bool:
        """Whether the file could be opened, and be written so far."""
        return self._access.can_write

    @property
    def note(self) -> str:
        """What was found wrong with the file last, or nothing: the user should be told."""
        return self._access.note

    def _check_order(self, records: Sequence[Record]) -> None:
        at = self.stop
        if records and not self.frames:
            at = max(at, records[0].first)
        for each in records:
            if each.first != at or each.stop <= at or each.content is None:
                raise LocalProtocolError(
                    f"record is of frames {each.first} to {each.stop}, expected one from {at} on"
                )
            at = each.stop

    def _groups(self, records: Sequence[Record]) -> Iterator[list[Entry]]:
        group: list[Entry] = []
        group_bytes = 0
        for each in records:
            content = each.content or b""
            group_bytes += len(content) + ROW_BYTES
            if group and group_bytes > self._limits.group:
                yield group
                group, group_bytes = [], len(content) + ROW_BYTES
            group.append(Entry(kind=Kind.RECORD, first=each.first, stop=each.stop, content=content))
        if group:
            yield group

    def _store(self, group: list[Entry]) -> None:
        """Store ``group`` in one transaction, or as much of it as there is room for, and raise."""
        # One that is larger than a group is alone in its group.
        if len(group[0].content) > self._limits.record:
            raise SpoolFull(
                f"record is {len(group[0].content)} bytes, expected at most {self._limits.record}"
                " with this spool limit"
            )
        full: NoRoomError | None = None
        while group:
            first, stop = self.first if self.frames else group[0].first, group[-1].stop
            try:
                self._write(Change(old_stop=self.stop, first=first, stop=stop, records=group))
            except NoRoomError as error:
                if error.could_trim:
                    self.flush()
                else:
                    full, group = error, group[: error.fitting]
                continue
            self.first, self.stop = first, stop
            break
        if full is not None:
            raise SpoolFull(f"{self._name} is full: it keeps {self.frames} frames") from full

    def _write(self, change: Change) -> None:
        self._is_trimmed = self._recovering(lambda: self._access.writable().write(change))
        self._stored_first = change.first

    def _read(self, first: int, max_bytes: int, max_records: int) -> list[Record]:
        records: list[Record] = []
        at, read_bytes = first, 0
        for entry in self._access.readable().entries_from(first):
            # A damaged one shows as a gap before the next; one that ends here was replaced.
            if entry is None or entry.stop <= at or entry.first >= self.stop:
                continue
            if entry.first > at:
                records.append(Record(first=at, stop=entry.first, content=None))
                at = entry.first
            read_bytes += len(entry.content)
            if len(records) >= max_records or (records and read_bytes > max_bytes):
                return records
            records.append(Record(first=entry.first, stop=entry.stop, content=entry.content))
            at = entry.stop
        if at < self.stop and len(records) < max_records:
            records.append(Record(first=at, stop=self.stop, content=None))
        return records

    def _recovering(self, use: Callable[[], T]) -> T:
        """Return what ``use`` gives, if need be after the file is mended."""
        try:
            return use()
        except sqlite3.Error as error:
            self._access.recover(error)
        try:
            return use()
        except sqlite3.Error as error:
            raise SpoolError(f"{self._name} cannot be used: {error}") from error

"""What a spool writes: entries that can be told from anything else, wherever in the file they lie.

SQLite finds a row by way of many others: a single flipped bit can hide a whole page of them, or
all. So each entry of a spool carries a mark, its place in the stream and a checksum, and never
changes once written. Whatever becomes of the file's structure, `find_entries` looks for the marks
in its bytes, and takes what has the right checksum.

    header = seal(Entry(kind=Kind.RECORD, first=7, stop=8, content=message))
    entry = unseal(header, message)  # None if a bit is wrong
    for entry in find_entries(path, {Kind.RECORD}): ...

What SQLite's pages and its log look like is documented and will not change:
https://www.sqlite.org/fileformat2.html
"""

import os
import struct
from binascii import crc32
from collections.abc import Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import Enum, IntEnum, auto
from pathlib import Path
from typing import Final

# SQLite's own default, and the block size of most disks and memory cards.
PAGE_BYTES: Final = 4096

# The mark, kind, first, stop, bytes of content; then a checksum of these and the content.
_HEAD: Final = struct.Struct(">7sBQQI")
_CHECKSUM_BYTES: Final = 4
HEADER_BYTES: Final = _HEAD.size + _CHECKSUM_BYTES

# Seven bytes that stand in a message only by chance; the last one is the version of the layout.
_MARK: Final = b"\xf5SPOOL1"

# What SQLite's log has before its first page, and before each one.
_LOG_HEADER_BYTES: Final = 32
_FRAME_HEADER_BYTES: Final = 24
_FRAME_BYTES: Final = _FRAME_HEADER_BYTES + PAGE_BYTES


class Kind(IntEnum):
    """What an entry is; the numbers are part of the layout."""

    RECORD = 0
    POSITION = 1
    ORIGIN = 2


class Unreadable(Enum):
    """What to do about pages that the disk does not give now, though it may later."""

    RAISE = auto()
    LEAVE_OUT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry: the frames from ``first`` to before ``stop``, and what is kept of them."""

    kind: Kind
    first: int = 0
    stop: int = 0
    content: bytes = b""


def seal(entry: Entry) -> bytes:
    """Return the header that goes before the content of ``entry``.

    Its checksum is a CRC of 32 bits. It is there for flipped bits and torn writes. Whoever could
    forge a spool owns the device, so nothing stronger is needed.
    """
    head = _HEAD.pack(_MARK, entry.kind, entry.first, entry.stop, len(entry.content))
    return head + crc32(entry.content, crc32(head)).to_bytes(_CHECKSUM_BYTES)


def unseal(header: bytes, content: bytes) -> Entry | None:
    """Return the entry, or None if ``header`` and ``content`` are not both as they were sealed."""
    if len(header) != HEADER_BYTES:
        return None
    mark, kind, first, stop, size = _HEAD.unpack_from(header)
    checksum = crc32(content, crc32(header[: _HEAD.size])).to_bytes(_CHECKSUM_BYTES)
    if mark != _MARK or size != len(content) or checksum != header[_HEAD.size :]:
        return None
    return Entry(kind=Kind(kind), first=first, stop=stop, content=content)


def find_entries(
    path: Path, kinds: Collection[Kind], unreadable: Unreadable = Unreadable.LEAVE_OUT
) -> Iterator[Entry]:
    """Yield the whole entries in a spool's file and then in its log, later transactions later.

    Many are found more than once, and some that were deleted are found, too.

    Raises:
        OSError: The file cannot be opened, or a page cannot be read and is not to be left out.
    """
    with closing(_RawPages(path, unreadable)) as pages:
        for number in range(1, pages.file_pages + 1):
            yield from _entries_on(number, pages, kinds)
    yield from find_in_log(path, kinds, unreadable)


def find_in_log(
    path: Path, kinds: Collection[Kind], unreadable: Unreadable = Unreadable.LEAVE_OUT
) -> Iterator[Entry]:
    """Yield the whole entries in a spool's log, as `find_entries` does.

    Raises:
        OSError: As for `find_entries`.
    """
    with closing(_RawPages(path, unreadable)) as pages:
        for numbers in pages.replay_log():
            for number in numbers:
                yield from _entries_on(number, pages, kinds)


def durable_log_entries(path: Path) -> list[Entry]:
    """Return what the log's transactions brought, but for the last one's; contents are left out.

    A transaction begins when the one before is on disk. So of all but the last one nothing may be
    missing, while the last one may have been cut off before anybody was told of it. Each writes a
    position, by which they are told apart: where pages were garbled, the log's own marks mislead.

    Raises:
        OSError: The file cannot be opened.
    """
    entries: list[Entry] = []
    newest: list[Entry] = []
    position = (0, 0)
    with closing(_RawPages(path, Unreadable.LEAVE_OUT)) as pages:
        for numbers in pages.replay_log():
            found = [
                replace(entry, content=b"")
                for number in numbers
                for entry in _entries_on(number, pages, tuple(Kind))
            ]
            reached = [(each.stop, each.first) for each in found if each.kind is Kind.POSITION]
            if max(reached, default=position) > position:
                position = max(reached)
                entries += newest
                newest = []
            newest += found
    return list(dict.fromkeys(entries))


class _RawPages:
    """The pages of a spool's file, and those that its log has put in their place so far.

    They are read by position and never mapped: a bad sector under a mapping kills the program.
    """

    def __init__(self, path: Path, unreadable: Unreadable) -> None:
        self._unreadable = unreadable
        self._log = _read_log(path, unreadable)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        file_bytes = os.fstat(self._file).st_size
        self._replayed: dict[int, bytes] = {}
        self.file_pages = -(-file_bytes // PAGE_BYTES)
        self.total_bytes = file_bytes + len(self._log)

    def close(self) -> None:
        os.close(self._file)

    def page(self, number: int) -> bytes:
        """Return a page, or less than one if it is left out or there is none."""
        if number in self._replayed:
            return self._replayed[number]
        if number == 0:
            return b""
        try:
            return os.pread(self._file, PAGE_BYTES, (number - 1) * PAGE_BYTES)
        except OSError:
            if self._unreadable is Unreadable.RAISE:
                raise
            return b""

    def replay_log(self) -> Iterator[list[int]]:
        """Put the log's pages in place, and yield which ones, a transaction at a time."""
        log = self._log
        starts = range(_LOG_HEADER_BYTES, len(log) - _FRAME_BYTES + 1, _FRAME_BYTES)
        numbers: list[int] = []
        salt = log[16:24]
        for start in starts:
            # SQLite begins its log anew at the front; pages with another salt are from before.
            if not _is_near(log[start + 8 : start + 16], salt):
                continue
            number = int.from_bytes(log[start : start + 4])
            image = log[start + _FRAME_HEADER_BYTES : start + _FRAME_BYTES]
            self._replayed[number] = image
            numbers.append(number)
            is_last = log[start + 4 : start + 8] != bytes(4)
            if is_last:
                yield numbers
                numbers = []
        if numbers:
            yield numbers


def _read_log(path: Path, unreadable: Unreadable) -> bytes:
    try:
        return log_path(path).read_bytes()
    except FileNotFoundError:
        # There is one only while the file is in use, and after the program was killed.
        return b""
    except OSError:
        if unreadable is Unreadable.RAISE:
            raise
        return b""


def log_path(path: Path) -> Path:
    """Return where SQLite keeps the log of the file ``path``."""
    return path.with_name(f"{path.name}-wal")


def _is_near(salt: bytes, other: bytes) -> bool:
    # A bit of either may have flipped. Those of two logs differ in many: half of them are random.
    return (int.from_bytes(salt) ^ int.from_bytes(other)).bit_count() <= 1


def _entries_on(number: int, pages: _RawPages, kinds: Collection[Kind]) -> Iterator[Entry]:
    image = pages.page(number)
    offset = image.find(_MARK)
    while offset >= 0:
        entry = _entry_at(image, offset, pages, kinds)
        if entry is not None:
            yield entry
        offset = image.find(_MARK, offset + 1)


def _entry_at(image: bytes, offset: int, pages: _RawPages, kinds: Collection[Kind]) -> Entry | None:
    header = image[offset : offset + HEADER_BYTES]
    if len(header) < HEADER_BYTES:
        return None
    _, kind, _, _, size = _HEAD.unpack_from(header)
    if kind not in kinds or size > pages.total_bytes:
        return None
    start, here = offset + HEADER_BYTES, _bytes_beside_header(size)
    parts = [image[start : start + here]]
    pointer = image[start + here : start + here + 4]
    missing = size - here
    while missing > 0:
        following = pages.page(int.from_bytes(pointer))
        if len(following) < PAGE_BYTES:
            return None
        pointer = following[:4]
        parts.append(following[4 : 4 + missing])
        missing -= len(parts[-1])
    return unseal(header, b"".join(parts))


def _bytes_beside_header(size: int) -> int:
    """Return how many of a content's bytes lie in the page of its header; the rest is in others.

    A row is a key, a header and a content. SQLite writes their types, each as a number in groups
    of seven bits, then their bytes; a row of up to 4061 bytes stays in one page.
    """
    content_type = 12 + 2 * size
    before = 3 + -(-content_type.bit_length() // 7) + HEADER_BYTES
    row, most, usable = before + size, PAGE_BYTES - 35, PAGE_BYTES - 4
    if row <= most:
        return size
    least = (PAGE_BYTES - 12) * 32 // 255 - 23
    here = least + (row - least) % usable
    return (here if here <= most else least) - before

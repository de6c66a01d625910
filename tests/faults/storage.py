"""What a power cut leaves of an SQLite file: states between two syncs, from copies made at each.

A transaction appends to the log, which is then synced. Now and then the log's pages are put into
the file after that, which is synced in turn. What was written and not synced may be on the disk up
to any byte, with a garbled sector at the end, or only some sectors of it.

    before = Stored.read(path)
    spool.append(...)
    cut = cut_off(before, Stored.read(path), rng)
    cut.stored.write(elsewhere)
"""

import random
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final, Self

# Disks write whole sectors; a power cut can garble the one that is being written.
SECTOR_BYTES: Final = 512

# What SQLite's log begins with.
LOG_HEADER_BYTES: Final = 32


class Cut(Enum):
    """Which of the two was being written."""

    LOG = "log"
    FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The bytes of an SQLite file and of its log."""

    file: bytes
    log: bytes

    @classmethod
    def read(cls, path: Path) -> Self:
        """Copy what is on disk; a log that does not exist is an empty one."""
        log = _log_path(path)
        return cls(file=path.read_bytes(), log=log.read_bytes() if log.exists() else b"")

    def write(self, path: Path) -> None:
        """Put the file and its log where nobody uses them, in the place of what is there."""
        path.write_bytes(self.file)
        _log_path(path).write_bytes(self.log)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutOff:
    """A state between two syncs, and what was being written."""

    stored: Stored
    during: Cut


def cut_off(before: Stored, after: Stored, rng: random.Random) -> CutOff:
    """Return a state that a power cut may leave on the way from ``before`` to ``after``.

    Between the two there was one transaction, and perhaps the log's way into the file after it.
    """
    assert len(after.log) >= len(before.log), "the log was emptied before the transaction"
    if before.file != after.file and rng.random() < 0.5:
        file = partly_written(before.file, after.file, rng)
        return CutOff(stored=Stored(file=file, log=after.log), during=Cut.FILE)
    log = before.log
    if log[:LOG_HEADER_BYTES] != after.log[:LOG_HEADER_BYTES]:
        # The log begins anew. Its header is synced before what follows: else what is still there of
        # the old log could be taken for good.
        begun = after.log[:LOG_HEADER_BYTES] + log[LOG_HEADER_BYTES:]
        log = partly_written(log, begun, rng) if rng.random() < 0.2 else begun
    if log[:LOG_HEADER_BYTES] == after.log[:LOG_HEADER_BYTES]:
        log = partly_written(log, after.log, rng)
    return CutOff(stored=Stored(file=before.file, log=log), during=Cut.LOG)


def partly_written(old: bytes, new: bytes, rng: random.Random) -> bytes:
    """Return ``old`` with a part of what makes it ``new``: up to a byte, garbled, or in sectors."""
    if rng.random() < 0.3:
        return _some_sectors(old, new, rng)
    changed = [at for at in range(len(new)) if at >= len(old) or old[at] != new[at]]
    # Only what is written can be garbled: the cut is at a byte that changes.
    cut = end = rng.choice(changed)
    if rng.random() < 0.5:
        end = min(-(-cut // SECTOR_BYTES) * SECTOR_BYTES, len(new))
    return new[:cut] + rng.randbytes(end - cut) + old[end:]


def _some_sectors(old: bytes, new: bytes, rng: random.Random) -> bytes:
    # A file that has grown reads as zeros where it was not written.
    base = old + bytes(len(new) - len(old))
    starts = range(0, len(new), SECTOR_BYTES)
    return b"".join(rng.choice((base, new))[start : start + SECTOR_BYTES] for start in starts)


def _log_path(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")

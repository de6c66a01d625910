"""Which file of a folder is the spool of which stream, and which of them were left behind.

path = spool_path(folder, "porch")
for left in left_behind(folder, besides="porch"): ...
"""

import fcntl
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.spool.entries import Entry, Kind
from offload.spool.opening import peek

# The version of the file's layout: what it says of its origin, and with that the rest.
_LAYOUT: Final = 1

# Of a stream's name, in the name of its file: enough to know it by.
_READABLE_CHARACTERS: Final = 40

# SQLite's files say by a lock on these bytes that somebody uses them.
_LOCK_START: Final = 0x40000002
_LOCK_BYTES: Final = 510


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """A stream whose spool keeps frames, and how many."""

    stream: str
    frames: int


def spool_path(folder: Path, stream: str) -> Path:
    """Return where the spool of ``stream`` is: a name can hold what no file's name can."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", stream)[:_READABLE_CHARACTERS]
    digest = hashlib.sha256(stream.encode()).hexdigest()[:16]
    return folder / f"{readable}-{digest}.spool"


def origin_of(stream: str, pipeline: str) -> Entry:
    """Return what a file says of whose it is."""
    return Entry(kind=Kind.ORIGIN, content=f"{_LAYOUT}\n{stream}\n{pipeline}".encode())


def left_behind(folder: Path, *, besides: str) -> list[Left]:
    """Return the other streams in ``folder`` whose spools keep frames.

    Spools that cannot be read, or that another program uses, are left out. Nothing is changed.
    """
    found: list[Left] = []
    for path in sorted(folder.glob("*.spool")):
        if path == spool_path(folder, besides) or _is_in_use(path):
            continue
        notes = peek(path)
        origin, position = notes.get(Kind.ORIGIN), notes.get(Kind.POSITION)
        if origin is not None and position is not None and position.first < position.stop:
            stream = origin.content.decode().split("\n")[1]
            found.append(Left(stream=stream, frames=position.stop - position.first))
    return found


def _is_in_use(path: Path) -> bool:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.lockf(opened, fcntl.LOCK_SH | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        finally:
            os.close(opened)
    except OSError:
        return True
    return False

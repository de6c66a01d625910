"""How a spool shares its limit out: its file, the log beside it, and what one transaction may do.

limits = FileLimits.within(256 * 1024 * 1024)
"""

from dataclasses import dataclass
from typing import Final, Self

# Below this, what every transaction writes would not fit beside a record.
MIN_LIMIT_BYTES: Final = 1024 * 1024

# A group waits in memory, and what it saves per record is all but saved at this size.
_MOST_GROUP_BYTES: Final = 1024 * 1024

# Putting a larger log into the file would only take longer at a time.
_MOST_CHECKPOINT_BYTES: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLimits:
    """How many bytes each part of a spool may take, so that all stay within one limit.

    ``file`` and ``log`` together are the limit. The rest keeps one transaction from growing the
    log past its part: on top of what it may hold before it is emptied, the largest record and
    what is deleted with it make it 3/4 full.

    Attributes:
        file: The file of SQLite, which never shrinks while it is in use.
        log: Its log.
        checkpoint: The log is put into the file and begun anew when it is this large. One
            transaction deletes as much, which is no less than it adds.
        group: What one transaction adds, unless it is a single record.
        record: One record.
    """

    file: int
    log: int
    checkpoint: int
    group: int
    record: int

    @classmethod
    def within(cls, limit_bytes: int) -> Self:
        """Share ``limit_bytes`` out."""
        return cls(
            file=limit_bytes * 3 // 4,
            log=limit_bytes // 4,
            checkpoint=min(limit_bytes // 32, _MOST_CHECKPOINT_BYTES),
            group=min(limit_bytes // 32, _MOST_GROUP_BYTES),
            record=limit_bytes // 8,
        )

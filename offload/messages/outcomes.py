"""How frames ended, as ranges of neighbours that ended alike.

Several messages hold such ranges, and so do both programs' books.

    ranges = []
    extend_ranges(ranges, OutcomeRange(first=0, count=1, outcome=Outcome.FILTERED))
    extend_ranges(ranges, OutcomeRange(first=1, count=1, outcome=Outcome.FILTERED))
    ranges      # one range of two frames
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, Self

from offload.errors import RemoteProtocolError
from offload.messages.envelope import Fields, is_seq, read_list, shown, text

# A row has two such texts of up to four bytes a character, so this many fit an envelope, whatever
# they say.
MAX_RANGES: Final = 20


class Outcome(IntEnum):
    """How one frame ended."""

    RESULT = 0
    FILTERED = 1
    FAILED = 2
    DROPPED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRange:
    """Neighbouring frames that ended alike: ``count`` of them, from ``first`` on."""

    first: int
    count: int
    outcome: Outcome
    task: str = ""
    reason: str = ""

    @property
    def stop(self) -> int:
        """One past the last sequence number."""
        return self.first + self.count

    def row(self) -> list[object]:
        """Return the range as the list that travels in an envelope."""
        return [self.first, self.count, int(self.outcome), text(self.task), text(self.reason)]

    @classmethod
    def from_row(cls, row: object) -> Self:
        """Read what `row` wrote."""
        if not isinstance(row, list) or len(row) < 5:
            raise RemoteProtocolError(f"outcome range is {shown(row)}, expected five fields")
        first, count, outcome, task, reason = row[:5]
        if not (is_seq(first) and is_seq(count) and count > 0 and is_seq(first + count)):
            raise RemoteProtocolError(f"outcome range covers {shown(first)}, {shown(count)}")
        if type(outcome) is not int or outcome not in Outcome.__members__.values():
            raise RemoteProtocolError(f"outcome is {shown(outcome)}, expected 0 to 3")
        if not (isinstance(task, str) and isinstance(reason, str)):
            raise RemoteProtocolError("outcome range has a task or a reason that is no text")
        return cls(
            first=first, count=count, outcome=Outcome(outcome), task=text(task), reason=text(reason)
        )


def extend_ranges(ranges: list[OutcomeRange], new: OutcomeRange) -> None:
    """Append ``new`` to ``ranges``, joined with the last one where it continues it."""
    if ranges:
        last = ranges[-1]
        alike = (last.outcome, last.task, last.reason) == (new.outcome, new.task, new.reason)
        if alike and last.stop == new.first:
            ranges[-1] = OutcomeRange(
                first=last.first,
                count=last.count + new.count,
                outcome=last.outcome,
                task=last.task,
                reason=last.reason,
            )
            return
    ranges.append(new)


def read_ranges(fields: Fields, name: str) -> tuple[OutcomeRange, ...]:
    """Return the ranges of a field; see `envelope` for what is raised."""
    return tuple(map(OutcomeRange.from_row, read_list(fields, name)))

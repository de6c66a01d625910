"""Tables for a terminal: columns that line up, and that go when there is no room. Pure.

table_lines(Table(columns=[Column(title="device", rank=0)], rows=rows), width=80, look=look)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.console.text import MARGIN, Line, Look, Span, Tone, cells, cut, cut_line, printable

GAP_CELLS: Final = 2

# Names are as long as their owners like; a column of them is not. A UUID, which a stream is named
# by unless its user says otherwise, fits.
MAX_COLUMN_CELLS: Final = 36


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column's title, and which go first where there is no room: those of the greatest rank."""

    title: str
    rank: int
    is_right: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows below titles.

    Attributes:
        columns: From left to right.
        rows: Each has one span for each column; what cannot be printed may be in them.
        below: Lines that follow, of printable text.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Span]]
    below: Sequence[Line] = ()


def table_lines(table: Table, *, width: int, look: Look) -> list[Line]:
    """Return the titles, the rows and what is below; no line takes more than ``width`` cells."""
    titles = [Span(text=each.title, tone=Tone.QUIET) for each in table.columns]
    rows = [[_shown(each, look) for each in row] for row in (titles, *table.rows)]
    widths = [max(cells(row[index].text) for row in rows) for index in range(len(titles))]
    kept = list(range(len(titles)))
    while cells(MARGIN.text) + _cells_of(kept, widths) > width and len(kept) > 1:
        kept.remove(max(kept, key=lambda index: table.columns[index].rank))
    lines = [
        _joined([_aligned(row[each], widths[each], table.columns[each]) for each in kept])
        for row in rows
    ]
    return [cut_line(each, width, look.signs) for each in (*lines, *table.below)]


def _shown(span: Span, look: Look) -> Span:
    text = cut(printable(span.text, look.encoding), MAX_COLUMN_CELLS, look.signs)
    return Span(text=text, tone=span.tone)


def _cells_of(kept: Sequence[int], widths: Sequence[int]) -> int:
    return sum(widths[each] for each in kept) + GAP_CELLS * (len(kept) - 1)


def _aligned(span: Span, width: int, column: Column) -> Line:
    padding = Span(text=" " * (width - cells(span.text)))
    return (padding, span) if column.is_right else (span, padding)


def _joined(cells_of_line: Sequence[Line]) -> Line:
    """Join cells, without blanks at the end."""
    line = [MARGIN]
    for each in cells_of_line:
        line += [*each, Span(text=" " * GAP_CELLS)]
    while not line[-1].text.strip() and len(line) > 1:
        line.pop()
    return tuple(line)

"""The table at the end of a server's run: what became of its streams' frames. Pure.

view.close(final_table(tally.listed()))
"""

from collections.abc import Sequence
from typing import Final

from offload.cloud.report import StreamCounts
from offload.console.figures import seconds
from offload.console.table import Column, Table
from offload.console.text import MARGIN, Line, Span, Tone
from offload.messages import Outcome

# More is the summary's business; those with the most frames come first.
MAX_STREAMS: Final = 20

_COLUMNS: Final = (
    Column(title="device", rank=0),
    Column(title="stream", rank=4),
    Column(title="app", rank=6),
    Column(title="results", rank=1, is_right=True),
    Column(title="filtered", rank=8, is_right=True),
    Column(title="dropped", rank=7, is_right=True),
    Column(title="failed", rank=2, is_right=True),
    Column(title="FPS", rank=3, is_right=True),
    Column(title="cloud seconds", rank=5, is_right=True),
)


def final_table(counts: Sequence[StreamCounts]) -> Table:
    """Return the table of a server's streams."""
    ordered = sorted(counts, key=lambda each: each.outcomes.total(), reverse=True)
    return Table(
        columns=_COLUMNS,
        rows=[_row(each) for each in ordered[:MAX_STREAMS]],
        below=_below(ordered[MAX_STREAMS:]),
    )


def _row(counts: StreamCounts) -> list[Span]:
    outcomes = counts.outcomes
    failed = outcomes[Outcome.FAILED]
    return [
        *(Span(text=each) for each in (counts.device, counts.stream, counts.app)),
        *(
            Span(text=str(outcomes[each]))
            for each in (Outcome.RESULT, Outcome.FILTERED, Outcome.DROPPED)
        ),
        Span(text=str(failed), tone=Tone.BAD if failed else Tone.PLAIN),
        Span(text=f"{counts.fps:.1f}"),
        Span(text=seconds(counts.cloud_task_s)),
    ]


def _below(hidden: Sequence[StreamCounts]) -> Sequence[Line]:
    if not hidden:
        return ()
    results = sum(each.outcomes[Outcome.RESULT] for each in hidden)
    return ((MARGIN, Span(text=f"and {len(hidden)} more, with {results} results")),)

"""A server's devices, one row each: who is connected, how fast, and why the split is there. Pure.

server_lines(ServerState(rows=rows, server=sample), width=100, height=40, look=look)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.console.figures import (
    MET_PART,
    duration,
    memory,
    rate,
    reason_in_words,
    split_bar,
    target_in_figures,
    verdict,
)
from offload.console.table import Column, Table, table_lines
from offload.console.text import MARGIN, Line, Look, Span, Tone, cut_line
from offload.telemetry.events import Sampled, ServerSampled, StreamSampled

# The line above the rows, that of the titles, and one of what is logged meanwhile.
OTHER_LINES: Final = 3

# What a device said longer ago is not how it goes now.
FRESH_S: Final = 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a server knows of one connected stream.

    Attributes:
        stream: Its name.
        device: Name of its machine.
        sample: How the server sees it; None before the first time.
        before: The sample before that.
        said: How its device says that it goes, if it does.
    """

    stream: str
    device: str
    sample: StreamSampled | None = None
    before: StreamSampled | None = None
    said: Sampled | None = None

    @property
    def fps(self) -> float | None:
        """Frames finished per second, since the sample before; None if that is not known."""
        if self.sample is None or self.before is None or self.sample.at_s <= self.before.at_s:
            return None
        finished = self.sample.results + self.sample.filtered
        finished -= self.before.results + self.before.filtered
        return finished / (self.sample.at_s - self.before.at_s)

    @property
    def fresh(self) -> Sampled | None:
        """What its device said, unless that was too long ago."""
        if self.said is None or self.sample is None:
            return self.said
        return self.said if self.sample.at_s - self.said.at_s <= FRESH_S else None

    @property
    def misses_target(self) -> bool:
        """Whether it is known not to reach its target."""
        said = self.fresh
        return (
            said is not None
            and said.target_fps is not None
            and said.fps < MET_PART * said.target_fps
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What is shown of a server: its connected streams, and how it goes itself."""

    rows: Sequence[Row]
    server: ServerSampled | None


def server_lines(state: ServerState, *, width: int, height: int, look: Look) -> list[Line]:
    """Return what is shown: no line wider than ``width``, and fewer lines than ``height``."""
    rows = sorted(state.rows, key=lambda each: (each.device, each.stream))
    lines = [cut_line(_heading(state), width, look.signs)]
    if not rows:
        return lines
    room = max(1, height - OTHER_LINES)
    shown = rows if len(rows) <= room else rows[: max(1, room - 1)]
    # Names that were cut off or doubled would tell nothing.
    several = Counter(each.device for each in rows).most_common(1)[0][1] > 1
    table = Table(columns=_columns(several), rows=[_cells(each, look) for each in shown])
    lines += table_lines(table, width=width, look=look)
    if hidden := rows[len(shown) :]:
        lines.append(cut_line(_more(hidden), width, look.signs))
    return lines[: max(1, height - 1)]


def _heading(state: ServerState) -> Line:
    number = len(state.rows)
    text = f"{number or 'no'} device{'' if number == 1 else 's'}"
    spans = [MARGIN, Span(text=text)]
    if (server := state.server) is not None:
        frames = f"{memory(server.frame_bytes)} of {memory(server.frame_limit_bytes)}"
        for label, figure in (("CPU", f"{server.cpu_percent:.0f} %"), ("frames in memory", frames)):
            spans += [Span(text=f"   {label} ", tone=Tone.QUIET), Span(text=figure)]
    return tuple(spans)


def _more(hidden: Sequence[Row]) -> Line:
    line = [MARGIN, Span(text=f"and {len(hidden)} more")]
    if missing := sum(each.misses_target for each in hidden):
        line.append(Span(text=f", {missing} under target", tone=Tone.WARNING))
    return tuple(line)


def _columns(has_doubles: bool) -> list[Column]:
    return [
        Column(title="device", rank=0),
        Column(title="stream", rank=1 if has_doubles else 11),
        Column(title="FPS", rank=2, is_right=True),
        Column(title="target", rank=3, is_right=True),
        Column(title="split", rank=4),
        Column(title="link", rank=9, is_right=True),
        Column(title="p95", rank=7, is_right=True),
        Column(title="in flight", rank=10, is_right=True),
        Column(title="dropped", rank=8, is_right=True),
        Column(title="failed", rank=6, is_right=True),
        Column(title="reason", rank=5),
    ]


def _cells(row: Row, look: Look) -> list[Span]:
    unknown = Span(text=look.signs.unknown, tone=Tone.QUIET)
    names = [Span(text=each) for each in (row.device, row.stream)]
    return [*names, *(_said(row.fresh, look) if row.fresh else _seen(row, unknown))]


def _said(said: Sampled, look: Look) -> list[Span]:
    """Return what a device says of itself."""
    unknown = look.signs.unknown
    link = unknown if said.link_bytes_per_s is None else rate(said.link_bytes_per_s)
    p95 = unknown if said.latency_p95_s is None else duration(said.latency_p95_s)
    reason = "" if said.reason is None else reason_in_words(said.reason)
    sign = verdict(said.fps, said.target_fps, said.reason, look.signs)
    target = "" if said.target_fps is None else target_in_figures(said.target_fps)
    return [
        Span(text=f"{sign.text} {said.fps:.1f}", tone=sign.tone),
        Span(text=target),
        Span(text=split_bar(said.split, len(said.tasks), look.signs)),
        Span(text=link),
        Span(text=p95),
        Span(text=str(said.in_flight)),
        Span(text=str(said.dropped)),
        _failed(said.failed),
        Span(text=reason),
    ]


def _seen(row: Row, unknown: Span) -> list[Span]:
    """Return what the server sees of a device that says nothing of itself."""
    if row.sample is None:
        return [unknown] * 9
    return [
        unknown if row.fps is None else Span(text=f"{row.fps:.1f}"),
        *[unknown] * 5,
        Span(text=str(row.sample.dropped)),
        _failed(row.sample.failed),
        unknown,
    ]


def _failed(number: int) -> Span:
    return Span(text=str(number), tone=Tone.BAD if number else Tone.PLAIN)

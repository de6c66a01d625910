"""Curves as charts of a page: their lines as SVG that stretches, their words as text over it.

chart(curve, axis=axis_for([curve]), marks=marks, until_s=60)

The SVG has no shape of its own, so a chart is as wide as its place on a screen, a phone or paper,
while words keep their size, take the page's font and colours, and can be searched and read aloud.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from itertools import groupby
from statistics import fmean
from typing import Final

from offload.emulation.report.axes import Axis, Label, place_labels, time_numbers
from offload.emulation.report.curves import Curve, Line, Quantity
from offload.emulation.report.findings import Mark
from offload.emulation.report.wording import plain, rate, size

# The SVG's own units, whatever its size on the page.
_WIDTH: Final = 1000
_HEIGHT: Final = 100

# So much of a chart's width is left of a label at least, in percent, or it would stand outside.
_LABEL_ROOM: Final = 80.0

# How a limit is said; the others are plain numbers.
_SAY: Final = {Quantity.MEMORY: size, Quantity.LINK_USE: rate}

# More points than there are pixels only make a page slow.
MAX_POINTS: Final = 1000


def chart(curve: Curve, *, axis: Axis, marks: Sequence[Mark], until_s: float) -> str:
    """Return a chart as HTML.

    Args:
        curve: What it shows.
        axis: Its vertical axis.
        marks: What happened, marked in it.
        until_s: The end of its horizontal axis, over 0; it begins at 0.
    """
    drawing = _Drawing(axis, until_s)
    labels = place_labels(marks, until_s)
    lanes = max((each.lane + 1 for each in labels), default=0)
    say = _SAY.get(curve.quantity, plain)
    measured = [each for each in curve.lines if not each.is_against]
    against = [each for each in curve.lines if each.is_against]
    near = [each for each in against if any(map(axis.holds, each.known))]
    return "\n".join(
        [
            f'<figure class="chart" style="--lanes:{lanes}">',
            f"<figcaption><b>{escape(curve.subject)}</b> <span>{escape(axis.unit)}</span>",
            *_key(measured),
            *(_said_in_full(each, say) for each in against if not all(map(axis.holds, each.known))),
            "<output></output></figcaption>",
            '<div class="plot">',
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none" role="img"',
            f' aria-label="{escape(_said(curve, axis))}">',
            drawing.grid(),
            *(drawing.down(start, end) for start, end in curve.down),
            *(drawing.line(thinned(each)) for each in (*measured, *near)),
            "</svg>",
            *drawing.numbers(),
            *(drawing.mark(each) for each in labels),
            *(drawing.name_of(each, measured[0], say) for each in near),
            '<i class="cursor"></i>',
            "</div></figure>",
        ]
    )


def thinned(line: Line) -> Line:
    """Return a line of about `MAX_POINTS` at most, with the least and the most of each stretch."""
    if len(line.t) <= MAX_POINTS:
        return line
    points = list(zip(line.t, line.values, strict=True))
    size = math.ceil(2 * len(points) / MAX_POINTS)
    kept: list[tuple[float, float | None]] = []
    for start in range(0, len(points), size):
        stretch = points[start : start + size]
        known = sorted((value, t) for t, value in stretch if value is not None)
        if known:
            kept += sorted({known[0][::-1], known[-1][::-1]})
        else:
            kept.append(stretch[0])
    return replace(line, t=[t for t, _ in kept], values=[value for _, value in kept])


class _Drawing:
    """What stands where in one chart."""

    def __init__(self, axis: Axis, until_s: float) -> None:
        self._axis = axis
        self._until_s = until_s

    def grid(self) -> str:
        lines = [f"M0 {self._y(each * self._axis.factor)}H{_WIDTH}" for each in self._axis.numbers]
        return f'<path class="grid" d="{"".join(lines)}"/>'

    def down(self, begin_s: float, end_s: float) -> str:
        x, end = self._x(begin_s), self._x(end_s)
        return f'<rect class="down" x="{x}" y="0" width="{end - x:.1f}" height="{_HEIGHT}"/>'

    def line(self, line: Line) -> str:
        runs = self._runs(line)
        drawn = f'<path class="{line.name}" d="{"".join(_path(run, line) for run in runs)}"/>'
        if line.name != "measured":
            return drawn
        areas = (f"{_path(run, line)}V{_HEIGHT}H{run[0][0]}Z" for run in runs)
        return f'<path class="area" d="{"".join(areas)}"/>{drawn}'

    def numbers(self) -> list[str]:
        """Return the numbers at both axes."""
        top = self._axis.top
        vertical = [
            f'<span class="y" style="bottom:{100 * each / top:.4g}%">{plain(each)}</span>'
            for each in self._axis.numbers
        ]
        horizontal = [
            f'<span class="x" style="left:{self._left(t)}%">{words}</span>'
            for t, words in time_numbers(self._until_s)
        ]
        return vertical + horizontal

    def mark(self, label: Label) -> str:
        """Return a vertical line with the mark's number, and its text if there is a place."""
        text = f" <span>{escape(label.text)}</span>" if label.text else ""
        side = " left" if label.is_left else ""
        return (
            f'<div class="mark{side}" style="left:{self._left(label.mark.t)}%;--lane:{label.lane}">'
            f"<p><b>{label.mark.number}</b>{text}</p></div>"
        )

    def name_of(self, line: Line, measured: Line, say: Callable[[float], str]) -> str:
        """Return the label of what the measured line is held against, where that ends."""
        points = zip(line.t, line.values, strict=True)
        known = [(t, each) for t, each in points if each is not None and self._axis.holds(each)]
        t, last = known[-1]
        # A value that holds does so until the next one, which may be None.
        end_s = min([each for each in line.t if each > t], default=t) if line.is_step else t
        right = min(_LABEL_ROOM, 100 * (1 - end_s / self._until_s))
        bottom = 100 - 100 * self._y(last) / _HEIGHT
        side = "under" if measured.known and measured.known[-1] > last else "over"
        return (
            f'<span class="name {side}" style="bottom:{bottom:.4g}%;right:{right:.4g}%">'
            f"{line.name} {say(last)}</span>"
        )

    def _runs(self, line: Line) -> list[list[tuple[float, float]]]:
        """Return the line's points, as the SVG counts, without those that are not known."""
        runs: list[list[tuple[float, float]]] = [[]]
        for t, value in zip(line.t, line.values, strict=True):
            if value is not None:
                runs[-1].append((self._x(t), self._y(value)))
            elif runs[-1]:
                # A value that holds does so until it is lifted.
                if line.is_step:
                    runs[-1].append((self._x(t), runs[-1][-1][1]))
                runs.append([])
        return [run for run in runs if run]

    def _x(self, t: float) -> float:
        return round(_WIDTH * t / self._until_s, 1)

    def _y(self, value: float) -> float:
        return round(_HEIGHT * (1 - value / self._axis.reach), 2)

    def _left(self, t: float) -> str:
        return f"{100 * t / self._until_s:.4g}"


def _path(run: Sequence[tuple[float, float]], line: Line) -> str:
    x, y = run[0]
    # A point without a neighbour is drawn as a dot.
    drawn = [f"M{x} {y}h0"]
    drawn += [f"H{x}V{y}" if line.is_step else f"L{x} {y}" for x, y in run[1:]]
    return "".join(drawn)


def _key(measured: Sequence[Line]) -> list[str]:
    """Return which line is which, where there are several."""
    if len(measured) < 2:
        return []
    return [f'<span class="key {each.name}">{each.name}</span>' for each in measured]


def _said_in_full(line: Line, say: Callable[[float], str]) -> str:
    """Return in words what a line says that is above the axis, or is so for a while."""
    values = " → ".join(value for value, _ in groupby(map(say, line.known)))
    return f'<span class="against">{line.name} {values}</span>'


def _said(curve: Curve, axis: Axis) -> str:
    """Return what a chart shows, for those who do not see it."""
    parts = []
    for line in curve.lines:
        if known := [each / axis.factor for each in line.known]:
            least, mean, most = plain(min(known)), plain(fmean(known)), plain(max(known))
            parts.append(f"{line.name} {least} to {most}, mean {mean}")
    return f"{curve.subject}, {axis.unit}: {'; '.join(parts)}"

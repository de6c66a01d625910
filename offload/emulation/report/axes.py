"""Where things stand in a chart: the numbers at its axes, and the labels of its marks.

axis_for([curve])  # Axis(unit="Mbit/s", factor=1e6, step=5.0, top=20.0)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.emulation.report.curves import Curve, Quantity
from offload.emulation.report.findings import Mark

_UNITS: Final = {
    Quantity.FPS: ((1.0, "frames/s"),),
    Quantity.SPLIT: ((1.0, "tasks on the device"),),
    Quantity.LATENCY: ((1.0, "s"), (1e-3, "ms")),
    Quantity.CPU: ((1.0, "cores"),),
    Quantity.MEMORY: ((2.0**30, "GiB"), (2.0**20, "MiB")),
    Quantity.LINK_USE: ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")),
    Quantity.FRAMES_DROPPED: ((1.0, "frames/s"),),
    Quantity.PACKETS_LOST: ((1.0, "packets/s"),),
}

# A limit so far above what was used would press the curve flat: it is said in words only. A target
# is there to be compared with.
_LIMIT_OVER_PEAK: Final = 4.0

# An axis has this many steps at most; each is one of these times a power of ten, or for time one
# that clocks know.
_STEPS: Final = 4
_GOOD_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_GOOD_WHOLE_STEPS: Final = (1.0, 2.0, 5.0, 10.0)
_TIME_STEPS: Final = 6
_GOOD_TIMES_S: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)

# Labels of marks stand in so many lines; the last is for bare numbers. On a usual screen a chart is
# so wide, and of that a letter of a label, and its number, take so much.
_LANES: Final = 4
_CHART_PX: Final = 500.0
_LETTER_PX: Final = 6.2
_NUMBER_PX: Final = 26.0
_LONGEST_TEXT: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A vertical axis; it begins at 0.

    Attributes:
        unit: What its numbers are.
        factor: What values are divided by for that.
        step: From one of its numbers to the next.
        top: The last of them.
    """

    unit: str
    factor: float
    step: float
    top: float

    @property
    def numbers(self) -> list[float]:
        """The numbers that stand at it."""
        return [index * self.step for index in range(round(self.top / self.step) + 1)]

    @property
    def reach(self) -> float:
        """The value at its top."""
        return self.top * self.factor

    def holds(self, value: float) -> bool:
        """Return whether it reaches as far as a value."""
        return value <= self.reach


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The label of a mark, and where it stands.

    Attributes:
        mark: The mark.
        text: What is said beside its number; empty if there is no place.
        lane: In which line above the chart, from 0 at the top.
        is_left: Left of its mark, since right of it the chart ends.
    """

    mark: Mark
    text: str
    lane: int
    is_left: bool


def axis_for(curves: Sequence[Curve]) -> Axis:
    """Return the axis for curves of one quantity: it holds all that was measured.

    What that is held against, such as a limit, is in it unless it is far above.
    """
    measured = [line for curve in curves for line in curve.lines if not line.is_against]
    against = [line for curve in curves for line in curve.lines if line.is_against]
    peak = max((value for line in measured for value in line.known), default=0.0)
    near = [
        value
        for line in against
        for value in line.known
        if line.name == "target" or value <= _LIMIT_OVER_PEAK * peak
    ]
    highest = max([peak, *near])
    units = _UNITS[curves[0].quantity]
    factor, unit = next((each for each in units if highest >= each[0]), units[-1])
    is_whole = curves[0].quantity is Quantity.SPLIT
    # A line at the very top would be cut in half.
    wanted = 1.02 * highest / factor or 1.0
    step = _good_step(wanted / _STEPS, _GOOD_WHOLE_STEPS if is_whole else _GOOD_STEPS)
    if is_whole:
        step = max(1.0, step)
    return Axis(unit=unit, factor=factor, step=step, top=step * math.ceil(wanted / step))


def time_numbers(until_s: float) -> list[tuple[int, str]]:
    """Return what stands at the horizontal axis: at which second which words."""
    least = until_s / _TIME_STEPS
    step = next((each for each in _GOOD_TIMES_S if each >= least), 86400 * math.ceil(least / 86400))
    in_minutes = step % 60 == 0
    numbers = range(0, int(until_s) + 1, step)
    return [(t, f"{t // 60} min" if in_minutes else f"{t} s") for t in numbers]


def place_labels(marks: Sequence[Mark], until_s: float) -> list[Label]:
    """Return labels that do not cover each other, if so many fit: some are their number only."""
    # Where the last label of each lane ends.
    ends = [0.0] * _LANES
    labels = []
    for mark in marks:
        x = _CHART_PX * mark.t / until_s
        for text, lanes in ((_short(mark.text), ends[:-1]), ("", ends)):
            width = _NUMBER_PX + _LETTER_PX * len(text)
            is_left = x + width > _CHART_PX and x > width
            begin = x - width if is_left else x
            lane = next((index for index, end in enumerate(lanes) if end <= begin), None)
            if lane is not None:
                break
        else:
            lane = ends.index(min(ends))
        ends[lane] = begin + width
        labels.append(Label(mark=mark, text=text, lane=lane, is_left=is_left))
    return labels


def _short(text: str) -> str:
    """Return a text without the word that says whether it is of a link or a machine."""
    short = text.removeprefix("link ").removeprefix("machine ")
    return short if len(short) <= _LONGEST_TEXT else f"{short[: _LONGEST_TEXT - 1].rstrip()}…"


def _good_step(least: float, good: Sequence[float]) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(each * power for each in good if each * power >= least * (1 - 1e-9))

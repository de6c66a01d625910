"""Say how well a run went, phase by phase, and which fixed split is the one to beat. Pure.

    score = judge(trace, target_fps=25.0, borders_s=[12.0, 38.0, 64.0, 90.0])
    best = best_fixed({3: score_of_3, 4: score_of_4}, target_fps=25.0)
    for check in checks(score, fixed, target_fps=25.0):
        check.is_met, check.text

What is judged, as the simulation does it (``tests/simulation/judging.py``):

- FPS of a phase is its mean without the first `SETTLE_WITHIN_S` after a step, which settling
  judges. A target counts as reached from `REACHED` of it on: it is a floor.
- Time under target is the part of the phase in which the last `SPAN_S` had less than `UNDER` of the
  target's frames; it counts the whole phase.
- A step is settled when FPS over `SETTLING_SPAN_S` begin to stay above `SETTLED` of the target for
  `SETTLED_FOR_S`.
- The cloud's seconds are those of the server's machine, for all frames of all phases.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Final

from benchmarks.scheduler.trace import Trace

SETTLE_WITHIN_S: Final = 5.0
REACHED: Final = 0.98

SPAN_S: Final = 2.0
UNDER: Final = 0.97

SETTLING_SPAN_S: Final = 1.0
SETTLED: Final = 0.92
SETTLED_FOR_S: Final = 3.0

TICK_S: Final = 0.25

# Two runs of the same fixed split on a quiet machine differ by about so much.
SAME_CLOUD: Final = 1.03


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseScore:
    """How one phase went.

    Attributes:
        fps: Finished frames per second once it should have settled.
        under: Part of its time under target.
        settling_s: Seconds until the step at its beginning was settled; None if it never was, and
            for the first phase, which begins without a step.
        cloud_s: Processor seconds of the cloud for each finished frame.
        latency_p95_s: 95th percentile of capture to acknowledgement.
        split: Mean of the frames that were taken.
        device_cores: Processor seconds of the device per second.
    """

    fps: float
    under: float
    settling_s: float | None
    cloud_s: float
    latency_p95_s: float
    split: float
    device_cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How a run went: its phases, and the figures of all of them together."""

    phases: Sequence[PhaseScore]
    under: float
    cloud_s: float
    latency_p95_s: float
    split: float
    missed_packets: int

    def reaches(self, target_fps: float) -> bool:
        """Return whether each phase reaches the target."""
        return all(each.fps >= REACHED * target_fps for each in self.phases)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One of the limits: what was found, and whether that is within it."""

    is_met: bool
    text: str


def judge(trace: Trace, *, target_fps: float, borders_s: Sequence[float]) -> Score:
    """Return how a run went.

    Args:
        trace: The run.
        target_fps: What was wanted.
        borders_s: When its phases begin, and when the last one ends; the start lies before.
    """
    phases = list(pairwise(borders_s))
    begin_s, end_s = borders_s[0], borders_s[-1]
    return Score(
        phases=[
            _phase(trace, target_fps, begin_s, end_s, is_step=number > 0)
            for number, (begin_s, end_s) in enumerate(phases)
        ],
        under=_under(trace, target_fps, begin_s, end_s),
        cloud_s=trace.cloud_s(begin_s, end_s) / max(1, trace.frames(begin_s, end_s)),
        latency_p95_s=trace.latency_s(0.95, begin_s, end_s),
        split=trace.split(begin_s, end_s),
        missed_packets=trace.missed_packets,
    )


def middle(scores: Sequence[Score]) -> Score:
    """Return the medians of several runs' figures; never settled in one of them is longest."""
    return Score(
        phases=[_middle_phase(same) for same in zip(*(s.phases for s in scores), strict=True)],
        under=median(each.under for each in scores),
        cloud_s=median(each.cloud_s for each in scores),
        latency_p95_s=median(each.latency_p95_s for each in scores),
        split=median(each.split for each in scores),
        missed_packets=max(each.missed_packets for each in scores),
    )


def best_fixed(fixed: Mapping[int, Score], *, target_fps: float) -> int | None:
    """Return the split that costs the cloud least of those that reach the target in every phase."""
    reaching = [split for split, score in fixed.items() if score.reaches(target_fps)]
    return min(reaching, key=lambda split: fixed[split].cloud_s, default=None)


def best_fixed_in(fixed: Mapping[int, Score], phase: int, *, target_fps: float) -> int | None:
    """Return the split that costs the cloud least of those that reach the target in a phase."""
    reaching = [
        split for split, score in fixed.items() if score.phases[phase].fps >= REACHED * target_fps
    ]
    return min(reaching, key=lambda split: fixed[split].phases[phase].cloud_s, default=None)


def checks(ours: Score, fixed: Mapping[int, Score], *, target_fps: float) -> list[Check]:
    """Return what our run was to show, and whether it did."""
    return [
        *_fps_checks(ours, fixed, target_fps),
        *_cloud_check(ours, fixed, target_fps),
        *_settling_checks(ours, fixed, target_fps),
    ]


def _phase(
    trace: Trace, target_fps: float, begin_s: float, end_s: float, *, is_step: bool
) -> PhaseScore:
    counted_s = begin_s + SETTLE_WITHIN_S if is_step else begin_s
    return PhaseScore(
        fps=trace.fps(counted_s, end_s),
        under=_under(trace, target_fps, begin_s, end_s),
        settling_s=_settling_s(trace, target_fps, begin_s, end_s) if is_step else None,
        cloud_s=trace.cloud_s(begin_s, end_s) / max(1, trace.frames(begin_s, end_s)),
        latency_p95_s=trace.latency_s(0.95, begin_s, end_s),
        split=trace.split(begin_s, end_s),
        device_cores=trace.device_s(begin_s, end_s) / (end_s - begin_s),
    )


def _ticks(begin_s: float, end_s: float) -> list[float]:
    return [begin_s + TICK_S * tick for tick in range(int((end_s - begin_s) / TICK_S) + 1)]


def _under(trace: Trace, target_fps: float, begin_s: float, end_s: float) -> float:
    ticks = _ticks(begin_s, end_s)
    short = sum(trace.fps(at_s - SPAN_S, at_s) < UNDER * target_fps for at_s in ticks)
    return short / len(ticks)


def _settling_s(trace: Trace, target_fps: float, step_s: float, end_s: float) -> float | None:
    settled_s = None
    for at_s in _ticks(step_s + SETTLING_SPAN_S, end_s):
        if trace.fps(at_s - SETTLING_SPAN_S, at_s) < SETTLED * target_fps:
            settled_s = None
        elif settled_s is None:
            settled_s = at_s
        elif at_s >= settled_s + SETTLED_FOR_S:
            return settled_s - step_s - SETTLING_SPAN_S
    return None


def _middle_phase(same: Sequence[PhaseScore]) -> PhaseScore:
    # A first phase has no step, and is never settled either way.
    settling_s = median(math.inf if s.settling_s is None else s.settling_s for s in same)
    return PhaseScore(
        fps=median(each.fps for each in same),
        under=median(each.under for each in same),
        settling_s=None if settling_s == math.inf else settling_s,
        cloud_s=median(each.cloud_s for each in same),
        latency_p95_s=median(each.latency_p95_s for each in same),
        split=median(each.split for each in same),
        device_cores=median(each.device_cores for each in same),
    )


def _fps_checks(ours: Score, fixed: Mapping[int, Score], target_fps: float) -> Iterator[Check]:
    for number, phase in enumerate(ours.phases):
        most_fps = max(each.phases[number].fps for each in fixed.values())
        wanted_fps = min(REACHED * target_fps, most_fps)
        best = best_fixed_in(fixed, number, target_fps=target_fps)
        others = f"none of the fixed splits reaches more than {most_fps:.1f}"
        if best is not None:
            others = f"K = {best} reaches it"
        yield Check(
            is_met=phase.fps >= wanted_fps,
            text=f"phase {number + 1}: {phase.fps:.1f} FPS of {target_fps:g}; {others}",
        )


def _cloud_check(ours: Score, fixed: Mapping[int, Score], target_fps: float) -> Iterator[Check]:
    best = best_fixed(fixed, target_fps=target_fps)
    if best is None:
        return
    ratio = ours.cloud_s / fixed[best].cloud_s
    yield Check(
        is_met=ratio <= SAME_CLOUD,
        text=f"cloud CPU for a frame {ratio:.2f} of that of K = {best}, the best fixed split",
    )


def _settling_checks(ours: Score, fixed: Mapping[int, Score], target_fps: float) -> Iterator[Check]:
    for number, phase in list(enumerate(ours.phases))[1:]:
        if best_fixed_in(fixed, number, target_fps=target_fps) is None:
            continue
        took_s = phase.settling_s
        yield Check(
            is_met=took_s is not None and took_s <= SETTLE_WITHIN_S,
            text=f"phase {number + 1}: "
            + ("never settled" if took_s is None else f"settled after {took_s:.1f} s"),
        )

"""What all runners of a scenario did, held against each other: as tables, and for JSON. Pure.

comparison = Comparison(SCENARIOS["link"], USUAL, {OURS: [trace, trace], RULE: [...], ...})
comparison.table(), comparison.checks(), comparison.as_plain()
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Final

import numpy as np

from benchmarks.measure import format_table
from benchmarks.scheduler.judging import (
    Check,
    PhaseScore,
    Score,
    best_fixed,
    best_fixed_in,
    checks,
    judge,
    middle,
)
from benchmarks.scheduler.scenarios import OURS, Pace, Runner, Scenario
from benchmarks.scheduler.trace import Trace

# What the JSON file has of each second: enough to draw the picture again.
_TIMELINE_S: Final = 0.5
_TIMELINE_SPAN_S: Final = 1.0


class Comparison:
    """The runs of a scenario.

    Args:
        scenario: What they ran.
        pace: How long its phases lasted.
        traces: The runs of each runner, round by round, at least one of each.
    """

    def __init__(
        self, scenario: Scenario, pace: Pace, traces: Mapping[Runner, Sequence[Trace]]
    ) -> None:
        self._scenario = scenario
        self._pace = pace
        self.traces: Final = traces

    @cached_property
    def scores(self) -> Mapping[Runner, Score]:
        """The medians of each runner's rounds."""
        return {runner: middle(self._rounds(runner)) for runner in self.traces}

    @cached_property
    def fixed(self) -> Mapping[int, Score]:
        """Those of the fixed splits, by split."""
        return {each.split: score for each, score in self.scores.items() if each.is_fixed}

    @property
    def best_fixed(self) -> int | None:
        """The fixed split to beat; None if none reaches the target in every phase."""
        return best_fixed(self.fixed, target_fps=self._scenario.target_fps)

    @property
    def nearest_fixed(self) -> int | None:
        """The best fixed split; if there is none, the one that is least short where it is most."""
        if self.best_fixed is not None or not self.fixed:
            return self.best_fixed
        return max(self.fixed, key=lambda k: min(each.fps for each in self.fixed[k].phases))

    def checks(self) -> list[Check]:
        """Return what our scheduler was to show; empty unless it and fixed splits ran."""
        ours = self.scores.get(OURS)
        if ours is None or not self.fixed:
            return []
        return checks(ours, self.fixed, target_fps=self._scenario.target_fps)

    def table(self) -> str:
        """Return all figures, a line for each runner and phase."""
        rows = []
        for runner, score in self.scores.items():
            for number, phase in enumerate(score.phases):
                name = runner.name if number == 0 else ""
                rows.append([name, str(self._scenario.phases[number]), *_phase_cells(phase)])
            rows.append(["", "all", *_cells(score)])
        return format_table(
            [
                *("", "phase", "FPS", "under, %", "settled, s", "cloud ms/frame"),
                *("p95, s", "mean K", "device core"),
            ],
            rows,
        )

    def verdict(self) -> str:
        """Return in words which fixed splits are the best, and how our scheduler did."""
        lines = []
        if self.fixed:
            phases = ", ".join(
                _split(best_fixed_in(self.fixed, number, target_fps=self._scenario.target_fps))
                for number in range(len(self._scenario.phases))
            )
            those = ", ".join(f"K = {split}" for split in sorted(self.fixed))
            lines.append(
                f"best fixed split of {those}: {_split(self.best_fixed)}; by phase: {phases}"
            )
        lines += [f"{'met' if each.is_met else 'NOT MET'}: {each.text}" for each in self.checks()]
        missed = max(score.missed_packets for score in self.scores.values())
        if missed:
            lines.append(f"this machine was too slow for the link: it lost {missed} packets")
        return "\n".join(lines)

    def as_plain(self) -> dict[str, object]:
        """Return everything, for JSON."""
        return {
            "scenario": asdict(self._scenario),
            "camera_fps": self._scenario.camera_fps,
            "pace": asdict(self._pace),
            "best_fixed": self.best_fixed,
            "checks": [asdict(each) for each in self.checks()],
            "runners": {
                runner.name: {
                    "median": asdict(self.scores[runner]),
                    "rounds": [asdict(each) for each in self._rounds(runner)],
                    "timelines": [self._timeline(each) for each in traces],
                    "decisions": [list(each.decisions) for each in traces],
                }
                for runner, traces in self.traces.items()
            },
        }

    def _rounds(self, runner: Runner) -> list[Score]:
        _, *borders_s = self._scenario.borders_s(self._pace)
        return [
            judge(
                trace,
                target_fps=self._scenario.target_fps,
                borders_s=[self._pace.start_s, *borders_s],
            )
            for trace in self.traces[runner]
        ]

    def _timeline(self, trace: Trace) -> dict[str, list[float | None]]:
        end_s = self._scenario.borders_s(self._pace)[-1]
        at_s = np.arange(_TIMELINE_SPAN_S, end_s, _TIMELINE_S)
        figures: Mapping[str, Callable[[float, float], float]] = {
            "fps": trace.fps,
            "split": trace.split,
            "cloud_s": trace.cloud_s,
        }
        return {
            "at_s": [float(t) for t in at_s],
            **{
                name: [_number(figure(t - _TIMELINE_SPAN_S, t)) for t in at_s]
                for name, figure in figures.items()
            },
        }


def _phase_cells(phase: PhaseScore) -> list[str]:
    settling_s = phase.settling_s
    return [
        f"{phase.fps:.1f}",
        f"{100 * phase.under:.0f}",
        "-" if settling_s is None else f"{settling_s:.1f}",
        f"{1000 * phase.cloud_s:.2f}",
        f"{phase.latency_p95_s:.2f}",
        f"{phase.split:.2f}",
        f"{phase.device_cores:.2f}",
    ]


def _cells(score: Score) -> list[str]:
    return [
        "",
        f"{100 * score.under:.0f}",
        "",
        f"{1000 * score.cloud_s:.2f}",
        f"{score.latency_p95_s:.2f}",
        f"{score.split:.2f}",
        "",
    ]


def _split(split: int | None) -> str:
    return "none" if split is None else f"K = {split}"


def _number(figure: float) -> float | None:
    # JSON has no word for what there is not.
    return None if np.isnan(figure) else round(figure, 4)

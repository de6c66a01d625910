"""Draw what schedulers did in a scenario: FPS and target, split, and the cloud's processor.

draw(scenario, pace, {"ours": trace, "rule": other}, Path("build/bench/scheduler-link.png"))
"""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.scheduler.scenarios import SPLITS, Pace, Scenario
from benchmarks.scheduler.trace import Floats, Trace

# Nobody looks on while it draws, and there may be no screen.
mpl.use("agg")

# Okabe and Ito's colours, which most people with a colour vision deficiency tell apart; where two
# lines meet, their styles tell them apart, too.
STYLES: Final = (
    {"color": "#0072B2", "linestyle": "-", "linewidth": 1.8},
    {"color": "#D55E00", "linestyle": "--", "linewidth": 1.6},
    {"color": "#009E73", "linestyle": "-.", "linewidth": 1.4},
)

# What a point of a curve looks back on.
SPAN_S: Final = 1.0
TICK_S: Final = 0.25
CPU_SPAN_S: Final = 2.0

_SIZE_INCHES: Final = (9.0, 7.0)
_DOTS_PER_INCH: Final = 130
_SHADE: Final = "#ECECEC"
_EDGE: Final = "#555555"


def draw(scenario: Scenario, pace: Pace, traces: Mapping[str, Trace], path: Path) -> None:
    """Write a picture of some runs of a scenario.

    Args:
        scenario: What they ran.
        pace: How long its phases lasted.
        traces: Up to as many as there are `STYLES`, by what the legend calls them.
        path: The PNG file.
    """
    figure, (fps, split, cloud) = plt.subplots(
        3,
        sharex=True,
        figsize=_SIZE_INCHES,
        height_ratios=(3, 2, 1.5),
        layout="constrained",
    )
    end_s = scenario.borders_s(pace)[-1]
    at_s = np.arange(SPAN_S, end_s, TICK_S)
    for (name, trace), style in zip(traces.items(), STYLES, strict=False):
        fps.plot(at_s, [trace.fps(t - SPAN_S, t) for t in at_s], label=name, **style)
        split.plot(at_s, [trace.split(t - SPAN_S, t) for t in at_s], label=name, **style)
        cloud.plot(at_s, _cloud_cores(trace, at_s), label=name, **style)
    fps.axhline(scenario.target_fps, color="black", linewidth=1, linestyle=":", label="target")
    fps.set(ylabel="frames per second", ylim=(0, 1.35 * scenario.camera_fps))
    split.set(ylabel="mean K", yticks=SPLITS, ylim=(0.5, SPLITS[-1] + 0.5))
    cloud.set(ylabel="cloud, cores", xlabel="seconds since the start", xlim=(0, end_s))
    cloud.set_ylim(bottom=0)
    for axes in (fps, split, cloud):
        _mark_phases(axes, scenario, pace)
    _name_phases(fps, scenario, pace)
    figure.legend(*fps.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    watched = "every picture watched" if scenario.watched else "nobody watches"
    figure.suptitle(f"{scenario.name}: {scenario.target_fps:g} FPS wanted, {watched}")
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    plt.close(figure)


def _cloud_cores(trace: Trace, at_s: Floats) -> list[float]:
    return [trace.cloud_s(t - CPU_SPAN_S, t) / CPU_SPAN_S for t in at_s]


def _mark_phases(axes: Axes, scenario: Scenario, pace: Pace) -> None:
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.axvspan(0, pace.start_s, color=_SHADE, zorder=0)
    for border_s in scenario.borders_s(pace)[1:-1]:
        axes.axvline(border_s, color=_EDGE, linewidth=1)
    axes.spines[["top", "right"]].set_visible(False)


def _name_phases(axes: Axes, scenario: Scenario, pace: Pace) -> None:
    places = pairwise([pace.start_s, *scenario.borders_s(pace)[1:]])
    names = [
        *(
            (begin_s, end_s, str(each))
            for (begin_s, end_s), each in zip(places, scenario.phases, strict=True)
        )
    ]
    for begin_s, end_s, name in [(0.0, pace.start_s, "start,\nnot counted"), *names]:
        axes.text(
            (begin_s + end_s) / 2,
            0.98,
            name,
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            fontsize="small",
            color=_EDGE,
        )

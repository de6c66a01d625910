"""Say what to expect of this device: a table of splits, and the command to begin with. Pure.

table(forecasts, tasks, pace_fps=30.0)      # lines
best = recommend(forecasts, alone_fps=51.0, pace_fps=30.0)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.doctor.trying import ALONE_S, Alone, Forecast

# Of what was reached in a trial, a target asks for so much: pictures differ from moment to moment.
TARGET_PART: Final = 0.85

# What keeps up with a source finishes so much of what it gives: frames at the end are under way.
KEEPS_UP: Final = 0.95

# A split has to give so many times what the device alone does, to be worth a server.
WORTH_IT: Final = 1.1

# The same work done again gives the same within this part, and tasks that take less of a frame
# are none to speak of.
AGREES: Final = 0.15
NEXT_TO_NOTHING: Final = 0.05

# Splits are taken for equally fast if they differ by less.
ALMOST: Final = 0.9

_HEADER: Final = ("K", "tasks here", "device ms", "kB", "link ms", "cloud ms", "FPS", "limited by")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """How to begin: all tasks here if ``split`` is None; and what to expect of it."""

    split: int | None
    fps: float
    why: str


def expected_fps(fps: float, *limits_fps: float | None) -> float:
    """Return what comes of a rate where the source has limits, as far as they are known."""
    return min((fps, *(each for each in limits_fps if each is not None)))


def table(
    forecasts: Sequence[Forecast], tasks: Sequence[str], *, pace_fps: float | None
) -> list[str]:
    """Return what each split gives, as the lines of a table.

    Args:
        forecasts: By their splits, rising.
        tasks: The names of all tasks.
        pace_fps: The rate at which frames come; None if they wait to be taken.
    """
    rows = [_HEADER, *(_row(each, tasks, pace_fps) for each in forecasts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADER))]
    return [
        "  ".join(
            # Numbers to the right, words to the left.
            cell.ljust(width) if column in (1, len(_HEADER) - 1) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def recommend(
    forecasts: Sequence[Forecast],
    *,
    alone_fps: float,
    pace_fps: float | None,
    source_fps: float | None = None,
) -> Recommendation:
    """Return how to begin.

    Args:
        forecasts: What splits give; none if there is no server.
        alone_fps: What the device gives alone.
        pace_fps: The rate at which frames come; None if they wait to be taken.
        source_fps: The most that the source gives; None if that is not known.
    """
    alone = expected_fps(alone_fps, pace_fps, source_fps)
    if not forecasts:
        return Recommendation(split=None, fps=alone, why="all tasks here; no split was measured")
    most = max(each.fps for each in forecasts)
    # Of those that are almost as fast, the one that leaves the cloud least to do.
    best = next(each for each in reversed(forecasts) if each.fps >= ALMOST * most)
    if pace_fps is not None and alone_fps >= KEEPS_UP * pace_fps:
        return Recommendation(
            split=None, fps=alone, why="the device keeps up with its source alone"
        )
    fps = expected_fps(best.fps, pace_fps, source_fps)
    if fps < WORTH_IT * alone:
        return Recommendation(
            split=None, fps=alone, why="no split gives more than the device alone"
        )
    why = f"{fps:.1f} FPS with K = {best.split}, {alone:.1f} with all tasks here"
    return Recommendation(split=best.split, fps=fps, why=why)


def disagreement(
    alone: Alone, forecasts: Sequence[Forecast], tasks: Sequence[str], *, pace_fps: float | None
) -> float:
    """Return by which part figures differ that should be the same; 0 if they hardly do.

    These are the tries with all tasks here, and a split that leaves next to nothing to the cloud:
    it gives less, since frames have to be sent, but never more.

    Args:
        alone: What came of all tasks here.
        forecasts: What splits give, by their splits, rising.
        tasks: The names of all tasks.
        pace_fps: The rate at which frames come; None if they wait to be taken.
    """
    least = min(alone.tries_fps)
    if len(alone.tries_fps) == 1 or least <= 0:
        # Too little was tried to compare it.
        return 0.0
    most = max(alone.tries_fps)
    if forecasts:
        deepest = forecasts[-1]
        here = tasks[: deepest.split]
        seconds = sum(each.seconds for each in alone.tasks)
        left_s = sum(each.seconds for each in alone.tasks if each.name not in here)
        if left_s <= NEXT_TO_NOTHING * seconds:
            most = max(most, expected_fps(deepest.fps, pace_fps))
    part = most / least - 1
    # Whether a try has a frame more or less is chance.
    return part if part > AGREES + 1 / (least * ALONE_S) else 0.0


def target(fps: float) -> str:
    """Return the target to ask for where so much is expected, as a person would write it."""
    asked = TARGET_PART * fps
    return f"{asked:.0f}" if asked >= 10 else f"{asked:.2g}"


def _row(forecast: Forecast, tasks: Sequence[str], pace_fps: float | None) -> tuple[str, ...]:
    is_paced = pace_fps is not None and pace_fps < forecast.fps
    return (
        str(forecast.split),
        f"{tasks[0]} to {tasks[forecast.split - 1]}" if forecast.split > 1 else tasks[0],
        f"{1000 * forecast.device_s:.1f}",
        f"{forecast.link_bytes / 1000:.1f}",
        f"{1000 * forecast.link_s:.1f}",
        f"{1000 * forecast.cloud_s:.1f}",
        f"{expected_fps(forecast.fps, pace_fps):.1f}",
        "source" if is_paced else forecast.limit,
    )

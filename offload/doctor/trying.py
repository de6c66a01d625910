"""Run the real device program for some seconds, and read what it says in its summary.

alone = run_alone(options)                          # client only
survey = run_survey(options, splits=app.splits)     # every split in turn, as a trial
"""

import json
import statistics
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from offload.doctor.children import Ran, device_program, run_child
from offload.errors import OffloadError

# All tasks run here so often and so long, after what loading takes: what differs from one try to
# the next would differ from what is reached later, too.
ALONE_TRIES: Final = 2
ALONE_S: Final = 2.5
ENDED_PART: Final = 0.9
ALONE_TIMEOUT_S: Final = 20.0

# A survey ends by itself, after so long at each split at the most (twice the `LONGEST_S` of
# `offload.device.survey`). Loading, connecting and what is in flight on a thin link come on top;
# past this something hangs.
LONGEST_VISIT_S: Final = 6.0
BESIDE_VISITS_S: Final = 60.0

# How long it may look for the server that has answered a moment ago.
RETRY_S: Final = 5.0

# A target that nothing reaches: so each split gives all that it can.
FAR_ABOVE_FPS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTime:
    """What one run of a task takes on this device."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """What came of some tries with all tasks on this device; ``tasks`` is of the last one."""

    tries_fps: tuple[float, ...]
    tasks: tuple[TaskTime, ...]

    @property
    def fps(self) -> float:
        """What is to be expected."""
        return statistics.mean(self.tries_fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a split gave; the fields are those of the summary."""

    split: int
    encoding: str
    fps: float
    limit: str
    device_s: float
    link_s: float
    cloud_s: float
    link_bytes: float


class ProgramError(OffloadError):
    """The device program ended with ``code``, or not in time."""

    def __init__(self, ran: Ran, *, timeout_s: float) -> None:
        late = f"the device program did not end within {timeout_s:.0f} s: {ran.reason}"
        super().__init__(late if ran.code is None else ran.reason)
        self.code = ran.exit_code


def run_alone(options: Sequence[str]) -> Alone:
    """Run all tasks here, several times.

    Args:
        options: App and source, as the device program takes them.

    Raises:
        ProgramError: It did not go well.
    """
    arguments = [*options, "--duration", f"{ALONE_S:g}"]
    summaries = [_run(arguments, timeout_s=ALONE_TIMEOUT_S)]
    # A source that ends before is over too soon for its figures to be the same twice.
    if summaries[0]["duration_s"] >= ENDED_PART * ALONE_S:
        summaries += [_run(arguments, timeout_s=ALONE_TIMEOUT_S) for _ in range(1, ALONE_TRIES)]
    tasks = [
        TaskTime(name=each["name"], seconds=each["device_s"] / each["runs_device"])
        for each in summaries[-1]["tasks"]
        if each["runs_device"]
    ]
    return Alone(tries_fps=tuple(each["fps"] for each in summaries), tasks=tuple(tasks))


def run_survey(options: Sequence[str], *, splits: Sequence[int]) -> tuple[Forecast, ...]:
    """Run every split in turn, as a trial.

    Args:
        options: App, source, server, token and TLS, as the device program takes them.
        splits: Those that the app permits, rising.

    Raises:
        ProgramError: It did not go well.
    """
    arguments = [str(splits[-1]), str(FAR_ABOVE_FPS), *options, "--trial", "--survey"]
    # By this name people know it in a server's log and on its page.
    arguments += ["--stream", f"doctor {uuid.uuid4()}"]
    timeout_s = survey_timeout_s(len(splits))
    summary = _run([*arguments, "--retry-for", f"{RETRY_S:g}"], timeout_s=timeout_s)
    return tuple(Forecast(**each) for each in summary["forecasts"])


def survey_timeout_s(splits: int) -> float:
    """Return the seconds past which a survey of so many splits has gone wrong."""
    return BESIDE_VISITS_S + LONGEST_VISIT_S * splits


def _run(arguments: Sequence[str], *, timeout_s: float) -> dict[str, Any]:
    # A file, because standard output is also the tasks': they may print.
    with TemporaryDirectory(prefix="offload-doctor-") as folder:
        file = Path(folder, "summary.json")
        program = [device_program(), *arguments, "--summary", str(file), "--log-level", "warning"]
        ran = run_child(program, timeout_s=timeout_s)
        if ran.code != 0:
            raise ProgramError(ran, timeout_s=timeout_s)
        summary: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return summary

"""Run the real device program for some seconds, and read what it says in its summary.

alone = run_alone(options)                          # client only
survey = run_survey(options, server, split=6)       # every split in turn, as a trial
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from offload.doctor.children import Ran, device_program, run_child
from offload.errors import OffloadError, RunFailed

# How long all tasks run here, after what loading takes.
ALONE_S: Final = 3.0
ALONE_TIMEOUT_S: Final = 20.0

# A survey ends by itself, after a few seconds at each split. On a thin link it takes longer; past
# this it is no use.
SURVEY_TIMEOUT_S: Final = 60.0

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
    """What came of a run with all tasks on this device."""

    fps: float
    tasks: tuple[TaskTime, ...]


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
        self.code = ran.code or RunFailed.exit_code


def run_alone(options: Sequence[str]) -> Alone:
    """Run all tasks here.

    Args:
        options: App and source, as the device program takes them.

    Raises:
        ProgramError: It did not go well.
    """
    arguments = [*options, "--duration", f"{ALONE_S:g}"]
    summary = _run(arguments, timeout_s=ALONE_TIMEOUT_S)
    tasks = [
        TaskTime(name=each["name"], seconds=each["device_s"] / each["runs_device"])
        for each in summary["tasks"]
        if each["runs_device"]
    ]
    return Alone(fps=summary["fps"], tasks=tuple(tasks))


def run_survey(options: Sequence[str], *, split: int) -> tuple[Forecast, ...]:
    """Run every split in turn, as a trial.

    Args:
        options: App, source, server, token and TLS, as the device program takes them.
        split: Where to begin.

    Raises:
        ProgramError: It did not go well.
    """
    arguments = [str(split), str(FAR_ABOVE_FPS), *options, "--trial", "--survey"]
    # By this name people know it in a server's log and on its page.
    arguments += ["--stream", f"doctor {uuid.uuid4()}"]
    summary = _run([*arguments, "--retry-for", f"{RETRY_S:g}"], timeout_s=SURVEY_TIMEOUT_S)
    return tuple(Forecast(**each) for each in summary["forecasts"])


def _run(arguments: Sequence[str], *, timeout_s: float) -> dict[str, Any]:
    program = [device_program(), *arguments, "--summary", "-", "--log-level", "warning"]
    ran = run_child(program, timeout_s=timeout_s)
    if ran.code != 0:
        raise ProgramError(ran, timeout_s=timeout_s)
    summary: dict[str, Any] = json.loads(ran.out)
    return summary

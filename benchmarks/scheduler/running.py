"""Run one scenario with one runner in emulated machines, and read what it left behind.

trace = run(SCENARIOS["link"], OURS, source="synthetic", pace=USUAL, folder=folder)
"""

import csv
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.measure import BenchmarkError
from benchmarks.scheduler.scenarios import CLOUD, DEVICE, FRAMES_FILE, Pace, Runner, Scenario
from benchmarks.scheduler.trace import Trace
from offload.emulation.experiment import Experiment
from offload.emulation.local.backend import Watcher, run_locally
from offload.emulation.local.cleaning import AnotherRunError
from offload.emulation.local.collecting import Now
from offload.emulation.local.planning import look_at_machine, plan_for
from offload.errors import EmulationError

# A machine runs one experiment at a time. Between two of ours somebody else may begin one, and an
# hour's comparison should not end by that.
OTHERS_LIMIT_S: Final = 600.0
_LOOK_AGAIN_S: Final = 0.5

_INTERRUPTED: Final = "interrupted"


class RunError(BenchmarkError):
    """A run did not end as it should; the message has what its programs said last."""


def run(scenario: Scenario, runner: Runner, *, source: str, pace: Pace, folder: Path) -> Trace:
    """Run it, and return what happened.

    Args:
        scenario: What happens to device and link.
        runner: Who chooses the split.
        source: What the device looks at.
        pace: How long everything lasts.
        folder: Where the run's files go; it must not be there, or be empty.

    Raises:
        RunError: A program failed.
        KeyboardInterrupt: It was interrupted.
        EmulationError: This machine cannot run it, or somebody else's run goes on and on.
    """
    experiment = scenario.experiment(runner, source, pace)
    _check_possible(experiment)
    _forget_choices(folder)
    said: list[str] = []
    watcher = Watcher(say=said.append, watch=_ignore)
    failures = _run_alone(experiment, folder, watcher)
    if failures:
        raise RunError("\n".join([*failures, *said[-10:]]))
    events = _lines(folder / "events.jsonl")
    # The emulation ends such a run in good order; the others must not begin.
    if any(each["kind"] == "stopped" and each["text"] == _INTERRUPTED for each in events):
        raise KeyboardInterrupt
    return read_trace(folder)


def read_trace(folder: Path) -> Trace:
    """Read what a run left in its folder."""
    event = _lines(folder / "events.jsonl")[-1]
    began_at = event["at"] - event["t"]
    frames = json.loads((folder / DEVICE / FRAMES_FILE).read_text(encoding="utf-8"))
    summary = json.loads((folder / DEVICE / "summary.json").read_text(encoding="utf-8"))
    finished, chosen = np.array(frames["finished"]), np.array(frames["chosen"])
    if not len(finished):
        raise RunError(f"no frame was finished, see {folder}")
    rows = _rows(folder / "machines.csv")
    cloud = [each for each in rows if each["machine"] == CLOUD]
    device = [each for each in rows if each["machine"] == DEVICE]
    links = _rows(folder / "links.csv")
    return Trace(
        finished_s=finished[:, 0] - began_at,
        latencies_s=finished[:, 1],
        chosen_s=chosen[:, 0] - began_at,
        splits=chosen[:, 1],
        cpu_at_s=np.array([float(each["t"]) for each in cloud]),
        cloud_cpu_s=np.array([float(each["cpu_s"]) for each in cloud]),
        device_cpu_s=np.array([float(each["cpu_s"]) for each in device]),
        missed_packets=sum(int(each["missed"]) for each in links[-2:]),
        decisions=[
            # The report counts from when the source was opened, just before the first frame.
            {**each, "t": chosen[0, 0] - began_at + each["t"]}
            for each in summary["scheduler"]
        ],
    )


def _run_alone(experiment: Experiment, folder: Path, watcher: Watcher) -> Sequence[str]:
    """Run an experiment as soon as no other run is going on, and return what went wrong."""
    give_up_s = time.monotonic() + OTHERS_LIMIT_S
    while True:
        try:
            return run_locally(experiment, folder, watcher)
        except AnotherRunError:
            if time.monotonic() > give_up_s:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _check_possible(experiment: Experiment) -> None:
    if lacks := plan_for(experiment, look_at_machine()).lacks:
        what = "; ".join(f"{each.what} ({each.remedy})" for each in lacks)
        raise EmulationError(f"this machine cannot run it, it lacks {what}")


def _forget_choices(folder: Path) -> None:
    """Take away from the programs what a user has chosen for others, and the user's own tokens."""
    for name in list(os.environ):
        if name in {"HOST", "PORT", "BIND"} or name.startswith("OFFLOAD_"):
            del os.environ[name]
    os.environ["XDG_CONFIG_HOME"] = str(folder.parent / "config")


def _ignore(_elapsed_s: float, _now: Now) -> None:
    """Look at nothing while it runs: all of it is read afterwards."""


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))

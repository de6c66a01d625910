"""Compare our scheduler with a plain rule and with every fixed split, on the real programs.

    ./run bench scheduler                                   # as root
    sudo .venv/bin/python -m benchmarks.scheduler --only link --runners ours,fixed --rounds 3

Device program and server run in emulated machines with an emulated link (``offload.emulation``),
ball tracking on a source that is paced as a camera. In each scenario the link or the processor of
the device changes, and every runner meets the same: our scheduler, the plain rule (one more task
to the cloud every 3 s while short of the target, never one back), and manual mode at each split.

The first `USUAL.start_s` of a run are in no figure: the programs start there, and TCP and the
estimates find their place. The camera gives `CAMERA_FACTOR` of the target, since the target is a
floor: where nothing paces them, fixed splits work for frames that nobody asked for, and with no
frame to spare nobody could make up for a lost one. `judging` says what the figures mean, and which
limits our scheduler is held against.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from benchmarks.measure import exit_code, machine_facts, machine_line, progress, say
from benchmarks.scheduler.comparison import Comparison
from benchmarks.scheduler.pictures import STYLES, draw
from benchmarks.scheduler.running import run
from benchmarks.scheduler.scenarios import (
    FIXED,
    OURS,
    QUICK,
    RULE,
    SCENARIOS,
    USUAL,
    Pace,
    Runner,
    Scenario,
)
from benchmarks.scheduler.trace import Trace
from offload.arguments import count
from offload.errors import EmulationError

Named = TypeVar("Named")

RUNNERS: Final[Mapping[str, Sequence[Runner]]] = {
    "ours": (OURS,),
    "rule": (RULE,),
    "fixed": FIXED,
    **{each.name.replace(" = ", ""): (each,) for each in FIXED},
}

# Where the runs' files go, and the pictures.
FOLDER: Final = Path("build", "bench", "scheduler")

DEFAULT_ROUNDS: Final = 1

_INTERRUPTED: Final = 130


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for.

    Attributes:
        scenarios: Which ones run.
        runners: Who runs each of them.
        rounds: How often.
        pace: How long phases are.
        source: What the device looks at; None for each scenario's own.
        folder: Where the runs' files and the pictures go; what was there is removed.
        json: Where the figures go as JSON, if anywhere.
    """

    scenarios: Sequence[Scenario]
    runners: Sequence[Runner]
    rounds: int
    pace: Pace
    source: str | None
    folder: Path
    json: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code: 2 if it cannot run here, 130 if interrupted."""
    options = _options(sys.argv[1:] if arguments is None else arguments)
    try:
        comparisons = _compare(options)
    except EmulationError as error:
        progress(f"error: {error}")
        return 2
    except KeyboardInterrupt:
        progress("interrupted")
        return _INTERRUPTED
    say(machine_line())
    for scenario, comparison in zip(options.scenarios, comparisons, strict=True):
        say(f"\n{scenario.name}: {scenario.target_fps:g} FPS wanted\n")
        say(comparison.table())
        say(comparison.verdict())
        picture = options.folder / f"{scenario.name}.png"
        draw(scenario, options.pace, _drawn(comparison), picture)
        say(f"picture: {picture}")
    _write_json(options, comparisons)
    return 0


def _options(arguments: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.scheduler",
        description="Our scheduler, a plain rule and every fixed split, in emulated machines; "
        "needs root.",
    )
    add = parser.add_argument
    add("--only", metavar="NAME,...", help=f"scenarios: {', '.join(SCENARIOS)} (default: all)")
    add("--runners", metavar="NAME,...", help=f"some of {', '.join(RUNNERS)} (default: all)")
    add("--rounds", type=count, default=DEFAULT_ROUNDS, metavar="N", help="default: %(default)s")
    add("--source", metavar="SPEC", help="what the device looks at, such as a recording")
    add("--quick", action="store_true", help="short phases, to show that it works")
    add("--folder", type=Path, default=FOLDER, metavar="DIR", help="default: %(default)s")
    add("--json", type=Path, metavar="F", help="write all figures to a file")
    parsed = parser.parse_args(arguments)
    scenarios = _named(parser, "--only", parsed.only, SCENARIOS)
    runners = _named(parser, "--runners", parsed.runners or "ours,rule,fixed", RUNNERS)
    return Options(
        scenarios=scenarios,
        runners=list(dict.fromkeys(each for several in runners for each in several)),
        rounds=parsed.rounds,
        pace=QUICK if parsed.quick else USUAL,
        source=parsed.source,
        folder=parsed.folder,
        json=parsed.json,
    )


def _named(
    parser: argparse.ArgumentParser, option: str, text: str | None, known: Mapping[str, Named]
) -> list[Named]:
    names = text.split(",") if text else list(known)
    for name in names:
        if name not in known:
            parser.error(f"{option}: {name!r} is none of {', '.join(known)}")
    return [known[name] for name in names]


def _compare(options: Options) -> list[Comparison]:
    traces: dict[tuple[Scenario, Runner], list[Trace]] = {}
    for number in range(1, options.rounds + 1):
        for scenario in options.scenarios:
            for runner in options.runners:
                progress(f"round {number} of {options.rounds}: {scenario.name}, {runner.name}")
                trace = _run_one(options, scenario, runner, number)
                traces.setdefault((scenario, runner), []).append(trace)
    return [
        Comparison(
            scenario,
            options.pace,
            {runner: traces[scenario, runner] for runner in options.runners},
        )
        for scenario in options.scenarios
    ]


def _run_one(options: Options, scenario: Scenario, runner: Runner, number: int) -> Trace:
    name = f"{scenario.name}-{runner.name.replace(' ', '')}-{number}"
    folder = options.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    return run(
        scenario,
        runner,
        source=options.source or scenario.source,
        pace=options.pace,
        folder=folder,
    )


def _drawn(comparison: Comparison) -> dict[str, Trace]:
    """Return the first round of ours, the rule and the nearest fixed split, as far as they ran."""
    nearest = comparison.nearest_fixed
    shown = [
        *(each for each in (OURS, RULE) if each in comparison.traces),
        *(each for each in comparison.traces if each.is_fixed and each.split == nearest),
    ]
    return {each.name: comparison.traces[each][0] for each in shown[: len(STYLES)]}


def _write_json(options: Options, comparisons: Sequence[Comparison]) -> None:
    if options.json is None:
        return
    report = {
        "benchmark": "scheduler",
        "machine": machine_facts(),
        "rounds": options.rounds,
        "scenarios": [each.as_plain() for each in comparisons],
    }
    options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(exit_code(main))

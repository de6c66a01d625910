"""The command ``python3 -m offload.emulation``: plan, run, report, clean, render, import, kinds.

Exit codes: 0 done; 1 a program of the experiment failed, or the run could not be finished; 2 wrong
usage, or a wrong file.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from offload.arguments import Parser, give_up_output, one_of, positive, report_error
from offload.emulation.experiment import Experiment
from offload.emulation.files import catalogue
from offload.emulation.files.importing import import_file
from offload.emulation.files.older_units import Mbps
from offload.emulation.files.reading import read_experiment
from offload.emulation.local.planning import (
    PACKAGE_REMEDY,
    STILL_WORKS,
    Plan,
    look_at_machine,
    plan_for,
)
from offload.errors import ConfigurationError, EmulationError, OffloadError

# Below the folder that it is called in, as for everything that is made here.
RUNS: Final = Path("build", "experiments")

_INTERRUPTED: Final = 130

_EXAMPLES: Final = """examples:
  python3 -m offload.emulation plan examples/experiments/wifi-drop.toml
  sudo .venv/bin/python -m offload.emulation run examples/experiments/wifi-drop.toml
  python3 -m offload.emulation render examples/experiments/wifi-drop.toml --image offload:1"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    try:
        options = _parser().parse_args(arguments)
        code = _COMMANDS[options.verb](options)
        sys.stdout.flush()
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough.
        give_up_output()
        return 0
    return code


def _plan(options: argparse.Namespace) -> int:
    plan = plan_for(read_experiment(options.file), look_at_machine())
    _print(plan.text)
    for hint in plan.hints:
        _print(f"note: {hint}")
    if not plan.lacks:
        _print("this machine can run it")
        return 0
    _print("this machine cannot run it, it lacks")
    for lack in plan.lacks:
        _print(f"  {lack.what}: {lack.remedy}")
    _print(STILL_WORKS)
    return EmulationError.exit_code


def _run(options: argparse.Namespace) -> int:
    experiment = _chosen(read_experiment(options.file), options)
    plan = plan_for(experiment, look_at_machine())
    _check_possible(plan)
    # What only a run needs is loaded here: all else works without pyroute2.
    from offload.emulation.local.backend import Watcher, run_locally
    from offload.emulation.local.progress import Progress

    progress = Progress(experiment.duration_s, sys.stderr)
    for hint in plan.hints:
        progress.say(f"note: {hint}")
    folder = options.folder or _new_folder(experiment)
    try:
        watcher = Watcher(say=progress.say, watch=progress.watch)
        failures = run_locally(experiment, folder, watcher)
    finally:
        # Also of a run that broke off: it shows until when all was well.
        if (folder / "machines.csv").exists():
            _print(str(_report_on(folder) if options.report else folder))
    for failure in failures:
        sys.stderr.write(f"failed: {failure}\n")
    return EmulationError.exit_code if failures else 0


def _report(options: argparse.Namespace) -> int:
    _print(str(_report_on(options.folder)))
    return 0


def _clean(options: argparse.Namespace) -> int:
    _check_root()
    from offload.emulation.local.cleaning import AnotherRunError, RunningLock, clean, end_run

    try:
        with RunningLock(Path()):
            cleaned = clean()
    except AnotherRunError as other:
        if not options.force or other.process is None:
            raise
        end_run(other.process)
        with RunningLock(Path()):
            cleaned = clean()
    _print(f"removed {cleaned}")
    return 0


def _render(options: argparse.Namespace) -> int:
    from offload.emulation.rendering import render

    rendering = render(read_experiment(options.file), image=options.image)
    for note in rendering.notes:
        sys.stderr.write(f"note: {note}\n")
    _write(options.output, rendering.text)
    return 0


def _import(options: argparse.Namespace) -> int:
    if options.output and options.output.suffix.lower() != ".json":
        raise ConfigurationError(
            f"--output {options.output}: it will be JSON, expected a name that ends in .json"
        )
    imported = import_file(options.file, mbps_means=options.mbps_means)
    for note in imported.notes:
        sys.stderr.write(f"note: {note}\n")
    _write(options.output, imported.text())
    return 0


def _kinds(_options: argparse.Namespace) -> int:
    for row in catalogue.rows():
        _print(f"{row.of} {row.name}: {row.what}")
        _print(f"  {row.figures}")
        _print(f"  from: {row.source}")
    return 0


_COMMANDS: Final[Mapping[str, Callable[[argparse.Namespace], int]]] = {
    "plan": _plan,
    "run": _run,
    "report": _report,
    "clean": _clean,
    "render": _render,
    "import": _import,
    "kinds": _kinds,
}


def _chosen(experiment: Experiment, options: argparse.Namespace) -> Experiment:
    """Return the experiment with what the command line says otherwise."""
    duration_s = options.duration or experiment.duration_s
    return replace(
        experiment,
        duration_s=duration_s,
        changes=tuple(each for each in experiment.changes if each.at_s < duration_s),
        probes=experiment.probes and not options.no_probes,
    )


def _check_possible(plan: Plan) -> None:
    if plan.lacks:
        lacks = "; ".join(f"{each.what} ({each.remedy})" for each in plan.lacks)
        raise EmulationError(f"this machine cannot run it, it lacks {lacks}")


def _check_root() -> None:
    """Raise `EmulationError` if we may not remove what a run has made, or cannot."""
    abilities = look_at_machine()
    if not abilities.is_root:
        raise EmulationError("only root can remove what runs have made: run it with sudo")
    if not abilities.has_package:
        raise EmulationError(f"the Python package pyroute2 is missing: {PACKAGE_REMEDY}")


def _new_folder(experiment: Experiment) -> Path:
    return RUNS / f"{experiment.name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _report_on(folder: Path) -> Path:
    from offload.emulation.report import make_report

    make_report(folder)
    return folder / "report.html"


def _write(output: Path | None, text: str) -> None:
    """Write to a file, or to standard output."""
    if output is None:
        sys.stdout.write(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"cannot write --output {output}: {error.strerror}") from error


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _parser() -> Parser:
    parser = Parser(
        prog="python3 -m offload.emulation",
        description="Run experiments on emulated machines and links, all on this machine.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    add = {
        name: verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        for name, text in _VERBS.items()
    }
    for name in ("plan", "run", "render", "import"):
        add[name].add_argument("file", type=Path, metavar="FILE", help="TOML or JSON")
    add["report"].add_argument("folder", type=Path, metavar="FOLDER", help="of a run")
    for name in ("render", "import"):
        add[name].add_argument(
            "--output", type=Path, metavar="FILE", help="default: standard output"
        )
    _add_run_options(add["run"])
    add["clean"].add_argument("--force", action="store_true", help="also end a run that goes on")
    add["render"].add_argument(
        "--image", metavar="NAME", help="container image of machines that name none"
    )
    add["import"].add_argument(
        "--mbps-means",
        type=one_of(Mbps),
        metavar="mbit|mbyte",
        help="what mbps stands for in the file: people mean megabits, and tc reads megabytes",
    )
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help=f"where the run writes; new, or empty (default: {RUNS}/NAME-DATE-TIME)",
    )
    parser.add_argument(
        "--duration", type=positive, metavar="S", help="seconds, in place of the file's"
    )
    parser.add_argument(
        "--no-probes", action="store_true", help="do not measure the links before the start"
    )
    parser.add_argument(
        "--report",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make the report after the run",
    )


_VERBS: Final = {
    "plan": "show what an experiment would set up, and what this machine lacks for it",
    "run": "run an experiment on this machine, as root",
    "report": "make the report of a run again",
    "clean": "remove what runs that were killed have left behind",
    "render": "write an experiment as manifests for Kubernetes and Chaos Mesh",
    "import": "write an older user_config.json in the form of today",
    "kinds": "list the kinds of devices and links that experiments can name",
}

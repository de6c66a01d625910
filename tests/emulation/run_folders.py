"""Folders of runs for tests: one that a real run has left, and small ones made by hand."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Change, Experiment, Link, Machine, Quality, Role

# Unix time when all machines of the runs made by hand were started.
BEGAN_AT: Final = 1_700_000_000.0

RECORDED: Final = Path(__file__).parent / "recorded_run"

PI: Final = Machine(
    name="pi", role=Role.DEVICE, kind="pi-4", command=("x",), cpu=0.5, start_order=1
)
CLOUD: Final = Machine(name="cloud", role=Role.CLOUD, command=("x",), start_order=0)
QUALITY: Final = Quality(rate_bit_s=20e6, delay_s=0.005)
WIFI: Final = Link(
    name="wifi", kind="wifi-good", ends=("pi", "cloud"), forward=QUALITY, backward=QUALITY
)


def copy_of_recorded(folder: Path) -> Path:
    """Return a folder with what a real run has left, to be broken at will."""
    return shutil.copytree(RECORDED, folder / "run")


def recorded_files() -> list[str]:
    """Return the names of the files that a real run has left."""
    return sorted(
        path.relative_to(RECORDED).as_posix() for path in RECORDED.rglob("*") if path.is_file()
    )


def experiment(*changes: Change, duration_s: float = 60.0) -> Experiment:
    """Return an experiment of one device, one cloud and a link between them."""
    return Experiment(
        name="step",
        description="One device, one cloud.",
        machines=(CLOUD, PI),
        links=(WIFI,),
        changes=changes,
        duration_s=duration_s,
        seed=7,
    )


def write_experiment(folder: Path, plan: Experiment) -> Path:
    """Write experiment.json as a run does."""
    folder.mkdir(exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps(asdict(plan)), encoding="utf-8")
    return folder


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a CSV file; ``at`` is put before each row, whose first value is ``t``."""
    lines = [",".join(["at", *columns])]
    for row in rows:
        t = row[0]
        assert isinstance(t, int | float)
        lines.append(",".join(map(str, [BEGAN_AT + t, *row])))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_machines(folder: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write machines.csv from rows of t, machine, cpu_s, cpu_cores and memory_bytes."""
    columns = ("t", "machine", "cpu_s", "cpu_cores", "memory_bytes")
    write_table(folder / "machines.csv", columns, rows)


def write_links(folder: Path, rows: Sequence[Sequence[object]]) -> None:
    """Write links.csv from rows of t, link, to, bytes_out, lost, dropped and missed."""
    columns = ("t", "link", "to", "bytes_out", "lost", "dropped", "missed")
    write_table(folder / "links.csv", columns, rows)


def write_events(folder: Path, *events: Mapping[str, object]) -> None:
    """Write events.jsonl; each event states its ``t``."""
    write_lines(folder / "events.jsonl", events)


def write_log(folder: Path, machine: str, *lines: Mapping[str, object]) -> None:
    """Write the log of a program; each line states its ``t``, from which ``at`` is made."""
    (folder / machine).mkdir(exist_ok=True)
    write_lines(folder / machine / "stderr.log", lines)


def write_summary(folder: Path, machine: str, summary: Mapping[str, object]) -> None:
    """Write what ``--summary`` of a program writes."""
    (folder / machine).mkdir(exist_ok=True)
    (folder / machine / "summary.json").write_text(json.dumps(summary), encoding="utf-8")


def write_lines(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    """Write JSON lines with ``at`` beside ``t``."""
    text = ""
    for line in lines:
        t = line["t"]
        assert isinstance(t, int | float)
        text += json.dumps({"at": BEGAN_AT + t, **line}) + "\n"
    path.write_text(text, encoding="utf-8")

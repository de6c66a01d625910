"""What a run has shown, as values: the rows of the report's tables, its marks and its curves.

findings = findings_of(read_recording(folder))

report.json is a `Findings`, field by field, so this file and `tables` and `curves` document its
keys. All are in seconds, bytes, bits per second, cores and shares from 0 to 1.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from offload.emulation.report.curves import Curve, curves_of
from offload.emulation.report.recording import Recording
from offload.emulation.report.tables import (
    LinkRow,
    MachineRow,
    Totals,
    link_row,
    machine_row,
    totals_of,
)

# Counts up when a key of report.json goes away or means something else.
REPORT_VERSION: Final = 1

# A program that ends this much before the run is worth a mark; at its end they all do.
_EARLY_S: Final = 2.0

_TIME_OF_CHANGE: Final = re.compile(r"at [^:]*: *")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Something that happened during the run.

    Attributes:
        number: From 1, in the order of time.
        t: Seconds since all machines were started.
        text: A change as the experiment's file says it, or which program ended early.
    """

    number: int
    t: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All that report.json holds and report.html shows.

    Attributes:
        version: `REPORT_VERSION`.
        name: The experiment's.
        description: What the experiment shows.
        began_at: Unix time when all machines were started; None if nothing says it.
        ran_s: Seconds from then until programs were asked to end; of a run cut short, to the
            last thing that is known of it.
        planned_s: How long it was to run; None if nothing says it.
        seed: The experiment's; None if nothing says it.
        host: What it ran on: ``processor``, ``cores``, ``memory_bytes``, ``system``, ``python``.
        missing: What is not there or broken in the run's folder, a sentence each.
        links: A row for each direction of each link.
        machines: A row for each machine.
        totals: Sums over the rows.
        marks: What happened during the run.
        curves: What was measured over the run.
    """

    version: int = REPORT_VERSION
    name: str
    description: str
    began_at: float | None
    ran_s: float
    planned_s: float | None
    seed: int | None
    host: Mapping[str, object]
    missing: Sequence[str]
    links: Sequence[LinkRow]
    machines: Sequence[MachineRow]
    totals: Totals
    marks: Sequence[Mark]
    curves: Sequence[Curve]


def findings_of(recording: Recording) -> Findings:
    """Return what a run has shown."""
    experiment = recording.experiment
    machines = [machine_row(recording, name) for name in recording.machines]
    links = [link_row(recording, direction) for direction in recording.directions]
    happened = sorted(_happened(recording))
    return Findings(
        name=recording.name,
        description=experiment.description if experiment else "",
        began_at=recording.began_at,
        ran_s=recording.ran_s,
        planned_s=experiment.duration_s if experiment else None,
        seed=experiment.seed if experiment else None,
        host=recording.host,
        missing=recording.missing,
        links=links,
        machines=machines,
        totals=totals_of(machines, links),
        marks=[Mark(number=n, t=t, text=text) for n, (t, text) in enumerate(happened, start=1)],
        curves=curves_of(recording),
    )


def _happened(recording: Recording) -> Iterator[tuple[float, str]]:
    """Yield when what happened: as it was recorded, or else as it was planned."""
    for each in recording.happenings:
        if each.kind == "change":
            yield each.t, _TIME_OF_CHANGE.sub("", each.text, count=1)
        elif each.kind == "ended" and each.t < recording.ran_s - _EARLY_S:
            yield each.t, f"{each.machine} ended"
    if not recording.happenings and recording.experiment is not None:
        for change in recording.experiment.changes:
            if change.at_s <= recording.ran_s:
                yield change.at_s, _TIME_OF_CHANGE.sub("", change.text, count=1)

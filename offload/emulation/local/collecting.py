"""What machines and links did, second by second: ``machines.csv`` and ``links.csv`` of a run.

    collector = Collector(folder, groups, links)
    now = collector.collect(elapsed_s)      # a row for each machine and for each direction
    now.machines[0].cpu_cores, now.directions[0].bit_s

A row of a link has the time of its counters, which its process says once a second. Each row is in
its file once `Collector.collect` returns, so a run that is killed loses none.
"""

import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Link
from offload.emulation.links.link_model import Counters
from offload.emulation.links.link_process import LinkProcess
from offload.emulation.links.relay_messages import Report
from offload.emulation.local.cgroups import Group, Use

MACHINE_COLUMNS: Final = ("at", "t", "machine", "cpu_s", "cpu_cores", "memory_bytes")
LINK_COLUMNS: Final = (
    *("at", "t", "link", "to"),
    *("packets_in", "bytes_in", "packets_out", "bytes_out"),
    *("lost", "dropped", "queue_bytes", "missed"),
)


# What a machine did within a few of the periods of its limit would look like more than it may do.
_LEAST_PART: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineNow:
    """What a machine did since the last look at it; None for what this kernel does not count."""

    machine: str
    cpu_cores: float | None
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionNow:
    """How much a direction of a link carried between the last two times that it said so."""

    link: str
    to: str
    bit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """What a look at everything has found."""

    machines: Sequence[MachineNow]
    directions: Sequence[DirectionNow]


class Collector:
    """Looks at machines and links, and writes down what they did, from when it is made on.

    Args:
        folder: Of the run.
        groups: The cgroup of each machine.
        links: Each link and its process.
        every_s: How often this will be asked to look.
    """

    def __init__(
        self,
        folder: Path,
        groups: Mapping[str, Group],
        links: Sequence[tuple[Link, LinkProcess]],
        *,
        every_s: float,
    ) -> None:
        """Begin both files."""
        self._machines_next_s = 0.0
        self._machines_every_s = every_s * _LEAST_PART
        self._machines = [_MachineWatch(name, group) for name, group in groups.items()]
        self._links = [_LinkWatch(link, process) for link, process in links]
        self._machine_file = (folder / "machines.csv").open("w", encoding="utf-8", newline="")
        self._link_file = (folder / "links.csv").open("w", encoding="utf-8", newline="")
        self._machine_rows = csv.writer(self._machine_file, lineterminator="\n")
        self._link_rows = csv.writer(self._link_file, lineterminator="\n")
        self._machine_rows.writerow(MACHINE_COLUMNS)
        self._link_rows.writerow(LINK_COLUMNS)

    def collect(self, elapsed_s: float) -> Now:
        """Write down what is new, and return it.

        Soon after the last time, as at the end of a run, machines are left out.

        Args:
            elapsed_s: Seconds since all machines were started.

        Raises:
            EmulationError: The cgroup of a machine cannot be read.
        """
        at = time.time()
        if elapsed_s >= self._machines_next_s:
            self._machines_next_s = elapsed_s + self._machines_every_s
            for machine in self._machines:
                self._write_machine(machine, at, elapsed_s)
        for link in self._links:
            self._write_link(link, began_at=at - elapsed_s)
        self._machine_file.flush()
        self._link_file.flush()
        return Now(
            machines=[each.now for each in self._machines],
            directions=[each for link in self._links for each in link.now],
        )

    def close(self) -> None:
        """Close the files."""
        self._machine_file.close()
        self._link_file.close()

    def _write_machine(self, machine: "_MachineWatch", at: float, elapsed_s: float) -> None:
        use = machine.look(elapsed_s)
        cores = machine.now.cpu_cores
        self._machine_rows.writerow(
            [
                *(f"{at:.3f}", f"{elapsed_s:.3f}", machine.now.machine),
                "" if use.cpu_s is None else f"{use.cpu_s:.6f}",
                "" if cores is None else f"{cores:.4f}",
                use.memory_bytes,
            ]
        )

    def _write_link(self, link: "_LinkWatch", *, began_at: float) -> None:
        report = link.look()
        if report is None:
            return
        for to, counters in link.directions(report):
            self._link_rows.writerow(
                [
                    *(f"{report.at:.3f}", f"{report.at - began_at:.3f}", link.name, to),
                    *(getattr(counters, column) for column in LINK_COLUMNS[4:]),
                ]
            )


class _MachineWatch:
    def __init__(self, name: str, group: Group) -> None:
        self._group = group
        self._looked_s = 0.0
        self._cpu_s = group.use().cpu_s
        self.now = MachineNow(machine=name, cpu_cores=None, memory_bytes=None)

    def look(self, elapsed_s: float) -> Use:
        use = self._group.use()
        cores = None
        if use.cpu_s is not None and self._cpu_s is not None and elapsed_s > self._looked_s:
            cores = (use.cpu_s - self._cpu_s) / (elapsed_s - self._looked_s)
        self._looked_s, self._cpu_s = elapsed_s, use.cpu_s
        self.now = MachineNow(
            machine=self.now.machine, cpu_cores=cores, memory_bytes=use.memory_bytes
        )
        return use


class _LinkWatch:
    def __init__(self, link: Link, process: LinkProcess) -> None:
        self.name = link.name
        self._ends = link.ends
        self._process = process
        self._last: Report | None = None
        self.now: list[DirectionNow] = []

    def look(self) -> Report | None:
        """Return what the process has said, if it is something new."""
        report, last = self._process.report, self._last
        if report is None or (last is not None and report.at == last.at):
            return None
        if last is not None and report.at > last.at:
            before = [counters.bytes_out for _, counters in self.directions(last)]
            self.now = [
                DirectionNow(
                    link=self.name,
                    to=to,
                    bit_s=8 * (counters.bytes_out - bytes_out) / (report.at - last.at),
                )
                for (to, counters), bytes_out in zip(self.directions(report), before, strict=True)
            ]
        self._last = report
        return report

    def directions(self, report: Report) -> list[tuple[str, Counters]]:
        """Return both directions by the machine that they lead to."""
        first, second = self._ends
        return [(second, report.forward), (first, report.backward)]

"""Reads the folder of a run; what is missing or cut short is said, not guessed.

recording = read_recording(Path("build/experiments/wifi-drop-20260102-120000"))
recording.missing  # ["probes.json is missing"]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from offload.emulation.experiment import Experiment, Machine, Role
from offload.emulation.report.recorded_experiment import experiment_from
from offload.emulation.report.recording import (
    Direction,
    Figures,
    Happening,
    LinkSample,
    MachineSample,
    Probe,
    Progress,
    Recording,
)
from offload.emulation.report.run_files import RunFiles, number, objects, table
from offload.errors import ConfigurationError

_RUN_FILES: Final = ("experiment.json", "events.jsonl", "machines.csv", "links.csv")


def read_recording(folder: Path) -> Recording:
    """Read the folder of a run.

    Raises:
        ConfigurationError: It is no folder, or holds none of the files of a run.
    """
    if not any((folder / name).is_file() for name in _RUN_FILES):
        expected = ", ".join(_RUN_FILES)
        raise ConfigurationError(f"{folder} is no folder of a run, expected one with {expected}")
    return _Reader(folder).recording()


class _Reader:
    """Reads file after file; what is known first helps with the next ones."""

    def __init__(self, folder: Path) -> None:
        self._files = RunFiles(folder)
        self._experiment = self._read_experiment()
        self._events = [
            each
            for each in self._files.json_lines("events.jsonl")
            if number(each.get("t")) is not None and number(each.get("at")) is not None
        ]
        self._machine_rows = self._files.rows(
            "machines.csv", numbers=("at", "t"), if_known=("cpu_s", "cpu_cores", "memory_bytes")
        )
        self._link_rows = self._files.rows(
            "links.csv", numbers=("at", "t"), if_known=("bytes_out", "lost", "dropped", "missed")
        )
        timed = self._events + self._machine_rows + self._link_rows
        self._began_at = timed[0]["at"] - timed[0]["t"] if timed else None
        stops = [each["t"] for each in self._events if each.get("kind") == "stopped"]
        self._ran_s = max([0.0, *(stops[:1] or (each["t"] for each in timed))])

    def recording(self) -> Recording:
        summaries = self._read_summaries()
        experiment = self._experiment
        return Recording(
            name=experiment.name if experiment else self._files.folder.resolve().name,
            experiment=experiment,
            began_at=self._began_at,
            ran_s=self._ran_s,
            happenings=[_happening(each) for each in self._events],
            machine_samples=self._machine_samples(),
            link_samples=self._link_samples(),
            probes=self._read_probes() if experiment is None or experiment.probes else {},
            progress=self._read_progress(summaries),
            summaries=summaries,
            host=self._read_host(),
            missing=self._files.missing,
        )

    def _read_experiment(self) -> Experiment | None:
        document = self._files.document("experiment.json")
        try:
            return None if document is None else experiment_from(document)
        except ValueError:
            self._files.missing.append("experiment.json is not in the form that was expected")
            return None

    def _machine_samples(self) -> dict[str, list[MachineSample]]:
        samples: dict[str, list[MachineSample]] = {}
        for row in self._machine_rows:
            sample = MachineSample(
                t=row["t"],
                cpu_s=row["cpu_s"],
                cpu_cores=row["cpu_cores"],
                memory_bytes=row["memory_bytes"],
            )
            samples.setdefault(row["machine"], []).append(sample)
        return samples

    def _link_samples(self) -> dict[Direction, list[LinkSample]]:
        samples: dict[Direction, list[LinkSample]] = {}
        for row in self._link_rows:
            sample = LinkSample(
                t=row["t"],
                bytes_out=row["bytes_out"],
                lost=row["lost"],
                dropped=row["dropped"],
                missed=row["missed"],
            )
            samples.setdefault((row["link"], row["to"]), []).append(sample)
        return samples

    def _read_probes(self) -> dict[Direction, Probe]:
        document = self._files.document("probes.json")
        return {
            (str(each.get("link")), str(each.get("to"))): _probe(each) for each in objects(document)
        }

    def _read_summaries(self) -> dict[str, Mapping[str, Any]]:
        """Read the summary of each machine that wrote one, or was told to."""
        summaries: dict[str, Mapping[str, Any]] = {}
        for machine in self._experiment.machines if self._experiment else ():
            name = f"{machine.name}/summary.json"
            is_expected = _is_told(machine, "--summary") or (self._files.folder / name).is_file()
            if is_expected and (document := table(self._files.document(name))):
                summaries[machine.name] = document
        return summaries

    def _read_progress(
        self, summaries: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Sequence[Progress]]:
        progress: dict[str, Sequence[Progress]] = {}
        for machine in self._experiment.machines if self._experiment else ():
            log = f"{machine.name}/stderr.log"
            found = self._files.log_lines(log, event="progress")
            lines = [each for each in found if number(each.get("at")) is not None]
            if lines and self._began_at is not None:
                progress[machine.name] = [_progress(each, self._began_at) for each in lines]
                continue
            if machine.role is Role.DEVICE and _is_told(machine, "--log-format"):
                self._files.missing.append(f"{log} has no JSON lines of progress")
            progress[machine.name] = self._decisions(machine.name, summaries.get(machine.name, {}))
        return progress

    def _decisions(self, machine: str, summary: Mapping[str, Any]) -> list[Progress]:
        """Return what the scheduler decided, for programs that do not log as JSON.

        The summary counts from the beginning of its run, and is written at the end of it.
        """
        ends = [
            each["t"]
            for each in self._events
            if each.get("kind") == "ended" and each.get("machine") == machine
        ]
        duration_s = number(summary.get("duration_s"))
        if not ends or duration_s is None:
            return []
        began_s = ends[-1] - duration_s
        return [
            Progress(
                t=began_s + t,
                fps=number(each.get("fps")),
                target=number(each.get("target")),
                split=number(each.get("split")),
            )
            for each in objects(summary.get("scheduler"))
            if (t := number(each.get("t"))) is not None
        ]

    def _read_host(self) -> Mapping[str, object]:
        return table(self._files.document("host.json"))


def _is_told(machine: Machine, option: str) -> bool:
    """Return whether a machine's program is told to write something: it may be any program."""
    return any(word.partition("=")[0] == option for word in machine.command)


def _happening(line: Mapping[str, Any]) -> Happening:
    code = number(line.get("exit_code"))
    return Happening(
        t=line["t"],
        kind=str(line.get("kind")),
        machine=line.get("machine"),
        text=str(line.get("text", "")),
        exit_code=None if code is None else int(code),
    )


def _progress(line: Mapping[str, Any], began_at: float) -> Progress:
    return Progress(
        t=line["at"] - began_at,
        fps=number(line.get("fps")),
        target=number(line.get("target")),
        split=number(line.get("split")),
        latency_p95_ms=number(line.get("latency_p95_ms")),
        dropped=number(line.get("dropped")),
    )


def _probe(entry: Mapping[str, Any]) -> Probe:
    return Probe(
        requested=_figures(table(entry.get("requested"))),
        achieved=_figures(table(entry.get("achieved"))),
        packets=number(entry.get("packets")),
    )


def _figures(found: Mapping[str, Any]) -> Figures:
    return Figures(
        rate_bit_s=number(found.get("rate_bit_s")),
        delay_s=number(found.get("delay_s")),
        jitter_s=number(found.get("jitter_s")),
        loss=number(found.get("loss")),
    )

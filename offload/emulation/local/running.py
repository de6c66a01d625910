"""A run that is set up: starts programs, follows the schedule, keeps the books, ends programs.

    running = Running(experiment, programs, links, records)
    try:
        running.start()                 # until all machines are ready
        reason = running.follow()       # until the time is over, or all devices have ended
    finally:
        running.stop(reason)
    running.failures

`backend` sets it up and removes it.
"""

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Change, Experiment, Link, LinkChange, Role
from offload.emulation.links.link_process import LinkProcess, wait_for
from offload.emulation.links.relay_messages import Qualities
from offload.emulation.local.collecting import Collector, Now
from offload.emulation.local.events import EventKind, EventLog
from offload.emulation.local.programs import Program
from offload.errors import EmulationError

# How often a program that is starting is looked at.
_READY_EVERY_S: Final = 0.05

# What a program gets to end by itself, before it is killed: ours take at most 10 s to finish what
# is in flight.
STOP_LIMIT_S: Final = 15.0
_KILL_LIMIT_S: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Where a run writes what happens.

    Attributes:
        folder: Of the run.
        events: What happens.
        watch: Is told what each look at everything found, with the seconds since all machines were
            started.
    """

    folder: Path
    events: EventLog
    watch: Callable[[float, Now], None]


class Running:
    """Programs and links of a run.

    Attributes:
        failures: What went wrong with programs, a line each; empty if nothing did.
    """

    def __init__(
        self,
        experiment: Experiment,
        programs: Sequence[Program],
        links: Sequence[tuple[Link, LinkProcess]],
        records: Records,
    ) -> None:
        """Take over programs that are not started, and links that run."""
        self.failures: list[str] = []
        self._experiment = experiment
        self._programs: Mapping[str, Program] = {each.machine.name: each for each in programs}
        self._links = {link.name: (link, process) for link, process in links}
        self._listening = [process for _, process in links]
        self._records = records
        self._events = records.events
        self._collector: Collector | None = None
        self._collect_at_s = float("inf")
        # Programs whose end is written down.
        self._ended: set[str] = set()

    def start(self) -> None:
        """Start the machines, those of a lower start order first, and wait until all are ready.

        Raises:
            EmulationError: One of them failed, or was not ready in time; its last lines were said.
        """
        in_order = sorted(self._programs.values(), key=lambda each: each.machine.start_order)
        for _, programs in groupby(in_order, key=lambda each: each.machine.start_order):
            together = list(programs)
            for each in together:
                each.start()
                self._events.record(
                    EventKind.STARTED, " ".join(each.command), machine=each.machine.name
                )
            self._wait_until_ready(together)
        self._begin()

    def follow(self) -> str:
        """Do what the schedule says until the run is over; return why it is.

        Raises:
            EmulationError: A link has ended, or a change is impossible.
        """
        began_s = time.monotonic() - self._events.elapsed_s()
        end_s = began_s + self._experiment.duration_s
        changes = list(self._experiment.changes)
        while True:
            now = time.monotonic()
            while changes and began_s + changes[0].at_s <= min(now, end_s):
                self._change(changes.pop(0))
            if self._is_over():
                return "all devices have ended" if self._devices() else "all programs have ended"
            if now >= end_s:
                return "the time is over"
            self._pass_time(min(end_s, began_s + changes[0].at_s if changes else end_s))

    def stop(self, reason: str) -> None:
        """End devices, then clouds, then links; write down the end of everything.

        Raises:
            EmulationError: A link has ended before, or a machine can no longer be looked at.
        """
        self._events.record(EventKind.STOPPED, reason)
        for role in (Role.DEVICE, Role.CLOUD):
            self._end([each for each in self._programs.values() if each.machine.role is role])
        for name, program in self._programs.items():
            kills = program.place.group.use().memory_kills
            if kills and not program.has_failed:
                self.failures.append(
                    f"machine {name}: {kills} of its programs wanted more than its memory and were "
                    "killed"
                )
            program.close()
        for _, link in self._links.values():
            link.stop()
            self._note_missed(link)
        if self._collector is not None:
            self._collect(self._collector)
            self._collector.close()

    @property
    def has_begun(self) -> bool:
        """Whether all machines have started."""
        return self._collector is not None

    def _begin(self) -> None:
        every_s = self._experiment.collect_every_s
        groups = {name: each.place.group for name, each in self._programs.items()}
        self._collector = Collector(
            self._records.folder, groups, list(self._links.values()), every_s=every_s
        )
        self._collect_at_s = time.monotonic() + every_s
        self._events.begin()

    def _wait_until_ready(self, programs: Sequence[Program]) -> None:
        waiting = list(programs)
        started_s = time.monotonic()
        while waiting:
            for each in list(waiting):
                if each.is_ready():
                    waiting.remove(each)
                    self._events.record(
                        EventKind.READY, _how_ready(each), machine=each.machine.name
                    )
            self._check_start(waiting, time.monotonic() - started_s)
            if waiting:
                self._pass_time(time.monotonic() + _READY_EVERY_S)

    def _check_start(self, waiting: Sequence[Program], waited_s: float) -> None:
        self._note_ended()
        if self.failures:
            raise EmulationError(f"{self.failures[0]}, before all machines were started")
        for each in waiting:
            within_s = each.machine.ready.within_s
            if each.is_running and waited_s < within_s:
                continue
            self._say_last_lines(each)
            what = f"not ready within {within_s:g} s" if each.is_running else "it ended before"
            raise EmulationError(f"machine {each.machine.name} never {_how_ready(each)}: {what}")

    def _is_over(self) -> bool:
        ones = self._devices() or list(self._programs.values())
        return all(not each.is_running for each in ones)

    def _devices(self) -> list[Program]:
        return [each for each in self._programs.values() if each.machine.role is Role.DEVICE]

    def _change(self, change: Change) -> None:
        if isinstance(change, LinkChange):
            qualities = Qualities(forward=change.forward, backward=change.backward)
            self._links[change.link][1].change(qualities)
            self._events.record(EventKind.CHANGE, change.text)
            return
        group = self._programs[change.machine].place.group
        group.limit(cpu=change.cpu, memory_bytes=change.memory_bytes)
        self._events.record(EventKind.CHANGE, change.text, machine=change.machine)

    def _end(self, programs: Sequence[Program]) -> None:
        """Ask programs to end, and kill those that do not."""
        for each in programs:
            if each.is_running:
                each.ask_to_end()
        self._wait_for_end(programs, STOP_LIMIT_S)
        for each in programs:
            if each.is_running:
                self.failures.append(
                    f"machine {each.machine.name}: its program had not ended {STOP_LIMIT_S:g} s "
                    "after SIGTERM, and was killed"
                )
                each.kill()
        self._wait_for_end(programs, _KILL_LIMIT_S)

    def _wait_for_end(self, programs: Sequence[Program], limit_s: float) -> None:
        give_up_s = time.monotonic() + limit_s
        while any(each.is_running for each in programs) and time.monotonic() < give_up_s:
            self._pass_time(give_up_s)
        self._note_ended()

    def _pass_time(self, until_s: float) -> None:
        """Wait until then or until a program ends; meanwhile listen to the links, and collect."""
        running = [each for each in self._programs.values() if each.is_running]
        wait_s = max(0.0, min(until_s, self._collect_at_s) - time.monotonic())
        readable = wait_for([*self._listening, *running], wait_s)
        for link in [each for each in self._listening if each.fileno() in readable]:
            try:
                link.read_reports()
            except EmulationError:
                self._listening.remove(link)
                raise
        self._note_ended()
        if self._collector is not None and time.monotonic() >= self._collect_at_s:
            self._collect_at_s += self._experiment.collect_every_s
            self._collect(self._collector)

    def _collect(self, collector: Collector) -> None:
        elapsed_s = self._events.elapsed_s()
        self._records.watch(elapsed_s, collector.collect(elapsed_s))

    def _note_ended(self) -> None:
        for name, program in self._programs.items():
            code = program.exit_code
            if code is None or name in self._ended:
                continue
            self._ended.add(name)
            text = _how_ended(program, code)
            self._events.record(EventKind.ENDED, text, machine=name, exit_code=code)
            if program.has_failed:
                self.failures.append(f"machine {name} ended with {text}")
                self._say_last_lines(program)

    def _say_last_lines(self, program: Program) -> None:
        for line in program.last_lines():
            self._events.say(f"{program.machine.name} | {line}")

    def _note_missed(self, link: LinkProcess) -> None:
        """Say if this machine was too slow for a link: its figures are not what was asked for."""
        missed = link.report.forward.missed + link.report.backward.missed if link.report else 0
        if missed:
            self._events.say(
                f"link {link.name}: this machine was too slow, {missed} packets were lost on it"
            )


def _how_ready(program: Program) -> str:
    ready = program.machine.ready
    if ready.port is not None:
        return f"listened on port {ready.port}"
    return "ran" if ready.line is None else f"said {ready.line!r}"


def _how_ended(program: Program, code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    text = f"signal {signal.Signals(-code).name}"
    if code == -signal.SIGKILL and program.place.group.use().memory_kills:
        text += ": it wanted more than its memory"
    return text

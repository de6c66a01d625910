"""Runs an experiment on this machine, with a namespace for each machine and a relay for each link.

    failures = run_locally(experiment, folder, Watcher(say=..., watch=...))

It makes the network, measures the links, starts the machines, and follows the schedule until the
time is over or all devices have ended; then it removes everything. `planning` says beforehand what
stands in the way, and `running` is what happens in between.
"""

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn

from offload.emulation.experiment import Experiment, Link
from offload.emulation.files.placeholders import FOLDER, PYTHON
from offload.emulation.links.link_process import LinkProcess
from offload.emulation.links.relay_messages import End, Qualities, RelaySettings
from offload.emulation.local.cgroups import find_cgroups, read_mounts
from offload.emulation.local.cleaning import RUN_VARIABLE, RunningLock, clean
from offload.emulation.local.collecting import Now
from offload.emulation.local.events import EventLog
from offload.emulation.local.host import describe_host
from offload.emulation.local.network import Network
from offload.emulation.local.probe_traffic import ProbeEnd
from offload.emulation.local.probing import probe_link, write_probes
from offload.emulation.local.programs import Place, Program
from offload.emulation.local.running import Records, Running
from offload.errors import ConfigurationError, EmulationError

_RUN_NAME_BYTES = 3

Links = Sequence[tuple[Link, LinkProcess]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told how a run goes.

    Attributes:
        say: Takes a line of text.
        watch: Takes what was found every second or so; see `Records`.
    """

    say: Callable[[str], None]
    watch: Callable[[float, Now], None]


def run_locally(experiment: Experiment, folder: Path, watcher: Watcher) -> Sequence[str]:
    """Run an experiment to its end and return what went wrong with its programs, a line each.

    The first SIGINT or SIGTERM ends it early, in the same way; later ones are ignored.

    Args:
        experiment: What to run.
        folder: Where it writes; it is made, or empty.
        watcher: Who is told how it goes.

    Raises:
        AnotherRunError: A run is going on.
        ConfigurationError: The folder has something in it, or cannot be written to.
        EmulationError: Something could not be set up, or broke; or a signal came before all
            machines had started.
    """
    try:
        with RunningLock(folder):
            _make_folder(folder)
            if left := clean():
                watcher.say(f"removed what an earlier run had left: {left}")
            with _interrupted_once() as ignore_interrupts:
                try:
                    return _run(experiment, folder, watcher, ignore_interrupts)
                finally:
                    ignore_interrupts()
                    clean()
    except KeyboardInterrupt as interrupt:
        raise EmulationError("interrupted before all machines had started") from interrupt


def _run(
    experiment: Experiment, folder: Path, watcher: Watcher, ignore_interrupts: Callable[[], None]
) -> Sequence[str]:
    _write_json(folder / "experiment.json", asdict(experiment))
    _write_json(folder / "host.json", describe_host())
    setup = _Setup(experiment, folder)
    setup.network.make()
    if experiment.probes and experiment.links:
        setup.probe(watcher.say)
    with setup.links() as links, closing(EventLog(folder / "events.jsonl", watcher.say)) as events:
        records = Records(folder=folder, events=events, watch=watcher.watch)
        running = Running(experiment, setup.programs(), links, records)
        reason = "it could not be run to its end"
        try:
            running.start()
            reason = running.follow()
        except KeyboardInterrupt:
            reason = "interrupted"
            if not running.has_begun:
                raise
        finally:
            ignore_interrupts()
            running.stop(reason)
    return running.failures


class _Setup:
    """What is made before the programs start."""

    def __init__(self, experiment: Experiment, folder: Path) -> None:
        self.run = secrets.token_hex(_RUN_NAME_BYTES)
        self.network = Network(self.run, experiment)
        self._experiment = experiment
        self._folder = folder
        self._environment = {**os.environ, RUN_VARIABLE: self.run}

    @contextmanager
    def links(self) -> Iterator[Links]:
        """Let all links run, with routes over them, while the block lasts."""
        with ExitStack() as stack:
            links = []
            for link in self._experiment.links:
                process = LinkProcess(self._settings(link), self._environment)
                stack.callback(process.stop)
                links.append((link, process))
            for _, process in links:
                process.wait_until_started()
            self.network.join()
            yield links

    def probe(self, say: Callable[[str], None]) -> None:
        """Measure all links.

        These are links of their own, made anew after it: what the programs meet, and what is
        counted, does not depend on it.
        """
        ends = {
            name: ProbeEnd(namespace=self.network.namespace(name), address=address)
            for name, address in self.network.addresses.items()
        }
        probes = []
        with self.links() as links:
            for link, _ in links:
                say(f"measuring link {link.name}")
                probes += probe_link(link, ends)
        write_probes(self._folder / "probes.json", probes)

    def programs(self) -> list[Program]:
        """Make the cgroups and folders of all machines, and return their programs."""
        cgroups = find_cgroups(read_mounts())
        made = []
        for machine in self._experiment.machines:
            group = cgroups.make_group(self.run, machine.name)
            group.limit(cpu=machine.cpu, memory_bytes=machine.memory_bytes)
            folder = (self._folder / machine.name).absolute()
            folder.mkdir()
            place = Place(
                namespace=self.network.namespace(machine.name),
                group=group,
                folder=folder,
                values={**self.network.addresses, FOLDER: str(folder), PYTHON: sys.executable},
                environment=self._environment,
            )
            made.append(Program(machine, place))
        return made

    def _settings(self, link: Link) -> RelaySettings:
        first, second = (
            End(namespace=self.network.namespace(end), device=link.name) for end in link.ends
        )
        return RelaySettings(
            link=link.name,
            seed=self._experiment.seed,
            ends=(first, second),
            qualities=Qualities(forward=link.forward, backward=link.backward),
        )


@contextmanager
def _interrupted_once() -> Iterator[Callable[[], None]]:
    """Let the first SIGINT or SIGTERM raise KeyboardInterrupt, and ignore all others.

    Yields what makes the first one be ignored, too.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        ignore()
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigurationError(f"folder {folder} is not empty, expected a new one")
    except OSError as error:
        raise ConfigurationError(f"cannot write to folder {folder}: {error.strerror}") from error


def _write_json(path: Path, document: Mapping[str, object]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

"""The program of a machine: started in its namespace and cgroup, watched, and ended.

    program = Program(machine, place)
    program.start()
    while not program.is_ready():
        ...
    program.ask_to_end()

What it prints goes to ``stdout.log`` and ``stderr.log`` in the machine's folder.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Machine
from offload.emulation.files.placeholders import fill_in
from offload.emulation.local import entering
from offload.emulation.local.cgroups import Group
from offload.emulation.local.network import inside

OUTPUTS: Final = ("stdout.log", "stderr.log")

# Of a program that failed, for whoever wants to know why.
LAST_LINES: Final = 10
_LAST_BYTES: Final = 8 * 1024

# The state of a listening socket in /proc/net/tcp.
_LISTENS: Final = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a program runs.

    Attributes:
        namespace: Name of the machine's network namespace.
        group: The machine's cgroup.
        folder: Where its files are collected.
        values: What stands for the names in braces in its command and environment.
        environment: Variables that it has besides those of its own.
    """

    namespace: str
    group: Group
    folder: Path
    values: Mapping[str, str]
    environment: Mapping[str, str]


class Program:
    """A program of an experiment.

    Attributes:
        machine: On which it runs.
        place: Where that is.
        command: Program and arguments, filled in.
    """

    def __init__(self, machine: Machine, place: Place) -> None:
        """Fill in its command; it is not started yet."""
        self.machine: Final = machine
        self.place: Final = place
        self.command: Final = [fill_in(word, place.values) for word in machine.command]
        self._outputs = [LineReader(place.folder / name) for name in OUTPUTS]
        self._process: subprocess.Popen[bytes] | None = None
        self._descriptor = -1
        self._was_asked = False

    def start(self) -> None:
        """Start it. The process dies with the thread that calls this."""
        own = {
            name: fill_in(text, self.place.values)
            for name, text in self.machine.environment.items()
        }
        groups = [word for each in self.place.group.folders for word in ("--group", str(each))]
        out, err = (self.place.folder / name for name in OUTPUTS)
        with out.open("wb") as stdout, err.open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", entering.__file__),
                    *("--parent", str(os.getpid()), "--namespace", self.place.namespace),
                    *(*groups, "--", *self.command),
                ],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={**self.place.environment, **own},
                # A Ctrl-C is ours to deal with: it ends devices before clouds.
                start_new_session=True,
            )
        self._descriptor = os.pidfd_open(self._process.pid)

    def fileno(self) -> int:
        """Return what becomes readable when the program ends."""
        return self._descriptor

    @property
    def exit_code(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs or before."""
        return None if self._process is None else self._process.poll()

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it has ended otherwise than it should: not 0, and not since we asked it to."""
        return self.exit_code not in (None, 0, *((-signal.SIGTERM,) if self._was_asked else ()))

    def is_ready(self) -> bool:
        """Return whether it does by which it counts as started."""
        ready = self.machine.ready
        if ready.port is not None:
            return listens(self.place.namespace, ready.port)
        if ready.line is not None:
            return any(ready.line in line for each in self._outputs for line in each.new_lines())
        return self._process is not None

    def ask_to_end(self) -> None:
        """Send it SIGTERM, as a service manager does."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it without a warning."""
        self._send(signal.SIGKILL)

    def last_lines(self) -> list[str]:
        """Return the end of what it said: on standard error, or else on standard output."""
        out, err = (self.place.folder / name for name in OUTPUTS)
        return _last_lines(err) or _last_lines(out)

    def close(self) -> None:
        """Forget the process, which has ended."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._was_asked = True
        self._process.send_signal(number)


class LineReader:
    """Reads the lines that a file gets, while it grows.

    Args:
        path: The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0
        self._rest = b""

    def new_lines(self) -> list[str]:
        """Return the lines that were completed since the last call."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._position)
            got = file.read()
        self._position += len(got)
        *lines, self._rest = (self._rest + got).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def listens(namespace: str, port: int) -> bool:
    """Return whether somebody in a namespace listens on a TCP port, without connecting to it."""
    with inside(namespace):
        # This thread's own is in another namespace than the process's.
        tables = [Path("/proc/thread-self/net", name) for name in ("tcp", "tcp6")]
        lines = [
            line.split()
            for table in tables
            if table.exists()
            for line in table.read_text(encoding="ascii").splitlines()[1:]
        ]
    # Number, own address and port, the other's, state.
    return any(words[1].endswith(f":{port:04X}") and words[3] == _LISTENS for words in lines)


def _last_lines(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        text = file.read().decode(errors="replace")
    return list(deque(text.splitlines(), maxlen=LAST_LINES))

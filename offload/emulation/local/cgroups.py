"""What a machine may use of the processor and of memory, and what it uses: the kernel's cgroups.

    cgroups = find_cgroups(read_mounts())
    group = cgroups.make_group("1a2b3c", "pi")
    group.limit(cpu=0.15, memory_bytes=64 * 1024 * 1024)
    subprocess.Popen([..., *group.folders, ...])        # `entering` writes itself into cgroup.procs
    group.use().cpu_s

Version 1 has a tree of folders for each controller, version 2 one tree for all of them; this module
hides which. Version 1 is tested on a real kernel, version 2 on a recorded tree of files.
"""

import contextlib
import errno
import os
import re
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError, EmulationError

# Below the root of each tree; then the run, then the machine.
FOLDER: Final = "offload-emulation"

CPU: Final = "cpu"
ACCOUNTING: Final = "cpuacct"
MEMORY: Final = "memory"

# A machine runs for its share of each period and then stands still, so a short one is smoother: at
# 0.15 core it stands still for 8.5 ms at a time, where the kernel's usual 100 ms make it 85 ms. The
# kernel looks at its tick, every 4 ms or so, whether a share is used up, and takes from the next
# period what was too much: shares are exact to 1 % or so.
PERIOD_US: Final = 10_000

# The kernel takes no share of a period that is shorter, and no longer period.
LEAST_QUOTA_US: Final = 1_000
LONGEST_PERIOD_US: Final = 1_000_000
LEAST_CPU: Final = LEAST_QUOTA_US / LONGEST_PERIOD_US

_MOUNT: Final = re.compile(r"\S+ (?P<folder>\S+) (?P<kind>cgroup2?) (?P<options>\S+) ")
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What a machine uses; None for what this kernel does not count.

    Attributes:
        cpu_s: Processor seconds since it was made.
        memory_bytes: What its programs hold now, without files that the kernel may forget.
        memory_kills: How many of its programs were killed since they wanted more than its limit.
    """

    cpu_s: float | None
    memory_bytes: int | None
    memory_kills: int


class Group(ABC):
    """The cgroup of a machine.

    Attributes:
        folders: Where it is in each tree; who writes to ``cgroup.procs`` in all of them is in it.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        """Make the folders.

        Raises:
            EmulationError: The kernel refuses.
        """
        self.folders: Final = tuple(dict.fromkeys(folders))
        for folder in self.folders:
            with _translated(folder):
                folder.mkdir(parents=True)

    def limit(self, *, cpu: float | None, memory_bytes: int | None) -> None:
        """Let the machine use so much from now on; None for no limit.

        Raises:
            EmulationError: The kernel refuses: a controller is missing, or more memory is in use.
        """
        self._limit_cpu(cpu)
        self._limit_memory(memory_bytes)

    @abstractmethod
    def use(self) -> Use:
        """Return what the machine uses."""

    @abstractmethod
    def _limit_cpu(self, cpu: float | None) -> None: ...

    @abstractmethod
    def _limit_memory(self, memory_bytes: int | None) -> None: ...


class GroupV1(Group):
    """A cgroup in the trees of version 1.

    Args:
        trees: The folder of the group in each controller's tree.
    """

    def __init__(self, trees: Mapping[str, Path]) -> None:
        self._trees = trees
        super().__init__(tuple(trees.values()))

    def use(self) -> Use:
        """Return what the machine uses."""
        accounting, memory = self._trees.get(ACCOUNTING), self._trees.get(MEMORY)
        return Use(
            cpu_s=None if accounting is None else _number(accounting / "cpuacct.usage") / 1e9,
            memory_bytes=None
            if memory is None
            else _number(memory / "memory.usage_in_bytes")
            - _field(memory / "memory.stat", "total_inactive_file"),
            memory_kills=0 if memory is None else _field(memory / "memory.oom_control", "oom_kill"),
        )

    def _limit_cpu(self, cpu: float | None) -> None:
        folder = self._trees.get(CPU)
        if folder is None:
            _refuse_limit(cpu, CPU)
            return
        # The kernel checks each of the two against the other, so first none.
        _write(folder / "cpu.cfs_quota_us", "-1")
        if cpu is not None:
            quota_us, period_us = quota_and_period_us(cpu)
            _write(folder / "cpu.cfs_period_us", str(period_us))
            _write(folder / "cpu.cfs_quota_us", str(quota_us))

    def _limit_memory(self, memory_bytes: int | None) -> None:
        folder = self._trees.get(MEMORY)
        if folder is None:
            _refuse_limit(memory_bytes, MEMORY)
            return
        # Memory and swap together may not be under memory alone, so first none; some kernels do
        # not count swap.
        with_swap = folder / "memory.memsw.limit_in_bytes"
        if with_swap.exists():
            _write(with_swap, "-1")
        _write(folder / "memory.limit_in_bytes", str(-1 if memory_bytes is None else memory_bytes))
        if with_swap.exists() and memory_bytes is not None:
            _write(with_swap, str(memory_bytes))


class GroupV2(Group):
    """A cgroup in the tree of version 2.

    Args:
        root: The root of the tree.
        folder: The folder of the group.
        controllers: Those of our controllers that the root has.
    """

    def __init__(self, root: Path, folder: Path, controllers: Sequence[str]) -> None:
        self._folder = folder
        self._controllers = controllers
        wanted = " ".join(f"+{each}" for each in controllers)
        # A folder has the controllers that its parent passes on.
        above = [root, *(each for each in reversed(folder.parents) if root in each.parents)]
        for each in above:
            with _translated(each):
                each.mkdir(exist_ok=True)
            if wanted:
                _write(each / "cgroup.subtree_control", wanted)
        super().__init__([folder])

    def use(self) -> Use:
        """Return what the machine uses."""
        counts_memory = MEMORY in self._controllers
        return Use(
            # The kernel counts this without the controller, too.
            cpu_s=_field(self._folder / "cpu.stat", "usage_usec") / 1e6,
            memory_bytes=_number(self._folder / "memory.current")
            - _field(self._folder / "memory.stat", "inactive_file")
            if counts_memory
            else None,
            memory_kills=_field(self._folder / "memory.events", "oom_kill") if counts_memory else 0,
        )

    def _limit_cpu(self, cpu: float | None) -> None:
        if CPU not in self._controllers:
            _refuse_limit(cpu, CPU)
            return
        if cpu is None:
            _write(self._folder / "cpu.max", "max")
            return
        quota_us, period_us = quota_and_period_us(cpu)
        _write(self._folder / "cpu.max", f"{quota_us} {period_us}")

    def _limit_memory(self, memory_bytes: int | None) -> None:
        if MEMORY not in self._controllers:
            _refuse_limit(memory_bytes, MEMORY)
            return
        _write(self._folder / "memory.max", "max" if memory_bytes is None else str(memory_bytes))
        # A machine of so much memory gets no more of it on the disk; some kernels have no swap.
        swap = self._folder / "memory.swap.max"
        if swap.exists():
            _write(swap, "max" if memory_bytes is None else "0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cgroups:
    """Where this machine's cgroups are.

    Attributes:
        version: 1 or 2, or 0 if there are none.
        trees: The root of the tree of each controller that we need and that is there.
        unified: The root of version 2's tree, which may be there without a controller.
    """

    version: int
    trees: Mapping[str, Path]
    unified: Path | None

    def make_group(self, run: str, machine: str) -> Group:
        """Make the cgroup of a machine.

        Raises:
            EmulationError: The kernel refuses.
        """
        inside = Path(FOLDER, run, machine)
        if self.version == 2 and self.unified is not None:
            return GroupV2(self.unified, self.unified / inside, sorted(self.trees))
        return GroupV1({name: root / inside for name, root in self.trees.items()})

    def roots(self) -> list[Path]:
        """Return the folders that hold all groups of all runs, as far as there are any."""
        every = dict.fromkeys([*self.trees.values(), *([self.unified] if self.unified else [])])
        return [root / FOLDER for root in every if (root / FOLDER).is_dir()]


def read_mounts() -> str:
    """Return what the kernel says is mounted where."""
    return Path("/proc/self/mounts").read_text(encoding="utf-8")


def find_cgroups(mounts: str) -> Cgroups:
    """Find the trees of cgroups in what `read_mounts` says.

    Many machines have trees of version 1 and one of version 2 without controllers.
    """
    trees: dict[str, Path] = {}
    unified: Path | None = None
    for found in filter(None, map(_MOUNT.match, mounts.splitlines())):
        folder = Path(_ESCAPED.sub(lambda octal: chr(int(octal[1], 8)), found["folder"]))
        if found["kind"] == "cgroup2":
            unified = unified or folder
            continue
        for name in {CPU, ACCOUNTING, MEMORY} & set(found["options"].split(",")):
            trees.setdefault(name, folder)
    if unified is not None and not trees:
        has = (unified / "cgroup.controllers").read_text(encoding="ascii").split()
        return Cgroups(
            version=2,
            trees={name: unified for name in (CPU, MEMORY) if name in has},
            unified=unified,
        )
    return Cgroups(version=1 if trees else 0, trees=trees, unified=unified)


def quota_and_period_us(cpu: float) -> tuple[int, int]:
    """Return how long of which period a machine of so many cores may run, microseconds.

    Raises:
        ConfigurationError: It is less than the kernel can do.
    """
    if cpu < LEAST_CPU:
        raise ConfigurationError(f"cpu is {cpu:g}, expected at least {LEAST_CPU:g}")
    period_us = max(PERIOD_US, round(LEAST_QUOTA_US / cpu))
    return max(LEAST_QUOTA_US, round(cpu * period_us)), period_us


def processes_below(folder: Path) -> Iterator[int]:
    """Yield the processes of a group and of all groups in it."""
    for group in groups_below(folder):
        with contextlib.suppress(FileNotFoundError):
            yield from map(int, (group / "cgroup.procs").read_text(encoding="ascii").split())


def groups_below(folder: Path) -> list[Path]:
    """Return a group and all groups in it, inner ones first."""
    return [Path(path) for path, _, _ in os.walk(folder, topdown=False)]


def kill_below(folder: Path) -> None:
    """Kill all processes of a group and of all groups in it; those that they start meanwhile, too.

    It returns before they are gone.
    """
    at_once = folder / "cgroup.kill"
    if at_once.exists():
        _write(at_once, "1")
        return
    for process in processes_below(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def _refuse_limit(limit: float | None, controller: str) -> None:
    if limit is not None:
        raise EmulationError(f"this machine has no cgroup controller {controller!r} for a limit")


def _number(path: Path) -> int:
    with _translated(path):
        return int(path.read_text(encoding="ascii"))


def _field(path: Path, name: str) -> int:
    """Return a number from a file that has a name and a number in each line."""
    with _translated(path):
        for line in path.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words[0] == name:
                return int(words[1])
    return 0


def _write(path: Path, text: str) -> None:
    with _translated(path):
        path.write_text(text, encoding="ascii")


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # What a limit is below of, or a tree whose root has processes of its own.
        hint = ": more is in use, or processes are in it" if error.errno == errno.EBUSY else ""
        raise EmulationError(f"{path}: {error.strerror}{hint}") from error

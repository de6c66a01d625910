"""Removes what a run left behind, also one that was killed; and keeps two from running at a time.

    with RunningLock(folder):
        clean()                     # what an earlier run left
        ...

All that a run makes can be told by its name: processes by `RUN_VARIABLE` in their environment,
cgroups and namespaces by how they are called. The devices of links go with their processes.
"""

import contextlib
import errno
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from offload.emulation.local.cgroups import (
    find_cgroups,
    groups_below,
    kill_below,
    processes_below,
    read_mounts,
)
from offload.emulation.local.network import our_namespaces, remove_namespace
from offload.errors import EmulationError

# In the environment of every process that a run starts; its value is the run.
RUN_VARIABLE: Final = "OFFLOAD_EMULATION_RUN"

# Only root may write there, and it is empty after the machine was started.
LOCK: Final = Path("/run/offload-emulation.lock")

# A killed process is gone within milliseconds, unless its disk does not answer.
GONE_LIMIT_S: Final = 10.0

# A run that was asked to end gives devices and clouds 15 s each, and writes its report.
END_LIMIT_S: Final = 60.0

_LOOK_AGAIN_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """How much of what was left behind was removed."""

    processes: int
    groups: int
    namespaces: int

    def __bool__(self) -> bool:
        """Whether there was anything."""
        return bool(self.processes or self.groups or self.namespaces)

    def __str__(self) -> str:
        """Return it in words."""
        return (
            f"{self.processes} processes, {self.groups} cgroups, "
            f"{self.namespaces} network namespaces"
        )


class AnotherRunError(EmulationError):
    """A run is going on.

    Attributes:
        process: That of the run; None if it has only just begun.
    """

    def __init__(self, process: int | None, folder: str) -> None:
        super().__init__(
            f"a run is going on (process {process}, folder {folder}): wait for its end, or end it "
            "by `python3 -m offload.emulation clean --force`"
        )
        self.process = process


class RunningLock:
    """Held while a run is going on, by its process alone; the kernel frees it with the process.

    Args:
        folder: Where the run writes, for those who find it locked.
        path: The lock's file.
    """

    def __init__(self, folder: Path, path: Path = LOCK) -> None:
        self._folder = folder
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            AnotherRunError: Somebody has it.
            EmulationError: We may not have it.
        """
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EmulationError(f"{self._path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder, _, folder = os.pread(descriptor, 4096, 0).decode().partition(" ")
            os.close(descriptor)
            raise AnotherRunError(int(holder) if holder else None, folder) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {self._folder.absolute()}".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the next run begin."""
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)


def end_run(process: int) -> None:
    """End the process of a run: by SIGTERM, and by SIGKILL if that is not enough.

    Raises:
        EmulationError: It does not end.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        for number, limit_s in ((signal.SIGTERM, END_LIMIT_S), (signal.SIGKILL, GONE_LIMIT_S)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, number)
            if select.select([descriptor], (), (), limit_s)[0]:
                return
    finally:
        os.close(descriptor)
    raise EmulationError(f"process {process} of a run does not end")


def clean() -> Cleaned:
    """Remove everything that any run has made; the caller has the lock, so that none is going on.

    Raises:
        EmulationError: Something cannot be removed.
    """
    roots = find_cgroups(read_mounts()).roots()
    processes = _end_processes(roots)
    groups = [group for root in roots for group in groups_below(root)]
    for group in groups:
        _remove_group(group)
    namespaces = our_namespaces()
    for namespace in namespaces:
        remove_namespace(namespace)
    # The group that holds all runs is no find of its own.
    return Cleaned(processes=processes, groups=len(groups) - len(roots), namespaces=len(namespaces))


def _end_processes(roots: list[Path]) -> int:
    """Kill all processes of ours until there are none; return how many there were."""
    ended: set[int] = set()

    def are_gone() -> bool:
        found = {process for root in roots for process in processes_below(root)}
        for root in roots:
            kill_below(root)
        found.update(_kill_marked())
        ended.update(found)
        return not found

    if not _wait_until(are_gone, GONE_LIMIT_S):
        raise EmulationError(f"some of the processes {sorted(ended)} do not end")
    return len(ended)


def _kill_marked() -> Iterator[int]:
    """Kill the processes that a run has started, and those that these started; yield them."""
    mark = f"{RUN_VARIABLE}=".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        # Opened first: from here on it is this process, or none.
        try:
            descriptor = os.pidfd_open(int(folder.name))
        except ProcessLookupError:
            continue
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if any(each.startswith(mark) for each in variables):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
                yield int(folder.name)
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            # It has ended by itself, or is nobody's whom we could have started.
            continue
        finally:
            os.close(descriptor)


def _remove_group(group: Path) -> None:
    def is_gone() -> bool:
        try:
            group.rmdir()
        except FileNotFoundError:
            return True
        except OSError as error:
            # A process that was killed has not quite gone yet.
            if error.errno == errno.EBUSY:
                return False
            raise EmulationError(f"cgroup {group} cannot be removed: {error.strerror}") from error
        return True

    if not _wait_until(is_gone, GONE_LIMIT_S):
        raise EmulationError(f"cgroup {group} cannot be removed: processes are in it")


def _wait_until(holds: Callable[[], bool], limit_s: float) -> bool:
    give_up_s = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > give_up_s:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True

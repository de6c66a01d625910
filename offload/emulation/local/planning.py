"""What an experiment sets up on this machine, and what this machine lacks for it.

    plan = plan_for(experiment, look_at_machine())
    plan.text               # for people
    plan.lacks              # what keeps it from running here; empty if nothing does
    plan.hints              # what makes its figures doubtful

It needs nothing but the standard library, and no root.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Experiment, Link, Machine, MachineChange, Quality
from offload.emulation.files import placeholders
from offload.emulation.local.cgroups import CPU, LEAST_CPU, MEMORY, find_cgroups, read_mounts
from offload.emulation.report import wording
from offload.emulation.topology import addresses

# What the local backend needs beside the standard library.
_PACKAGE: Final = "pyroute2"
PACKAGE_REMEDY: Final = "`./run setup emulation` installs it"

_TUN: Final = Path("/dev/net/tun")

# CAP_NET_ADMIN and CAP_SYS_ADMIN, from linux/capability.h.
_CAPABILITIES: Final = (12, 21)

_CONTROLLER_REMEDIES: Final = {
    CPU: "boot a kernel that has it, or start the container with --privileged --cgroupns=host",
    # Raspberry Pi OS switches it off.
    MEMORY: "add cgroup_enable=memory to the kernel's command line and restart",
}

STILL_WORKS: Final = "plan, render, import, kinds and report work without any of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What this machine can do.

    Attributes:
        is_root: Whether this process is root, and may make namespaces and links.
        has_tun: Whether TAP devices can be made.
        has_package: Whether pyroute2 is installed.
        controllers: The controllers of cgroups that there are and that it may use.
        cores: How many processors it has.
        memory_bytes: How much memory.
    """

    is_root: bool
    has_tun: bool
    has_package: bool
    controllers: frozenset[str]
    cores: int
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lack:
    """Something that keeps an experiment from running here.

    Attributes:
        what: What is missing, and what for.
        remedy: How to get it.
    """

    what: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment would do here.

    Attributes:
        text: What is set up, as lines for people.
        lacks: What keeps it from running.
        hints: What does not, but is worth knowing.
    """

    text: str
    lacks: Sequence[Lack]
    hints: Sequence[str]


def look_at_machine() -> Abilities:
    """Find out what this machine can do."""
    is_root = os.geteuid() == 0 and _has_capabilities()
    return Abilities(
        is_root=is_root,
        # Others than root can only see whether they are there.
        has_tun=_can_open(_TUN) if is_root else _TUN.exists(),
        has_package=importlib.util.find_spec(_PACKAGE) is not None,
        controllers=frozenset(
            name
            for name, tree in find_cgroups(read_mounts()).trees.items()
            if os.access(tree, os.W_OK) or not is_root
        ),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    )


def _has_capabilities() -> bool:
    """Return whether this process may make namespaces and links; root in a container may not."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(each for each in status.splitlines() if each.startswith("CapEff:"))
    has = int(line.partition(":")[2], 16)
    return all(has >> number & 1 for number in _CAPABILITIES)


def _can_open(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def plan_for(experiment: Experiment, abilities: Abilities) -> Plan:
    """Return what an experiment sets up, and what a machine of these abilities lacks for it."""
    return Plan(
        text="\n".join(_lines(experiment)),
        lacks=tuple([*_lacks(experiment, abilities), *_missing_commands(experiment)]),
        hints=tuple(_hints(experiment, abilities)),
    )


def _lacks(experiment: Experiment, abilities: Abilities) -> Iterator[Lack]:
    if not abilities.is_root:
        yield Lack(
            what="root, for network namespaces, links and cgroups",
            remedy="run it with sudo, or in a container with --privileged",
        )
    if not abilities.has_package:
        yield Lack(
            what=f"the Python package {_PACKAGE}, for network namespaces",
            remedy=PACKAGE_REMEDY,
        )
    if not abilities.has_tun and experiment.links:
        yield Lack(
            what=f"{_TUN}, for links",
            remedy=f"modprobe tun as root, or start the container with --device {_TUN}",
        )
    cpus = [each.cpu for each in _limited(experiment) if each.cpu is not None]
    memories = [each for each in _limited(experiment) if each.memory_bytes is not None]
    for controller, is_needed in ((CPU, bool(cpus)), (MEMORY, bool(memories))):
        if is_needed and controller not in abilities.controllers:
            yield Lack(
                what=f"the cgroup controller {controller}, for the machines' limits of it",
                remedy=_CONTROLLER_REMEDIES[controller],
            )
    least = min(cpus, default=LEAST_CPU)
    if least < LEAST_CPU:
        yield Lack(
            what=f"a kernel that can limit a machine to {least:g} core",
            remedy=f"give it at least {LEAST_CPU:g}",
        )


def _limited(experiment: Experiment) -> list[Machine | MachineChange]:
    changes = [each for each in experiment.changes if isinstance(each, MachineChange)]
    return [*experiment.machines, *changes]


def _missing_commands(experiment: Experiment) -> Iterator[Lack]:
    for machine in experiment.machines:
        program = machine.command[0].replace(f"{{{placeholders.PYTHON}}}", sys.executable)
        path = machine.environment.get("PATH", os.environ.get("PATH"))
        # A name with other braces is known only when it runs.
        if not placeholders.names_in(program) and shutil.which(program, path=path) is None:
            yield Lack(
                what=f"the program {program!r} of machine {machine.name}",
                remedy="install it, or run this in the folder that it is in",
            )


def _hints(experiment: Experiment, abilities: Abilities) -> Iterator[str]:
    for machine in experiment.machines:
        if machine.cpu is not None and machine.cpu > abilities.cores:
            yield (
                f"machine {machine.name} may use {machine.cpu:g} cores, and there are "
                f"{abilities.cores}"
            )
        if machine.mounts:
            yield f"machine {machine.name}: its mounts are for containers, here it sees all files"
    cpu = sum(each.cpu or 0.0 for each in experiment.machines)
    if cpu > abilities.cores and len(experiment.machines) > 1:
        yield (
            f"the machines may use {cpu:g} cores together, and there are {abilities.cores}: they "
            "may slow each other down"
        )
    memory_bytes = sum(each.memory_bytes or 0 for each in experiment.machines)
    if memory_bytes > abilities.memory_bytes:
        yield (
            f"the machines may use {wording.size(memory_bytes)} together, and there are "
            f"{wording.size(abilities.memory_bytes)}"
        )
    if MEMORY not in abilities.controllers:
        yield f"there is no cgroup controller {MEMORY}: memory is not measured"


def _lines(experiment: Experiment) -> Iterator[str]:
    yield f"experiment {experiment.name}, {wording.seconds(experiment.duration_s)}"
    if experiment.description:
        yield f"  {experiment.description}"
    yield "machines"
    found = addresses(experiment)
    for machine in experiment.machines:
        yield from _machine_lines(machine, found[machine.name])
    yield "links" if experiment.links else "no links"
    for link in experiment.links:
        yield from _link_lines(link)
    yield "schedule" if experiment.changes else "no changes"
    yield from (f"  {each.text}" for each in experiment.changes)


def _machine_lines(machine: Machine, address: str) -> Iterator[str]:
    kind = f" {machine.kind}" if machine.kind else ""
    cpu = "all cores" if machine.cpu is None else f"{machine.cpu:g} core"
    memory = "all memory" if machine.memory_bytes is None else wording.size(machine.memory_bytes)
    yield f"  {machine.name}: {machine.role}{kind}, {address}, {cpu}, {memory}"
    yield f"    {' '.join(machine.command)}"
    for name, value in machine.environment.items():
        yield f"    with {name}={value}"
    ready = machine.ready
    if ready.port is not None or ready.line is not None:
        does = f"it listens on port {ready.port}" if ready.port else f"it says {ready.line!r}"
        yield f"    ready when {does}, within {wording.seconds(ready.within_s)}"


def _link_lines(link: Link) -> Iterator[str]:
    kind = f" ({link.kind})" if link.kind else ""
    yield f"  {link.name}{kind}"
    for to in reversed(link.ends):
        yield f"    to {to}: {describe(link.quality_to(to))}"


def describe(quality: Quality) -> str:
    """Return what a direction of a link does, in words."""
    if not quality.is_up:
        return "down"
    words = [
        "any rate" if quality.rate_bit_s is None else wording.rate(quality.rate_bit_s),
        f"delay {wording.seconds(quality.delay_s)}",
    ]
    if quality.jitter_s:
        words.append(f"jitter {wording.seconds(quality.jitter_s)}")
    if quality.loss:
        words.append(f"loss {wording.share(quality.loss)}")
    if quality.loss_burst > 1:
        words.append(f"{quality.loss_burst:g} packets in a row")
    words.append(f"queue {wording.size(quality.queue_limit_bytes)}")
    return ", ".join(words)

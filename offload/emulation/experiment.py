"""What an experiment is, once its file is read and checked: machines, links, and when they change.

Everything here is a value. `reading` makes it from a file, the backends do what it says.

    experiment = read_experiment(Path("examples/experiments/wifi-drop.toml"))
    for link in experiment.links:
        link.name, link.quality_to(link.ends[1]).rate_bit_s
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

# What a link's queue holds where the experiment does not say: so much time at its rate, as the
# buffer of a usual router, and at least a train of packets as TCP makes them.
DEFAULT_QUEUE_S: Final = 0.1
LEAST_QUEUE_BYTES: Final = 64 * 1024

# Of a link without a rate nothing waits for long; this bounds what a delay may hold in memory.
UNLIMITED_QUEUE_BYTES: Final = 16 * 1024 * 1024


class Role(StrEnum):
    """What a machine is there for; a device starts after the clouds that it may connect to."""

    CLOUD = "cloud"
    DEVICE = "device"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What one direction of a link does to packets.

    Attributes:
        rate_bit_s: Bits of IP packets per second; None for as fast as this machine can.
        delay_s: Seconds that a packet is on its way, besides waiting and being sent.
        jitter_s: The delay varies by up to so much either way, evenly; packets stay in order.
        loss: Share of packets that get lost, 0 to 1.
        loss_burst: Mean number of packets lost in a row. 1 for losses that do not know of each
            other; more makes them come in bursts (Gilbert's model), the share staying the same.
        queue_bytes: What may wait to be sent; past it packets are dropped. None for the default.
        is_up: Whether anything gets through.
    """

    rate_bit_s: float | None = None
    delay_s: float = 0.0
    jitter_s: float = 0.0
    loss: float = 0.0
    loss_burst: float = 1.0
    queue_bytes: int | None = None
    is_up: bool = True

    @property
    def queue_limit_bytes(self) -> int:
        """What may wait to be sent."""
        if self.queue_bytes is not None:
            return self.queue_bytes
        if self.rate_bit_s is None:
            return UNLIMITED_QUEUE_BYTES
        return max(LEAST_QUEUE_BYTES, round(DEFAULT_QUEUE_S * self.rate_bit_s / 8))


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A cable or a radio between two machines.

    Attributes:
        name: Unique among the links.
        ends: Names of the two machines.
        forward: The direction from the first end to the second.
        backward: The direction from the second end to the first.
        kind: The catalogue's kind that it was made from; None for none.
    """

    name: str
    ends: tuple[str, str]
    forward: Quality
    backward: Quality
    kind: str | None = None

    def quality_to(self, machine: str) -> Quality:
        """Return the direction that leads to the machine, one of the ends."""
        return self.forward if machine == self.ends[1] else self.backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """When a machine counts as started; with neither, as soon as its program runs.

    Attributes:
        port: It listens on this TCP port.
        line: It has printed a line that contains this text.
        within_s: How long it may take.
    """

    port: int | None = None
    line: str | None = None
    within_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine and the program that runs on it.

    Attributes:
        name: Unique among the machines; also what other machines' commands call it.
        role: Cloud or device.
        kind: The catalogue's kind that its limits come from; None for none.
        command: The program and its arguments, without a shell. ``{NAME}`` is the address of
            machine NAME, ``{folder}`` where this machine's files are collected, ``{python}`` the
            Python that runs the experiment.
        environment: Variables besides those of whoever runs the experiment, filled in alike.
        cpu: Processor seconds per second that it may use; None for no limit.
        memory_bytes: What its programs may use in all; None for no limit.
        start_order: Machines of a lower number are started, and ready, first.
        ready: When it counts as started.
        image: Container image, for backends that run containers.
        ports: TCP ports that others connect to, for backends that have to name them.
        mounts: Folders of the host and where the machine sees them, for backends with containers.
    """

    name: str
    role: Role
    kind: str | None = None
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    cpu: float | None = None
    memory_bytes: int | None = None
    start_order: int
    ready: Readiness = Readiness()
    image: str | None = None
    ports: tuple[int, ...] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChange:
    """From ``at_s`` on a link is another one.

    Attributes:
        at_s: Seconds since all machines were started.
        link: Its name.
        forward: The direction to its second end from then on.
        backward: The direction to its first end from then on.
        text: As the experiment's file says it.
    """

    at_s: float
    link: str
    forward: Quality
    backward: Quality
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineChange:
    """From ``at_s`` on a machine may use other shares; None for no limit.

    Attributes:
        at_s: Seconds since all machines were started.
        machine: Its name.
        cpu: See `Machine`.
        memory_bytes: See `Machine`.
        text: As the experiment's file says it.
    """

    at_s: float
    machine: str
    cpu: float | None
    memory_bytes: int | None
    text: str


Change = LinkChange | MachineChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """All of an experiment.

    Attributes:
        name: For its folder and the report's title.
        description: What it shows, in a sentence or two.
        machines: In the order in which they are started.
        links: Between pairs of machines, at most one for each pair.
        changes: In the order of their times; each states all of what holds from then on.
        duration_s: Seconds from the start of the last machine to the end.
        seed: Of everything random: the same seed loses the same packets of each link.
        collect_every_s: How often machines and links are measured.
        probes: Whether links are measured before the programs start.
    """

    name: str
    description: str = ""
    machines: Sequence[Machine]
    links: Sequence[Link]
    changes: Sequence[Change] = ()
    duration_s: float
    seed: int = 0
    collect_every_s: float = 1.0
    probes: bool = True

    def machine(self, name: str) -> Machine:
        """Return the machine of a name that the experiment has."""
        return next(each for each in self.machines if each.name == name)

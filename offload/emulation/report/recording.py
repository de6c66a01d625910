"""What a run left in its folder, as values; `run_folder` reads them.

recording = read_recording(Path("build/experiments/wifi-drop-20260102-120000"))
recording.machine_samples["pi"][-1].memory_bytes
recording.missing  # ["probes.json is missing"]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from offload.emulation.experiment import Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSample:
    """A row of machines.csv; None for what the kernel does not count.

    ``t`` is seconds since all machines were started, here and below.
    """

    t: float
    cpu_s: float | None
    cpu_cores: float | None
    memory_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSample:
    """A row of links.csv: what one direction has delivered, and not delivered, so far.

    Attributes:
        t: Seconds.
        bytes_out: Delivered.
        lost: Packets lost by the link's loss.
        dropped: Packets dropped by its full queue, or while it was down.
        missed: Packets that it never saw, since the machine that it runs on was too slow.
    """

    t: float
    bytes_out: float | None
    lost: float | None
    dropped: float | None
    missed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """A line of events.jsonl; the exit code is that of a program that ended, or less a signal."""

    t: float
    kind: str
    machine: str | None
    text: str
    exit_code: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What a device program said of itself at one time; None for what it did not say."""

    t: float
    fps: float | None
    target: float | None
    split: float | None
    latency_p95_ms: float | None = None
    dropped: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one direction of a link was asked to do, or did; None for not known.

    Attributes:
        rate_bit_s: Bits of IP packets per second; of what was asked, None for no limit.
        delay_s: In the middle.
        jitter_s: By how much the delay varies either way.
        loss: Share of packets.
    """

    rate_bit_s: float | None
    delay_s: float | None
    jitter_s: float | None
    loss: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """An entry of probes.json: measured before the programs started.

    Attributes:
        requested: What the experiment says.
        achieved: What came out.
        packets: How many the loss was counted over.
    """

    requested: Figures
    achieved: Figures
    packets: float | None


# What a run has many of, each with its time.
Timed = TypeVar("Timed", MachineSample, LinkSample, Progress)

# A link, and the machine that the direction leads to.
Direction = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that a run folder holds.

    Attributes:
        name: The experiment's; the folder's where that is not known.
        experiment: None if its file is missing or broken.
        began_at: Unix time when all machines were started; None if nothing says it.
        ran_s: When it was over: programs were asked to end. Of one that was cut short, the last
            time of which anything is known.
        happenings: In the order of the file.
        machine_samples: By machine.
        link_samples: By direction.
        probes: By direction.
        progress: By machine.
        summaries: What ``--summary`` wrote, by machine.
        host: What the experiment ran on: facts by name.
        missing: What is not there or broken, a sentence each.
    """

    name: str
    experiment: Experiment | None
    began_at: float | None
    ran_s: float
    happenings: Sequence[Happening]
    machine_samples: Mapping[str, Sequence[MachineSample]]
    link_samples: Mapping[Direction, Sequence[LinkSample]]
    probes: Mapping[Direction, Probe]
    progress: Mapping[str, Sequence[Progress]]
    summaries: Mapping[str, Mapping[str, Any]]
    host: Mapping[str, object]
    missing: Sequence[str]

    def during(self, samples: Sequence[Timed]) -> list[Timed]:
        """Return those from the start of all machines to the end of the run."""
        return [each for each in samples if 0 <= each.t <= self.ran_s]

    @property
    def machines(self) -> list[str]:
        """The names of the experiment's machines, then of others that were measured."""
        planned = self.experiment.machines if self.experiment else ()
        return list(dict.fromkeys([*(each.name for each in planned), *self.machine_samples]))

    @property
    def directions(self) -> list[Direction]:
        """The experiment's, each link's two together, then others that were measured."""
        links = self.experiment.links if self.experiment else ()
        planned = [(link.name, end) for link in links for end in reversed(link.ends)]
        return list(dict.fromkeys([*planned, *self.probes, *self.link_samples]))

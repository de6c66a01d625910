"""What changed over a run: samples as curves, each with what it is measured against.

for curve in curves_of(recording):
    curve.quantity, curve.subject, curve.lines[0].values

Times are seconds since all machines were started. What came before is left out, and what came once
programs were asked to end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from offload.emulation.experiment import LinkChange, MachineChange, Quality
from offload.emulation.report.recording import Direction, Recording


class Quantity(StrEnum):
    """What a curve shows; the name ends in the unit."""

    FPS = "fps"
    SPLIT = "split"
    LATENCY = "latency_p95_s"
    CPU = "cpu_cores"
    MEMORY = "memory_bytes"
    LINK_USE = "link_bit_s"
    FRAMES_DROPPED = "dropped_frames_per_s"
    PACKETS_LOST = "lost_packets_per_s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Values over time.

    Attributes:
        name: ``measured``; what that is held against: ``target``, ``limit`` or ``rate``; of packets
            ``lost`` on the way, ``dropped`` by a full queue or a link that is down, and ``missed``
            by a link that this machine was too slow for.
        t: Seconds, rising.
        values: One for each time; None where there is none, such as the limit where it is lifted.
        is_step: Each value holds until the next time.
    """

    name: str
    t: Sequence[float]
    values: Sequence[float | None]
    is_step: bool = False

    @property
    def is_against(self) -> bool:
        """Whether it is what others are held against."""
        return self.name in ("target", "limit", "rate")

    @property
    def known(self) -> list[float]:
        """The values without None."""
        return [each for each in self.values if each is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One quantity of one machine, or of one direction of a link, over the run.

    Attributes:
        quantity: What it shows.
        subject: The machine, or the link and where the direction leads.
        lines: What was measured comes first.
        down: When the link was down: pairs of seconds.
    """

    quantity: Quantity
    subject: str
    lines: Sequence[Line]
    down: Sequence[tuple[float, float]] = ()


def curves_of(recording: Recording) -> list[Curve]:
    """Return the curves of a run, ordered by quantity; those without any value are left out."""
    found: list[Curve] = []
    for name in recording.machines:
        found += _program_curves(recording, name)
        found += _machine_curves(recording, name)
    for direction in recording.directions:
        found += _direction_curves(recording, direction)
    order = list(Quantity)
    told = [each for each in found if each.lines[0].known]
    return sorted(told, key=lambda curve: order.index(curve.quantity))


def direction_name(direction: Direction) -> str:
    """Return what the report calls one direction of a link."""
    link, to = direction
    return f"{link} to {to}"


def limits_of(recording: Recording, machine: str) -> list[MachineChange]:
    """Return a machine's limits at the beginning, then each change that the run came to."""
    if recording.experiment is None:
        return []
    first = [
        MachineChange(
            at_s=0.0, machine=machine, cpu=each.cpu, memory_bytes=each.memory_bytes, text=""
        )
        for each in recording.experiment.machines
        if each.name == machine
    ]
    changes = [
        each
        for each in recording.experiment.changes
        if isinstance(each, MachineChange) and each.machine == machine
    ]
    return [each for each in first + changes if each.at_s <= recording.ran_s]


def qualities_of(recording: Recording, direction: Direction) -> list[tuple[float, Quality]]:
    """Return a direction's quality at the beginning, 0 s, then each from when on it held."""
    if recording.experiment is None:
        return []
    name, to = direction
    found: list[tuple[float, Quality]] = []
    for link in recording.experiment.links:
        if link.name == name:
            found.append((0.0, link.quality_to(to)))
            found += [
                (each.at_s, each.forward if to == link.ends[1] else each.backward)
                for each in recording.experiment.changes
                if isinstance(each, LinkChange) and each.link == name
            ]
    return [(t, quality) for t, quality in found if t <= recording.ran_s]


def _program_curves(recording: Recording, name: str) -> Iterator[Curve]:
    progress = recording.during(recording.progress.get(name, ()))
    times = [each.t for each in progress]
    fps = Line(name="measured", t=times, values=[each.fps for each in progress])
    target = Line(name="target", t=times, values=[each.target for each in progress])
    split = Line(name="measured", t=times, values=[each.split for each in progress])
    latency = [
        None if each.latency_p95_ms is None else each.latency_p95_ms / 1000 for each in progress
    ]
    dropped = _rates("measured", times, [each.dropped for each in progress])
    yield Curve(quantity=Quantity.FPS, subject=name, lines=_with_known(fps, target))
    yield Curve(quantity=Quantity.SPLIT, subject=name, lines=[split])
    yield Curve(
        quantity=Quantity.LATENCY,
        subject=name,
        lines=[Line(name="measured", t=times, values=latency)],
    )
    yield Curve(quantity=Quantity.FRAMES_DROPPED, subject=name, lines=[dropped])


def _machine_curves(recording: Recording, name: str) -> Iterator[Curve]:
    samples = recording.during(recording.machine_samples.get(name, ()))
    times = [each.t for each in samples]
    limits = limits_of(recording, name)
    used = Line(name="measured", t=times, values=[each.cpu_cores for each in samples])
    held = Line(name="measured", t=times, values=[each.memory_bytes for each in samples])
    cores = _steps("limit", [(each.at_s, each.cpu) for each in limits], recording.ran_s)
    memory = _steps("limit", [(each.at_s, each.memory_bytes) for each in limits], recording.ran_s)
    yield Curve(quantity=Quantity.CPU, subject=name, lines=_with_known(used, cores))
    yield Curve(quantity=Quantity.MEMORY, subject=name, lines=_with_known(held, memory))


def _direction_curves(recording: Recording, direction: Direction) -> Iterator[Curve]:
    samples = recording.during(recording.link_samples.get(direction, ()))
    times = [each.t for each in samples]
    qualities = qualities_of(recording, direction)
    rate = _steps(
        "rate",
        [(t, each.rate_bit_s if each.is_up else None) for t, each in qualities],
        recording.ran_s,
    )
    down = _down(qualities, recording.ran_s)
    subject = direction_name(direction)
    used = _rates(
        "measured",
        times,
        [None if each.bytes_out is None else 8 * each.bytes_out for each in samples],
    )
    lost = _rates("lost", times, [each.lost for each in samples])
    dropped = _rates("dropped", times, [each.dropped for each in samples])
    missed = _rates("missed", times, [each.missed for each in samples])
    packets = [lost, dropped, missed] if any(missed.known) else [lost, dropped]
    yield Curve(
        quantity=Quantity.LINK_USE, subject=subject, lines=_with_known(used, rate), down=down
    )
    yield Curve(quantity=Quantity.PACKETS_LOST, subject=subject, lines=packets, down=down)


def _with_known(measured: Line, held_against: Line) -> list[Line]:
    return [measured, held_against] if held_against.known else [measured]


def _rates(name: str, t: Sequence[float], counts: Sequence[float | None]) -> Line:
    """Return how much was counted per second between each time and the one before."""
    times: list[float] = []
    values: list[float | None] = []
    for (before_t, before), (now_t, now) in pairwise(zip(t, counts, strict=True)):
        if now_t > before_t:
            times.append(now_t)
            # A counter that went back belongs to a program, or a link, that began anew.
            if before is None or now is None or now < before:
                values.append(None)
            else:
                values.append((now - before) / (now_t - before_t))
    return Line(name=name, t=times, values=values)


def _steps(name: str, changes: Iterable[tuple[float, float | None]], until_s: float) -> Line:
    """Return a line that holds each value until the next change, and the last one to the end."""
    held = list(changes)
    if held:
        held.append((until_s, held[-1][1]))
    return Line(
        name=name, t=[t for t, _ in held], values=[value for _, value in held], is_step=True
    )


def _down(qualities: Sequence[tuple[float, Quality]], until_s: float) -> list[tuple[float, float]]:
    ends = [t for t, _ in qualities[1:]] + [until_s]
    return [(t, end) for (t, each), end in zip(qualities, ends, strict=False) if not each.is_up]

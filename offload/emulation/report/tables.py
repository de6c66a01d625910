"""The rows of the report's tables: what each link and each machine was to do, and did.

link_row(recording, ("wifi", "cloud")).differs  # ("rate_bit_s",)
machine_row(recording, "pi").cpu_mean_cores
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from offload.emulation.experiment import Quality
from offload.emulation.report.curves import limits_of, qualities_of
from offload.emulation.report.recording import (
    Direction,
    Figures,
    Probe,
    Recording,
)
from offload.emulation.report.run_files import number, objects, table

# What a link may be off by before the report marks it.
RATE_TOLERANCE: Final = 0.05
DELAY_TOLERANCE_S: Final = 0.001
LOSS_TOLERANCE: Final = 0.05

# A probe has tens of packets to tell the delay by, so under jitter its middle is off by a part of
# that: by a twentieth as a rule.
_JITTER_SHARE: Final = 0.25

# A probe of few packets cannot tell a loss that well: so many standard deviations are chance.
_CHANCE_DEVIATIONS: Final = 3.0

# What the server calls the outcomes that a device counts.
_SERVER_OUTCOMES: Final = {
    "completed": "results",
    "filtered": "filtered",
    "dropped": "dropped",
    "failed": "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRow:
    """One direction of a link.

    Attributes:
        link: Its name.
        to: The machine that the direction leads to.
        kind: The catalogue's kind that it was made from; None for none.
        requested: What the experiment asks for at the beginning; None if nothing says it.
        achieved: What was measured before the programs started; None if it was not.
        packets: How many the loss was measured with.
        differs: Those figures that were not achieved: names of fields of ``requested``.
        delivered_bytes: What it delivered during the run; None if that was not recorded.
        lost_packets: What it lost by its loss.
        dropped_packets: What it dropped since its queue was full, or the link down.
        missed_packets: What never got to it, since the machine that it ran on was too slow: then
            the link was worse than it was asked to be.
    """

    link: str
    to: str
    kind: str | None
    requested: Figures | None
    achieved: Figures | None
    packets: float | None
    differs: Sequence[str]
    delivered_bytes: float | None
    lost_packets: float | None
    dropped_packets: float | None
    missed_packets: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRow:
    """A machine and the program on it; None for what was not recorded.

    Attributes:
        machine: Its name.
        role: ``device`` or ``cloud``.
        kind: The catalogue's kind that its limits come from; None for none.
        cpu_limits: Cores that it might use, at the beginning and after each change; None in it
            for no limit.
        memory_limits: Bytes, alike.
        cpu_s: Processor seconds from the start of all machines on.
        cpu_mean_cores: Those by the seconds in which they were measured.
        cpu_peak_cores: The most within one period of measuring.
        memory_peak_bytes: The most that was measured.
        exit_code: Of its program, or less the signal that ended it.
        target_fps: What a device's program was to reach at the end.
        fps: Finished frames per second, as its summary says.
        frames: How many ended how, as its summary says: ``completed``, ``filtered``, ``dropped``,
            ``failed``, and those of a device's other counts that are not zero.
        latency_p95_s: What 95 % of its frames did not exceed.
        split_mean: How many tasks of a frame ran on the device, in the mean.
        cloud_s_saved: Cloud processor seconds saved against a split of 1.
        reconnects: How often it lost its session and came back.
        resent: Frames that it sent again.
    """

    machine: str
    role: str | None
    kind: str | None
    cpu_limits: Sequence[float | None]
    memory_limits: Sequence[int | None]
    cpu_s: float | None
    cpu_mean_cores: float | None
    cpu_peak_cores: float | None
    memory_peak_bytes: float | None
    exit_code: int | None
    target_fps: float | None
    fps: float | None
    frames: Mapping[str, int]
    latency_p95_s: float | None
    split_mean: float | None
    cloud_s_saved: float | None
    reconnects: float | None
    resent: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over machines and links; None where nothing was recorded.

    Attributes:
        fps: Finished frames per second of all devices together.
        frames: Frames of all devices, by how they ended.
        device_cpu_s: Processor seconds of the devices.
        cloud_cpu_s: Processor seconds of the clouds.
        cloud_s_saved: Cloud processor seconds saved against a split of 1.
        delivered_bytes: What all links delivered, both ways.
        lost_packets: What they lost by their loss.
        dropped_packets: What they dropped since a queue was full, or a link down.
    """

    fps: float | None
    frames: Mapping[str, int]
    device_cpu_s: float | None
    cloud_cpu_s: float | None
    cloud_s_saved: float | None
    delivered_bytes: float | None
    lost_packets: float | None
    dropped_packets: float | None


def link_row(recording: Recording, direction: Direction) -> LinkRow:
    """Return the row of one direction of a link."""
    name, to = direction
    probe = recording.probes.get(direction)
    qualities = qualities_of(recording, direction)
    links = recording.experiment.links if recording.experiment else ()
    samples = recording.link_samples.get(direction, ())
    last = samples[-1] if samples else None
    first = qualities[0][1] if qualities else None
    return LinkRow(
        link=name,
        to=to,
        kind=next((each.kind for each in links if each.name == name), None),
        requested=probe.requested if probe else _figures(first),
        achieved=probe.achieved if probe else None,
        packets=probe.packets if probe else None,
        differs=_differences(probe, first.loss_burst if first else 1.0) if probe else [],
        delivered_bytes=last.bytes_out if last else None,
        lost_packets=last.lost if last else None,
        dropped_packets=last.dropped if last else None,
        missed_packets=last.missed if last else None,
    )


def machine_row(recording: Recording, name: str) -> MachineRow:
    """Return the row of one machine."""
    machines = recording.experiment.machines if recording.experiment else ()
    machine = next((each for each in machines if each.name == name), None)
    limits = limits_of(recording, name)
    samples = recording.during(recording.machine_samples.get(name, ()))
    counted = [(each.t, each.cpu_s) for each in samples if each.cpu_s is not None]
    cpu_s = counted[-1][1] - counted[0][1] if counted else None
    during_s = counted[-1][0] - counted[0][0] if counted else 0.0
    summary = recording.summaries.get(name, {})
    codes = [each.exit_code for each in recording.happenings if each.machine == name]
    return MachineRow(
        machine=name,
        role=machine.role.value if machine else None,
        kind=machine.kind if machine else None,
        cpu_limits=_without_repeats([each.cpu for each in limits]),
        memory_limits=_without_repeats([each.memory_bytes for each in limits]),
        cpu_s=cpu_s,
        cpu_mean_cores=cpu_s / during_s if cpu_s is not None and during_s > 0 else None,
        cpu_peak_cores=_most(each.cpu_cores for each in samples),
        memory_peak_bytes=_most(each.memory_bytes for each in samples),
        exit_code=next((code for code in reversed(codes) if code is not None), None),
        target_fps=number(summary.get("target_fps")),
        fps=_fps(summary),
        frames=_frames(summary),
        latency_p95_s=number(table(summary.get("latency_s")).get("p95")),
        split_mean=number(table(summary.get("split")).get("mean")),
        cloud_s_saved=number(summary.get("cloud_s_saved")),
        reconnects=number(summary.get("reconnects")),
        resent=number(summary.get("resent")),
    )


def totals_of(machines: Sequence[MachineRow], links: Sequence[LinkRow]) -> Totals:
    """Return the sums over the rows."""
    devices = [each for each in machines if each.role == "device"]
    clouds = [each for each in machines if each.role == "cloud"]
    frames: Counter[str] = Counter()
    for each in devices:
        frames.update(each.frames)
    return Totals(
        fps=_sum(each.fps for each in devices),
        frames=dict(frames),
        device_cpu_s=_sum(each.cpu_s for each in devices),
        cloud_cpu_s=_sum(each.cpu_s for each in clouds),
        cloud_s_saved=_sum(each.cloud_s_saved for each in devices),
        delivered_bytes=_sum(each.delivered_bytes for each in links),
        lost_packets=_sum(each.lost_packets for each in links),
        dropped_packets=_sum(each.dropped_packets for each in links),
    )


def _differences(probe: Probe, loss_burst: float) -> list[str]:
    """Return the names of those figures that are further off than they may be."""
    if not probe.packets:
        return []
    asked, got = probe.requested, probe.achieved
    allowed = {
        "rate_bit_s": RATE_TOLERANCE * (asked.rate_bit_s or 0.0),
        "delay_s": max(DELAY_TOLERANCE_S, _JITTER_SHARE * (asked.jitter_s or 0.0)),
        "loss": _loss_allowed(asked.loss or 0.0, probe.packets, loss_burst),
    }
    return [
        name
        for name, most in allowed.items()
        if (wanted := getattr(asked, name)) is not None
        and (found := getattr(got, name)) is not None
        and abs(found - wanted) > most
    ]


def _loss_allowed(loss: float, packets: float, burst: float) -> float:
    """Return by how much a share of losses may be off, some of it by chance.

    Losses that come in bursts tell less than as many on their own: in Gilbert's model the
    variance of their number grows with the bursts' mean length.
    """
    variance = loss * (1 - loss) / packets * max(1.0, 2 * burst * (1 - loss) - 1)
    return max(LOSS_TOLERANCE * loss, _CHANCE_DEVIATIONS * math.sqrt(variance))


def _figures(quality: Quality | None) -> Figures | None:
    if quality is None:
        return None
    return Figures(
        rate_bit_s=quality.rate_bit_s,
        delay_s=quality.delay_s,
        jitter_s=quality.jitter_s,
        loss=quality.loss,
    )


def _without_repeats(values: Sequence[Any]) -> list[Any]:
    return [each for index, each in enumerate(values) if index == 0 or each != values[index - 1]]


def _most(values: Iterable[float | None]) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _fps(summary: Mapping[str, Any]) -> float | None:
    """Return a device's throughput, or that of all streams of a server."""
    if "streams" in summary:
        return _sum(number(each.get("fps")) for each in objects(summary["streams"]))
    return number(summary.get("fps"))


def _frames(summary: Mapping[str, Any]) -> dict[str, int]:
    """Return how many frames ended how: always the four outcomes, of the other counts what is."""
    if "streams" in summary:
        totals = table(summary.get("totals"))
        counts = {ours: totals.get(theirs) for ours, theirs in _SERVER_OUTCOMES.items()}
    else:
        counts = dict(table(summary.get("frames")))
    found = {name: number(count) for name, count in counts.items()}
    return {
        name: int(count)
        for name, count in found.items()
        if count is not None and (count or name in _SERVER_OUTCOMES)
    }


def _sum(values: Iterable[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None

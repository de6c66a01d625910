"""Measures links before the programs start: what each direction was asked to be, and what it is.

    probes = probe_link(link, {"pi": ProbeEnd(...), "cloud": ProbeEnd(...)})
    write_probes(folder / "probes.json", probes)

First small packets at a steady pace: how long they take, and how many do not arrive. Then as many
as the link takes: how many bytes a second arrive. A direction takes two or three seconds.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Link, Quality
from offload.emulation.local.probe_traffic import (
    FULL_BYTES,
    Flow,
    ProbeEnd,
    open_flow,
    stream_rate_bit_s,
)
from offload.errors import EmulationError

# Packets of the delay's probe: few, so that they do not meet each other. Jitter takes more of them
# to see its middle: 75 at 10 ms, which tell it to half a millisecond or so.
_DELAY_EVERY_S: Final = 0.01
_DELAY_S: Final = 0.4
_DELAY_WITH_JITTER_S: Final = 1.5
_DELAY_LEAST_PACKETS: Final = 20

# Those of the loss's probe: as many as this process sends with ease, but never more than half of
# what the link takes.
_LOSS_EVERY_S: Final = 0.0005
_LOSS_S: Final = 0.7
_LOSS_SHARE_OF_RATE: Final = 0.5

_SMALL_BYTES: Final = 64

# Of the rate's probe: the time before it counts, for the queue to fill, and how long it counts. At
# 100 kbit/s a full packet takes 0.12 s, and a few of them are needed.
_RATE_WARM_UP_S: Final = 0.1
_RATE_S: Final = 0.7
_RATE_LEAST_PACKETS: Final = 6
_RATE_LONGEST_S: Final = 3.0
# TCP needs longer to find out what the link takes.
_STREAM_WARM_UP_S: Final = 0.3

# More need not wait in a long queue to keep a link busy.
_LONGEST_QUEUE_BYTES: Final = 256 * 1024

# Over it packets one by one are too many for this process.
_STREAM_FROM_BIT_S: Final = 400e6

# A packet that is later than delay, jitter and this will not come.
_PATIENCE_S: Final = 0.2

# Of the delays under jitter as many at either end are left out: some are late for other reasons.
_LEFT_OUT: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a direction of a link does; None for without a limit, or unknown since nothing arrived.

    Attributes:
        rate_bit_s: See `Quality`; without a limit the rate that was reached.
        delay_s: Of a packet that does not wait.
        jitter_s: By how much that varies either way.
        loss: Share of packets.
    """

    rate_bit_s: float | None
    delay_s: float | None
    jitter_s: float | None
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found about one direction.

    Attributes:
        link: Name of the link.
        to: The machine that the direction leads to.
        requested: What the experiment says.
        achieved: What was measured.
        packets: How many the loss was counted over.
    """

    link: str
    to: str
    requested: Figures
    achieved: Figures
    packets: int


def probe_link(link: Link, ends: Mapping[str, ProbeEnd]) -> list[Probe]:
    """Measure both directions of a link, one after the other; nothing else is on it.

    Args:
        link: The link.
        ends: Its two machines.

    Raises:
        EmulationError: A machine cannot be reached at all, though the link is up.
    """
    first, second = link.ends
    try:
        return [
            _probe_direction(link, sender=ends[sender], receiver=ends[to], to=to)
            for sender, to in ((first, second), (second, first))
        ]
    except OSError as error:
        raise EmulationError(f"link {link.name} cannot be measured: {error}") from error


def write_probes(path: Path, probes: Iterable[Probe]) -> None:
    """Write what was measured, as a JSON list."""
    path.write_text(
        json.dumps([asdict(each) for each in probes], indent=2) + "\n", encoding="utf-8"
    )


def _probe_direction(link: Link, *, sender: ProbeEnd, receiver: ProbeEnd, to: str) -> Probe:
    quality = link.quality_to(to)
    requested = Figures(
        rate_bit_s=quality.rate_bit_s,
        delay_s=quality.delay_s,
        jitter_s=quality.jitter_s,
        loss=quality.loss,
    )
    with open_flow(sender, receiver) as flow:
        delay_s, jitter_s = _delay_and_jitter(flow, quality)
        packets, loss = _loss(flow, quality)
        rate_bit_s = None if _needs_stream(link) else _rate(flow, quality)
    if _needs_stream(link):
        rate_bit_s = stream_rate_bit_s(
            sender, receiver, warm_up_s=_STREAM_WARM_UP_S, duration_s=_RATE_S
        )
    achieved = Figures(rate_bit_s=rate_bit_s, delay_s=delay_s, jitter_s=jitter_s, loss=loss)
    return Probe(link=link.name, to=to, requested=requested, achieved=achieved, packets=packets)


def _delay_and_jitter(flow: Flow, quality: Quality) -> tuple[float | None, float | None]:
    # Packets stay in order: with jitter, those close to each other would all have the delay of the
    # latest.
    every_s = max(_DELAY_EVERY_S, 2 * quality.jitter_s)
    duration_s = _DELAY_WITH_JITTER_S if quality.jitter_s else _DELAY_S
    count = max(_DELAY_LEAST_PACKETS, round(duration_s / every_s))
    arrivals = flow.send_paced(
        count=count, every_s=every_s, size_bytes=_SMALL_BYTES, patience_s=_patience_s(quality)
    )
    if not arrivals:
        return None, None
    # The link's delay comes on top of the time that sending takes.
    sending_s = 8 * _SMALL_BYTES / quality.rate_bit_s if quality.rate_bit_s else 0.0
    delays_s = sorted(each.delay_s - sending_s for each in arrivals)
    left_out = int(len(delays_s) * _LEFT_OUT)
    low_s, high_s = delays_s[left_out], delays_s[-1 - left_out]
    jitter_s = (high_s - low_s) / 2 / (1 - 2 * left_out / len(delays_s))
    # Of values spread evenly the middle of the ends tells more than the median.
    delay_s = (low_s + high_s) / 2 if quality.jitter_s else statistics.median(delays_s)
    return delay_s, jitter_s


def _loss(flow: Flow, quality: Quality) -> tuple[int, float]:
    every_s = _LOSS_EVERY_S
    if quality.rate_bit_s:
        every_s = max(every_s, 8 * _SMALL_BYTES / (quality.rate_bit_s * _LOSS_SHARE_OF_RATE))
    count = max(1, round(_LOSS_S / every_s))
    arrivals = flow.send_paced(
        count=count, every_s=every_s, size_bytes=_SMALL_BYTES, patience_s=_patience_s(quality)
    )
    return count, 1 - len(arrivals) / count


def _rate(flow: Flow, quality: Quality) -> float | None:
    """Return the rate at which full packets went into the link, those counted that got lost."""
    packet_s = 8 * FULL_BYTES / quality.rate_bit_s if quality.rate_bit_s else 0.0
    settling_s = _RATE_WARM_UP_S + 2 * quality.jitter_s
    counting_s = min(max(_RATE_S, _RATE_LEAST_PACKETS * packet_s), _RATE_LONGEST_S)
    arrivals = flow.send_steadily(
        in_flight_bytes=_in_flight_bytes(quality),
        duration_s=quality.delay_s + settling_s + counting_s,
        patience_s=_patience_s(quality) + packet_s,
    )
    counted = [each for each in arrivals if each.arrived_s >= arrivals[0].arrived_s + settling_s]
    if len(counted) < 2:
        return None
    first, last = counted[0], counted[-1]
    return 8 * FULL_BYTES * (last.number - first.number) / (last.arrived_s - first.arrived_s)


def _in_flight_bytes(quality: Quality) -> int:
    """Return what keeps the link busy and its queue about half full."""
    waiting = min(quality.queue_limit_bytes // 2, _LONGEST_QUEUE_BYTES)
    if quality.rate_bit_s is None:
        return waiting
    return waiting + int(quality.rate_bit_s / 8 * (quality.delay_s + quality.jitter_s))


def _needs_stream(link: Link) -> bool:
    """Return whether packets one by one would not do: for fast links that lose nothing."""
    return all(
        each.is_up
        and not each.loss
        and (each.rate_bit_s is None or each.rate_bit_s > _STREAM_FROM_BIT_S)
        for each in (link.forward, link.backward)
    )


def _patience_s(quality: Quality) -> float:
    return quality.delay_s + quality.jitter_s + _PATIENCE_S

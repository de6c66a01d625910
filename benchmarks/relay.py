"""Measure what emulated links do against what they were asked to do. Needs root.

    sudo .venv/bin/python -m benchmarks.relay
    sudo .venv/bin/python -m benchmarks.relay --quick

Two network namespaces are joined by one link, whose process (`offload.emulation.links.relay`) has
one core; all traffic is made and measured by this process on another one.

- Round trips: small packets to and fro, one at a time; the median.
- Rates, by TCP: bytes of the stream at the receiver. An IP packet of 1500 bytes carries 1448 of
  them, so the best that a link of 100 Mbit/s can show is 96.5.
- Losses, by UDP: numbered packets that did not arrive, of 100,000.
- All effects, by UDP, since TCP slows down by itself where packets get lost: IP packets of 1500
  bytes at the receiver, always enough of them on their way to keep the queue half full.
- The model alone: the time that `LinkModel` takes for a packet, in nanoseconds.

Cores is the share of a core that the link's process used meanwhile. Missed counts packets that the
kernel dropped since the process was too slow: none, where the figures mean anything.
"""

import signal
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Final, NoReturn

from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
    cell,
    format_table,
    machine_line,
    parse_options,
    progress,
    run_rounds,
    say,
    write_json,
)
from benchmarks.netns import LinkError
from benchmarks.relayed import RelayedLink
from offload.emulation.experiment import Quality
from offload.emulation.links.link_model import LinkModel
from offload.emulation.local.probe_traffic import FULL_BYTES, open_flow, stream_rate_bit_s
from offload.errors import EmulationError

# What TCP's stream gets of an IP packet of full size.
_PAYLOAD_SHARE: Final = 1448 / 1500

_ROUND_TRIPS: Final = 50
_LOSS_PACKETS: Final = 100_000
_LOSS_RATE_BIT_S: Final = 240e6
_STREAM_S: Final = 4.0
_FLOOD_S: Final = 4.0
_QUICK: Final = 0.1

# TCP begins slowly, and all that sends fills the queue first.
_WARM_UP_S: Final = 1.0

_PATIENCE_S: Final = 0.5

_MODEL_PACKETS: Final = 100_000

ALL_EFFECTS: Final = Quality(
    rate_bit_s=300e6, delay_s=0.010, jitter_s=0.002, loss=0.001, loss_burst=2.0
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one run measures.

    Attributes:
        name: In the table and in the JSON file, with the unit.
        quality: Of the link, both ways.
        requested: What should come out, in the unit; None for as much as there is.
        measure: Says what comes out, given the share of the usual length to take.
    """

    name: str
    quality: Quality
    requested: float | None
    measure: Callable[[RelayedLink, float], float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code: 2 if it cannot run here."""
    options = parse_options(
        "Emulated links: requested against achieved; needs root.",
        sys.argv[1:] if arguments is None else arguments,
    )
    # Leaving by an exception removes the namespaces.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _leave)
    cases = _cases()
    contenders: dict[str, Contender] = {
        each.name: partial(_run, each, _QUICK if options.quick else 1.0) for each in cases
    }
    try:
        samples = run_rounds(contenders, rounds=options.rounds, warm_up=False)
    except (LinkError, EmulationError) as error:
        progress(f"error: {error}")
        return 2
    say(machine_line())
    say(_table(cases, samples))
    say(f"the model alone: {_model_ns(options):.0f} ns for a packet under all effects")
    write_json(options.json, benchmark="relay", options=options, samples=samples)
    return 0


def _leave(signal_number: int, _frame: FrameType | None) -> NoReturn:
    # Once only: a second signal must not stop the cleaning up.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + signal_number)


def _cases() -> list[Case]:
    return [
        *(
            Case(
                name=f"round trip of 2 x {delay_ms} ms, ms",
                quality=Quality(delay_s=delay_ms / 1000),
                requested=2.0 * delay_ms,
                measure=_round_trip_ms,
            )
            for delay_ms in (10, 25, 50)
        ),
        *(
            Case(
                name=f"{rate_mbit} Mbit/s, TCP payload, Mbit/s",
                quality=Quality(rate_bit_s=rate_mbit * 1e6, delay_s=0.010),
                requested=float(rate_mbit),
                measure=_payload_mbit,
            )
            for rate_mbit in (5, 20, 100)
        ),
        *(
            Case(
                name=f"loss of {percent} %, UDP, %",
                quality=Quality(delay_s=0.010, loss=percent / 100),
                requested=float(percent),
                measure=_loss_percent,
            )
            for percent in (1, 5)
        ),
        Case(
            name="all effects at 300 Mbit/s, UDP, Mbit/s",
            quality=ALL_EFFECTS,
            requested=300.0 * (1 - ALL_EFFECTS.loss),
            measure=_flood_mbit,
        ),
        Case(
            name="1 Gbit/s, TCP payload, Mbit/s",
            quality=Quality(rate_bit_s=1e9),
            requested=1000.0,
            measure=_payload_mbit,
        ),
        Case(
            name="no limit, TCP payload, Mbit/s",
            quality=Quality(),
            requested=None,
            measure=_payload_mbit,
        ),
    ]


def _run(case: Case, share: float) -> Figures:
    progress(case.name)
    with RelayedLink(case.quality) as link:
        link.use_one_core()
        began_s, used_s = time.monotonic(), link.cpu_s()
        achieved = case.measure(link, share)
        cores = (link.cpu_s() - used_s) / (time.monotonic() - began_s)
        report = link.next_report()
    missed = report.forward.missed + report.backward.missed
    return {"achieved": achieved, "relay_cores": cores, "missed": float(missed)}


def _round_trip_ms(link: RelayedLink, share: float) -> float:
    return 1000 * statistics.median(link.round_trips_s(round(_ROUND_TRIPS * share)))


def _payload_mbit(link: RelayedLink, share: float) -> float:
    rate_bit_s = stream_rate_bit_s(
        link.near, link.far, warm_up_s=_WARM_UP_S, duration_s=_STREAM_S * share
    )
    return rate_bit_s * _PAYLOAD_SHARE / 1e6


def _loss_percent(link: RelayedLink, share: float) -> float:
    count = round(_LOSS_PACKETS * share)
    with open_flow(link.near, link.far) as flow:
        arrivals = flow.send_paced(
            count=count,
            every_s=8 * FULL_BYTES / _LOSS_RATE_BIT_S,
            size_bytes=FULL_BYTES,
            patience_s=_PATIENCE_S,
        )
    return 100 * (1 - len(arrivals) / count)


def _flood_mbit(link: RelayedLink, share: float) -> float:
    quality = link.quality
    assert quality.rate_bit_s is not None
    # What is on its way, and half of the queue.
    travelling_bytes = quality.rate_bit_s / 8 * (quality.delay_s + quality.jitter_s)
    with open_flow(link.near, link.far) as flow:
        arrivals = flow.send_steadily(
            in_flight_bytes=round(travelling_bytes + quality.queue_limit_bytes / 2),
            duration_s=_WARM_UP_S + _FLOOD_S * share,
            patience_s=_PATIENCE_S,
        )
    began_s = arrivals[0].arrived_s + _WARM_UP_S
    counted = [each for each in arrivals if each.arrived_s >= began_s]
    took_s = counted[-1].arrived_s - counted[0].arrived_s
    return 8 * FULL_BYTES * (len(counted) - 1) / took_s / 1e6


def _model_ns(options: Options) -> float:
    """Return what a packet costs that arrives and is taken out when it is due; the best of some."""
    count = options.count(_MODEL_PACKETS, quick=_MODEL_PACKETS // 10)
    # As many arrive as the rate lets through.
    every_s = 8 * FULL_BYTES / 300e6
    packet, best_s = bytes(FULL_BYTES), float("inf")
    for _ in range(options.rounds):
        model, now = LinkModel(ALL_EFFECTS, seed="1"), 0.0
        began_s = time.perf_counter()
        for _ in range(count):
            now += every_s
            model.arrive(now, packet, FULL_BYTES)
            if model.next_s <= now:
                model.due(now)
        best_s = min(best_s, time.perf_counter() - began_s)
    return best_s / count * 1e9


def _table(cases: Sequence[Case], samples: Samples) -> str:
    rows = []
    for case in cases:
        achieved = samples.spread(case.name, "achieved")
        assert achieved is not None
        wanted = case.requested
        rows.append(
            [
                case.name,
                "-" if wanted is None else f"{wanted:g}",
                cell(achieved, digits=2),
                "-" if wanted is None else f"{100 * (achieved.median / wanted - 1):+.1f} %",
                cell(samples.spread(case.name, "relay_cores"), digits=2),
                cell(samples.spread(case.name, "missed")),
            ]
        )
    return format_table(["", "requested", "achieved", "difference", "cores", "missed"], rows)


if __name__ == "__main__":
    sys.exit(main())

"""How fast frames cross the loopback interface: ours beside bare sockets, pyzmq and imagezmq.

    python3 -m benchmarks.transport [--rounds N] [--quick] [--json F]

W1 sends one raw 640x480x3 picture from memory again and again, W1b one of 500x281x3; each is
answered by a small result, and eight are in flight (imagezmq: one, it knows no other way). The
round trip is that of W1 with one in flight. Nothing is computed, so this is all transport.

Ours are the two real programs, at split 1 and with ``--results none``. Their frames per second are
those of the device's report: from the opening of the source until the last result is acknowledged,
so without start-up. Their round trip is the report's latency, capture to acknowledgement. Their
processor seconds are those of both reports, less those of a run with a few frames, divided by the
frames that the long run had more: what starting and ending costs is so taken out. The peers count
theirs after their first frames.

The floor comes twice: with one buffer for all frames, which only works while nothing keeps a frame,
and with a fresh buffer for each, which is what ours is held against.
"""

import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
    Spread,
    cell,
    exit_code,
    format_table,
    machine_line,
    parse_options,
    progress,
    run_rounds,
    say,
    write_json,
)
from benchmarks.peers import Peer, missing, run_peer
from benchmarks.programs import Pair, run_pair, work_folder
from benchmarks.still_work import make_still_work

OURS: Final = "ours"
APP: Final = "benchmarks.apps:make_still"
WINDOW: Final = 8

W1: Final = "640x480"
W1B: Final = "500x281"

# About a second each on the machine that the issue names.
W1_FRAMES: Final = 5000
W1B_FRAMES: Final = 10000
ROUND_TRIPS: Final = 3000

# Few enough to cost nothing, many enough that every part of the programs has run.
IDLE_FRAMES: Final = 10

# The figures, their headings, and how many decimals they have.
FIGURES: Final[Mapping[str, tuple[str, int]]] = {
    "w1_fps": ("W1 fps", 0),
    "w1b_fps": ("W1b fps", 0),
    "round_trip_p50_ms": ("RTT p50 ms", 3),
    "round_trip_p99_ms": ("RTT p99 ms", 3),
    "cpu_s_per_1000": ("CPU s/1000", 3),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print two tables, and return the exit code."""
    options = parse_options(
        "Frames over the loopback interface: ours beside others.",
        sys.argv[1:] if arguments is None else arguments,
    )
    contenders: dict[str, Contender] = {}
    for peer in Peer:
        absent = missing(peer)
        if absent is None:
            contenders[peer] = partial(measure_peer, peer, options)
        else:
            progress(f"{peer} is left out: {absent} is not installed")
    with work_folder() as folder:
        contenders[OURS] = partial(measure_ours, folder, options)
        samples = run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)
    report(options, samples)
    return 0


def measure_peer(peer: Peer, options: Options) -> Figures:
    """Run a peer on both workloads and with one frame in flight."""
    # imagezmq waits for the answer of each frame before it takes another.
    window = 1 if peer is Peer.IMAGEZMQ else WINDOW
    make_w1, make_w1b = partial(make_still_work, W1), partial(make_still_work, W1B)
    w1 = run_peer(
        peer,
        make_w1,
        frames=options.count(W1_FRAMES, quick=50),
        window=window,
        round_trips=options.count(ROUND_TRIPS, quick=50),
    )
    w1b = run_peer(peer, make_w1b, frames=options.count(W1B_FRAMES, quick=50), window=window)
    return {
        "w1_fps": w1.fps,
        "w1b_fps": w1b.fps,
        "round_trip_p50_ms": 1000 * w1.round_trip_s(0.50),
        "round_trip_p99_ms": 1000 * w1.round_trip_s(0.99),
        "cpu_s_per_1000": w1.cpu_s_per_1000,
    }


def measure_ours(folder: Path, options: Options) -> Figures:
    """Run the two programs on both workloads, with one frame in flight, and nearly idle."""

    def run(size: str, frames: int, window: int) -> Pair:
        return run_pair(
            folder,
            1,
            *("--source", size, "--frames", str(frames), "--window", str(window)),
            app=APP,
        )

    frames = options.count(W1_FRAMES, quick=50)
    w1 = run(W1, frames, WINDOW)
    w1b = run(W1B, options.count(W1B_FRAMES, quick=50), WINDOW)
    single = run(W1, options.count(ROUND_TRIPS, quick=50), 1)
    idle = run(W1, IDLE_FRAMES, WINDOW)
    latency_s = single.device["latency_s"]
    return {
        "w1_fps": w1.device["fps"],
        "w1b_fps": w1b.device["fps"],
        "round_trip_p50_ms": 1000 * latency_s["p50"],
        "round_trip_p99_ms": 1000 * latency_s["p99"],
        "cpu_s_per_1000": 1000 * (w1.cpu_s - idle.cpu_s) / (frames - IDLE_FRAMES),
        "start_cpu_s": idle.cpu_s,
    }


def report(options: Options, samples: Samples) -> None:
    """Print the figures and their ratios, and write the JSON."""
    say(machine_line())
    say(_figures_table(samples))
    ratios: dict[str, Spread | None] = {}
    for other in (Peer.FLOOR, Peer.PYZMQ):
        if other in samples.contenders:
            say(f"\ndivided by {other}\n" + _ratio_table(samples, other))
            for figure in FIGURES:
                ratios[f"{OURS} / {other}, {figure}"] = samples.ratio(OURS, figure, to=other)
    write_json(options.json, benchmark="transport", options=options, samples=samples, ratios=ratios)


def _figures_table(samples: Samples) -> str:
    rows = [
        [name]
        + [
            cell(samples.spread(name, figure), digits=digits)
            for figure, (_, digits) in FIGURES.items()
        ]
        for name in samples.contenders
    ]
    return format_table(["", *(heading for heading, _ in FIGURES.values())], rows)


def _ratio_table(samples: Samples, other: str) -> str:
    rows = [
        [name] + [cell(samples.ratio(name, figure, to=other), digits=2) for figure in FIGURES]
        for name in samples.contenders
        if name != other
    ]
    return format_table(["", *(heading for heading, _ in FIGURES.values())], rows)


if __name__ == "__main__":
    sys.exit(exit_code(main))

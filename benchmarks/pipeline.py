"""How fast ball tracking runs, split everywhere: ours beside plain loops, bare sockets and pyzmq.

    python3 -m benchmarks.pipeline [--rounds N] [--quick] [--json F]

W2 is the example's seven tasks on 640x480 frames of its synthetic scene, which are kept in memory
and resized as the example does; nobody watches, so nothing is drawn. Rows:

- one plain loop in one process, with one thread of OpenCV and with as many as it takes by itself;
- ours, the real programs: all tasks on the device, and split after each task, with no results kept;
  and split after tasks 1 and 3 with results in SQLite;
- bare sockets and pyzmq under the same functions, called one after the other: the device computes
  and sends, the cloud receives, computes and answers; eight frames may be without an answer. They
  send the frame after task 1; after task 3 the mask, which is all that later tasks need, and the
  mask with the frame, which is what a chain of functions sends whose last one draws. After task 1
  both thread settings run; after task 3 OpenCV's own is the faster one, as the cloud has little to
  do.

Frames per second are without start-up. Ours come from the device's report: from the opening of the
source until the last result is acknowledged. Processor seconds are of all processes; from ours,
those of a run with a few frames are taken off.
"""

import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from typing import Final

from benchmarks.ball_work import SHAPES, Ships, make_ball_work, track_alone
from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
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
from benchmarks.peers import RUN_LIMIT_S, Peer, missing, run_peer
from benchmarks.programs import Pair, run_device, run_pair, work_folder

APP: Final = "benchmarks.apps:make_ball"
WINDOW: Final = 8
SPLITS: Final = range(1, 7)
PEERS: Final[Mapping[Peer, str]] = {Peer.FLOOR: "floor", Peer.PYZMQ: "pyzmq"}

# About a second each on the machine that the issue names.
FRAMES: Final = 600

# Enough to show that all of it works.
QUICK_FRAMES: Final = 30
QUICK_SPLITS: Final = (3,)

# Few enough to cost nothing, many enough that every part of the programs has run.
IDLE_FRAMES: Final = 4

LOOP_ONE_THREAD: Final = "one loop, 1 OpenCV thread"
LOOP: Final = "one loop, OpenCV's threads"
CLIENT_ONLY: Final = "ours, client only"

# What a peer sends, and after which task that is.
SPLIT_OF: Final[Mapping[Ships, int]] = {Ships.FRAME: 1, Ships.MASK: 3, Ships.MASK_AND_FRAME: 3}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and return the exit code."""
    options = parse_options(
        "Ball tracking split everywhere: ours beside others.",
        sys.argv[1:] if arguments is None else arguments,
    )
    frames = options.count(FRAMES, quick=QUICK_FRAMES)
    splits = QUICK_SPLITS if options.quick else SPLITS
    peers = _peers(frames, splits)
    contenders: dict[str, Contender] = {
        LOOP_ONE_THREAD: partial(measure_loop, frames, 1),
        LOOP: partial(measure_loop, frames, 0),
        CLIENT_ONLY: partial(measure_client_only, frames),
        **{ours(split): partial(measure_split, split, "none", frames) for split in splits},
        **{ours_stored(split): partial(measure_split, split, "sqlite", frames) for split in peers},
    }
    for rivals in peers.values():
        contenders |= rivals
    samples = run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)
    report(options, samples, {split: list(rivals) for split, rivals in peers.items()})
    return 0


def ours(split: int) -> str:
    """Return the name of ours at a split."""
    return f"ours, K={split}"


def ours_stored(split: int) -> str:
    """Return the name of ours at a split with results in SQLite."""
    return f"ours, K={split}, SQLite"


def _peers(frames: int, splits: Sequence[int]) -> dict[int, dict[str, Contender]]:
    """Return the installed peers by the split that they are to be compared with."""
    shipped = {ships: split for ships, split in SPLIT_OF.items() if split in splits}
    peers: dict[int, dict[str, Contender]] = {split: {} for split in shipped.values()}
    for peer, called in PEERS.items():
        absent = missing(peer)
        if absent is not None:
            progress(f"{called} is left out: {absent} is not installed")
            continue
        for ships, split in shipped.items():
            for threads in (0, 1) if ships is Ships.FRAME else (0,):
                name = f"{called}, K={split}, {ships}" + (", 1 thread" if threads else "")
                peers[split][name] = partial(measure_peer, peer, ships, frames, threads)
    return peers


def measure_loop(frames: int, opencv_threads: int) -> Figures:
    """Run the plain loop in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        run = process.submit(track_alone, frames, opencv_threads).result(RUN_LIMIT_S)
    return {"fps": run.fps, "cpu_s_per_1000": run.cpu_s_per_1000}


def measure_peer(peer: Peer, ships: Ships, frames: int, opencv_threads: int) -> Figures:
    """Run a peer under the same functions."""
    make_work = partial(make_ball_work, ships)
    run = run_peer(peer, make_work, frames=frames, window=WINDOW, opencv_threads=opencv_threads)
    return {
        "fps": run.fps,
        "cpu_s_per_1000": run.cpu_s_per_1000,
        "bytes_per_frame": sum(math.prod(shape) for shape in SHAPES[ships]),
    }


def measure_client_only(frames: int) -> Figures:
    """Run all tasks on the device."""
    with work_folder() as folder:
        device = run_device(folder, "--app", APP, "--frames", str(frames))
    cpu_s = device["cpu_s"] - _idle().device["cpu_s"]
    return {"fps": device["fps"], "cpu_s_per_1000": 1000 * cpu_s / (frames - IDLE_FRAMES)}


def measure_split(split: int, results: str, frames: int) -> Figures:
    """Run the two programs, with ``results`` ``none`` or, in a new file, ``sqlite``."""
    pair = _run_split(split, results, frames)
    cpu_s = pair.cpu_s - _idle().cpu_s
    return {
        "fps": pair.device["fps"],
        "cpu_s_per_1000": 1000 * cpu_s / (frames - IDLE_FRAMES),
        "bytes_per_frame": pair.device["sent_bytes"] / frames,
    }


# What starting and ending costs hardly depends on the split, so one run tells for all.
@cache
def _idle() -> Pair:
    return _run_split(1, "none", IDLE_FRAMES)


def _run_split(split: int, results: str, frames: int) -> Pair:
    options = ("--frames", str(frames), "--window", str(WINDOW))
    with work_folder() as folder:
        url = f"sqlite:{folder / 'results.db'}" if results == "sqlite" else results
        return run_pair(folder, split, *options, app=APP, results=url)


def report(options: Options, samples: Samples, peers: Mapping[int, Sequence[str]]) -> None:
    """Print the table and write the JSON.

    Args:
        options: What the user asked for.
        samples: What was measured.
        peers: The rivals at each split where there are some.
    """
    rivals = {CLIENT_ONLY: LOOP_ONE_THREAD}
    for split, names in peers.items():
        fastest = max(names, key=lambda name: statistics.median(samples.figures(name, "fps")))
        rivals |= {ours(split): fastest, ours_stored(split): fastest}
    ratios = {
        f"{name} / {rival}, fps": samples.ratio(name, "fps", to=rival)
        for name, rival in rivals.items()
    }
    for split in peers:
        name, kept_none = ours_stored(split), ours(split)
        ratios[f"{name} / {kept_none}, fps"] = samples.ratio(name, "fps", to=kept_none)
    say(machine_line())
    say(_table(samples))
    say("\n" + format_table(["fps", "ratio"], [[n, cell(r, digits=2)] for n, r in ratios.items()]))
    write_json(options.json, benchmark="pipeline", options=options, samples=samples, ratios=ratios)


def _table(samples: Samples) -> str:
    rows = [
        [
            name,
            cell(samples.spread(name, "fps")),
            cell(samples.spread(name, "cpu_s_per_1000"), digits=2),
            cell(samples.spread(name, "bytes_per_frame")),
        ]
        for name in samples.contenders
    ]
    return format_table(["", "fps", "CPU s/1000", "bytes/frame"], rows)


if __name__ == "__main__":
    sys.exit(exit_code(main))

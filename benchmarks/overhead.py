"""Measure what the framework itself costs a frame: seven tasks that do nothing, and no payload.

    python3 -m benchmarks.overhead

Three tables. The first is of the real programs: processor microseconds per frame on the device and
in the cloud, from two runs of different length, as the difference of their ``cpu_s`` over the
difference of their frames, so that start-up does not count. A plain loop that calls the same tasks
stands beside it. The second names the parts of that cost (see ``overhead_parts``). The third is the
longest pause that the garbage collector made in either program while a full window of
small frames was in flight (see ``gc_pauses``).
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
    cell,
    format_table,
    machine_line,
    parse_options,
    run_rounds,
    say,
    write_json,
)
from benchmarks.overhead_parts import parts, run_bare
from benchmarks.programs import Pair, Summary, cloud_server, run_device, work_folder

APP: Final = "benchmarks.empty_app"

PLAIN: Final = "plain loop"
CLIENT_ONLY: Final = "client only"
PAUSES: Final = "garbage collection"

# What the device is told, per contender. Automatic with a target that is always met stays at the
# device's end, and decides for every frame all the same.
SPLITS: Final[Mapping[str, tuple[str, ...]]] = {
    "K = 1": ("1",),
    "K = 6": ("6",),
    "automatic, from K = 6": ("6", "1"),
}

FRAMES: Final = 22_000
FEWER_FRAMES: Final = 2_000
QUICK_FRAMES: Final = 1_200
QUICK_FEWER_FRAMES: Final = 200

# The most frames that the two ends may hold.
WINDOW: Final = 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    description = "What the framework costs a frame, with tasks that do nothing."
    options = parse_options(description, sys.argv[1:] if arguments is None else arguments)
    frames = options.count(FRAMES, quick=QUICK_FRAMES)
    part_contenders = parts(frames=frames)
    with work_folder() as folder:
        contenders: dict[str, Contender] = {
            PLAIN: partial(_run_plain, frames),
            CLIENT_ONLY: partial(_run_client_only, folder, options),
            **{name: partial(_run_split, folder, options, words) for name, words in SPLITS.items()},
            PAUSES: partial(_record_pauses, folder, frames),
            **part_contenders,
        }
        samples = run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)
    _report(samples, list(part_contenders))
    write_json(options.json, benchmark="overhead", options=options, samples=samples)
    return 0


def _run_plain(frames: int) -> Figures:
    began_s = time.process_time()
    for _ in range(frames):
        run_bare()
    return {"device_us": 1e6 * (time.process_time() - began_s) / frames}


def _run_client_only(folder: Path, options: Options) -> Figures:
    more, fewer = (
        run_device(folder, "--app", APP, "--results", "none", "--frames", str(frames))
        for frames in _lengths(options)
    )
    return {"device_us": _per_frame_us(more, fewer, options)}


def _run_split(folder: Path, options: Options, words: Sequence[str]) -> Figures:
    more, fewer = (_run_pair(folder, words, frames) for frames in _lengths(options))
    return {
        "device_us": _per_frame_us(more.device, fewer.device, options),
        "cloud_us": _per_frame_us(more.cloud, fewer.cloud, options),
    }


def _run_pair(folder: Path, words: Sequence[str], frames: int) -> Pair:
    with cloud_server(folder, app=APP) as server:
        device = run_device(folder, *words, "--app", APP, *server.address, "--frames", str(frames))
        return Pair(device=device, cloud=server.stop())


def _lengths(options: Options) -> Iterator[int]:
    yield options.count(FRAMES, quick=QUICK_FRAMES)
    yield options.count(FEWER_FRAMES, quick=QUICK_FEWER_FRAMES)


def _per_frame_us(more: Summary, fewer: Summary, options: Options) -> float:
    most, least = _lengths(options)
    return float(1e6 * (more["cpu_s"] - fewer["cpu_s"]) / (most - least))


def _record_pauses(folder: Path, frames: int) -> Figures:
    reports = {side: folder / f"{side}_pauses.json" for side in ("device", "cloud")}
    recorders = {
        side: (sys.executable, "-m", "benchmarks.gc_pauses", str(report))
        for side, report in reports.items()
    }
    with cloud_server(folder, app=APP, prefix=recorders["cloud"]) as server:
        run_device(
            folder,
            *("1", "--app", APP, *server.address),
            *("--frames", str(frames), "--window", str(WINDOW)),
            prefix=recorders["device"],
        )
        server.stop()
    figures: dict[str, float] = {}
    for side, report in reports.items():
        pauses = json.loads(report.read_text(encoding="utf-8"))
        figures |= {
            f"{side}_longest_ms": 1000 * pauses["longest_s"],
            f"{side}_longest_cpu_ms": 1000 * pauses["longest_cpu_s"],
            f"{side}_collections": pauses["collections"],
        }
    return figures


def _report(samples: Samples, part_names: Sequence[str]) -> None:
    def row(name: str, *figures: str) -> list[str]:
        return [name, *(cell(samples.spread(name, each), digits=1) for each in figures)]

    say(machine_line())
    programs = [row(each, "device_us", "cloud_us") for each in (PLAIN, CLIENT_ONLY, *SPLITS)]
    say(format_table(["CPU us per frame", "device", "cloud"], programs))
    say("")
    say(format_table(["parts, CPU us", "a frame"], [row(each, "us") for each in part_names]))
    say("")
    pauses = [
        [
            side,
            *(
                cell(samples.spread(PAUSES, f"{side}_{figure}"), digits=1)
                for figure in ("longest_ms", "longest_cpu_ms", "collections")
            ),
        ]
        for side in ("device", "cloud")
    ]
    say(format_table([PAUSES, "longest, ms", "its CPU, ms", "collections"], pauses))


if __name__ == "__main__":
    sys.exit(main())

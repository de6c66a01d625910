"""Measure frames per second and bytes per frame over links of limited rate. Needs root.

    sudo .venv/bin/python -m benchmarks.link
    sudo .venv/bin/python -m benchmarks.link --rate 20 --split 3 --split 4 --rounds 7

Server and device run in two network namespaces with a link between them that tbf limits in both
directions. The app is ball tracking on the synthetic scene, unpaced. For every rate and split there
are four runs: values sent raw or by what ``--encoding auto`` picks, and unwatched or with a server
that asks for every picture (``--watch all``).

A run lasts 6.5 s. The device reports every `RATE_WINDOW_S` (2 s) how many frames were finished per
second since its last report. The first report is left out, in which TCP and the choice of the
encoding find the link's rate; FPS is the mean of the others, exact to a quarter of a frame. Bytes
per frame are all bytes that the device sent over all frames that it finished, handshake included.
"""

import argparse
import json
import signal
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
    Spread,
    cell,
    format_table,
    machine_line,
    progress,
    run_rounds,
    say,
    write_json,
)
from benchmarks.netns import LinkedNamespaces, LinkError
from benchmarks.programs import cloud_server, run_device, work_folder
from offload.arguments import count, positive
from offload.device.totals import RATE_WINDOW_S

APP: Final = "ball_tracking_example"
RATES_MBIT: Final = (5.0, 20.0, 100.0)
SPLITS: Final = (1, 2, 3, 4, 5, 6)
ENCODINGS: Final = ("raw", "auto")

# All cells take ten minutes a round.
DEFAULT_ROUNDS: Final = 3

# Reports of one run that count, after the first.
COUNTED_REPORTS: Final = 2
QUICK_COUNTED_REPORTS: Final = 1

# The last report comes a little after its time.
SPARE_S: Final = 0.5

# All of them wait for the link when a run ends: 32 raw pictures take 20 s at 5 Mbit/s. The way to
# the server and back takes a millisecond, so that 8 keep any of the links busy.
WINDOW: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What one run measures."""

    rate_mbit: float
    split: int
    encoding: str
    watched: bool

    @property
    def name(self) -> str:
        """Return its name in the JSON file."""
        watched = "watched" if self.watched else "unwatched"
        return f"{self.rate_mbit:g} Mbit/s, K = {self.split}, {watched}, {self.encoding}"

    def other(self, encoding: str) -> "Case":
        """Return the case that differs in the encoding only."""
        return Case(
            rate_mbit=self.rate_mbit, split=self.split, encoding=encoding, watched=self.watched
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code: 2 if it cannot run here."""
    parsed = _parser().parse_args(arguments)
    quick_rounds = 1 if parsed.quick else DEFAULT_ROUNDS
    options = Options(rounds=parsed.rounds or quick_rounds, quick=parsed.quick, json=parsed.json)
    cases = [
        Case(rate_mbit=rate_mbit, split=split, encoding=encoding, watched=watched)
        for rate_mbit in parsed.rate or RATES_MBIT
        for watched in (False, True)
        for split in parsed.split or SPLITS
        for encoding in ENCODINGS
    ]
    # Leaving by an exception removes the namespaces.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _leave)
    try:
        with LinkedNamespaces() as link:
            samples = _measure(link, cases, options)
    except LinkError as error:
        progress(f"error: {error}")
        return 2
    say(machine_line())
    say(_table(cases, samples))
    ratios = {
        f"FPS of auto to raw: {each.other('auto').name}": _gain(samples, each)
        for each in cases
        if each.encoding == "raw"
    }
    write_json(options.json, benchmark="link", options=options, samples=samples, ratios=ratios)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m benchmarks.link",
        description="FPS and bytes per frame over links of limited rate; needs root.",
    )
    add = parser.add_argument
    add("--rate", type=positive, action="append", metavar="MBIT", help="default: 5, 20 and 100")
    add("--split", type=count, action="append", metavar="K", help="default: 1 to 6")
    add("--rounds", type=count, metavar="N", help=f"default: {DEFAULT_ROUNDS}")
    add("--quick", action="store_true", help="one short round, to show that it works")
    add("--json", type=Path, metavar="F", help="write all figures to a file")
    return parser


def _leave(signal_number: int, _frame: FrameType | None) -> NoReturn:
    # Once only: a second signal must not stop the cleaning up.
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    sys.exit(128 + signal_number)


def _measure(link: LinkedNamespaces, cases: Sequence[Case], options: Options) -> Samples:
    reports = options.count(COUNTED_REPORTS, quick=QUICK_COUNTED_REPORTS)
    with work_folder() as folder:
        contenders: dict[str, Contender] = {
            each.name: partial(_run, each, link, folder, counted_reports=reports) for each in cases
        }
        # Each run has a warm-up of its own.
        return run_rounds(contenders, rounds=options.rounds, warm_up=False)


def _run(case: Case, link: LinkedNamespaces, folder: Path, *, counted_reports: int) -> Figures:
    """Run a server and a device at the two ends of the link, and return what they reached."""
    progress(case.name)
    link.limit(case.rate_mbit)
    duration_s = RATE_WINDOW_S * (1 + counted_reports) + SPARE_S
    watch = ("--watch", "all") if case.watched else ()
    with cloud_server(
        folder, *watch, app=APP, bind=link.cloud_address, prefix=link.in_cloud
    ) as server:
        device = run_device(
            folder,
            *(str(case.split), "--app", APP, "--source", "synthetic", *server.address),
            *("--encoding", case.encoding, "--window", str(WINDOW), "--duration", str(duration_s)),
            *("--report-every", str(RATE_WINDOW_S), "--log-format", "json"),
            prefix=link.in_device,
        )
        server.stop()
    finished = device["frames"]["completed"] + device["frames"]["filtered"]
    # While the window empties itself more reports come than are counted.
    counted = list(_reported_fps(folder / "device.log"))[1 : 1 + counted_reports]
    return {
        "fps": statistics.fmean(counted),
        "frame_bytes": device["sent_bytes"] / finished,
    }


def _reported_fps(log: Path) -> Iterator[float]:
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["event"] == "progress":
            yield record["fps"]


def _gain(samples: Samples, case: Case) -> Spread | None:
    return samples.ratio(case.other("auto").name, "fps", to=case.other("raw").name)


def _table(cases: Sequence[Case], samples: Samples) -> str:
    rows = [
        [
            case.name.removesuffix(f", {case.encoding}"),
            *(cell(samples.spread(case.other(each).name, "fps"), digits=1) for each in ENCODINGS),
            cell(_gain(samples, case), digits=2),
            *(cell(samples.spread(case.other(each).name, "frame_bytes")) for each in ENCODINGS),
        ]
        for case in cases
        if case.encoding == "raw"
    ]
    headings = ["", "FPS, raw", "FPS, auto", "auto / raw", "bytes/frame, raw", "bytes/frame, auto"]
    return format_table(headings, rows)


if __name__ == "__main__":
    sys.exit(main())

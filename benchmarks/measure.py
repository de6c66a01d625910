"""Measure contenders side by side, and say the outcome as a table and as JSON.

A shared machine changes its speed within minutes. So each round runs every contender once, in a
rotated order, and what is compared is taken from one run: medians, with their spread.

    options = parse_options("What is measured", arguments)
    samples = run_rounds({"floor": run_floor, "ours": run_ours}, rounds=options.rounds)
    samples.ratio("ours", "fps", to="floor")            # Spread(median=0.83, low=0.80, high=0.85)
    say(format_table(["", "fps"], [["ours", cell(samples.spread("ours", "fps"))]]))
    write_json(options.json, benchmark="transport", options=options, samples=samples)
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

from offload.emulation.local.host import describe_host

# An odd number, so that the median is a round that happened.
DEFAULT_ROUNDS: Final = 7
QUICK_ROUNDS: Final = 1

# Either build of OpenCV serves.
_PACKAGES: Final = ("numpy", "opencv-python", "opencv-python-headless", "pyzmq", "imagezmq")

Figures = Mapping[str, float]
"""What one run of a contender measured, by name."""

Contender = Callable[[], Figures]


class BenchmarkError(Exception):
    """Something that was to be measured failed; the message is for the user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for.

    Attributes:
        rounds: How often every contender runs.
        quick: Whether to measure so briefly that the figures mean little, as tests do.
        json: Where the figures go as JSON, if anywhere.
    """

    rounds: int
    quick: bool
    json: Path | None

    def count(self, usual: int, *, quick: int) -> int:
        """Return how many frames, or the like, a measurement takes."""
        return quick if self.quick else usual


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The median of some figures, and the smallest and the largest of them."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """Return the spread of ``figures``, of which there is at least one."""
        return cls(median=statistics.median(figures), low=min(figures), high=max(figures))


class Samples:
    """What every contender measured in every round.

    Attributes:
        rounds: The figures, by contender, of each round.
    """

    def __init__(self, rounds: Sequence[Mapping[str, Figures]]) -> None:
        """Keep the figures, by contender, of each round."""
        self.rounds = rounds

    @property
    def contenders(self) -> list[str]:
        """Names of the contenders, in the order in which they were given."""
        return list(self.rounds[0])

    def figures(self, contender: str, figure: str) -> list[float]:
        """Return what a contender measured, round by round; empty if it measures no such thing."""
        return [each[contender][figure] for each in self.rounds if figure in each[contender]]

    def spread(self, contender: str, figure: str) -> Spread | None:
        """Return the median and the spread of a figure; None if the contender has none."""
        figures = self.figures(contender, figure)
        return Spread.of(figures) if figures else None

    def ratio(self, contender: str, figure: str, *, to: str) -> Spread | None:
        """Return the ratio of two contenders' medians, and the spread of the rounds' ratios.

        Returns:
            None if one of the two does not measure ``figure``, or where ``to`` measured nothing:
            a clock that ticks too slowly for a short run.
        """
        ours, theirs = self.figures(contender, figure), self.figures(to, figure)
        if not ours or not theirs or 0 in theirs:
            return None
        of_rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
        return Spread(
            median=statistics.median(ours) / statistics.median(theirs),
            low=min(of_rounds),
            high=max(of_rounds),
        )

    def as_plain(self) -> dict[str, dict[str, dict[str, object]]]:
        """Return contender, figure, then median, low, high and all values, for JSON."""
        return {
            contender: {
                figure: {
                    **asdict(Spread.of(self.figures(contender, figure))),
                    "values": self.figures(contender, figure),
                }
                for figure in self.rounds[0][contender]
            }
            for contender in self.contenders
        }


def parse_options(description: str, arguments: Sequence[str]) -> Options:
    """Read a benchmark's command line; ends the process where it is wrong."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--rounds", type=_positive, metavar="N", help=f"rounds to run (default: {DEFAULT_ROUNDS})"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a short run that shows that it works, nothing else"
    )
    parser.add_argument("--json", type=Path, metavar="F", help="write all figures to a file")
    parsed = parser.parse_args(arguments)
    rounds = parsed.rounds or (QUICK_ROUNDS if parsed.quick else DEFAULT_ROUNDS)
    return Options(rounds=rounds, quick=parsed.quick, json=parsed.json)


def run_rounds(
    contenders: Mapping[str, Contender], *, rounds: int, warm_up: bool = True
) -> Samples:
    """Run every contender once per round, each round beginning with another one.

    Args:
        contenders: What to run, by name.
        rounds: How many rounds count, at least 1.
        warm_up: Whether a round that does not count goes first: caches, file pages, clock rates.
    """
    names = list(contenders)
    kept: list[dict[str, Figures]] = []
    for number in range(0 if warm_up else 1, rounds + 1):
        progress(f"round {number} of {rounds}" if number else "warm-up")
        start = number % len(names)
        measured = {name: contenders[name]() for name in names[start:] + names[:start]}
        if number:
            kept.append({name: measured[name] for name in names})
    return Samples(kept)


def format_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table with columns as wide as they need to be, the first one to the left."""
    widths = [max(len(row[column]) for row in [headings, *rows]) for column in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        first, *others = zip(cells, widths, strict=True)
        return "  ".join([first[0].ljust(first[1]), *(text.rjust(width) for text, width in others)])

    return "\n".join([line(headings), line(["-" * width for width in widths]), *map(line, rows)])


def cell(spread: Spread | None, *, digits: int = 0) -> str:
    """Return ``median (low..high)`` with ``digits`` decimals, or a dash where there is none."""
    if spread is None:
        return "-"
    return f"{spread.median:.{digits}f} ({spread.low:.{digits}f}..{spread.high:.{digits}f})"


def exit_code(main: Callable[[], int]) -> int:
    """Run a benchmark's ``main``; what fails is said in words, with exit code 1."""
    try:
        return main()
    except BenchmarkError as error:
        progress(f"error: {error}")
        return 1


def say(text: str) -> None:
    """Write a line, or several, to standard output."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def progress(text: str) -> None:
    """Tell whoever waits how far it is, on standard error."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def machine_facts() -> dict[str, object]:
    """Return what the figures belong to: the processor, its cores, and the versions used."""
    versions: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        **describe_host(),
        **versions,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def machine_line() -> str:
    """Return the machine's facts in one line, for above a table."""
    return ", ".join(f"{name} {fact}" for name, fact in machine_facts().items())


def write_json(
    path: Path | None,
    *,
    benchmark: str,
    options: Options,
    samples: Samples,
    ratios: Mapping[str, Spread | None] | None = None,
) -> None:
    """Write all figures, the ratios and the machine's facts, if the user said where."""
    if path is None:
        return
    report = {
        "benchmark": benchmark,
        "machine": machine_facts(),
        "rounds": options.rounds,
        "quick": options.quick,
        "contenders": samples.as_plain(),
        "ratios": {name: asdict(each) for name, each in (ratios or {}).items() if each is not None},
    }
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return number

"""The command ``python3 -m offload.results``: export, summarise or follow a results file.

Files are opened read-only, while a server writes them or after. Exit codes: 0 done, 1 the file
broke while it was read, 2 wrong usage, 130 interrupted.
"""

import argparse
import json
import math
import sqlite3
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Final, NoReturn, TextIO

from offload.arguments import give_up_output, standard_output
from offload.errors import OffloadError, ResultsError
from offload.logs import write_last
from offload.results.reading import committed, csv_head, csv_line, end_of, json_line, rows
from offload.results.sqlite import connect_reader

# Short enough to look immediate to whoever watches; one look costs some 20 us.
FOLLOW_PERIOD_S: Final = 0.1

DEFAULT_TAIL_LINES: Final = 10

_SUMMARY: Final = """
    SELECT stream, device, app, COUNT(seq), filtered, failed, dropped, next_seq,
           MIN(received_at), MAX(received_at)
    FROM streams LEFT JOIN results USING (stream)
    GROUP BY stream ORDER BY opened_at, stream"""

_EXAMPLES: Final = """examples:
  python3 -m offload.results export results.db --format csv > results.csv
  python3 -m offload.results export results.db --stream porch > porch.jsonl
  python3 -m offload.results summary results.db
  python3 -m offload.results tail results.db --follow

In JSON, arrays are nested lists, bytes are base64 text, complex numbers are [real, imaginary], and
numbers that are not finite are null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """One stream's counts; ``fps`` is results per second between the first and the last one.

    ``fps`` is None where there are fewer than two results, or all came at the same time.
    """

    stream: str
    device: str
    app: str
    results: int
    filtered: int
    failed: int
    dropped: int
    next_seq: int
    fps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The sums over all streams; ``fps`` is over the time from the first result to the last."""

    streams: int
    results: int
    filtered: int
    failed: int
    dropped: int
    fps: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a results file holds: its streams in the order of their opening, and their totals."""

    streams: tuple[StreamSummary, ...]
    totals: Totals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    options = _parser().parse_args(arguments)
    # What is written is the same in every locale, and csv ends its lines by itself.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    try:
        with closing(connect_reader(options.file)) as connection:
            output = standard_output()
            _run(connection, options, output)
            output.flush()
    except OffloadError as error:
        write_last(f"error: {error}\n")
        return error.exit_code
    except sqlite3.Error as error:
        write_last(f"error: results file {str(options.file)!r} cannot be read: {error}\n")
        return ResultsError.exit_code
    except BrokenPipeError:
        # The reader has seen enough.
        give_up_output()
    except OSError as error:
        write_last(f"error: standard output cannot be written: {error.strerror}\n")
        give_up_output()
        return ResultsError.exit_code
    except KeyboardInterrupt:
        return 130
    return 0


def export(
    connection: sqlite3.Connection, kind: str, output: TextIO, *, stream: str | None = None
) -> None:
    """Write all results, or a stream's, by stream and sequence number, as ``jsonl`` or ``csv``."""
    if kind == "csv":
        output.write(csv_head())
    line = csv_line if kind == "csv" else json_line
    for row in rows(connection, stream=stream):
        output.write(line(row))


def tail(connection: sqlite3.Connection, lines: int, output: TextIO) -> int:
    """Write the last ``lines`` results in the order of their commit, and return where they end."""
    end = end_of(connection)
    (start,) = connection.execute(
        "SELECT COALESCE(MIN(rowid) - 1, ?1) FROM"
        " (SELECT rowid FROM results WHERE rowid <= ?1 ORDER BY rowid DESC LIMIT ?2)",
        (end, lines),
    ).fetchone()
    for row in committed(connection, start, end):
        output.write(json_line(row))
    return end


def follow(connection: sqlite3.Connection, end: int, output: TextIO) -> NoReturn:
    """Write what is committed after position ``end``, until interrupted."""
    while True:
        start, end = end, end_of(connection)
        for row in committed(connection, start, end):
            output.write(json_line(row))
        output.flush()
        time.sleep(FOLLOW_PERIOD_S)


def summarise(connection: sqlite3.Connection) -> Summary:
    """Return the counts of each stream and of all together."""
    found = connection.execute(_SUMMARY).fetchall()
    streams = tuple(
        StreamSummary(
            stream=stream,
            device=device,
            app=app,
            results=results,
            filtered=filtered,
            failed=failed,
            dropped=dropped,
            next_seq=next_seq,
            fps=_fps(results, first, last),
        )
        for stream, device, app, results, filtered, failed, dropped, next_seq, first, last in found
    )
    results = sum(each.results for each in streams)
    firsts = [row[-2] for row in found if row[-2] is not None]
    lasts = [row[-1] for row in found if row[-1] is not None]
    totals = Totals(
        streams=len(streams),
        results=results,
        filtered=sum(each.filtered for each in streams),
        failed=sum(each.failed for each in streams),
        dropped=sum(each.dropped for each in streams),
        fps=_fps(results, min(firsts, default=None), max(lasts, default=None)),
    )
    return Summary(streams=streams, totals=totals)


def _run(connection: sqlite3.Connection, options: argparse.Namespace, output: TextIO) -> None:
    if options.command == "export":
        export(connection, options.format, output, stream=options.stream)
    elif options.command == "tail":
        end = tail(connection, options.lines, output)
        if options.follow:
            follow(connection, end, output)
    elif options.json:
        output.write(json.dumps(asdict(summarise(connection)), indent=2) + "\n")
    else:
        output.write(_table(summarise(connection)))


def _fps(results: int, first: float | None, last: float | None) -> float | None:
    if results < 2 or first is None or last is None or not 0 < last - first < math.inf:
        return None
    return (results - 1) / (last - first)


def _table(summary: Summary) -> str:
    heads = [each.name for each in fields(StreamSummary)]
    total = {**asdict(summary.totals), "stream": f"total ({summary.totals.streams})"}
    lines = [
        heads,
        *([_cell(getattr(each, head)) for head in heads] for each in summary.streams),
        [_cell(total.get(head, "")) for head in heads],
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    # Names stand at the left, numbers at the right.
    aligned = (
        [
            cell.ljust(width) if head in ("stream", "device", "app") else cell.rjust(width)
            for cell, width, head in zip(line, widths, heads, strict=True)
        ]
        for line in lines
    )
    return "".join("  ".join(line).rstrip() + "\n" for line in aligned)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1f}"
    # A device chooses its own name, which must not steer the terminal that shows it.
    text = "-" if value is None else str(value)
    return "".join(each if each.isprintable() else "?" for each in text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python3 -m offload.results",
        description="Export, summarise or follow the results that a server keeps in a file.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    exporting = commands.add_parser("export", help="write all results to standard output")
    exporting.add_argument(
        "--format", choices=("jsonl", "csv"), default="jsonl", help="default: jsonl"
    )
    exporting.add_argument(
        "--stream", type=_stream, metavar="NAME", help="those of one stream (default: of all)"
    )
    summing = commands.add_parser("summary", help="show the counts per stream and in all")
    summing.add_argument("--json", action="store_true", help="as JSON instead of a table")
    tailing = commands.add_parser("tail", help="write the last results as JSON lines")
    tailing.add_argument("--follow", action="store_true", help="go on as results are committed")
    tailing.add_argument(
        "--lines", type=_count, default=DEFAULT_TAIL_LINES, metavar="N", help="default: %(default)s"
    )
    for command in (exporting, summing, tailing):
        command.add_argument("file", type=Path, metavar="FILE", help="the results file")
    return parser


def _stream(text: str) -> str:
    # What is no text in this locale is no stream's name, and no question for SQLite.
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r:.140} is no stream's name")
    return text


def _count(text: str) -> int:
    count = int(text)
    if not 0 <= count < 2**63:
        raise argparse.ArgumentTypeError(f"{text} is no number of lines, expected 0 or more")
    return count

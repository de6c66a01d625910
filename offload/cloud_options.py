"""The command line of the cloud program: what the user asked for.

options = parse(sys.argv[1:], os.environ)
options.apps, options.results
"""

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.arguments import Parser, add_common_options, count, positive
from offload.logs import set_up_logs

DEFAULT_APP: Final = "ball_tracking_example"

EXAMPLES: Final = """examples:
  python3 cloud_server_coordinator.py
      the ball tracking example on port 8089, results in results.db
  python3 cloud_server_coordinator.py --app my_app --app other_app --results sqlite:/srv/results.db
      two pipelines on one server
  python3 cloud_server_coordinator.py --bind 127.0.0.1 --port 0 --results none
      for a try on one machine: a free port, nothing kept
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for."""

    apps: tuple[str, ...]
    bind: str | None
    port: int
    results: str
    workers: int | None
    watch_fps: float
    insecure: bool
    token_file: Path | None
    summary: str | None


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line and the environment, and set up logging.

    Raises:
        ConfigurationError: They contradict themselves.
    """
    parser = Parser(
        prog="cloud_server_coordinator.py",
        description="Finish the frames of many devices and store their results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--app",
        action="append",
        metavar="MODULE[:ATTR]",
        help=f"a pipeline to run; may be repeated (env OFFLOAD_APP; default: {DEFAULT_APP})",
    )
    add(
        "--bind",
        default=environment.get("BIND") or None,
        metavar="ADDR",
        help="address to listen on (env BIND; default: all, IPv4 and IPv6)",
    )
    add(
        "--results",
        default=environment.get("OFFLOAD_RESULTS") or "sqlite:results.db",
        metavar="URL",
        help="sqlite:FILE or none (env OFFLOAD_RESULTS; default: sqlite:results.db)",
    )
    add("--workers", type=count, metavar="N", help="threads for tasks (default: one per core)")
    add(
        "--watch",
        type=_watch_fps,
        default=0.0,
        metavar="FPS|all",
        help="ask devices for pictures, at most so many a second of each stream (default: none)",
    )
    add("--insecure", action="store_true", help="accept peers that know no token")
    add_common_options(parser, environment)
    parsed = parser.parse_args(arguments)
    set_up_logs(level=parsed.log_level, style=parsed.log_format)
    return Options(
        apps=tuple(parsed.app or [environment.get("OFFLOAD_APP") or DEFAULT_APP]),
        bind=parsed.bind,
        port=parsed.port,
        results=parsed.results,
        workers=parsed.workers,
        watch_fps=parsed.watch,
        insecure=parsed.insecure,
        token_file=parsed.token_file,
        summary=parsed.summary,
    )


def _watch_fps(text: str) -> float:
    try:
        return math.inf if text == "all" else positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or all") from None

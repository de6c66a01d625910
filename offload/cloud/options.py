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

from offload.arguments import Parser, add_common_options, count, port_from, positive, size
from offload.errors import ConfigurationError
from offload.logs import set_up_logs
from offload.places import METRICS_HELP, Place, read_place
from offload.server_limits import DEFAULT_MAX_CLIENTS, memory_bytes
from offload.wire import ENVELOPE_ONLY_BYTES, MAX_MESSAGE_BYTES

DEFAULT_APP: Final = "ball_tracking_example"

# A frame beside its envelope takes as much at least; past the most a length is a mistake.
LEAST_MAX_FRAME_BYTES: Final = ENVELOPE_ONLY_BYTES
MOST_MAX_FRAME_BYTES: Final = 1024**3

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
    tls: "TlsFiles | None"
    max_clients: int
    max_frame_bytes: int
    memory_bytes: int
    summary: str | None
    dashboard: Place | None
    trace: Path | None
    metrics: Place | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """The server's certificate and key, and whose certificates devices must have, if any."""

    certificate: Path
    key: Path
    client_ca: Path | None


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line and the environment, and set up logging.

    Raises:
        ConfigurationError: They contradict themselves.
    """
    parsed = _parser(environment).parse_args(arguments)
    set_up_logs(level=parsed.log_level, style=parsed.log_format)
    return Options(
        apps=tuple(parsed.app or [environment.get("OFFLOAD_APP") or DEFAULT_APP]),
        bind=parsed.bind,
        port=port_from(parsed.port, environment),
        results=parsed.results,
        workers=parsed.workers,
        watch_fps=parsed.watch,
        insecure=parsed.insecure,
        token_file=parsed.token_file,
        tls=_tls_files(parsed),
        max_clients=parsed.max_clients,
        max_frame_bytes=parsed.max_frame,
        memory_bytes=memory_bytes(parsed.memory_limit, max_frame_bytes=parsed.max_frame),
        summary=parsed.summary,
        dashboard=parsed.dashboard,
        trace=parsed.trace,
        metrics=parsed.metrics_port,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="cloud_server_coordinator.py",
        description="Finish the frames of many devices and store their results.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_work(parser, environment)
    _add_views(parser)
    _add_access(parser)
    _add_limits(parser)
    add_common_options(parser)
    return parser


def _add_work(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Add what says which frames are finished, where, and what becomes of them."""
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


def _add_views(parser: argparse.ArgumentParser) -> None:
    """Add what lets people and programs look at the work."""
    add = parser.add_argument
    add(
        "--watch",
        type=_watch_fps,
        default=0.0,
        metavar="FPS|all",
        help="ask devices for pictures, at most so many a second of each stream (default: none)",
    )
    add(
        "--dashboard",
        type=read_place,
        metavar="[ADDR:]PORT",
        help="serve the web page on this port, of this machine alone unless ADDR is given; 0 takes "
        "a free one, which a line names; ./run setup dashboard installs what it needs",
    )
    add("--metrics-port", type=read_place, metavar="[ADDR:]P", help=METRICS_HELP)


def _add_access(parser: argparse.ArgumentParser) -> None:
    """Add what says who is let in, beside tokens."""
    add = parser.add_argument
    add("--insecure", action="store_true", help="accept peers that know no token")
    add("--tls-cert", type=Path, metavar="F", help="speak TLS 1.3, with this certificate")
    add("--tls-key", type=Path, metavar="F", help="the private key of --tls-cert")
    add("--tls-client-ca", type=Path, metavar="F", help="ask devices for a certificate of this CA")


def _add_limits(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--max-clients",
        type=count,
        default=DEFAULT_MAX_CLIENTS,
        metavar="N",
        help=f"devices that are served at a time (default: {DEFAULT_MAX_CLIENTS})",
    )
    add(
        "--max-frame",
        type=_max_frame,
        default=MAX_MESSAGE_BYTES,
        metavar="SIZE",
        help="largest message of a device, up to 1GiB (default: 64MiB)",
    )
    add(
        "--memory-limit",
        type=size,
        default=None,
        metavar="SIZE",
        help="memory for the frames of all devices; past it devices wait (default: 1GiB)",
    )


def _tls_files(parsed: argparse.Namespace) -> TlsFiles | None:
    if parsed.tls_cert is None:
        for option, given in (
            ("--tls-key", parsed.tls_key),
            ("--tls-client-ca", parsed.tls_client_ca),
        ):
            if given is not None:
                raise ConfigurationError(f"{option} {given}: needs a certificate: give --tls-cert")
        return None
    if parsed.tls_key is None:
        raise ConfigurationError(
            f"--tls-cert {parsed.tls_cert}: needs its private key: give --tls-key"
        )
    return TlsFiles(certificate=parsed.tls_cert, key=parsed.tls_key, client_ca=parsed.tls_client_ca)


def _max_frame(text: str) -> int:
    found = size(text)
    if not LEAST_MAX_FRAME_BYTES <= found <= MOST_MAX_FRAME_BYTES:
        raise argparse.ArgumentTypeError(f"{text!r} is not {LEAST_MAX_FRAME_BYTES} bytes to 1GiB")
    return found


def _watch_fps(text: str) -> float:
    try:
        return math.inf if text == "all" else positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or all") from None

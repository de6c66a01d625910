"""The command line of the device program: what the user asked for, checked as far as it can be.

options = parse(sys.argv[1:], os.environ)
options.mode, options.split, options.servers
"""

import argparse
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from offload.arguments import (
    Parser,
    add_common_options,
    count,
    one_of,
    path,
    port_from,
    positive,
    size,
    stream_name,
)
from offload.device.capture import Limit, Overload
from offload.device.encoding_choice import EncodingMode
from offload.errors import ConfigurationError
from offload.logs import set_up_logs
from offload.places import METRICS_HELP, Place, read_place
from offload.servers import Server, add_host_option, add_tls_options, check_tls, read_servers

# More frames in flight than this buy no throughput on any link, only latency and memory.
MAX_WINDOW: Final = 1024
DEFAULT_WINDOW: Final = 32

# More threads than this help only on a machine that is no small device; then its user can say so.
MAX_DEFAULT_WORKERS: Final = 4

# One interpreter keeps no more processors busy than this, whatever the tasks.
MAX_WORKERS: Final = 64

# Small next to any memory card, and large next to what frames take behind their last split.
DEFAULT_SPOOL_BYTES: Final = 256 * 1024 * 1024

DEFAULT_APP: Final = "ball_tracking_example"
DEFAULT_SOURCE: Final = "synthetic"

EXAMPLES: Final = """examples:
  python3 iot_client_coordinator.py --source match.mp4 --results sqlite:match.db
      client only: all tasks run here, results go to a file
  python3 iot_client_coordinator.py 3 --host 192.0.2.7
      manual: tasks 1 to 3 run here, the rest on the server
  HOST=cloud.example python3 iot_client_coordinator.py 6 25 --source camera:0
      automatic: starts with 6 tasks here and moves the split to hold 25 frames a second
"""


# Options that mean something only where there is a cloud.
_NEED_K: Final = (
    *(
        "host",
        "port",
        "window",
        "max_latency",
        "encoding",
        "retry_for",
        "token_file",
        "spool",
        "spool_limit",
    ),
    *("tls", "tls_ca", "tls_cert", "tls_key"),
    *("trial", "survey"),
)


class Mode(StrEnum):
    """Who decides where tasks run."""

    CLIENT_ONLY = "client_only"
    MANUAL = "manual"
    AUTOMATIC = "automatic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for, checked as far as it can be without the app."""

    mode: Mode
    split: int | None
    target_fps: float | None
    app: str
    source: str
    source_is_default: bool
    servers: tuple[Server, ...]
    limit: Limit
    rate_fps: float | None
    overload: Overload | None
    window: int
    max_latency_s: float | None
    device_workers: int
    encoding: EncodingMode
    display: bool
    results: str
    stream: str
    stream_is_named: bool
    trial: bool
    survey: bool
    spool: Path | None
    spool_limit: int
    tls: bool
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    retry_for_s: float | None
    token_file: Path | None
    report_every_s: float
    summary: str | None
    trace: Path | None
    metrics: Place | None


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line and the environment, and set up logging.

    Raises:
        ConfigurationError: They contradict themselves or each other.
    """
    parsed = _parser(environment).parse_args(arguments)
    set_up_logs(level=parsed.log_level, style=parsed.log_format)
    mode = Mode.CLIENT_ONLY
    if parsed.k is not None:
        mode = Mode.MANUAL if parsed.fps is None else Mode.AUTOMATIC
    servers: tuple[Server, ...] = ()
    if mode is Mode.CLIENT_ONLY:
        _check_client_only(parsed)
    else:
        if parsed.results is not None:
            raise ConfigurationError("--results is for client only: with K the server keeps them")
        if parsed.display:
            raise ConfigurationError(
                "--display is for client only: with K the last tasks run on the server"
            )
        _check_companions(parsed)
        hosts = parsed.host if parsed.host is not None else environment.get("HOST", "")
        servers = read_servers(hosts, port_from(parsed.port, environment))
    return Options(
        mode=mode,
        split=parsed.k,
        target_fps=parsed.fps,
        app=parsed.app,
        source=parsed.source or environment.get("OFFLOAD_SOURCE") or DEFAULT_SOURCE,
        source_is_default=not (parsed.source or environment.get("OFFLOAD_SOURCE")),
        servers=servers,
        limit=Limit(frames=parsed.frames, duration_s=parsed.duration),
        rate_fps=parsed.rate,
        overload=parsed.overload,
        window=parsed.window or DEFAULT_WINDOW,
        max_latency_s=parsed.max_latency,
        device_workers=parsed.device_workers,
        encoding=parsed.encoding or EncodingMode.AUTO,
        display=parsed.display,
        results=parsed.results or "none",
        stream=parsed.stream or str(uuid.uuid4()),
        stream_is_named=parsed.stream is not None,
        trial=bool(parsed.trial),
        survey=bool(parsed.survey),
        spool=parsed.spool,
        spool_limit=DEFAULT_SPOOL_BYTES if parsed.spool_limit is None else parsed.spool_limit,
        tls=bool(parsed.tls),
        tls_ca=parsed.tls_ca,
        tls_cert=parsed.tls_cert,
        tls_key=parsed.tls_key,
        retry_for_s=parsed.retry_for,
        token_file=parsed.token_file,
        report_every_s=parsed.report_every,
        summary=parsed.summary,
        trace=parsed.trace,
        metrics=parsed.metrics_port,
    )


def check_fits(options: Options, *, tasks: int, splits: range, permits_lossy: bool) -> None:
    """Check what the user asked for against the app.

    Args:
        options: What the user asked for.
        tasks: How many tasks the app has.
        splits: Its movable range.
        permits_lossy: Whether a value of it may travel lossy.

    Raises:
        ConfigurationError: The app cannot be run so.
    """
    if options.split is not None and options.split not in splits:
        raise ConfigurationError(
            f"K is {options.split}, expected {splits.start} to {splits.stop - 1} for the "
            f"{tasks} tasks of {options.app}"
        )
    if options.encoding is EncodingMode.LOSSY and not permits_lossy:
        raise ConfigurationError(
            f"--encoding lossy: no task of {options.app} permits a lossy encoding; "
            "leave the option out"
        )


def _check_client_only(parsed: argparse.Namespace) -> None:
    for name in _NEED_K:
        if getattr(parsed, name) is not None:
            option = name.replace("_", "-")
            raise ConfigurationError(
                f"--{option} goes with K: without K all tasks run here; see --help"
            )


def _check_companions(parsed: argparse.Namespace) -> None:
    """Refuse options that mean nothing without another one."""
    if parsed.max_latency is not None and parsed.fps is None:
        raise ConfigurationError(
            "--max-latency goes with FPS: without a target nothing moves; see --help"
        )
    if parsed.survey and parsed.fps is None:
        raise ConfigurationError("--survey goes with FPS: only then splits can move; see --help")
    if parsed.spool_limit is not None and parsed.spool is None:
        raise ConfigurationError("--spool-limit goes with --spool")
    if parsed.trial and parsed.spool is not None:
        raise ConfigurationError("--trial keeps nothing of a run: leave --spool out")
    check_tls(parsed)


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = Parser(
        prog="iot_client_coordinator.py",
        description="Run the first K tasks of a pipeline on this device and the rest in the cloud.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("k", nargs="?", type=count, metavar="K", help="tasks 1 to K run here; without it, all do")
    add("fps", nargs="?", type=positive, metavar="FPS", help="move the split to hold this rate")
    add(
        "--app",
        default=environment.get("OFFLOAD_APP") or DEFAULT_APP,
        metavar="MODULE[:ATTR]",
        help=f"the pipeline to run (env OFFLOAD_APP; default: {DEFAULT_APP})",
    )
    add(
        "--source",
        metavar="SPEC",
        help="synthetic[:WxH@FPS], camera:N, picamera:N, a video file or an rtsp:// URL; handed to "
        f"the app (env OFFLOAD_SOURCE; default: {DEFAULT_SOURCE})",
    )
    add_host_option(parser)
    _add_flow_options(parser)
    add("--results", metavar="URL", help="client only: keep results in sqlite:FILE (default: none)")
    add(
        "--stream",
        type=stream_name,
        metavar="ID",
        help="the stream's name; the same one again resumes it (default: a new one)",
    )
    add(
        "--trial",
        action="store_true",
        default=None,
        help="try it: the server keeps nothing of this run",
    )
    add(
        "--survey",
        action="store_true",
        default=None,
        help="run every split in turn for some seconds, and end: the summary says what each gives",
    )
    _add_safety_options(parser)
    add(
        "--retry-for",
        type=positive,
        metavar="S",
        help="how long to keep reconnecting (default: 30 at start, for ever once connected)",
    )
    add(
        "--report-every",
        type=positive,
        default=3.0,
        metavar="S",
        help="seconds between two lines that say how the run goes (default: 3); in a terminal a "
        "live line takes their place",
    )
    add("--metrics-port", type=read_place, metavar="[ADDR:]P", help=METRICS_HELP)
    add_common_options(parser)
    return parser


def _add_safety_options(parser: argparse.ArgumentParser) -> None:
    """Add what keeps work over a crash, and others out."""
    add = parser.add_argument
    add(
        "--spool",
        type=path,
        metavar="DIR",
        help="keep unacknowledged work on disk, so that it survives a crash or a long outage; "
        "during one, all tasks that may run here do",
    )
    add("--spool-limit", type=size, metavar="SIZE", help="most that it takes (default: 256MiB)")
    add_tls_options(parser)


def _add_flow_options(parser: argparse.ArgumentParser) -> None:
    """Add what says how frames flow: how many, how fast, what is in flight, and in which form."""
    add = parser.add_argument
    add("--frames", type=count, metavar="N", help="stop after N captured frames")
    add("--duration", type=positive, metavar="S", help="stop after S seconds")
    add("--rate", type=positive, metavar="FPS", help="pace the source as a camera would")
    add(
        "--overload",
        type=one_of(Overload),
        metavar="block|newest",
        help="wait and lose no frame, or drop the oldest one (default: newest for live sources)",
    )
    add(
        "--window",
        type=_window,
        metavar="N",
        help="most frames sent and not yet acknowledged "
        f"(default: {DEFAULT_WINDOW}, at most {MAX_WINDOW})",
    )
    add(
        "--max-latency",
        type=positive,
        metavar="S",
        help="keep 95 of 100 frames under S seconds from capture to acknowledgement; it goes "
        "before FPS",
    )
    add(
        "--device-workers",
        type=_workers,
        default=min(os.cpu_count() or 1, MAX_DEFAULT_WORKERS),
        metavar="N",
        help="threads for tasks that keep no state "
        f"(default: one per core, at most {MAX_DEFAULT_WORKERS})",
    )
    add(
        "--encoding",
        type=one_of(EncodingMode),
        metavar="auto|raw|lossless|lossy",
        help="how values travel: auto takes what costs least on this link, and loses something "
        "only where the app permits it (default: auto)",
    )
    add("--display", action="store_true", help="client only: show the pictures in a window")


def _workers(text: str) -> int:
    workers = count(text)
    if workers > MAX_WORKERS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads up to {MAX_WORKERS}")
    return workers


def _window(text: str) -> int:
    messages = count(text)
    if messages > MAX_WINDOW:
        raise argparse.ArgumentTypeError(f"{text!r} is over {MAX_WINDOW}")
    return messages

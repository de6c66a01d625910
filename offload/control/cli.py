"""The command ``python3 -m offload.control``: what is connected, and how it is steered.

One line for each stream goes to standard output, as it is after the change. Exit codes: 0 done,
1 no such stream, or a device that did not do it, 2 wrong usage, 69 no server, 76 another protocol,
77 no operator's token, or one that the server refused, 130 interrupted.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload import __version__
from offload.arguments import (
    Parser,
    add_access_options,
    count,
    port_from,
    positive,
    print_lines,
    report_error,
    stream_name,
)
from offload.auth import load_operator_token
from offload.control.connection import connect_operator
from offload.errors import OffloadError, SteeringError
from offload.logs import write_last
from offload.messages import (
    Change,
    DrainDevice,
    OperatorRequest,
    PinSplit,
    Release,
    SetTarget,
    SteeringMode,
    StreamSteering,
)
from offload.servers import (
    Server,
    add_host_option,
    add_tls_options,
    check_tls,
    read_servers,
    security,
)

# What a message can hold is more, and what a pipeline can be split at is less.
MAX_SPLIT: Final = 1_000_000

_EXAMPLES: Final = """examples:
  python3 -m offload.control --host 192.0.2.7
      what is connected, and how it is steered
  python3 -m offload.control --host 192.0.2.7 --stream porch --target 25
      one stream: 25 frames a second from now on
  python3 -m offload.control --host 192.0.2.7 --pin 3
      all streams: tasks 1 to 3 on the device, until --release
  python3 -m offload.control --host 192.0.2.7 --stream porch --drain
      its device captures no more, finishes what is in flight, and ends

The token has to be an operator's: python3 -m offload.auth new NAME --operator
makes one where the server is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for."""

    servers: tuple[Server, ...]
    token_file: Path | None
    tls: bool
    tls_ca: Path | None
    tls_cert: Path | None
    tls_key: Path | None
    request: OperatorRequest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code; errors are one line on standard error."""
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments, os.environ)
        streams = ask(options, os.environ)
        if not streams:
            _check_some(options.request)
            write_last("no stream is connected\n")
        print_lines(map(line, streams))
        check_done(streams)
    except OffloadError as error:
        return report_error(error)
    except KeyboardInterrupt:
        return 130
    return 0


def parse(arguments: Sequence[str], environment: Mapping[str, str]) -> Options:
    """Read the command line and the environment.

    Raises:
        ConfigurationError: They contradict themselves or each other.
    """
    parsed = _parser().parse_args(arguments)
    check_tls(parsed)
    hosts = parsed.host if parsed.host is not None else environment.get("HOST", "")
    return Options(
        servers=read_servers(hosts, port_from(parsed.port, environment)),
        token_file=parsed.token_file,
        tls=bool(parsed.tls),
        tls_ca=parsed.tls_ca,
        tls_cert=parsed.tls_cert,
        tls_key=parsed.tls_key,
        request=OperatorRequest(change=_change(parsed), stream=parsed.stream),
    )


def ask(options: Options, environment: Mapping[str, str]) -> list[StreamSteering]:
    """Ask the server, and return its answer.

    Raises:
        OffloadError: There is none.
    """
    token = load_operator_token(options.token_file, environment)
    connection = connect_operator(options.servers, token=token, secure=security(options))
    with closing(connection):
        return connection.ask(options.request)


def line(stream: StreamSteering) -> str:
    """Return what is known of a stream, in a line."""
    named = f"{stream.stream} ({stream.device}, {stream.app})"
    state = stream.state
    if state is None:
        return f"{named}: has not said how it is steered"
    split = "free" if state.pinned is None else str(state.pinned)
    if state.mode is SteeringMode.MANUAL or state.target_fps is None:
        return f"{named}: {state.mode}, split {split}"
    return f"{named}: {state.mode}, target {state.target_fps:g} FPS, split {split}"


def check_done(streams: Sequence[StreamSteering]) -> None:
    """Check that every device did what was asked for.

    Raises:
        SteeringError: One did not.
    """
    failed = [f"{each.stream}: {each.error}" for each in streams if each.error is not None]
    if failed:
        raise SteeringError("; ".join(failed))


def _check_some(request: OperatorRequest) -> None:
    if request.change is not None:
        raise SteeringError("no stream is connected, expected one to change")


def _change(parsed: argparse.Namespace) -> Change | None:
    if parsed.target is not None:
        return SetTarget(fps=parsed.target)
    if parsed.pin is not None:
        return PinSplit(split=parsed.pin)
    if parsed.drain:
        return DrainDevice()
    return Release() if parsed.release else None


def _split(text: str) -> int:
    split = count(text)
    if split > MAX_SPLIT:
        raise argparse.ArgumentTypeError(f"{text!r} is over {MAX_SPLIT}: no pipeline is so long")
    return split


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python3 -m offload.control",
        description="Show the streams that are connected to a server, and steer their devices.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_host_option(parser)
    add_access_options(parser)
    add_tls_options(parser)
    parser.add_argument(
        "--stream", type=stream_name, metavar="ID", help="this one only (default: all)"
    )
    changes = parser.add_mutually_exclusive_group()
    changes.add_argument("--target", type=positive, metavar="FPS", help="hold this rate")
    changes.add_argument("--pin", type=_split, metavar="K", help="tasks 1 to K run on the device")
    changes.add_argument("--release", action="store_true", help="undo --pin")
    changes.add_argument("--drain", action="store_true", help="finish what is in flight, and end")
    parser.add_argument("--version", action="version", version=f"task-offload {__version__}")
    return parser

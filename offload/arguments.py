"""What the command lines of the two programs share: types, options, one-line errors."""

import argparse
import json
import logging
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final, NoReturn, TextIO, TypeVar

from offload import __version__
from offload.errors import ConfigurationError, OffloadError, ReportError
from offload.logs import FORMATS, LEVELS, give_up, write_last
from offload.messages import is_stream_name

logger = logging.getLogger(__name__)

Number = TypeVar("Number", int, float)
Choice = TypeVar("Choice", bound=StrEnum)


_UNITS: Final = {
    **{"": 1, "b": 1},
    **{"kb": 1000, "mb": 1000**2, "gb": 1000**3},
    **{"kib": 1024, "mib": 1024**2, "gib": 1024**3},
}
_SIZE: Final = re.compile(r"([0-9]{1,15}) ?((?:[kmg]i?)?b|)", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that the caller prints."""

    def error(self, message: str) -> NoReturn:
        """Raise `ConfigurationError` instead of printing the usage and ending the process."""
        raise ConfigurationError(f"{message}; see --help")


def add_common_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that both programs have."""
    add_access_options(parser)
    parser.add_argument(
        "--summary",
        metavar="F",
        help="write the final report as one JSON object; -: standard output",
    )
    parser.add_argument(
        "--trace", type=path, metavar="F", help="write every event of the run as a JSON line"
    )
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: info")
    parser.add_argument("--log-format", choices=FORMATS, default="text", help="default: text")
    parser.add_argument("--version", action="version", version=f"task-offload {__version__}")


def add_access_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the server is on its machine, and who asks."""
    parser.add_argument(
        "--token-file",
        type=path,
        metavar="F",
        help="file with the shared token, name:secret (env OFFLOAD_TOKEN_FILE, or the token itself "
        "in OFFLOAD_TOKEN; default: the user's own token file)",
    )
    parser.add_argument(
        "--port",
        type=port,
        metavar="P",
        help="port of the cloud server (env PORT; default: 8089)",
    )


def port_from(chosen: int | None, environment: Mapping[str, str]) -> int:
    """Return the port that was chosen, else the one that ``PORT`` names, else the default.

    Raises:
        ConfigurationError: What ``PORT`` names is no port.
    """
    if chosen is not None:
        return chosen
    try:
        return port(environment.get("PORT") or "8089")
    except argparse.ArgumentTypeError as error:
        raise ConfigurationError(f"environment variable PORT: {error}") from error


def port(text: str) -> int:
    """Read a port number, 0 to 65535."""
    return _checked(text, int, lambda number: 0 <= number <= 65535, "a port from 0 to 65535")


def count(text: str) -> int:
    """Read a whole number of at least 1."""
    return _checked(text, int, lambda number: number >= 1, "a whole number of at least 1")


def positive(text: str) -> float:
    """Read a finite number over 0."""
    return _checked(
        text, float, lambda number: number > 0 and math.isfinite(number), "a number over 0"
    )


def stream_name(text: str) -> str:
    """Read the name of a stream."""
    if not is_stream_name(text):
        raise argparse.ArgumentTypeError(
            "a stream's name has 1 to 128 printable characters, and is neither . nor .."
        )
    return text


def size(text: str) -> int:
    """Read a number of bytes: ``65536``, ``500kB`` (thousands) or ``64MiB`` (times 1024)."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 500kB or 64MiB")
    number, unit = found.groups()
    return int(number) * _UNITS[unit.lower()]


def path(text: str) -> Path:
    """Read the name of a file or folder, which an unset variable of a shell is not."""
    if not text:
        raise argparse.ArgumentTypeError("the name is empty")
    return Path(text)


def one_of(choices: type[Choice]) -> Callable[[str], Choice]:
    """Return what reads one of the values of an enum."""

    def read(text: str) -> Choice:
        try:
            return choices(text)
        except ValueError:
            expected = ", ".join(choices)
            raise argparse.ArgumentTypeError(f"{text!r} is none of {expected}") from None

    return read


def print_lines(lines: Iterable[str]) -> None:
    """Write lines to standard output.

    Raises:
        ReportError: It cannot be written, as when it is closed or its disk is full.
    """
    output = standard_output()
    try:
        for each in lines:
            output.write(f"{each}\n")
        output.flush()
    except OSError as error:
        give_up_output()
        raise ReportError(f"standard output cannot be written: {error.strerror}") from error


def standard_output() -> TextIO:
    """Return standard output, which a program may be started without.

    Raises:
        ReportError: It is closed.
    """
    if sys.stdout is None:
        raise ReportError("standard output cannot be written: it is closed")
    return sys.stdout


def report_error(error: OffloadError) -> int:
    """Print one line for the user, and the traceback if debugging; return the exit code."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("traceback", exc_info=error)
    write_last(f"error: {' '.join(str(error).split())}\n")
    return error.exit_code


def check_writable(summary: str | None) -> None:
    """Find out before the run that its report can be written after it.

    Raises:
        ConfigurationError: It cannot.
    """
    if summary is None or summary == "-":
        return
    try:
        with Path(summary).open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigurationError(f"cannot write --summary {summary}: {error.strerror}") from error


def write_summary(summary: str | None, report: Mapping[str, object]) -> None:
    """Write the final report where the user asked for it.

    Raises:
        ReportError: It could not be written. What is there is then no whole JSON object.
    """
    if summary is None:
        return
    text = json.dumps(report, indent=2) + "\n"
    try:
        if summary == "-":
            output = standard_output()
            output.write(text)
            output.flush()
        else:
            Path(summary).write_text(text, encoding="utf-8")
    except OSError as error:
        if summary == "-":
            give_up_output()
        raise ReportError(
            f"cannot write --summary {summary}: {error.strerror}; nothing else of the run is lost"
        ) from error


def give_up_output() -> None:
    """Drop what standard output did not take: else Python tries again at its end, and complains."""
    give_up(sys.stdout)


def _checked(
    text: str, read: Callable[[str], Number], holds: Callable[[Number], bool], expected: str
) -> Number:
    try:
        number = read(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}") from None
    if not holds(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not {expected}")
    return number

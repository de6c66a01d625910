r"""What the process of a link is told, and what it says: JSON, a line each.

    process.stdin.write(settings_line(settings))          # first, and once
    process.stdin.write(qualities_line(qualities))        # whenever the link changes
    report = read_report(process.stdout.readline())

A line of settings, here cut to fit, and one of a change::

    {"link": "wifi", "seed": 7, "ends": [{"namespace": "a", "device": "wifi"}, {...}],
     "qualities": {"forward": {"rate_bit_s": 2e7, "delay_s": 0.01}, "backward": {}}}
    {"forward": {"is_up": false}, "backward": {"is_up": false}}
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from offload.emulation.experiment import Quality
from offload.emulation.links.link_model import Counters
from offload.errors import ConfigurationError

_Read = TypeVar("_Read")


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """Where an end of a link is.

    Attributes:
        namespace: Name of a network namespace that exists.
        device: Name of the TAP device that is made there.
    """

    namespace: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualities:
    """Both directions of a link; see `experiment.Link`."""

    forward: Quality
    backward: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class RelaySettings:
    """All that the process of a link has to know.

    Attributes:
        link: Name of the link. With the seed it decides which packets get lost.
        seed: The experiment's.
        ends: Where the link begins and ends, as seen by its forward direction.
        qualities: What it is at first.
    """

    link: str
    seed: int
    ends: tuple[End, End]
    qualities: Qualities


class ReportKind(StrEnum):
    """Why a report was made."""

    STARTED = "started"  # the devices are there
    COUNTERS = "counters"  # a second has gone by
    CHANGED = "changed"  # a change holds from now on
    ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How much went through a link until now.

    Attributes:
        kind: Why it was made.
        at: When, seconds since 1970 (a label; the wall clock may jump).
        forward: From the first end to the second.
        backward: From the second end to the first.
    """

    kind: ReportKind
    at: float
    forward: Counters
    backward: Counters


def settings_line(settings: RelaySettings) -> str:
    """Return the line, with its end."""
    return _line(settings)


def qualities_line(qualities: Qualities) -> str:
    """Return the line, with its end."""
    return _line(qualities)


def report_line(report: Report) -> str:
    """Return the line, with its end."""
    return _line(report)


def read_settings(line: str | bytes) -> RelaySettings:
    """Read what `settings_line` wrote.

    Raises:
        ConfigurationError: It is something else.
    """

    def read(fields: dict[str, Any]) -> RelaySettings:
        first, second = (End(**end) for end in fields.pop("ends"))
        qualities = _qualities(fields.pop("qualities"))
        return RelaySettings(**fields, ends=(first, second), qualities=qualities)

    return _read(line, "settings", read)


def read_qualities(line: str | bytes) -> Qualities:
    """Read what `qualities_line` wrote.

    Raises:
        ConfigurationError: It is something else.
    """
    return _read(line, "qualities", _qualities)


def read_report(line: str | bytes) -> Report:
    """Read what `report_line` wrote.

    Raises:
        ConfigurationError: It is something else.
    """

    def read(fields: dict[str, Any]) -> Report:
        return Report(
            kind=ReportKind(fields["kind"]),
            at=float(fields["at"]),
            forward=Counters(**fields["forward"]),
            backward=Counters(**fields["backward"]),
        )

    return _read(line, "report", read)


def _line(value: RelaySettings | Qualities | Report) -> str:
    return json.dumps(asdict(value)) + "\n"


def _qualities(fields: dict[str, Any]) -> Qualities:
    return Qualities(**{name: Quality(**quality) for name, quality in fields.items()})


def _read(line: str | bytes, what: str, read: Callable[[dict[str, Any]], _Read]) -> _Read:
    try:
        return read(json.loads(line))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"a line is no {what} of a link: {error}") from error

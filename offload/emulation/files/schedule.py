"""The lines of a schedule to changes, each with all that holds from then on.

    at 30s: link wifi rate 4Mbit
    at 30s: link wifi to cloud rate 4Mbit delay 80ms
    at 40s: link wifi kind wifi-poor
    at 60s: machine pi cpu 0.3 memory 256MiB
    at 70s: link wifi down
    at 80s: link wifi up rate unlimited

What a line does not name stays as the lines of earlier times left it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from offload.emulation.experiment import Change, Link, LinkChange, Machine, MachineChange
from offload.emulation.files import units
from offload.emulation.files.adjusting import adjusted_link, adjusted_machine
from offload.emulation.files.settings import (
    LIMIT_KEYS,
    QUALITY_KEYS,
    check_quality,
    did_you_mean,
    read_at,
)
from offload.errors import ConfigurationError

Named = TypeVar("Named")

_LINE: Final = re.compile(r"at (\S+): *(\S.*)")
_FORM: Final = (
    "at TIME: link NAME [to MACHINE] KEY VALUE ..., or at TIME: machine NAME KEY VALUE ..."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A line of the schedule, and where it stands."""

    at_s: float
    words: Sequence[str]
    text: str
    place: str


def read_schedule(
    texts: Sequence[str],
    *,
    machines: Sequence[Machine],
    links: Sequence[Link],
    devices: Mapping[str, str],
    duration_s: float,
) -> tuple[Change, ...]:
    """Return the changes in the order of their times.

    Args:
        texts: The lines, in any order; of the same time, earlier lines come first.
        machines: As they are before the first change.
        links: As they are before the first change.
        devices: For each link the end that a kind takes for the device.
        duration_s: How long the experiment goes on.

    Raises:
        ConfigurationError: A line is wrong.
    """
    lines = [_split(text, f"schedule[{index}]") for index, text in enumerate(texts)]
    machines_now = {machine.name: machine for machine in machines}
    links_now = {link.name: link for link in links}
    changes: list[Change] = []
    for line in sorted(lines, key=lambda line: line.at_s):
        _check_time(line, duration_s)
        if line.words[0] == "link":
            changes.append(_link_change(line, links_now, devices))
        elif line.words[0] == "machine":
            changes.append(_machine_change(line, machines_now))
        else:
            hint = did_you_mean(line.words[0], ["link", "machine"])
            raise ConfigurationError(f"{line.place}: unknown word {line.words[0]!r}; {hint}")
    return tuple(changes)


def _check_time(line: _Line, duration_s: float) -> None:
    if line.at_s >= duration_s:
        raise ConfigurationError(
            f"{line.place}: {line.at_s:g}s is after the end, expected a time before the duration "
            f"of {duration_s:g}s"
        )


def _split(text: str, place: str) -> _Line:
    found = _LINE.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{place}: {text!r} is not of the form {_FORM}")
    at_s = read_at(place, units.duration, found[1])
    return _Line(at_s=at_s, words=found[2].split(), text=text, place=place)


def _link_change(line: _Line, links: dict[str, Link], devices: Mapping[str, str]) -> LinkChange:
    link = _named(line, links)
    words = line.words[2:]
    to = None
    if words[:1] == ["to"]:
        if len(words) < 2 or words[1] not in link.ends:
            raise ConfigurationError(
                f"{line.place}: expected one of {', '.join(link.ends)} after 'to'"
            )
        to, words = [words[1]], words[2:]
    settings = _settings(line, words, QUALITY_KEYS)
    link = adjusted_link(link, settings, device=devices[link.name], to=to, place=line.place)
    for end in link.ends:
        check_quality(link.quality_to(end), place=line.place)
    links[link.name] = link
    return LinkChange(
        at_s=line.at_s,
        link=link.name,
        forward=link.forward,
        backward=link.backward,
        text=line.text,
    )


def _machine_change(line: _Line, machines: dict[str, Machine]) -> MachineChange:
    machine = _named(line, machines)
    settings = _settings(line, line.words[2:], LIMIT_KEYS)
    machine = adjusted_machine(machine, settings, place=line.place)
    machines[machine.name] = machine
    return MachineChange(
        at_s=line.at_s,
        machine=machine.name,
        cpu=machine.cpu,
        memory_bytes=machine.memory_bytes,
        text=line.text,
    )


def _named(line: _Line, known: Mapping[str, Named]) -> Named:
    what = line.words[0]
    if len(line.words) < 2:
        raise ConfigurationError(f"{line.place}: expected the name of a {what} after {what!r}")
    name = line.words[1]
    if name not in known:
        raise ConfigurationError(
            f"{line.place}: unknown {what} {name!r}; {did_you_mean(name, known)}"
        )
    return known[name]


def _settings(line: _Line, words: Sequence[str], keys: Sequence[str]) -> dict[str, object]:
    """Read ``rate 4Mbit delay 80ms down`` to settings as a table has them."""
    settings: dict[str, object] = {}
    rest = iter(words)
    for word in rest:
        key = "up" if word == "down" else word
        if key not in ("kind", *keys):
            known = ["kind", *keys, *(["down"] if "up" in keys else [])]
            raise ConfigurationError(
                f"{line.place}: unknown word {word!r}; {did_you_mean(word, known)}"
            )
        if key in settings:
            raise ConfigurationError(f"{line.place}: {word!r} is said twice")
        value: object = word == "up" if key == "up" else next(rest, None)
        if value is None:
            raise ConfigurationError(f"{line.place}: expected a value after {word!r}")
        settings[key] = value
    if not settings:
        raise ConfigurationError(f"{line.place}: it changes nothing, expected KEY VALUE at its end")
    return settings

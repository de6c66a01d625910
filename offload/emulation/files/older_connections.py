"""Connections of the older form of experiments, to links: one for both directions of a pair.

links_of([{"node1": "pi", "node2": "cloud", "bandwidth": "20Mbit"}], {"pi": "pi", ...})
# [{"name": "link-1", "between": ["pi", "cloud"], "rate": "20Mbit"}]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offload.emulation.files import units
from offload.emulation.files.older_units import Mbps, rate_text
from offload.emulation.files.settings import did_you_mean, read_at
from offload.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A setting, and which connection says it."""

    text: str
    place: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """What connections say of each direction between two machines.

    Attributes:
        ends: As the first connection names them.
        to: Settings by the end that the direction leads to, then by key.
    """

    ends: tuple[str, str]
    to: Mapping[str, dict[str, _Said]] = field(default_factory=dict)


def links_of(
    connections: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    mbps_means: Mbps | None,
) -> list[dict[str, Any]]:
    """Return links in the new form.

    Args:
        connections: In the older form.
        names: The machines' names in the new form by those in the older one.
        mbps_means: What ``mbps`` means in them; None if nobody said.

    Raises:
        ConfigurationError: A connection is wrong, or two of them do not agree.
    """
    pairs: dict[frozenset[str], _Pair] = {}
    for index, connection in enumerate(connections):
        place = f"connections[{index}]"
        first, second = (_end(connection, key, names, place) for key in ("node1", "node2"))
        if first == second:
            raise ConfigurationError(f"{place}: {first!r} twice, expected two machines")
        new = _Pair(ends=(first, second), to={first: {}, second: {}})
        pair = pairs.setdefault(frozenset(new.ends), new)
        ends = {"to": [second], "from": [first], "both": [first, second]}
        for end in ends[connection.get("direction", "both")]:
            _put(pair.to[end], _settings(connection, place, mbps_means), end)
    return [_link(pair, number) for number, pair in enumerate(pairs.values(), start=1)]


def linked(links: Sequence[Mapping[str, Any]], one: str, other: str) -> bool:
    """Return whether one of the links joins the two machines."""
    return any({one, other} == set(link["between"]) for link in links)


def _end(connection: Mapping[str, Any], key: str, names: Mapping[str, str], place: str) -> str:
    name = connection[key]
    if name not in names:
        raise ConfigurationError(
            f"{place}.{key}: unknown machine {name!r}; {did_you_mean(name, names)}"
        )
    return names[name]


def _settings(
    connection: Mapping[str, Any], place: str, mbps_means: Mbps | None
) -> dict[str, _Said]:
    settings = {}
    if "bandwidth" in connection:
        there = f"{place}.bandwidth"

        def read_rate(text: str) -> str:
            return rate_text(text, mbps_means=mbps_means)

        text = read_at(there, read_rate, connection["bandwidth"])
        settings["rate"] = _Said(text=text, place=there)
    if "latency" in connection:
        there = f"{place}.latency"
        read_at(there, units.duration, connection["latency"])
        settings["delay"] = _Said(text=connection["latency"], place=there)
    return settings


def _put(known: dict[str, _Said], new: Mapping[str, _Said], end: str) -> None:
    for key, said in new.items():
        before = known.setdefault(key, said)
        if before.text != said.text:
            raise ConfigurationError(
                f"{said.place}: {said.text} to {end!r}, but {before.place} says {before.text}"
            )


def _link(pair: _Pair, number: int) -> dict[str, Any]:
    link: dict[str, Any] = {"name": f"link-{number}", "between": list(pair.ends)}
    to = {end: {key: said.text for key, said in pair.to[end].items()} for end in pair.ends}
    if to[pair.ends[0]] == to[pair.ends[1]]:
        return link | to[pair.ends[0]]
    return link | {"to": {end: settings for end, settings in to.items() if settings}}

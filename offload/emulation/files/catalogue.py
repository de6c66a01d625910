"""Named kinds of devices and links, with their figures and where these come from.

    machine_kind("pi-4").limits.cpu             # 0.26 cores of a server
    link_kind("lte").to_device.rate_bit_s       # 29500000.0
    for row in rows():                          # what `kinds` prints
        row.name, row.figures, row.source

The figures are in ``catalogue.toml`` beside this file, with what they mean.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from offload.emulation.experiment import Quality
from offload.emulation.files.settings import (
    Limits,
    check_quality,
    did_you_mean,
    limits_with,
    quality_with,
)
from offload.errors import ConfigurationError

_FILE: Final = "catalogue.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineKind:
    """A kind of device.

    Attributes:
        name: What an experiment's ``kind`` says.
        what: What it is, in a few words.
        limits: Its memory, and what all its cores do together, in cores of a current server.
        one_core: What one of its cores does alone, in the same unit.
        source: Where the figures come from.
    """

    name: str
    what: str
    limits: Limits
    one_core: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKind:
    """A kind of link.

    Attributes:
        name: What an experiment's ``kind`` says.
        what: What it is, in a few words.
        to_device: The direction to the device.
        to_cloud: The direction to the cloud.
        source: Where the figures come from.
    """

    name: str
    what: str
    to_device: Quality
    to_cloud: Quality
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A kind as a line of a list.

    Attributes:
        of: ``machine`` or ``link``.
        name: What an experiment's ``kind`` says.
        what: What it is, in a few words.
        figures: Its figures, in the words of an experiment file.
        source: Where they come from.
    """

    of: str
    name: str
    what: str
    figures: str
    source: str


def machine_kind(name: str) -> MachineKind:
    """Return a kind of device.

    Raises:
        ConfigurationError: There is none of this name.
    """
    table = _table("machines", name)
    return MachineKind(
        name=name,
        what=table["what"],
        limits=limits_with(Limits(), table, place=f"{_FILE}: machines.{name}"),
        one_core=table["one_core"],
        source=table["source"],
    )


def link_kind(name: str) -> LinkKind:
    """Return a kind of link.

    Raises:
        ConfigurationError: There is none of this name.
    """
    table = _table("links", name)
    both = quality_with(Quality(), table, place=f"{_FILE}: links.{name}")
    return LinkKind(
        name=name,
        what=table["what"],
        to_device=_direction(both, table, "to_device", name),
        to_cloud=_direction(both, table, "to_cloud", name),
        source=table["source"],
    )


def rows() -> Sequence[Row]:
    """Return all kinds, devices first, each group in the order of the file."""
    return [
        Row(
            of=group.removesuffix("s"),
            name=name,
            what=table["what"],
            figures=_figures(table),
            source=table["source"],
        )
        for group, kinds in _catalogue().items()
        for name, table in kinds.items()
    ]


def _table(group: str, name: str) -> Mapping[str, Any]:
    kinds = _catalogue()[group]
    if name not in kinds:
        raise ConfigurationError(f"unknown kind {name!r}; {did_you_mean(name, kinds)}")
    return kinds[name]


def _direction(both: Quality, table: Mapping[str, Any], key: str, name: str) -> Quality:
    place = f"{_FILE}: links.{name}.{key}"
    quality = quality_with(both, table.get(key, {}), place=place)
    check_quality(quality, place=place)
    return quality


def _figures(table: Mapping[str, Any]) -> str:
    parts = [
        f"{key} {value}"
        for key, value in table.items()
        if key not in {"what", "source", "to_device", "to_cloud"}
    ]
    for key in ("to_device", "to_cloud"):
        if key in table:
            parts.append(f"{key.replace('_', ' ')}: {_figures(table[key])}")
    return ", ".join(parts)


@cache
def _catalogue() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    text = files("offload.emulation.files").joinpath(_FILE).read_text(encoding="utf-8")
    return tomllib.loads(text)

"""A document that fits the schema to an experiment: units, kinds, defaults, and whether names fit.

    experiment = compose(document)

Errors name the place in the document; `reading` puts the file before it.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from offload.emulation.experiment import Experiment, Link, Machine, Quality, Readiness, Role
from offload.emulation.files import placeholders, units
from offload.emulation.files.adjusting import adjusted_link, adjusted_machine
from offload.emulation.files.schedule import read_schedule
from offload.emulation.files.settings import check_quality, did_you_mean, read_at
from offload.emulation.topology import first_hops
from offload.errors import ConfigurationError

# A device connects to a cloud as soon as it runs, so the cloud has to be there.
_START_ORDER: Final = {Role.CLOUD: 0, Role.DEVICE: 1}

# A link's devices are called like the link, and each machine has these already.
_DEVICES_OF_ALL: Final = frozenset({"lo", "all", "default"})

_DEFAULT_COLLECT_EVERY: Final = "1s"

# What is measured has to be read from the kernel first; more often it only measures itself.
_LEAST_COLLECT_EVERY_S: Final = 0.1


def compose(document: Mapping[str, Any]) -> Experiment:
    """Return the experiment that a document describes.

    Raises:
        ConfigurationError: Something in it is wrong that its schema cannot say.
    """
    machines = [
        _machine(table, f"machines[{index}]") for index, table in enumerate(document["machines"])
    ]
    _check_names([machine.name for machine in machines], "machines")
    roles = {machine.name: machine.role for machine in machines}
    tables = document.get("links", [])
    links = [_link(table, roles, f"links[{index}]") for index, table in enumerate(tables)]
    _check_names([link.name for link in links], "links")
    _check_pairs(links)
    _check_placeholders(machines, links)
    duration_s = _seconds(document["duration"], "duration")
    return Experiment(
        name=document["name"],
        description=document.get("description", ""),
        machines=tuple(sorted(machines, key=lambda machine: machine.start_order)),
        links=tuple(links),
        changes=read_schedule(
            document.get("schedule", ()),
            machines=machines,
            links=links,
            devices={link.name: _device_end(link.ends, roles) for link in links},
            duration_s=duration_s,
        ),
        duration_s=duration_s,
        seed=int(document.get("seed", 0)),
        collect_every_s=_collect_every_s(document.get("collect_every", _DEFAULT_COLLECT_EVERY)),
        probes=document.get("probes", True),
    )


def split_words(text: str, place: str) -> list[str]:
    """Split a command into words as a shell does.

    Raises:
        ConfigurationError: A quote is not closed; the error begins with the place.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        reason = str(error)
        raise ConfigurationError(f"{place}: {reason[0].lower()}{reason[1:]} in {text!r}") from error


def _seconds(text: str, place: str) -> float:
    seconds = read_at(place, units.duration, text)
    if seconds == 0:
        raise ConfigurationError(f"{place}: {text!r} is no time at all, expected one over 0s")
    return seconds


def _collect_every_s(text: str) -> float:
    seconds = _seconds(text, "collect_every")
    if seconds < _LEAST_COLLECT_EVERY_S:
        raise ConfigurationError(f"collect_every: {text!r} is too often, expected at least 100ms")
    return seconds


def _machine(table: Mapping[str, Any], place: str) -> Machine:
    role = Role(table["role"])
    machine = Machine(
        name=table["name"],
        role=role,
        kind=table.get("kind"),
        command=_command(table["command"], f"{place}.command"),
        environment=dict(table.get("environment", {})),
        start_order=int(table.get("start_order", _START_ORDER[role])),
        ready=_readiness(table.get("ready", {}), f"{place}.ready"),
        image=table.get("image"),
        ports=tuple(int(port) for port in table.get("ports", ())),
        mounts=dict(table.get("mounts", {})),
    )
    if machine.name in placeholders.RESERVED:
        raise ConfigurationError(
            f"{place}.name: {machine.name!r} is taken: {{{machine.name}}} in a command means "
            "something else"
        )
    return adjusted_machine(machine, table, place=place)


def _command(value: str | Sequence[str], place: str) -> tuple[str, ...]:
    words = split_words(value, place) if isinstance(value, str) else list(value)
    if not words or not words[0]:
        raise ConfigurationError(f"{place}: nothing to run, expected a program and its arguments")
    return tuple(words)


def _readiness(table: Mapping[str, Any], place: str) -> Readiness:
    port = table.get("port")
    ready = Readiness(port=None if port is None else int(port), line=table.get("line"))
    if "within" in table:
        ready = replace(ready, within_s=_seconds(table["within"], f"{place}.within"))
    return ready


def _link(table: Mapping[str, Any], roles: Mapping[str, Role], place: str) -> Link:
    ends: tuple[str, str] = (table["between"][0], table["between"][1])
    for index, end in enumerate(ends):
        if end not in roles:
            raise ConfigurationError(
                f"{place}.between[{index}]: unknown machine {end!r}; {did_you_mean(end, roles)}"
            )
    if ends[0] == ends[1]:
        raise ConfigurationError(f"{place}.between: {ends[0]!r} twice, expected two machines")
    if table["name"] in _DEVICES_OF_ALL:
        raise ConfigurationError(
            f"{place}.name: {table['name']!r} is the name of a network device that every machine "
            "has, expected another name"
        )
    device = _device_end(ends, roles)
    link = Link(
        name=table["name"],
        ends=ends,
        forward=Quality(),
        backward=Quality(),
        kind=table.get("kind"),
    )
    link = adjusted_link(link, table, device=device, place=place)
    for end, settings in table.get("to", {}).items():
        if end not in ends:
            raise ConfigurationError(f"{place}.to: unknown end {end!r}; {did_you_mean(end, ends)}")
        link = adjusted_link(link, settings, device=device, to=[end], place=f"{place}.to.{end}")
    for end in ends:
        check_quality(link.quality_to(end), place=place)
    return link


def _device_end(ends: tuple[str, str], roles: Mapping[str, Role]) -> str:
    """Return the end that a kind takes for the device: where that is not plain, the first."""
    only_second = roles[ends[0]] is Role.CLOUD and roles[ends[1]] is Role.DEVICE
    return ends[1] if only_second else ends[0]


def _check_names(names: Sequence[str], group: str) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            raise ConfigurationError(
                f"{group}[{index}].name: {name!r} is the name of {group}[{names.index(name)}], too"
            )


def _check_pairs(links: Sequence[Link]) -> None:
    seen: dict[frozenset[str], Link] = {}
    for index, link in enumerate(links):
        first = seen.setdefault(frozenset(link.ends), link)
        if first is not link:
            raise ConfigurationError(
                f"links[{index}].between: link {first.name!r} joins these two already, expected "
                "one link for both directions"
            )


def _check_placeholders(machines: Sequence[Machine], links: Sequence[Link]) -> None:
    names = [machine.name for machine in machines]
    hops = first_hops(names, links)
    for index, machine in enumerate(machines):
        reached = {machine.name, *hops[machine.name]}
        places = {f"command[{number}]": word for number, word in enumerate(machine.command)}
        places |= {f"environment.{name}": text for name, text in machine.environment.items()}
        for key, text in places.items():
            place = f"machines[{index}].{key}"
            for name in placeholders.names_in(text):
                if name not in placeholders.RESERVED and name not in names:
                    hint = did_you_mean(name, [*names, *placeholders.RESERVED])
                    raise ConfigurationError(f"{place}: unknown {{{name}}}; {hint}")
                if name in names and name not in reached:
                    raise ConfigurationError(
                        f"{place}: no links lead from {machine.name!r} to {name!r}"
                    )

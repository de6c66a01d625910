"""Experiments in an older form, ``user_config.json``, to the form that `reading` takes.

    imported = import_file(Path("user_config.json"), mbps_means=Mbps.MBIT)
    imported.text()     # the new form, as JSON
    imported.notes      # what was not taken over, and what it means now where that is not the same

The older form was made for Kubernetes: ``machines`` with a category, a command and args whose
``{}`` is the server's address, and ``connections`` between two of them, to, from or both.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from offload.emulation.files import older_units, placeholders
from offload.emulation.files.checking import OLDER_SCHEMA, check, schema
from offload.emulation.files.composing import split_words
from offload.emulation.files.older_connections import linked, links_of
from offload.emulation.files.older_units import Mbps
from offload.emulation.files.reading import experiment_of, read_document
from offload.emulation.files.settings import read_at
from offload.errors import ConfigurationError

# The older form says nothing of an end.
DURATION: Final = "60s"

_SERVER: Final = "{}"
_PYTHONS: Final = ("python", "python3")
_MAX_NAME: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """An experiment of the older form in the new one.

    Attributes:
        document: The new form; `reading.experiment_of` takes it.
        notes: A line for each thing that was left out or had to be guessed.
    """

    document: Mapping[str, Any]
    notes: Sequence[str]

    def text(self) -> str:
        """Return the document as the text of a JSON file."""
        return json.dumps(self.document, indent=2) + "\n"


def import_file(path: Path, *, mbps_means: Mbps | None) -> Imported:
    """Read a file of the older form.

    Args:
        path: Its name ends in ``.json``.
        mbps_means: What ``mbps`` means in it; None if nobody said.

    Raises:
        ConfigurationError: The file cannot be read or is wrong, or nobody said what ``mbps`` means
            in a file that has it.
    """
    document = read_document(path)
    try:
        imported = import_document(document, name=path.stem, mbps_means=mbps_means)
        experiment_of(imported.document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error
    return imported


def import_document(document: object, *, name: str, mbps_means: Mbps | None) -> Imported:
    """Return a document of the older form in the new one, which may have mistakes of its own.

    Args:
        document: As a JSON parser gave it.
        name: Of the experiment.
        mbps_means: What ``mbps`` means in it; None if nobody said.

    Raises:
        ConfigurationError: The document is wrong, or nobody said what ``mbps`` means in it.
    """
    check(document, OLDER_SCHEMA)
    assert isinstance(document, dict)
    older: Sequence[Mapping[str, Any]] = document["machines"]
    notes = list(_left_out(document, schema(OLDER_SCHEMA), ""))
    names = _new_names(older, notes)
    links = links_of(document.get("connections", []), names, mbps_means=mbps_means)
    servers = [names[each["name"]] for each in older if each["category"] == "server"]
    machines = []
    for index, each in enumerate(older):
        place = f"machines[{index}]"
        machine = _machine(each, names[each["name"]], place, notes)
        if _point_at_server(machine, servers, links, place):
            notes.append(
                f"{place}: no connection to the server that it calls, got a link without limits"
            )
        machines.append(machine)
    notes.append(f"duration: the older form has none, took {DURATION}")
    return Imported(
        document={
            "version": 1,
            "name": re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-")[:64] or "imported",
            "duration": DURATION,
            "machines": machines,
            "links": links,
        },
        notes=tuple(notes),
    )


def _left_out(value: object, subschema: Mapping[str, Any], place: str) -> Iterator[str]:
    """Yield a note for each key that the schema of the older form does not know."""
    if "$ref" in subschema:
        subschema = schema(OLDER_SCHEMA)["$defs"][subschema["$ref"].rpartition("/")[2]]
    if isinstance(value, dict):
        known = subschema["properties"]
        for key, part in value.items():
            there = f"{place}.{key}" if place else key
            if key in known:
                yield from _left_out(part, known[key], there)
            else:
                yield f"{there}: not taken over"
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _left_out(part, subschema["items"], f"{place}[{index}]")


def _new_names(machines: Sequence[Mapping[str, Any]], notes: list[str]) -> dict[str, str]:
    """Return the machines' names in the new form by those in the older one."""
    names: dict[str, str] = {}
    for index, machine in enumerate(machines):
        place, older = f"machines[{index}].name", machine["name"]
        new = re.sub(r"[^a-z0-9]+", "-", older.lower()).strip("-")[:_MAX_NAME].strip("-")
        if not new[:1].isalpha():
            new = f"m-{new}".strip("-")[:_MAX_NAME]
        if older in names or new in names.values():
            raise ConfigurationError(
                f"{place}: {older!r} is, as {new!r}, the name of another machine, too"
            )
        if new != older:
            notes.append(f"{place}: {older!r} became {new!r}")
        names[older] = new
    return names


def _machine(older: Mapping[str, Any], name: str, place: str, notes: list[str]) -> dict[str, Any]:
    role = "cloud" if older["category"] == "server" else "device"
    machine: dict[str, Any] = {"name": name, "role": role}
    machine["command"] = _command(older, place, notes)
    machine |= _limits(older.get("resources", {}), f"{place}.resources", notes)
    if "image" in older:
        machine["image"] = older["image"]
    if "port" in older:
        machine["ports"] = [int(older["port"])]
        if role == "cloud":
            machine["ready"] = {"port": int(older["port"])}
    mounts = {}
    for index, mount in enumerate(older.get("volumeMounts", [])):
        if "hostPath" in mount:
            mounts[mount["hostPath"]] = mount["mountPath"]
        else:
            notes.append(f"{place}.volumeMounts[{index}]: not taken over, it names no hostPath")
    return machine | ({"mounts": mounts} if mounts else {})


def _command(older: Mapping[str, Any], place: str, notes: list[str]) -> list[str]:
    command = _words(older["command"], f"{place}.command")
    if command[:1] and command[0] in _PYTHONS:
        notes.append(f"{place}.command: {command[0]!r} became the Python that runs the experiment")
        command[0] = f"{{{placeholders.PYTHON}}}"
    return command + _words(older.get("args", []), f"{place}.args")


def _words(value: str | Sequence[str | float], place: str) -> list[str]:
    return split_words(value, place) if isinstance(value, str) else [str(word) for word in value]


def _limits(resources: Mapping[str, Any], place: str, notes: list[str]) -> dict[str, Any]:
    limits, requests = resources.get("limits", {}), resources.get("requests", {})
    taken: dict[str, Any] = {}
    for key in ("cpu", "memory"):
        if key in limits and key in requests and limits[key] != requests[key]:
            notes.append(f"{place}.requests.{key}: not taken over, the limit counts")
        elif key in requests and key not in limits:
            notes.append(f"{place}.requests.{key}: taken for the limit, there is no other")
        found = "limits" if key in limits else "requests"
        value = limits.get(key, requests.get(key))
        if value is not None:
            read = older_units.cores if key == "cpu" else older_units.size_text
            taken[key] = read_at(f"{place}.{found}.{key}", read, value)
    return taken


def _point_at_server(
    machine: dict[str, Any], servers: Sequence[str], links: list[dict[str, Any]], place: str
) -> bool:
    """Put the server's name where the command has ``{}``; return whether that took a new link."""
    name = machine["name"]
    if not any(_SERVER in word for word in machine["command"]):
        return False
    if name in servers:
        server = name
    else:
        near = [server for server in servers if linked(links, name, server)] or servers
        if len(near) != 1:
            raise ConfigurationError(
                f"{place}.args: {_SERVER} is the server's address, but there are {len(near)} "
                "servers, expected one, or a connection to one of them"
            )
        server = near[0]
    machine["command"] = [word.replace(_SERVER, f"{{{server}}}") for word in machine["command"]]
    if name == server or linked(links, name, server):
        return False
    # In the older form each machine reached each other one, connected or not.
    links.append({"name": f"link-{len(links) + 1}", "between": [name, server]})
    return True

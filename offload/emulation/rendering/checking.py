"""Whether NetworkChaos and Workflow manifests are such as Chaos Mesh takes.

    check(documents)

The schema beside this file says so much of Chaos Mesh's own definitions as is rendered here, and
is stricter: it knows no key that is not rendered. Other kinds are not looked at.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from offload.emulation.rendering.labels import Document
from offload.errors import ConfigurationError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator


def check(documents: Sequence[Document]) -> None:
    """Find out whether what Chaos Mesh does is in its form, and whether all names are unique.

    Raises:
        ConfigurationError: Something is not; the error names it.
    """
    _check_names([f"{each['kind']} {each['metadata']['name']}" for each in documents])
    kinds = schema()["$defs"]["kind"]["enum"]
    for document in documents:
        if document["kind"] not in kinds:
            continue
        name = f"{document['kind']} {document['metadata']['name']}"
        for error in _validator().iter_errors(document):
            place = ".".join(str(key) for key in error.absolute_path)
            raise ConfigurationError(f"{name}: {place}: {error.message}")
        if document["kind"] == "Workflow":
            _check_names([f"template {each['name']}" for each in document["spec"]["templates"]])


@cache
def schema() -> Mapping[str, Any]:
    """Return the JSON Schema (draft 2020-12) of the two kinds of Chaos Mesh."""
    text = files("offload.emulation.rendering").joinpath("chaos_mesh.json")
    parsed: Mapping[str, Any] = json.loads(text.read_text(encoding="utf-8"))
    return parsed


@cache
def _validator() -> "Draft202012Validator":
    # An experiment that was read from a file was checked by it, too: it is there.
    from jsonschema import Draft202012Validator

    return Draft202012Validator(schema())


def _check_names(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigurationError(
                f"two of the name {name}, expected other names of machines or links"
            )
        seen.add(name)

"""Whether a document has the form that a schema says, and one telling error where it has not.

    check({"version": 1, "name": "x", "duration": "9s", "machines": 3}, SCHEMA)
    # ConfigurationError: machines: found 3, expected a list of 1 to 250 machines

What is expected is the first sentence of the schema's own description.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from offload.emulation.files.settings import did_you_mean
from offload.errors import ConfigurationError

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator, ValidationError

# Files beside this one: the form of experiment files, and what importing takes over.
SCHEMA: Final = "schema.json"
OLDER_SCHEMA: Final = "older_schema.json"

# Of what was found an error shows so much.
_SHOWN_CHARACTERS: Final = 60

_PLAIN_KEY: Final = re.compile(r"[$A-Za-z0-9_-]+")


def check(document: object, name: str) -> None:
    """Find out whether a document has the form of a schema.

    Args:
        document: As a JSON or TOML parser gave it.
        name: Which schema.

    Raises:
        ConfigurationError: It has not; or the package that checks it is missing.
    """
    validator = _validator(name)
    from jsonschema.exceptions import best_match, relevance

    def telling(error: "ValidationError") -> tuple[bool, bool, object]:
        # Another version explains all the rest, and a misspelled key why one is missing.
        is_version = list(error.absolute_path) == ["version"]
        return is_version, error.validator == "additionalProperties", relevance(error)

    error = best_match(validator.iter_errors(document), key=telling)
    if error is not None:
        place = _place(error.absolute_path)
        said = _said(error, schema(name)["$defs"])
        raise ConfigurationError(f"{place}: {said}" if place else said)


@cache
def schema(name: str) -> Mapping[str, Any]:
    """Return a JSON Schema (draft 2020-12)."""
    text = files("offload.emulation.files").joinpath(name).read_text(encoding="utf-8")
    parsed: Mapping[str, Any] = json.loads(text)
    return parsed


@cache
def _validator(name: str) -> "Draft202012Validator":
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise ConfigurationError(
            "experiment files are checked by the package jsonschema, which is missing: "
            "`./run setup emulation` installs it"
        ) from error
    return Draft202012Validator(schema(name))


def _place(path: Iterable[str | int]) -> str:
    place = ""
    for key in path:
        if isinstance(key, int):
            place += f"[{key}]"
        else:
            shown = key if _PLAIN_KEY.fullmatch(key) else _shown(key)
            place += f".{shown}" if place else shown
    return place


def _said(error: "ValidationError", definitions: Mapping[str, Any]) -> str:
    assert isinstance(error.schema, dict)
    instance: Any = error.instance
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        unknown = next(key for key in instance if key not in known)
        return f"unknown key {_shown(unknown)}; {did_you_mean(unknown, known)}"
    if error.validator == "required":
        missing = next(key for key in error.schema["required"] if key not in instance)
        expected = _expected(error.schema["properties"][missing], definitions)
        return f"{missing!r} is missing, expected {expected}"
    return f"found {_shown(instance)}, expected {_expected(error.schema, definitions)}"


def _expected(subschema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return the first sentence of a description, to go on with in a sentence."""
    if "description" not in subschema:
        subschema = definitions[subschema["$ref"].rpartition("/")[2]]
    sentence: str = subschema["description"].split(". ")[0].removesuffix(".")
    return sentence[0].lower() + sentence[1:]


def _shown(value: object) -> str:
    if isinstance(value, dict):
        shown = f"a table with {', '.join(map(repr, value))}" if value else "an empty table"
    elif isinstance(value, list):
        shown = f"a list of {len(value)}"
    else:
        shown = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}..."

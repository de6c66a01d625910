"""Experiment files, TOML or JSON, to experiments; every wrong file is one line that says where.

    experiment = read_experiment(Path("examples/experiments/wifi-drop.toml"))

A syntax error names the line. What does not fit ``schema.json`` (beside this file) or does not go
together names the key: ``wifi-drop.toml: machines[1].cpu: found -1, expected ...``.
"""

import json
import tomllib
from pathlib import Path
from typing import Final, NoReturn

from offload.emulation.experiment import Experiment
from offload.emulation.files.checking import SCHEMA, check
from offload.emulation.files.composing import compose
from offload.errors import ConfigurationError

# An experiment of 250 machines takes a tenth of it. Anything larger was named by mistake.
MAX_FILE_BYTES: Final = 1024 * 1024


def read_experiment(path: Path) -> Experiment:
    """Read an experiment from a file whose name ends in ``.toml`` or ``.json``.

    Raises:
        ConfigurationError: The file cannot be read, or is wrong.
    """
    document = read_document(path)
    try:
        return experiment_of(document)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def read_document(path: Path) -> object:
    """Read the values in a file whose name ends in ``.toml`` or ``.json``, whatever they are.

    Raises:
        ConfigurationError: The file cannot be read, or has another form.
    """
    parse = {".toml": _parse_toml, ".json": _parse_json}.get(path.suffix.lower())
    if parse is None:
        raise ConfigurationError(f"{path}: expected a file name that ends in .toml or .json")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path}: over {MAX_FILE_BYTES} bytes, which is no experiment")
    try:
        return parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}: line {line}: not UTF-8") from error
    except RecursionError as error:
        raise ConfigurationError(f"{path}: lists or tables in each other, too deep") from error
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def experiment_of(document: object) -> Experiment:
    """Return the experiment that a document in the form of ``schema.json`` describes.

    Raises:
        ConfigurationError: The document is wrong; the error names the place in it.
    """
    check(document, SCHEMA)
    assert isinstance(document, dict)
    return compose(document)


def _parse_toml(text: str) -> object:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        lines = text.count("\n") + 1
        raise ValueError(
            _small(str(error)).replace("at end of document", f"at line {lines}, the end")
        ) from error


def _parse_json(text: str) -> object:
    try:
        return json.loads(
            text, object_pairs_hook=_object_without_repeats, parse_constant=_refuse_constant
        )
    except json.JSONDecodeError as error:
        where = f"at line {error.lineno}, column {error.colno}"
        raise ValueError(f"{_small(error.msg)} ({where})") from error


def _object_without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key {repeated!r} twice in one object")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON, expected a number")


def _small(message: str) -> str:
    return message[:1].lower() + message[1:]

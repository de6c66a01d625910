"""Reads the files of a run's folder, each of which may be missing, or cut short by a crash.

files = RunFiles(folder)
files.rows("machines.csv", numbers=("t",), if_known=("cpu_s",))  # [{"t": 1.0, ...}, ...]
files.missing  # ["links.csv is missing"]
"""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


def number(value: object) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def table(value: object) -> Mapping[str, Any]:
    """Return a JSON object; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def objects(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a JSON list; none for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


class RunFiles:
    """The files of one folder.

    Args:
        folder: The run's.

    Attributes:
        missing: What was asked for and is not there or broken, a sentence each.
    """

    def __init__(self, folder: Path) -> None:
        """Read nothing yet."""
        self.folder = folder
        self.missing: list[str] = []

    def document(self, name: str) -> Any:
        """Return what a JSON file holds; None if it is missing or broken."""
        if (text := self._text(name)) is None:
            return None
        try:
            return json.loads(text)
        except ValueError:
            self.missing.append(f"{name} is broken or cut short")
            return None

    def json_lines(self, name: str) -> list[dict[str, Any]]:
        """Return the objects of a file that has one on each line, without broken lines."""
        lines = (self._text(name) or "").splitlines()
        found = list(_objects(lines))
        self._note_broken_lines(name, len(lines) - len(found))
        return found

    def log_lines(self, name: str, *, event: str) -> list[dict[str, Any]]:
        """Return the JSON lines of one event from a log, which may hold any other text, too."""
        path = self.folder / name
        if not path.is_file():
            return []
        with path.open(encoding="utf-8", errors="replace") as lines:
            return [each for each in _objects(lines) if each.get("event") == event]

    def rows(
        self, name: str, *, numbers: Sequence[str], if_known: Sequence[str]
    ) -> list[dict[str, Any]]:
        """Return the rows of a CSV file with a heading, without broken rows.

        Args:
            name: The file.
            numbers: Columns that are read as finite numbers; all but them stay text.
            if_known: Columns that are numbers, or empty where nobody knows: then None.
        """
        # Whoever writes ends each row with its line break: one without is not all there.
        text = self._text(name) or ""
        whole, _, cut = text.rpartition("\n")
        found, broken = [], int(bool(cut))
        for row in csv.DictReader(whole.splitlines()):
            if (read := _with_numbers(row, numbers, if_known)) is None:
                broken += 1
            else:
                found.append(read)
        self._note_broken_lines(name, broken)
        return found

    def _text(self, name: str) -> str | None:
        path = self.folder / name
        if not path.is_file():
            self.missing.append(f"{name} is missing")
            return None
        return path.read_text(encoding="utf-8", errors="replace")

    def _note_broken_lines(self, name: str, broken: int) -> None:
        if broken:
            lines = "a line that is" if broken == 1 else f"{broken} lines that are"
            self.missing.append(f"{name} has {lines} broken or cut short")


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value


def _with_numbers(
    row: dict[str, Any], numbers: Sequence[str], if_known: Sequence[str]
) -> dict[str, Any] | None:
    """Return the row with those columns as numbers; None if it is not all there."""
    if None in row or None in row.values():
        return None
    try:
        read = {name: number(float(row[name])) for name in numbers}
        known = {name: number(float(row[name])) if row.get(name) else None for name in if_known}
    except (KeyError, ValueError):
        return None
    return None if None in read.values() else {**row, **read, **known}

"""What a check found, and what to do about it. Pure.

finding = failed("token", "no token", advice="give it --token-file", exit_code=77)
line(finding)       # failed   token     no token: give it --token-file
exit_code([finding])
verdict([finding])  # "not ready: token failed"
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from offload.errors import OffloadError

# Columns of a line: the widest level and the widest name.
_LEVEL_WIDTH: Final = 8
_CHECK_WIDTH: Final = 9


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    """Nothing to do."""
    WARNING = "warning"
    """It works, and something may surprise."""
    FAILED = "failed"
    """It would not work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes:
        check: Its name.
        level: How bad it is.
        found: What was found, in words.
        advice: What to do; empty if there is nothing to.
        exit_code: What the programs end with for this; 0 unless it failed.
    """

    check: str
    level: Level
    found: str
    advice: str = ""
    exit_code: int = 0


def ok(check: str, found: str) -> Finding:
    """Return a finding that needs nothing."""
    return Finding(check=check, level=Level.OK, found=found)


def warning(check: str, found: str, *, advice: str) -> Finding:
    """Return a finding that may surprise."""
    return Finding(check=check, level=Level.WARNING, found=found, advice=advice)


def failed(check: str, found: str, *, advice: str = "", exit_code: int) -> Finding:
    """Return a finding with which nothing works."""
    return Finding(check=check, level=Level.FAILED, found=found, advice=advice, exit_code=exit_code)


def as_warning(finding: Finding) -> Finding:
    """Return a finding that does not fail: something else makes up for what it says."""
    if finding.level is not Level.FAILED:
        return finding
    return replace(finding, level=Level.WARNING, exit_code=0)


def failure(check: str, error: OffloadError, *, advice: str = "") -> Finding:
    """Return an error as a finding; what to do stands in its message often."""
    return failed(check, str(error), advice=advice, exit_code=error.exit_code)


def line(finding: Finding) -> str:
    """Return a finding as one line."""
    text = f"{finding.found}: {finding.advice}" if finding.advice else finding.found
    head = f"{finding.level:<{_LEVEL_WIDTH}} {finding.check:<{_CHECK_WIDTH}}"
    return f"{head} {' '.join(text.split())}"


def verdict(findings: Sequence[Finding]) -> str:
    """Return in a line what all of it comes to."""
    failing = [each.check for each in findings if each.level is Level.FAILED]
    if failing:
        return f"not ready: {', '.join(failing)} failed; do what is said there, then run this again"
    warnings = [each.check for each in findings if each.level is Level.WARNING]
    if warnings:
        many = "1 warning" if len(warnings) == 1 else f"{len(warnings)} warnings"
        return f"works, but {many}: {', '.join(warnings)}"
    return "ready"


def exit_code(findings: Iterable[Finding]) -> int:
    """Return that of the first failure; 0 if nothing failed."""
    return next((each.exit_code for each in findings if each.level is Level.FAILED), 0)

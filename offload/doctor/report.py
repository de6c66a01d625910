"""What the doctor says: a line as soon as something is found, or one JSON object at the end.

with Progress(sys.stderr, os.environ) as progress:
    report = Report(progress, as_json=False)
    report.add(ok("python", "3.11.2"))
    report.exit_code
"""

import json
from collections.abc import Iterable
from dataclasses import asdict

from offload.arguments import print_lines
from offload.doctor import findings
from offload.doctor.findings import Finding, Level
from offload.doctor.forecasting import Recommendation
from offload.doctor.progress import Progress
from offload.doctor.trying import Forecast


class Report:
    """Collects what is found, and writes it to standard output.

    Args:
        progress: What stands on the terminal meanwhile.
        as_json: Whether to write one object at the end, and no lines.
    """

    def __init__(self, progress: Progress, *, as_json: bool) -> None:
        """Start with nothing found."""
        self._progress = progress
        self._as_json = as_json
        self._findings: list[Finding] = []
        self._fields: dict[str, object] = {}
        self._next: list[str] = []

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return findings.exit_code(self._findings)

    def looks_at(self, what: str) -> None:
        """Say what is being looked at."""
        self._progress.say(what)

    def add(self, *found: Finding) -> bool:
        """Take findings in; return whether none of them failed.

        Raises:
            ReportError: Standard output cannot be written.
        """
        self._findings += found
        self.say(map(findings.line, found))
        return all(each.level is not Level.FAILED for each in found)

    def note_alone(self, fps: float) -> None:
        """Keep what the device gives alone."""
        self._fields["client_only_fps"] = fps

    def note_forecasts(self, forecasts: Iterable[Forecast]) -> None:
        """Keep what splits give."""
        self._fields["forecasts"] = [asdict(each) for each in forecasts]

    def note_recommendation(self, recommended: Recommendation, command: str) -> None:
        """Keep how a device begins."""
        self._fields["expected_fps"] = recommended.fps
        self.note_command(command, why=recommended.why)

    def note_command(self, command: str, *, why: str) -> None:
        """Keep what to type next."""
        self._fields["command"] = command
        self._next = [f"to begin ({why}):", f"  {command}"]

    def say(self, lines: Iterable[str]) -> None:
        """Write lines for people."""
        if not self._as_json:
            self._progress.clear()
            print_lines(lines)

    def end(self) -> None:
        """Write what it all comes to, and what to type next; or the object for scripts."""
        verdict = findings.verdict(self._findings)
        if not self._as_json:
            self.say(["", verdict, *self._next])
        else:
            checks = [{**asdict(each), "level": str(each.level)} for each in self._findings]
            ending = {"verdict": verdict, "exit_code": self.exit_code}
            whole = {"checks": checks, **self._fields, **ending}
            self._progress.clear()
            print_lines([json.dumps(whole, indent=2)])

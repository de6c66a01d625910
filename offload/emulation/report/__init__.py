"""The report of a run: report.json, and report.html, one page that shows the same.

make_report(Path("build/experiments/wifi-drop-20260102-120000"))

It can be made again at any time, and of whatever a run that crashed has left.
"""

import json
from dataclasses import asdict
from pathlib import Path

from offload.emulation.report.findings import findings_of
from offload.emulation.report.page import page_of
from offload.emulation.report.run_folder import read_recording
from offload.errors import ConfigurationError


def make_report(folder: Path) -> None:
    """Write report.json and report.html into the folder of a run.

    Raises:
        ConfigurationError: It is no folder of a run, or cannot be written to.
    """
    findings = findings_of(read_recording(folder))
    text = json.dumps(asdict(findings), indent=1, allow_nan=False)
    try:
        (folder / "report.json").write_text(f"{text}\n", encoding="utf-8")
        (folder / "report.html").write_text(page_of(findings), encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{folder}: cannot be written to: {error.strerror}") from error

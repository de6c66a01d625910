"""The wall clock may jump by a day: nothing but the two columns of times in the results sees it.

The real programs run under a clock that jumps forward and back while they work. And no module reads
it but where a time is written down.
"""

import ast
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import (
    ROOT,
    cloud_server,
    read_summary,
    run_client,
    write_app,
)

DAY_S: Final = 86_400.0

# Python runs it at its start. It jumps forward, back to before the true time, and to the true time.
JUMPING: Final = f"""
import time

_true = time.time
_began_s = time.monotonic()
_JUMPS = (0.0, {DAY_S}, -{DAY_S})


def _jumping():
    return _true() + _JUMPS[int((time.monotonic() - _began_s) / 0.2) % 3]


time.time = _jumping
time.time_ns = lambda: int(_jumping() * 1e9)
"""

FRAMES: Final = 100
RATE: Final = 75
PACED: Final = ("--rate", str(RATE))
LEAST_S: Final = (FRAMES - 1) / RATE
# A busy machine is late by some tenths of a second; a day is longer.
MOST_S: Final = LEAST_S + 5.0

# Ends frames in every way, and keeps state that shows each that is missing.
APP: Final = """
from task_interface import FILTER, Pipeline, Placement, source, task


@source(gives="number")
def numbers():
    yield from range(100_000)


@task(gives="checked")
def check(number):
    if number % 17 == 5:
        raise ValueError(f"{number} does not go")
    return FILTER if number % 7 == 3 else number


@task(gives="square")
def square(checked):
    return checked * checked


@task()
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, checked, square):
        self.total += square
        return {"number": checked, "total": self.total}

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state


pipeline = Pipeline([numbers, check, square, Total])
"""

# Where a time is a label: on a captured frame, a received one, a commit, a stream, a log line, and
# the beginning of a program. And where two clocks are compared.
LABELS: Final = {
    "offload/cloud/opening.py": {"find_standing", "_adopt"},
    "offload/executors/cloud_frame.py": {"CloudFrame.__init__"},
    "offload/device/delivery.py": {"open_local"},
    "offload/device/capture.py": {"Capture._number"},
    "iot_client_coordinator.py": {"DeviceRun._beginning"},
    "cloud_server_coordinator.py": {"CloudServer._answer_probe", "CloudServer._beginning"},
    "offload/doctor/clock_and_link.py": {"_Prober.ask_small"},
    "offload/logs.py": {"TextFormatter.format"},
    "offload/results/writer.py": {"ResultsWriter.__init__"},
}

# All else in `time` measures, or waits.
CALENDAR: Final = {
    *("time", "time_ns", "localtime", "gmtime", "strftime", "ctime", "asctime", "mktime"),
    *("clock_gettime", "clock_gettime_ns", "CLOCK_REALTIME"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run left.

    Attributes:
        results, failures, stream: The rows, without splits and times.
        splits: Of the results.
        captured_at: Of the results.
        frames: The counts of the device's report.
        duration_s: How long the device says that it took.
    """

    results: list[tuple[int, bytes]]
    failures: list[tuple[int, str, str]]
    stream: tuple[object, ...]
    splits: list[int]
    captured_at: list[float]
    frames: dict[str, int]
    duration_s: float

    @property
    def jumps(self) -> int:
        """How often the clock jumped between two results."""
        return sum(abs(after - before) > DAY_S / 2 for before, after in pairwise(self.captured_at))


def run(folder: Path, *mode: str, limit: Sequence[str]) -> Run:
    """Run a stream to its end, in the cloud if there is a mode."""
    folder.mkdir()
    app = write_app(folder, "label_app", APP)
    options = ("--app", app, "--stream", "s", "--summary", "device.json")
    if mode:
        with cloud_server(folder, "--app", app) as server:
            ended = run_client(folder, *mode, *server.address, *options, *limit)
            stopped = server.stop()
        assert stopped.code == 0, stopped.err
    else:
        ended = run_client(folder, *options, *limit, "--results", "sqlite:results.db")
    assert ended.code == 0, ended.err
    return read_run(folder)


def read_run(folder: Path) -> Run:
    report = read_summary(folder / "device.json")
    with closing(sqlite3.connect(folder / "results.db")) as store:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return store.execute(query).fetchall()

        (stream,) = rows("SELECT stream, next_seq, filtered, failed, dropped, state FROM streams")
        return Run(
            results=rows("SELECT seq, value FROM results ORDER BY seq"),
            failures=rows("SELECT seq, task, reason FROM failures ORDER BY seq"),
            stream=stream,
            splits=[split for (split,) in rows("SELECT split FROM results ORDER BY seq")],
            captured_at=[at for (at,) in rows("SELECT captured_at FROM results ORDER BY seq")],
            frames=report["frames"],
            duration_s=report["duration_s"],
        )


@pytest.fixture
def jumping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Let the programs that are started from now on see a clock that jumps."""
    folder = tmp_path / "clock"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(JUMPING, encoding="ascii")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    return monkeypatch


@pytest.mark.integration
@pytest.mark.parametrize(
    "mode",
    [
        pytest.param((), marks=pytest.mark.slow),
        pytest.param(("2",), marks=pytest.mark.slow),
        ("2", "60"),
    ],
    ids=["client", "manual", "automatic"],
)
def test_results_are_the_same_while_the_wall_clock_jumps_by_a_day(
    tmp_path: Path, mode: tuple[str, ...], jumping: pytest.MonkeyPatch
) -> None:
    frames = ("--frames", str(FRAMES))
    disturbed = run(tmp_path / "disturbed", *mode, limit=(*frames, *PACED))
    jumping.delenv("PYTHONPATH")
    calm = run(tmp_path / "calm", *mode, limit=frames)
    assert disturbed.jumps >= 3
    assert calm.jumps == 0
    assert disturbed.results == calm.results
    assert disturbed.failures == calm.failures
    assert disturbed.stream == calm.stream
    assert disturbed.frames == calm.frames
    assert calm.frames["completed"] > FRAMES / 2
    if len(mode) < 2:
        assert disturbed.splits == calm.splits


@pytest.mark.integration
@pytest.mark.parametrize("mode", [(), ("2",)], ids=["client", "manual"])
def test_nothing_waits_or_ends_early_when_the_wall_clock_jumps(
    tmp_path: Path, mode: tuple[str, ...], jumping: pytest.MonkeyPatch
) -> None:
    assert jumping
    found = run(tmp_path / "run", *mode, limit=("--duration", f"{LEAST_S}", *PACED))
    assert found.jumps >= 3
    assert LEAST_S - 0.2 < found.duration_s < MOST_S
    assert FRAMES * 0.8 < found.frames["captured"] <= FRAMES + 1


# Who reads it.


class Readers(ast.NodeVisitor):
    """Finds the functions of a module that read the calendar."""

    def __init__(self) -> None:
        self.found: set[str] = set()
        self._path: list[str] = []

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_inside(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._visit_inside(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self._visit_inside(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.value, ast.Name) and node.value.id == "time" and node.attr in CALENDAR:
            self._note()
        self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        for each in node.names:
            # Another name for the module would hide what is read from it.
            if each.name == "datetime" or (each.name == "time" and each.asname):
                self._note()

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module in ("time", "datetime"):
            self._note()

    def _visit_inside(self, node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._path.append(node.name)
        self.generic_visit(node)
        self._path.pop()

    def _note(self) -> None:
        self.found.add(".".join(self._path) or "<module>")


def readers(source: str) -> set[str]:
    visitor = Readers()
    visitor.visit(ast.parse(source))
    return visitor.found


@pytest.mark.parametrize(
    "source",
    [
        "import time\nprint(time.time())",
        "import time\nclock = time.time",
        "import time as other",
        "from time import monotonic, time",
        "import datetime",
        "from datetime import datetime",
        "import time\ntime.clock_gettime(time.CLOCK_REALTIME)",
    ],
)
def test_a_module_that_reads_the_wall_clock_is_found(source: str) -> None:
    assert readers(source) == {"<module>"}
    assert readers("import time\ntime.monotonic(), time.sleep(1)") == set()


def test_only_labels_read_the_wall_clock() -> None:
    package = ROOT / "offload"
    # An experiment is about programs, and its report about when it was: it is no part of them.
    modules = [*package.rglob("*.py")]
    modules = [each for each in modules if not each.is_relative_to(package / "emulation")]
    modules += ROOT.glob("*.py")
    assert len(modules) > 40
    found = {
        each.relative_to(ROOT).as_posix(): readers(each.read_text(encoding="utf-8"))
        for each in modules
    }
    assert {name: functions for name, functions in found.items() if functions} == LABELS

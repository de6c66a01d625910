"""What the doctor makes of what it found: lines, exit codes, a table and a command."""

import io
from pathlib import Path

import pytest

from offload.doctor import machine
from offload.doctor.clock_and_link import Measured, clock_finding, link_finding
from offload.doctor.findings import Finding, Level, exit_code, failed, line, ok, verdict, warning
from offload.doctor.forecasting import disagreement, recommend, table, target
from offload.doctor.progress import Progress
from offload.doctor.tokens import check_server_tokens, look_for_token
from offload.doctor.trying import Alone, Forecast, TaskTime

ROOT = Path(__file__).parents[1]
TASKS = ("grab", "blur", "find", "draw")
INSTALLED = {
    "opencv-python": "5.0",
    "numpy": "2.4",
    "imutils": "0.5",
    "psutil": "7.2",
    "msgpack": "1.2",
}
ORIGINS: dict[str, str | None] = {
    "scheduler": str(ROOT / "scheduler.py"),
    "task_interface": str(ROOT / "task_interface.py"),
}


def forecast(split: int, fps: float, *, limit: str = "device") -> Forecast:
    return Forecast(
        split=split,
        encoding="raw",
        fps=fps,
        limit=limit,
        device_s=1 / fps,
        link_s=0.002,
        cloud_s=0.0015,
        link_bytes=5000.0,
    )


# Findings.


def test_line_says_how_bad_it_is_what_was_found_and_what_to_do() -> None:
    finding = warning("clock", "it is wrong", advice="set it")
    assert line(finding).split(maxsplit=2) == ["warning", "clock", "it is wrong: set it"]
    assert line(ok("clock", "right")).endswith("right")


def test_line_stays_one_line_whatever_was_found() -> None:
    finding = failed("app", "it raised\nOSError:\n  no", exit_code=2)
    assert "\n" not in line(finding)


def test_exit_code_is_that_of_the_first_failure() -> None:
    findings = [
        ok("a", ""),
        warning("b", "", advice="c"),
        failed("c", "", exit_code=77),
        failed("d", "", exit_code=2),
    ]
    assert exit_code(findings) == 77
    assert exit_code(findings[:2]) == 0


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([ok("app", "")], "ready"),
        ([ok("app", ""), warning("clock", "", advice="")], "works, but 1 warning: clock"),
        (
            [warning("clock", "", advice=""), warning("machine", "", advice="")],
            "works, but 2 warnings: clock, machine",
        ),
        (
            [warning("clock", "", advice=""), failed("token", "", exit_code=77)],
            "not ready: token failed; do what is said there, then run this again",
        ),
    ],
)
def test_verdict_says_in_a_line_what_all_of_it_comes_to(findings: list[Finding], said: str) -> None:
    assert verdict(findings) == said


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TERM": "xterm"}, "\r\x1b[Klooking at the disk ...\r\x1b[K"),
        ({"TERM": "dumb"}, ""),
        ({}, ""),
    ],
)
def test_progress_is_shown_where_it_can_be_taken_away_again(
    environment: dict[str, str], said: str
) -> None:
    terminal = Terminal()
    with Progress(terminal, environment) as progress:
        progress.say("the disk")
    assert terminal.getvalue() == said


# Packages.


def worst(findings: list[Finding]) -> Finding:
    return max(findings, key=lambda each: list(Level).index(each.level))


def test_machine_with_all_packages_is_well() -> None:
    assert worst(machine.check_python(INSTALLED, ORIGINS, {})).level is Level.OK


@pytest.mark.parametrize("name", ["numpy", "msgpack", "opencv-python"])
def test_missing_package_is_named_with_the_command_that_installs_it(name: str) -> None:
    installed = {each: version for each, version in INSTALLED.items() if each != name}
    found = worst(machine.check_python(installed, ORIGINS, {}))
    assert (found.level, found.exit_code) == (Level.FAILED, 2)
    assert name in found.found
    assert "pip install -r requirements.txt" in found.advice


def test_package_that_cannot_be_imported_is_named_with_why_and_the_command_that_mends_it() -> None:
    broken = {"numpy": "ImportError: wrong ELF class"}
    found = worst(machine.check_python(INSTALLED, ORIGINS, broken))
    assert (found.level, found.exit_code) == (Level.FAILED, 2)
    assert "numpy (ImportError: wrong ELF class)" in found.found
    assert found.advice.endswith("--force-reinstall numpy")


def test_packages_are_imported_and_not_only_looked_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "msgpack.py").write_text("raise ImportError('libmissing.so.1: no such file')")
    (tmp_path / "imutils.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert machine.broken_packages(["numpy", "msgpack", "imutils", "scheduler"]) == {
        "msgpack": "ImportError: libmissing.so.1: no such file",
        "imutils": "ended by SIGILL",
    }
    assert machine.broken_packages(["numpy"]) == {}


def test_extras_that_are_missing_are_told_with_what_installs_them_and_are_no_warning() -> None:
    found = machine.check_extras({**INSTALLED, "starlette": "1.0", "uvicorn": "0.40"})
    assert found.level is Level.OK
    assert found.found == (
        "web page (--dashboard of the server): starlette 1.0, uvicorn 0.40; "
        "metrics (--metrics-port): prometheus-client not installed, ./run setup metrics"
    )


def test_headless_opencv_serves_as_well_and_two_of_them_do_not() -> None:
    headless = {**INSTALLED, "opencv-python-headless": "5.0"}
    found = worst(machine.check_python(headless, ORIGINS, {}))
    assert found.level is Level.WARNING
    assert "overwrite each other's files" in found.found
    del headless["opencv-python"]
    assert worst(machine.check_python(headless, ORIGINS, {})).level is Level.OK


def test_module_of_another_package_that_comes_first_is_a_failure() -> None:
    origins = {**ORIGINS, "scheduler": "/usr/lib/python3/dist-packages/scheduler/__init__.py"}
    found = worst(machine.check_python(INSTALLED, origins, {}))
    assert (found.level, found.exit_code) == (Level.FAILED, 2)
    assert "pip uninstall scheduler" in found.advice


def test_package_of_the_same_name_that_does_not_come_first_yet_is_a_warning() -> None:
    found = worst(machine.check_python({**INSTALLED, "scheduler": "0.8"}, ORIGINS, {}))
    assert found.level is Level.WARNING
    assert "scheduler 0.8" in found.found


# Tokens.

TOKEN = "default:correct-horse-battery\n"


def test_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN, encoding="utf-8")
    file.chmod(0o644)
    finding = look_for_token(file, {}).finding
    assert finding.exit_code == 2
    assert f"chmod 600 {file}" in finding.found
    file.chmod(0o600)
    assert look_for_token(file, {}).finding.level is Level.OK


def test_missing_token_file_fails_if_it_was_named_and_warns_if_not(tmp_path: Path) -> None:
    named = look_for_token(tmp_path / "none", {})
    assert (named.token, named.finding.exit_code) == (None, 2)
    unnamed = look_for_token(None, {"XDG_CONFIG_HOME": str(tmp_path)})
    assert unnamed.finding.level is Level.WARNING
    assert "--token-file" in unnamed.finding.advice


def test_token_in_the_environment_is_found_and_not_shown() -> None:
    finding = look_for_token(None, {"OFFLOAD_TOKEN": TOKEN}).finding
    assert "'default' from OFFLOAD_TOKEN" in finding.found
    assert "horse" not in line(finding)


# A variable that is empty names nothing.
@pytest.mark.parametrize("environment", [{}, {"OFFLOAD_TOKEN_FILE": "", "OFFLOAD_TOKEN": ""}])
def test_server_without_tokens_is_told_that_it_will_make_one_and_none_is_made(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    finding = check_server_tokens(None, {"XDG_CONFIG_HOME": str(tmp_path), **environment})
    assert finding.level is Level.OK
    assert "first start" in finding.found
    assert list(tmp_path.iterdir()) == []


# Clock and link.


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0.3, Level.OK), (-0.3, Level.OK), (5.0, Level.WARNING)]
)
def test_clocks_that_are_apart_are_a_warning_and_no_failure(ahead_s: float, level: Level) -> None:
    assert clock_finding(Measured(clock_ahead_s=ahead_s)).level is level


def test_clock_that_is_far_off_is_told_in_hours() -> None:
    found = clock_finding(Measured(clock_ahead_s=-7200.0)).found
    assert found == "the server's is 2.0 h behind this machine's"


def test_link_is_told_as_the_live_line_does() -> None:
    measured = Measured(round_trip_s=0.012, up_bytes_per_s=2.5e6, down_bytes_per_s=1e5)
    assert link_finding(measured).found == "20.0 Mbit/s up, 800 kbit/s down, round trip 12.0 ms"


def test_link_over_which_nothing_came_is_a_failure_and_an_older_server_is_none() -> None:
    assert link_finding(Measured(round_trip_s=0.01)).exit_code == 69
    assert link_finding(Measured()).level is Level.WARNING


# What to expect.


def test_table_has_a_row_for_each_split() -> None:
    lines = table([forecast(1, 4.25, limit="link"), forecast(3, 50.0)], TASKS, pace_fps=None)
    assert lines[0].split() == [
        *("K", "tasks", "here", "device", "ms", "kB", "link", "ms", "cloud", "ms", "FPS"),
        *("limited", "by"),
    ]
    assert lines[1].split() == ["1", "grab", "235.3", "5.0", "2.0", "1.5", "4.2", "link"]
    assert lines[2].split()[:4] == ["3", "grab", "to", "find"]
    assert lines[2].split()[-2:] == ["50.0", "device"]


def test_source_that_sets_the_pace_limits_what_is_faster() -> None:
    lines = table([forecast(1, 4.0, limit="link"), forecast(2, 50.0)], TASKS, pace_fps=30.0)
    assert [line.split()[-2:] for line in lines[1:]] == [["4.0", "link"], ["30.0", "source"]]


def test_device_that_keeps_up_alone_needs_no_server() -> None:
    found = recommend([forecast(1, 300.0)], alone_fps=60.0, pace_fps=30.0)
    assert (found.split, found.fps) == (None, 30.0)
    # As a run shows it: no device finishes more than its source gives.
    assert "keeps up" in recommend([forecast(1, 300.0)], alone_fps=29.5, pace_fps=30.0).why


def test_split_that_gives_most_is_recommended_if_it_gives_more_than_the_device_alone() -> None:
    forecasts = [forecast(1, 40.0), forecast(2, 60.0), forecast(3, 30.0)]
    assert recommend(forecasts, alone_fps=25.0, pace_fps=None).split == 2
    assert recommend(forecasts, alone_fps=58.0, pace_fps=None).split is None


def test_of_splits_that_are_equally_fast_the_one_that_costs_the_cloud_least_is_recommended() -> (
    None
):
    forecasts = [forecast(1, 61.0), forecast(2, 60.0), forecast(3, 30.0)]
    assert recommend(forecasts, alone_fps=25.0, pace_fps=None).split == 2


def test_no_more_is_expected_than_the_source_gives() -> None:
    found = recommend([forecast(1, 90.0)], alone_fps=25.0, pace_fps=None, source_fps=50.0)
    assert (found.split, found.fps) == (1, 50.0)


@pytest.mark.parametrize(
    ("tries_fps", "deepest_fps", "last_s", "part"),
    [
        ((100.0, 95.0), 96.0, 0.0001, 0.0),
        ((100.0, 75.0), 96.0, 0.0001, 1 / 3),
        # The same work again, and more of it.
        ((100.0, 95.0), 133.0, 0.0001, 0.4),
        # To send frames takes time.
        ((100.0, 95.0), 60.0, 0.0001, 0.0),
        # A frame more or less, and a source that ended too soon.
        ((2.0, 2.6), 2.0, 0.0001, 0.0),
        ((100.0,), 133.0, 0.0001, 0.0),
        # What is left out there took long here.
        ((100.0, 95.0), 133.0, 0.004, 0.0),
    ],
)
def test_figures_that_should_be_the_same_and_are_not_are_noticed(
    tries_fps: tuple[float, ...], deepest_fps: float, last_s: float, part: float
) -> None:
    seconds = zip(TASKS, (0.002, 0.003, 0.004, last_s), strict=True)
    tasks = tuple(TaskTime(name=name, seconds=each) for name, each in seconds)
    alone = Alone(tries_fps=tries_fps, tasks=tasks)
    forecasts = [forecast(1, 500.0), forecast(3, deepest_fps)]
    assert disagreement(alone, forecasts, TASKS, pace_fps=None) == pytest.approx(part)


def test_forecast_above_the_pace_of_the_source_contradicts_nothing() -> None:
    tasks = tuple(TaskTime(name=name, seconds=0.001) for name in TASKS[:3])
    alone = Alone(tries_fps=(30.0, 29.8), tasks=tasks)
    assert disagreement(alone, [forecast(3, 90.0)], TASKS, pace_fps=30.0) == 0
    assert disagreement(alone, [forecast(3, 90.0)], TASKS, pace_fps=None) > 1


def test_target_asks_for_a_little_less_than_was_reached() -> None:
    assert target(60.0) == "51"
    assert target(4.0) == "3.4"

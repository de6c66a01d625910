"""The README is true: its commands run, its apps work, its tables name what there is.

A shell block that cannot run here says why in a comment before it: ``<!-- not run: ... -->``. One
that starts a server says ``<!-- keeps running -->``: it runs until the next one, or the end.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from offload.errors import OffloadError
from scheduler import Reason
from tests.integration.programs import ROOT, cloud_server, read_results, run_client, run_server

README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
SHELLS: Final = ("sh", "bash")
# Files that the README tells its reader to save.
SAVED: Final = ("python", "toml")

NOT_RUN: Final = "not run: "
KEEPS_RUNNING: Final = "keeps running"

# The longest command runs for five seconds; this only ends a test that has failed already.
COMMAND_S: Final = 60.0

_BLOCK: Final = re.compile(
    r"(?:^<!-- (?P<note>.+?) -->\n)?"
    r'^```(?P<kind>\w*)(?: title="(?P<title>[\w.]+)")?\n(?P<code>.*?)^```$',
    re.MULTILINE | re.DOTALL,
)
_OPTION: Final = re.compile(r"(?<![\w-])(--?[a-z][a-z-]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A code block: its language, the file that it is to be saved as, and the comment before it."""

    note: str
    kind: str
    title: str
    code: str

    @property
    def runs(self) -> bool:
        """Whether it is for the shell and can run here."""
        return self.kind in SHELLS and not self.note.startswith(NOT_RUN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What came of doing all that the README says, in a folder of its own."""

    folder: Path
    failures: list[str] = field(default_factory=list)
    ran: list[Block] = field(default_factory=list)


BLOCKS: Final = [
    Block(**{name: found[name] or "" for name in ("note", "kind", "title", "code")})
    for found in _BLOCK.finditer(README)
]
APPS: Final = [each for each in BLOCKS if each.kind == "python"]


def section(title: str) -> str:
    """Return the text under a heading, to the next heading of any level."""
    text = README.split(f"\n{title}\n", 1)[1]
    return re.split(r"^##+ ", text, maxsplit=1, flags=re.MULTILINE)[0]


def first_cells(table: str) -> list[str]:
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    # The first is the head, the second the line under it.
    return [row.split("|")[1].strip() for row in rows[2:]]


def copy_project(folder: Path) -> Path:
    copy = folder / "project"
    shutil.copytree(
        ROOT, copy, ignore=shutil.ignore_patterns(".*", "tests", "__pycache__", "results.db*")
    )
    return copy


def environment(folder: Path) -> dict[str, str]:
    """Return an environment in which ``python3`` is ours and the default port a free one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    kept.pop("HOST", None)
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }


class Server:
    """The server that the README started last, if any."""

    def __init__(self, walk: Walk, variables: dict[str, str]) -> None:
        self._walk = walk
        self._variables = variables
        self._process: subprocess.Popen[str] | None = None

    def start(self, block: Block) -> None:
        """Start another one, and wait until it listens."""
        self.stop()
        with (self._walk.folder / "server.err").open("a", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                # Without exec the signal would end the shell and leave the server.
                ["sh", "-c", f"exec {block.code.strip()}"],
                cwd=self._walk.folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self._process.stdout is not None
        if "listening on" not in self._process.stdout.readline():
            self._walk.failures.append(f"{block.code}did not listen")

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGINT)
        try:
            code = self._process.wait(COMMAND_S)
        finally:
            self._process.kill()
            assert self._process.stdout is not None
            self._process.stdout.close()
        if code != 0:
            self._walk.failures.append(f"the server ended with {code}")
        self._process = None


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """Do what the README says, from its first line to its last."""
    folder = tmp_path_factory.mktemp("readme")
    variables = environment(folder)
    walk = Walk(folder=copy_project(folder))
    server = Server(walk, variables)
    try:
        for block in BLOCKS:
            if block.title:
                (walk.folder / block.title).write_text(block.code, encoding="utf-8")
            elif block.runs and block.note == KEEPS_RUNNING:
                server.start(block)
                walk.ran.append(block)
            elif block.runs:
                run_block(walk, block, variables)
    finally:
        server.stop()
    return walk


def run_block(walk: Walk, block: Block, variables: dict[str, str]) -> None:
    ended = subprocess.run(
        ["sh", "-eu", "-c", block.code],
        cwd=walk.folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
    walk.ran.append(block)
    if ended.returncode != 0:
        walk.failures.append(f"{block.code}ended with {ended.returncode}: {ended.stderr}")


def keys(report: object) -> set[str]:
    """Return the names of all fields of a report, but not those that are task names or splits."""
    if isinstance(report, dict):
        inner = (keys(value) for name, value in report.items() if name != "histogram")
        return set(report).union(*inner)
    if isinstance(report, list):
        return set().union(*map(keys, report))
    return set()


def options_in_help(program: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, str(ROOT / program), "-h"], capture_output=True, text=True, check=True
    )
    described = re.findall(r"^  (-.*?)(?:  |$)", ended.stdout, re.MULTILINE)
    return {option for line in described for option in _OPTION.findall(line)}


def exit_codes(error: type[OffloadError] = OffloadError) -> set[int]:
    return {error.exit_code}.union(*(exit_codes(each) for each in error.__subclasses__()))


def test_every_code_block_is_of_a_known_kind_and_every_comment_before_one_is_understood() -> None:
    assert README.count("\n```") == 2 * len(BLOCKS)
    for block in BLOCKS:
        assert block.kind in (*SHELLS, *SAVED, "text"), block
        assert block.note in ("", KEEPS_RUNNING) or re.fullmatch(r"not run: \w.+", block.note)
        assert bool(block.title) == (block.kind in SAVED), block


def test_a_block_that_is_not_run_needs_what_a_test_has_not() -> None:
    for block in BLOCKS:
        if block.note.startswith(NOT_RUN):
            needs = ("apt-get", "./run ", "camera:", "scp ", "cloud.example", "cloud_server_")
            assert any(each in block.code for each in needs), block


def test_the_run_commands_of_the_readme_exist() -> None:
    usage = subprocess.run([ROOT / "run", "help"], capture_output=True, text=True, check=True)
    named = set(re.findall(r"\./run ([a-z-]+)", README))
    assert {"demo", "test"} <= named
    for command in named:
        assert f"\n  {command} " in usage.stdout


@pytest.mark.integration
@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_should(walk: Walk) -> None:
    assert walk.failures == []
    assert walk.ran == [block for block in BLOCKS if block.runs]


@pytest.mark.integration
@pytest.mark.slow
def test_the_readme_ends_with_results_of_all_its_runs_in_the_cloud(walk: Walk) -> None:
    exported = (walk.folder / "results.csv").read_text(encoding="utf-8").splitlines()
    assert exported[0] == "stream,seq,captured_at,received_at,split,value"
    assert len({line.partition(",")[0] for line in exported[1:]}) == 4
    assert read_results(walk.folder / "results.db", "porch")


@pytest.mark.integration
@pytest.mark.parametrize("app", APPS, ids=lambda block: block.title)
def test_each_app_of_the_readme_gives_the_same_results_with_and_without_a_cloud(
    tmp_path: Path, app: Block
) -> None:
    (tmp_path / app.title).write_text(app.code, encoding="utf-8")
    arguments = ("--app", app.title.removesuffix(".py"), "--stream", "s")
    alone = run_client(tmp_path, *arguments, "--results", "sqlite:alone.db")
    assert alone.code == 0, alone.err
    with cloud_server(tmp_path, "--app", arguments[1]) as server:
        split = run_client(tmp_path, "2", *arguments, *server.address)
        assert split.code == 0, split.err
        assert server.stop().code == 0
    results = read_results(tmp_path / "alone.db", "s")
    assert len(results) > 10
    assert read_results(tmp_path / "results.db", "s") == results


@pytest.mark.integration
@pytest.mark.slow
def test_the_readme_names_every_field_of_the_device_report(walk: Walk) -> None:
    report: dict[str, Any] = json.loads((walk.folder / "report.json").read_text(encoding="utf-8"))
    assert report["mode"] == "automatic"
    text = section("## The final report")
    assert {name for name in keys(report) if f"`{name}`" not in text} == set()


@pytest.mark.integration
def test_the_readme_names_every_field_of_the_cloud_report(tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--summary", "cloud.json") as server:
        assert run_client(tmp_path, "3", *server.address, "--frames", "5").code == 0
        assert server.stop().code == 0
    report = json.loads((tmp_path / "cloud.json").read_text(encoding="utf-8"))
    text = section("## The final report").rpartition("`--summary` of the server")[2]
    assert {name for name in keys(report) if f"`{name}`" not in text} == set()


def test_the_readme_explains_every_reason_of_the_scheduler_and_no_other() -> None:
    paragraph = section("## The final report").split("The reasons are", 1)[1].split("\n\n", 1)[0]
    assert set(re.findall(r"`(\w+)`", paragraph)) == {str(each) for each in Reason}


@pytest.mark.parametrize(
    ("title", "program"),
    [
        (
            "### Device: `python3 iot_client_coordinator.py [K [FPS]]`",
            "iot_client_coordinator.py",
        ),
        ("### Cloud: `python3 cloud_server_coordinator.py`", "cloud_server_coordinator.py"),
    ],
)
def test_the_option_tables_name_the_options_that_exist_and_no_other(
    title: str, program: str
) -> None:
    named = [option for cell in first_cells(section(title)) for option in _OPTION.findall(cell)]
    assert set(named) == options_in_help(program)
    assert len(named) == len(set(named))


def test_the_options_that_steer_are_those_that_there_are() -> None:
    text = section("### Change the target while it runs")
    command = [sys.executable, "-m", "offload.control", "-h"]
    helped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    usage = helped.stdout.split("options:", 1)[0]
    assert set(_OPTION.findall(usage)) - {"-h", "--version"} <= set(_OPTION.findall(text))


def test_the_verbs_of_the_emulation_are_those_that_there_are() -> None:
    command = [sys.executable, "-m", "offload.emulation", "-h"]
    helped = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    named = re.findall(
        r"^\| `([a-z]+)[^`]*` \|", section("## Emulate devices and links"), re.MULTILINE
    )
    assert named == re.findall(r"^    ([a-z]+)  ", helped.stdout, re.MULTILINE)


def test_the_exit_codes_are_those_that_the_errors_have() -> None:
    listed = {int(cell) for cell in first_cells(section("## Exit codes"))}
    assert listed == exit_codes() | {0, 130}


@pytest.mark.integration
def test_wrong_usage_ends_with_the_exit_code_that_the_readme_says(tmp_path: Path) -> None:
    assert run_client(tmp_path, "--app", "no_such_app").code == 2
    assert run_server(tmp_path, "--app", "no_such_app").code == 2


def test_the_links_of_the_readme_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", README, re.MULTILINE)
    anchors = {f"#{heading.lower().replace(' ', '-')}" for heading in headings}
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert link in anchors or link.startswith("https://") or (ROOT / link).exists(), link


def contents(lines: Sequence[str]) -> list[str]:
    return [found[1] for line in lines if (found := re.fullmatch(r"- \[(.+)\]\(#.+\)", line))]


def test_the_contents_list_every_section_in_order() -> None:
    titles = re.findall(r"^## (.+)$", README, re.MULTILINE)
    assert contents(section("## Contents").splitlines()) == titles[1:]

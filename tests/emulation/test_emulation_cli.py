"""The command line, as far as it needs no root."""

import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Final

import pytest

from offload.emulation import cli
from offload.emulation.cli import main
from offload.emulation.files.reading import read_experiment

ROOT: Final = Path(__file__).parents[2]

EXPERIMENT: Final = """
version = 1
name = "small"
duration = "3s"
machines = [{ name = "pi", role = "device", command = "{python} -c pass", cpu = 0.5 }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def command_without_root(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a user namespace in which it is nobody, if this is root."""
    prefix = ["unshare", "--user"] if os.geteuid() == 0 else []
    return subprocess.run(
        [*prefix, sys.executable, "-m", "offload.emulation", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    return said.removeprefix("error: ").strip()


@pytest.mark.integration
def test_a_plan_without_root_says_what_is_missing_and_what_still_works(file: Path) -> None:
    ended = command_without_root("plan", str(file))
    assert ended.returncode == 1
    assert "pi: device, 10.213.0.1, 0.5 core, all memory" in ended.stdout
    assert "this machine cannot run it, it lacks\n  root, for " in ended.stdout
    assert "plan, render, import, kinds and report work without any of it" in ended.stdout
    assert ended.stderr == ""


@pytest.mark.integration
def test_a_run_without_root_ends_before_anything_is_made(file: Path, tmp_path: Path) -> None:
    ended = command_without_root("run", str(file), "--folder", str(tmp_path / "run"))
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: this machine cannot run it, it lacks root, for ")
    assert ended.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_cleaning_without_root_says_that_it_needs_it() -> None:
    ended = command_without_root("clean")
    assert ended.returncode == 1
    assert "only root can remove" in ended.stderr


@pytest.mark.integration
def test_all_but_a_run_works_without_the_package_for_namespaces() -> None:
    load = "import sys; from offload.emulation import cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", load], cwd=ROOT, capture_output=True, text=True, check=True
    )
    names = {name.partition(".")[0] for name in loaded.stdout.split()}
    assert "offload" in names
    assert not {"pyroute2", "jsonschema", "yaml"} & names


@pytest.mark.parametrize("verb", ["plan", "run", "render"])
def test_a_wrong_file_is_an_error_that_names_the_place(
    verb: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(EXPERIMENT.replace("0.5", "-1"), encoding="utf-8")
    assert main([verb, str(file)]) == 2
    assert error_of(capsys).startswith(f"{file}: machines[0].cpu: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "the following arguments are required: VERB; see --help"),
        (["run"], "the following arguments are required: FILE; see --help"),
        (["run", "x.toml", "--duration", "0"], "argument --duration: '0' is not a number over 0"),
        (["import", "x.json", "--mbps-means", "m"], "argument --mbps-means: 'm' is none of mbit"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert error_of(capsys).startswith(expected)


def test_a_shorter_run_leaves_out_what_would_change_at_its_end_or_later(file: Path) -> None:
    schedule = 'schedule = ["at 1s: machine pi cpu 0.4", "at 2s: machine pi cpu 0.3"]'
    file.write_text(f"{schedule}\n{EXPERIMENT}", encoding="utf-8")
    options = Namespace(duration=2.0, no_probes=False)
    chosen = cli._chosen(read_experiment(file), options)
    assert [each.at_s for each in chosen.changes] == [1.0]
    assert chosen.duration_s == 2.0


def test_a_rendering_is_written_to_standard_output_or_to_a_file(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["render", str(file), "--image", "offload"]) == 0
    printed = capsys.readouterr().out
    assert "kind: Deployment" in printed
    assert "image: offload" in printed
    output = tmp_path / "small.yaml"
    assert main(["render", str(file), "--image", "offload", "--output", str(output)]) == 0
    assert output.read_text(encoding="utf-8") == printed


def test_an_output_that_cannot_be_written_is_an_error(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "no" / "small.yaml")
    assert main(["render", str(file), "--image", "offload", "--output", output]) == 2
    assert f"error: cannot write --output {output}: " in capsys.readouterr().err


def test_an_older_file_is_imported_once_it_is_said_what_mbps_means(
    capsys: pytest.CaptureFixture[str],
) -> None:
    older = ROOT / "examples" / "experiments" / "older-format" / "user_config.json"
    assert main(["import", str(older)]) == 2
    assert "--mbps-means" in error_of(capsys)
    assert main(["import", str(older), "--mbps-means", "mbyte"]) == 0
    said = capsys.readouterr()
    assert '"version": 1' in said.out
    assert said.err.startswith("note: ")


def test_an_older_file_is_not_imported_under_a_name_that_promises_toml(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = ROOT / "examples" / "experiments" / "older-format" / "user_config.json"
    output = tmp_path / "new.toml"
    assert main(["import", str(older), "--mbps-means", "mbit", "--output", str(output)]) == 2
    assert error_of(capsys).endswith("it will be JSON, expected a name that ends in .json")
    assert not output.exists()


def test_the_kinds_are_listed_with_their_sources(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["kinds"]) == 0
    listed = capsys.readouterr().out
    assert "machine pi-4: " in listed
    assert "link wifi-good: " in listed
    assert "  from: " in listed


def test_a_report_of_a_folder_without_a_run_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "no folder of a run" in error_of(capsys)

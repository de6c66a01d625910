"""What is installed: the five core packages, the version, the wheel; and the run script's usage."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Final

import pytest

import offload

ROOT: Final = Path(__file__).parent.parent
CORE_PACKAGES: Final = {"opencv-python", "numpy", "imutils", "psutil", "msgpack"}
PACKAGES: Final = {"offload", "ball_tracking_example"}


def read_requirements() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    return {re.split("[><=!~]", line)[0]: line for line in lines}


def run_script(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(ROOT / "run"), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def build_wheel(folder: Path) -> Path:
    # A copy, so that the build leaves nothing in the checkout and finds nothing of an earlier one.
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder)]
    subprocess.run([*command, str(source)], check=True, stdin=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    return wheel


def install_in_new_environment(wheel: Path, folder: Path) -> Path:
    """Return the folder of the programs of an environment with ``wheel`` and no project source."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", str(wheel)], check=True)
    # The core packages come from the environment that runs the tests: what is tested here is our
    # wheel, and another 100 MB from the network would add nothing to it.
    library = environment / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    (library / "site-packages" / "core.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_requirements_name_the_five_core_packages_and_nothing_else() -> None:
    assert set(read_requirements()) == CORE_PACKAGES


def test_every_requirement_has_a_lower_bound_and_no_upper_one() -> None:
    for line in read_requirements().values():
        assert re.fullmatch(r"[a-z-]+>=[0-9.]+", line), line


def test_the_oldest_opencv_is_the_one_that_the_extra_tests_run_with() -> None:
    oldest = read_requirements()["opencv-python"].replace(">=", "==")
    assert f"'{oldest}'" in (ROOT / "run").read_text(encoding="utf-8")


def test_pyproject_takes_version_and_dependencies_from_where_they_are_stated() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    dynamic = settings["tool"]["setuptools"]["dynamic"]
    assert dynamic["version"] == {"attr": "offload.__version__"}
    assert dynamic["dependencies"] == {"file": ["requirements.txt"]}
    assert re.fullmatch(r"\d+\.\d+\.\d+", offload.__version__)


@pytest.mark.parametrize("argument", ["help", "-h", "--help"])
def test_the_run_script_names_its_commands(argument: str) -> None:
    finished = run_script(argument)
    assert finished.returncode == 0
    for command in ("demo", "test", "test-extra", "setup"):
        assert f"\n  {command} " in finished.stdout


def test_the_run_script_refuses_an_unknown_command_with_exit_code_2() -> None:
    finished = run_script("demmo")
    assert finished.returncode == 2
    assert "unknown command demmo" in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize("script", ["run", ".ci/run"])
def test_the_scripts_can_be_started(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


@pytest.mark.slow
def test_the_wheel_holds_the_project_and_no_tests_and_its_programs_start(tmp_path: Path) -> None:
    wheel = build_wheel(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.partition("/")[0] for name in archive.namelist() if ".dist-info" not in name}
        page = {name.rpartition("/")[2] for name in archive.namelist() if "/static/" in name}
    assert packed == {*PACKAGES, *(file.name for file in ROOT.glob("*.py"))}
    assert page == {file.name for file in (ROOT / "offload" / "dashboard" / "static").iterdir()}

    programs = install_in_new_environment(wheel, tmp_path)
    for program in ("iot-client", "cloud-server"):
        # Away from the checkout, whose modules would be found before the wheel's.
        finished = subprocess.run(
            [programs / program, "--version"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert offload.__version__ in finished.stdout

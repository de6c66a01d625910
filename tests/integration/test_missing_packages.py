"""What a newcomer reads who has not installed anything yet."""

import subprocess
import sys

import pytest

from tests.integration.programs import CLIENT, ROOT, SERVER

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    "program", [(str(CLIENT),), (str(SERVER), "--help"), ("-m", "offload.doctor")], ids=str
)
def test_a_program_without_its_packages_ends_in_one_line(program: tuple[str, ...]) -> None:
    # Without site, Python finds its own library alone.
    ended = subprocess.run(
        [sys.executable, "-S", *program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: not installed: numpy, msgpack, psutil: type ./run setup")

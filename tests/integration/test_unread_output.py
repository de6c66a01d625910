"""What a program does whose standard streams are closed, full, or a pipe that nobody reads."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Final

import pytest

from tests.integration.programs import CLIENT, ROOT, SERVER, WAIT_S, Ended, read_summary
from tests.integration.test_bad_input import GOOD_SECRET, HERE, write_token

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Full as a disk is, and closed.
NO_STDERR: Final = ("2>/dev/full", "2>&-")
NO_STDOUT: Final = (">/dev/full", ">&-")


def run_with(redirection: str, folder: Path, *arguments: str | Path) -> Ended:
    """Run a program of Python's with a standard stream redirected as a shell does it."""
    # With a buffer, Python tries once more at its end.
    buffered = {name: each for name, each in os.environ.items() if name != "PYTHONUNBUFFERED"}
    ran = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, *arguments],
        cwd=folder,
        env={**buffered, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return Ended(code=ran.returncode, out=ran.stdout, err=ran.stderr)


@pytest.fixture
def full_pipe() -> Iterator[IO[bytes]]:
    """The end of a pipe to which nothing more can be written."""
    reader, writer = os.pipe()
    with closing(os.fdopen(reader, "rb")), closing(os.fdopen(writer, "wb", buffering=0)) as filled:
        size = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
        assert filled.write(bytes(size)) == size
        yield filled


def test_its_frames_wait_for_no_reader(tmp_path: Path, full_pipe: IO[bytes]) -> None:
    options = ("--frames", "30", "--report-every", "0.1", "--rate", "60", "--summary", "s.json")
    command = [sys.executable, str(CLIENT), *options]
    ended = subprocess.run(command, cwd=tmp_path, stderr=full_pipe, timeout=WAIT_S, check=False)
    assert ended.returncode == 0
    assert read_summary(tmp_path / "s.json")["frames"]["captured"] == 30


def test_an_error_that_nobody_reads_ends_it_all_the_same(
    tmp_path: Path, full_pipe: IO[bytes]
) -> None:
    command = [sys.executable, str(CLIENT), "--source", "missing.mp4"]
    ended = subprocess.run(command, cwd=tmp_path, stderr=full_pipe, timeout=WAIT_S, check=False)
    assert ended.returncode == 2


@pytest.mark.parametrize("redirection", NO_STDERR)
@pytest.mark.parametrize(
    ("program", "code"),
    [
        ((CLIENT, "--source", "missing.mp4"), 2),
        ((CLIENT, "3", *HERE, "--retry-for", "0.1"), 69),
        ((CLIENT, "--frames", "3"), 0),
        ((SERVER, "--app", "nowhere"), 2),
        (("-m", "offload.control", *HERE), 77),
        (("-m", "offload.results", "summary", "missing.db"), 2),
        (("-m", "offload.auth", "revoke", "nobody"), 2),
        (("-m", "offload.auth", "new", "garden"), 0),
        (("-m", "offload.doctor", "--nonsense"), 2),
    ],
)
def test_exit_code_stays_the_same_where_standard_error_takes_nothing(
    tmp_path: Path, redirection: str, program: tuple[str | Path, ...], code: int
) -> None:
    assert run_with(redirection, tmp_path, *program).code == code


@pytest.mark.parametrize("redirection", NO_STDOUT)
@pytest.mark.parametrize(
    "program",
    [
        (CLIENT, "--frames", "3", "--summary", "-"),
        (SERVER, "--bind", "127.0.0.1", "--port", "0"),
        ("-m", "offload.auth", "show", "--token-file", "tokens"),
        ("-m", "offload.doctor", "--server", "--port", "0"),
    ],
)
def test_standard_output_that_takes_nothing_is_one_error(
    tmp_path: Path, redirection: str, program: tuple[str | Path, ...]
) -> None:
    write_token(tmp_path / "tokens", f"default:{GOOD_SECRET}")
    ended = run_with(redirection, tmp_path, *program)
    assert ended.code == 1
    assert "standard output" in ended.error or "--summary -" in ended.error

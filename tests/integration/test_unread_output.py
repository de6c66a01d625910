"""What a program does whose standard error is a pipe that nobody reads."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from tests.integration.programs import CLIENT, WAIT_S, read_summary

pytestmark = pytest.mark.integration


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

"""Lines of the log: what they look like, and what becomes of them in a pipe that nobody reads."""

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import IO, Final

import pytest

import offload.logs
from offload.logs import MAX_KEPT_BYTES, JsonFormatter, PipeHandler, TextFormatter

# Ends only a test that has failed already.
WAIT_S: Final = 20.0


def record(**fields: object) -> logging.LogRecord:
    made = {"name": "device", "levelname": "INFO", "msg": "progress", "created": 0.0, **fields}
    return logging.makeLogRecord(made)


def test_a_line_says_its_fields_behind_its_name() -> None:
    line = TextFormatter().format(record(fps=24.123456, why="the link is slow"))
    assert line.endswith(' INFO progress fps=24.12 why="the link is slow"')


def test_what_is_not_known_is_left_out_for_people_and_null_for_machines() -> None:
    unknown = record(latency_p95_ms=None, dropped=0)
    assert TextFormatter().format(unknown).endswith(" INFO progress dropped=0")
    line = json.loads(JsonFormatter().format(unknown))
    assert (line["latency_p95_ms"], line["dropped"]) == (None, 0)


class Pipe:
    """A pipe of 4 KiB, and a handler that writes to it."""

    def __init__(self) -> None:
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
        self.reader: IO[bytes] = os.fdopen(reader, "rb", buffering=0)
        self.writer: IO[str] = os.fdopen(writer, "w")
        self.handler = PipeHandler(self.writer)
        self.handler.setFormatter(logging.Formatter("%(message)s %(lines)s"))
        self._read: list[bytes] = []
        self._reading = threading.Thread(target=self._read_all)

    def log(self, *numbers: int) -> None:
        for each in numbers:
            self.handler.handle(logging.makeLogRecord({"msg": "line", "lines": each}))

    def begin_reading(self) -> None:
        self._reading.start()

    def end(self) -> list[str]:
        """Close the handler and the pipe, and return the lines that were read."""
        self.handler.close()
        self.writer.close()
        self._reading.join(WAIT_S)
        return b"".join(self._read).decode().splitlines()

    def _read_all(self) -> None:
        self._read.append(self.reader.readall() or b"")  # type: ignore[attr-defined]  # it is raw


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    # Without its reader, nothing is left to be written.
    made.reader.close()
    made.handler.close()
    for each in threading.enumerate():
        if each.name == "logs":
            each.join(WAIT_S)
    made.writer.close()


def test_a_line_is_in_the_pipe_once_it_is_logged(pipe: Pipe) -> None:
    pipe.log(1)
    assert os.read(pipe.reader.fileno(), 100) == b"line 1\n"


def test_what_a_pipe_did_not_take_follows_when_it_is_read(pipe: Pipe) -> None:
    pipe.log(*range(2000))
    pipe.begin_reading()
    assert pipe.end() == [f"line {each}" for each in range(2000)]


def test_what_is_too_much_to_keep_is_left_out_and_counted_where_it_is_missing(pipe: Pipe) -> None:
    many = MAX_KEPT_BYTES // 4
    pipe.log(*range(many))
    pipe.begin_reading()
    *lines, last = pipe.end()
    assert lines == [f"line {each}" for each in range(len(lines))]
    assert last == f"log_lines_left_out {many - len(lines)}"
    assert 0 < len(lines) < many


def test_the_end_waits_for_a_reader_that_stands_still_for_a_while_only(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offload.logs, "END_S", 0.01)
    pipe.log(*range(2000))
    pipe.handler.close()
    assert os.read(pipe.reader.fileno(), 7) == b"line 0\n"


def test_a_reader_that_has_gone_is_no_error(pipe: Pipe, capsys: pytest.CaptureFixture[str]) -> None:
    pipe.log(*range(2000))
    pipe.reader.close()
    pipe.log(1)
    pipe.handler.close()
    assert capsys.readouterr().err == ""

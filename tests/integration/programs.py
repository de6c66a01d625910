"""Start the two programs as a user does, wait for what they say, and read what they leave.

    with cloud_server(tmp_path) as server:
        ended = run_client(tmp_path, "3", *server.address, "--frames", "30")
    assert ended.code == 0

Every wait has a bound; every program that was started has ended when its ``with`` block has.
"""

import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from offload.results import unpack_result

ROOT: Final = Path(__file__).parents[2]
CLIENT: Final = ROOT / "iot_client_coordinator.py"
SERVER: Final = ROOT / "cloud_server_coordinator.py"

# A program starts in half a second; a busy machine takes some times that. This only ends a test
# that has failed already.
WAIT_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What a program left: its exit code and all that it said."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """Return the one line that says why it failed."""
        assert "Traceback" not in self.err, self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self.err
        return lines[0]


class Program:
    """A running program, with threads that collect what it says.

    Args:
        script: Which program.
        arguments: Its command line.
        folder: Its working directory, where apps are found.
    """

    def __init__(self, script: Path, arguments: Sequence[str], *, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._changed = threading.Condition()
        self._out: list[str] = []
        self._err: list[str] = []
        self._closed = 0
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._threads = [
            threading.Thread(target=self._collect, args=(self._process.stdout, self._out)),
            threading.Thread(target=self._collect, args=(self._process.stderr, self._err)),
        ]
        for each in self._threads:
            each.start()

    def wait_for_line(self, text: str, *, times: int = 1) -> str:
        """Wait until ``times`` lines with ``text`` were said on either stream; return the last."""

        def found() -> list[str]:
            return [line for line in (*self._out, *self._err) if text in line]

        with self._changed:
            self._changed.wait_for(lambda: len(found()) >= times or self._closed == 2, WAIT_S)
            lines = found()
            assert len(lines) >= times, f"no {text!r} in {self._out + self._err}"
            return lines[times - 1]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self) -> Ended:
        """Wait until it has ended by itself."""
        code = self._process.wait(WAIT_S)
        for each in self._threads:
            each.join(WAIT_S)
        return Ended(code=code, out="".join(self._out), err="".join(self._err))

    def stop(self) -> Ended:
        """Ask it to end, as a service manager does, and wait until it has."""
        self.send(signal.SIGTERM)
        return self.wait()

    def kill(self) -> Ended:
        """End it without a warning."""
        self._process.kill()
        return self.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def release(self) -> None:
        """Make sure that it has ended and that its pipes are closed."""
        if self.is_running:
            self.kill()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def _collect(self, stream: IO[str], lines: list[str]) -> None:
        for line in stream:
            with self._changed:
                lines.append(line)
                self._changed.notify_all()
        with self._changed:
            self._closed += 1
            self._changed.notify_all()


class CloudServer(Program):
    """A cloud server on the loopback address, ready to accept."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, port: int) -> None:
        super().__init__(
            SERVER,
            ["--bind", "127.0.0.1", "--port", str(port), *arguments],
            folder=folder,
        )
        self.port = port

    def wait_until_ready(self) -> None:
        """Wait for the line that says where it listens, and learn its port."""
        self.port = int(self.wait_for_line("listening on").rsplit(":", 1)[1])

    @property
    def address(self) -> tuple[str, ...]:
        """Return the options by which a client finds it."""
        return ("--host", "127.0.0.1", "--port", str(self.port))


@contextmanager
def cloud_server(folder: Path, *arguments: str, port: int = 0) -> Iterator[CloudServer]:
    """Run a server while the block lasts; its results go to ``results.db`` in ``folder``."""
    server = CloudServer(arguments, folder=folder, port=port)
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.release()


@contextmanager
def started(script: Path, folder: Path, *arguments: str) -> Iterator[Program]:
    """Run a program while the block lasts."""
    program = Program(script, arguments, folder=folder)
    try:
        yield program
    finally:
        program.release()


@contextmanager
def client(folder: Path, *arguments: str) -> Iterator[Program]:
    """Run a client while the block lasts."""
    with started(CLIENT, folder, *arguments) as program:
        yield program


def run_client(folder: Path, *arguments: str) -> Ended:
    """Run a client to its end."""
    with client(folder, *arguments) as program:
        return program.wait()


def run_server(folder: Path, *arguments: str) -> Ended:
    """Run a server that is expected to end by itself."""
    with started(SERVER, folder, *arguments) as program:
        return program.wait()


def write_app(folder: Path, name: str, text: str) -> str:
    """Write an app into ``folder`` and return its name."""
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return name


def read_summary(path: Path) -> dict[str, Any]:
    """Read a final report."""
    report = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    return report


def read_results(database: Path, stream: str) -> dict[int, object]:
    """Return a stream's results by sequence number."""
    with _reading(database) as connection:
        rows = connection.execute(
            "SELECT seq, value FROM results WHERE stream = ? ORDER BY seq", (stream,)
        )
        return {seq: unpack_result(value) for seq, value in rows}


def read_failures(database: Path, stream: str) -> dict[int, tuple[str, str]]:
    """Return task and reason of a stream's failed frames by sequence number."""
    with _reading(database) as connection:
        rows = connection.execute(
            "SELECT seq, task, reason FROM failures WHERE stream = ?", (stream,)
        )
        return {seq: (task, reason) for seq, task, reason in rows}


def read_position(database: Path, stream: str) -> tuple[int, int, int]:
    """Return a stream's ``next_seq`` and its filtered and dropped frames."""
    with _reading(database) as connection:
        row = connection.execute(
            "SELECT next_seq, filtered, dropped FROM streams WHERE stream = ?", (stream,)
        ).fetchone()
    assert row is not None, f"no stream {stream!r}"
    return row[0], row[1], row[2]


def wait_for_results(database: Path, stream: str, *, at_least: int) -> None:
    """Wait until a running program has stored so many results."""
    give_up_s = time.monotonic() + WAIT_S
    while True:
        try:
            found = len(read_results(database, stream))
        except sqlite3.OperationalError:
            # The program has not made the tables yet.
            found = 0
        if found >= at_least:
            return
        assert time.monotonic() < give_up_s, f"{found} results, expected {at_least}"
        time.sleep(0.02)


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, timeout=WAIT_S)
    try:
        yield connection
    finally:
        connection.close()

"""Start the two real programs as a user does, and read the reports that they leave.

    with work_folder() as folder:
        pair = run_pair(folder, 1, "--frames", "1000", app="benchmarks.apps:make_still")
        pair.device["fps"], pair.cloud["cpu_s"]

Programs run in the project's folder, so that they find the benchmarks' apps. Every wait has a
bound, and what was started has ended when its ``with`` block has.
"""

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import BenchmarkError

ROOT: Final = Path(__file__).parent.parent
CLIENT: Final = ROOT / "iot_client_coordinator.py"
SERVER: Final = ROOT / "cloud_server_coordinator.py"

# A program starts in half a second; a slow card needs some times that.
START_LIMIT_S: Final = 60.0
# A drain takes 10 s at most.
STOP_LIMIT_S: Final = 20.0
# No measurement lasts that long; whatever does hangs.
RUN_LIMIT_S: Final = 300.0

Summary = dict[str, Any]
"""A program's final report; its fields are the programs' own promise."""


class ProgramError(BenchmarkError):
    """A program did not do what a benchmark needs; the message ends with what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The final reports of a device and of the server that finished its frames."""

    device: Summary
    cloud: Summary

    @property
    def cpu_s(self) -> float:
        """Processor seconds of both."""
        return float(self.device["cpu_s"]) + float(self.cloud["cpu_s"])


@contextmanager
def work_folder() -> Iterator[Path]:
    """Make a folder for the programs' files, tokens among them, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="offload-bench-") as folder:
        yield Path(folder)


class CloudServer:
    """A running server. Made by `cloud_server`."""

    def __init__(
        self, process: "subprocess.Popen[str]", *, bind: str, port: int, summary: Path, log: Path
    ) -> None:
        """Keep what ``cloud_server`` started."""
        self._process = process
        self._bind = bind
        self._port = port
        self._summary = summary
        self._log = log

    @property
    def address(self) -> tuple[str, ...]:
        """The options by which a device finds it."""
        return ("--host", self._bind, "--port", str(self._port))

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def stop(self) -> Summary:
        """Ask it to end, as a service manager does, and return its final report.

        Raises:
            ProgramError: It does not end, or failed.
        """
        self._process.send_signal(signal.SIGTERM)
        return _report(self._process, self._summary, self._log, limit_s=STOP_LIMIT_S)


@contextmanager
def cloud_server(
    folder: Path,
    *arguments: str,
    app: str,
    results: str = "none",
    bind: str = "127.0.0.1",
    prefix: Sequence[str] = (),
) -> Iterator[CloudServer]:
    """Run a server on a free port while the block lasts.

    Args:
        folder: Where it keeps token, log and report.
        arguments: Further options.
        app: The pipeline to run.
        results: URL of its store.
        bind: Address to listen on.
        prefix: Words before the command, such as ``ip netns exec NAME``.

    Raises:
        ProgramError: It does not start to listen.
    """
    summary, log = folder / "server.json", folder / "server.log"
    options = ["--app", app, "--results", results, "--bind", bind, "--port", "0", *arguments]
    process = _start(SERVER, [*options, "--summary", str(summary)], folder, log, prefix)
    try:
        port = _wait_for_port(process, log)
        yield CloudServer(process, bind=bind, port=port, summary=summary, log=log)
    finally:
        _end(process)


def run_device(folder: Path, *arguments: str, prefix: Sequence[str] = ()) -> Summary:
    """Run a device program to its end and return its final report.

    Args:
        folder: Where it keeps token, log and report; the server's, so that they share a token.
        arguments: Its command line.
        prefix: Words before the command, such as ``ip netns exec NAME``.

    Raises:
        ProgramError: It does not end, or failed.
    """
    summary, log = folder / "device.json", folder / "device.log"
    process = _start(CLIENT, [*arguments, "--summary", str(summary)], folder, log, prefix)
    try:
        return _report(process, summary, log, limit_s=RUN_LIMIT_S)
    finally:
        _end(process)


def run_pair(folder: Path, split: int, *arguments: str, app: str, results: str = "none") -> Pair:
    """Run a fresh server and one device against it, to the device's end.

    Args:
        folder: Where both keep their files.
        split: The device runs tasks 1 to ``split``.
        arguments: Further options of the device.
        app: The pipeline to run.
        results: URL of the server's store.

    Raises:
        ProgramError: One of the two failed.
    """
    with cloud_server(folder, app=app, results=results) as server:
        device = run_device(folder, str(split), "--app", app, *server.address, *arguments)
        return Pair(device=device, cloud=server.stop())


def _start(
    script: Path, arguments: Sequence[str], folder: Path, log: Path, prefix: Sequence[str]
) -> "subprocess.Popen[str]":
    with log.open("w", encoding="utf-8") as said:
        return subprocess.Popen(
            [*prefix, sys.executable, str(script), *arguments],
            cwd=ROOT,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )


def environment(folder: Path) -> Mapping[str, str]:
    """Return the environment without the user's choices, and with tokens in ``folder``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"HOST", "PORT", "BIND"} and not name.startswith("OFFLOAD_")
    }
    return kept | {"XDG_CONFIG_HOME": str(folder / "config")}


def _wait_for_port(process: "subprocess.Popen[str]", log: Path) -> int:
    assert process.stdout is not None
    # The one line comes whole, as it is flushed once; at the end of the output an empty one comes.
    readable, _, _ = select.select([process.stdout], [], [], START_LIMIT_S)
    line = process.stdout.readline() if readable else ""
    if not line.startswith("listening on "):
        raise ProgramError(f"the server does not listen: {_last_lines(log)}")
    return int(line.rsplit(":", 1)[1])


def _report(
    process: "subprocess.Popen[str]", summary: Path, log: Path, *, limit_s: float
) -> Summary:
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        raise ProgramError(f"no end after {limit_s:g} s: {_last_lines(log)}") from None
    if code != 0:
        raise ProgramError(f"ended with exit code {code}: {_last_lines(log)}")
    report = json.loads(summary.read_text(encoding="utf-8"))
    assert isinstance(report, dict)
    return report


def _end(process: "subprocess.Popen[str]") -> None:
    """Make sure that a program has ended and that its pipe is closed."""
    if process.poll() is None:
        process.kill()
        process.wait(STOP_LIMIT_S)
    if process.stdout is not None:
        process.stdout.close()


def _last_lines(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8").splitlines()[-5:])

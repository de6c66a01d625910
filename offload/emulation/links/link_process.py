"""The process of a link, as the one who runs the experiment sees it; `relay` is what runs in it.

link = LinkProcess(settings, environment)       # the relay starts
link.wait_until_started()                       # its devices are there
link.change(qualities)
if select.select([link], (), (), 0)[0]:
    link.read_reports()
link.report.forward.bytes_out
link.stop()
"""

import contextlib
import math
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

import offload
from offload.emulation.links.relay_messages import (
    Qualities,
    RelaySettings,
    Report,
    qualities_line,
    read_report,
    settings_line,
)
from offload.errors import EmulationError

# It starts within half a second; many of them on a busy machine take some times that.
START_LIMIT_S: Final = 30.0

# It ends at once when its input does.
STOP_LIMIT_S: Final = 5.0

# Where the package is: a module is found from there, wherever the experiment is run.
_ROOT: Final = Path(offload.__file__).parents[1]

_REPORTS_BYTES: Final = 64 * 1024


class HasDescriptor(Protocol):
    """Something that can be waited for."""

    def fileno(self) -> int:
        """Return what becomes readable."""


class LinkProcess:
    """A running link.

    Args:
        settings: What the link is.
        environment: Of its process.

    Attributes:
        name: Of the link.
        report: What it said last; None until it has started.
    """

    def __init__(self, settings: RelaySettings, environment: Mapping[str, str]) -> None:
        """Start the process."""
        self.name: Final = settings.link
        self.report: Report | None = None
        self._rest = b""
        # A pipe would fill if nobody read it.
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`
        self._process = subprocess.Popen(
            [sys.executable, "-m", "offload.emulation.links.relay"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=dict(environment),
            cwd=_ROOT,
        )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._say(settings_line(settings))

    def fileno(self) -> int:
        """Return what becomes readable when there is something for `read_reports`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def wait_until_started(self) -> None:
        """Wait until the devices at both ends are there.

        Raises:
            EmulationError: It failed, or took longer than `START_LIMIT_S`.
        """
        give_up_s = time.monotonic() + START_LIMIT_S
        while self.report is None:
            if not wait_for([self], max(0.0, give_up_s - time.monotonic())):
                raise EmulationError(f"link {self.name} has not started within {START_LIMIT_S:g} s")
            self.read_reports()

    def change(self, qualities: Qualities) -> None:
        """Make it another link from now on.

        Raises:
            EmulationError: Its process has ended.
        """
        self._say(qualities_line(qualities))

    def read_reports(self) -> None:
        """Take in what it has said; only the last report is kept.

        Raises:
            EmulationError: Its process has ended.
        """
        try:
            got = os.read(self.fileno(), _REPORTS_BYTES)
        except BlockingIOError:
            return
        if not got:
            raise self._failure()
        self._take_in(got)

    def stop(self) -> None:
        """End the process, and with it the devices at both ends; take in its last report."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.stdin.closed:
            return
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with contextlib.suppress(BlockingIOError):
            self._take_in(os.read(self.fileno(), _REPORTS_BYTES))
        self._process.stdout.close()
        self._complaints.close()

    def _take_in(self, got: bytes) -> None:
        *lines, self._rest = (self._rest + got).split(b"\n")
        if lines:
            self.report = read_report(lines[-1])

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise self._failure() from error

    def _failure(self) -> EmulationError:
        self._process.wait(STOP_LIMIT_S)
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").splitlines()
        why = lines[-1].removeprefix("error: ") if lines else "it said nothing"
        return EmulationError(f"link {self.name}: its process has ended: {why}")


def wait_for(sources: Iterable[HasDescriptor], wait_s: float) -> set[int]:
    """Wait until some of the sources have something, and return their descriptors."""
    # There may be more of them than `select.select` can take.
    poll = select.poll()
    for each in sources:
        poll.register(each, select.POLLIN)
    return {descriptor for descriptor, _ in poll.poll(math.ceil(1000 * wait_s))}

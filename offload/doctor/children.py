"""Run a program for a bounded time: whatever hangs inside it, the doctor goes on.

ran = run_child([sys.executable, "-m", "offload.doctor.reading", ...], timeout_s=12.0)
ran.code, ran.out, ran.reason
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from signal import Signals
from typing import Final

from offload.errors import LoadingError, RunFailed

# What a program that is told to end may take, until it is made to.
ENDING_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a program left; ``code`` is None if it did not end by itself in time."""

    code: int | None
    out: str
    err: str

    @property
    def reason(self) -> str:
        """Why it failed: its last error, the signal that ended it, or its last line."""
        lines = [each for each in self.err.splitlines() if each.strip()]
        errors = [each.removeprefix("error: ") for each in lines if each.startswith("error: ")]
        if not errors and self.code is not None and self.code < 0:
            return f"ended by {Signals(-self.code).name}"
        return (errors or lines or ["it said nothing"])[-1]

    @property
    def exit_code(self) -> int:
        """What its failure ends the doctor with: its own code, 1 if something else ended it."""
        return self.code if self.code is not None and self.code > 0 else RunFailed.exit_code


def run_child(arguments: Sequence[str], *, timeout_s: float) -> Ran:
    """Run a program of this interpreter's to its end, or end it after ``timeout_s``."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
            return Ran(code=process.returncode, out=out, err=err)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                out, err = process.communicate(timeout=ENDING_S)
            except subprocess.TimeoutExpired:
                process.kill()
                out, err = process.communicate()
            return Ran(code=None, out=out, err=err)
        finally:
            # Also when the user interrupts: a camera that is left open is nobody's any more.
            process.kill()


def device_program() -> str:
    """Return the path of the device program; nobody imports it.

    Raises:
        LoadingError: It is not installed beside this package.
    """
    found = find_spec("iot_client_coordinator")
    if found is None or found.origin is None:
        raise LoadingError("device program iot_client_coordinator is not installed")
    return found.origin

"""The process of a link as a bare process, for tests of what it is told and says."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from offload.emulation.experiment import Quality
from offload.emulation.links.relay_messages import End, Qualities, RelaySettings
from offload.emulation.local.planning import look_at_machine

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "offload.emulation.links.relay")

# Only ends a test that has failed already.
WAIT_S: Final = 30.0


def what_is_missing() -> str:
    """Return what a link needs and this machine lacks, or nothing."""
    abilities = look_at_machine()
    if not abilities.is_root:
        return "root"
    if not abilities.has_tun:
        return "/dev/net/tun"
    return "" if shutil.which("ip") else "ip (iproute2)"


def settings(near: str, far: str, *, device: str) -> RelaySettings:
    return RelaySettings(
        link="wifi",
        seed=7,
        ends=(End(namespace=near, device=device), End(namespace=far, device=device)),
        qualities=Qualities(forward=Quality(), backward=Quality()),
    )


@contextmanager
def relay() -> Iterator["subprocess.Popen[str]"]:
    pipe = subprocess.PIPE
    with subprocess.Popen(
        COMMAND, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    said, complained = process.communicate(timeout=WAIT_S)
    return process.returncode, said, complained

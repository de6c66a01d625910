"""Starts the program of a machine: enters its network namespace and its cgroup, then becomes it.

    python3 entering.py --parent 4711 --namespace offload-emu-1a2b3c-pi \
        --group /sys/fs/cgroup/cpu/offload-emulation/1a2b3c/pi -- iot-client 6 25

It imports only the standard library, so that it costs milliseconds also where a machine has 0.15
core, and it is run as a file, wherever the package is. The program dies with the process that asked
for it: nothing is left behind if that is killed.
"""

import argparse
import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# As shells say it: the program is there and cannot be started, or is not there.
CANNOT_START: Final = 126
NOT_FOUND: Final = 127

# Where iproute2 and pyroute2 keep the namespaces that have a name.
NAMESPACES: Final = Path("/var/run/netns")

# From linux/sched.h and linux/prctl.h.
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1

_libc: Final = ctypes.CDLL(None, use_errno=True)


def enter_namespace(descriptor: int) -> None:
    """Put this thread into the network namespace of an open file.

    Raises:
        OSError: It is none, or we are not root.
    """
    # os.setns is there from Python 3.12 on.
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main(arguments: Sequence[str] | None = None) -> int:
    """Become the program; return only if that fails, with an exit code, having said why."""
    parsed = _parser().parse_args(arguments)
    try:
        _die_with(parsed.parent)
        descriptor = os.open(NAMESPACES / parsed.namespace, os.O_RDONLY | os.O_CLOEXEC)
        enter_namespace(descriptor)
        # The last step, so that a machine's processor time is its program's.
        for group in parsed.group:
            (group / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
    except OSError as error:
        return _fail("the machine cannot be entered", error, CANNOT_START)
    # Python ignores it, and the program would inherit that.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        os.execvp(parsed.command[0], parsed.command)
    except FileNotFoundError as error:
        return _fail(f"cannot start {parsed.command[0]!r}", error, NOT_FOUND)
    except OSError as error:
        return _fail(f"cannot start {parsed.command[0]!r}", error, CANNOT_START)


def _die_with(parent: int) -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # It may have died before that.
    if os.getppid() != parent:
        raise ProcessLookupError(f"process {parent}, which asked for it, has ended")


def _fail(what: str, error: OSError, code: int) -> int:
    sys.stderr.write(f"error: {what}: {error.strerror or error}\n")
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Start a program on an emulated machine.")
    add = parser.add_argument
    add("--parent", type=int, required=True, metavar="PID", help="the process to die with")
    add("--namespace", required=True, metavar="NAME", help="the machine's network namespace")
    add("--group", type=Path, action="append", default=[], metavar="DIR", help="a cgroup of it")
    add("command", nargs="+", metavar="COMMAND", help="the program and its arguments, after --")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

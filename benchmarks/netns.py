"""Two network namespaces of this machine, joined by a link of limited rate. Needs root.

with LinkedNamespaces() as link:
    link.limit(20.0)
    subprocess.run([*link.in_cloud, sys.executable, "server.py", "--bind", link.cloud_address])

What is inside sees only the link, so that nothing of the machine's own network is touched. Both
namespaces are removed when the block ends, with the processes in them; those of a run that was
killed, when the next one begins.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from types import TracebackType
from typing import Final, Self

import psutil

# The names begin with this and hold the process that made them, so that a later run knows those
# that were left behind.
PREFIX: Final = "offload-bench-"

_NAME: Final = re.compile(re.escape(PREFIX) + r"(\d+)-(?:device|cloud)")

# Of the network that RFC 5737 keeps for examples; nobody routes there.
DEVICE_ADDRESS: Final = "192.0.2.1"
CLOUD_ADDRESS: Final = "192.0.2.2"
_PREFIX_BITS: Final = 24

# What tbf may send at once: 10 ms of the rate, so that a coarse timer still reaches it, and at
# least a dozen packets.
BURST_S: Final = 0.010
LEAST_BURST_BYTES: Final = 16 * 1024

# What may wait in front of the link, in time, as in the buffer of a usual router. It also has to
# hold one train of packets as TCP makes them (64 KB), or a slow link loses part of each.
QUEUE_S: Final = 0.050
LEAST_QUEUE_BYTES: Final = 128 * 1024


class LinkError(Exception):
    """This machine does not let us make the link; the message says why, for the user."""


class LinkedNamespaces:
    """A namespace for the device, one for the cloud, and the link between them.

    Attributes:
        cloud_address: Where the cloud's programs listen.
        in_device: What to put in front of a command so that it runs at the device's end. The
            process that is started becomes the command's own, so signals reach it.
        in_cloud: The same for the cloud's end.
    """

    cloud_address: Final = CLOUD_ADDRESS

    def __init__(self) -> None:
        """Choose names; nothing is made yet."""
        self._device = f"{PREFIX}{os.getpid()}-device"
        self._cloud = f"{PREFIX}{os.getpid()}-cloud"
        self.in_device = ("ip", "netns", "exec", self._device)
        self.in_cloud = ("ip", "netns", "exec", self._cloud)

    def __enter__(self) -> Self:
        """Remove what earlier runs left, then make namespaces and link.

        Raises:
            LinkError: We are not root, iproute2 is missing, or the kernel refuses.
        """
        check_possible()
        remove_stale()
        try:
            self._make()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Remove the namespaces, and with them the link."""
        self._remove()

    def limit(self, rate_mbit: float) -> None:
        """Let the link carry ``rate_mbit`` million bits a second in each direction, from now on.

        Raises:
            LinkError: The kernel has no tbf.
        """
        bytes_per_s = rate_mbit * 1e6 / 8
        burst_bytes = max(LEAST_BURST_BYTES, round(BURST_S * bytes_per_s))
        queue_bytes = max(LEAST_QUEUE_BYTES, round(QUEUE_S * bytes_per_s))
        for namespace, interface in ((self._device, "device"), (self._cloud, "cloud")):
            _run(
                *("tc", "-n", namespace, "qdisc", "replace", "dev", interface, "root", "tbf"),
                *("rate", f"{rate_mbit}mbit", "burst", f"{burst_bytes}b"),
                *("limit", f"{queue_bytes}b"),
            )

    def _make(self) -> None:
        for namespace in (self._device, self._cloud):
            _run("ip", "netns", "add", namespace)
        _run(
            *("ip", "link", "add", "device", "netns", self._device, "type", "veth"),
            *("peer", "name", "cloud", "netns", self._cloud),
        )
        for namespace, interface, address in (
            (self._device, "device", DEVICE_ADDRESS),
            (self._cloud, "cloud", CLOUD_ADDRESS),
        ):
            to_it = ("ip", "-n", namespace)
            _run(*to_it, "address", "add", f"{address}/{_PREFIX_BITS}", "dev", interface)
            _run(*to_it, "link", "set", interface, "up")

    def _remove(self) -> None:
        existing = _namespaces()
        for namespace in (self._device, self._cloud):
            if namespace in existing:
                _remove_namespace(namespace)


def check_possible() -> None:
    """Raise `LinkError` if this user or this machine cannot make namespaces."""
    if os.geteuid() != 0:
        raise LinkError("network namespaces need root: run it with sudo")
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            raise LinkError(f"`{program}` is missing: apt-get install iproute2")


def remove_stale() -> None:
    """Remove the namespaces of runs whose process is gone, and what still runs in them."""
    for namespace in _namespaces():
        made_by = _NAME.fullmatch(namespace)
        if made_by is not None and not psutil.pid_exists(int(made_by[1])):
            _remove_namespace(namespace)


def _namespaces() -> list[str]:
    # A line is a name, with "(id: N)" behind it if the kernel gave it one.
    return [line.split()[0] for line in _run("ip", "netns", "list").splitlines() if line]


def _remove_namespace(namespace: str) -> None:
    for process in _run("ip", "netns", "pids", namespace).split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(process), signal.SIGKILL)
    _run("ip", "netns", "delete", namespace)


def _run(*command: str) -> str:
    """Run a command to its end and return what it printed."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        said = " ".join(ended.stderr.split())
        raise LinkError(f"`{' '.join(command)}` failed: {said}")
    return ended.stdout

"""Two network namespaces of this machine, joined by a link of the emulation. Needs root.

    with RelayedLink(quality) as link, open_flow(link.near, link.far) as flow:
        flow.send_paced(...)
        link.round_trips_s(50)
        link.cpu_s()

What a killed run left is removed when the next one begins, as that of `netns`.
"""

import os
import select
import socket
import subprocess
import time
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import psutil

from benchmarks.netns import PREFIX, LinkError, check_possible, remove_stale
from offload.emulation.experiment import Quality
from offload.emulation.links.link_process import LinkProcess
from offload.emulation.links.relay_messages import End, Qualities, RelaySettings, Report, ReportKind
from offload.emulation.local.network import inside
from offload.emulation.local.probe_traffic import ProbeEnd

LINK: Final = "relayed"

# A relay says something once a second, and answers within its delays; past this it never will.
_PATIENCE_S: Final = 10.0


class RelayedLink:
    """A link that runs, and its two ends.

    Args:
        quality: What it is like in both directions.
        seed: With it the same packets get lost.

    Attributes:
        quality: What it is like at first.
        near: Where its forward direction begins.
        far: Its other end.
        process: What talks to the link's process; there inside the block.
    """

    process: LinkProcess

    def __init__(self, quality: Quality, *, seed: int = 1) -> None:
        """Choose names; nothing is made yet."""
        run = f"{PREFIX}{os.getpid()}"
        self.near: Final = ProbeEnd(namespace=f"{run}-device", address="10.213.0.1")
        self.far: Final = ProbeEnd(namespace=f"{run}-cloud", address="10.213.0.2")
        first, second = (
            End(namespace=each.namespace, device=LINK) for each in (self.near, self.far)
        )
        self._settings = RelaySettings(
            link=LINK,
            seed=seed,
            ends=(first, second),
            qualities=Qualities(forward=quality, backward=quality),
        )
        self.quality: Final = quality
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        """Make the namespaces and start the link.

        Raises:
            LinkError: We are not root, iproute2 is missing, or the kernel refuses.
            EmulationError: The link does not start.
        """
        check_possible()
        remove_stale()
        with ExitStack() as undo:
            undo.callback(os.sched_setaffinity, 0, os.sched_getaffinity(0))
            for end in (self.near, self.far):
                _ip("netns", "add", end.namespace)
                undo.callback(_ip, "netns", "delete", end.namespace)
            self.process = LinkProcess(self._settings, os.environ)
            undo.callback(self.process.stop)
            self.process.wait_until_started()
            for end, other in ((self.near, self.far), (self.far, self.near)):
                _set_up(end, other)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the link and remove the namespaces."""
        self._undo.close()

    def change(self, quality: Quality) -> None:
        """Let the link be like this in both directions, and wait until it is."""
        self.process.change(Qualities(forward=quality, backward=quality))
        # One may have been on its way already, and only the last of those that come together is
        # kept.
        if self.next_report().kind is not ReportKind.CHANGED:
            self.next_report()

    def next_report(self) -> Report:
        """Wait until the link says its counters again, and return them."""
        before, give_up_s = self.process.report, time.monotonic() + _PATIENCE_S
        while (report := self.process.report) is None or report is before:
            if not select.select([self.process], (), (), give_up_s - time.monotonic())[0]:
                raise TimeoutError(f"the link said nothing for {_PATIENCE_S:g} s")
            self.process.read_reports()
        return report

    def round_trips_s(self, count: int) -> list[float]:
        """Send small packets to and fro, one at a time, and return how long each took.

        Raises:
            TimeoutError: One did not come back.
        """
        with _datagrams_at(self.near) as asking, _datagrams_at(self.far) as answering:
            asking.connect(answering.getsockname())
            took_s = []
            for _ in range(count):
                began_s = time.monotonic()
                asking.send(b"question")
                question, origin = answering.recvfrom(100)
                answering.sendto(question, origin)
                asking.recv(100)
                took_s.append(time.monotonic() - began_s)
        return took_s

    @property
    def relay(self) -> psutil.Process:
        """The link's process."""
        [child] = psutil.Process().children()
        return child

    def use_one_core(self) -> None:
        """Keep the link's process on one core, and this one, until the link stops, off it."""
        first, *others = sorted(os.sched_getaffinity(0))
        self.relay.cpu_affinity([first])
        os.sched_setaffinity(0, others or [first])

    def cpu_s(self) -> float:
        """Return the processor time that the link's process has used."""
        used = self.relay.cpu_times()
        return used.user + used.system


def _set_up(end: ProbeEnd, other: ProbeEnd) -> None:
    to_it = ("-n", end.namespace)
    _ip(*to_it, "link", "set", "lo", "up")
    _ip(*to_it, "address", "add", f"{end.address}/32", "dev", "lo")
    _ip(*to_it, "route", "add", f"{other.address}/32", "dev", LINK, "src", end.address)


def _ip(*command: str) -> None:
    # pyroute2 would do it, in a child that is a copy of this process: what a signal undoes here, it
    # would undo there as well.
    ended = subprocess.run(["ip", *command], capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise LinkError(f"`ip {' '.join(command)}` failed: {' '.join(ended.stderr.split())}")


def _datagrams_at(end: ProbeEnd) -> socket.socket:
    with inside(end.namespace):
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(_PATIENCE_S)
    made.bind((end.address, 0))
    return made

"""The network of an experiment: a namespace for each machine, and routes over the links.

    network = Network("1a2b3c", experiment)
    network.make()                  # namespaces with an address each, and nothing between them
    ...                             # `relay` makes the devices of all links
    network.join()                  # routes over them
    with inside(network.namespace("pi")):
        socket.create_connection((network.addresses["cloud"], 8089))

`topology` says which addresses and which routes.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pyroute2 import IPRoute, netns
from pyroute2.netlink.exceptions import NetlinkError

from offload.emulation.experiment import Experiment
from offload.emulation.local.entering import NAMESPACES, enter_namespace
from offload.emulation.topology import addresses, first_hops, other_end
from offload.errors import EmulationError

# All namespaces of ours begin with it; then the run, then the machine.
PREFIX: Final = "offload-emu-"

# Written where a namespace is made. Packets may come by another link than the answers go, and the
# devices have no use for IPv6; the loopback, made before, keeps it.
_SWITCHES: Final = {
    "ipv4/ip_forward": "1",
    "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0",
    "ipv6/conf/default/disable_ipv6": "1",
}


class Network:
    """The namespaces of a run.

    Args:
        run: A name of the run, of letters and digits.
        experiment: Its machines and links.

    Attributes:
        addresses: Of each machine, by its name.
    """

    def __init__(self, run: str, experiment: Experiment) -> None:
        """Choose names and addresses; nothing is made yet."""
        self._run = run
        self._links = experiment.links
        self.addresses: Final = addresses(experiment)
        self._hops = first_hops(list(self.addresses), experiment.links)

    def namespace(self, machine: str) -> str:
        """Return the name of a machine's namespace."""
        return f"{PREFIX}{self._run}-{machine}"

    def make(self) -> None:
        """Make the namespaces.

        Raises:
            EmulationError: The kernel refuses.
        """
        for machine, address in self.addresses.items():
            make_namespace(self.namespace(machine), address)

    def join(self) -> None:
        """Make the routes over all links, whose devices are there.

        Raises:
            EmulationError: The kernel refuses, or a device is missing.
        """
        for machine in self.addresses:
            try:
                self._make_routes(machine)
            except (OSError, NetlinkError, IndexError) as error:
                raise EmulationError(
                    f"machine {machine}: no routes over its links: {error}"
                ) from error

    def _make_routes(self, machine: str) -> None:
        with _kernel_of(self.namespace(machine)) as kernel:
            indexes = {
                link.name: kernel.link_lookup(ifname=link.name)[0]
                for link in self._links
                if machine in link.ends
            }
            for other, link in self._hops[machine].items():
                route = {
                    "dst": f"{self.addresses[other]}/32",
                    "oif": indexes[link.name],
                    "prefsrc": self.addresses[machine],
                }
                neighbour = other_end(link, machine)
                if other == neighbour:
                    kernel.route("add", scope="link", **route)
                else:
                    # The neighbour's address is in no network of this machine.
                    via = self.addresses[neighbour]
                    kernel.route("add", gateway=via, flags=["onlink"], **route)


def make_namespace(name: str, address: str) -> None:
    """Make a network namespace with an address and forwarding, but without links.

    Raises:
        EmulationError: The kernel refuses.
    """
    try:
        _create(name)
        with inside(name):
            for switch, value in _SWITCHES.items():
                path = Path("/proc/sys/net", switch)
                # A kernel without IPv6 has no switch for it.
                if path.exists():
                    path.write_text(value, encoding="ascii")
        with _kernel_of(name) as kernel:
            loopback = kernel.link_lookup(ifname="lo")[0]
            kernel.link("set", index=loopback, state="up")
            kernel.addr("add", index=loopback, address=address, prefixlen=32)
    except (OSError, NetlinkError) as error:
        raise EmulationError(f"network namespace {name} cannot be made: {error}") from error


def _create(name: str) -> None:
    # It forks; a signal that came then would be the child's, too, and be handled there like here.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        netns.create(name)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def _kernel_of(namespace: str) -> Iterator[IPRoute]:
    """Talk to the kernel about a namespace; pyroute2's own NetNS would fork for that."""
    with inside(namespace):
        kernel = IPRoute()
    with kernel:
        yield kernel


def remove_namespace(name: str) -> None:
    """Remove a namespace; what is still in it keeps it alive, without its name."""
    netns.remove(name)


def our_namespaces() -> list[str]:
    """Return the names of the namespaces of all runs."""
    return sorted(name for name in netns.listnetns() if name.startswith(PREFIX))


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """Let this thread be in a network namespace; sockets made there stay there.

    Raises:
        EmulationError: There is none of this name, or we are not root.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            there = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                enter_namespace(there)
            finally:
                os.close(there)
        except OSError as error:
            raise EmulationError(f"no way into network namespace {namespace}: {error}") from error
        try:
            yield
        finally:
            enter_namespace(home)
    finally:
        os.close(home)

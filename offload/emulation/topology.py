"""Which address each machine has, and over which link it reaches each other one.

    addresses(experiment)["cloud"]                      # "10.213.0.1"
    first_hops(["pi", "hub", "cloud"], links)["pi"]["cloud"].name

A machine has one address, whatever links it has. Machines without a link between them reach each
other over those in between, by as few links as possible.
"""

import ipaddress
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Final

from offload.emulation.experiment import Experiment, Link

# Private, and seldom in use; a namespace sees nothing of the machine's own network anyway.
_FIRST_ADDRESS: Final = ipaddress.IPv4Address("10.213.0.0")


def addresses(experiment: Experiment) -> Mapping[str, str]:
    """Return the address of each machine, by its name."""
    return {
        machine.name: str(_FIRST_ADDRESS + number)
        for number, machine in enumerate(experiment.machines, start=1)
    }


def other_end(link: Link, machine: str) -> str:
    """Return the machine at the other end of a link."""
    first, second = link.ends
    return second if machine == first else first


def first_hops(machines: Sequence[str], links: Sequence[Link]) -> Mapping[str, Mapping[str, Link]]:
    """Return over which link each machine reaches each other one by as few links as possible.

    Those that it cannot reach are left out; of ways of equal length it takes the link that stands
    first.
    """
    return {machine: _hops_from(machine, links) for machine in machines}


def _hops_from(machine: str, links: Sequence[Link]) -> Mapping[str, Link]:
    hops: dict[str, Link] = {}
    waiting = deque([machine])
    while waiting:
        here = waiting.popleft()
        for link in links:
            if here not in link.ends:
                continue
            there = other_end(link, here)
            if there != machine and there not in hops:
                hops[there] = hops.get(here, link)
                waiting.append(there)
    return hops

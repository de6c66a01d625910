"""Where the page is: on loopback unless somebody names another address.

place = read_place("8090")                  # or 192.0.2.7:8090, [2001:db8::7]:8090
sockets = listen(place, option="--dashboard")
urls(sockets, tls=False)                    # http://localhost:8090/, ...
"""

import argparse
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from offload.arguments import port
from offload.transport import (
    Listener,
    bound_endpoint,
    endpoint,
    listening_sockets,
    loopback_sockets,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """An address, None for loopback in both IP versions, and a port, 0 for a free one."""

    address: str | None
    port: int

    def __str__(self) -> str:
        """Return the form that `read_place` reads."""
        return str(self.port) if self.address is None else endpoint(self.address, self.port)


def read_place(text: str) -> Place:
    """Read ``PORT`` or ``ADDR:PORT``, an IPv6 address in brackets."""
    address, _, number = text.rpartition(":")
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    elif ":" in address:
        raise argparse.ArgumentTypeError(f"{text!r} needs brackets: [{address}]:{number}")
    return Place(address=address or None, port=port(number))


def listen(place: Place, *, option: str) -> list[Listener]:
    """Return listening sockets.

    Raises:
        ConfigurationError: It cannot be listened there; the message names ``option``.
    """
    if place.address is None:
        return loopback_sockets(place.port, option=option)
    return listening_sockets(place.address, place.port, option=option)


def is_loopback(sockets: Sequence[Listener]) -> bool:
    """Return whether only this machine can reach them."""
    addresses = (str(each.getsockname()[0]).partition("%")[0] for each in sockets)
    return all(ipaddress.ip_address(each).is_loopback for each in addresses)


def urls(sockets: Sequence[Listener], *, tls: bool) -> list[str]:
    """Return the addresses of the page; on loopback under the name that browsers trust."""
    scheme = "https" if tls else "http"
    if is_loopback(sockets):
        return [f"{scheme}://localhost:{sockets[0].getsockname()[1]}/"]
    return [f"{scheme}://{bound_endpoint(each)}/" for each in sockets]

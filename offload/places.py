"""Where the page and metrics are: on loopback unless somebody names another address.

place = read_place("8090")                  # or 192.0.2.7:8090, [2001:db8::7]:8090
sockets = listen(place, option="--dashboard")
urls(sockets, tls=False)                    # http://localhost:8090/, ...
"""

import argparse
import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.transport import (
    Listener,
    endpoint,
    listening_sockets,
    loopback_sockets,
    machine_name,
)

METRICS_HELP: Final = (
    "serve metrics for Prometheus on this port, of this machine alone unless ADDR is given; 0 "
    "takes a free one, which a line names; ./run setup metrics installs what it needs"
)

MAX_PORT: Final = 65535

# What browsers reach as localhost.
_LOCALHOST: Final = ("127.0.0.1", "::1")

# An IPv6 address stands in brackets, as it does in a URL.
_FORM: Final = re.compile(
    r"(?:(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:/\[\]]+)):)?(?P<port>[0-9]{1,5})"
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
    """Read ``9464``, ``0.0.0.0:9464``, ``gate.example:9464`` or ``[::]:9464``."""
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > MAX_PORT:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a port from 0 to {MAX_PORT}, or an address and one, such as "
            "0.0.0.0:9464"
        )
    return Place(address=found["v6"] or found["name"], port=int(found["port"]))


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
    address, port, *_ = sockets[0].getsockname()
    if address in _LOCALHOST:
        return [f"{scheme}://localhost:{port}/"]
    return [f"{scheme}://{reachable_endpoint(each)}/" for each in sockets]


def is_local_host(host: str, *, given: str | None = None) -> bool:
    """Return whether the ``Host`` of a request to a loopback address is one of this machine's.

    A page from elsewhere may have its own name lead here (DNS rebinding): then the browser, which
    lets the page read what it gets, says that name.

    Args:
        host: ``localhost:8090``, ``127.0.0.1`` or ``[::1]:8090``.
        given: The name or address at which the user said to listen.
    """
    name, colon, port = host.lower().rpartition(":")
    if not (colon and port.isascii() and port.isdigit()):
        name = host.lower()
    name = name.removeprefix("[").removesuffix("]")
    if name == "localhost" or (given is not None and name == given.lower()):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def reachable_endpoint(listener: Listener) -> str:
    """Return where others reach it: under this machine's name if it listens on all addresses."""
    address, port, *_ = listener.getsockname()
    if ipaddress.ip_address(address.partition("%")[0]).is_unspecified:
        return endpoint(machine_name(), port)
    return endpoint(address, port)

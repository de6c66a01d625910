"""Sockets: the device's blocking connection, and what both ends need to know of sockets.

They move bytes and know no messages; errors of the system become errors of ours here. The cloud's
connections are in ``cloud.transport``, so that a device never loads asyncio.

    first, *others = addresses("cloud.example", 8089)                   # device
    connection = connect(first, 8089, timeout_s=5.0)
    connection.send(pieces)
    count = connection.receive_into(view)

    listeners = listening_sockets(None, 8089)                           # cloud
"""

import contextlib
import errno
import socket
import struct
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Final, Protocol

from offload.errors import ConfigurationError, HostUnknown, SessionLost
from offload.wire import Piece

# One sendmsg takes at most IOV_MAX pieces, which is 1024 on Linux.
MAX_PIECES_PER_SEND: Final = 1000

# As many devices may knock at once as a thousand behind one address; Linux caps it at somaxconn.
BACKLOG: Final = 1024

# How often a port is looked for that is free for both IP versions at once.
FREE_PORT_ATTEMPTS: Final = 16

# What the kernel keeps for each device that does not read. By itself it would let that grow to some
# MiB; a device gets acknowledgements of 100 bytes or so.
CLOUD_SEND_BUFFER_BYTES: Final = 64 * 1024

# What `listening_sockets` gives; only this module imports ``socket``.
Listener = socket.socket

# The kernel's struct timeval, little-endian as all machines that we know run. Where its fields have
# 32 bits, the first 8 of these bytes say the same, as long as there are whole seconds only.
_TIMEVAL: Final = struct.Struct("<qq")


class ByteStream(Protocol):
    """What a device's session travels over: a `Connection`, or one that is encrypted."""

    @property
    def sent_bytes(self) -> int:
        """How many bytes went to the network."""

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send all pieces, in order; see `Connection.send`."""

    def send_at_once(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Send what goes without waiting, and return what is left; see `Connection`."""

    def receive_into(self, view: memoryview) -> int:
        """Wait for bytes; see `Connection.receive_into`."""

    def set_timeout(self, timeout_s: float | None) -> None:
        """Let `receive_into` wait at most so long; see `Connection.set_timeout`."""

    def close(self) -> None:
        """End the connection; a thread that waits in it gets `SessionLost`."""


class Connection:
    """A blocking connection: one thread may send while another receives."""

    def __init__(self, connected: socket.socket) -> None:
        """Take over a connected socket."""
        configure(connected)
        self._socket = connected
        self.sent_bytes = 0

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send all pieces, in order, in as few system calls as it takes; none is copied.

        Raises:
            SessionLost: The connection has ended.
        """
        while pieces:
            pieces = _after(pieces, self._send_once(pieces, 0))

    def send_at_once(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Send what the socket takes without waiting, and return what is left.

        Raises:
            SessionLost: The connection has ended.
        """
        try:
            return _after(pieces, self._send_once(pieces, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return pieces

    def _send_once(self, pieces: Sequence[Piece], flags: int) -> int:
        try:
            sent = self._socket.sendmsg(pieces[:MAX_PIECES_PER_SEND], (), flags)
        except BlockingIOError:
            raise
        except OSError as error:
            raise SessionLost(f"connection ended while sending: {_why(error)}") from error
        self.sent_bytes += sent
        return sent

    def receive_into(self, view: memoryview) -> int:
        """Wait for bytes, write them to ``view``, and return how many; at least one.

        Raises:
            SessionLost: The connection has ended.
            TimeoutError: Nothing came within the time set by `set_timeout`.
        """
        try:
            count = self._socket.recv_into(view)
        except BlockingIOError as error:
            raise TimeoutError("nothing came in time") from error
        except OSError as error:
            raise SessionLost(f"connection ended: {_why(error)}") from error
        if count == 0:
            raise SessionLost("connection ended: the server closed it")
        return count

    def set_timeout(self, timeout_s: float | None) -> None:
        """Let `receive_into` wait at most so long, in whole seconds from 1 up; None for ever.

        Raises:
            SessionLost: The connection has ended.
        """
        # The kernel's time-out, not Python's: that one costs a system call more each time, and
        # holds for sending, too.
        seconds = 0 if timeout_s is None else max(1, round(timeout_s))
        option = _TIMEVAL.pack(seconds, 0)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, option)
        except OSError as error:
            # Another thread may have closed it, as whoever sends does when that fails.
            raise SessionLost(f"connection ended: {_why(error)}") from error

    def close(self) -> None:
        """End the connection; a thread that waits in it gets `SessionLost`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def addresses(host: str, port: int) -> list[str]:
    """Return the addresses of a name, IPv6 and IPv4 in turn; of an address, itself.

    The system's order decides which of the two comes first, and the order within each. A network
    where one of the two does not work is then found out by the first attempt (RFC 8305, section 4).

    Raises:
        HostUnknown: Nobody knows the name, nobody can be asked, or it is none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise HostUnknown(f"cannot find {host}: it is no host name or address") from error
    except OSError as error:
        raise HostUnknown(f"cannot find {host}: {_why(error)}") from error
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    both: dict[socket.AddressFamily, dict[str, None]] = {}
    for family, *_, address in found:
        # An IPv6 address of this link keeps the name of its interface.
        both.setdefault(family, {})[socket.getnameinfo(address, numeric)[0]] = None
    return [each for each in chain(*zip_longest(*both.values())) if each is not None]


def connect(address: str, port: int, *, timeout_s: float) -> Connection:
    """Connect to one of a server's `addresses`.

    Raises:
        SessionLost: It did not answer; the message says why.
    """
    try:
        connected = socket.create_connection((address, port), timeout_s)
    except OSError as error:
        raise SessionLost(f"cannot reach {endpoint(address, port)}: {_why(error)}") from error
    connected.settimeout(None)
    return Connection(connected)


def configure(connected: socket.socket) -> None:
    """Let a connection send small messages at once."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def listening_sockets(
    address: str | None, port: int, *, option: str = "--port"
) -> list[socket.socket]:
    """Return listening sockets for an address, or for all interfaces in both IP versions.

    Args:
        address: IPv4 or IPv6 address or a name; None for all interfaces.
        port: Port; 0 takes one that is free on all of the addresses.
        option: What the user may change if it is taken.

    Raises:
        ConfigurationError: The port is in use, or the address is none of this machine's.
    """
    shown = f"port {port}" if address is None else endpoint(address, port)
    try:
        addresses = _all_interfaces() if address is None else _bind_addresses(address, port)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(shown, error, option=option) from error
    return _listening(addresses, port, shown=shown, option=option)


def loopback_sockets(port: int, *, option: str) -> list[socket.socket]:
    """Return listening sockets that only this machine reaches, in the IP versions that it has.

    Args:
        port: Port; 0 takes one that is free in both versions.
        option: What the user may change if it is taken.

    Raises:
        ConfigurationError: The port is in use.
    """
    addresses = [(socket.AF_INET, "127.0.0.1")]
    if _has_ipv6():
        addresses.append((socket.AF_INET6, "::1"))
    return _listening(addresses, port, shown=endpoint("localhost", port), option=option)


def _listening(
    addresses: Sequence[tuple[socket.AddressFamily, str]], port: int, *, shown: str, option: str
) -> list[socket.socket]:
    for _ in range(FREE_PORT_ATTEMPTS if port == 0 else 1):
        sockets: list[socket.socket] = []
        try:
            for family, host in addresses:
                chosen = sockets[0].getsockname()[1] if sockets and port == 0 else port
                sockets.append(_listen(family, host, chosen))
        except OSError as error:
            for each in sockets:
                each.close()
            if port == 0 and error.errno == errno.EADDRINUSE:
                continue
            raise cannot_listen(shown, error, option=option) from error
        return sockets
    raise ConfigurationError(
        f"found no port that is free for both IP versions; give {option} a number"
    )


def cannot_listen(shown: str, error: OSError | UnicodeError, *, option: str) -> ConfigurationError:
    """Return what the user is told of a place where nothing can listen, and what to do.

    Args:
        shown: The place.
        error: Why; of a name that cannot be one, a `UnicodeError`.
        option: What the user may change.
    """
    if isinstance(error, UnicodeError):
        return ConfigurationError(f"cannot listen on {shown}: it is no host name or address")
    if error.errno == errno.EADDRINUSE:
        return ConfigurationError(f"{shown} is taken by another program; choose another {option}")
    why = {
        errno.EADDRNOTAVAIL: "it is no address of this machine",
        errno.EACCES: f"permission denied; choose {option} from 1024 up",
    }.get(error.errno or 0, _why(error))
    return ConfigurationError(f"cannot listen on {shown}: {why}")


def endpoint(host: str, port: int) -> str:
    """Return ``host:port``, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bound_endpoint(listener: socket.socket) -> str:
    """Return the address and port that a listening socket has."""
    address = listener.getsockname()
    return endpoint(address[0], address[1])


def machine_name() -> str:
    """Return this machine's name in the network."""
    return socket.gethostname()


def _all_interfaces() -> list[tuple[socket.AddressFamily, str]]:
    families = [(socket.AF_INET, "0.0.0.0")]
    if _has_ipv6():
        families.append((socket.AF_INET6, "::"))
    return families


def _bind_addresses(address: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return list(dict.fromkeys((each[0], str(each[4][0])) for each in found))


def _has_ipv6() -> bool:
    if not socket.has_ipv6:
        return False
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A restarted server takes its port again at once, though old connections linger.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CLOUD_SEND_BUFFER_BYTES)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _after(pieces: Sequence[Piece], sent: int) -> Sequence[Piece]:
    """Return what is left of the pieces once their first ``sent`` bytes are gone."""
    for index, each in enumerate(pieces):
        if sent < len(each):
            return [memoryview(each)[sent:], *pieces[index + 1 :]]
        sent -= len(each)
    return []


def _why(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

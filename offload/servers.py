"""Where cloud servers are, and how they are reached: what all programs that connect have in common.

add_host_option(parser)
add_tls_options(parser)
parsed = parser.parse_args(arguments)
check_tls(parsed)
servers = read_servers("cloud,192.0.2.7", 8089)     # (Server(host="cloud", port=8089), ...)
secure = security(options)
connection = secure(connect(address, port, timeout_s=5.0), host)
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offload.arguments import path
from offload.errors import ConfigurationError
from offload.transport import ByteStream, Connection

# Encrypts a connection to a host, or leaves it as it is.
Secure = Callable[[Connection, str], ByteStream]


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a cloud server listens."""

    host: str
    port: int


def leave_plain(connection: Connection, host: str) -> ByteStream:  # noqa: ARG001  # see `Secure`
    """Return the connection as it is."""
    return connection


def add_host_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where servers are."""
    parser.add_argument(
        "--host",
        metavar="H",
        help="cloud address or name; a comma list is tried in order (env HOST)",
    )


def add_tls_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a connection is encrypted."""
    add = parser.add_argument
    add("--tls", action="store_true", default=None, help="encrypt with TLS 1.3")
    add("--tls-ca", type=path, metavar="F", help="authorities to trust (default: the system's)")
    add("--tls-cert", type=path, metavar="F", help="this end's certificate, if it is asked for")
    add("--tls-key", type=path, metavar="F", help="the certificate's private key")


def check_tls(parsed: argparse.Namespace) -> None:
    """Refuse options that mean nothing without ``--tls``.

    Raises:
        ConfigurationError: One of them was given.
    """
    if not parsed.tls:
        for name in ("tls_ca", "tls_cert", "tls_key"):
            if getattr(parsed, name) is not None:
                raise ConfigurationError(f"--{name.replace('_', '-')} goes with --tls")


class TlsOptions(Protocol):
    """What the user said about TLS."""

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""

    @property
    def tls_ca(self) -> Path | None:
        """Authorities to trust; None for the system's."""

    @property
    def tls_cert(self) -> Path | None:
        """This end's certificate."""

    @property
    def tls_key(self) -> Path | None:
        """Its private key."""


def security(options: TlsOptions) -> Secure:
    """Return what encrypts connections, if the user wants that.

    Raises:
        ConfigurationError: A file cannot be used.
    """
    if not options.tls:
        return leave_plain
    # Here, because it loads OpenSSL's TLS, 5 MB that a program without it does without.
    from offload.tls import device_context, secure

    context = device_context(options.tls_ca, options.tls_cert, options.tls_key)
    return lambda connection, host: secure(connection, context, host)


def read_servers(hosts: str, port: int) -> tuple[Server, ...]:
    """Return the servers of a comma list, at least one.

    Raises:
        ConfigurationError: The list, an entry of it or the port is none.
    """
    if not hosts.strip():
        raise ConfigurationError("no cloud address: give --host or set HOST")
    if port == 0:
        raise ConfigurationError("port is 0: give --port or set PORT to the port of the server")
    return tuple(Server(host=_host(each.strip(), hosts), port=port) for each in hosts.split(","))


def _host(text: str, hosts: str) -> str:
    """Return an address or a name; an IPv6 address may stand in brackets, as in a URL."""
    if not text:
        raise ConfigurationError(f"host list {hosts!r} has an empty entry: take out a comma")
    if "/" in text:
        raise ConfigurationError(f"host {text!r} is a URL, expected an address or a name")
    if " " in text:
        raise ConfigurationError(f"host {text!r} has a space: put commas between addresses")
    inside = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    # One colon is before a port; an IPv6 address has two at least.
    if inside.count(":") == 1 or "[" in inside or "]" in inside:
        raise ConfigurationError(
            f"host {text!r} is not an address or a name: give the port by --port or PORT"
        )
    try:
        # As whoever looks the name up does.
        inside.encode("idna")
    except UnicodeError as error:
        raise ConfigurationError(
            f"host {text!r} is not an address or a name: between dots are 1 to 63 characters"
        ) from error
    return inside

"""Certificates for TLS that are signed by a CA of the user's own, made by the openssl command.

    made = make_certificates(Path("certificates"), hosts=["cloud.example", "192.0.2.7"])

The server takes ``made.server`` and ``made.server_key``; a device takes ``made.ca`` to verify it.
With ``made.ca`` as its client CA the server lets in only who has ``made.device`` and its key.
TLS itself, and telling the user, are left to the callers.
"""

import ipaddress
import os
import re
import secrets
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from offload.errors import ConfigurationError

# The longest that browsers and phones take from a private CA, in case one of them looks on. A
# stolen key is of no use after it.
LEAF_DAYS: Final = 825
# All devices must get a new CA by hand, so it should outlive them.
CA_DAYS: Final = 3650

# Making a key takes milliseconds; this ends an openssl that waits for something.
OPENSSL_TIMEOUT_S: Final = 60.0

_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# A number at the end means an address, here a mistyped one: 192.0.2.256.
_HOST_NAME: Final = re.compile(rf"(?!(.*\.)?\d+$)(\*\.)?{_LABEL}(\.{_LABEL})*", re.IGNORECASE)
_MAX_HOST_NAME_CHARACTERS: Final = 253

# A leaf's use is fixed, so that no device's certificate passes for the server's, nor the other way.
_CONFIGURATION: Final = """
[req]
distinguished_name = subject
[subject]
[ca]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
[device]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """The files that were made, all PEM; keys are readable by their owner alone."""

    ca: Path
    ca_key: Path
    server: Path
    server_key: Path
    device: Path
    device_key: Path


def default_hosts() -> list[str]:
    """Return this machine's own names and addresses, as far as they need no network to find."""
    own = os.uname().nodename
    names = [own] if _HOST_NAME.fullmatch(own) and own != "localhost" else []
    return [*names, "localhost", "127.0.0.1", "::1"]


def make_certificates(folder: Path, *, hosts: Sequence[str]) -> Certificates:
    """Make a CA, a server's and a device's certificate with their keys: all of them, or none.

    Args:
        folder: Where to; it is made if it is missing, for its owner alone.
        hosts: The names and addresses under which devices reach the server, at least one.

    Raises:
        ConfigurationError: A host is none, a file of these names is there already, the folder
            cannot be written, or the openssl command is missing or fails.
    """
    names = ", ".join(map(_alternative_name, hosts))
    if not names:
        raise ConfigurationError("no host for the server's certificate, expected at least one")
    made = _certificates(folder)
    try:
        with ExitStack() as undo:
            if _make_folder(folder):
                undo.callback(folder.rmdir)
            for file in _files(made):
                if os.path.lexists(file):
                    raise _taken(file)
            # Inside, so that a key never lies outside of the folder that the user chose.
            with TemporaryDirectory(prefix=".new-", dir=folder) as temporary:
                _build(Path(temporary), names)
                _place(_certificates(Path(temporary)), made)
            undo.pop_all()
    except OSError as error:
        raise ConfigurationError(
            f"cannot make certificates in {folder}: {error.strerror}"
        ) from error
    return made


def _certificates(folder: Path) -> Certificates:
    return Certificates(
        ca=folder / "ca.pem",
        ca_key=folder / "ca.key",
        server=folder / "server.pem",
        server_key=folder / "server.key",
        device=folder / "device.pem",
        device_key=folder / "device.key",
    )


def _files(certificates: Certificates) -> list[Path]:
    return [getattr(certificates, each.name) for each in fields(certificates)]


def _alternative_name(host: str) -> str:
    # What openssl reads has a syntax of its own, so nothing gets into it but names and addresses.
    try:
        # An address with a zone is good on one machine only, so no certificate can have it.
        if "%" not in host:
            return f"IP:{ipaddress.ip_address(host)}"
    except ValueError:
        if len(host) <= _MAX_HOST_NAME_CHARACTERS and _HOST_NAME.fullmatch(host):
            return f"DNS:{host}"
    raise ConfigurationError(f"host {host!r} is neither a name nor an address, as in cloud.example")


def _make_folder(folder: Path) -> bool:
    """Make the folder; False if there is one."""
    try:
        folder.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        return False
    return True


def _taken(file: Path) -> ConfigurationError:
    return ConfigurationError(f"{file} exists already, expected a new or another folder")


def _build(folder: Path, names: str) -> None:
    (folder / "configuration").write_text(_CONFIGURATION.format(names=names), encoding="ascii")
    made = _certificates(folder)
    # Two CAs of one name would be taken for each other by whoever knows only one of them.
    authority = f"task-offload CA {secrets.token_hex(4)}"
    as_ca = ("-x509", "-sha256", "-days", str(CA_DAYS), "-extensions", "ca")
    _request(authority, made.ca_key, made.ca, *as_ca)
    for role, key, certificate in (
        ("server", made.server_key, made.server),
        ("device", made.device_key, made.device),
    ):
        request = folder / f"{role}.request"
        _request(f"task-offload {role}", key, request)
        _sign(made, role, request, certificate)
    for key in (made.ca_key, made.server_key, made.device_key):
        key.chmod(0o600)


def _request(subject: str, key: Path, out: Path, *options: str) -> None:
    """Make a key, and a request for a certificate; or with ``-x509`` the certificate itself."""
    # P-256 is what every TLS library has, and takes a small device a millisecond or two.
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    files = ("-config", "configuration", "-keyout", key.name, "-out", out.name)
    _openssl(key.parent, "req", "-new", *kind, "-subj", f"/CN={subject}", *files, *options)


def _sign(made: Certificates, role: str, request: Path, out: Path) -> None:
    # Random, as the rules for public CAs want it; the first bit is 0, which makes it positive.
    serial = ("-set_serial", f"0x{secrets.randbits(127):x}", "-days", str(LEAF_DAYS), "-sha256")
    files = ("-in", request.name, "-out", out.name)
    authority = ("-CA", made.ca.name, "-CAkey", made.ca_key.name)
    extensions = ("-extfile", "configuration", "-extensions", role)
    _openssl(request.parent, "x509", "-req", *files, *authority, *serial, *extensions)


def _openssl(folder: Path, *arguments: str) -> None:
    try:
        ended = subprocess.run(
            ["openssl", *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=OPENSSL_TIMEOUT_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise ConfigurationError(
            "making certificates needs the openssl command: sudo apt-get install openssl"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ConfigurationError(
            f"openssl {arguments[0]} did not end within {OPENSSL_TIMEOUT_S:.0f} s"
        ) from error
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise ConfigurationError(
            f"openssl {arguments[0]} ended with {ended.returncode} and said: {said[0]}"
        )


def _place(built: Certificates, made: Certificates) -> None:
    """Give the files their names, unless one is taken: a link, unlike a renaming, replaces none."""
    with ExitStack() as undo:
        for source, file in zip(_files(built), _files(made), strict=True):
            try:
                os.link(source, file)
            except FileExistsError as error:
                raise _taken(file) from error
            undo.callback(file.unlink)
        undo.pop_all()

"""TLS 1.3 for both ends: from the files that a user names to a context, and to a connection.

    context = device_context(ca=Path("ca.pem"))                                        # device
    connection = secure(connect(host, port, timeout_s=5.0), context, host)

    context = server_context(Path("server.pem"), Path("server.key"), on_refused=note)  # cloud
    await loop.create_server(protocol, sock=listener, ssl=context, ssl_handshake_timeout=5.0)

Whoever imports this loads OpenSSL's TLS, about 5 MB; without TLS, programs do without it.
"""

import logging
import shlex
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError
from offload.messages import Refusal, RefusalCode
from offload.tls.connection import (
    TlsConnection,
    is_about_certificate,
    is_about_dates,
    is_no_tls,
    words,
)
from offload.transport import Connection
from offload.wire import encode

logger = logging.getLogger(__name__)

# A handshake is two round trips and a few KiB. A peer that trickles it is not waited for longer.
HANDSHAKE_TIMEOUT_S: Final = 5.0

# OpenSSL's names for a certificate and a key that do not fit; of other kinds, and of the same.
_OTHER_KEY: Final = ("NO_CERTIFICATE_ASSIGNED", "KEY_TYPE_MISMATCH", "KEY_VALUES_MISMATCH")

# What a device without TLS can read.
_ANSWER_WITHOUT_TLS: Final = b"".join(
    encode(Refusal(code=RefusalCode.PROTOCOL, reason="this server speaks TLS: give --tls"))
)


def device_context(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None
) -> ssl.SSLContext:
    """Return what a device needs for TLS 1.3; servers prove their names, always.

    Args:
        ca: Whose certificates are accepted, PEM; None for the authorities that the system trusts.
        certificate: The device's own, PEM, for a server that asks for one.
        key: The certificate's private key, PEM without a password.

    Raises:
        ConfigurationError: A file cannot be read or used, or ``certificate`` has no ``key``.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ca is None:
        context.load_default_certs()
    else:
        _load_authorities(context, "--tls-ca", ca)
    if certificate is not None and key is not None:
        _load_own(context, certificate, key)
    elif certificate is not None:
        raise ConfigurationError(f"--tls-cert {certificate}: needs its private key: give --tls-key")
    elif key is not None:
        raise ConfigurationError(f"--tls-key {key}: needs its certificate: give --tls-cert")
    return context


def server_context(
    certificate: Path,
    key: Path,
    client_ca: Path | None = None,
    *,
    on_refused: Callable[[str], None],
) -> ssl.SSLContext:
    """Return what asyncio's server needs for TLS 1.3.

    Args:
        certificate: The server's own and those between it and its authority, PEM.
        key: The certificate's private key, PEM without a password.
        client_ca: Whose certificates devices must have, PEM; None asks for none.
        on_refused: Called with the reason when a peer's handshake fails; asyncio says nothing.

    Raises:
        ConfigurationError: A file cannot be read or used.
    """
    context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.on_refused = on_refused
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # No device resumes a TLS session, so none needs a ticket for it.
    context.num_tickets = 0
    _load_own(context, certificate, key)
    if client_ca is not None:
        _load_authorities(context, "--tls-client-ca", client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def page_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return what a web page needs for TLS 1.3, with the certificate that devices are shown.

    Browsers are asked for none, whatever devices are: they have their token.

    Raises:
        ConfigurationError: A file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load_own(context, certificate, key)
    return context


def secure(
    connection: Connection,
    context: ssl.SSLContext,
    host: str,
    *,
    timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> TlsConnection:
    """Shake hands over a new connection, and return the one that takes its place.

    After an error the caller closes ``connection``.

    Args:
        connection: A connection to ``host``; each wait is as long as its time-out allows.
        context: What `device_context` returned.
        host: Name or address that the server's certificate must have.
        timeout_s: How long the handshake may take as a whole.

    Raises:
        AuthError: The server's certificate is not accepted.
        HandshakeError: The server does not speak TLS 1.3.
        SessionLost: The connection has ended.
        TimeoutError: The handshake is not complete in time.
    """
    secured = TlsConnection(connection, context, host)
    secured.shake_hands(timeout_s=timeout_s)
    return secured


class _ServerObject(ssl.SSLObject):
    """The server's end of one connection, which says why it refuses; asyncio by itself does not.

    asyncio sends what there is before it waits for more. So a failure looks at first like a wait,
    and ends the connection when more comes, when the peer hangs up, or when asyncio's time is up.
    """

    outgoing: ssl.MemoryBIO
    on_refused: Callable[[str], None]
    _failure: ssl.SSLError | None = None

    def do_handshake(self) -> None:
        """Advance the handshake; asyncio calls it until it raises nothing."""
        if self._failure is not None:
            raise self._failure
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            # Its traceback holds this object, and all that asyncio was about.
            self._failure = error.with_traceback(None)
            if is_no_tls(error):
                self.outgoing.write(_ANSWER_WITHOUT_TLS)
                self.on_refused("peer does not speak TLS")
            else:
                self.on_refused(_refusal(error))
            raise ssl.SSLWantReadError from error


class _ServerContext(ssl.SSLContext):
    sslobject_class = _ServerObject
    on_refused: Callable[[str], None]

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Return OpenSSL's object for a new connection; asyncio calls it."""
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, _ServerObject)
        made.outgoing, made.on_refused = outgoing, self.on_refused
        return made


def _refusal(error: ssl.SSLError) -> str:
    """Return why a device's handshake failed, and what can be done about it."""
    found = words(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = (
            "give the device a new one, or set this machine's clock"
            if is_about_dates(error)
            else "give it one that --tls-client-ca has signed for a client, or another "
            "--tls-client-ca here"
        )
        return f"device's certificate is not accepted: {found}: {advice}"
    if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return (
            "device has no certificate: give it --tls-cert and --tls-key, as --tls-client-ca asks"
        )
    if is_about_certificate(error):
        advice = (
            "renew --tls-cert, or set the device's clock"
            if is_about_dates(error)
            else "--tls-cert must have the name that devices connect to, and be signed by their "
            "--tls-ca"
        )
        return f"device does not accept this server's certificate ({found}): {advice}"
    return f"TLS handshake failed: {found}"


def _load_authorities(context: ssl.SSLContext, option: str, path: Path) -> None:
    _check_readable(option, path)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise ConfigurationError(f"{option} {path}: is no certificate in PEM form") from error


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _check_readable("--tls-cert", certificate)
    _check_readable("--tls-key", key)
    # A context of its own, for OpenSSL does not say which of the two files it means.
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "--tls-cert", certificate)

    # Without it OpenSSL asks on the terminal.
    def refuse_password() -> str:
        raise ConfigurationError(f"--tls-key {key}: is encrypted, expected a key without password")

    try:
        context.load_cert_chain(certificate, key, refuse_password)
    except ssl.SSLError as error:
        if error.reason in _OTHER_KEY:
            reason = f"--tls-key {key}: is not the key of --tls-cert {certificate}"
        elif error.reason is None:
            reason = f"--tls-key {key}: is no private key in PEM form"
        else:
            reason = f"--tls-cert {certificate}: cannot be used: {words(error)}"
        raise ConfigurationError(reason) from error
    _warn_of_readable(key)


def _warn_of_readable(key: Path) -> None:
    """Say it if any user of this machine can read a private key."""
    # Not refused: a group that may read keys, or a folder that keeps others out, is common.
    if key.stat().st_mode & stat.S_IROTH:
        why = "every user of this machine may read this private key"
        to_do = f"chmod 600 {shlex.quote(str(key))}"
        logger.warning("key_is_readable", extra={"why": f"{why}: {to_do}"})


def _check_readable(option: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(f"{option} {path}: {str(error.strerror).lower()}") from error

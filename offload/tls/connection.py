"""A device's connection under TLS: what `transport.Connection` does, encrypted.

Two threads on one OpenSSL object corrupt a connection. So OpenSSL works on memory here, under a
lock that no thread holds while it waits for the network, and only ciphertext meets the socket.

    connection = TlsConnection(connect(host, port, timeout_s=5.0), context, host)
    connection.shake_hands(timeout_s=5.0)
    connection.send(pieces)
"""

import contextlib
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, cast

from offload.errors import AuthError, HandshakeError, OffloadError, SessionLost
from offload.transport import Connection
from offload.wire import Piece

# So much is encrypted before it is sent, and received before it is decrypted. A connection takes a
# few times as much memory, all of it stays in the processor's cache, and the other thread waits
# for the lock no longer than this takes: some milliseconds where a processor knows no AES.
CHUNK_BYTES: Final = 128 * 1024

# What TLS puts into one record at most. Smaller pieces travel together, since each record costs
# 22 bytes and a call; larger ones are not copied for it.
RECORD_BYTES: Final = 16 * 1024

# Returned for plaintext of which all is encrypted and not all is sent.
_ONLY_CIPHERTEXT: Final[Sequence[Piece]] = (b"",)

# OpenSSL's numbers for why a certificate is not accepted: name, address; not yet valid, expired.
_WRONG_NAMES: Final = (62, 64)
_WRONG_DATES: Final = (9, 10)

# OpenSSL's names for bytes that are no TLS; the last one is what OpenSSL 3.2 and later say of all.
_NO_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE")

# For TLS that is too old, and for alerts about a certificate that do not say so.
_OLD_TLS: Final = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION")
_NOT_ACCEPTED: Final = ("UNKNOWN_CA", "ACCESS_DENIED", "DECRYPT_ERROR")


class TlsConnection:
    """A `Connection` that is encrypted: one thread may send while another receives.

    Args:
        connection: Carries the ciphertext, and is closed with this one.
        context: What `device_context` returned.
        host: Name or address that the server's certificate must have.
    """

    def __init__(self, connection: Connection, context: ssl.SSLContext, host: str) -> None:
        """Prepare; nothing is sent before `shake_hands`."""
        self._connection = connection
        # Guards the three below. It is never held across a socket call.
        self._lock = threading.Lock()
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._received = memoryview(bytearray(CHUNK_BYTES))
        # The receiver's: why there is no more to read.
        self._ending: ssl.SSLError | None = None
        # The sender's: ciphertext that the socket has not taken yet.
        self._unsent: Sequence[Piece] = ()
        self._is_sending = False

    @property
    def sent_bytes(self) -> int:
        """Bytes on the wire, ciphertext."""
        return self._connection.sent_bytes

    def shake_hands(self, *, timeout_s: float) -> None:
        """Agree on keys with the server, and verify who it is.

        Args:
            timeout_s: How long it may take as a whole.

        Raises:
            AuthError: The server's certificate is not accepted.
            HandshakeError: The server does not speak TLS 1.3.
            SessionLost: The connection has ended.
            TimeoutError: The handshake is not complete in time.
        """
        deadline = time.monotonic() + timeout_s
        while not self._advance_handshake():
            self._receive()
            if time.monotonic() > deadline:
                raise TimeoutError(f"TLS handshake took longer than {timeout_s:g} s")

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send all pieces, in order, and before them what `send_at_once` has kept.

        Raises:
            SessionLost: The connection has ended.
        """
        self._is_sending = True
        try:
            unsent, self._unsent = self._unsent, ()
            self._connection.send(unsent)
            while pieces:
                ciphertext, pieces = self._encrypt(pieces)
                self._connection.send(ciphertext)
        finally:
            self._is_sending = False

    def send_at_once(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """Send what the socket takes without waiting, and return what is left.

        What is left is not empty as long as ciphertext waits, which this connection keeps: the next
        call of `send` or of this method must be for what is left.

        Raises:
            SessionLost: The connection has ended.
        """
        self._is_sending = True
        try:
            if self._unsent:
                self._unsent = self._connection.send_at_once(self._unsent)
            while pieces and not self._unsent:
                ciphertext, pieces = self._encrypt(pieces)
                self._unsent = self._connection.send_at_once(ciphertext)
        finally:
            self._is_sending = False
        return pieces or (_ONLY_CIPHERTEXT if self._unsent else ())

    def receive_into(self, view: memoryview) -> int:
        """Wait for bytes, write them to ``view``, and return how many; at least one.

        Raises:
            AuthError: The server asks for a certificate of the device, or does not accept it.
            SessionLost: The connection has ended, or was cut off.
            TimeoutError: Nothing came within the time set by `set_timeout`.
        """
        while not (count := self._decrypt(view)):
            self._receive()
        return count

    def set_timeout(self, timeout_s: float | None) -> None:
        """Let `receive_into` wait at most so long for ciphertext; None for ever."""
        self._connection.set_timeout(timeout_s)

    def close(self) -> None:
        """End the connection; a thread that waits in it gets `SessionLost`."""
        with contextlib.suppress(SessionLost):
            self._say_goodbye()
        self._connection.close()

    def _advance_handshake(self) -> bool:
        """Send what is the device's turn to say, and return whether the handshake is complete."""
        complete = True
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            complete = False
        except ssl.SSLError as error:
            # OpenSSL has put an alert there, from which the server learns why.
            with contextlib.suppress(SessionLost):
                self._connection.send_at_once([self._outgoing.read()])
            raise _handshake_failure(error) from error
        if self._outgoing.pending:
            self._connection.send([self._outgoing.read()])
        return complete

    def _receive(self) -> None:
        count = self._connection.receive_into(self._received)
        with self._lock:
            self._incoming.write(self._received[:count])

    def _decrypt(self, view: memoryview) -> int:
        """Write to ``view`` what has come, and return how many bytes."""
        count = 0
        with self._lock:
            try:
                while count < len(view) and self._ending is None:
                    # With a place to write to, it returns a count.
                    read = cast("int", self._tls.read(len(view) - count, view[count:]))
                    if read:
                        count += read
                    else:
                        self._ending = ssl.SSLZeroReturnError()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                self._ending = error
        if count == 0 and self._ending is not None:
            raise _read_failure(self._ending) from self._ending
        return count

    def _encrypt(self, pieces: Sequence[Piece]) -> tuple[Sequence[Piece], Sequence[Piece]]:
        """Return the ciphertext of the first pieces, and the pieces that are left."""
        chunk, rest = _first(pieces, CHUNK_BYTES)
        try:
            with self._lock:
                for each in _records(chunk):
                    plain = memoryview(each)
                    while plain:
                        plain = plain[self._tls.write(plain) :]
                # Among it is what OpenSSL had to say while it was reading, such as the answer to
                # new keys: who receives never sends, and what follows it is encrypted after it.
                return (self._outgoing.read(),), rest
        except ssl.SSLError as error:
            raise SessionLost(f"connection ended while sending: {words(error)}") from error

    def _say_goodbye(self) -> None:
        """Tell the server that nothing was cut off, unless a thread is in the middle of sending."""
        with self._lock:
            if self._is_sending or self._unsent:
                return
            # It wants to read the server's goodbye, too, for which nobody waits.
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            goodbye = self._outgoing.read()
        self._connection.send_at_once([goodbye])


def is_no_tls(error: ssl.SSLError) -> bool:
    """Return whether a handshake failed because the peer does not speak TLS."""
    return error.reason in _NO_TLS


def is_about_certificate(error: ssl.SSLError) -> bool:
    """Return whether the peer said that it does not accept this end's certificate."""
    reason = error.reason or ""
    return "ALERT" in reason and ("CERTIFICATE" in reason or reason.endswith(_NOT_ACCEPTED))


def is_about_dates(error: ssl.SSLError) -> bool:
    """Return whether a certificate was not accepted since it is too old, or not yet valid."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_code in _WRONG_DATES
    return (error.reason or "").endswith("CERTIFICATE_EXPIRED")


def words(error: ssl.SSLError) -> str:
    """Return OpenSSL's reason as words of a sentence."""
    if isinstance(error, ssl.SSLCertVerificationError):
        found = error.verify_message.rstrip(".")
        return found[:1].lower() + found[1:]
    return (error.reason or str(error)).lower().replace("_", " ")


def _handshake_failure(error: ssl.SSLError) -> OffloadError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthError(f"server's certificate is not accepted: {words(error)}: {_advice(error)}")
    if is_no_tls(error):
        return HandshakeError(
            "server does not speak TLS: leave --tls out, or give the server --tls-cert"
        )
    if error.reason in _OLD_TLS:
        return HandshakeError("server does not speak TLS 1.3: upgrade it")
    return SessionLost(f"connection ended: TLS handshake failed: {words(error)}")


def _advice(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _WRONG_NAMES:
        return "connect to a name that it has, or give the server one for this name"
    if is_about_dates(error):
        return "renew it, or set this machine's clock"
    return "give the authority that signed it with --tls-ca"


def _read_failure(error: ssl.SSLError) -> OffloadError:
    if isinstance(error, ssl.SSLZeroReturnError):
        return SessionLost("connection ended: the server closed it")
    # In TLS 1.3 the device has finished its handshake before the server looks at its certificate.
    reason = error.reason or ""
    if reason.endswith("ALERT_CERTIFICATE_REQUIRED"):
        return AuthError("server asks for a certificate: give --tls-cert and --tls-key")
    if is_about_certificate(error):
        advice = (
            "renew it, or set the server's clock"
            if is_about_dates(error)
            else "give --tls-cert and --tls-key that its --tls-client-ca has signed"
        )
        return AuthError(
            f"server does not accept this device's certificate ({words(error)}): {advice}"
        )
    return SessionLost(f"connection ended: TLS failed: {words(error)}")


def _first(pieces: Sequence[Piece], count: int) -> tuple[Sequence[Piece], Sequence[Piece]]:
    """Cut the pieces into their first ``count`` bytes, or all of them, and what is left."""
    for index, each in enumerate(pieces):
        if len(each) > count:
            view = memoryview(each)
            return [*pieces[:index], view[:count]], [view[count:], *pieces[index + 1 :]]
        count -= len(each)
    return pieces, ()


def _records(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """Yield the pieces, with neighbours that are small joined."""
    for small, run in groupby(pieces, key=lambda each: len(each) < RECORD_BYTES):
        if small:
            yield b"".join(run)
        else:
            yield from run

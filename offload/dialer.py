"""Find a server that welcomes a stream: connect, shake hands, and try the next one if that fails.

dialer = Dialer(servers=(Server(host="cloud", port=8089),), token=token, retry_for_s=None)
line = dialer.dial(opening)
line.connection, line.session, line.events
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from offload.auth import Token, new_nonce
from offload.errors import ServerUnavailable, SessionLost
from offload.messages import Open
from offload.session import DeviceSession, Event
from offload.transport import ByteStream, Connection, connect

logger = logging.getLogger(__name__)

# One address gets so long to answer a connection, and then its handshake; a sleeping radio link
# needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# Waits between attempts are drawn from 0 to a bound that doubles ("full jitter"), so that a
# thousand devices do not come back in step with each other when their server does.
FIRST_RETRY_BOUND_S: Final = 0.2
LAST_RETRY_BOUND_S: Final = 5.0

# How long the first session is tried for, unless the user says otherwise (contract, section 2).
FIRST_RETRY_FOR_S: Final = 30.0

# Encrypts a connection to a host, or leaves it as it is.
Secure = Callable[[Connection, str], ByteStream]


def leave_plain(connection: Connection, host: str) -> ByteStream:  # noqa: ARG001  # see `Secure`
    """Return the connection as it is."""
    return connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where a cloud server listens."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An open session: ``events`` came with its welcome, which is the first of them."""

    connection: ByteStream
    session: DeviceSession
    events: list[Event]


class Dialer:
    """Opens sessions, one after the other, for one stream.

    Args:
        servers: Where to connect. Each is tried in turn, all addresses of its name; after a lost
            session the same one comes first.
        token: The device's token, or None.
        retry_for_s: How long to keep trying; None: 30 s for the first session, then for ever.
        secure: Encrypts connections.
    """

    def __init__(
        self,
        *,
        servers: Sequence[Server],
        token: Token | None,
        retry_for_s: float | None,
        secure: Secure = leave_plain,
    ) -> None:
        """Prepare; nothing is connected yet."""
        self._servers = servers
        self._token = token
        self._retry_for_s = retry_for_s
        self._secure = secure
        self._index = 0
        self._has_been_welcome = False
        self._closing = threading.Event()
        self._connecting: ByteStream | None = None

    def dial(self, opening: Open) -> Line:
        """Try the servers in turn, with growing pauses, until one welcomes the stream.

        Raises:
            ServerUnavailable: None did for as long as it may take, or this was closed.
            AuthError: A server refused the token or the certificate, or could not prove itself.
            HandshakeError: The two ends do not fit.
        """
        began_s = time.monotonic()
        limit_s = self._retry_for_s
        if limit_s is None and not self._has_been_welcome:
            limit_s = FIRST_RETRY_FOR_S
        bound_s = FIRST_RETRY_BOUND_S
        said = False
        while True:
            try:
                line = self._shake_hands(self._servers[self._index], opening)
            except SessionLost as error:
                self.try_next()
                waited_s = time.monotonic() - began_s
                if self._closing.is_set() or (limit_s is not None and waited_s >= limit_s):
                    raise ServerUnavailable(
                        f"{error}; tried for {waited_s:.0f} s: is the server running?"
                    ) from error
                if not said:
                    logger.warning("server_unavailable", extra={"reason": str(error)})
                    said = True
            else:
                self._has_been_welcome = True
                return line
            self.pause(bound_s)
            bound_s = min(2 * bound_s, LAST_RETRY_BOUND_S)

    def try_next(self) -> None:
        """Begin with the next server."""
        self._index = (self._index + 1) % len(self._servers)

    def pause(self, bound_s: float) -> None:
        """Wait for a random time up to ``bound_s``, or until this is closed."""
        self._closing.wait(random.uniform(0, bound_s))

    def close(self) -> None:
        """End an attempt that is under way, and make no more."""
        self._closing.set()
        connection = self._connecting
        if connection is not None:
            connection.close()

    def _shake_hands(self, server: Server, opening: Open) -> Line:
        by_s = time.monotonic() + CONNECT_TIMEOUT_S
        connection: ByteStream
        plain = connect(server.host, server.port, timeout_s=CONNECT_TIMEOUT_S)
        self._connecting = connection = plain
        try:
            if self._closing.is_set():
                raise SessionLost("the stream was closed while it was connecting")
            plain.set_timeout(CONNECT_TIMEOUT_S)
            connection = self._secure(plain, server.host)
            session = DeviceSession(opening=opening, token=self._token, nonce=new_nonce())
            events: list[Event] = []
            while not events:
                connection.send(session.take_outgoing())
                events += session.received(connection.receive_into(session.buffer()))
                if time.monotonic() > by_s:
                    raise TimeoutError("the handshake takes too long")
        except TimeoutError as error:
            connection.close()
            raise SessionLost(
                f"{server.host} did not answer within {CONNECT_TIMEOUT_S:.0f} s"
            ) from error
        except BaseException:
            connection.close()
            raise
        finally:
            self._connecting = None
        return Line(connection=connection, session=session, events=events)

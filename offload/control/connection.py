"""An operator's connection to a server: it asks, and waits for the answer.

    connection = connect_operator(servers, token=token, secure=leave_plain)
    with closing(connection):
        streams = connection.ask(OperatorRequest(change=SetTarget(fps=25.0)))

The server that answers first, in the order of the list, is the one that is asked.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Final

from offload.auth import Token, new_nonce
from offload.errors import (
    AuthError,
    OffloadError,
    RemoteProtocolError,
    ServerUnavailable,
    SessionLost,
    SteeringError,
)
from offload.messages import OperatorRequest, Steered, StreamSteering
from offload.servers import Secure, Server
from offload.session import SILENCE_S, STEERING_S, TICK_S, OperatorSession
from offload.transport import ByteStream, Connection, addresses, connect

# As long as a device gives a server to take a connection, and to say who it is.
CONNECT_TIMEOUT_S: Final = 5.0

# So many are tried of one name. Who answers for it may give any number.
MAX_ADDRESSES: Final = 8

# More clients than this no server has, and they take some dozens of megabytes.
MAX_STREAMS: Final = 100_000

# The server gives devices `STEERING_S`; the next part of its answer may take as long again.
ANSWER_TIMEOUT_S: Final = 2 * STEERING_S


class OperatorConnection:
    """A session that is ready to be asked; the first question has to come within 5 s.

    Args:
        connection: What it travels over.
        session: The session on it, after the handshake.
    """

    def __init__(self, connection: ByteStream, session: OperatorSession) -> None:
        """Take both over."""
        self._connection = connection
        self._session = session

    def ask(self, request: OperatorRequest) -> list[StreamSteering]:
        """Send a request and return what came of it, for each stream that it is about.

        Raises:
            SteeringError: The server cannot do it: there is no such stream, for example.
            AuthError: The server refused the token.
            HandshakeError: The server speaks another protocol.
            RemoteProtocolError: The server broke the protocol.
            SessionLost: The server has gone, is full, or does not answer.
        """
        self._session.ask(request)
        streams: list[StreamSteering] = []
        for part in self._parts():
            if part.error is not None:
                raise SteeringError(part.error)
            streams += part.streams
            if len(streams) > MAX_STREAMS:
                raise RemoteProtocolError(f"server lists more than {MAX_STREAMS} streams")
            if not part.more:
                break
        return streams

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _parts(self) -> Iterator[Steered]:
        """Yield the parts of an answer as they come, and show the server that this end lives."""
        waiting_since_s = heard_s = beat_s = time.monotonic()
        self._connection.set_timeout(TICK_S)
        while True:
            self._connection.send(self._session.take_outgoing())
            count = _receive(self._connection, self._session)
            now = time.monotonic()
            if count:
                heard_s = now
                for part in self._session.received(count):
                    waiting_since_s = now
                    yield part
            if now - heard_s >= SILENCE_S or now - waiting_since_s >= ANSWER_TIMEOUT_S:
                raise SessionLost(f"server did not answer within {now - waiting_since_s:.0f} s")
            if now - beat_s >= TICK_S:
                beat_s = now
                self._session.send_heartbeat()


def connect_operator(
    servers: Sequence[Server], *, token: Token, secure: Secure
) -> OperatorConnection:
    """Connect to the first server that can be reached, at whichever of its addresses.

    Raises:
        ServerUnavailable: None can.
        AuthError: It does not know the token, or its certificate is not accepted.
        HandshakeError: It does not speak TLS, or not this protocol.
        RemoteProtocolError: It speaks something else.
    """
    reasons: list[str] = []
    for server in servers:
        try:
            found = addresses(server.host, server.port)[:MAX_ADDRESSES]
        except SessionLost as error:
            reasons.append(str(error))
            continue
        for address in found:
            try:
                return _connect(server, address, token=token, secure=secure)
            except SessionLost as error:
                reasons.append(str(error))
    raise ServerUnavailable(f"{'; '.join(reasons)}: is the server running?")


def _connect(server: Server, address: str, *, token: Token, secure: Secure) -> OperatorConnection:
    plain = connect(address, server.port, timeout_s=CONNECT_TIMEOUT_S)
    try:
        return _open(plain, server.host, token=token, secure=secure)
    except OffloadError:
        plain.close()
        raise


def _open(plain: Connection, host: str, *, token: Token, secure: Secure) -> OperatorConnection:
    by_s = time.monotonic() + CONNECT_TIMEOUT_S
    plain.set_timeout(CONNECT_TIMEOUT_S)
    try:
        connection = secure(plain, host)
    except TimeoutError as error:
        raise SessionLost(f"{host} did not answer within {CONNECT_TIMEOUT_S:.0f} s") from error
    session = OperatorSession(token=token, nonce=new_nonce())
    while not session.is_talking:
        connection.send(session.take_outgoing())
        count = _receive(connection, session)
        if not count or time.monotonic() > by_s:
            raise SessionLost(f"{host} did not answer within {CONNECT_TIMEOUT_S:.0f} s")
        _learn(connection, session, count)
    return OperatorConnection(connection, session)


def _learn(connection: ByteStream, session: OperatorSession, count: int) -> None:
    try:
        list(session.received(count))
    except AuthError:
        # A server that could not prove itself is told so, or its user would never learn it.
        with contextlib.suppress(SessionLost):
            connection.send(session.take_outgoing())
        raise


def _receive(connection: ByteStream, session: OperatorSession) -> int:
    """Wait for bytes and return how many there are; 0 if none came in time."""
    try:
        return connection.receive_into(session.buffer())
    except TimeoutError:
        return 0

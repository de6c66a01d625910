"""Find out whether a server can be reached, and whether it takes this device, one step at a time.

    reached = reach(server, secure=leave_plain, token=token, app=app)
    reached.finding, reached.probed

The stream that is opened for it is a trial, and has no frames: the server keeps nothing of it.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

from offload import __version__
from offload.auth import Token, new_nonce
from offload.doctor.apps import LoadedApp
from offload.doctor.clock_and_link import Measured, measure
from offload.doctor.findings import Finding, failed, ok, warning
from offload.errors import (
    AuthError,
    OffloadError,
    RemoteProtocolError,
    ServerUnavailable,
    SessionLost,
    TurnedAway,
)
from offload.messages import EndConfirmed, Message, Open, Welcome
from offload.servers import Secure, Server
from offload.session import DeviceSession
from offload.transport import ByteStream, addresses, connect, endpoint, machine_name

# As long as a device gives a server to take a connection, and to say who it is.
CONNECT_S: Final = 5.0

# So many addresses of a name are tried.
MAX_ADDRESSES: Final = 4

_TOKEN_ADVICE: Final = "copy the server's token file to this device, or give it by --token-file"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """What came of it; ``measured`` is None if the server could not be asked."""

    finding: Finding
    measured: Measured | None = None


class Unanswered(SessionLost):
    """A server took the connection, and then did not answer, or hung up."""


class Conversation:
    """A session on a connection, for as long as it may last.

    Args:
        connection: What it travels over.
        session: The device's end.
        by_s: Monotonic seconds when it has to be over, whatever the server does.
    """

    def __init__(self, connection: ByteStream, session: DeviceSession, *, by_s: float) -> None:
        """Take both over."""
        self.session = session
        self._connection = connection
        self._by_s = by_s

    def extend(self, seconds: float) -> None:
        """Let it last so much longer than now."""
        self._by_s = time.monotonic() + seconds

    def flush(self) -> None:
        """Send what the session has queued."""
        try:
            self._connection.set_timeout(max(0.1, self._by_s - time.monotonic()))
            self._connection.send(self.session.take_outgoing())
        except TimeoutError as error:
            raise SessionLost("server does not read what is sent") from error

    def events(self) -> Iterator[Message]:
        """Yield what the server says.

        Raises:
            SessionLost: It says nothing more in time, or hung up.
            OffloadError: It refused.
        """
        while (left_s := self._by_s - time.monotonic()) > 0:
            self.flush()
            self._connection.set_timeout(left_s)
            try:
                count = self._connection.receive_into(self.session.buffer())
            except TimeoutError:
                break
            yield from self.session.received(count)
        raise SessionLost("server is connected, and does not answer in time")


def reach(server: Server, *, secure: Secure, token: Token | None, app: LoadedApp) -> Reached:
    """Connect to a server as the device program does, open a trial, measure, and end it."""
    try:
        found = addresses(server.host, server.port)[:MAX_ADDRESSES]
    except OffloadError as error:
        return Reached(finding=_unreachable(error, advice="is the name right, and the network up?"))
    problem: OffloadError | None = None
    for address in found:
        try:
            return _reach_at(server, address, secure=secure, token=token, app=app)
        except SessionLost as error:
            problem = problem or error
        except OffloadError as error:
            return Reached(finding=_refused(server, error))
    assert problem is not None, "a name has an address"
    place = endpoint(server.host, server.port)
    return Reached(finding=_unreachable(problem, advice=_advice(problem, place)))


def _reach_at(
    server: Server, address: str, *, secure: Secure, token: Token | None, app: LoadedApp
) -> Reached:
    began_s = time.monotonic()
    with closing(connect(address, server.port, timeout_s=CONNECT_S)) as plain:
        connected_ms = 1000 * (time.monotonic() - began_s)
        plain.set_timeout(CONNECT_S)
        try:
            connection = secure(plain, server.host)
        except TimeoutError as error:
            raise Unanswered("server is connected, and says nothing of TLS") from error
        except AuthError as error:
            # Of a certificate, which no token helps with.
            return Reached(finding=_refused(server, error))
        session = DeviceSession(opening=_opening(app), token=token, nonce=new_nonce())
        conversation = Conversation(connection, session, by_s=time.monotonic() + CONNECT_S)
        try:
            welcome = _welcome(conversation)
        except TurnedAway:
            raise
        except SessionLost as error:
            raise Unanswered(str(error)) from error
        measured = measure(conversation)
        _end(conversation)
    return Reached(
        finding=_welcomed(server, address, connected_ms, welcome, token), measured=measured
    )


def _opening(app: LoadedApp) -> Open:
    return Open(
        app=app.name,
        fingerprint=app.fingerprint,
        stream=f"doctor {uuid.uuid4()}",
        device=machine_name(),
        trial=True,
    )


def _welcome(conversation: Conversation) -> Welcome:
    try:
        for event in conversation.events():
            if isinstance(event, Welcome):
                return event
    except AuthError as error:
        # A server that could not prove itself is told so, or its user would never learn it.
        with suppress(SessionLost):
            conversation.flush()
        raise AuthError(f"{error}: {_TOKEN_ADVICE}") from error
    raise AssertionError("events end in an error")


def _end(conversation: Conversation) -> None:
    """End the stream in good order; that the server confirms it is all that is left to learn."""
    conversation.extend(CONNECT_S)
    conversation.session.send_end()
    for event in conversation.events():
        if isinstance(event, EndConfirmed):
            return


def _welcomed(
    server: Server, address: str, connected_ms: float, welcome: Welcome, token: Token | None
) -> Finding:
    known = "no token asked for" if token is None else f"token {token.name!r} accepted"
    place = endpoint(server.host, server.port)
    via = f" at {address}" if address != server.host else ""
    found = f"{place}{via}: connected in {connected_ms:.1f} ms, {known}, app known"
    if welcome.durable:
        found = f"{found}; it is older than version {__version__} and knows no trials"
        advice = "it keeps the results of the trials that follow here"
        return warning("server", found, advice=advice)
    return ok("server", found)


def _advice(problem: OffloadError, place: str) -> str:
    if isinstance(problem, TurnedAway):
        return "try again later"
    if isinstance(problem, Unanswered):
        return f"is it a task-offload server that listens on {place}? if it is, start it again"
    return f"is the server running on {place}, and no firewall between?"


def _unreachable(error: OffloadError, *, advice: str) -> Finding:
    return failed("server", str(error), advice=advice, exit_code=ServerUnavailable.exit_code)


def _refused(server: Server, error: OffloadError) -> Finding:
    place = endpoint(server.host, server.port)
    is_other = isinstance(error, RemoteProtocolError)
    advice = "is this the port of a task-offload server?" if is_other else ""
    return failed("server", f"{place}: {error}", advice=advice, exit_code=error.exit_code)

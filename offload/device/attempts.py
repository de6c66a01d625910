"""One attempt to open a session: at one address, on a thread of its own.

Which attempts there are, and which one goes on, is for ``race``.

    attempt = Attempt(race, Server(host="cloud", port=8089), address="", terms=terms)
    threading.Thread(target=attempt.run).start()
    attempt.hang_up()                   # ends it, wherever it is
"""

import contextlib
import logging
import time
from dataclasses import dataclass
from typing import Final, Protocol

from offload.auth import Token, new_nonce
from offload.errors import AuthError, OffloadError, SessionLost, forget_tracebacks
from offload.messages import Open
from offload.servers import Secure, Server
from offload.session import SILENCE_S, DeviceSession, Event
from offload.transport import ByteStream, Connection, addresses, connect

logger = logging.getLogger(__name__)

# An address gets so long to answer a connection, and then until the server knows who asks; a
# sleeping radio link needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# So many are tried within some seconds. Who answers for a name may give any number.
MAX_ADDRESSES: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What all attempts to open one session have in common.

    Attributes:
        opening: The stream, and where it stands.
        token: The device's token, or None.
        secure: Encrypts connections.
        favourite: Where the last session was: this address comes first, if a name has it.
    """

    opening: Open
    token: Token | None
    secure: Secure
    favourite: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session and what it travels over: ``events`` came with its welcome, the first of them."""

    server: Server
    address: str
    connection: ByteStream
    session: DeviceSession
    events: list[Event]

    @property
    def peer(self) -> str:
        """The server as people know it: as it was named, and the address that was found for it."""
        host, address = self.server.host, self.address
        return host if host == address else f"{host} ({address})"


class Beaten(SessionLost):
    """Nobody waits for this attempt any more, or another one was first; nothing has failed."""


class AttemptOwner(Protocol):
    """What an attempt tells of itself; each of these may end it by `Beaten`."""

    def check_goes_on(self) -> None:
        """Let it end here if nobody waits for it any more."""

    def note_others(self, attempt: "Attempt", others: list[str]) -> None:
        """Take note of the addresses of its server's name, but for the first, which it takes."""

    def claim(self, attempt: "Attempt") -> None:
        """Take note that its server has answered."""

    def note_open(self, attempt: "Attempt", opened: OpenSession) -> None:
        """Take over the session."""

    def note_failure(self, attempt: "Attempt", error: OffloadError | None) -> None:
        """Take note that it has come to nothing; None if it was beaten."""


class Attempt:
    """An attempt to open a session with a server.

    Args:
        owner: Is told how it goes.
        server: Where to connect.
        address: Which address of the server's name; if empty, the first one.
        terms: What it has in common with others.

    Attributes:
        address: Empty until the name is looked up.
    """

    def __init__(self, owner: AttemptOwner, server: Server, address: str, terms: Terms) -> None:
        """Prepare; nothing is connected before `run`."""
        self.address = address
        self._owner = owner
        self._server = server
        self._terms = terms
        self._connection: Connection | None = None

    def run(self) -> None:
        """Open a session, or tell the owner why not."""
        failure: OffloadError | None = None
        try:
            self._owner.note_open(self, self._open())
            return
        except Beaten:
            pass
        except OffloadError as error:
            # They hold this very frame, and with it a connection's buffers.
            forget_tracebacks(error)
            failure = error
        self.hang_up()
        self._owner.note_failure(self, failure)

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> OpenSession:
        terms = self._terms
        if not self.address:
            self._look_up()
        self._owner.check_goes_on()
        plain = self._connection = self._connect()
        self._owner.check_goes_on()
        session = DeviceSession(opening=terms.opening, token=terms.token, nonce=new_nonce())
        try:
            plain.set_timeout(CONNECT_TIMEOUT_S)
            by_s = time.monotonic() + CONNECT_TIMEOUT_S
            connection = terms.secure(plain, self._server.host)
            events = self._shake_hands(connection, session, by_s=by_s)
        except TimeoutError as error:
            silent_s = SILENCE_S if session.is_opening else CONNECT_TIMEOUT_S
            raise SessionLost(f"{self._place} did not answer within {silent_s:.0f} s") from error
        return OpenSession(
            server=self._server,
            address=self.address,
            connection=connection,
            session=session,
            events=events,
        )

    def _look_up(self) -> None:
        server, favourite = self._server, self._terms.favourite
        found = sorted(addresses(server.host, server.port), key=lambda each: each != favourite)
        self.address, *others = found[:MAX_ADDRESSES]
        self._owner.note_others(self, others)

    def _connect(self) -> Connection:
        host = self._server.host
        try:
            return connect(self.address, self._server.port, timeout_s=CONNECT_TIMEOUT_S)
        except SessionLost as error:
            if self.address == host:
                raise
            raise SessionLost(f"{host}: {error}") from error

    @property
    def _place(self) -> str:
        host = self._server.host
        return host if self.address == host else f"{host} ({self.address})"

    def _shake_hands(
        self, connection: ByteStream, session: DeviceSession, *, by_s: float
    ) -> list[Event]:
        """Return the welcome, and what came with it.

        Raises:
            OffloadError: The server refuses, another attempt was answered before, ...
            TimeoutError: The server does not know by then who asks, or fell silent afterwards.
        """
        was_opening = has_said = False
        while True:
            connection.send(session.take_outgoing())
            count = connection.receive_into(session.buffer())
            self._owner.claim(self)
            if events := _events(connection, session, count):
                return events
            if was_opening and not has_said:
                has_said = True
                logger.info("welcome_awaited", extra={"why": "earlier frames are under way there"})
            was_opening = session.is_opening
            if was_opening:
                # Frames of an older session may keep the server busy for long. It gives signs of
                # life meanwhile, with which nothing is to be done.
                connection.set_timeout(SILENCE_S)
            elif time.monotonic() > by_s:
                raise TimeoutError("the handshake takes too long")


def _events(connection: ByteStream, session: DeviceSession, count: int) -> list[Event]:
    try:
        return list(session.received(count))
    except AuthError:
        # A server that could not prove itself is told so, or its user would never learn it.
        with contextlib.suppress(SessionLost):
            connection.send(session.take_outgoing())
        raise

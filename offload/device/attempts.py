"""Attempts to open a session, side by side: each at one address, on a thread of its own.

An attempt that went into a black hole is known to have failed only after seconds, so others begin
beside it. The first that is answered goes on alone: two sessions of a stream would end each other.

    race = Race(opening, token=token, secure=leave_plain, favourite="")
    race.begin(Target(server=Server(host="cloud", port=8089)))
    ended = race.wait(1.0)              # a Line, a Failure, or None after 1 s
    race.close()
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from offload.auth import Token, new_nonce
from offload.errors import OffloadError, SessionLost
from offload.messages import Open
from offload.session import SILENCE_S, DeviceSession, Event
from offload.transport import ByteStream, Connection, addresses, connect

logger = logging.getLogger(__name__)

# An address gets so long to answer a connection, and then until the server knows who asks; a
# sleeping radio link needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# Each costs a thread and a socket, for as long as an address may take.
MAX_SIDE_BY_SIDE: Final = 5

# So many are tried within some seconds. Who answers for a name may give any number.
MAX_ADDRESSES: Final = 8

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
class Target:
    """What an attempt is for: one address of a server, or, if empty, the first of its name."""

    server: Server
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """An open session: ``events`` came with its welcome, which is the first of them."""

    target: Target
    connection: ByteStream
    session: DeviceSession
    events: list[Event]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt has come to nothing."""

    server: Server
    error: OffloadError


class Race:
    """Attempts to open one session.

    Args:
        opening: The stream, and where it stands.
        token: The device's token, or None.
        secure: Encrypts connections.
        favourite: The address that comes first, if a name has it.
    """

    def __init__(
        self, opening: Open, *, token: Token | None, secure: Secure, favourite: str
    ) -> None:
        """Prepare; nothing is connected before `begin`."""
        self.opening = opening
        self.token = token
        self.secure = secure
        self.favourite = favourite
        # Guards all below.
        self._changed = threading.Condition()
        self._under_way: set[_Attempt] = set()
        self._others: deque[Target] = deque()
        self._answered: _Attempt | None = None
        self._line: Line | None = None
        self._failures: deque[Failure] = deque()
        self._is_closed = False

    def begin(self, target: Target) -> None:
        """Begin an attempt."""
        attempt = _Attempt(self, target)
        with self._changed:
            self._under_way.add(attempt)
        threading.Thread(target=attempt.run, name="uplink-dial", daemon=True).start()

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may begin."""
        with self._changed:
            return self._answered is None and len(self._under_way) < MAX_SIDE_BY_SIDE

    @property
    def is_answered(self) -> bool:
        """Whether a server has answered, and is opening the session."""
        return self._answered is not None

    @property
    def has_other_addresses(self) -> bool:
        """Whether names that were looked up have addresses for which no attempt has begun."""
        return bool(self._others)

    def take_other_address(self) -> Target | None:
        """Return the next of these addresses, for an attempt of its own; None if there is none."""
        with self._changed:
            return self._others.popleft() if self._others else None

    def wait(self, timeout_s: float) -> Line | Failure | None:
        """Return the session, or why an attempt has failed; None if neither came within the time.

        After `close` it returns None at once.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._failures, timeout_s)
            if self._is_closed:
                return None
            if self._line is None and self._failures:
                return self._failures.popleft()
            return self._line

    def pause(self, timeout_s: float) -> None:
        """Wait, unless there is a session, or this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, timeout_s)

    def close(self) -> None:
        """End all attempts, and the session that came of one."""
        with self._changed:
            self._is_closed = True
            under_way, line = list(self._under_way), self._line
            self._changed.notify_all()
        for each in under_way:
            each.hang_up()
        if line is not None:
            line.connection.close()

    @property
    def _is_over(self) -> bool:
        return self._is_closed or self._line is not None

    # What attempts say.

    def check_open(self) -> None:
        """Let an attempt end here, if this is closed.

        Raises:
            SessionLost: It is.
        """
        if self._is_closed:
            raise SessionLost("the stream was closed while it was connecting")

    def add_others(self, targets: list[Target]) -> None:
        """Note addresses for attempts of their own."""
        with self._changed:
            self._others += targets

    def claim(self, attempt: "_Attempt") -> None:
        """Note that a server has answered.

        Raises:
            _Beaten: One has answered another attempt before.
        """
        with self._changed:
            if self._answered not in (None, attempt):
                raise _Beaten("another attempt was answered before")
            self._answered = attempt

    def note_line(self, attempt: "_Attempt", line: Line) -> None:
        """Note that an attempt has opened the session.

        Raises:
            SessionLost: This is closed.
        """
        with self._changed:
            self.check_open()
            self._under_way.discard(attempt)
            self._line = line
            # Nobody asks for them now, and each holds by its traceback what this race holds.
            self._failures.clear()
            self._changed.notify_all()

    def note_failure(self, attempt: "_Attempt", failure: Failure | None) -> None:
        """Note that an attempt has come to nothing; None if only because another one was first."""
        with self._changed:
            self._under_way.discard(attempt)
            if self._answered is attempt:
                self._answered = None
            if failure is not None and not self._is_over:
                self._failures.append(failure)
            self._changed.notify_all()


class _Attempt:
    """One of the attempts of a race."""

    def __init__(self, race: Race, target: Target) -> None:
        self._race = race
        self._target = target
        self._connection: Connection | None = None

    def run(self) -> None:
        """Open a session, or tell the race why not."""
        failure: Failure | None = None
        try:
            self._race.note_line(self, self._open())
            return
        except _Beaten:
            pass
        except OffloadError as error:
            failure = Failure(server=self._target.server, error=error)
        self.hang_up()
        self._race.note_failure(self, failure)
        # Its traceback holds this very frame, and with it a connection's buffers.
        failure = None

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Line:
        server, race = self._target.server, self._race
        address = self._target.address or self._look_up()
        plain = self._connection = self._connect(address)
        race.check_open()
        session = DeviceSession(opening=race.opening, token=race.token, nonce=new_nonce())
        try:
            plain.set_timeout(CONNECT_TIMEOUT_S)
            by_s = time.monotonic() + CONNECT_TIMEOUT_S
            connection = race.secure(plain, server.host)
            events = self._shake_hands(connection, session, by_s=by_s)
        except TimeoutError as error:
            silent_s = SILENCE_S if session.is_opening else CONNECT_TIMEOUT_S
            raise SessionLost(f"{server.host} did not answer within {silent_s:.0f} s") from error
        target = Target(server=server, address=address)
        return Line(target=target, connection=connection, session=session, events=events)

    def _look_up(self) -> str:
        """Return the name's first address, and leave the others to attempts of their own."""
        server, race = self._target.server, self._race
        found = sorted(addresses(server.host, server.port), key=lambda each: each != race.favourite)
        race.check_open()
        first, *others = found[:MAX_ADDRESSES]
        race.add_others([Target(server=server, address=each) for each in others])
        return first

    def _connect(self, address: str) -> Connection:
        server = self._target.server
        try:
            return connect(address, server.port, timeout_s=CONNECT_TIMEOUT_S)
        except SessionLost as error:
            if address == server.host:
                raise
            raise SessionLost(f"{server.host}: {error}") from error

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
            self._race.claim(self)
            if events := list(session.received(count)):
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


class _Beaten(SessionLost):
    """Another attempt of the race was answered before; nothing has failed."""

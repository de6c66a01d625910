"""Find a server that welcomes a stream: connect, shake hands, and try the next one if that fails.

dialer = Dialer(servers=(Server(host="cloud", port=8089),), token=token, retry_for_s=None)
line = dialer.dial(opening)
line.connection, line.session, line.events
"""

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from offload.auth import Token, new_nonce
from offload.errors import OffloadError, ServerUnavailable, SessionLost, TurnedAway
from offload.messages import Open
from offload.session import DeviceSession, Event
from offload.transport import ByteStream, Connection, connect

logger = logging.getLogger(__name__)

# One address gets so long to answer a connection, and then its handshake; a sleeping radio link
# needs a second or two, a person waits no longer.
CONNECT_TIMEOUT_S: Final = 5.0

# Who has not answered by then is given the rest of its time, and the next attempt begins beside it:
# else a network that swallowed one attempt would be found to be back only after its time-out.
ANSWER_S: Final = 1.0
MAX_SIDE_BY_SIDE: Final = 5

# Waits between attempts are drawn from 0 to a bound that doubles ("full jitter"), so that a
# thousand devices do not come back in step with each other when their server does. While nobody
# answers, the bound stays where a device is back within 2 s of its network. A server that answered
# and turned the device away is given more time, and so is an outage that lasts.
FIRST_RETRY_BOUND_S: Final = 0.2
QUICK_RETRY_BOUND_S: Final = 0.8
LAST_RETRY_BOUND_S: Final = 5.0
LONG_OUTAGE_S: Final = 900.0

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
        self._race: _Race | None = None

    def dial(self, opening: Open) -> Line:
        """Try the servers in turn, with growing pauses, until one welcomes the stream.

        Who does not answer soon is not waited for alone: the next attempt begins beside it.

        Raises:
            ServerUnavailable: None did for as long as it may take, or this was closed.
            AuthError: A server refused the token or the certificate, or could not prove itself.
            HandshakeError: The two ends do not fit.
        """
        began_s = time.monotonic()
        race = self._race = _Race()
        bound_s = FIRST_RETRY_BOUND_S
        said = False
        while True:
            if race.has_room:
                _Attempt(race, partial(self._shake_hands, index=self._index, opening=opening))
            try:
                line = race.wait(ANSWER_S)
            except SessionLost as error:
                waited_s = time.monotonic() - began_s
                if self._closing.is_set() or waited_s >= self._limit_s:
                    self.close()
                    raise ServerUnavailable(
                        f"{error}; tried for {waited_s:.0f} s: is the server running?"
                    ) from error
                if not said:
                    logger.warning("server_unavailable", extra={"reason": str(error)})
                    said = True
                is_busy = isinstance(error, TurnedAway)
            else:
                if line is not None:
                    self._has_been_welcome = True
                    return line
                is_busy = False
                if time.monotonic() - began_s >= self._limit_s:
                    self.close()
                    raise ServerUnavailable(
                        f"no server answered within {self._limit_s:.0f} s: is it running?"
                    )
            self.try_next()
            self.pause(bound_s)
            is_long = is_busy or time.monotonic() - began_s >= LONG_OUTAGE_S
            bound_s = min(2 * bound_s, LAST_RETRY_BOUND_S if is_long else QUICK_RETRY_BOUND_S)

    def try_next(self) -> None:
        """Begin with the next server."""
        self._index = (self._index + 1) % len(self._servers)

    def pause(self, bound_s: float) -> None:
        """Wait for a random time up to ``bound_s``, or until this is closed."""
        self._closing.wait(random.uniform(0, bound_s))

    def close(self) -> None:
        """End the attempts that are under way, and make no more."""
        self._closing.set()
        if self._race is not None:
            self._race.close()

    @property
    def _limit_s(self) -> float:
        if self._retry_for_s is not None:
            return self._retry_for_s
        return math.inf if self._has_been_welcome else FIRST_RETRY_FOR_S

    def _shake_hands(self, attempt: "_Attempt", index: int, opening: Open) -> Line:
        server = self._servers[index]
        plain = connect(server.host, server.port, timeout_s=CONNECT_TIMEOUT_S)
        attempt.use(plain)
        try:
            plain.set_timeout(CONNECT_TIMEOUT_S)
            by_s = time.monotonic() + CONNECT_TIMEOUT_S
            connection = self._secure(plain, server.host)
            session = DeviceSession(opening=opening, token=self._token, nonce=new_nonce())
            events: list[Event] = []
            while not events:
                connection.send(session.take_outgoing())
                count = connection.receive_into(session.buffer())
                attempt.claim()
                events += session.received(count)
                if time.monotonic() > by_s:
                    raise TimeoutError("the handshake takes too long")
        except TimeoutError as error:
            raise SessionLost(
                f"{server.host} did not answer within {CONNECT_TIMEOUT_S:.0f} s"
            ) from error
        self._index = index
        return Line(connection=connection, session=session, events=events)


class _Race:
    """Attempts side by side, each on a thread of its own; the first that is answered goes on.

    Only that one says which stream it is for: two sessions of a stream would end each other.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.under_way: set[_Attempt] = set()
        self.answered: _Attempt | None = None
        self.line: Line | None = None
        self.errors: deque[OffloadError] = deque()
        self.is_closed = False

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may begin."""
        with self.changed:
            return self.answered is None and len(self.under_way) < MAX_SIDE_BY_SIDE

    def wait(self, timeout_s: float) -> Line | None:
        """Return the session that was opened; None if no attempt has ended within the time.

        Raises:
            OffloadError: An attempt has failed.
        """
        with self.changed:
            self.changed.wait_for(lambda: self.line or self.errors or self.is_closed, timeout_s)
            if self.is_closed:
                raise SessionLost("the stream was closed while it was connecting")
            if self.line is None and self.errors:
                raise self.errors.popleft()
            return self.line

    def close(self) -> None:
        """End all attempts, and the session that came of one."""
        with self.changed:
            self.is_closed = True
            attempts, line = list(self.under_way), self.line
            self.changed.notify_all()
        for each in attempts:
            each.hang_up()
        if line is not None:
            line.connection.close()


class _Attempt:
    """One of the attempts of a race.

    Args:
        race: The race.
        shake_hands: Opens a session for this attempt, or raises `OffloadError`.
    """

    def __init__(self, race: _Race, shake_hands: Callable[["_Attempt"], Line]) -> None:
        """Begin."""
        self._race = race
        self._shake_hands = shake_hands
        self._connection: Connection | None = None
        with race.changed:
            race.under_way.add(self)
        threading.Thread(target=self._run, name="uplink-dial", daemon=True).start()

    def use(self, connection: Connection) -> None:
        """Note the connection, which is closed if this attempt comes to nothing.

        Raises:
            SessionLost: The race is closed.
        """
        self._connection = connection
        if self._race.is_closed:
            raise SessionLost("the stream was closed while it was connecting")

    def claim(self) -> None:
        """Note that a server has answered.

        Raises:
            _Beaten: One has answered another attempt before.
        """
        with self._race.changed:
            if self._race.answered not in (None, self):
                raise _Beaten("another attempt was answered before")
            self._race.answered = self

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()

    def _run(self) -> None:
        line: Line | None = None
        failure: OffloadError | None = None
        try:
            line = self._shake_hands(self)
        except _Beaten:
            self.hang_up()
        except OffloadError as error:
            self.hang_up()
            failure = error
        race = self._race
        with race.changed:
            race.under_way.discard(self)
            if line is not None and not race.is_closed:
                race.line = line
            elif race.answered is self:
                race.answered = None
            if failure is not None:
                race.errors.append(failure)
            race.changed.notify_all()
        if line is not None and race.is_closed:
            self.hang_up()
        # Its traceback holds this very frame, and with it a connection's buffers.
        failure = None


class _Beaten(SessionLost):
    """Another attempt of the race was answered before; nothing has failed."""

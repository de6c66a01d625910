"""Find a server that welcomes a stream: which one is tried when, and when to give up.

How attempts go side by side is in ``race``, and how each of them goes in ``attempts``.

    dialer = Dialer(servers=(Server(host="cloud", port=8089),), token=token, retry_for_s=None)
    opened = dialer.dial(opening)
    opened.connection, opened.session, opened.events
    dialer.note_end(error)              # how the session ended, before the next one
"""

import logging
import math
import random
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Final

from offload.auth import Token
from offload.device.attempts import OpenSession, Terms
from offload.device.race import Failure, Race
from offload.errors import (
    AuthError,
    HandshakeError,
    HostUnknown,
    OffloadError,
    Refused,
    RemoteProtocolError,
    ServerUnavailable,
    SessionLost,
    TurnedAway,
)
from offload.messages import Open
from offload.servers import Secure, Server, leave_plain

__all__ = ["Dialer", "OpenSession"]

logger = logging.getLogger(__name__)

# Who has not answered by then is given the rest of its time, and the next attempt begins beside it:
# else a network that swallowed one attempt would be found to be back only after its time-out.
ANSWER_S: Final = 1.0

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

# Such a server is none of ours, or is set up otherwise than the device: the next one may be right.
# Any other refusal is about the stream, which another device has taken over, say.
_FOR_GOOD: Final = (AuthError, HandshakeError, RemoteProtocolError)
_ANSWERS: Final = (TurnedAway, Refused, *_FOR_GOOD)


class Dialer:
    """Opens sessions, one after the other, for one stream.

    A server that refuses the device for good ends the stream only if all servers do, one after the
    other. Before the first session it is left out. Later it counts as one that is away, and is
    tried again: a stream that went well outlives a mistake in one server's settings.

    Args:
        servers: Where to connect, at least one. Each is tried in turn, all addresses of its name;
            after a lost session the same one comes first.
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
        # Where to begin, and where the last session was.
        self._index = 0
        self._last = servers[0]
        self._last_address = ""
        self._has_been_welcome = False
        # The servers whose last word was a refusal for good, with that word.
        self._refusals: dict[Server, OffloadError] = {}
        self._said_to_refuse: set[Server] = set()
        self._closing = threading.Event()
        self._race: Race | None = None

    def dial(self, opening: Open) -> OpenSession:
        """Try the servers in turn, with growing pauses, until one welcomes the stream.

        Who does not answer soon is not waited for alone: the next attempt begins beside it.

        Raises:
            ServerUnavailable: None did for as long as it may take, or this was closed.
            AuthError: All refuse; the first one refused the token or the certificate, or could not
                prove itself.
            HandshakeError: All refuse; the first one and the device do not fit.
            RemoteProtocolError: All refuse; the first one speaks otherwise.
            Refused: A server refused the stream: it was taken over, or a limit was passed.
        """
        terms = Terms(
            opening=opening,
            token=self._token,
            secure=self._secure,
            favourite=self._last_address,
        )
        race = self._race = Race(terms)
        try:
            opened = self._dial(race)
        except OffloadError:
            race.close()
            raise
        finally:
            self._race = None
        self._last, self._last_address = opened.server, opened.address
        self._index = self._servers.index(opened.server)
        self._has_been_welcome = True
        self._said_to_refuse.discard(opened.server)
        return opened

    def note_progress(self) -> None:
        """Take note that the session is of use: refusals before it count no more."""
        self._refusals.clear()

    def note_end(self, error: OffloadError) -> OffloadError:
        """Take note of how the session ended, and return it as it is to be said.

        Raises:
            OffloadError: ``error``, if the stream cannot go on with another server.
        """
        if isinstance(error, SessionLost):
            self._refusals.clear()
        return self._judged(Failure(server=self._last, address="", error=error))

    def try_next(self) -> None:
        """Begin with the next server."""
        self._index = (self._index + 1) % len(self._servers)

    def pause(self, bound_s: float) -> None:
        """Wait for a random time up to ``bound_s``, or until this is closed."""
        self._closing.wait(random.uniform(0, bound_s))

    def close(self) -> None:
        """End the attempts that are under way, and make no more."""
        self._closing.set()
        race = self._race
        if race is not None:
            race.close()

    def _dial(self, race: Race) -> OpenSession:
        in_turn, pauses = islice(cycle(self._servers), self._index, None), _Pauses()
        reasons: dict[Server, OffloadError] = {}
        while not self._closing.is_set():
            if race.has_room and not race.begin_other():
                self._begin_next(race, in_turn)
            ended = race.wait(ANSWER_S)
            if isinstance(ended, OpenSession):
                return ended
            failure = None if ended is None else self._judged(ended)
            if ended is not None and isinstance(failure, SessionLost):
                if not reasons:
                    logger.warning("server_unavailable", extra={"reason": str(failure)})
                reasons[ended.server] = failure
            if not race.is_answered and pauses.waited_s >= self._limit_s:
                raise self._unavailable(race.missing() | reasons, pauses.waited_s)
            if not race.has_others:
                # The addresses of one name are tried without a pause.
                race.pause(pauses.next_s(failure))
        raise ServerUnavailable("the stream was closed while it was connecting")

    def _begin_next(self, race: Race, in_turn: Iterator[Server]) -> None:
        """Begin with the next server, if there is one that is worth it."""
        for server in islice(in_turn, len(self._servers)):
            is_left_out = server in self._refusals and not self._has_been_welcome
            # Who asked for the name again would get the answer no sooner.
            if not is_left_out and not race.is_looking_up(server):
                race.begin(server)
                return

    @property
    def _limit_s(self) -> float:
        if self._retry_for_s is not None:
            return self._retry_for_s
        return math.inf if self._has_been_welcome else FIRST_RETRY_FOR_S

    def _judged(self, failure: Failure) -> OffloadError:
        """Return why there is no session with a server, as it is to be said.

        Raises:
            OffloadError: It ends the stream.
        """
        server, error = failure.server, self._named(failure)
        if isinstance(error, SessionLost):
            if self._has_been_welcome:
                self._refusals.pop(server, None)
            return error
        if not isinstance(error, _FOR_GOOD):
            raise error
        self._refusals[server] = error
        if all(each in self._refusals for each in self._servers):
            raise self._refused_by_all()
        if server not in self._said_to_refuse:
            self._said_to_refuse.add(server)
            logger.warning("server_refused", extra={"server": server.host, "reason": str(error)})
        return error

    def _named(self, failure: Failure) -> OffloadError:
        """Return what a server answered, with the names of both if there are several."""
        error, address = failure.error, failure.address
        if not isinstance(error, _ANSWERS) or not (address or len(self._servers) > 1):
            return error
        said = str(error)
        what = said.removeprefix("server") if said.startswith("server") else f": {said}"
        where = f" ({address})" if address else ""
        named = type(error)(f"server {failure.server.host}{where}{what}")
        named.__cause__ = error
        return named

    def _refused_by_all(self) -> OffloadError:
        first = self._refusals[self._servers[0]]
        error = type(first)(self._in_words(self._refusals))
        error.__cause__ = first
        return error

    def _unavailable(
        self, reasons: dict[Server, OffloadError], waited_s: float
    ) -> ServerUnavailable:
        last = next(reversed(reasons.values()), None)
        said = self._in_words({**reasons, **self._refusals})
        error = ServerUnavailable(f"{said}; tried for {waited_s:.0f} s: {_advice(last)}")
        error.__cause__ = last
        return error

    def _in_words(self, reasons: dict[Server, OffloadError]) -> str:
        """Return the last word of each server, in the order of the list."""
        return "; ".join(
            str(reasons[each]) for each in dict.fromkeys(self._servers) if each in reasons
        )


class _Pauses:
    """How long to wait from one attempt to the next."""

    def __init__(self) -> None:
        self._began_s = time.monotonic()
        self._bound_s = FIRST_RETRY_BOUND_S

    @property
    def waited_s(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self._began_s

    def next_s(self, failure: OffloadError | None) -> float:
        """Return how long to wait after an attempt that failed; None if it was not answered yet."""
        pause_s = random.uniform(0, self._bound_s)
        is_slow = isinstance(failure, _ANSWERS) or self.waited_s >= LONG_OUTAGE_S
        self._bound_s = min(
            2 * self._bound_s, LAST_RETRY_BOUND_S if is_slow else QUICK_RETRY_BOUND_S
        )
        return pause_s


def _advice(error: OffloadError | None) -> str:
    if isinstance(error, TurnedAway):
        return "try again later, or wait for longer with --retry-for"
    if isinstance(error, HostUnknown):
        return "is the name right, and is this machine connected?"
    return "is the server running?"

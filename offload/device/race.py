"""Attempts to open a session, side by side.

An attempt that went into a black hole is known to have failed only after seconds, so others begin
beside it. The first that is answered goes on alone: two sessions of a stream would end each other.

    race = Race(Terms(opening=opening, token=token, secure=leave_plain, favourite=""))
    race.begin(Server(host="cloud", port=8089))
    ended = race.wait(1.0)              # an OpenSession, a Failure, or None after 1 s
    race.begin_other()                  # at another address of that name
    race.close()
"""

import threading
from collections import deque
from dataclasses import dataclass
from typing import Final

from offload.device.attempts import Attempt, Beaten, OpenSession, Terms
from offload.errors import HostUnknown, OffloadError, Refused, SessionLost, TurnedAway
from offload.servers import Server
from offload.transport import endpoint

# Each costs a thread and a socket, for as long as an address may take. Looking up a name takes no
# place: name servers may be silent for a minute, and no good server is to wait for that.
MAX_SIDE_BY_SIDE: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a server's turn has come to nothing.

    Attributes:
        address: Which one the error is of; empty if the server has only one.
    """

    server: Server
    address: str
    error: OffloadError


class _Turn:
    """One turn of a server: its name is looked up, and each address has an attempt."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_looking_up = True
        # Addresses for which no attempt has begun.
        self.waiting: deque[str] = deque()
        self.under_way: list[Attempt] = []
        self.errors: dict[str, OffloadError] = {}

    @property
    def is_over(self) -> bool:
        """Whether all addresses have failed."""
        return not self.waiting and not self.under_way

    @property
    def connecting(self) -> int:
        """How many addresses are being tried."""
        return 0 if self.is_looking_up else len(self.under_way)

    def failure(self, favourite: str) -> Failure:
        """Return the failure that tells most."""

        def telling(address: str) -> int:
            error = self.errors[address]
            if isinstance(error, Refused):
                return 3
            if isinstance(error, TurnedAway) or address == favourite:
                # A server of ours; what refuses at another address may be something else.
                return 2
            return 0 if isinstance(error, SessionLost) else 1

        address = max(reversed(self.errors), key=telling)
        several = len(self.errors) > 1
        return Failure(
            server=self.server,
            address=address if several else "",
            error=self.errors[address],
        )

    def missing(self) -> OffloadError:
        """Return in words what has not come yet."""
        host = self.server.host
        if self.is_looking_up:
            return HostUnknown(f"cannot find {host}: no name server has answered yet")
        if not self.under_way:
            return next(reversed(self.errors.values()))
        asked = ", ".join(endpoint(each.address, self.server.port) for each in self.under_way)
        name = "" if self.under_way[0].address == host else f"{host}: "
        return SessionLost(f"{name}no answer yet from {asked}")


class Race:
    """Attempts to open one session.

    Args:
        terms: What they have in common.
    """

    def __init__(self, terms: Terms) -> None:
        """Prepare; nothing is connected before `begin`."""
        self._terms = terms
        # Guards all below.
        self._changed = threading.Condition()
        self._turns: list[_Turn] = []
        self._answered: Attempt | None = None
        # What `wait` has not returned yet. None stands for an address that failed while its server
        # has others.
        self._opened: OpenSession | None = None
        self._failures: deque[Failure | None] = deque()
        self._is_over = False

    def begin(self, server: Server) -> None:
        """Begin a server's turn: an attempt at the first address of its name."""
        turn = _Turn(server)
        with self._changed:
            self._turns.append(turn)
            attempt = self._attempt(turn, "")
        _start(attempt)

    def begin_other(self) -> bool:
        """Begin an attempt at another address of a name; False if none waits for it."""
        with self._changed:
            turn = next((each for each in self._turns if each.waiting), None)
            if turn is None:
                return False
            attempt = self._attempt(turn, turn.waiting.popleft())
        _start(attempt)
        return True

    def _attempt(self, turn: _Turn, address: str) -> Attempt:
        attempt = Attempt(self, turn.server, address, self._terms)
        turn.under_way.append(attempt)
        return attempt

    @property
    def has_room(self) -> bool:
        """Whether one more attempt may begin."""
        with self._changed:
            if self._answered is not None or self._is_over:
                return False
            return sum(each.connecting for each in self._turns) < MAX_SIDE_BY_SIDE

    @property
    def is_answered(self) -> bool:
        """Whether a server has answered, and is opening the session."""
        return self._answered is not None

    @property
    def has_others(self) -> bool:
        """Whether names that were looked up have addresses for which no attempt has begun."""
        with self._changed:
            return any(each.waiting for each in self._turns)

    def is_looking_up(self, server: Server) -> bool:
        """Whether nobody has said yet which addresses a server has."""
        with self._changed:
            return any(each.is_looking_up and each.server == server for each in self._turns)

    def missing(self) -> dict[Server, OffloadError]:
        """Return in words what has not come yet, for each server whose turn it is."""
        with self._changed:
            return {each.server: each.missing() for each in self._turns}

    def wait(self, timeout_s: float) -> OpenSession | Failure | None:
        """Return the session, which is the caller's to close, or why a server's turn has failed.

        None if neither came within the time, if the next address of a name should be tried, and
        after `close`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_over or self._failures, timeout_s)
            if self._is_over:
                opened, self._opened = self._opened, None
                return opened
            return self._failures.popleft() if self._failures else None

    def pause(self, timeout_s: float) -> None:
        """Wait, unless there is a session, or this is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_over, timeout_s)

    def close(self) -> None:
        """End all attempts, and the session that came of one, unless `wait` has returned it."""
        with self._changed:
            self._is_over = True
            opened, self._opened = self._opened, None
            under_way = [each for turn in self._turns for each in turn.under_way]
            self._changed.notify_all()
        for each in under_way:
            each.hang_up()
        if opened is not None:
            opened.connection.close()

    # What attempts say.

    def check_goes_on(self) -> None:
        """Let an attempt end here, if there is a session, or this is closed.

        Raises:
            Beaten: One of them is so.
        """
        if self._is_over:
            raise Beaten("nobody waits for this attempt any more")

    def note_others(self, attempt: Attempt, others: list[str]) -> None:
        """Take note of more addresses of a name, for attempts of their own."""
        with self._changed:
            turn = self._turn_of(attempt)
            turn.is_looking_up = False
            turn.waiting += others

    def claim(self, attempt: Attempt) -> None:
        """Take note that a server has answered.

        Raises:
            Beaten: One has answered another attempt before.
        """
        with self._changed:
            self.check_goes_on()
            if self._answered not in (None, attempt):
                raise Beaten("another attempt was answered before")
            self._answered = attempt

    def note_open(self, attempt: Attempt, opened: OpenSession) -> None:
        """Take the session over, and let all other attempts end.

        Raises:
            Beaten: This is closed.
        """
        with self._changed:
            self.check_goes_on()
            self._turn_of(attempt).under_way.remove(attempt)
            # Else the two would hold each other, and the buffers of the connection.
            self._answered = None
            self._opened = opened
            self._is_over = True
            self._changed.notify_all()

    def note_failure(self, attempt: Attempt, error: OffloadError | None) -> None:
        """Take note that an attempt has come to nothing; None if another one was first."""
        with self._changed:
            turn = self._turn_of(attempt)
            turn.is_looking_up = False
            turn.under_way.remove(attempt)
            if self._answered is attempt:
                self._answered = None
            if self._is_over:
                return
            if error is None:
                # Its server has not failed. It is asked again, should the other one fail.
                turn.waiting.append(attempt.address)
            else:
                turn.errors[attempt.address] = error
            if turn.is_over:
                self._turns.remove(turn)
            # A refusal of the stream holds wherever it comes from.
            is_final = turn.is_over or isinstance(error, Refused)
            self._failures.append(turn.failure(self._terms.favourite) if is_final else None)
            self._changed.notify_all()

    def _turn_of(self, attempt: Attempt) -> _Turn:
        return next(each for each in self._turns if attempt in each.under_way)


def _start(attempt: Attempt) -> None:
    threading.Thread(target=attempt.run, name="uplink-dial", daemon=True).start()

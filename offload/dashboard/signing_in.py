"""Signing in with a token, and the cookies by which visitors are known afterwards.

doors = TokenDoors(access)
cookie = doors.sign_in("boss:its-secret", address="192.0.2.7")
doors.visit(cookie).visitor
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from math import ceil
from typing import Final, Protocol

from offload.dashboard.doors import TooManyTries, Visit
from offload.dashboard.sign_in_limits import SignInLimits
from offload.dashboard.visitors import Visitor, VisitorRole
from offload.errors import AuthError
from offload.throttle import Complaint

logger = logging.getLogger("dashboard")

COOKIE_BYTES: Final = 32

# A working day; then a browser that was left open somewhere is out.
VISIT_S: Final = 12 * 3600.0

# People and their browsers; past it whoever signed in first has to do it again.
MAX_VISITS: Final = 256

# The same for each token, so that whoever has one signs out nobody but those who have it, too.
MAX_VISITS_OF_TOKEN: Final = 16


class Credential(Protocol):
    """A token that somebody knew, as it was then."""

    @property
    def token(self) -> str:
        """Its name."""

    @property
    def role(self) -> str:
        """What it is for: a `VisitorRole`."""

    @property
    def is_withdrawn(self) -> bool:
        """Whether it is gone, or is another one now."""


class Access(Protocol):
    """Knows the tokens."""

    def check(self, line: str) -> Credential:
        """Return what somebody knows who gives a token's line.

        Raises:
            AuthError: There is no such token.
        """


class TokenVisit:
    """A visit that began with a token; it is over with the token, or with its time."""

    def __init__(self, credential: Credential, *, until_s: float, clock: Callable[[], float]):
        """Begin it."""
        self.visitor = Visitor(name=credential.token, role=VisitorRole(credential.role))
        self._credential = credential
        self._until_s = until_s
        self._clock = clock
        self._has_left = False

    @property
    def is_over(self) -> bool:
        """Whether the visitor has to sign in again."""
        return self._has_left or self._clock() >= self._until_s or self._credential.is_withdrawn

    def leave(self) -> None:
        """End it."""
        self._has_left = True


class TokenDoors:
    """Lets in who knows a token.

    Args:
        access: Knows the tokens.
        clock: Monotonic seconds.
    """

    are_open = False

    def __init__(self, access: Access, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without visits."""
        self._access = access
        self._clock = clock
        self._limits = SignInLimits()
        self._complaint = Complaint()
        # By the hashes of their cookies: how long a look-up takes says nothing about a cookie, and
        # what leaks from memory opens nothing. Those who came first are first.
        self._visits: dict[bytes, TokenVisit] = {}

    def visit(self, cookie: str | None) -> Visit | None:
        """Return the visit of a cookie; None if there is none any more."""
        visit = self._visits.get(_hash(cookie))
        return None if visit is None or visit.is_over else visit

    def sign_in(self, line: str, *, address: str) -> str:
        """Return a new cookie for who knows a token; see `Doors.sign_in`."""
        now = self._clock()
        if not self._limits.may_try(address, now):
            wait = self._limits.wait(address, now)
            if self._complaint.is_due(now):
                limited, wait_s = str(wait.limited), ceil(wait.seconds)
                extra = {"peer": address, "limited": limited, "wait_s": wait_s}
                logger.warning("sign_in_limited", extra=extra)
            raise TooManyTries(wait)
        try:
            credential = self._access.check(line)
        except AuthError as error:
            logger.warning("sign_in_refused", extra={"peer": address, "reason": str(error)})
            raise
        self._limits.succeeded(address, now)
        cookie = secrets.token_urlsafe(COOKIE_BYTES)
        self._make_room(credential.token)
        visit = TokenVisit(credential, until_s=now + VISIT_S, clock=self._clock)
        self._visits[_hash(cookie)] = visit
        extra = {"token": credential.token, "role": str(visit.visitor.role), "peer": address}
        logger.info("signed_in", extra=extra)
        return cookie

    def sign_out(self, cookie: str | None) -> None:
        """Forget a cookie, and end what was opened with it."""
        if (visit := self._visits.pop(_hash(cookie), None)) is not None:
            visit.leave()
            logger.info("signed_out", extra={"token": visit.visitor.name})

    def _make_room(self, token: str) -> None:
        """Forget visits that are over, and the first one where there are too many for another."""
        self._visits = {key: each for key, each in self._visits.items() if not each.is_over}
        own = [key for key, each in self._visits.items() if each.visitor.name == token]
        if len(own) >= MAX_VISITS_OF_TOKEN:
            self._visits.pop(own[0]).leave()
        elif len(self._visits) >= MAX_VISITS:
            self._visits.pop(next(iter(self._visits))).leave()


def _hash(cookie: str | None) -> bytes:
    return hashlib.sha256((cookie or "").encode("utf-8", "surrogateescape")).digest()

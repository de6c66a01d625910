"""How often it may be tried to sign in: by each address, and by all together. Pure.

limits = SignInLimits()
if limits.may_try("192.0.2.7", now): ...
else: limits.wait("192.0.2.7", now).seconds
limits.succeeded("192.0.2.7", now)          # that try does not count
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# A person mistypes some times in a row, and finds the right token within a minute. A secret has at
# least 16 characters, so what is left is far too slow to guess one.
TRIES_OF_ADDRESS: Final = 5
ADDRESS_REFILL_S: Final = 12.0

# Whoever has many addresses tries no more often than this.
TRIES_IN_ALL: Final = 50
ALL_REFILL_S: Final = 1.2

# Addresses that are remembered, those that tried last; some 200 kB.
MAX_ADDRESSES: Final = 1024


class Limited(StrEnum):
    """Who tried too often."""

    ADDRESS = "address"
    ALL = "all"
    """All addresses together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """How long nobody may try, of whom."""

    limited: Limited
    seconds: float


class Bucket:
    """Tries that are left; one more comes back every so many seconds.

    Args:
        most: How many there can be.
        refill_s: Seconds for one to come back.
    """

    __slots__ = ("_at_s", "_left", "_most", "_refill_s")

    def __init__(self, *, most: int, refill_s: float) -> None:
        """Begin with all of them."""
        self._most, self._refill_s = most, refill_s
        self._left, self._at_s = float(most), 0.0

    def left(self, now: float) -> float:
        """Return how many are left."""
        gained = max(0.0, now - self._at_s) / self._refill_s
        return min(float(self._most), self._left + gained)

    def wait_s(self, now: float) -> float:
        """Return after how many seconds there is one."""
        return max(0.0, 1 - self.left(now)) * self._refill_s

    def take(self, now: float) -> None:
        """Take one of them."""
        self._left, self._at_s = self.left(now) - 1, now

    def give_back(self, now: float) -> None:
        """Give one back."""
        self._left, self._at_s = self.left(now) + 1, now


class SignInLimits:
    """Who may try now."""

    def __init__(self) -> None:
        """Start without tries."""
        self._all = Bucket(most=TRIES_IN_ALL, refill_s=ALL_REFILL_S)
        # In the order of their last tries.
        self._addresses: dict[str, Bucket] = {}

    def may_try(self, address: str, now: float) -> bool:
        """Return whether an address may try at ``now`` (monotonic seconds), and count the try."""
        network = _network(address)
        own = self._addresses.pop(network, None)
        if own is None:
            own = Bucket(most=TRIES_OF_ADDRESS, refill_s=ADDRESS_REFILL_S)
        self._addresses[network] = own
        if len(self._addresses) > MAX_ADDRESSES:
            # Had it tries to wait for, it tries as one of all.
            del self._addresses[next(iter(self._addresses))]
        if own.left(now) < 1 or self._all.left(now) < 1:
            return False
        own.take(now)
        self._all.take(now)
        return True

    def wait(self, address: str, now: float) -> Wait:
        """Return how long an address that may not try has to wait, and for whose tries."""
        own = self._addresses.get(_network(address))
        own_s = 0.0 if own is None else own.wait_s(now)
        all_s = self._all.wait_s(now)
        limited = Limited.ADDRESS if own_s >= all_s else Limited.ALL
        return Wait(limited=limited, seconds=max(own_s, all_s))

    def succeeded(self, address: str, now: float) -> None:
        """Take back the try of who knew a token."""
        self._all.give_back(now)
        if (own := self._addresses.get(_network(address))) is not None:
            own.give_back(now)


def _network(address: str) -> str:
    """Return what one customer has: an IPv4 address, or an IPv6 network of 64 bits."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((found, 64), strict=False))

"""Spread frames over operating points by their shares."""

from collections.abc import Mapping
from typing import Generic, TypeVar

Key = TypeVar("Key")


class Dither(Generic[Key]):
    """Spread frames over a few keys so that each count stays within one of its share."""

    def __init__(self, shares: Mapping[Key, float]) -> None:
        """Start without credit; see `set_shares`."""
        self._owed: dict[Key, float] = {}
        self.set_shares(shares)

    def next(self) -> Key:
        """Return the key that takes the next frame: the one that is owed most."""
        owed = self._owed
        for key, share in self._shares.items():
            owed[key] += share
        chosen = max(owed, key=owed.__getitem__)
        owed[chosen] -= 1
        return chosen

    def set_shares(self, shares: Mapping[Key, float]) -> None:
        """Change the shares; what is owed to a key that stays is still owed.

        Args:
            shares: Positive parts of all frames per key; they add up to 1.

        Raises:
            ValueError: A share is not positive, or they do not add up to 1.
        """
        if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares are {dict(shares)!r}, expected positive and 1 in all")
        owed = {key: self._owed.get(key, 0.0) for key in shares}
        self._shares, self._owed = dict(shares), owed

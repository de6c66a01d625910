"""How much memory the frames of all devices may take together: accounting, and whose turn it is.

A frame's bytes count from the moment its message begins until the frame is stored. Who finds no
room waits, and those who wait get room in the order in which they came: small frames do not
overtake a large one for ever.

    budget = MemoryBudget(limit_bytes=1 << 30)
    if not budget.reserve(link, 900_000): ...                # the link waits
    budget.release(900_000)
    while (link := budget.next_in_turn()) is not None: ...   # it asks again
"""

from collections.abc import Hashable
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter", bound=Hashable)


class MemoryBudget(Generic[Waiter]):
    """Counts bytes against a limit.

    Args:
        limit_bytes: Most bytes that are reserved; one reservation is always granted while nothing
            is held, so that nobody waits for ever.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        """Start with nothing held."""
        self.held_bytes = 0
        self.limit_bytes = limit_bytes
        # In the order in which they came, with what each asked for.
        self._waiting: dict[Waiter, int] = {}
        self._in_turn: Waiter | None = None

    @property
    def is_full(self) -> bool:
        """Whether more is held than the limit: what cannot be refused has no need to ask."""
        return self.held_bytes > self.limit_bytes

    @property
    def is_awaited(self) -> bool:
        """Whether anybody waits."""
        return bool(self._waiting)

    def reserve(self, waiter: Waiter, size: int) -> bool:
        """Take ``size`` bytes, or put ``waiter`` at the end of those who wait."""
        is_its_turn = self._in_turn is waiter or not self._waiting
        self._in_turn = None
        if is_its_turn and self._fits(size):
            self.held_bytes += size
            return True
        self.wait(waiter, size)
        return False

    def wait(self, waiter: Waiter, size: int) -> None:
        """Put ``waiter`` at the end of those who wait; one that waits already keeps its place."""
        self._waiting[waiter] = size

    def hold(self, size: int) -> None:
        """Count ``size`` bytes that are there already, over the limit or not."""
        self.held_bytes += size

    def release(self, size: int) -> None:
        """Give back what was reserved or held."""
        self.held_bytes -= size

    def next_in_turn(self) -> Waiter | None:
        """Return the first that waits, if there is room for it now; it no longer waits.

        Its next reservation goes before those of all who wait.
        """
        for waiter, size in self._waiting.items():
            if not self._fits(size):
                return None
            del self._waiting[waiter]
            self._in_turn = waiter
            return waiter
        return None

    def forget(self, waiter: Waiter) -> None:
        """Take ``waiter`` out of those who wait."""
        self._waiting.pop(waiter, None)

    def _fits(self, size: int) -> bool:
        return self.held_bytes + size <= self.limit_bytes or self.held_bytes == 0

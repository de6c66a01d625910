"""The memory of all devices' frames, for the event loop: who waits for some goes on when there is.

memory = FrameMemory(limit_bytes=1 << 30)
if not memory.reserve(link, 900_000): ...       # link.go_on() is called when it is its turn
memory.release(900_000)
"""

import asyncio
import logging
import time
from collections.abc import Hashable
from typing import Protocol

from offload.cloud.memory_budget import MemoryBudget
from offload.throttle import Complaint

logger = logging.getLogger(__name__)


class Starving(Hashable, Protocol):
    """Who may wait for memory."""

    def go_on(self) -> None:
        """Ask again: it is your turn."""


class FrameMemory(MemoryBudget[Starving]):
    """A `MemoryBudget` that calls those who wait, and says once a minute that they do."""

    def __init__(self, *, limit_bytes: int) -> None:
        """Start with nothing held."""
        super().__init__(limit_bytes=limit_bytes)
        self._complaint = Complaint()
        self._will_call = False

    def wait(self, waiter: Starving, size: int) -> None:
        """Put ``waiter`` at the end of those who wait; it is called when it is its turn."""
        super().wait(waiter, size)
        if self._complaint.is_due(time.monotonic()):
            logger.warning("memory_limit_reached", extra={"held_bytes": self.held_bytes})

    def release(self, size: int) -> None:
        """Give back what was reserved or held."""
        super().release(size)
        self._call_soon()

    def forget(self, waiter: Starving) -> None:
        """Take ``waiter`` out of those who wait; the next one may need less."""
        super().forget(waiter)
        self._call_soon()

    def _call_soon(self) -> None:
        # Not in here: whoever releases is in the middle of something.
        if self.is_awaited and not self._will_call:
            self._will_call = True
            asyncio.get_running_loop().call_soon(self._call_those_in_turn)

    def _call_those_in_turn(self) -> None:
        self._will_call = False
        while (waiter := self.next_in_turn()) is not None:
            waiter.go_on()

"""A run that is told to end, by a signal or because its window was closed: it drains.

drain = Drain(on_begin=capture.stop)
signal.signal(signal.SIGTERM, drain.interrupt)
drain.begin(why="the window was closed")
while not drain.is_over: ...
"""

import logging
import math
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

logger = logging.getLogger("device")

# What the first SIGTERM or SIGINT leaves for the frames in flight (contract, section 4).
DRAIN_S: Final = 10.0


class Interrupted(BaseException):
    """The user interrupted a second time: end now."""


class Drain:
    """Whether a run is to end before its source does, and by when.

    Args:
        on_begin: Called when it is told to; also from a signal handler.
        clock: Monotonic seconds.
    """

    def __init__(
        self, *, on_begin: Callable[[], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nobody has told it to end yet."""
        self._clock = clock
        self._on_begin = on_begin
        self._is_interrupted = False
        self._unsaid: dict[str, str] = {}
        self._by_s = math.inf

    @property
    def is_wanted(self) -> bool:
        """Whether the run was told to end."""
        return self._by_s < math.inf

    @property
    def is_over(self) -> bool:
        """Whether the time for that has passed."""
        return self._clock() >= self._by_s

    def interrupt(self, signal_number: int, _frame: FrameType | None) -> None:
        """Begin to drain at the first signal; end at once at the second.

        Raises:
            Interrupted: It is the second one.
        """
        if self._is_interrupted:
            raise Interrupted
        self._is_interrupted = True
        self._begin({"signal": signal.Signals(signal_number).name})

    def begin(self, *, why: str = "") -> None:
        """Begin to drain, for a reason that the log gives unless it is empty."""
        self._begin({"why": why} if why else {})

    def say(self) -> None:
        """Say in the log that the run drains, unless that was said; never from a signal handler.

        The main thread may be writing a line at that very moment, and a stream that is written to
        cannot be written to from within.
        """
        if self._unsaid:
            said, self._unsaid = self._unsaid, {}
            logger.info("draining", extra=said)

    def _begin(self, said: dict[str, str]) -> None:
        if not self.is_wanted:
            self._by_s = self._clock() + DRAIN_S
            self._unsaid = said
        self._on_begin()

"""The streams that a server has in memory: those of connected devices, and of some that are away.

table = StreamTable[Stream]()
stream = table.enter(record.stream, lambda: Stream(...))
table.leave(stream, now=time.monotonic())
table.forget_idle(now=time.monotonic())         # now and then
"""

import logging
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from offload.cloud.report import Tally

logger = logging.getLogger(__name__)

# Streams whose devices are away stay in memory for this time, and while there are not more of them.
# Then a store that keeps their tasks' state gives it back when they return; without one they stay
# until there are more, but for trials.
FORGET_AFTER_S: Final = 300.0
MAX_IDLE_STREAMS: Final = 1000


class KeptStream(Protocol):
    """What the table asks of a stream."""

    name: str
    may_be_forgotten: bool

    @property
    def is_at_rest(self) -> bool:
        """Whether all of its frames are stored."""

    @property
    def is_stale(self) -> bool:
        """Whether what it holds is of no use any more."""

    def drop_picture(self) -> None:
        """Forget what is kept for whoever watches."""


Kept = TypeVar("Kept", bound=KeptStream)


class StreamTable(Generic[Kept]):
    """Streams by name, and the counts of all there were.

    Args:
        max_idle: How many may stay whose devices are away.
        forget_after_s: How long those stay that may be forgotten.
    """

    def __init__(
        self, *, max_idle: int = MAX_IDLE_STREAMS, forget_after_s: float = FORGET_AFTER_S
    ) -> None:
        """Start without streams."""
        self.tally = Tally()
        self._max_idle = max_idle
        self._forget_after_s = forget_after_s
        self._streams: dict[str, Kept] = {}
        # Since when their devices are away; the longest first.
        self._idle: dict[str, float] = {}

    def get(self, name: str) -> Kept | None:
        """Return the stream if it is in memory."""
        return self._streams.get(name)

    def all(self) -> list[Kept]:
        """Return the streams that are in memory."""
        return list(self._streams.values())

    def enter(self, name: str, make: Callable[[], Kept]) -> Kept:
        """Return the stream of a device that has come; made if it is not in memory."""
        if name not in self._streams:
            self._streams[name] = make()
        self._idle.pop(name, None)
        return self._streams[name]

    def leave(self, stream: Kept, *, now: float) -> None:
        """Note that the stream's device is away; its tasks' state waits here for a while."""
        self._idle[stream.name] = now

    def close(self, stream: Kept) -> None:
        """Forget a stream; its counts stay for the report."""
        del self._streams[stream.name]
        self._idle.pop(stream.name, None)
        self.tally.close(stream.name)

    def forget(self, stream: Kept) -> None:
        """Forget a stream that may come back, and say if its tasks' state is lost by this."""
        if stream.may_be_forgotten:
            logger.debug("stream_forgotten", extra={"stream": stream.name})
        else:
            logger.warning("stream_state_forgotten", extra={"stream": stream.name})
        self.close(stream)

    def forget_idle(self, *, now: float) -> None:
        """Forget streams whose devices are away for long, or that are too many."""
        too_many = len(self._idle) - self._max_idle
        for name, since_s in list(self._idle.items()):
            stream = self._streams[name]
            if not stream.is_at_rest:
                continue
            # Nobody waits for it, and a picture of each would be much memory.
            stream.drop_picture()
            is_old = stream.may_be_forgotten and now - since_s >= self._forget_after_s
            if is_old or stream.is_stale or too_many > 0:
                self.forget(stream)
                too_many -= 1

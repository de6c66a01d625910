"""Frames that are stored and not acknowledged yet: filled by any thread, emptied by the event loop.

stored = StoredFrames(loop, acknowledge)
writer = ResultsWriter(store, on_committed=stored.put)
stored.look(connection)                         # in the loop, after what came in one read
for stream, finished in stored.take().items(): ...
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from offload.cloud.transport import CloudConnection
from offload.results.writer import Finished

# Each acknowledgement is a system call here, and wakes a thread there. Frames that the loop ran
# itself are acknowledged together while the next ones are coming in, but none waits longer.
GROUPED_FRAMES: Final = 8
GROUPING_S: Final = 1e-3


class StoredFrames:
    """What waits for its acknowledgement, and when it is sent.

    Args:
        loop: The event loop, which is running in this thread.
        acknowledge: Called in the loop when it is time; it takes what there is.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, acknowledge: Callable[[], None]) -> None:
        """Start with nothing stored."""
        self._loop = loop
        self._loop_thread = threading.get_ident()
        self._acknowledge = acknowledge
        self._stored: deque[Finished] = deque()
        self._will_acknowledge = False

    def put(self, batch: Sequence[Finished]) -> None:
        """Take note, in the thread that stored it, of what can be acknowledged."""
        self._stored.extend(batch)
        # The loop looks itself after what it ran itself. For others, waking it costs more than most
        # tasks: once is enough, until it has come round.
        if not self._will_acknowledge and threading.get_ident() != self._loop_thread:
            self._will_acknowledge = True
            self._loop.call_soon_threadsafe(self._acknowledge)

    def look(self, connection: CloudConnection) -> None:
        """Acknowledge, unless it can wait for what is already on its way on the connection."""
        if not self._stored:
            return
        if len(self._stored) >= GROUPED_FRAMES or not connection.has_more:
            self._acknowledge()
        elif not self._will_acknowledge:
            self._will_acknowledge = True
            self._loop.call_later(GROUPING_S, self._acknowledge)

    def take(self) -> dict[str, list[Finished]]:
        """Return what is stored, by stream and in order, and forget it."""
        self._will_acknowledge = False
        by_stream: dict[str, list[Finished]] = {}
        while self._stored:
            each = self._stored.popleft()
            by_stream.setdefault(each.stream, []).append(each)
        return by_stream

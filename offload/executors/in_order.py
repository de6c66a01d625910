"""Run work on several threads, and get it back in the order in which it was begun.

workers = InOrder[Work](2, on_ready=wake_me)
if workers.begin(work, run=work.compute, quick=quick):  # done at once, in this thread
    use(work)
while (ready := workers.next_ready(timeout_s=0.2)) is not None:
    use(ready)
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

from offload.executors.threads import Quickness, ThreadPool

Work = TypeVar("Work")


class InOrder(Generic[Work]):
    """Keeps several threads busy with work of which one thread begins and ends each piece.

    Args:
        workers: How many threads; with 1 there is none, and the caller's does it all.
        on_ready: Called by a worker when a piece is ready, so that the caller stops waiting for
            something else.

    Attributes:
        workers: How many threads there are.
    """

    def __init__(self, workers: int, *, on_ready: Callable[[], None]) -> None:
        """Start the threads."""
        self._kinds: deque[Quickness] = deque()
        self.workers = workers
        self._on_ready = on_ready
        self._pool = ThreadPool(workers) if workers > 1 else None
        self._lane = self._pool.lane() if self._pool is not None else None
        self._ready: SimpleQueue[Work] = SimpleQueue()

    @property
    def in_progress(self) -> int:
        """How many pieces `next_ready` will still give back."""
        return len(self._kinds)

    @property
    def is_full(self) -> bool:
        """Whether each worker has a piece, and one more waits for the first that gets free."""
        return self.in_progress > self.workers

    @property
    def has_ready(self) -> bool:
        """Whether `next_ready` need not wait."""
        return not self._ready.empty()

    def is_better_ended_first(self, quick: Quickness) -> bool:
        """Whether what is in progress should be taken back before work of this kind is begun.

        Quick work that finds quick work in progress would have to go behind it, for ever so: a
        thread would be woken for each piece.
        """
        return bool(quick) and self.in_progress > 0 and all(self._kinds)

    def begin(self, work: Work, *, run: Callable[[], float], quick: Quickness) -> bool:
        """Run ``run``; return True if that is done, False if `next_ready` will give ``work`` back.

        Args:
            work: What `next_ready` returns.
            run: Returns the seconds that it took.
            quick: Of this kind of work: if it is, and nothing is in progress, it is done at once.
        """
        if self._lane is None or (quick and not self.in_progress):
            quick.book(run())
            return True
        self._kinds.append(quick)
        self._lane.submit(free=run, ordered=partial(self._note_ready, work, quick))
        return False

    def next_ready(self, *, timeout_s: float) -> Work | None:
        """Return the oldest piece in progress, or None if it is not ready within the time."""
        try:
            work = self._ready.get(timeout=timeout_s)
        except Empty:
            return None
        self._kinds.popleft()
        return work

    def close(self) -> None:
        """End the threads; nothing may be in progress."""
        if self._pool is not None:
            self._pool.close()

    def _note_ready(self, work: Work, quick: Quickness, seconds: float) -> None:
        quick.book(seconds)
        self._ready.put(work)
        self._on_ready()

"""Run work on a pool of threads: freely, or in order where it has to be.

A `Lane` takes jobs of two parts. The free parts of several jobs run at the same time; the ordered
parts run one after the other, in the order in which the jobs were submitted. OpenCV and numpy
release the interpreter's lock in their loops, so threads use all cores there.

    pool = ThreadPool(workers=4)
    lane = pool.lane()
    lane.submit(free=lambda: blur(frame), ordered=lambda blurred: track(blurred))
"""

import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Final


@dataclass(slots=True)
class _Job:
    lane: "Lane"
    free: Callable[[], Any]
    ordered: Callable[[Any], None]
    ready: bool = False
    outcome: Any = None


class Quickness:
    """Whether work of one kind is so quick that another thread is not worth waking for it.

    A wake-up takes 6 us between two threads of an idle machine, and three times that next to
    frames of 0.9 MB.

    Args:
        limit_s: What quick work takes at most in the mean.
        in_a_row: How often it must not have been slow (ten times the limit), since one slow time
            may cost more than many quick ones save.
    """

    SLOW_FACTOR: Final = 10
    MEAN_TIMES: Final = 16

    __slots__ = ("_in_a_row", "_limit_s", "_mean_s", "_times")

    def __init__(self, *, limit_s: float, in_a_row: int) -> None:
        """Expect work that takes long."""
        self._limit_s = limit_s
        self._in_a_row = in_a_row
        self._times = 0
        self._mean_s = 0.0

    def __bool__(self) -> bool:
        """Return whether it was quick for so long."""
        return self._times >= self._in_a_row and self._mean_s < self._limit_s

    def book(self, seconds: float) -> None:
        """Learn what the work took this time."""
        if seconds > self.SLOW_FACTOR * self._limit_s:
            self._times, self._mean_s = 0, 0.0
            return
        self._times += 1
        self._mean_s += (seconds - self._mean_s) / min(self._times, self.MEAN_TIMES)


class ThreadPool:
    """A bounded number of threads that lanes share.

    Args:
        workers: How many; None for one per processor.
    """

    def __init__(self, workers: int | None) -> None:
        """Start the threads."""
        self.workers = workers or os.cpu_count() or 1
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"task-{number}", daemon=True)
            for number in range(1, self.workers + 1)
        ]
        for each in self._threads:
            each.start()

    def lane(self) -> "Lane":
        """Return a new lane on this pool."""
        return Lane(self._jobs)

    def close(self) -> None:
        """Wait for all that was submitted, and end the threads."""
        for _ in self._threads:
            self._jobs.put(None)
        for each in self._threads:
            each.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job.outcome = job.free()
            job.ready = True
            job.lane.advance()
            # Else this thread would hold on to the frame until the next one comes.
            del job


class Lane:
    """Jobs whose ordered parts must not overtake each other."""

    def __init__(self, queue: "SimpleQueue[_Job | None]") -> None:
        """Start empty."""
        self._queue = queue
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._advancing = False

    def submit(self, *, free: Callable[[], Any], ordered: Callable[[Any], None]) -> None:
        """Run ``free`` soon, and then ``ordered`` on what it returned, once it is its turn.

        Neither may raise: what they do with errors is theirs to decide. One that does ends its
        thread.
        """
        job = _Job(self, free, ordered)
        with self._lock:
            self._jobs.append(job)
        self._queue.put(job)

    def run_inline(self, *, free: Callable[[], Any], ordered: Callable[[Any], None]) -> bool:
        """Run both parts in the calling thread; False if other jobs are before them."""
        with self._lock:
            if self._jobs or self._advancing:
                return False
            self._advancing = True
        ordered(free())
        self._advancing = False
        # What was submitted meanwhile found the lane occupied.
        self.advance()
        return True

    def advance(self) -> None:
        """Run the ordered parts at the head of the lane, unless another thread is at it."""
        while True:
            with self._lock:
                if self._advancing or not self._jobs or not self._jobs[0].ready:
                    return
                job = self._jobs.popleft()
                self._advancing = True
            job.ordered(job.outcome)
            self._advancing = False

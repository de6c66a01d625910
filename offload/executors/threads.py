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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True, kw_only=True)
class _Job:
    free: Callable[[], Any]
    ordered: Callable[[Any], None]
    ready: bool = False
    outcome: Any = None


class ThreadPool:
    """A bounded number of threads that lanes share.

    Args:
        workers: How many; None for one per processor.
    """

    def __init__(self, workers: int | None) -> None:
        """Start no thread yet; they come with the work."""
        self.workers = workers or os.cpu_count() or 1
        self._executor = ThreadPoolExecutor(self.workers, thread_name_prefix="task")

    def lane(self) -> "Lane":
        """Return a new lane on this pool."""
        return Lane(self._executor)

    def close(self) -> None:
        """Wait for all that was submitted, and end the threads."""
        self._executor.shutdown()


class Lane:
    """Jobs whose ordered parts must not overtake each other."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        """Start empty."""
        self._executor = executor
        self._lock = threading.Lock()
        self._jobs: deque[_Job] = deque()
        self._advancing = False

    def submit(self, *, free: Callable[[], Any], ordered: Callable[[Any], None]) -> None:
        """Run ``free`` soon, and then ``ordered`` on what it returned, once it is its turn.

        Neither may raise: what they do with errors is theirs to decide. One that does is treated
        as a thread that ended by an error.
        """
        job = _Job(free=free, ordered=ordered)
        with self._lock:
            self._jobs.append(job)
        self._executor.submit(self._run, job)

    def _run(self, job: _Job) -> None:
        try:
            job.outcome = job.free()
            job.ready = True
            self._advance()
        # A pool keeps what its work raises to itself; here it is a bug, and must not go unseen.
        except Exception as error:  # noqa: BLE001
            threading.excepthook(
                threading.ExceptHookArgs(
                    (type(error), error, error.__traceback__, threading.current_thread())
                )
            )

    def _advance(self) -> None:
        """Run the ordered parts at the head of the lane, unless another thread is at it."""
        while True:
            with self._lock:
                if self._advancing or not self._jobs or not self._jobs[0].ready:
                    return
                job = self._jobs.popleft()
                self._advancing = True
            try:
                job.ordered(job.outcome)
            finally:
                with self._lock:
                    self._advancing = False

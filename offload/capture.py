"""Read a source, number its frames, and keep its pace.

A frame gets its sequence number when it is captured, so that whatever becomes of it has a place. A
source that waits for nobody (`Overload.NEWEST`) is read on a thread of its own: what is not taken
in time is overwritten by newer frames, and the gap in the numbers says so.

    capture = Capture(frames, start_seq=0, overload=Overload.BLOCK, limit=Limit(), rate_fps=None)
    while (captured := capture.next(timeout_s=0.2)) is not None or not capture.is_over: ...
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

# One frame is being taken while the next one waits; more would only make the newest frame older.
NEWEST_BACKLOG_FRAMES: Final = 1

Values = Mapping[str, object]


class Overload(StrEnum):
    """What happens to frames that come faster than they are taken."""

    BLOCK = "block"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """When to stop: after so many frames or seconds, whichever comes first; None for no limit."""

    frames: int | None = None
    duration_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A frame as the source gave it.

    Attributes:
        seq: Its sequence number.
        values: What the source gave.
        captured_s: Monotonic seconds when the source had it.
        captured_at: Wall clock then, seconds since 1970: a label.
        read_s: Seconds of work to read it.
        waited_s: Seconds for which the pace held the reading back, or the program waited for a live
            source: not work.
    """

    seq: int
    values: Values
    captured_s: float
    captured_at: float
    read_s: float
    waited_s: float


class Capture:
    """The frames of a source, numbered from ``start_seq``.

    Args:
        frames: The opened source.
        start_seq: Number of the first frame.
        overload: `NEWEST` reads on a thread of its own and overwrites; `BLOCK` reads when asked.
        limit: When to stop.
        rate_fps: Read at most at this pace, as a camera would give; None as fast as frames are
            taken.
    """

    def __init__(
        self,
        frames: Iterator[Values],
        *,
        start_seq: int,
        overload: Overload,
        limit: Limit,
        rate_fps: float | None,
    ) -> None:
        """Start reading, where that needs a thread."""
        self._frames = frames
        self._next_seq = start_seq
        self._start_seq = start_seq
        self._limit = limit
        self._interval_s = 1 / rate_fps if rate_fps else 0.0
        now = time.monotonic()
        self._deadline_s = None if limit.duration_s is None else now + limit.duration_s
        self._due_s = now
        self._stopped = threading.Event()
        self._over = False
        self._changed = threading.Condition()
        self._backlog: deque[Captured] = deque(maxlen=NEWEST_BACKLOG_FRAMES)
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None
        if overload is Overload.NEWEST:
            self._thread = threading.Thread(target=self._read_all, name="capture", daemon=True)
            self._thread.start()

    @property
    def next_seq(self) -> int:
        """One past the last captured frame."""
        return self._next_seq

    @property
    def is_over(self) -> bool:
        """Whether neither a frame nor the source's error will come any more.

        Once it is enough, a thread that still waits for its source is not waited for: a camera that
        died may never answer.
        """
        with self._changed:
            if self._thread is not None and not self._backlog and self._is_enough():
                self._over = True
            return self._over and not self._backlog and self._failure is None

    def stop(self) -> None:
        """Capture no further frame; those captured already are still given."""
        self._stopped.set()
        with self._changed:
            self._changed.notify_all()

    def next(self, *, timeout_s: float) -> Captured | None:
        """Return the next frame, or None if there is none within the time or the source has ended.

        Raises:
            Exception: Whatever the source raised.
        """
        if self._thread is None:
            captured = self._read()
            self._over = captured is None
            return captured
        asked_s = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._backlog or self._over, timeout_s)
            if self._backlog:
                captured = self._backlog.popleft()
                waited_s = max(0.0, captured.captured_s - asked_s)
                return replace(captured, waited_s=waited_s)
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return None

    def _read_all(self) -> None:
        try:
            while self._read() is not None:
                pass
        # Handed over to the thread that takes the frames, which raises it.
        except Exception as error:  # noqa: BLE001
            self._failure = error
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _read(self) -> Captured | None:
        """Read one frame when it is due; None at the end."""
        if self._is_enough():
            return None
        waited_s = self._keep_pace()
        if self._is_enough():
            return None
        began_s = time.monotonic()
        values = next(self._frames, None)
        now = time.monotonic()
        if values is None:
            return None
        with self._changed:
            if self._over:
                return None
            captured = Captured(
                seq=self._next_seq,
                values=values,
                captured_s=now,
                captured_at=time.time(),
                read_s=now - began_s,
                waited_s=waited_s,
            )
            self._next_seq += 1
            if self._thread is not None:
                self._backlog.append(captured)
                self._changed.notify_all()
        return captured

    def _is_enough(self) -> bool:
        frames = self._next_seq - self._start_seq
        return (
            self._stopped.is_set()
            or (self._limit.frames is not None and frames >= self._limit.frames)
            or (self._deadline_s is not None and time.monotonic() >= self._deadline_s)
        )

    def _keep_pace(self) -> float:
        if not self._interval_s:
            return 0.0
        now = time.monotonic()
        wait_s = self._due_s - now
        if wait_s > 0:
            self._stopped.wait(wait_s)
        # Whoever is late by more than a frame does not catch up in a burst: a camera would not,
        # either.
        self._due_s = max(self._due_s, now - self._interval_s) + self._interval_s
        return max(0.0, wait_s)

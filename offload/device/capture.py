"""Read a source, number its frames, and keep its pace.

A frame gets its sequence number when it is captured, so that whatever becomes of it has a place. A
source that waits for nobody (`Overload.NEWEST`) is read on a thread of its own: what is not taken
in time is overwritten by newer frames, and the gap in the numbers says so. If it hangs, it is
opened again on another thread, and the numbers go on.

    capture = Capture(frames, start_seq=0, overload=Overload.BLOCK, limit=Limit(), rate_fps=None)
    while (captured := capture.next(timeout_s=0.2)) is not None or not capture.is_over: ...
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final

logger = logging.getLogger("capture")

# One frame is being taken while the next one waits; more would only make the newest frame older.
NEWEST_BACKLOG_FRAMES: Final = 1

# The slowest camera that makes sense gives a frame a second; one that is silent for five has hung.
HANG_S: Final = 5.0

# Opening a network stream takes long: a connection, its description, and then the next key frame.
FIRST_HANG_S: Final = 15.0

# A camera that was unplugged, or restarts, needs its time. Each attempt after another waits twice
# as long, up to a minute, so that one that is gone for the night does not fill the log.
REOPEN_WAIT_S: Final = 1.0
MAX_REOPEN_WAIT_S: Final = 60.0

# A read that hangs cannot be ended from outside: its thread is left behind, with what the camera's
# driver holds. So many at once mean that it never returns, and only a new process helps.
MAX_HUNG_READERS: Final = 8

_END: Final = object()

Clock = Callable[[], float]
Reopen = Callable[[int], Iterator[object]]


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
        values: What the source gave, not yet prepared.
        captured_s: Monotonic seconds when the source had it, or would have had: a frame that is
            paced was due, though the device may have woken up later.
        captured_at: Wall clock then, seconds since 1970: a label.
        read_s: Seconds of work to read it.
        waited_s: Seconds since the frame before for which the pace held the reading back, or
            `Capture.next` waited for a live source: not work.
    """

    seq: int
    values: object
    captured_s: float
    captured_at: float
    read_s: float
    waited_s: float


class _Reader:
    """One opening of a live source, read on a thread of its own.

    Attributes:
        thread: What reads it.
        is_first: Whether the stream began with it; whatever it raises then ends the stream.
        gave: Whether it gave a frame.
        asking_since_s: Since when it waits for the source; None while it does not.
    """

    thread: threading.Thread

    def __init__(self, *, is_first: bool, asking_since_s: float | None) -> None:
        self.is_first = is_first
        self.gave = False
        self.asking_since_s = asking_since_s

    def silent_s(self, now: float) -> float:
        since_s = self.asking_since_s
        return 0.0 if since_s is None else now - since_s

    def hangs(self, now: float) -> bool:
        return self.silent_s(now) > (HANG_S if self.gave else FIRST_HANG_S)


class Capture:
    """The frames of a source, numbered from ``start_seq``.

    One thread takes them by `next`; the other methods may be called from any.

    Args:
        frames: The opened source.
        start_seq: Number of the first frame.
        overload: `NEWEST` reads on a thread of its own and overwrites; `BLOCK` reads when asked.
        limit: When to stop.
        rate_fps: Read at most at this pace, as a camera would give; None as fast as frames are
            taken.
        reopen: Opens a live source again, from a sequence number on; it is called on a thread of
            its own once a `NEWEST` source hangs. None: a source that hangs is waited for.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        frames: Iterator[object],
        *,
        start_seq: int,
        overload: Overload,
        limit: Limit,
        rate_fps: float | None,
        reopen: Reopen | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        """Start reading, where that needs a thread."""
        self._clock = clock
        self._next_seq = start_seq
        self._start_seq = start_seq
        self._limit = limit
        self._interval_s = 1 / rate_fps if rate_fps else 0.0
        now = clock()
        self._deadline_s = None if limit.duration_s is None else now + limit.duration_s
        self._due_s = now
        self._waited_s = 0.0
        self._late_s = 0.0
        self._newest_s: float | None = None
        self._missed = 0
        self._stopped = False
        self._woken = False
        self._over = False
        # A signal handler may notify while its own thread waits: the lock must be one that the
        # same thread can take twice, which is what a Condition has of itself.
        self._changed = threading.Condition()
        self._backlog: deque[Captured] = deque(maxlen=NEWEST_BACKLOG_FRAMES)
        self._failure: BaseException | None = None
        self._reopen = reopen
        self._reopen_at_s = now
        self._reopen_wait_s = REOPEN_WAIT_S
        self._hung: list[threading.Thread] = []
        self._frames: Iterator[object] | None = None
        self._reader: _Reader | None = None
        if overload is Overload.NEWEST:
            self._start_reader(lambda: frames, is_first=True)
        else:
            self._frames = frames

    @property
    def next_seq(self) -> int:
        """One past the last captured frame."""
        return self._next_seq

    @property
    def captured(self) -> int:
        """How many frames were captured."""
        return self._next_seq - self._start_seq

    @property
    def missed(self) -> int:
        """How many frames were overwritten by newer ones before they were taken."""
        return self._missed

    @property
    def is_over(self) -> bool:
        """Whether neither a frame nor the source's error will come any more.

        Once it is enough, a thread that still waits for its source is not waited for: a camera that
        died may never answer.
        """
        with self._changed:
            if not self._backlog and self._is_enough():
                self._over = True
            return self._over and not self._backlog and self._failure is None

    def age_s(self, now: float) -> float | None:
        """Return for how long the newest frame has been there; None before the first one."""
        return None if self._newest_s is None else now - self._newest_s

    def stop(self) -> None:
        """Capture no further frame; those captured already are still given."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def wake(self) -> None:
        """Make `next` return None at once where it waits, now or the next time that it would.

        A frame that is there is given all the same. Whenever `next` returns, that answers all calls
        before.
        """
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def next(self, *, timeout_s: float) -> Captured | None:
        """Return the next frame; None if there is none in time, the source has ended, or `wake`.

        A source that hangs is noticed here, so ask at least every second.

        Raises:
            TimeoutError: It hung again and again, and none of the reads ever returned.
            BaseException: Whatever the source raised.
        """
        if self._frames is not None:
            captured = self._read_when_due(self._frames, timeout_s)
            self._woken = False
            return captured
        asked_s = self._clock()
        with self._changed:
            self._watch(asked_s)
            self._changed.wait_for(self._has_news, timeout_s)
            self._woken = False
            if self._backlog:
                captured = self._backlog.popleft()
                waited_s = self._waited_s + max(0.0, captured.captured_s - asked_s)
                self._waited_s = 0.0
                return replace(captured, waited_s=waited_s)
            self._waited_s += self._clock() - asked_s
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return None

    def _has_news(self) -> bool:
        return bool(self._backlog) or self._over or self._woken or self._stopped

    # A source that is read when asked.

    def _read_when_due(self, frames: Iterator[object], timeout_s: float) -> Captured | None:
        if self._is_enough() or not self._wait_until_due(timeout_s):
            return None
        began_s = self._clock()
        values = next(frames, _END)
        if values is _END:
            self._over = True
            return None
        waited_s, self._waited_s = self._waited_s, 0.0
        late_s, self._late_s = self._late_s, 0.0
        return self._number(values, began_s, waited_s, late_s=late_s)

    def _wait_until_due(self, timeout_s: float) -> bool:
        """Keep the pace; False if the frame is not due in time, or `stop` or `wake` came before.

        A frame that is held back stays due when it was.
        """
        if not self._interval_s:
            return True
        wait_s = self._due_s - self._clock()
        if wait_s > 0:
            began_s = self._clock()
            with self._changed:
                interrupted = self._changed.wait_for(
                    lambda: self._woken or self._stopped, min(wait_s, timeout_s)
                )
            # Of what came after it was due the source knows nothing: the device woke up late.
            waited_s = self._clock() - began_s
            self._waited_s += min(waited_s, wait_s)
            self._late_s = max(0.0, waited_s - wait_s)
            if interrupted or wait_s > timeout_s:
                return False
        self._plan_next()
        return True

    def _plan_next(self) -> None:
        # Whoever is late by more than a frame does not catch up in a burst: a camera would not,
        # either.
        late_s = self._clock() - self._interval_s
        self._due_s = max(self._due_s, late_s) + self._interval_s

    # A live source, on a thread of its own.

    def _start_reader(self, opener: Callable[[], Iterator[object]], *, is_first: bool) -> None:
        reader = _Reader(is_first=is_first, asking_since_s=self._clock())
        reader.thread = threading.Thread(
            target=self._read_all, args=(reader, opener), name="capture", daemon=True
        )
        self._reader = reader
        reader.thread.start()

    def _read_all(self, reader: "_Reader", opener: Callable[[], Iterator[object]]) -> None:
        failure: BaseException | None = None
        try:
            frames = opener()
            while self._read_newest(reader, frames):
                pass
        # Handed over to the thread that takes the frames, which raises it.
        except (Exception, SystemExit) as error:  # noqa: BLE001
            failure = error
        with self._changed:
            if self._reader is not reader:
                return
            if failure is None or reader.is_first or reader.gave:
                self._failure = failure
                self._over = True
            elif not self._stopped:
                why = f"{type(failure).__name__}: {failure}"
                logger.warning("source_not_reopened", extra={"reason": why})
                self._plan_reopening(reader)
            self._changed.notify_all()

    def _read_newest(self, reader: "_Reader", frames: Iterator[object]) -> bool:
        """Read one frame when it is due; False if there are no more."""
        if self._interval_s and reader.gave:
            with self._changed:
                self._changed.wait_for(lambda: self._stopped, max(0, self._due_s - self._clock()))
        if self._is_enough():
            return False
        self._plan_next()
        reader.asking_since_s = began_s = self._clock()
        values = next(frames, _END)
        with self._changed:
            # A reader that was left behind comes too late with its frame.
            if values is _END or self._over or self._reader is not reader:
                return False
            reader.asking_since_s = None
            reader.gave = True
            self._reopen_wait_s = REOPEN_WAIT_S
            self._missed += len(self._backlog) == NEWEST_BACKLOG_FRAMES
            self._backlog.append(self._number(values, began_s, 0.0))
            self._changed.notify_all()
        return True

    def _watch(self, now: float) -> None:
        """Leave a reader that hangs behind, and start another one when it is time."""
        if self._reopen is None or self._over or self._is_enough():
            return
        if self._reader is not None and self._reader.hangs(now):
            self._leave(self._reader, now)
        if self._reader is None and not self._over and now >= self._reopen_at_s:
            self._start_reader(partial(self._reopen, self._next_seq), is_first=False)

    def _leave(self, reader: "_Reader", now: float) -> None:
        silent_s = round(reader.silent_s(now), 1)
        logger.warning("source_hung", extra={"silent_s": silent_s, "next_seq": self._next_seq})
        self._hung = [each for each in (*self._hung, reader.thread) if each.is_alive()]
        if len(self._hung) < MAX_HUNG_READERS:
            self._plan_reopening(reader)
            return
        self._reader = None
        self._failure = TimeoutError(f"hung {len(self._hung)} times in reads that never returned")
        self._over = True

    def _plan_reopening(self, reader: "_Reader") -> None:
        self._reader = None
        self._reopen_at_s = self._clock()
        if not reader.gave:
            self._reopen_at_s += self._reopen_wait_s
            self._reopen_wait_s = min(2 * self._reopen_wait_s, MAX_REOPEN_WAIT_S)

    # Both.

    def _number(
        self, values: object, began_s: float, waited_s: float, *, late_s: float = 0.0
    ) -> Captured:
        now = self._clock()
        captured = Captured(
            seq=self._next_seq,
            values=values,
            captured_s=now - late_s,
            captured_at=time.time(),
            read_s=now - began_s,
            waited_s=waited_s,
        )
        self._next_seq += 1
        self._newest_s = now
        return captured

    def _is_enough(self) -> bool:
        frames = self.captured
        return (
            self._stopped
            or (self._limit.frames is not None and frames >= self._limit.frames)
            or (self._deadline_s is not None and self._clock() >= self._deadline_s)
        )

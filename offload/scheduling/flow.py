"""Count frames: how many are finished in a second, and where the device's time goes."""

import math
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

from offload.scheduling.terms import DeviceCosts, Ending, Observation

# How long FPS is measured; marks of a quarter of a second reach back further.
FPS_S: Final = 2.0
MAX_MARKS: Final = 20

# A gap this long is an outage, not a slow frame; also so many times the gap before it.
STALL_S: Final = 1.5
STALL_GAPS: Final = 6

# Over how many frames the source's rate is measured, and how long it is believed.
SOURCE_FRAMES: Final = 48
SOURCE_S: Final = 10.0

# An interval so many times that between frames that were waited for is not the source's: a camera's
# are steadier, and who comes late finds the next frame there.
LATE: Final = 1.5

# A device that waits for its source for more than this part of the time is idle now and then ...
WAITING_PART: Final = 0.003
# ... but not where frames are overwritten: a device that is throttled may wait for a source that is
# starved as well.
LOST_PART: Final = 0.005

Interval = tuple[float, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How many frames were finished at ``at_s``."""

    at_s: float
    finished: int


class Throughput:
    """Counts the frames that are finished, and says how many are in a second."""

    def __init__(self) -> None:
        self.frames = 0
        self._finished = 0
        self._marks: deque[Mark] = deque(maxlen=MAX_MARKS)
        self._last_s = math.inf
        self._gap_s = 0.0

    def add(self, seen: Observation) -> None:
        """Count a frame; after an outage, start measuring afresh."""
        at_s = seen.at_s
        if at_s > self._last_s:
            if self.is_stalled(at_s):
                self._marks.clear()
            self._gap_s = at_s - self._last_s
        self._last_s = at_s
        self.frames += 1
        self._finished += seen.ending is Ending.FINISHED
        if not self._marks:
            self.mark()

    def is_stalled(self, now: float) -> bool:
        """Return whether the last frame is so long ago that it must be an outage."""
        # Gaps may be the new pace. Were each of them an outage, nothing would move again.
        return now - self._last_s > max(STALL_S, STALL_GAPS * self._gap_s)

    def mark(self) -> None:
        """Set a mark to measure from, once per control period."""
        if not self._marks or self._last_s > self._marks[-1].at_s:
            self._marks.append(Mark(at_s=self._last_s, finished=self._finished))

    def fps(self, now: float) -> float:
        """Return finished frames per second; the time since the last one counts."""
        if not self._marks:
            return 0.0
        earlier = [mark for mark in self._marks if mark.finished < self._finished]
        begin = next((mark for mark in reversed(earlier) if mark.at_s <= now - FPS_S), None)
        begin = begin or self._marks[0]
        frames, seconds = self._finished - begin.finished, self._last_s - begin.at_s
        if not frames or seconds <= 0:
            return 0.0
        # The next frame is due one period after the last; up to there nothing is missing.
        return frames / max(seconds, now - begin.at_s - seconds / frames)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the device did between two plans.

    Attributes:
        frames: How many it took.
        seconds: How long that was.
        unseen_s: What neither tasks nor waiting account for, of frames that came one by one.
        idle_part: In which part it waited for the source and lost nothing by it.
    """

    frames: int
    seconds: float
    unseen_s: float
    idle_part: float


class Source:
    """Finds out how fast the source gives frames, also while the device is late for some of them.

    What comes after a frame that was waited for shows the pace of the source. After one that was
    not, the device may have been late for the source as well: a longer interval is none of its own.
    """

    def __init__(self) -> None:
        self._last: DeviceCosts | None = None
        self._intervals: deque[Interval] = deque(maxlen=SOURCE_FRAMES)
        self._fps = math.inf
        self._seen_s = -math.inf

    def add(self, costs: DeviceCosts) -> None:
        """Take in when a frame was captured, and whether it was waited for."""
        last, self._last = self._last, costs
        if last is not None:
            is_waited_for = costs.waited_for_source_s > 0
            self._intervals.append(
                (costs.captured_s - last.captured_s, costs.seq - last.seq, is_waited_for)
            )

    def lost_part(self) -> float:
        """Return which part of the source's frames was overwritten lately."""
        offered = sum(frames for _, frames, _ in self._intervals)
        return 1 - len(self._intervals) / offered if offered else 0.0

    def fps(self, now: float) -> float:
        """Return frames a second, where that shows; infinite if it does not for long."""
        waited_for_s = [
            seconds / frames for seconds, frames, is_waited_for in self._intervals if is_waited_for
        ]
        if waited_for_s or self.lost_part() > LOST_PART:
            longest_s = LATE * median(waited_for_s) if waited_for_s else math.inf
            seconds = sum(min(each_s, longest_s * n) for each_s, n, _ in self._intervals)
            if seconds > 0:
                self._fps = sum(n for _, n, _ in self._intervals) / seconds
                self._seen_s = now
        return self._fps if now <= self._seen_s + SOURCE_S else math.inf


class DeviceTime:
    """Counts the frames that are taken, and where the main thread's time goes."""

    def __init__(self) -> None:
        self._frames = 0
        self._taken_s = self._began_s = math.nan
        self._before_s = math.nan
        self._work_s = self._unseen_s = self._waited_s = 0.0
        self._has_last = False
        self._source = Source()

    def take(self, now: float) -> None:
        """Count a frame that is taken now."""
        self._frames += 1
        self._taken_s = now

    def add(self, costs: DeviceCosts) -> None:
        """Count what the frame took that was taken last."""
        # From one frame to the next: the work for the first, then the wait for the second.
        waited_s = costs.waited_for_source_s + costs.waited_for_room_s
        if self._has_last:
            self._unseen_s += self._taken_s - self._before_s - self._work_s - waited_s
        self._before_s = self._taken_s
        self._work_s = sum(costs.task_s.values()) + costs.encode_s
        self._waited_s += costs.waited_for_source_s
        self._has_last = True
        self._source.add(costs)

    def step(self, now: float) -> Step:
        """Return what went on since the last call, up to the frame that is taken now."""
        seconds = now - self._began_s if self._began_s == self._began_s else 0.0
        is_losing = self._source.lost_part() > LOST_PART
        idle_part = 0.0 if is_losing else self._waited_s / max(seconds, 1e-6)
        step = Step(
            frames=self._frames - 1,
            seconds=seconds,
            unseen_s=self._unseen_s + (self._waited_s if is_losing else 0.0),
            idle_part=idle_part,
        )
        self._frames, self._began_s = 1, now
        self._unseen_s = self._waited_s = 0.0
        return step

    def source_fps(self, now: float) -> float:
        """Return how fast the source gives frames, where that shows; infinite if not for long."""
        return self._source.fps(now)

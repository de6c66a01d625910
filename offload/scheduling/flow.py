"""Count frames: how many are finished in a second, and where the device's time goes."""

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Final

from offload.scheduling.terms import DeviceCosts, Ending, Observation, OperatingPoint

# How long FPS is measured; marks of a quarter of a second reach back further.
FPS_S: Final = 2.0
MAX_MARKS: Final = 20

# A gap this long is an outage, not a slow frame; also so many times the gap before it.
STALL_S: Final = 1.5
STALL_GAPS: Final = 6

# Past so long between two frames there was a pause: of the source, of the stream or of the device.
# What it lasted says nothing of what frames take.
PAUSE_S: Final = 3.0

# Over how many frames and seconds the source's rate is measured, and how long it is believed.
SOURCE_FRAMES: Final = 96
SOURCE_SPAN_S: Final = 4.0
LEAST_FRAMES: Final = 8
SOURCE_S: Final = 10.0

# An interval so many times that between frames that were waited for is not the source's: a camera's
# are steadier, and who comes late finds the next frame there.
LATE: Final = 1.5

# A device that waits for its source for more than this part of the time is idle now and then ...
WAITING_PART: Final = 0.003
# ... but not where frames are lost or late: a throttled device has no time between two frames that
# it waits for.
LOST_PART: Final = 0.006


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
        # The next frame is due one period after the last, or as much later as the last came after
        # those before: acknowledgements may come in bursts. Up to there nothing is missing.
        due_s = max(seconds / frames, self._gap_s)
        return frames / max(seconds, now - begin.at_s - due_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What the device did between two plans.

    Attributes:
        frames: How many it took.
        seconds: How long that was.
        unseen_s: What neither tasks nor waiting account for, of frames that came one by one.
        busy_s: What some frames took of the device in all, waits for room and idleness left out.
        busy_with: How many frames of each point these were.
        idle_part: In which part it waited for the source and lost nothing by it.
    """

    frames: int
    seconds: float
    unseen_s: float
    busy_s: float
    busy_with: Mapping[OperatingPoint, int]
    idle_part: float


@dataclass(frozen=True, slots=True)
class Interval:
    """From one frame to the next that was taken: ``frames`` on, past those that were overwritten.

    ``is_waited_for``: whether the device was there before the frame.
    """

    seconds: float
    frames: int
    is_waited_for: bool


class Source:
    """Finds out how fast the source gives frames, also while the device is late for them.

    A frame that was waited for came when the source had it. For another one the device may have
    been late, and then a long interval is none of the source's.
    """

    def __init__(self) -> None:
        self._last: DeviceCosts | None = None
        self._intervals: deque[Interval] = deque(maxlen=SOURCE_FRAMES)
        self._seen_s = -math.inf
        self.fps = math.inf
        self.lost_part = 0.0

    def add(self, costs: DeviceCosts) -> None:
        """Take in when a frame was captured, and whether it was waited for."""
        last, self._last = self._last, costs
        if last is not None:
            seconds, frames = costs.captured_s - last.captured_s, costs.seq - last.seq
            if seconds > PAUSE_S:
                self._intervals.clear()
                return
            self._intervals.append(Interval(seconds, frames, costs.waited_for_source_s > 0))

    def fold(self, now: float) -> None:
        """Take what was added into the rate, and into the part of frames that were lost or late."""
        intervals = self._intervals
        span_s = sum(each.seconds for each in intervals)
        while len(intervals) > LEAST_FRAMES and span_s > SOURCE_SPAN_S:
            span_s -= intervals.popleft().seconds
        waited_for_s = [each.seconds / each.frames for each in intervals if each.is_waited_for]
        frames = sum(each.frames for each in intervals)
        if now > self._seen_s + SOURCE_S:
            self.fps = math.inf
        if waited_for_s or frames > len(intervals):
            longest_s = LATE * median(waited_for_s) if waited_for_s else math.inf
            seconds = sum(
                each.seconds if each.is_waited_for else min(each.seconds, longest_s * each.frames)
                for each in intervals
            )
            self.fps, self._seen_s = frames / max(seconds, 1e-6), now
            offered = sum(each.seconds for each in intervals) * self.fps
            self.lost_part = 1 - len(intervals) / max(offered, 1.0)
        else:
            self.lost_part = 0.0


class DeviceTime:
    """Counts the frames that are taken, and where the main thread's time goes."""

    def __init__(self) -> None:
        self._frames = 0
        self._began_s = math.inf
        self._taken_s = self._before_s = 0.0
        self._work_s = self._unseen_s = self._between_s = 0.0
        self._for_source_s = 0.0
        self._last: OperatingPoint | None = None
        self._busy_with = Counter[OperatingPoint]()
        self._source = Source()

    def take(self, now: float) -> None:
        """Count a frame that is taken now."""
        self._frames += 1
        self._taken_s = now

    def add(self, costs: DeviceCosts) -> None:
        """Count what the frame took that was taken last."""
        # From one frame to the next: the work for the first, then the wait for the second.
        if self._last is not None and self._taken_s - self._before_s <= PAUSE_S:
            between_s = self._taken_s - self._before_s - costs.waited_for_room_s
            self._between_s += between_s
            self._unseen_s += between_s - costs.waited_for_source_s - self._work_s
            self._busy_with[self._last] += 1
            self._for_source_s += costs.waited_for_source_s
        self._before_s = self._taken_s
        self._work_s = sum(costs.task_s.values()) + costs.encode_s
        self._last = costs.point
        self._source.add(costs)

    def step(self, now: float) -> Step:
        """Return what went on since the last call, up to the frame that is taken now."""
        seconds = max(0.0, now - self._began_s)
        self._source.fold(now)
        idle_s = 0.0 if self._source.lost_part > LOST_PART else self._for_source_s
        step = Step(
            frames=self._frames - 1,
            seconds=seconds,
            unseen_s=self._unseen_s,
            busy_s=self._between_s - idle_s,
            busy_with=self._busy_with,
            idle_part=idle_s / max(seconds, 1e-6),
        )
        self._frames, self._began_s = 1, now
        self._unseen_s = self._between_s = self._for_source_s = 0.0
        self._busy_with = Counter()
        return step

    @property
    def source_fps(self) -> float:
        """How fast the source gives frames, where that shows; infinite if not for long."""
        return self._source.fps

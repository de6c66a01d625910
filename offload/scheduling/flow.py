"""Count frames: how many are finished in a second, and where the device's time goes."""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from offload.scheduling.terms import DeviceCosts, Ending, Observation

# How long FPS is measured; marks of a quarter of a second reach back further.
FPS_S: Final = 2.0
MAX_MARKS: Final = 20

# A gap this long is an outage, not a slow frame; also so many times the gap before it.
STALL_S: Final = 1.5
STALL_GAPS: Final = 6

# How long the source's rate is measured, in control periods, and how long it is believed.
SOURCE_MARKS: Final = 8
SOURCE_S: Final = 10.0

# The source's rate shows while the device waits for it for more than this part of the time ...
WAITING_PART: Final = 0.003
# ... and where frames are overwritten. Then the device's waiting is no idleness: a device that is
# throttled may wait for a source that is starved as well.
LOST_PART: Final = 0.005


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMark:
    """The last frame of a step, how many there were up to it, and whether it was waited for."""

    seq: int
    captured_s: float
    frames: int
    is_waiting: bool


class DeviceTime:
    """Counts the frames that are taken, and where the main thread's time goes."""

    def __init__(self) -> None:
        self._frames = self._reported = 0
        self._taken_s = self._began_s = math.nan
        self._before_s = math.nan
        self._work_s = self._unseen_s = self._waited_s = 0.0
        self._last: DeviceCosts | None = None
        self._marks: deque[SourceMark] = deque(maxlen=SOURCE_MARKS)
        self._source_fps = math.inf
        self._source_seen_s = -math.inf

    def take(self, now: float) -> None:
        """Count a frame that is taken now."""
        self._frames += 1
        self._taken_s = now

    def add(self, costs: DeviceCosts) -> None:
        """Count what the frame took that was taken last."""
        # From one frame to the next: the work for the first, then the wait for the second.
        waited_s = costs.waited_for_source_s + costs.waited_for_room_s
        if self._last is not None:
            self._unseen_s += self._taken_s - self._before_s - self._work_s - waited_s
        self._before_s = self._taken_s
        self._work_s = sum(costs.task_s.values()) + costs.encode_s
        self._waited_s += costs.waited_for_source_s
        self._last = costs
        self._reported += 1

    def step(self, now: float) -> Step:
        """Return what went on since the last call, up to the frame that is taken now."""
        seconds = now - self._began_s if self._began_s == self._began_s else 0.0
        is_losing = self._look_at_source(seconds) > LOST_PART
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
        return self._source_fps if now <= self._source_seen_s + SOURCE_S else math.inf

    def _look_at_source(self, seconds: float) -> float:
        """Return which part of the source's frames was overwritten lately."""
        if self._last is None:
            return 0.0
        mark = SourceMark(
            seq=self._last.seq,
            captured_s=self._last.captured_s,
            frames=self._reported,
            is_waiting=self._waited_s > WAITING_PART * seconds,
        )
        self._marks.append(mark)
        first = self._marks[0]
        offered, captured_s = mark.seq - first.seq, mark.captured_s - first.captured_s
        lost = max(0, offered - (mark.frames - first.frames))
        if captured_s > 0 and (mark.is_waiting or lost):
            self._source_fps = offered / captured_s
            self._source_seen_s = mark.captured_s
        return lost / max(1, offered)

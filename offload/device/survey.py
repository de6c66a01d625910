"""Try every split in turn, long enough to measure what it gives. Pure.

The deepest split comes first: what crosses there is small mostly, and waits in nobody's way.

    survey = Survey(scheduler, splits=range(1, 7), is_paced=False)
    survey.follow(now, next_seq=next_seq)   # in the main loop
    survey.finished(delivered)              # whatever became of frames
    survey.is_over
    survey.forecasts()
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from offload.device.outbox import Delivered
from offload.messages import Outcome
from scheduler import Forecast, ThroughputScheduler

# What a run takes until it is warm: threads, caches and a processor that has slept. The first visit
# is so much longer.
WARMING_S: Final = 0.5

# How long a split is tried until its encodings are: the scheduler plans four times a second.
SETTLING_S: Final = 0.5

# Then frames are counted for so long, and until there are so many: their rate is known well enough.
COUNTED_S: Final = 2.0
COUNTED_FRAMES: Final = 6

# A visit ends after so long in any case. What it counted up to there is believed if there are as
# many frames: they come from a queue, one every so often. Without any it may last twice as long.
LONGEST_S: Final = 3.0
LEAST_FRAMES: Final = 3

# Splits that would give fewer frames a second because of the link are not tried: the link and the
# sizes are known by then, and frames would fill it for many seconds.
LEAST_FPS: Final = 1.5


@dataclass(slots=True, kw_only=True)
class _Visit:
    """One split while all frames take it, from ``first_seq`` on, and what came of them."""

    split: int
    began_s: float
    first_seq: int
    # Of the first frame that was finished after settling; the others are counted from there.
    first_s: float | None = None
    last_s: float = 0.0
    frames: int = 0

    @property
    def fps(self) -> float | None:
        """Frames per second; None if there are too few to say."""
        if self.first_s is None or self.frames < LEAST_FRAMES or self.last_s <= self.first_s:
            return None
        return self.frames / (self.last_s - self.first_s)

    def add(self, finished_s: float, frames: int) -> None:
        """Count frames that were finished together."""
        if self.first_s is None:
            if finished_s >= self.began_s + SETTLING_S:
                self.first_s = self.last_s = finished_s
            return
        self.last_s = finished_s
        self.frames += frames

    def is_over(self, now: float) -> bool:
        """Return whether enough is known, or cannot be had."""
        if now >= self.began_s + LONGEST_S:
            return self.first_s is not None or now >= self.began_s + 2 * LONGEST_S
        if self.first_s is None or self.frames < COUNTED_FRAMES:
            return False
        return self.last_s >= self.first_s + COUNTED_S


class Survey:
    """Pins a scheduler to one split after the other.

    Args:
        scheduler: Who chooses how frames are run.
        splits: The splits to try.
        is_paced: Whether frames come at the pace of their source: then its rate is all that can be
            counted, and the scheduler's forecast says more where it is higher.
    """

    def __init__(
        self, scheduler: ThroughputScheduler, splits: Iterable[int], *, is_paced: bool
    ) -> None:
        """Try nothing yet."""
        self._scheduler = scheduler
        self._left = sorted(splits)
        self._is_paced = is_paced
        self._visit: _Visit | None = None
        self._is_warm = False
        self._found: dict[int, Forecast] = {}
        self.is_over = False

    def follow(self, now: float, *, next_seq: int) -> None:
        """Go on to the next split when it is time; no frame from ``next_seq`` on is chosen yet."""
        if self._visit is not None:
            if not self._visit.is_over(now):
                return
            self._note(self._visit)
        self._visit = None
        while self._left and self._visit is None:
            split = self._left.pop()
            if self._is_worth_it(split):
                self._scheduler.pin(split)
                began_s = now + (0.0 if self._is_warm else WARMING_S)
                self._visit = _Visit(split=split, began_s=began_s, first_seq=next_seq)
                self._is_warm = True
        self.is_over = self._visit is None

    def finished(self, delivered: Delivered) -> None:
        """Count frames that are finished, if the present split ran them."""
        visit, outcome = self._visit, delivered.outcome
        is_counted = outcome.outcome in (Outcome.RESULT, Outcome.FILTERED)
        if visit is not None and is_counted and outcome.first >= visit.first_seq:
            visit.add(delivered.finished_s, outcome.count)

    def forecasts(self) -> tuple[Forecast, ...]:
        """Return what each split gives: as counted, or else as the scheduler expects it."""
        known = {each.split: each for each in self._scheduler.forecasts()} | self._found
        return tuple(known[split] for split in sorted(known))

    def _is_worth_it(self, split: int) -> bool:
        """Return whether frames at a split would not be on the link for too long.

        Nothing is known of it before the first visit, and little before large frames have crossed.
        """
        expected = self._expected(split)
        return expected is None or not self._found or expected.link_s < 1 / LEAST_FPS

    def _note(self, visit: _Visit) -> None:
        expected, fps = self._expected(visit.split), visit.fps
        if expected is None or fps is None:
            # All that is known of it is what the scheduler expects in the end.
            return
        if self._is_paced:
            fps = max(fps, expected.fps)
        # A device that limits is busy all the time: this says best what a frame takes of it.
        device_s = 1 / fps if expected.limit == "device" else expected.device_s
        self._found[visit.split] = replace(expected, fps=fps, device_s=device_s)

    def _expected(self, split: int) -> Forecast | None:
        forecasts = self._scheduler.forecasts()
        return next((each for each in forecasts if each.split == split), None)

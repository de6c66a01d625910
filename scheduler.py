"""Choose for every frame where the pipeline is split, so that the target FPS is met.

This controller knows nothing about tasks, links or clouds. It measures how long finished frames
took and where they were split, and moves the split: short of the target to the cloud, over it to
the device, which saves the cloud work. The split is a real number: 3.25 sends every fourth frame
at 4 and the others at 3, so a target between the rates of two splits is met without hopping.

The control law is an integral controller in incremental form, in seconds per frame::

    predicted = measured + slope * (position - measured_position)
    position += response * (wanted - predicted) / slope

Frames carry their split, so the mean split of the measured frames is known. Correcting from
there, not from the last output, keeps moves that are still on their way (frames in flight, the
measuring window itself) from being made twice. ``slope``, the seconds that one more split costs,
differs a hundredfold between pipelines, so it is learned from what the last moves brought. The
position is clamped and nothing else is summed up, so there is nothing that could wind up.

Its limits: it takes for granted that less work on the device means more throughput. Where the
link or the cloud is the bottleneck that is wrong; it then ends at the cloud end and says
`Reason.INFEASIBLE`. A window smaller than target times round trip makes frames come in bursts that
it measures badly. A pure object: the time comes in, one thread at a time may call it::

    scheduler = ThroughputScheduler([OperatingPoint(split=k) for k in range(1, 7)], target_fps=17)
    choice = scheduler.choose(now)  # for every frame, before it is processed
    ...  # run tasks 1..choice.point.split, send the rest
    scheduler.observe(Observation(at_s=now, split=choice.point.split, waited_for_source_s=0.0))
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Generic, TypeVar

# One decision a second for almost three hours. Past it every second one goes, so that a run of
# days still ends with a summary that covers all of it and can be read.
MAX_DECISIONS: Final = 10_000

# Bounds of the learned slope, in periods. Below the floor the whole range hardly matters, and the
# largest moves are taken anyway; past the ceiling one step makes a frame 20 times as expensive.
MIN_SLOPE_PER_RANGE: Final = 0.1
MAX_SLOPE_PER_STEP: Final = 20.0

# A device that only waits still has a busy time to divide by.
MIN_BUSY_PART: Final = 0.01

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Say how a frame is run: the device runs tasks 1 to ``split``, the cloud the rest."""

    split: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Report one finished frame (result or filtered, wherever it ended).

    Attributes:
        at_s: When the device learned that it was finished, monotonic device seconds: the same
            for all frames of one acknowledgement, so that a burst is seen as one.
        split: Where the frame was split.
        waited_for_source_s: How long the device stood idle for this frame to be captured.
            Waiting for the window is not part of it.
    """

    at_s: float
    split: int
    waited_for_source_s: float


class Reason(StrEnum):
    """Why the split is where it is."""

    COLD_START = "cold_start"
    """Too few frames are finished to know anything; the split is the one the user gave."""
    SETTLED = "settled"
    """The target is met, or exceeded with nothing left to move to the device."""
    MOVED_MORE_DEVICE = "moved_more_device"
    """Over the target, or idle waiting for the source: the device takes work from the cloud."""
    MOVED_MORE_CLOUD = "moved_more_cloud"
    """Short of the target: the cloud takes work from the device."""
    HELD_HYSTERESIS = "held_hysteresis"
    """Off the target, but the moves on their way or a limit just learned make up for it."""
    SOURCE_LIMITED = "source_limited"
    """The source gives fewer frames than the target asks for; the pipeline keeps up with it."""
    INFEASIBLE = "infeasible"
    """Short of the target with all that may move in the cloud. Whether device, link or cloud
    holds the stream up cannot be known without a model of the three."""
    STALLED = "stalled"
    """No frame has been finished for long (an outage): nothing to learn from, nothing moves."""
    PINNED = "pinned"
    """There is one operating point only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Tell the device how to run its next frame, and why.

    Attributes:
        point: The operating point of the frame.
        padding_bytes: Bytes to add to its message so as to measure the link. This controller
            measures no link: always 0.
        reason: Of the last decision, not of the dither.
    """

    point: OperatingPoint
    padding_bytes: int = 0
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerState:
    """Show where the loop stands; ``position`` is the mean split that frames take now."""

    at_s: float
    fps: float
    target_fps: float
    position: float
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Record what one control period found and where it left the (mean) ``split``."""

    at_s: float
    fps: float
    target_fps: float
    split: float
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """Hold the constants of the control loop; the defaults need no tuning per pipeline."""

    # Twice a second is quick enough to recover within seconds and leaves a slow pipeline
    # (a few frames a second) something to measure in between.
    control_period_s: float = 0.5
    # A measurement spans at least this time, so that acknowledgements that come in bursts of some
    # 10 ms, and single slow frames, weigh little ...
    measure_s: float = 1.0
    # ... and at least so many frames, since below it the luck of a single frame decides.
    measure_frames: int = 8
    # What a reader sees as FPS. Longer than a measurement: it is read, not controlled.
    display_window_s: float = 2.0
    # Part of the predicted error that one control period takes away. Stable below 2 with an exact
    # slope; at 0.5 the slope may be wrong by 4 times in the dangerous direction.
    response: float = 0.5
    # Within 1 % is on target: smaller errors are the noise of the measurement.
    dead_band: float = 0.01
    # The target is a floor: aim so much above it that the dead band ends at it.
    head_room: float = 0.01
    # At most these parts of the range in one control period. Short of the target is urgent; a
    # move to the device saves money but, where tasks are dear, can cost most of the throughput.
    most_to_cloud: float = 0.25
    most_to_device: float = 0.1
    # A moved mean split of this size shows the slope through the noise; less does not.
    learn_from_move: float = 0.1
    # Small moves add up for so long; past it, the device may have changed meanwhile.
    learn_within_s: float = 3.0
    # Part of the time that the device shall still wait for the source when the source is the
    # limit: the waiting is how we know that it is.
    source_headroom: float = 0.05
    # How long the source's rate is believed once the device no longer waits for it.
    source_memory_s: float = 10.0
    # A gap this long, in seconds and in frame periods, is an outage, not a slow frame.
    stall_s: float = 1.5
    stall_periods: float = 6.0
    # Right after an outage what was in flight is acknowledged at once; that is not throughput.
    restart_s: float = 0.5


class ThroughputScheduler:
    """Move the split so that finished frames per second reach the target, and no further.

    Not safe for several threads at once: whoever observes and chooses in two holds a lock.
    """

    def __init__(
        self,
        points: Sequence[OperatingPoint],
        target_fps: float,
        config: SchedulerConfig | None = None,
        start: OperatingPoint | None = None,
    ) -> None:
        """Begin at ``start`` without knowing anything about the pipeline.

        Args:
            points: The movable range, in any order, each split once.
            target_fps: Finished frames per second to reach.
            config: Constants of the loop; None takes the defaults.
            start: One of ``points``; None takes the one with the most work on the device.

        Raises:
            ValueError: No points, a split given twice, a start that is not among the points, or
                a target that is not a positive number.
        """
        self._points = sorted(points, key=lambda point: point.split)
        self._index_of = {point.split: index for index, point in enumerate(self._points)}
        if not self._points or len(self._index_of) != len(self._points):
            raise ValueError(f"points are {points!r}, expected at least one and each split once")
        if start is not None and start not in self._points:
            raise ValueError(f"start is {start!r}, expected one of {points!r}")
        self.target_fps = target_fps
        self._config = config or SchedulerConfig()
        self._last_index = len(self._points) - 1
        # Positions count operating points from the cloud's end, so that gaps between splits
        # (pinned tasks) need no thought; `_mean_split` turns them into splits.
        self._position = float(self._index_of[start.split]) if start else float(self._last_index)
        self._reason = Reason.COLD_START if self._last_index else Reason.PINNED
        self._finished = _FinishedFrames(self._config)
        self._source = _SourceRate(self._config)
        self._slope = _Slope(self._config, self._last_index)
        self._decisions: list[Decision] = []
        self._next_plan_s = -math.inf
        self._dither = Dither(self._shares())
        self._choices = self._make_choices()

    def choose(self, now: float) -> Choice:
        """Return how to run the next frame; decide anew once per control period."""
        if now >= self._next_plan_s:
            self._next_plan_s = now + self._config.control_period_s
            self._plan(now)
            self._dither.set_shares(self._shares())
            self._choices = self._make_choices()
            self._record(now)
        return self._choices[self._dither.next()]

    def observe(self, observation: Observation) -> None:
        """Learn that a frame is finished; call it in the order of ``at_s``, once per frame.

        A split outside the points (a frame spooled by an earlier run) counts as the nearest.
        """
        index = self._index_of.get(observation.split)
        if index is None:
            index = self._nearest_index(observation.split)
        self._finished.add(observation.at_s, index, observation.waited_for_source_s)

    @property
    def target_fps(self) -> float:
        """Finished frames per second to reach; a new one counts from the next control period."""
        return self._target_fps

    @target_fps.setter
    def target_fps(self, fps: float) -> None:
        if not (fps > 0 and math.isfinite(fps)):
            raise ValueError(f"target is {fps!r} frames per second, expected a positive number")
        self._target_fps = float(fps)

    def state(self, now: float) -> SchedulerState:
        """Return what to display; FPS falls as time passes without a finished frame."""
        return SchedulerState(
            at_s=now,
            fps=self._finished.fps(now),
            target_fps=self._target_fps,
            position=self._mean_split(),
            reason=self._reason,
        )

    def decisions(self) -> tuple[Decision, ...]:
        """Return the recorded decisions, oldest first: each change, and one a second without."""
        return tuple(self._decisions)

    def _plan(self, now: float) -> None:
        if self._last_index == 0:
            return
        if self._finished.is_stalled(now):
            self._reason = Reason.STALLED
            return
        measured = self._finished.measure(now)
        if measured is None:
            return
        self._source.update(measured, now)
        aim = self._aim(measured)
        slope_s = self._slope.update(measured, aim.wanted_s)
        # What the period will be once all moves have arrived, those in flight included.
        predicted_s = aim.measured_s + slope_s * (self._position - measured.position)
        error_s = aim.wanted_s - predicted_s
        if abs(error_s) > self._config.dead_band * aim.wanted_s:
            self._move(self._config.response * error_s / slope_s)
        else:
            self._reason = Reason.SETTLED
        if self._reason is Reason.SETTLED:
            self._reason = self._reason_to_stay(measured)

    def _aim(self, measured: "_Measurement") -> "_Aim":
        config, source = self._config, self._source
        # So close to the source's rate, throughput no longer tells how much more the device can do;
        # its idle time does.
        if self._target_fps > source.fps * (1 - 2 * config.source_headroom):
            busy_part = 1 - config.source_headroom
            return _Aim(measured_s=measured.busy_s, wanted_s=busy_part / source.fps)
        wanted_fps = min(self._target_fps * (1 + config.head_room), source.fps)
        return _Aim(measured_s=measured.period_s, wanted_s=1 / wanted_fps)

    def _reason_to_stay(self, measured: "_Measurement") -> Reason:
        fps = (1 + 2 * self._config.dead_band) / measured.period_s
        if fps < min(self._target_fps, self._source.fps):
            # Frames in flight may still have been split elsewhere.
            at_cloud_end = self._position == 0 and measured.position < self._config.learn_from_move
            return Reason.INFEASIBLE if at_cloud_end else Reason.HELD_HYSTERESIS
        return Reason.SOURCE_LIMITED if fps < self._target_fps else Reason.SETTLED

    def _move(self, by: float) -> None:
        most_to_cloud = self._config.most_to_cloud * self._last_index
        most_to_device = self._config.most_to_device * self._last_index
        by = max(-most_to_cloud, min(most_to_device, by))
        position = max(0.0, min(float(self._last_index), self._position + by))
        if position == self._position:
            self._reason = Reason.SETTLED
        elif position > self._position:
            self._reason = Reason.MOVED_MORE_DEVICE
        else:
            self._reason = Reason.MOVED_MORE_CLOUD
        self._position = position

    def _record(self, now: float) -> None:
        split = self._mean_split()
        last = self._decisions[-1] if self._decisions else None
        if last and last.split == split and last.reason is self._reason and now < last.at_s + 1:
            return
        self._decisions.append(
            Decision(
                at_s=now,
                fps=self._finished.fps(now),
                target_fps=self._target_fps,
                split=split,
                reason=self._reason,
            )
        )
        if len(self._decisions) > MAX_DECISIONS:
            del self._decisions[1::2]

    def _shares(self) -> dict[int, float]:
        lower = int(self._position)
        upper_share = self._position - lower
        if upper_share == 0:
            return {lower: 1.0}
        return {lower: 1 - upper_share, lower + 1: upper_share}

    def _make_choices(self) -> dict[int, Choice]:
        # Made once per control period: building one per frame would cost more than choosing it.
        return {i: Choice(point=self._points[i], reason=self._reason) for i in self._shares()}

    def _mean_split(self) -> float:
        return sum(share * self._points[i].split for i, share in self._shares().items())

    def _nearest_index(self, split: int) -> int:
        return min(range(len(self._points)), key=lambda i: abs(self._points[i].split - split))


class Dither(Generic[Key]):
    """Spread frames over a few keys so that each count stays within one of its share."""

    def __init__(self, shares: Mapping[Key, float]) -> None:
        """Start without credit; see `set_shares`."""
        self._owed: dict[Key, float] = {}
        self.set_shares(shares)

    def next(self) -> Key:
        """Return the key that takes the next frame: the one that is owed most."""
        owed = self._owed
        for key, share in self._shares.items():
            owed[key] += share
        chosen = max(owed, key=owed.__getitem__)
        owed[chosen] -= 1
        return chosen

    def set_shares(self, shares: Mapping[Key, float]) -> None:
        """Change the shares; what is owed to a key that stays is still owed.

        Args:
            shares: Positive parts of all frames per key; they add up to 1.

        Raises:
            ValueError: A share is not positive, or they do not add up to 1.
        """
        if not all(share > 0 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares are {dict(shares)!r}, expected positive and 1 in all")
        owed = {key: self._owed.get(key, 0.0) for key in shares}
        self._shares, self._owed = dict(shares), owed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measurement:
    """Means per finished frame between two moments."""

    begin_s: float
    end_s: float
    period_s: float
    # The period without the waiting for the source.
    busy_s: float
    position: float
    # Part of the frames for which the device had to wait.
    waiting_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Aim:
    """What of a measurement is controlled, in seconds per frame, and what it should be."""

    measured_s: float
    wanted_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Totals:
    """Sums over all frames up to the one that was finished at ``at_s``."""

    at_s: float
    frames: int
    positions: int
    waited_s: float
    waiting: int


class _FinishedFrames:
    """Running totals of the finished frames, with marks to measure back to."""

    # 128 marks of 50 ms reach back 6 s, more than any window asks for, and bound what is kept
    # and looked through, however fast frames come.
    MARK_S: Final = 0.05
    MAX_MARKS: Final = 128
    # A wait shorter than this part of a period is a thread switch, not a slow source.
    WAITING_PART: Final = 0.02

    def __init__(self, config: SchedulerConfig) -> None:
        self._config = config
        self._marks: deque[_Totals] = deque(maxlen=self.MAX_MARKS)
        self._next_mark_s = -math.inf
        self._last_s: float | None = None
        self._stall_s = config.stall_s
        self._least_wait_s = 0.0
        self._frames = self._positions = self._waiting = 0
        self._waited_s = 0.0

    def add(self, at_s: float, position: int, waited_s: float) -> None:
        """Count a frame; after a gap, start measuring afresh."""
        gap_s = 0.0 if self._last_s is None else at_s - self._last_s
        if self._last_s is None or gap_s > self._stall_s:
            # Gaps may be the new pace: of a device that has become slow, say. Were each of them an
            # outage, nothing would ever be measured again.
            self._stall_s = max(self._stall_s, 2 * gap_s)
            self._marks.clear()
            self._next_mark_s = at_s + self._config.restart_s
        # A mark comes after the last frame of an instant: one in the middle of an acknowledgement
        # of many frames would count the others without the time that they took.
        elif at_s > self._last_s >= self._next_mark_s:
            self._next_mark_s = self._last_s + self.MARK_S
            self._marks.append(self._totals(self._last_s))
        self._last_s = at_s
        self._frames += 1
        self._positions += position
        self._waited_s += waited_s
        if waited_s > self._least_wait_s:
            self._waiting += 1

    def is_stalled(self, now: float) -> bool:
        """Return whether the last frame is so long ago that it must be an outage."""
        return self._last_s is not None and now - self._last_s > self._stall_s

    def measure(self, now: float) -> _Measurement | None:
        """Return the means of the latest frames, None while there are too few of them."""
        config = self._config
        begin = self._mark_before(now - config.measure_s, config.measure_frames)
        if begin is None or self._last_s is None:
            return None
        frames = self._frames - begin.frames
        period_s = (self._last_s - begin.at_s) / frames
        waited_s = (self._waited_s - begin.waited_s) / frames
        self._stall_s = max(config.stall_s, config.stall_periods * period_s)
        self._least_wait_s = self.WAITING_PART * period_s
        return _Measurement(
            begin_s=begin.at_s,
            end_s=self._last_s,
            period_s=period_s,
            # Frames wait long before they are finished, so at a change the two need not match.
            busy_s=max(period_s - waited_s, MIN_BUSY_PART * period_s),
            position=(self._positions - begin.positions) / frames,
            waiting_share=(self._waiting - begin.waiting) / frames,
        )

    def fps(self, now: float) -> float:
        """Return finished frames per second; the time since the last one counts."""
        begin = self._mark_before(now - self._config.display_window_s, 1)
        if begin is None and self._marks:
            begin = self._marks[0]
        if begin is None or self._last_s is None or self._frames == begin.frames:
            return 0.0
        frames = self._frames - begin.frames
        # The next frame is due one period after the last; up to there nothing is missing.
        due_s = (self._last_s - begin.at_s) / frames
        return frames / max(self._last_s - begin.at_s, now - begin.at_s - due_s)

    def _mark_before(self, at_s: float, least_frames: int) -> _Totals | None:
        for mark in reversed(self._marks):
            if mark.at_s <= at_s and self._frames - mark.frames >= least_frames:
                return mark
        return None

    def _totals(self, at_s: float) -> _Totals:
        return _Totals(
            at_s=at_s,
            frames=self._frames,
            positions=self._positions,
            waited_s=self._waited_s,
            waiting=self._waiting,
        )


class _SourceRate:
    """How fast the source gave frames when it last was the limit; infinite if that is long ago."""

    # Most frames. In a mixture the frames of the longer split, and those after them, may find the
    # next one captured already though the device is idle after the others.
    LIMITING_SHARE: Final = 0.5

    def __init__(self, config: SchedulerConfig) -> None:
        self._memory_s = config.source_memory_s
        self._seen_s = -math.inf
        self.fps = math.inf

    def update(self, measured: _Measurement, now: float) -> None:
        """Take the rate of finished frames for the source's if the device waits for most."""
        if measured.waiting_share >= self.LIMITING_SHARE:
            self.fps, self._seen_s = 1 / measured.period_s, now
        elif now > self._seen_s + self._memory_s:
            self.fps = math.inf


class _Slope:
    """Seconds per frame that one more step to the device costs, learned from the moves."""

    def __init__(self, config: SchedulerConfig, last_index: int) -> None:
        self._config = config
        self._last_index = last_index
        self._slope_s: float | None = None
        self._reference: _Measurement | None = None

    def update(self, measured: _Measurement, wanted_s: float) -> float:
        """Take in a measurement and return the slope, always positive.

        The busy part of the period is what depends on the split; waiting fills what is left.
        """
        # Until a move has told better: the whole range doubles the period.
        slope_s = self._slope_s or measured.busy_s / self._last_index
        reference = self._reference
        if reference is None:
            self._reference = measured
        # Only measurements without a frame in common tell what the moves between them brought.
        elif measured.begin_s >= reference.end_s:
            moved = measured.position - reference.position
            seen_s = (measured.busy_s - reference.busy_s) / moved if moved else 0.0
            has_moved = abs(moved) >= self._config.learn_from_move
            if has_moved and seen_s > 0:
                # A slope that is too small makes the loop swing, one too large only slow.
                slope_s = seen_s if seen_s > slope_s else math.sqrt(seen_s * slope_s)
            if has_moved or measured.begin_s > reference.end_s + self._config.learn_within_s:
                self._reference = measured
        floor_s = MIN_SLOPE_PER_RANGE * wanted_s / self._last_index
        self._slope_s = max(floor_s, min(MAX_SLOPE_PER_STEP * measured.busy_s, slope_s))
        return self._slope_s

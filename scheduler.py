"""Choose for every frame where the pipeline is split and how its values travel.

The target FPS is met with as little cloud time per frame as possible. Three steps:

*Plan*, four times a second: from what frames took, estimate what every operating point takes of
the device, the link and the cloud, and mix the two points that keep within all three at the least
cost. *Trim*: what no estimate explains is a deficit of frames, and its integral asks the plan for a
little more or less. *Dither*: each frame takes one of the two points, so that each point's count
stays within one of its share, and a target between two splits' rates is met without hopping.

Pure: the time comes in, and one thread at a time may call it::

    scheduler = ThroughputScheduler(points, target_fps=25.0, config=SchedulerConfig(tasks=7))
    choice = scheduler.choose(now, watched=False)  # for every frame, before it is processed
    ...  # run tasks 1..choice.point.split, encode, add choice.padding_bytes, send
    scheduler.observe_device(DeviceCosts(seq=7, point=choice.point, ...))
    scheduler.observe(Observation(at_s=now, point=choice.point, ...))  # acknowledged
"""

import math
from collections.abc import Sequence
from typing import Final

from offload.scheduling.decisions import Decisions
from offload.scheduling.dither import Dither
from offload.scheduling.flow import FPS_S, WAITING_PART, DeviceTime, Step, Throughput
from offload.scheduling.forecasting import forecasts
from offload.scheduling.mixture import Mixture, Way
from offload.scheduling.model import DEVICE_LIMITS, LIMITS, Estimate, Model
from offload.scheduling.planning import CHEAPEST, FEASIBLE, Question, best_mixture
from offload.scheduling.probing import Probing
from offload.scheduling.restricting import Restrictions
from offload.scheduling.terms import (
    RAW,
    Choice,
    Decision,
    DeviceCosts,
    Ending,
    Forecast,
    Observation,
    OperatingPoint,
    Reason,
    SchedulerConfig,
    SchedulerState,
    TaskTime,
)
from offload.scheduling.trim import Trim

# What callers need: they import this module alone.
__all__ = [
    "RAW",
    "Choice",
    "Decision",
    "DeviceCosts",
    "Dither",
    "Ending",
    "Forecast",
    "Observation",
    "OperatingPoint",
    "Reason",
    "SchedulerConfig",
    "SchedulerState",
    "TaskTime",
    "ThroughputScheduler",
]

# Quick enough to recover within seconds; a slow pipeline has still something to measure in between.
CONTROL_PERIOD_S: Final = 0.25

# So many finished frames are enough to begin with; one of them ran everything on the device.
FIRST_FRAMES: Final = 3

# The share of watched frames follows as if it were over so many.
WATCHED_FRAMES: Final = 16

# Off the goal by more than this part and a frame is not settled: whole frames are counted. If the
# cloud's part of the work changed by more than the other part, some of it has moved.
ON_TARGET: Final = 0.05
ON_TARGET_FPS: Final = 1 / FPS_S
MOVED_PART: Final = 0.1


class ThroughputScheduler:
    """Mix operating points so that the target is met at the least cost to the cloud.

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
            points: What frames may take, in any order, each once.
            target_fps: Finished frames per second to reach.
            config: What pipeline and machines are like.
            start: One of ``points``; None takes one with the most work on the device.

        Raises:
            ValueError: No points, one given twice, a start that is not among them, or a target
                that is not a positive number.
        """
        self._points = tuple(sorted(points, key=lambda point: point.split))
        self._index_of = {point: index for index, point in enumerate(self._points)}
        if not self._points or len(self._index_of) != len(self._points):
            raise ValueError(f"points are {points!r}, expected at least one and each once")
        if start is not None and start not in self._index_of:
            raise ValueError(f"start is {start!r}, expected one of {points!r}")
        self._config = config or SchedulerConfig()
        self._model = Model(self._points, self._config)
        self._throughput, self._device_time = Throughput(), DeviceTime()
        self._restrictions = Restrictions(self._config)
        self._probing = Probing(self._points)
        self._trim = Trim()
        self._pinned: int | None = None
        self._watched_part = 0.0
        self._next_plan_s = -math.inf
        self._decisions = Decisions()
        # Before the link is known, few frames: they may have to wait for each other there.
        self._window = self._restrictions.window(fps=0.0, latency_s=0.0)
        self._reason = Reason.COLD_START
        self.target_fps = target_fps
        first = len(self._points) - 1 if start is None else self._index_of[start]
        self._dithers = (Dither({first: 1.0}), Dither({first: 1.0}))
        self._mixture = _all_at(first)
        self._apply()

    def choose(self, now: float, *, watched: bool = False) -> Choice:
        """Return how to run the next frame; plan anew once per control period.

        Args:
            now: Monotonic device seconds.
            watched: Whether the frame will run the tasks on demand. Watched frames and others are
                dithered apart, so that each kind is mixed, in whatever order they come.
        """
        self._device_time.take(now)
        self._watched_part += (watched - self._watched_part) / WATCHED_FRAMES
        probe = self._probing.take()
        if probe is not None:
            return probe
        if now >= self._next_plan_s:
            self._next_plan_s = now + CONTROL_PERIOD_S
            self._control(now)
        return self._choices[self._dithers[watched].next()]

    def observe_device(self, costs: DeviceCosts) -> None:
        """Learn what a frame took here; call it in the order of the stream."""
        self._device_time.add(costs)
        index = self._index_of.get(costs.point)
        if index is not None:
            self._model.add_device(index, costs)

    def observe(self, observation: Observation) -> None:
        """Learn what became of a frame; call it in the order of ``at_s``, once per frame."""
        self._throughput.add(observation)
        # What it says of the cloud and the link holds for all frames of its acknowledgement.
        self._model.add(self._index_of.get(observation.point), observation)
        if observation.ending is Ending.TOO_LARGE:
            self._restrictions.too_large(observation)
            self._next_plan_s = -math.inf
        if self._throughput.frames == FIRST_FRAMES:
            self._next_plan_s = -math.inf

    @property
    def target_fps(self) -> float:
        """Finished frames per second to reach; a new one counts from the next frame on."""
        return self._target_fps

    @target_fps.setter
    def target_fps(self, fps: float) -> None:
        if not (fps > 0 and math.isfinite(fps)):
            raise ValueError(f"target is {fps!r} frames per second, expected a positive number")
        self._target_fps = float(fps)
        self._next_plan_s = -math.inf

    @property
    def window(self) -> int:
        """How many frames may be in flight now: what the plan needs, and the latency permits."""
        return self._window

    def pin(self, split: int) -> None:
        """Run all frames at ``split`` from the next one on; encodings are still chosen.

        Raises:
            ValueError: No point has this split.
        """
        splits = [point.split for point in self._points]
        if split not in splits:
            raise ValueError(f"split is {split}, expected one of {sorted(set(splits))}")
        self._pinned = split
        self._next_plan_s = -math.inf
        self._probing.take()
        # Until the next plan, which may find an encoding.
        self._mixture = _all_at(splits.index(split))
        self._apply()

    def release(self) -> None:
        """Choose freely again after `pin`."""
        self._pinned = None
        self._next_plan_s = -math.inf

    def state(self, now: float) -> SchedulerState:
        """Return what to display; FPS falls as time passes without a finished frame."""
        return SchedulerState(
            at_s=now,
            fps=self._throughput.fps(now),
            target_fps=self._target_fps,
            position=self._mean_split(),
            # No frame is chosen, and nothing planned, while the window is full.
            reason=Reason.STALLED if self._is_stalled(now) else self._reason,
            points=tuple(self._points[index] for index in self._mixture.shares),
            trim=self._trim.value,
            window=self._window,
        )

    def forecasts(self) -> tuple[Forecast, ...]:
        """Return what each split would give with its best encoding, by the present estimates.

        The best encoding is the one that reaches most frames a second; of equals, the one that
        costs the cloud least. One that was never tried is taken to save nothing.

        The rate is what a device reaches that runs all frames there and waits for nothing but its
        own tasks, the link, the cloud and the window: one over the largest of the loads, each used
        up to its end. The plan keeps a tenth of link and cloud free as long as it can, and uses all
        of them where it cannot otherwise reach its goal: so no head room is left out here. The
        source's rate, the target and the longest latency are left out: they hold at every split.

        Empty until some frames are finished; splits that no frame has got to yet are missing, and
        so are those where frames are too large to cross.
        """
        if self._throughput.frames < FIRST_FRAMES:
            return ()
        found = zip(self._points, self._model.measured(), strict=True)
        fitting = [each for each in found if self._restrictions.fits(each[1])]
        return forecasts(fitting, window=self._config.window)

    def decisions(self) -> tuple[Decision, ...]:
        """Return the recorded decisions, oldest first: each change, and one a second without."""
        return self._decisions.all()

    def _is_stalled(self, now: float) -> bool:
        return self._throughput.frames >= FIRST_FRAMES and self._throughput.is_stalled(now)

    def _control(self, now: float) -> None:
        """Trim, plan, and dither accordingly, if there is anything to learn from."""
        step = self._device_time.step(now)
        if self._config.workers == 1 and step.frames > 0:
            self._model.add_overhead(step.unseen_s, step.frames)
        if self._throughput.frames < FIRST_FRAMES:
            if self._pinned is None:
                self._probing.begin(now)
        elif self._is_stalled(now):
            self._reason = Reason.STALLED
        else:
            self._throughput.mark()
            self._model.fold(now, self._watched_part)
            goal = min(self._target_fps, self._device_time.source_fps)
            estimates = self._model.estimates()
            self._model.add_stretch(step.busy_s, self._device_s(step, estimates))
            self._update_trim(step, goal, estimates)
            self._plan(now, goal, estimates)
        self._apply()
        self._decisions.add(self.state(now))

    # Trim: ask for a little more or less than the goal.

    def _update_trim(self, step: Step, goal: float, estimates: Sequence[Estimate]) -> None:
        deficit_s = step.seconds - step.frames / goal
        if step.idle_part > WAITING_PART:
            self._trim.relax()
        elif not self._is_stuck(deficit_s, estimates):
            self._trim.add(deficit_s)
        self._trim.update(deficit_s / max(step.seconds, CONTROL_PERIOD_S))

    def _is_stuck(self, deficit_s: float, estimates: Sequence[Estimate]) -> bool:
        """Return whether to ask for something else changes nothing; to sum it up would wind up."""
        if deficit_s > 0:
            return self._mixture.load > FEASIBLE
        return self._mixture.cost <= CHEAPEST * min(each.cost_s for each in estimates)

    def _device_s(self, step: Step, estimates: Sequence[Estimate]) -> float:
        """Return what the step's frames were expected to take of the device."""
        loads = [
            (estimates[self._index_of[point]].loads_s, frames)
            for point, frames in step.busy_with.items()
            if point in self._index_of
        ]
        return max(sum(n * load[row] for load, n in loads) for row in range(DEVICE_LIMITS))

    # Plan: the cheapest mixture of two points that gives the goal.

    def _plan(self, now: float, goal: float, estimates: Sequence[Estimate]) -> None:
        points = enumerate(self._points)
        movable = [i for i, point in points if self._pinned in (None, point.split)]
        fitting = self._restrictions.fitting(estimates, movable, now)
        present = self._mixture.keys

        def ask(estimates: Sequence[Estimate]) -> Question:
            return Question(
                estimates=estimates,
                allowed=self._restrictions.quick(estimates, fitting),
                period_s=1 / (goal * (1 + self._trim.value)),
                present=present,
            )

        question = ask(estimates)
        before_s = question.cost_s(self._mixture)
        self._mixture = best_mixture(question)
        self._probing.look(now, self._model, question, self._mixture, ask)
        latency_s = max(estimates[index].latency_s for index in self._mixture.keys)
        self._window = self._restrictions.window(goal / max(1.0, self._mixture.load), latency_s)
        self._reason = self._why(now, goal, before_s)
        cheapest = min(fitting, key=lambda index: estimates[index].cost_s)
        if self._reason is Reason.SETTLED and cheapest not in question.allowed:
            self._reason = Reason.HELD_LATENCY

    def _why(self, now: float, goal: float, before_s: float) -> Reason:
        if self._pinned is not None or self._points[0].split == self._points[-1].split:
            return Reason.PINNED
        if self._mixture.load > FEASIBLE:
            return LIMITS[self._mixture.bottleneck]
        after_s = self._mixture.cost
        if abs(after_s - before_s) > MOVED_PART * max(after_s, before_s):
            return Reason.MOVED_MORE_DEVICE if after_s < before_s else Reason.MOVED_MORE_CLOUD
        if self._throughput.fps(now) < goal * (1 - ON_TARGET) - ON_TARGET_FPS:
            return Reason.HELD_HYSTERESIS
        return Reason.SOURCE_LIMITED if goal < self._target_fps else Reason.SETTLED

    # Dither: each frame takes one of the two.

    def _apply(self) -> None:
        shares = self._mixture.shares
        for dither in self._dithers:
            dither.set_shares(shares)
        # Made once per control period: building one per frame would cost more than choosing it.
        self._choices = {
            index: Choice(point=self._points[index], reason=self._reason) for index in shares
        }

    def _mean_split(self) -> float:
        shares = self._mixture.shares
        return sum(share * self._points[index].split for index, share in shares.items())


def _all_at(index: int) -> Mixture:
    way = Way(index, (0.0,), 0.0)
    return Mixture(way, way, 0.0)

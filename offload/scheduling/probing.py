"""Choose single frames to measure what the plan has to know and no other frame would tell."""

import math
from collections.abc import Callable, Sequence
from typing import Final

from offload.scheduling.mixture import Mixture
from offload.scheduling.model import DEVICE_LIMITS, Estimate, Model
from offload.scheduling.planning import FEASIBLE, Question, best_mixture
from offload.scheduling.terms import Choice, OperatingPoint, Reason

# If the last device task has not run here for so long, one frame runs everything here, as long as
# such frames take no more than a hundredth of the time.
EXPLORE_AFTER_S: Final = 8.0
EXPLORE_PART: Final = 0.01

# A message that tells the rate of a link, how long the link may be unmeasured where that matters,
# and which part of it measuring may take.
PADDING_BYTES: Final = 48 * 1024
PROBE_AFTER_S: Final = 2.0
PROBE_PART: Final = 0.1
# How much faster a link may have become while it was unmeasured for that long (and so much more for
# longer), and how much better a plan has to get by that.
HOPE: Final = 4.0
LONGEST_S: Final = 3600.0
WORTH_IT: Final = 0.02

# Returns what to plan for if points take what these estimates say.
Ask = Callable[[Sequence[Estimate]], Question]


class Probing:
    """Finds out what is worth measuring, and keeps the choice for the next frame."""

    def __init__(self, points: Sequence[OperatingPoint]) -> None:
        self._points = points
        self._choice: Choice | None = None
        self._explored_s = self._probed_s = -math.inf

    def take(self) -> Choice | None:
        """Return how to run this frame, once; None if it need not measure anything."""
        choice, self._choice = self._choice, None
        return choice

    def begin(self, now: float) -> None:
        """Have a frame run everything on the device, with bytes enough to measure the link."""
        if now > self._explored_s + EXPLORE_AFTER_S:
            self._explored_s = now
            self._set(len(self._points) - 1, padding_bytes=PADDING_BYTES)

    def look(
        self, now: float, model: Model, question: Question, mixture: Mixture, ask: Ask
    ) -> None:
        """Decide what the next frame measures, if anything.

        Args:
            now: Monotonic device seconds.
            model: Says what was measured when.
            question: What was planned for.
            mixture: What was planned.
            ask: Returns what to plan for with other estimates.
        """
        self._explore(now, model, question)
        self._probe(now, model, mixture, ask)

    def _explore(self, now: float, model: Model, question: Question) -> None:
        widest = len(self._points) - 1
        widest_s = max(question.estimates[widest].loads_s[:DEVICE_LIMITS])
        unseen_s = now - max(model.last_task_s, self._explored_s)
        if widest in question.allowed and unseen_s > max(EXPLORE_AFTER_S, widest_s / EXPLORE_PART):
            self._explored_s = now
            self._set(widest)

    def _probe(self, now: float, model: Model, mixture: Mixture, ask: Ask) -> None:
        pause_s = max(PROBE_AFTER_S, PADDING_BYTES * model.seconds_per_byte / PROBE_PART)
        if now <= max(model.link_seen_s, self._probed_s) + pause_s:
            return
        self._probed_s = now
        unmeasured_s = min(now - model.link_seen_s, LONGEST_S)
        speed_up = HOPE * max(1.0, unmeasured_s / PROBE_AFTER_S)
        hoped = ask(model.estimates(link_speed_up=speed_up))
        best = best_mixture(hoped)
        if mixture.load > FEASIBLE:
            is_worth_it = best.load < (1 - WORTH_IT) * mixture.load
        else:
            # To go on as now on a faster link is no reason to measure it.
            is_worth_it = best.cost < (1 - WORTH_IT) * hoped.cost_s(mixture)
        if is_worth_it:
            self._set(mixture.first.key, padding_bytes=PADDING_BYTES)

    def _set(self, index: int, *, padding_bytes: int = 0) -> None:
        self._choice = Choice(
            point=self._points[index], padding_bytes=padding_bytes, reason=Reason.PROBING
        )

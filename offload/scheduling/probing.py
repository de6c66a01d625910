"""Choose single frames to measure what the plan has to know and no other frame would tell."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from offload.scheduling.mixture import Mixture
from offload.scheduling.model import DEVICE_LIMITS, Model
from offload.scheduling.planning import Question, best_mixture, is_better
from offload.scheduling.terms import Choice, OperatingPoint, Reason

# If the last device task has not run here for so long, one frame runs everything here, as long as
# such frames take no more than a hundredth of the time.
EXPLORE_AFTER_S: Final = 8.0
EXPLORE_PART: Final = 0.01

# A message that tells the rate of a link, how long the link may be unmeasured where that matters,
# and which part of it measuring may take.
PADDING_BYTES: Final = 64 * 1024
PROBE_AFTER_S: Final = 2.0
PROBE_PART: Final = 0.1
# How much faster an unmeasured link may have become, and how much better a plan has to get by that.
HOPE: Final = 4.0
WORTH_IT: Final = 0.02


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

    def look(self, now: float, model: Model, question: Question, mixture: Mixture) -> None:
        """Decide what the next frame measures, if anything.

        Args:
            now: Monotonic device seconds.
            model: Says what was measured when.
            question: What was planned for.
            mixture: What was planned.
        """
        self._explore(now, model, question)
        self._probe(now, model, question, mixture)

    def _explore(self, now: float, model: Model, question: Question) -> None:
        widest = len(self._points) - 1
        widest_s = max(question.estimates[widest].loads_s[:DEVICE_LIMITS])
        unseen_s = now - max(model.last_task_s, self._explored_s)
        if widest in question.allowed and unseen_s > max(EXPLORE_AFTER_S, widest_s / EXPLORE_PART):
            self._explored_s = now
            self._set(widest)

    def _probe(self, now: float, model: Model, question: Question, mixture: Mixture) -> None:
        pause_s = max(PROBE_AFTER_S, PADDING_BYTES * model.seconds_per_byte / PROBE_PART)
        if now <= max(model.link_seen_s, self._probed_s) + pause_s:
            return
        self._probed_s = now
        hoped = replace(question, estimates=model.estimates(link_speed_up=HOPE))
        if is_better(best_mixture(hoped), mixture, by=WORTH_IT):
            self._set(mixture.first.key, padding_bytes=PADDING_BYTES)

    def _set(self, index: int, *, padding_bytes: int = 0) -> None:
        self._choice = Choice(
            point=self._points[index], padding_bytes=padding_bytes, reason=Reason.PROBING
        )

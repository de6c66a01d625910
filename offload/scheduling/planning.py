"""Mix two points for a period: within all limits at the least cost, or else as light as can be."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from offload.scheduling.mixture import Mixture, Way, cheapest, lightest, worth_mixing
from offload.scheduling.model import DEVICE_LIMITS, LIMITS, Estimate

# Part of link and cloud that a plan may use. Queues in front of both grow without end towards 1.
HEAD_ROOM: Final = 0.9
WITH_ROOM: Final = tuple(1.0 if row < DEVICE_LIMITS else HEAD_ROOM for row in range(len(LIMITS)))
WITHOUT: Final = (1.0,) * len(LIMITS)

# A point with frames that take longer on the link, or in the cloud, is used alone or not at all:
# all others would come in bursts behind them.
HOLD_UP_S: Final = 0.4
HOLD_UP_PERIODS: Final = 5.0

# Rounding is no shortage, and no saving.
FEASIBLE: Final = 1 + 1e-6
CHEAPEST: Final = 1 + 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to plan for: a frame every ``period_s``, at the points whose indices are ``allowed``.

    ``present`` are the points that are mixed now: kept while no others are much better.
    """

    estimates: Sequence[Estimate]
    allowed: Collection[int]
    period_s: float
    present: frozenset[int]

    def cost_s(self, mixture: Mixture) -> float:
        """Return what a mixture costs the cloud by these estimates."""
        one, two = (self.estimates[way.key].cost_s for way in (mixture.first, mixture.second))
        return one + mixture.share * (two - one)


def best_mixture(question: Question) -> Mixture:
    """Return the best mixture; its keys are the points' indices, its loads parts of the period."""
    period_s = question.period_s
    hold_up_s = max(HOLD_UP_S, HOLD_UP_PERIODS * period_s)
    ways = []
    for index in question.allowed:
        each = question.estimates[index]
        loads = tuple([load_s / period_s for load_s in each.loads_s])
        ways.append(Way(index, loads, each.cost_s, each.longest_s > hold_up_s))
    few, present = worth_mixing(ways), question.present
    mixture = cheapest(few, WITH_ROOM, present)
    if mixture is None:
        mixture = lightest(few, present)
        if mixture.load <= 1:
            mixture = cheapest(few, WITHOUT, present) or mixture
    return mixture

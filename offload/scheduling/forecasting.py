"""Say what each split would give: the best of its points, from what was measured. Pure."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from offload.scheduling.model import DEVICE_LIMITS, LIMITS, LINK, Estimate
from offload.scheduling.terms import Forecast, OperatingPoint, Reason

# Nothing takes less than a microsecond of anything.
LEAST_S: Final = 1e-6

# Encodings whose rates and costs differ by less are taken for equal.
SAME_FPS: Final = 0.99
SAME_COST_S: Final = 5e-5

LIMIT_NAMES: Final = {
    Reason.INFEASIBLE_DEVICE: "device",
    Reason.INFEASIBLE_LINK: "link",
    Reason.INFEASIBLE_CLOUD: "cloud",
}


def forecasts(
    found: Iterable[tuple[OperatingPoint, Estimate]], *, window: int
) -> tuple[Forecast, ...]:
    """Return a forecast for every split that is known, with its best encoding.

    Args:
        found: What points take, by their splits, rising. Where no bytes cross, nothing is known.
        window: Most frames in flight.
    """
    known = [each for each in found if each[1].most_bytes > 0]
    return tuple(
        _best([_forecast(point, estimate, window) for point, estimate in together])
        for _, together in groupby(known, key=lambda each: each[0].split)
    )


def _best(found: Sequence[Forecast]) -> Forecast:
    """Return the fastest; of those that noise alone tells apart the cheapest, or the first."""
    fastest = max(each.fps for each in found)
    fast = [each for each in found if each.fps >= SAME_FPS * fastest]
    least_s = min(each.cloud_s for each in fast)
    return next(each for each in fast if each.cloud_s <= least_s / SAME_FPS + SAME_COST_S)


def _forecast(point: OperatingPoint, estimate: Estimate, window: int) -> Forecast:
    loads_s = estimate.loads_s
    busiest_s = max(loads_s)
    limit = LIMIT_NAMES[LIMITS[loads_s.index(busiest_s)]]
    # By Little's law: so many frames are under way, and each takes so long.
    waiting_s = estimate.latency_s / window
    if waiting_s > busiest_s:
        limit = LIMIT_NAMES[LIMITS[LINK]]
    return Forecast(
        split=point.split,
        encoding=point.encoding,
        fps=1 / max(busiest_s, waiting_s, LEAST_S),
        limit=limit,
        device_s=max(loads_s[:DEVICE_LIMITS]),
        link_s=loads_s[LINK],
        cloud_s=estimate.cost_s,
        link_bytes=estimate.mean_bytes,
    )

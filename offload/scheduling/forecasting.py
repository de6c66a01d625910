"""Say what each split would give: the best of its points, from what was measured. Pure."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from offload.scheduling.model import DEVICE_LIMITS, LIMITS, LINK, Estimate
from offload.scheduling.terms import Forecast, OperatingPoint, Reason

# Nothing takes less than a microsecond of anything.
LEAST_S: Final = 1e-6

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
    return max(found, key=lambda each: (each.fps, -each.cloud_s))


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
    )

"""Write metrics in Prometheus' text format. Needs the extra ``metrics``.

page = PageWriter(metrics).write()
"""

from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Metric, generate_latest

from offload.metrics.families import Family, Kind, Metrics

# What every Prometheus reads, whatever it would like best.
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# The package adds what these two kinds end with by itself.
_ADDED: Final = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


class PageWriter:
    """Writes the metrics that there are when it is asked.

    Args:
        metrics: Whose they are.
    """

    def __init__(self, metrics: Metrics) -> None:
        """Set up a registry that has nothing else, such as what the package says of the process."""
        self._metrics = metrics
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def write(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield what is there in the package's own form, for the registry."""
        families: dict[str, Metric] = {}
        for reading in self._metrics.read():
            family = reading.family
            metric = families.get(family.name)
            if metric is None:
                metric = families[family.name] = _make_metric(family)
            labels = dict(zip(family.labels, reading.labels, strict=True))
            metric.add_sample(family.name, labels, reading.value)
        yield from families.values()


def _make_metric(family: Family) -> Metric:
    return Metric(family.name.removesuffix(_ADDED.get(family.kind, "")), family.help, family.kind)

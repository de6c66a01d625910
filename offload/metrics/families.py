"""What a metric is: its name, what it counts, its labels; and one value of it. Pure.

Names and units are those of Prometheus: base units (seconds, bytes, parts of one), ``_total`` for
what only grows, ``_info`` for what is told by labels. docs/metrics.md lists them all.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from offload.telemetry.events import Sampled, ServerSampled


class Kind(StrEnum):
    """What may happen to a metric's value, as Prometheus names it."""

    COUNTER = "counter"
    """It only grows, and begins at zero with the program."""
    GAUGE = "gauge"
    """It goes up and down."""
    INFO = "info"
    """It is 1, and its labels say something."""
    SUMMARY = "summary"
    """Quantiles, by the label ``quantile``; they cannot be added or averaged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One value of a metric, with the values of its labels in order."""

    family: "Family"
    labels: tuple[str, ...]
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A metric.

    Attributes:
        name: In full, with ``_total`` and ``_info``.
        kind: What may happen to its value.
        help: What it is, in one line.
        unit: What is counted; empty if it has none.
        labels: Their names, in order.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    labels: tuple[str, ...] = ()

    def at(self, value: float, *labels: str) -> Reading:
        """Return a value of it."""
        return Reading(family=self, labels=labels, value=value)

    def if_known(self, value: float | None, *labels: str) -> Iterator[Reading]:
        """Yield the value, or nothing: what is not known is left out, and is no zero."""
        if value is not None:
            yield self.at(value, *labels)


class Metrics(Protocol):
    """What can be asked for its metrics at any time, from any thread."""

    def read(self) -> Iterator[Reading]:
        """Yield the values that there are now, in any order."""


# Samples come once a second. What an older one says is not so any more: whoever makes them hangs.
SAID_FOR_S: Final = 5.0

SAMPLE_AGE: Final = Family(
    name="offload_sample_age_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    help="How long ago the program last looked at how it goes; it does so once a second.",
)
PROCESS_CPU: Final = Family(
    name="offload_process_cpu_ratio",
    kind=Kind.GAUGE,
    unit="ratio",
    help="Processor time of the program over the last second; 1 is one core.",
)
PROCESS_MEMORY: Final = Family(
    name="offload_process_memory_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    help="What the program holds in memory.",
)
MACHINE_CPU: Final = Family(
    name="offload_machine_cpu_ratio",
    kind=Kind.GAUGE,
    unit="ratio",
    help="Part of all processors of the machine that is in use.",
)

# Both programs have them: what scrapes them says whose they are.
SHARED_FAMILIES: Final = (SAMPLE_AGE, PROCESS_CPU, PROCESS_MEMORY, MACHINE_CPU)


def still_so(readings: Iterable[Reading], age_s: float) -> Iterator[Reading]:
    """Yield what still holds of a sample's readings at its age: counts and names always do."""
    for each in readings:
        if age_s <= SAID_FOR_S or each.family.kind in (Kind.COUNTER, Kind.INFO):
            yield each


def read_load(sample: Sampled | ServerSampled) -> Iterator[Reading]:
    """Yield what a program takes of its machine."""
    yield PROCESS_CPU.at(sample.cpu_percent / 100)
    yield PROCESS_MEMORY.at(sample.memory_bytes)
    yield from MACHINE_CPU.if_known(sample.machine_part)

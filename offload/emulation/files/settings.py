"""What a file sets of a link or a machine, as texts with units, put over what held before.

    quality_with(Quality(), {"rate": "20Mbit", "delay": "40ms"}, place="links[0]")
    limits_with(Limits(), {"cpu": 0.15}, place="machines[1]")

The same settings stand in tables (of machines, links and the catalogue) and in the schedule, where
numbers are texts, too. `place` is where they stand, for errors.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from offload.emulation.experiment import Quality
from offload.emulation.files import units
from offload.errors import ConfigurationError

Found = TypeVar("Found")

# A queue that is smaller than one packet lets nothing through.
LEAST_QUEUE_BYTES: Final = 1500

# Far past any machine and any burst; a bound so that nobody divides by infinity.
MAX_CORES: Final = 1024
MAX_LOSS_BURST: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a machine may use; None for no limit."""

    cpu: float | None = None
    memory_bytes: int | None = None


def read_at(place: str, read: Callable[[Any], Found], value: object) -> Found:
    """Return what ``read`` makes of the value.

    Raises:
        ConfigurationError: That of ``read``, with the place before it.
    """
    try:
        return read(value)
    except ConfigurationError as error:
        raise ConfigurationError(f"{place}: {error}") from None


def quality_with(base: Quality, settings: Mapping[str, object], *, place: str) -> Quality:
    """Return ``base`` with the settings put over it; keys that set nothing of it are left alone.

    Raises:
        ConfigurationError: A value is wrong.
    """
    return replace(base, **_values(settings, _QUALITY, place))


def limits_with(base: Limits, settings: Mapping[str, object], *, place: str) -> Limits:
    """Return ``base`` with the settings put over it; keys that set nothing of it are left alone.

    Raises:
        ConfigurationError: A value is wrong.
    """
    return replace(base, **_values(settings, _LIMITS, place))


def check_quality(quality: Quality, *, place: str) -> None:
    """Find out whether the values of a quality go together.

    Raises:
        ConfigurationError: They do not.
    """
    if quality.jitter_s > quality.delay_s:
        raise ConfigurationError(
            f"{place}: the jitter of {quality.jitter_s * 1e3:g}ms is more than the delay of "
            f"{quality.delay_s * 1e3:g}ms, which cannot become negative"
        )
    # Between two bursts at least one packet gets through.
    most = quality.loss_burst / (quality.loss_burst + 1)
    if quality.loss_burst > 1 and quality.loss > most:
        raise ConfigurationError(
            f"{place}: a loss of {quality.loss:.4g} of all packets cannot come in bursts of "
            f"{quality.loss_burst:g}, expected at most {most:.4g} or longer bursts"
        )


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """Return the end of an error about a name: the one that was meant, or all there are."""
    names = list(known)
    close = difflib.get_close_matches(wrong, names, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"expected one of {', '.join(names)}" if names else "there are none"


def _values(
    settings: Mapping[str, object], known: Mapping[str, "_Setting"], place: str
) -> dict[str, Any]:
    return {
        known[key].field: read_at(f"{place}.{key}", known[key].read, value)
        for key, value in settings.items()
        if key in known
    }


def _rate(text: str) -> float | None:
    return None if text == units.UNLIMITED else units.rate(text)


def _memory(text: str) -> int | None:
    if text == units.UNLIMITED:
        return None
    if (memory_bytes := units.size(text)) == 0:
        raise ConfigurationError(f"{text!r} is too little for any program")
    return memory_bytes


def _queue(text: str) -> int:
    if (queue_bytes := units.size(text)) < LEAST_QUEUE_BYTES:
        raise ConfigurationError(f"{text!r} is less than one packet of {LEAST_QUEUE_BYTES} bytes")
    return queue_bytes


def _cpu(value: str | float) -> float | None:
    if value == units.UNLIMITED:
        return None
    cores = _number(value)
    if not 0 < cores <= MAX_CORES:
        raise ConfigurationError(f"{value!r} is not a number of cores such as 0.15, over 0")
    return cores


def _loss_burst(value: str | float) -> float:
    packets = _number(value)
    if not 1 <= packets <= MAX_LOSS_BURST:
        raise ConfigurationError(f"{value!r} is not a number of packets from 1 to {MAX_LOSS_BURST}")
    return packets


def _number(value: str | float) -> float:
    """Return a number, or what is no number to any comparison."""
    try:
        return float(value)
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Setting:
    """Which field a key sets, and how its value is read."""

    field: str
    read: Callable[[Any], object]


_QUALITY: Final[Mapping[str, _Setting]] = {
    "rate": _Setting(field="rate_bit_s", read=_rate),
    "delay": _Setting(field="delay_s", read=units.duration),
    "jitter": _Setting(field="jitter_s", read=units.duration),
    "loss": _Setting(field="loss", read=units.share),
    "loss_burst": _Setting(field="loss_burst", read=_loss_burst),
    "queue": _Setting(field="queue_bytes", read=_queue),
    "up": _Setting(field="is_up", read=bool),
}
_LIMITS: Final[Mapping[str, _Setting]] = {
    "cpu": _Setting(field="cpu", read=_cpu),
    "memory": _Setting(field="memory_bytes", read=_memory),
}

QUALITY_KEYS: Final = tuple(_QUALITY)
LIMIT_KEYS: Final = tuple(_LIMITS)

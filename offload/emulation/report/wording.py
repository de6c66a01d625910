"""Numbers as the report's page says them, with the unit that fits.

rate(20e6), seconds(0.005), size(2**29), share(0.01)  # 20 Mbit/s, 5 ms, 512 MiB, 1 %
"""

from collections.abc import Sequence
from typing import Final

UNKNOWN: Final = "–"  # noqa: RUF001  # a dash, as in printed tables

_RATES: Final = ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s"), (1.0, "bit/s"))
_SIZES: Final = ((2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "bytes"))
_AMOUNTS: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "bytes"))

# A minute and over is said in minutes.
_MINUTE_S: Final = 60.0


def rate(bit_s: float) -> str:
    """Return bits per second."""
    return _with_unit(bit_s, _RATES)


def size(byte_count: float) -> str:
    """Return memory."""
    return _with_unit(byte_count, _SIZES)


def amount(byte_count: float) -> str:
    """Return bytes that were moved, in thousands, as rates are."""
    return _with_unit(byte_count, _AMOUNTS)


def seconds(duration_s: float) -> str:
    """Return a duration: a delay, or that of a run."""
    if duration_s == 0:
        return "0 ms"
    if abs(duration_s) < 1:
        return f"{plain(1000 * duration_s)} ms"
    if abs(duration_s) < _MINUTE_S:
        return f"{plain(duration_s)} s"
    minutes, rest = divmod(round(duration_s), 60)
    return f"{minutes} min {rest} s" if rest else f"{minutes} min"


def share(part: float) -> str:
    """Return a share of 0 to 1 in percent."""
    return f"{plain(100 * part)} %"


def plain(value: float) -> str:
    """Return a number with three digits that count, or all of those before the point."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u202f")
    # What rounds up to 100 has no digits behind the point any more, either.
    text = f"{value:.3g}"
    return f"{float(text):f}".rstrip("0").rstrip(".") if "e" in text else text


def _with_unit(value: float, units: Sequence[tuple[float, str]]) -> str:
    factor, name = unit_for(value, units)
    return f"{plain(value / factor)} {name}"


def unit_for(value: float, units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """Return the largest unit of which there is one in the value, or else the smallest."""
    return next((each for each in units if abs(value) >= each[0]), units[-1])

"""Quantities of the older form of experiments, to the texts and numbers of the new one.

cores("150m")                               # 0.15
size_text("512Mi")                          # "512MiB"
rate_text("100mbps", mbps_means=Mbps.MBIT)  # "100Mbit"
"""

import re
from enum import StrEnum
from fractions import Fraction
from typing import Final

from offload.emulation.files import units
from offload.errors import ConfigurationError


class Mbps(StrEnum):
    """What ``mbps`` means in a file: people mean megabits, and tc reads megabytes."""

    MBIT = "mbit"
    MBYTE = "mbyte"


_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([A-Za-z]*)")
_BANDWIDTH: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([kmg]?)bps", re.IGNORECASE)

_CORES: Final = {"": Fraction(1), "m": Fraction(1, 1000)}
_BYTES: Final = {
    **{"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "T": 1000**4},
    **{"Ki": 1024, "Mi": 1024**2, "Gi": 1024**3, "Ti": 1024**4},
}
# The largest of these that fits without a rest says a size best.
_SIZES: Final = {
    **{"GiB": 1024**3, "GB": 1000**3, "MiB": 1024**2, "MB": 1000**2},
    **{"KiB": 1024, "kB": 1000, "B": 1},
}


def cores(quantity: str | float) -> float:
    """Read a share of processors as Kubernetes has it, such as ``150m`` or ``0.5``, in cores.

    Raises:
        ConfigurationError: It is none.
    """
    expected = "cores as Kubernetes has them, such as 150m or 0.5"
    return float(_read(quantity, _CORES, expected))


def size_text(quantity: str | float) -> str:
    """Read a size as Kubernetes has it, such as ``512Mi``, as a text such as ``512MiB``.

    Raises:
        ConfigurationError: It is none.
    """
    expected = "a size as Kubernetes has it, such as 512Mi or 500M"
    size_bytes = int(_read(quantity, _BYTES, expected))
    unit = next(unit for unit, unit_bytes in _SIZES.items() if size_bytes % unit_bytes == 0)
    return f"{size_bytes // _SIZES[unit]}{unit}"


def rate_text(bandwidth: str, *, mbps_means: Mbps | None) -> str:
    """Read a rate, such as ``100mbps``, as a text such as ``100Mbit``.

    Args:
        bandwidth: In bps, kbps, mbps or gbps, or in a unit of the new form.
        mbps_means: Whether the ``b`` of these stands for bits or bytes; None if nobody said.

    Raises:
        ConfigurationError: It is none, or may mean two things and nobody said which.
    """
    found = _BANDWIDTH.fullmatch(bandwidth)
    if found is None:
        units.rate(bandwidth)
        return bandwidth
    if mbps_means is None:
        raise ConfigurationError(
            f"{bandwidth!r} may mean bits or, as tc reads it, bytes per second; "
            "say which: --mbps-means mbit or --mbps-means mbyte"
        )
    number, prefix = found[1], found[2].lower().replace("m", "M").replace("g", "G")
    text = f"{number}{prefix}bit" if mbps_means is Mbps.MBIT else f"{number}{prefix}B/s"
    units.rate(text)
    return text


def _read(
    quantity: str | float, known: dict[str, Fraction] | dict[str, int], expected: str
) -> Fraction:
    text = quantity if isinstance(quantity, str) else f"{quantity:.9f}".rstrip("0").rstrip(".")
    found = _QUANTITY.fullmatch(text)
    unit = known.get(found[2]) if found else None
    if found is None or unit is None:
        raise ConfigurationError(f"{quantity!r} is not {expected}")
    return Fraction(found[1]) * unit

"""Texts with explicit units, as experiment files have them, to numbers.

    rate("20Mbit")      # 20000000.0 bits per second
    rate("2.5MB/s")     # the same
    duration("40ms")    # 0.04 seconds
    share("0.5%")       # 0.005
    size("256MiB")      # 268435456 bytes

A number without a unit is refused, and so is what people read in two ways. Every error is a
`ConfigurationError` that says what was found and what to write; whoever calls adds where.
"""

import argparse
import re
from fractions import Fraction
from typing import Final

from offload import arguments
from offload.errors import ConfigurationError

# What a rate, a processor share or a memory limit may be instead of a number.
UNLIMITED: Final = "unlimited"

# Digits are bounded so that every number is finite, and a sum of some still is.
_QUANTITY: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([A-Za-z%/]*)")

_BITS: Final = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9}
_BYTES: Final = {
    **{"B/s": 8, "kB/s": 8 * 10**3, "MB/s": 8 * 10**6, "GB/s": 8 * 10**9},
    **{"KiB/s": 8 * 1024, "MiB/s": 8 * 1024**2, "GiB/s": 8 * 1024**3},
}
# Fractions, so that 70us is the number 7e-05 and not its neighbour.
_SECONDS: Final = {
    **{"us": Fraction(1, 10**6), "ms": Fraction(1, 10**3)},
    **{"s": Fraction(1), "min": Fraction(60), "h": Fraction(3600)},
}

# Written for bits by most, for bytes by some: tc reads 100mbps as 100 megabytes per second.
_TWO_MEANINGS: Final = re.compile(r"([kmg]?)(?:bps|b|b/s)", re.IGNORECASE)


def rate(text: str) -> float:
    """Read a rate, such as ``20Mbit``, ``500kbit`` or ``2.5MB/s``, in bits per second.

    Raises:
        ConfigurationError: It is none, is 0, has no unit, or one that means two things.
    """
    number, unit = _split(text, "a rate such as 20Mbit, 500kbit or 2.5MB/s")
    bits = _BYTES.get(unit) or _BITS.get(unit.lower().removesuffix("/s"))
    if bits is None:
        raise ConfigurationError(f"{text!r} {_why_no_rate(unit)}")
    if number == 0:
        raise ConfigurationError(f"{text!r} lets nothing through, expected a rate over 0")
    return float(number * bits)


def duration(text: str) -> float:
    """Read a time, such as ``250us``, ``40ms``, ``1.5s``, ``2min`` or ``1h``, in seconds.

    Raises:
        ConfigurationError: It is none, or has no unit.
    """
    expected = "a time such as 40ms, 1.5s or 2min"
    number, unit = _split(text, expected)
    seconds = _SECONDS.get(unit)
    if seconds is None:
        raise ConfigurationError(f"{text!r} has {_named(unit)}, expected {expected}")
    return float(number * seconds)


def share(text: str) -> float:
    """Read a percentage, such as ``0.5%``, as a share from 0 to 1.

    Raises:
        ConfigurationError: It is none, is over 100 %, or has no percent sign.
    """
    expected = "a percentage from 0% to 100%, such as 0.5%"
    number, unit = _split(text, expected)
    if unit != "%":
        raise ConfigurationError(f"{text!r} has {_named(unit)}, expected {expected}")
    if number > 100:
        raise ConfigurationError(f"{text!r} is over 100%, expected {expected}")
    return float(number / 100)


def size(text: str) -> int:
    """Read a number of bytes, such as ``256MiB`` (times 1024) or ``64kB`` (thousands).

    Raises:
        ConfigurationError: It is none, or has no unit.
    """
    expected = "a size such as 256MiB or 64kB"
    if text[-1:].isdigit():
        raise ConfigurationError(f"{text!r} has no unit, expected {expected}")
    try:
        return arguments.size(text)
    except argparse.ArgumentTypeError:
        raise ConfigurationError(f"{text!r} is not {expected}") from None


def _split(text: str, expected: str) -> tuple[Fraction, str]:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"{text!r} is not {expected}")
    return Fraction(found[1]), found[2]


def _why_no_rate(unit: str) -> str:
    ambiguous = _TWO_MEANINGS.fullmatch(unit)
    if ambiguous is not None:
        prefix = ambiguous[1].lower().replace("m", "M").replace("g", "G")
        return f"is ambiguous: write {prefix}bit for bits or {prefix}B/s for bytes per second"
    return f"has {_named(unit)}, expected a rate such as 20Mbit, 500kbit or 2.5MB/s"


def _named(unit: str) -> str:
    return f"the unknown unit {unit!r}" if unit else "no unit"

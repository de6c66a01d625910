"""Texts with units, and what is refused because it might mean two things."""

from collections.abc import Callable

import pytest

from offload.emulation.files.units import duration, rate, share, size
from offload.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "bit_s"),
    [
        ("20Mbit", 20e6),
        ("20 Mbit", 20e6),
        ("20mbit/s", 20e6),
        ("500kbit", 500e3),
        ("1Gbit", 1e9),
        ("9bit", 9.0),
        ("0.1Mbit", 100e3),
        ("2.5MB/s", 20e6),
        ("64kB/s", 512e3),
        ("1KiB/s", 8192.0),
        ("1GB/s", 8e9),
    ],
)
def test_a_rate_is_in_bits_per_second(text: str, bit_s: float) -> None:
    assert rate(text) == bit_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("40ms", 0.04),
        ("70us", 7e-05),
        ("1.5s", 1.5),
        ("0s", 0.0),
        ("2min", 120.0),
        ("1h", 3600.0),
    ],
)
def test_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(("text", "part"), [("0.5%", 0.005), ("0%", 0.0), ("100 %", 1.0)])
def test_a_percentage_is_a_share(text: str, part: float) -> None:
    assert share(text) == part


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("256MiB", 256 * 1024**2), ("64kB", 64_000), ("1500B", 1500)]
)
def test_a_size_is_in_bytes(text: str, size_bytes: int) -> None:
    assert size(text) == size_bytes


@pytest.mark.parametrize("read", [rate, duration, share, size])
@pytest.mark.parametrize("text", ["5", "0.5"])
def test_a_number_without_a_unit_is_refused(read: Callable[[str], float], text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^'{text}' has no unit, expected a .* such as "):
        read(text)


@pytest.mark.parametrize(
    ("text", "bits", "bytes_"),
    [
        ("100mbps", "Mbit", "MB/s"),
        ("100Mbps", "Mbit", "MB/s"),
        ("20Mb/s", "Mbit", "MB/s"),
        ("20MB", "Mbit", "MB/s"),
        ("5kbps", "kbit", "kB/s"),
        ("5Gb", "Gbit", "GB/s"),
        ("5bps", "bit", "B/s"),
    ],
)
def test_a_rate_that_may_be_bits_or_bytes_is_refused_with_both(
    text: str, bits: str, bytes_: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        rate(text)
    assert str(raised.value) == (
        f"'{text}' is ambiguous: write {bits} for bits or {bytes_} for bytes per second"
    )


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'0Mbit' lets nothing through"):
        rate("0Mbit")


def test_more_than_all_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'101%' is over 100%"):
        share("101%")


@pytest.mark.parametrize(
    ("read", "text"),
    [
        *((rate, text) for text in ("", "fast", "-5Mbit", "1e3Mbit", "5Mbit ", "٣Mbit", "5Tbit")),
        *((duration, text) for text in ("", "soon", "-1s", "1,5s", "40 m s", "1d", "inf s")),
        *((share, text) for text in ("", "%", "-1%", "half", "5‰")),
        *((size, text) for text in ("", "MiB", "-1MiB", "1.5GiB", "64kbit", "5TiB")),
        *((read, "1" * 400 + "ms") for read in (rate, duration, share, size)),
    ],
)
def test_what_is_no_quantity_is_refused_with_an_example(
    read: Callable[[str], float], text: str
) -> None:
    with pytest.raises(ConfigurationError, match=r" a (rate|time|percentage|size).* such as "):
        read(text)

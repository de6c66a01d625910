"""The kinds of devices and links: complete, sourced, and found by name."""

import re

import pytest

from offload.emulation.files.catalogue import Row, link_kind, machine_kind, rows
from offload.errors import ConfigurationError

MACHINES = [row.name for row in rows() if row.of == "machine"]
LINKS = [row.name for row in rows() if row.of == "link"]


def test_the_usual_kinds_are_there() -> None:
    assert {"pi-zero", "pi-zero-2", "pi-3", "pi-4", "pi-5"} <= set(MACHINES)
    assert {"ethernet", "wifi-good", "wifi-bursty", "3g", "lte", "5g"} <= set(LINKS)
    assert {"satellite-leo", "satellite-geo", "lossy-radio"} <= set(LINKS)


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_each_kind_says_where_its_figures_come_from(row: Row) -> None:
    assert re.search(r"https?://\S+\.\S+", row.source)
    assert "\n" not in row.source
    assert "  " not in row.source


@pytest.mark.parametrize("name", MACHINES)
def test_a_kind_of_machine_has_a_processor_and_memory(name: str) -> None:
    kind = machine_kind(name)
    assert kind.limits.cpu is not None
    assert kind.limits.memory_bytes is not None
    assert 0 < kind.one_core <= kind.limits.cpu <= 4 * kind.one_core
    assert kind.limits.memory_bytes >= 2**28


@pytest.mark.parametrize("name", LINKS)
def test_a_kind_of_link_has_a_rate_and_a_delay_in_both_directions(name: str) -> None:
    kind = link_kind(name)
    for quality in (kind.to_device, kind.to_cloud):
        assert quality.rate_bit_s is not None
        assert quality.rate_bit_s >= 100e3
        assert 0 < quality.delay_s < 1
        assert quality.is_up


def test_a_telephone_network_is_slower_towards_the_cloud() -> None:
    lte = link_kind("lte")
    assert (lte.to_device.rate_bit_s, lte.to_cloud.rate_bit_s) == (29.5e6, 7.6e6)
    assert lte.to_device.delay_s == lte.to_cloud.delay_s == 0.011


def test_newer_devices_are_faster() -> None:
    shares = [machine_kind(name).limits.cpu or 0.0 for name in MACHINES[:5]]
    assert MACHINES[:5] == ["pi-zero", "pi-zero-2", "pi-3", "pi-4", "pi-5"]
    assert shares == sorted(shares)


def test_a_row_says_its_figures_as_a_file_would() -> None:
    figures = {row.name: row.figures for row in rows()}
    assert figures["pi-4"] == "cpu 0.26, one_core 0.12, memory 4GiB"
    assert figures["3g"] == "delay 32ms, to device: rate 5.9Mbit, to cloud: rate 2Mbit"


def test_a_misspelled_kind_gets_a_hint() -> None:
    with pytest.raises(ConfigurationError, match=r"^unknown kind 'pi4'; did you mean 'pi-4'\?$"):
        machine_kind("pi4")
    with pytest.raises(
        ConfigurationError, match=r"^unknown kind 'carrier-pigeon'; expected one of"
    ):
        link_kind("carrier-pigeon")

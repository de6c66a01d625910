"""What a link's process is told and says, as lines."""

import json
from typing import Final

import pytest

from offload.emulation.experiment import Quality
from offload.emulation.links.link_model import Counters
from offload.emulation.links.relay_messages import (
    End,
    Qualities,
    RelaySettings,
    Report,
    ReportKind,
    qualities_line,
    read_qualities,
    read_report,
    read_settings,
    report_line,
    settings_line,
)
from offload.errors import ConfigurationError

SETTINGS: Final = RelaySettings(
    link="wifi",
    seed=7,
    ends=(End(namespace="near", device="wifi"), End(namespace="far", device="wifi")),
    qualities=Qualities(
        forward=Quality(
            rate_bit_s=2e6, delay_s=0.1, jitter_s=0.01, loss=0.1, loss_burst=2.0, queue_bytes=9000
        ),
        backward=Quality(is_up=False),
    ),
)


def counters(packets: int) -> Counters:
    return Counters(
        packets_in=packets,
        bytes_in=1500 * packets,
        packets_out=packets,
        bytes_out=1500 * packets,
        lost=1,
        dropped=2,
        queue_bytes=3,
        missed=4,
    )


def test_settings_come_out_of_a_line_as_they_went_in() -> None:
    assert read_settings(settings_line(SETTINGS)) == SETTINGS


def test_qualities_come_out_of_a_line_as_they_went_in() -> None:
    assert read_qualities(qualities_line(SETTINGS.qualities)) == SETTINGS.qualities


@pytest.mark.parametrize("kind", ReportKind)
def test_a_report_comes_out_of_a_line_as_it_went_in(kind: ReportKind) -> None:
    report = Report(kind=kind, at=1234.5, forward=counters(10), backward=counters(20))
    line = report_line(report)
    assert read_report(line) == report
    assert line.count("\n") == 1


def test_what_a_line_of_qualities_leaves_out_is_without_limits() -> None:
    read = read_qualities('{"forward": {"delay_s": 0.1}, "backward": {}}')
    assert read == Qualities(forward=Quality(delay_s=0.1), backward=Quality())


@pytest.mark.parametrize(
    "line",
    ["", "wifi", "[]", "{}", '{"forward": {}}', '{"forward": {"speed": 1}, "backward": {}}'],
)
def test_what_is_no_line_of_qualities_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match="no qualities of a link"):
        read_qualities(line)


@pytest.mark.parametrize("ends", [[], [{}], [{"namespace": "a"}, {"namespace": "b"}]])
def test_settings_without_both_ends_are_refused(ends: list[object]) -> None:
    fields = json.loads(settings_line(SETTINGS)) | {"ends": ends}
    with pytest.raises(ConfigurationError, match="no settings of a link"):
        read_settings(json.dumps(fields))

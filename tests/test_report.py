"""What a progress line of the device says in each mode."""

from dataclasses import dataclass, replace

from offload.device.capture import Capture, Limit, Overload
from offload.device.link import LinkEstimate
from offload.device.report import Progress
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    target_fps: float = 20.0
    position: float = 3.456
    reason: str = "settled"


def progress() -> Progress:
    """Return that of a client alone which has done nothing yet."""
    return Progress(
        now=1000.0,
        split=None,
        steering=None,
        totals=RunTotals(("get_frame",)),
        link=LinkState(),
        load=LoadMeter(),
        live=None,
        rate=None,
    )


def names(line: dict[str, object]) -> list[str]:
    return [name for name in line if name != "machine_percent"]


def test_a_client_alone_says_nothing_of_splits_and_of_the_cloud() -> None:
    line = progress().line()
    assert names(line) == ["fps", "latency_p95_ms", "in_flight", "dropped", "cpu_percent"]
    assert (line["fps"], line["latency_p95_ms"]) == (0.0, None)


def test_a_fixed_split_is_said_as_it_is_and_a_steered_one_with_target_and_reason() -> None:
    fixed = replace(progress(), split=3)
    assert fixed.line()["split"] == 3
    line = replace(fixed, steering=Steered()).line()
    assert (line["target"], line["split"], line["reason"]) == (20.0, 3.46, "settled")


def test_with_a_cloud_its_load_is_said_and_the_link_s_rate_once_it_is_known() -> None:
    rate = LinkEstimate()
    split = replace(progress(), split=3, rate=rate, link=LinkState(cloud_load=0.25, spooled=7))
    assert names(split.line())[-2:] == ["spooled", "cloud_percent"]
    assert (split.line()["spooled"], split.line()["cloud_percent"]) == (7, 25)
    rate.observe(byte_count=1_000_000, sent_s=1.0, acknowledged_s=2.0, residence_s=0.0)
    assert split.line()["link_mbit"] == 8.0


def test_a_live_source_s_newest_frame_is_never_younger_than_nothing() -> None:
    now_s = 1000.0
    capture = Capture(
        iter([1, 2]),
        start_seq=0,
        overload=Overload.BLOCK,
        limit=Limit(),
        rate_fps=None,
        clock=lambda: now_s,
    )
    live = replace(progress(), live=capture)
    assert (live.line()["missed"], live.line()["newest_age_ms"]) == (0, None)
    now_s = 1000.5
    capture.next(timeout_s=1.0)
    assert live.line()["newest_age_ms"] == 0
    assert replace(live, now=1000.75).line()["newest_age_ms"] == 250

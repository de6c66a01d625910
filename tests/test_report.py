"""What a progress line of the device says in each mode."""

from dataclasses import replace

from offload.device.report import progress_fields
from tests.seen_events import sampled

MANUAL = sampled(split=3.0, cloud_load=0.0)
AUTOMATIC = replace(MANUAL, target_fps=20.0, split=3.456, reason="settled")


def test_a_client_alone_says_nothing_of_splits_and_of_the_cloud() -> None:
    line = progress_fields(sampled(split=7.0))
    assert list(line) == ["fps", "latency_p95_ms", "in_flight", "dropped", "cpu_percent"]
    assert (line["fps"], line["latency_p95_ms"]) == (0.0, None)


def test_a_fixed_split_is_said_as_it_is_and_a_steered_one_with_target_and_reason() -> None:
    assert progress_fields(MANUAL)["split"] == 3
    line = progress_fields(AUTOMATIC)
    assert (line["target"], line["split"], line["reason"]) == (20.0, 3.46, "settled")


def test_with_a_cloud_its_load_is_said_and_the_link_s_rate_once_it_is_known() -> None:
    line = progress_fields(replace(MANUAL, cloud_load=0.25, spooled=7))
    assert list(line)[-2:] == ["spooled", "cloud_percent"]
    assert (line["spooled"], line["cloud_percent"]) == (7, 25)
    assert progress_fields(replace(MANUAL, link_bytes_per_s=1e6))["link_mbit"] == 8.0


def test_of_a_live_source_it_says_what_was_missed_and_how_old_the_newest_frame_is() -> None:
    live = progress_fields(replace(MANUAL, missed=2, newest_age_s=0.25))
    assert (live["missed"], live["newest_age_ms"]) == (2, 250)
    assert progress_fields(replace(MANUAL, missed=0))["newest_age_ms"] is None


def test_the_machine_s_load_is_said_once_it_is_known() -> None:
    assert progress_fields(replace(MANUAL, machine_part=0.5))["machine_percent"] == 50


def test_without_a_connection_nothing_is_said_of_cloud_and_link() -> None:
    away = replace(AUTOMATIC, connected=False, cloud_load=0.25, link_bytes_per_s=1e6)
    line = progress_fields(away)
    assert line["connected"] is False
    assert line["reason"] is None
    assert not {"cloud_percent", "link_mbit"} & set(line)

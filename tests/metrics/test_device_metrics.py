"""A device's events as metrics: what is known is there, what is not is left out."""

from dataclasses import replace

from offload.metrics.device import DeviceMetrics
from offload.metrics.device_families import DEVICE_FAMILIES
from offload.metrics.families import SAID_FOR_S, Kind
from offload.telemetry.events import SessionLost, SessionOpened, TelemetryEvent
from scheduler import Reason
from tests.metrics.events import BEGAN, ENDED, sampled
from tests.metrics.readings import named, readings


def metrics_after(*events: TelemetryEvent, now: float = 12.5) -> dict[str, float]:
    metrics = DeviceMetrics(reasons=tuple(Reason), now=lambda: now)
    for each in events:
        metrics.note(each)
    return readings(metrics)


def test_before_the_run_begins_there_is_nothing() -> None:
    assert metrics_after() == {}


def test_a_run_that_has_begun_says_what_it_is() -> None:
    info = (
        'offload_run_info{stream="porch",device="pi-4",app="ball",mode="automatic",version="1.0.0"}'
    )
    assert metrics_after(BEGAN) == {
        info: 1,
        "offload_run_start_time_seconds": 1.7e9,
        "offload_connected": 0,
    }


def test_whether_a_device_is_connected_is_known_from_the_start() -> None:
    opened = SessionOpened(
        at_s=1.0, stream="porch", device="pi-4", app="ball", next_seq=0, peer="192.0.2.7:8089"
    )
    lost = SessionLost(at_s=2.0, stream="porch", reason="server was silent", in_flight=3)
    assert metrics_after(BEGAN, opened)["offload_connected"] == 1
    assert metrics_after(BEGAN, opened, lost)["offload_connected"] == 0
    assert metrics_after(BEGAN, opened, lost, sampled(connected=True))["offload_connected"] == 1
    assert metrics_after(replace(BEGAN, mode="client_only"))["offload_connected"] == 1


def test_a_sample_with_all_that_may_be_known_fills_every_metric() -> None:
    found = {key.partition("{")[0] for key in metrics_after(BEGAN, sampled())}
    assert found == {each.name for each in DEVICE_FAMILIES}


def test_values_are_in_base_units() -> None:
    found = metrics_after(BEGAN, sampled())
    assert found["offload_process_cpu_ratio"] == 1.5
    assert found["offload_machine_cpu_ratio"] == 0.5
    assert found["offload_link_bytes_per_second"] == 2.5e6
    assert found["offload_machine_temperature_celsius"] == 61.5
    assert named(found, "offload_latency_seconds") == {
        '{quantile="0.5"}': 0.02,
        '{quantile="0.95"}': 0.05,
        '{quantile="0.99"}': 0.09,
    }


def test_the_newest_sample_counts() -> None:
    found = metrics_after(BEGAN, sampled(completed=200), sampled(completed=215))
    assert found['offload_frames_total{outcome="result"}'] == 215


def test_a_program_that_hangs_gives_its_counts_and_how_old_they_are() -> None:
    fresh = metrics_after(BEGAN, sampled(at_s=12.0), now=12.0 + SAID_FOR_S)
    assert fresh["offload_throughput_frames_per_second"] == 19.5
    old = metrics_after(BEGAN, sampled(at_s=12.0), now=30.0)
    assert old["offload_sample_age_seconds"] == 18
    assert {key.partition("{")[0] for key in old} == {
        *(each.name for each in DEVICE_FAMILIES if each.kind in (Kind.COUNTER, Kind.INFO)),
        "offload_run_start_time_seconds",
        "offload_connected",
        "offload_sample_age_seconds",
    }


def test_frames_are_told_by_their_outcome() -> None:
    assert named(metrics_after(BEGAN, sampled()), "offload_frames_total") == {
        '{outcome="result"}': 200,
        '{outcome="filtered"}': 20,
        '{outcome="failed"}': 2,
        '{outcome="dropped"}': 11,
    }


def test_each_task_is_told_apart_by_side() -> None:
    found = metrics_after(BEGAN, sampled())
    assert named(found, "offload_task_seconds_total") == {
        '{task="grab",side="device"}': 1.5,
        '{task="grab",side="cloud"}': 0.0,
        '{task="find",side="device"}': 2.5,
        '{task="find",side="cloud"}': 0.5,
        '{task="show",side="device"}': 0.0,
        '{task="show",side="cloud"}': 0.75,
    }
    assert named(found, "offload_task_runs_total")['{task="find",side="cloud"}'] == 60


def test_the_splits_are_those_that_there_can_be() -> None:
    found = named(metrics_after(BEGAN, sampled()), "offload_split_frames_total")
    assert found == {'{split="1"}': 60, '{split="2"}': 180, '{split="3"}': 0}


def test_one_reason_is_one_and_all_others_are_zero() -> None:
    found = named(metrics_after(BEGAN, sampled(reason="stalled")), "offload_reason")
    assert found.pop('{reason="stalled"}') == 1
    assert len(found) == len(Reason) - 1
    assert set(found.values()) == {0}


def test_what_is_not_known_is_left_out_and_is_no_zero() -> None:
    unknown = sampled(
        target_fps=None,
        pinned=None,
        split=None,
        reason=None,
        latency_p50_s=None,
        latency_p95_s=None,
        latency_p99_s=None,
        link_bytes_per_s=None,
        spool_bytes=None,
        spool_limit_bytes=None,
        expected_frames=None,
        machine_part=None,
        temperature_c=None,
        missed=None,
        newest_age_s=None,
        cloud_load=None,
        forecasts=(),
    )
    left = {key.partition("{")[0] for key in metrics_after(BEGAN, unknown)}
    assert {each.name for each in DEVICE_FAMILIES} - left == {
        "offload_target_frames_per_second",
        "offload_pinned_split",
        "offload_split",
        "offload_reason",
        "offload_latency_seconds",
        "offload_link_bytes_per_second",
        "offload_spool_bytes",
        "offload_spool_limit_bytes",
        "offload_expected_frames",
        "offload_machine_cpu_ratio",
        "offload_machine_temperature_celsius",
        "offload_missed_frames_total",
        "offload_newest_frame_age_seconds",
        "offload_cloud_cpu_ratio",
        "offload_forecast_frames_per_second",
    }


def test_after_the_end_the_frames_are_those_of_the_whole_run() -> None:
    found = metrics_after(BEGAN, sampled(), ENDED)
    assert found["offload_captured_frames_total"] == 250
    assert found['offload_frames_total{outcome="result"}'] == 210

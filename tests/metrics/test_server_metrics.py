"""A server's events as metrics: all of its own, and those of as many streams as it may have."""

from dataclasses import replace

from offload.metrics.families import SAID_FOR_S, Kind
from offload.metrics.server import CAUSES, FORGET_AFTER_S, ServerMetrics
from offload.metrics.server_families import SERVER_FAMILIES
from offload.telemetry.events import PeerRefused, StreamEnded, TelemetryEvent
from tests.metrics.events import SERVER_BEGAN, sampled, server_sampled, stream_sampled
from tests.metrics.readings import named, readings


def metrics_after(
    *events: TelemetryEvent, max_streams: int = 10, now: float | None = None
) -> dict[str, float]:
    last_s = max((each.at_s for each in events), default=0.0)
    metrics = ServerMetrics(max_streams=max_streams, now=lambda: last_s if now is None else now)
    for each in events:
        metrics.note(each)
    return readings(metrics)


def streams_after(*events: TelemetryEvent, max_streams: int = 10) -> set[str]:
    found = named(metrics_after(*events, max_streams=max_streams), "offload_stream_next_seq")
    return {key.split('"')[1] for key in found}


def refused(cause: str) -> PeerRefused:
    return PeerRefused(at_s=3.0, cause=cause, peer="192.0.2.7:40000", reason="no such token")


def test_all_metrics_are_there_once_everything_has_been_sampled() -> None:
    found = metrics_after(SERVER_BEGAN, server_sampled(), stream_sampled(), sampled())
    assert {key.partition("{")[0] for key in found} == {each.name for each in SERVER_FAMILIES}


def test_values_are_in_base_units() -> None:
    found = metrics_after(SERVER_BEGAN, server_sampled())
    assert found["offload_process_cpu_ratio"] == 0.5
    assert found["offload_server_frame_memory_limit_bytes"] == 1_073_741_824
    assert found["offload_server_sessions"] == 2


def test_refusals_are_counted_by_cause_from_zero_on() -> None:
    found = named(
        metrics_after(refused("token"), refused("token"), refused("busy")),
        "offload_server_refusals_total",
    )
    assert found.pop('{cause="token"}') == 2
    assert found.pop('{cause="busy"}') == 1
    assert found['{cause="tls"}'] == found['{cause="slow_reader"}'] == 0
    assert set(found.values()) == {0}
    assert len(found) == len(CAUSES) - 2


def test_what_a_device_says_is_shown_while_it_is_connected_and_says_it() -> None:
    name = "offload_stream_throughput_frames_per_second"
    said = (stream_sampled(at_s=12.0), sampled(at_s=12.5, fps=19.5))
    assert named(metrics_after(*said), name) == {'{stream="porch"}': 19.5}
    still = stream_sampled(at_s=12.5 + SAID_FOR_S)
    assert named(metrics_after(*said, still), name) == {'{stream="porch"}': 19.5}
    silent = stream_sampled(at_s=13.5 + SAID_FOR_S)
    assert named(metrics_after(*said, silent), name) == {}
    away = stream_sampled(at_s=13.0, connected=False)
    assert named(metrics_after(*said, away), name) == {}


def test_a_server_that_hangs_gives_its_counts_and_how_old_they_are() -> None:
    events = (SERVER_BEGAN, stream_sampled(at_s=12.0), server_sampled(at_s=12.0))
    assert metrics_after(*events, now=12.0 + SAID_FOR_S)["offload_server_sessions"] == 2
    old = metrics_after(*events, now=30.0)
    assert old["offload_sample_age_seconds"] == 18
    assert {key.partition("{")[0] for key in old} == {
        *(each.name for each in SERVER_FAMILIES if each.kind in (Kind.COUNTER, Kind.INFO)),
        "offload_server_start_time_seconds",
        "offload_sample_age_seconds",
    }


def test_a_device_without_a_target_has_none() -> None:
    found = metrics_after(stream_sampled(), sampled(target_fps=None, split=3.0))
    assert "offload_stream_target_frames_per_second" not in {each.split("{")[0] for each in found}
    assert found['offload_stream_split{stream="porch"}'] == 3.0


def test_a_sample_of_a_stream_that_is_not_shown_is_not_either() -> None:
    assert metrics_after(sampled()) == metrics_after()


def test_a_stream_is_named_by_a_label_and_its_machine_in_one_place() -> None:
    found = metrics_after(stream_sampled())
    assert found['offload_stream_info{stream="porch",device="pi-4",app="ball"}'] == 1
    assert found['offload_stream_frames_total{stream="porch",outcome="result"}'] == 200
    assert found['offload_stream_connected{stream="porch"}'] == 1


def test_a_stream_whose_device_is_away_is_shown_as_such() -> None:
    found = metrics_after(stream_sampled(), stream_sampled(connected=False))
    assert found['offload_stream_connected{stream="porch"}'] == 0


def test_a_stream_that_is_complete_is_neither_connected_nor_away() -> None:
    ended = (stream_sampled(), StreamEnded(at_s=12.5, stream="porch"))
    found = metrics_after(*ended)
    assert named(found, "offload_stream_connected") == {}
    assert found['offload_stream_frames_total{stream="porch",outcome="result"}'] == 200
    still = metrics_after(*ended, stream_sampled(at_s=13.0, connected=False))
    assert named(still, "offload_stream_connected") == {}


def test_a_stream_that_goes_on_after_its_end_is_connected_again() -> None:
    found = metrics_after(
        stream_sampled(), StreamEnded(at_s=12.5, stream="porch"), stream_sampled(at_s=20.0)
    )
    assert found['offload_stream_connected{stream="porch"}'] == 1


def test_a_stream_of_which_nothing_is_heard_vanishes_after_a_while() -> None:
    seen = (stream_sampled(stream="a", at_s=0.0), stream_sampled(stream="b", at_s=100.0))
    assert streams_after(*seen, server_sampled(at_s=FORGET_AFTER_S)) == {"a", "b"}
    assert streams_after(*seen, server_sampled(at_s=FORGET_AFTER_S + 1)) == {"b"}


def test_a_stream_whose_device_was_away_for_long_is_shown_again_once_it_is_back() -> None:
    events = [stream_sampled(at_s=0.0), stream_sampled(at_s=FORGET_AFTER_S, connected=False)]
    assert streams_after(*events) == {"porch"}
    # A server that has nowhere else to keep the state of its tasks goes on counting it.
    events.append(stream_sampled(at_s=FORGET_AFTER_S + 1.0, connected=False))
    assert streams_after(*events) == set()
    events.append(stream_sampled(at_s=FORGET_AFTER_S + 2.0))
    assert streams_after(*events) == {"porch"}


def test_a_trial_is_connected_but_never_away() -> None:
    here = stream_sampled(stream="porch (trial)")
    name = 'offload_stream_connected{stream="porch (trial)"}'
    assert metrics_after(here)[name] == 1
    assert name not in metrics_after(here, replace(here, connected=False))


def test_there_are_never_more_streams_than_there_may_be() -> None:
    many = [stream_sampled(stream=str(number), at_s=float(number)) for number in range(100)]
    assert streams_after(*many, max_streams=3) == {"97", "98", "99"}


def test_one_that_is_away_makes_room_for_one_that_is_connected() -> None:
    events = (
        stream_sampled(stream="connected", at_s=1.0),
        stream_sampled(stream="away", at_s=2.0, connected=False),
        stream_sampled(stream="connected, too", at_s=3.0),
        stream_sampled(stream="new", at_s=4.0),
    )
    assert streams_after(*events, max_streams=3) == {"connected", "connected, too", "new"}


def test_one_that_is_away_takes_no_room_from_others() -> None:
    events = (stream_sampled(stream="connected"), stream_sampled(stream="away", connected=False))
    assert streams_after(*events, max_streams=1) == {"connected"}

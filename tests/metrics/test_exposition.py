"""The page that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from offload.metrics.device import DeviceMetrics
from offload.metrics.exposition import PageWriter
from offload.metrics.families import Reading
from offload.metrics.server import ServerMetrics
from tests.metrics.events import BEGAN, SERVER_BEGAN, sampled, server_sampled, stream_sampled


def device_page() -> str:
    metrics = DeviceMetrics(reasons=("settled", "stalled"), now=lambda: 12.5)
    metrics.note(BEGAN)
    metrics.note(sampled())
    return PageWriter(metrics).write().decode()


def test_each_metric_comes_once_with_its_help_and_its_type() -> None:
    lines = device_page().splitlines()
    at = lines.index("# TYPE offload_frames_total counter")
    assert lines[at - 1] == (
        "# HELP offload_frames_total "
        "Frames that are over: result, filtered, failed (a task raised), dropped (shed)."
    )
    assert lines[at + 1] == 'offload_frames_total{outcome="result"} 200.0'
    types = [line for line in lines if line.startswith("# TYPE")]
    assert len(types) == len(set(types))


def test_quantiles_are_a_summary_and_names_are_a_gauge_of_one() -> None:
    page = device_page()
    assert "# TYPE offload_latency_seconds summary\n" in page
    assert 'offload_latency_seconds{quantile="0.95"} 0.05\n' in page
    assert "# TYPE offload_run_info gauge\n" in page


def test_the_page_has_nothing_but_what_was_read() -> None:
    names = {each.name for each in text_string_to_metric_families(device_page())}
    assert {name for name in names if not name.startswith("offload_")} == set()


def test_a_name_that_a_device_chose_stays_within_its_label() -> None:
    metrics = ServerMetrics(max_streams=1, now=lambda: 12.5)
    for event in (SERVER_BEGAN, server_sampled(), stream_sampled(device='a"} 1\nx{y="\\')):
        metrics.note(event)
    page = PageWriter(metrics).write().decode()
    families = {each.name: each for each in text_string_to_metric_families(page)}
    (sample,) = families["offload_stream_info"].samples
    assert sample.labels["device"] == 'a"} 1\nx{y="\\'


def test_a_program_that_has_nothing_to_say_has_an_empty_page() -> None:
    class Nothing:
        def read(self) -> Iterator[Reading]:
            return iter(())

    assert PageWriter(Nothing()).write() == b""

"""What running programs record of each other, and what a server makes of a device that lies."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from offload.messages import SAMPLED, TELEMETRY, Control
from offload.telemetry.events import (
    RunBegan,
    RunEnded,
    Sampled,
    ServerBegan,
    SessionLost,
    SessionOpened,
    StreamEnded,
    StreamSampled,
    TaskFailed,
    TelemetryEvent,
)
from offload.telemetry.form import event_name, to_fields
from offload.telemetry.trace import read_trace
from tests.integration.programs import CloudServer, cloud_server, run_client, write_app
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice
from tests.seen_events import sampled

pytestmark = pytest.mark.integration


def names(events: list[TelemetryEvent]) -> Counter[str]:
    return Counter(map(event_name, events))


def traced(path: Path) -> list[TelemetryEvent]:
    return list(read_trace(path))


def test_both_ends_record_the_same_run(tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--results", "none", "--trace", "cloud.jsonl") as server:
        ended = run_client(
            tmp_path,
            *("6", "40", "--host", "127.0.0.1", "--port", str(server.port), "--stream", "yard"),
            *("--rate", "60", "--duration", "3.5", "--trace", "device.jsonl"),
        )
        assert ended.code == 0
        assert server.stop().code == 0
    device, cloud = traced(tmp_path / "device.jsonl"), traced(tmp_path / "cloud.jsonl")
    began, opened, last = device[0], device[1], device[-1]
    assert isinstance(began, RunBegan)
    assert (began.stream, began.mode, began.splits) == ("yard", "automatic", (1, 2, 3, 4, 5, 6))
    assert isinstance(opened, SessionOpened)
    assert opened.peer == "127.0.0.1"
    assert isinstance(last, RunEnded)
    samples = [each for each in device if isinstance(each, Sampled)]
    assert [round(each.running_s) for each in samples] == [1, 2, 3]
    assert samples[-1].forecasts
    assert sum(samples[-1].split_frames) == samples[-1].captured

    assert isinstance(cloud[0], ServerBegan)
    heard = [each for each in cloud if isinstance(each, Sampled)]
    # The device's words are recorded at the server's time.
    assert [replace(each, at_s=0.0) for each in heard] == [
        replace(each, at_s=0.0) for each in samples
    ]
    assert names(cloud)["session_opened"] == names(cloud)["stream_ended"] == 1
    stored = [each for each in cloud if isinstance(each, StreamSampled)][-1]
    assert (stored.results, stored.filtered) == (last.completed, last.filtered)
    assert not stored.connected
    assert stored.received_bytes > 0
    (ended_at,) = [each for each in cloud if isinstance(each, StreamEnded)]
    assert ended_at.stream == "yard"


def test_a_client_alone_records_its_run_and_the_first_failure_of_each_task(tmp_path: Path) -> None:
    app = write_app(
        tmp_path,
        "failing",
        """
from task_interface import Pipeline, source, task


@source(gives="number")
def numbers():
    yield from range(20)


@task(gives="checked")
def check(number):
    if number % 2:
        raise ValueError("odd")
    return number


@task()
def show(checked):
    return checked


pipeline = Pipeline([numbers, check, show])
""",
    )
    ended = run_client(tmp_path, "--app", app, "--rate", "15", "--trace", "run.jsonl")
    assert ended.code == 0
    events = traced(tmp_path / "run.jsonl")
    (failed,) = [each for each in events if isinstance(each, TaskFailed)]
    assert (failed.seq, failed.task) == (1, "check")
    (sample,) = [each for each in events if isinstance(each, Sampled)]
    assert (sample.target_fps, sample.cloud_load, sample.connected) == (None, None, True)
    last = events[-1]
    assert isinstance(last, RunEnded)
    assert (last.captured, last.completed, last.failed) == (20, 10, 10)


def test_a_file_s_length_and_the_limit_say_how_many_frames_will_come(tmp_path: Path) -> None:
    ended = run_client(tmp_path, "--rate", "40", "--frames", "50", "--trace", "run.jsonl")
    assert ended.code == 0
    (sample,) = [each for each in traced(tmp_path / "run.jsonl") if isinstance(each, Sampled)]
    assert sample.expected_frames == 50


def test_with_a_duration_nobody_knows_how_many_frames_will_come(tmp_path: Path) -> None:
    limits = ("--frames", "50", "--duration", "60")
    ended = run_client(tmp_path, "--rate", "40", *limits, "--trace", "run.jsonl")
    assert ended.code == 0
    (sample,) = [each for each in traced(tmp_path / "run.jsonl") if isinstance(each, Sampled)]
    assert sample.expected_frames is None


# A device that is asked, and says what it likes.


@pytest.fixture
def app(tmp_path: Path) -> RawApp:
    return RawApp.of(write_app(tmp_path, "raw_numbers", NUMBERS), NUMBERS)


@pytest.fixture
def server(tmp_path: Path, app: RawApp) -> Iterator[CloudServer]:
    arguments = ("--app", app.name, "--insecure", "--results", "none", "--trace", "cloud.jsonl")
    with cloud_server(tmp_path, *arguments) as running:
        yield running


WANTED = Control(name=TELEMETRY, body={"wanted": True})
FINE = sampled(task_count=3, stream="another")
FORECAST = {
    **{"split": 1, "encoding": "raw", "fps": 25.0, "limit": "link"},
    **{"device_s": 0.01, "link_s": 0.04, "cloud_s": 0.02},
}


def say(device: RawDevice, control: Control) -> None:
    device.session.send_control(control)
    device.flush()


@pytest.mark.parametrize("looks", [(), ("--trace", "cloud.jsonl")], ids=["nobody", "a trace"])
def test_a_server_asks_devices_only_if_somebody_looks(
    tmp_path: Path, app: RawApp, looks: tuple[str, ...]
) -> None:
    arguments = ("--app", app.name, "--insecure", "--results", "none", *looks)
    with (
        cloud_server(tmp_path, *arguments) as server,
        RawDevice(server.port, app, stream="s") as device,
    ):
        device.open()
        device.send_frame(0, number=1)
        device.wait_for_acknowledgement(1)
        assert (WANTED in device.received) is bool(looks)


def test_what_a_device_says_is_recorded_under_its_own_stream(
    tmp_path: Path, server: CloudServer, app: RawApp
) -> None:
    with RawDevice(server.port, app, stream="s") as device:
        device.open()
        say(device, Control(name=SAMPLED, body=to_fields(FINE)))
        say(device, Control(name=SAMPLED, body=to_fields(FINE)))
        device.send_frame(0, number=1)
        device.wait_for_acknowledgement(1)
    assert server.stop().code == 0
    (heard,) = [each for each in traced(tmp_path / "cloud.jsonl") if isinstance(each, Sampled)]
    assert replace(heard, at_s=FINE.at_s, stream=FINE.stream) == FINE
    assert heard.stream == "s"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({}, "device says event is None"),
        (to_fields(SessionLost(at_s=0.0, stream="s", reason="", in_flight=0)), "something else"),
        ({**to_fields(FINE), "fps": "many"}, "fps is 'many', expected a finite number"),
        (to_fields(sampled(task_count=4)), "what 4 tasks took, expected 3"),
        ({**to_fields(FINE), "forecasts": 4 * [FORECAST]}, "4 forecasts, expected one for each"),
    ],
)
def test_a_device_that_says_what_cannot_be_breaks_the_protocol(
    server: CloudServer, app: RawApp, body: dict[str, object], reason: str
) -> None:
    with RawDevice(server.port, app, stream="s") as device:
        device.open()
        say(device, Control(name=SAMPLED, body=body))
        assert reason in server.wait_for_line("refused")

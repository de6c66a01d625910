"""Events as maps and in files, what is read of them, and what the log says of them."""

import json
import logging
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.device.event_log import EventLog
from offload.errors import ConfigurationError
from offload.telemetry.events import (
    Forecast,
    ReasonChanged,
    RunBegan,
    Sampled,
    SessionLost,
    SessionOpened,
    Steered,
    TelemetryEvent,
)
from offload.telemetry.form import MAX_ITEMS, event_name, from_fields, to_fields
from offload.telemetry.reasons import ReasonWatch
from offload.telemetry.recorder import Recorder
from offload.telemetry.trace import MAX_WAITING, TraceWriter, open_trace, read_trace
from tests.seen_events import SeenEvents, sampled

LOST = SessionLost(at_s=3.5, stream="porch", reason="server was silent for 6 s", in_flight=4)
BEGAN = RunBegan(
    at_s=0.0,
    began_at=1.7e9,
    stream="porch",
    device="pi",
    app="ball",
    mode="automatic",
    tasks=("get", "see"),
    splits=(1,),
    target_fps=25.0,
    version="1",
)
FORECAST = Forecast(
    split=1, encoding="raw", fps=3.5, limit="link", device_s=0.1, link_s=0.2, cloud_s=0.3
)
FULL = sampled(forecasts=(FORECAST,), reason="settled", target_fps=25.0, split=1.5)


# Long past what any of it takes: it only ends a test that has failed already.
WAIT_S = 30.0


# Form.


@pytest.mark.parametrize("event", [LOST, BEGAN, FULL, sampled()], ids=event_name)
def test_an_event_comes_back_from_json_as_it_was(event: TelemetryEvent) -> None:
    assert from_fields(json.loads(json.dumps(to_fields(event)))) == event


@pytest.mark.parametrize("kind", get_args(TelemetryEvent))
def test_every_event_has_a_time_and_a_name_in_snake_case(kind: type) -> None:
    assert is_dataclass(kind)
    assert fields(kind)[0].name == "at_s"


def test_a_field_that_is_not_known_is_left_out() -> None:
    assert from_fields({**to_fields(LOST), "later": [1, 2]}) == LOST


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event": "unheard"}, "expected one of run_began"),
        ({"event": ["a"]}, "expected one of"),
        ({"at_s": "3"}, "at_s is '3', expected a finite number"),
        ({"at_s": float("nan")}, "at_s is nan"),
        ({"at_s": 10**400}, "at_s is 10000"),
        ({"at_s": True}, "at_s is True"),
        ({"in_flight": -1}, "in_flight is -1, expected a count"),
        ({"in_flight": 1.0}, "in_flight is 1.0"),
        ({"reason": None}, "reason is None, expected text"),
    ],
)
def test_a_field_that_cannot_be_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_fields({**to_fields(LOST), **changes})


def test_a_missing_field_is_named_wherever_it_is() -> None:
    lost = to_fields(LOST)
    del lost["stream"]
    with pytest.raises(ValueError, match="session_lost lacks stream"):
        from_fields(lost)
    with pytest.raises(ValueError, match="tasks lacks device_s"):
        from_fields({**to_fields(FULL), "tasks": [{}]})


def test_a_list_has_a_bound() -> None:
    with pytest.raises(ValueError, match=f"at most {MAX_ITEMS}"):
        from_fields({**to_fields(FULL), "split_frames": [0] * (MAX_ITEMS + 1)})


def test_a_text_that_would_steer_a_terminal_is_read_without_that() -> None:
    found = from_fields({**to_fields(LOST), "reason": "a\n\x1b[31mb"})
    assert found == replace(LOST, reason="a \N{REPLACEMENT CHARACTER}[31mb")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(sorted(to_fields(FULL))), JSON)
def test_whatever_a_field_holds_it_is_read_or_refused(name: str, value: object) -> None:
    # A refusal is not an error here; anything else is.
    with suppress(ValueError):
        from_fields({**to_fields(FULL), name: value})


# Traces.


def write(path: Path, *events: TelemetryEvent) -> None:
    with closing(open_trace(path)) as trace:
        for each in events:
            trace.note(each)


def test_a_trace_gives_back_what_was_recorded(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, BEGAN, FULL, LOST)
    assert list(read_trace(path)) == [BEGAN, FULL, LOST]


def test_an_event_is_in_the_file_before_the_trace_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with closing(open_trace(path)) as trace:
        trace.note(BEGAN)
        by_s = time.monotonic() + WAIT_S
        while not path.stat().st_size:
            assert time.monotonic() < by_s
            time.sleep(0.001)
        assert list(read_trace(path)) == [BEGAN]


def test_a_trace_that_nobody_takes_holds_nobody_up(
    caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    reader, writer = os.pipe()
    trace = TraceWriter(tmp_path / "run.jsonl", os.fdopen(writer, "w"))
    # A pipe takes 64 KiB, and the thread holds what it writes just now.
    for _ in range(2 * MAX_WAITING):
        trace.note(FULL)
    trace.close()
    os.close(reader)
    messages = [each.message for each in caplog.records]
    assert messages == ["trace_incomplete", "trace_not_written"]


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    write(path, BEGAN, LOST)
    path.write_text(path.read_text()[:-20])
    assert list(read_trace(path)) == [BEGAN]


@pytest.mark.parametrize("line", ["{}", "hello", "[" * 100_000, '{"event": "session_lost"}', ""])
def test_a_line_that_is_no_event_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "run.jsonl"
    write(path, BEGAN)
    with path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(ConfigurationError, match=r"run\.jsonl, line 2: "):
        list(read_trace(path))


def test_a_file_of_one_endless_line_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("x" * 2_000_000)
    with pytest.raises(ConfigurationError, match="over a million characters"):
        list(read_trace(path))


def test_a_trace_that_is_not_there_or_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        list(read_trace(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match=r"cannot write --trace .*: Is a directory"):
        open_trace(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_ends_the_trace_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    write(Path("/dev/full"), BEGAN, LOST)
    (record,) = caplog.records
    assert record.message == "trace_not_written"
    assert vars(record)["reason"] == "No space left on device"


# The recorder and its views.


def test_a_recorder_shows_every_event_to_all_of_its_views_in_order() -> None:
    first, second = SeenEvents(), SeenEvents()
    recorder = Recorder([first])
    recorder.record(BEGAN)
    recorder.add(second)
    recorder.record(LOST)
    assert first.events == [BEGAN, LOST]
    assert second.events == [LOST]


def test_a_reason_is_an_event_when_it_changes() -> None:
    watch = ReasonWatch()
    settled = sampled(at_s=1.0, reason="settled", target_fps=25.0, split=2.5, fps=24.0)
    far = replace(settled, at_s=3.0, reason="infeasible_link")
    found = [watch.note(each) for each in (sampled(), settled, replace(settled, at_s=2.0), far)]
    assert [each and (each.at_s, each.reason) for each in found] == [
        None,
        (1.0, "settled"),
        None,
        (3.0, "infeasible_link"),
    ]
    assert found[1] == ReasonChanged(
        at_s=1.0, stream="s", reason="settled", fps=24.0, target_fps=25.0, split=2.5
    )


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, "device"):
        yield caplog


def test_how_a_run_goes_is_logged_as_often_as_asked_though_samples_are_a_little_late(
    log: pytest.LogCaptureFixture,
) -> None:
    view = EventLog(report_every_s=3.0)
    for late in range(1, 10):
        view.note(sampled(at_s=late * 1.02, fps=float(late)))
    assert [vars(each)["fps"] for each in log.records] == [3.0, 6.0, 9.0]


def reports(log: pytest.LogCaptureFixture, *, every_s: float, at_s: Iterable[float]) -> list[float]:
    """Return when the log says how the run goes, of samples at these times."""
    view = EventLog(report_every_s=every_s)
    for each in at_s:
        view.note(sampled(at_s=each, fps=each))
    return [vars(each)["fps"] for each in log.records]


def test_lines_that_come_between_two_samples_are_as_many_as_asked(
    log: pytest.LogCaptureFixture,
) -> None:
    seconds = [number * 1.01 for number in range(1, 61)]
    assert 38 <= len(reports(log, every_s=1.5, at_s=seconds)) <= 41


def test_lines_closer_than_samples_come_with_each_sample(log: pytest.LogCaptureFixture) -> None:
    often = [number / 5 for number in range(1, 11)]
    assert reports(log, every_s=0.2, at_s=often) == often


def test_lines_that_were_held_up_are_not_made_up_for(log: pytest.LogCaptureFixture) -> None:
    seconds = [1.0, 2.0, 10.2, 11.2, 12.2, 13.2, 14.2]
    assert reports(log, every_s=3.0, at_s=seconds) == [10.2, 13.2]


def test_without_reports_only_what_happens_is_logged(log: pytest.LogCaptureFixture) -> None:
    view = EventLog(report_every_s=float("inf"))
    opened = SessionOpened(at_s=5.0, stream="s", device="d", app="a", next_seq=7, peer="b")
    for event in (sampled(at_s=4.0), opened, LOST, BEGAN):
        view.note(event)
    assert [each.message for each in log.records] == ["session_opened", "session_lost"]


@pytest.mark.parametrize(
    ("change", "value", "error", "expected"),
    [
        ("target", 25.0, None, ("INFO", "steered", "fps", 25.0)),
        ("pin", 3.0, None, ("INFO", "steered", "split", 3.0)),
        ("pin", 9.0, "split is 9", ("WARNING", "steering_refused", "reason", "split is 9")),
    ],
)
def test_a_change_is_logged_with_its_value_and_a_refused_one_with_why(
    log: pytest.LogCaptureFixture,
    change: str,
    value: float,
    error: str | None,
    expected: tuple[str, str, str, object],
) -> None:
    EventLog(report_every_s=3.0).note(
        Steered(
            at_s=1.0,
            stream="s",
            change=change,
            value=value,
            error=error,
            target_fps=25.0,
            pinned=None,
            by=None,
        )
    )
    (record,) = log.records
    level, message, name, said = expected
    assert (record.levelname, record.message, vars(record)[name]) == (level, message, said)


def test_all_of_a_sample_has_a_place_in_the_protocol_s_table() -> None:
    text = (Path(__file__).parent.parent / "PROTOCOL.md").read_text(encoding="utf-8")
    table = text.partition("After a `telemetry`")[2].partition("A `steered` has")[0]
    assert [each.name for each in fields(Sampled) if f"`{each.name}`" not in table] == []

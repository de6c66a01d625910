"""What is kept of streams: how they stand, how they went, and no more than there is room for."""

import time
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import pytest

from offload.cloud.page import SPARE_STREAMS
from offload.cloud.stream_table import MAX_IDLE_STREAMS
from offload.telemetry.events import (
    AppShape,
    Forecast,
    PeerRefused,
    ReasonChanged,
    RunBegan,
    RunEnded,
    ServerBegan,
    SessionLost,
    SessionOpened,
    Steered,
    StreamEnded,
    TaskFailed,
    TelemetryEvent,
)
from offload.telemetry.history import History
from offload.telemetry.notices import Level
from offload.telemetry.stream_history import (
    FORGET_AWAY_S,
    LIVE,
    TRACE,
    Keeping,
    StreamHistory,
)
from tests.metrics.events import server_sampled
from tests.seen_events import sampled
from tests.test_samples import cloud_sampled

SHAPE: Final = AppShape(name="ball", tasks=("grab", "count"), splits=(1,))
BEGAN: Final = ServerBegan(at_s=0.0, began_at=1.7e9, listening=("a:1",), apps=(SHAPE,), version="1")

RUN: Final = RunBegan(
    at_s=0.0,
    began_at=1.7e9,
    stream="s",
    device="pi",
    app="mine",
    mode="client_only",
    tasks=("a", "b", "c"),
    splits=(),
    target_fps=None,
    version="1.2",
)

FORECAST: Final[dict[str, Any]] = {
    **{"encoding": "raw", "fps": 50.0, "limit": "device"},
    **{"device_s": 0.02, "link_s": 0.01, "cloud_s": 0.0},
}


def opened(at_s: float = 0.0, *, stream: str = "s") -> SessionOpened:
    return SessionOpened(
        at_s=at_s, stream=stream, device="pi", app="ball", next_seq=3, peer="192.0.2.7:5"
    )


def lost(at_s: float, *, stream: str = "s") -> SessionLost:
    return SessionLost(at_s=at_s, stream=stream, reason="closed by the device", in_flight=2)


def ended(at_s: float, *, stream: str = "s") -> StreamEnded:
    return StreamEnded(at_s=at_s, stream=stream)


def steered(**said: object) -> Steered:
    nothing = {"error": None, "target_fps": 30.0, "pinned": None, "by": "boss"}
    named = {"at_s": 2.0, "stream": "s", "change": "target", "value": 30.0}
    return Steered(**{**named, **nothing, **said})  # type: ignore[arg-type]


def run_ended(abandoned: int) -> RunEnded:
    counts = {"captured": 50, "resumed": 0, "completed": 40, "filtered": 5, "dropped": 5}
    rest = {"failed": 0, "spooled": 0, "abandoned": abandoned}
    return RunEnded(at_s=3.0, stream="s", duration_s=2.0, fps=22.5, **counts, **rest)


def history_of(*events: TelemetryEvent, keeping: Keeping = LIVE) -> History:
    history = History(keeping)
    history.note(BEGAN)
    for each in events:
        history.note(each)
    return history


def reason_changed(reason: str) -> ReasonChanged:
    return ReasonChanged(at_s=1.0, stream="s", reason=reason, fps=20.0, target_fps=25.0, split=3.5)


def stream_of(*events: TelemetryEvent, keeping: Keeping = LIVE) -> StreamHistory:
    (stream,) = history_of(*events, keeping=keeping).streams()
    return stream


def names(history: History) -> list[str]:
    return [each.info.stream for each in history.streams()]


def every_second(start: int, stop: int, *, stream: str = "s") -> Iterable[TelemetryEvent]:
    return (
        sampled(at_s=float(at_s), running_s=float(at_s), stream=stream, fps=float(at_s))
        for at_s in range(start, stop)
    )


# How a stream stands.


def test_a_row_says_what_a_device_said_last() -> None:
    sample = sampled(
        at_s=5.0, fps=24.6, target_fps=25.0, split=3.5, reason="settled", completed=40, in_flight=4
    )
    row = stream_of(opened(), sample).row()
    assert (row.stream, row.device, row.app, row.mode) == ("s", "pi", "ball", "automatic")
    assert (row.fps, row.split, row.reason) == (24.6, 3.5, "settled")
    assert (row.in_flight, row.completed, row.tasks, row.seen_s) == (4, 40, 2, 5.0)
    assert row.connected
    assert not row.ended


@pytest.mark.parametrize(
    ("fps", "target_fps", "expected"),
    [(23.75, 25.0, True), (23.7, 25.0, False), (99.0, None, None)],
)
def test_a_target_is_met_within_five_percent(
    fps: float, target_fps: float | None, expected: bool | None
) -> None:
    stream = stream_of(opened(), sampled(fps=fps, target_fps=target_fps))
    assert stream.row().target_met is expected


def test_a_target_is_met_by_what_is_measured_whatever_the_scheduler_expects() -> None:
    above = sampled(fps=25.0, target_fps=25.0, reason="infeasible_link")
    assert stream_of(above).row().target_met
    below = sampled(fps=20.0, target_fps=25.0, reason="settled")
    assert not stream_of(below).row().target_met


def test_of_a_device_that_is_away_is_said_how_it_stood_last() -> None:
    sample = sampled(fps=20.0, target_fps=15.0, split=3.5, in_flight=2, dropped=3)
    row = stream_of(opened(), sample, lost(2.0)).row()
    assert not row.connected
    assert (row.fps, row.split, row.in_flight, row.dropped) == (20.0, 3.5, 2, 3)
    assert row.target_met is None


def test_a_device_is_heard_last_with_its_last_bytes_not_when_it_is_given_up() -> None:
    stream = stream_of(
        opened(),
        sampled(at_s=1.0, fps=20.0, split=3.5),
        cloud_sampled(1.2, results=20, received_bytes=500),
        *(cloud_sampled(at_s, results=20, received_bytes=500) for at_s in (2.2, 3.2, 4.2, 5.2)),
        lost(5.5),
    )
    assert stream.row().seen_s == 1.2
    # Not that nothing was finished while it was silent.
    assert (stream.row().fps, stream.row().split) == (20.0, 3.5)


def test_what_a_device_did_before_it_began_anew_is_not_what_it_did_last() -> None:
    history = history_of(opened(), sampled(fps=20.0), lost(2.0), RUN)
    (stream,) = history.streams()
    assert stream.row().fps is None


def test_forecasts_are_medians_of_the_newest_ones() -> None:
    of_split = {split: Forecast(split=split, **FORECAST) for split in (1, 2)}
    rates = (100.0, 20.0, 90.0, 22.0, 24.0, 21.0)
    stream = stream_of(
        *(
            sampled(at_s=float(at_s), forecasts=(replace(of_split[1], fps=fps), of_split[2]))
            for at_s, fps in enumerate(rates)
        )
    )
    assert [each.fps for each in stream.forecasts] == [22.0, 50.0]


def test_forecasts_end_with_the_newest_sample_that_has_some() -> None:
    forecasts = (Forecast(split=1, **FORECAST),)
    assert stream_of(sampled(forecasts=forecasts), sampled(at_s=2.0)).forecasts == ()


def test_a_device_that_is_back_says_nothing_before_its_first_sample() -> None:
    events = (opened(), sampled(fps=20.0), lost(2.0), opened(3.0))
    assert stream_of(*events).row().connected
    assert stream_of(*events).row().fps is None
    assert stream_of(*events, sampled(at_s=4.0, fps=21.0)).row().fps == 21.0


def test_a_stream_that_ended_shows_what_it_did_last() -> None:
    row = stream_of(opened(), sampled(fps=20.0, target_fps=25.0), ended(2.0)).row()
    assert (row.ended, row.connected) == (True, False)
    assert (row.fps, row.target_met) == (20.0, None)


@pytest.mark.parametrize("before", [(), (sampled(completed=30, dropped=1),)])
def test_a_run_that_ended_shows_all_of_its_frames(before: tuple[TelemetryEvent, ...]) -> None:
    row = stream_of(RUN, *before, run_ended(0)).row()
    assert (row.completed, row.dropped, row.failed) == (40, 5, 0)
    again = stream_of(RUN, *before, run_ended(0), RUN).row()
    assert (again.completed, again.dropped, again.failed) == (None, None, None)


def test_a_stream_that_is_resumed_has_not_ended() -> None:
    row = stream_of(opened(), ended(2.0), opened(3.0)).row()
    assert (row.ended, row.connected) == (False, True)


def test_how_a_device_is_steered_counts_at_once() -> None:
    stream = stream_of(opened(), sampled(target_fps=25.0), steered(target_fps=30.0, pinned=2))
    assert (stream.row().target_fps, stream.row().pinned) == (30.0, 2)


def test_a_device_that_says_nothing_is_seen_by_its_server() -> None:
    stream = stream_of(
        opened(),
        cloud_sampled(1.0, results=10, received_bytes=100),
        cloud_sampled(2.0, results=30, dropped=4, received_bytes=900),
    )
    row = stream.row()
    assert (row.fps, row.dropped, row.completed, row.seen_s) == (20.0, 4, 30, 2.0)
    assert row.target_met is None


def test_what_a_device_says_itself_comes_before_what_its_server_sees() -> None:
    stream = stream_of(
        opened(), sampled(at_s=1.0, fps=20.0), cloud_sampled(1.5), cloud_sampled(2.5, results=99)
    )
    assert stream.sampled == 1
    assert stream.row().fps == 20.0


def test_a_run_says_by_itself_what_its_tasks_are() -> None:
    stream = stream_of(RUN, sampled(task_count=3))
    assert stream.info.tasks == ("a", "b", "c")
    assert (stream.info.mode, stream.info.version) == ("client_only", "1.2")
    assert [stream.task_name(index) for index in (0, 3)] == ["a", "task 4"]


def test_of_its_own_run_a_device_tells_where_it_connected_to() -> None:
    stream = stream_of(RUN, opened())
    assert stream.notices[-1].text == "connected to 192.0.2.7:5, goes on at frame 3"


def test_the_mode_follows_from_whether_there_is_a_target() -> None:
    assert stream_of(opened(), sampled(target_fps=25.0)).info.mode == "automatic"
    assert stream_of(opened(), sampled(pinned=3)).info.mode == "manual"


def test_a_version_tells_whether_anything_changed() -> None:
    history = history_of(opened(), sampled())
    stream = history.streams()[0]
    versions = [stream.version]
    for event in (sampled(at_s=2.0), steered(), lost(3.0), opened(4.0), ended(5.0)):
        history.note(event)
        versions.append(stream.version)
    assert versions == sorted(set(versions))


def test_an_ended_stream_changes_no_more_by_what_its_server_counts() -> None:
    history = history_of(opened(), ended(1.0))
    stream = history.streams()[0]
    before = stream.version
    history.note(cloud_sampled(2.0, results=1))
    assert stream.version == before


# How it went.


def test_a_lost_device_leaves_one_gap_however_long_it_is_away() -> None:
    events: list[TelemetryEvent] = [opened(), *every_second(1, 3), lost(3.0)]
    events += [replace(cloud_sampled(at_s), connected=False) for at_s in (3.5, 4.5)]
    stream = stream_of(*events, opened(9.0), *every_second(9, 11))
    assert stream.samples.times() == [1.0, 2.0, 3.0, 9.0, 10.0]
    assert stream.samples.column("fps") == [1.0, 2.0, None, 9.0, 10.0]
    assert stream.samples.column("connected") == [1.0, 1.0, 0.0, 1.0, 1.0]


def test_another_number_of_tasks_begins_anew() -> None:
    stream = stream_of(sampled(task_count=3), sampled(task_count=2, at_s=2.0))
    assert stream.samples.tasks == 2
    assert len(stream.samples) == 1


def test_events_of_no_stream_only_move_the_time_on() -> None:
    refused = PeerRefused(at_s=7.0, cause="token", peer="192.0.2.7", reason="no")
    history = history_of(refused)
    assert history.streams() == []
    assert history.now_s == 7.0


# What people are told.


@pytest.mark.parametrize(
    ("event", "kind", "level", "words"),
    [
        (opened(), "session_opened", Level.INFO, "connected from 192.0.2.7:5, goes on at frame 3"),
        (lost(1.0), "session_lost", Level.WARNING, "closed by the device; 2 frames in flight"),
        (steered(), "steered", Level.INFO, "target 30 FPS"),
        (steered(change="pin", value=3.0), "steered", Level.INFO, "split pinned to 3"),
        (steered(change="release", value=None), "steered", Level.INFO, "split released"),
        (steered(change="drain", value=None), "steered", Level.INFO, "told to finish"),
        (steered(error="no"), "steering_refused", Level.WARNING, "target 30 FPS: refused: no"),
        (ended(1.0), "stream_ended", Level.INFO, "complete"),
        (run_ended(0), "run_ended", Level.INFO, "50 frames in 2.0 s, 22.5 FPS, 5 dropped"),
        (run_ended(3), "run_ended", Level.WARNING, "3 abandoned"),
        (
            TaskFailed(at_s=1.0, stream="s", seq=7, task="count", reason="raised ValueError: no"),
            *("task_failed", Level.ERROR, "task count failed at frame 7: raised ValueError: no"),
        ),
    ],
)
def test_a_notice_is_a_line_for_people(
    event: TelemetryEvent, kind: str, level: Level, words: str
) -> None:
    (notice,) = stream_of(event).notices
    assert (notice.kind, notice.level) == (kind, level)
    assert words in notice.text


@pytest.mark.parametrize(
    ("reason", "level"),
    [("settled", Level.INFO), ("infeasible_link", Level.WARNING), ("stalled", Level.WARNING)],
)
def test_a_reason_is_said_in_words(reason: str, level: Level) -> None:
    (notice,) = stream_of(reason_changed(reason)).notices
    assert notice.level is level
    assert reason not in notice.text


def test_reasons_are_told_when_they_say_something_else_of_the_target() -> None:
    reasons = ("settled", "moved_more_device", "settled", "infeasible_link", "probing", "settled")
    told = [each.text for each in stream_of(*map(reason_changed, reasons)).notices]
    assert told == [
        "the target of 25 FPS is met",
        "25 FPS are out of reach: the link limits it",
        "the target of 25 FPS is met",
    ]


def test_a_change_names_who_asked_for_it() -> None:
    (notice,) = stream_of(steered(by="boss")).notices
    assert notice.by == "boss"


# No more than there is room for.


def test_of_each_stream_the_newest_samples_and_notices_are_kept() -> None:
    keeping = replace(LIVE, samples=100, notices=5)
    notices = [lost(float(at_s)) for at_s in range(9)]
    stream = stream_of(*every_second(0, 1000), *notices, keeping=keeping)
    assert 100 <= len(stream.samples) <= 126
    assert stream.samples.times()[-2] == 999.0
    assert [each.at_s for each in stream.notices] == [4.0, 5.0, 6.0, 7.0, 8.0]
    assert (stream.sampled, stream.noticed) == (1001, 9)


def test_with_more_streams_less_is_kept_of_each() -> None:
    each_bytes = stream_of(sampled()).samples.bytes_each
    keeping = replace(LIVE, sample_bytes=40 * each_bytes, notices_in_all=8)
    history = history_of(*every_second(0, 40), *[lost(40.0)] * 8, keeping=keeping)
    for name in ("a", "b", "c"):
        history.note(sampled(stream=name))
    (stream, *_) = history.streams()
    assert len(stream.samples) <= 10 * 5 / 4
    assert len(stream.notices) == 2


def test_a_stream_that_comes_costs_no_look_at_all_samples_of_the_others() -> None:
    history = history_of(*(opened(stream=f"s{number}") for number in range(1000)))
    began_s = time.process_time()
    for number in range(1000, LIVE.streams):
        history.note(opened(stream=f"s{number}"))
    # About 0.01 s; with such a look it takes 0.2 s.
    assert time.process_time() - began_s < 0.1


def test_all_streams_that_a_server_has_in_memory_have_a_place() -> None:
    assert SPARE_STREAMS >= MAX_IDLE_STREAMS


def test_streams_that_are_over_are_forgotten_first_then_those_that_are_away() -> None:
    events = [opened(float(at_s), stream=name) for at_s, name in enumerate("abcd")]
    history = history_of(*events, keeping=replace(LIVE, streams=4))
    history.note(lost(5.0, stream="c"))
    history.note(ended(6.0, stream="d"))
    for at_s, name in ((7.0, "e"), (8.0, "f"), (9.0, "g")):
        history.note(opened(at_s, stream=name))
    # The last one had to take the place of a connected one: that which was seen first.
    assert names(history) == ["b", "e", "f", "g"]


@pytest.mark.parametrize(
    ("over", "kept_s"), [(ended(1.0), LIVE.forget_ended_s), (lost(1.0), FORGET_AWAY_S)]
)
def test_a_stream_that_is_over_is_forgotten_after_its_time_and_not_before(
    over: TelemetryEvent, kept_s: float
) -> None:
    history = history_of(opened(1.0), opened(1.0, stream="connected"), over)
    history.note(server_sampled(at_s=1.0 + kept_s))
    assert names(history) == ["s", "connected"]
    history.note(server_sampled(at_s=2.0 + kept_s))
    assert names(history) == ["connected"]


def test_a_stream_that_is_forgotten_comes_back_with_its_device_and_not_before() -> None:
    history = history_of(opened(), lost(1.0))
    later_s = FORGET_AWAY_S + 2.0
    history.note(server_sampled(at_s=later_s))
    # As a server does that has nowhere else to keep the state of its tasks.
    history.note(replace(cloud_sampled(later_s + 1.0), connected=False))
    assert names(history) == []
    history.note(opened(later_s + 2.0))
    assert names(history) == ["s"]


def test_streams_that_were_lost_shorten_no_others_for_ever() -> None:
    each_bytes = stream_of(sampled()).samples.bytes_each
    history = history_of(keeping=replace(LIVE, sample_bytes=100 * each_bytes))
    for number in range(49):
        history.note(opened(stream=f"lost {number}"))
        history.note(lost(1.0, stream=f"lost {number}"))
    for event in every_second(2, 200):
        history.note(event)
    stream = history.get("s")
    assert stream is not None
    assert len(stream.samples) <= 2 * 5 / 4 + 1
    later_s = int(FORGET_AWAY_S) + 2
    history.note(server_sampled(at_s=float(later_s)))
    for event in every_second(later_s, later_s + 200):
        history.note(event)
    assert len(stream.samples) >= 100


def test_of_a_trace_nothing_is_forgotten_for_its_age() -> None:
    history = history_of(
        opened(), ended(1.0), opened(stream="t"), lost(1.0, stream="t"), keeping=TRACE
    )
    history.note(server_sampled(at_s=1e9))
    assert names(history) == ["s", "t"]


def test_a_long_trace_is_thinned_over_all_of_its_time() -> None:
    stream = stream_of(*every_second(0, 1000), keeping=replace(TRACE, samples=100))
    times = stream.samples.times()
    assert 50 <= len(times) <= 101
    assert times[0] == 0.0
    assert times[-1] >= 984.0
    steps = {second - first for first, second in pairwise(times)}
    assert len(steps) <= 2


def test_rates_of_a_thinned_trace_are_over_the_time_from_one_sample_to_the_next() -> None:
    events = [
        sampled(at_s=float(at_s), running_s=float(at_s), captured=10 * at_s) for at_s in range(64)
    ]
    stream = stream_of(*events, keeping=replace(TRACE, samples=8))
    assert set(stream.samples.column("captured_per_s")[1:]) == {10.0}

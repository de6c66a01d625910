"""Which streams a server keeps in memory, and what it counts of them."""

from dataclasses import dataclass, field
from queue import SimpleQueue

import pytest

from offload.cloud.frame_memory import FrameMemory
from offload.cloud.report import StreamCounts, Tally
from offload.cloud.stream import Stream
from offload.cloud.stream_table import StreamTable
from offload.executors.threads import Lane
from offload.loading import App
from offload.messages import Outcome, OutcomeRange
from offload.results.writer import Finished
from task_interface import Pipeline, Task, source, task


@dataclass(slots=True, kw_only=True)
class Kept:
    """A stream without tasks."""

    name: str
    may_be_forgotten: bool = True
    is_at_rest: bool = True
    is_stale: bool = False
    pictures: list[str] = field(default_factory=lambda: ["newest"])

    def drop_picture(self) -> None:
        self.pictures.clear()


def table(**limits: float) -> StreamTable[Kept]:
    return StreamTable(max_idle=int(limits.get("max_idle", 2)), forget_after_s=100.0)


def away(streams: StreamTable[Kept], stream: Kept, *, since_s: float = 0.0) -> Kept:
    """Let a device come with the stream, and go."""
    streams.enter(stream.name, lambda: stream)
    streams.leave(stream, now=since_s)
    return stream


def names(streams: StreamTable[Kept]) -> list[str]:
    return [each.name for each in streams.all()]


def test_a_stream_whose_device_is_away_is_forgotten_after_its_time_and_not_before() -> None:
    streams = table()
    stream = away(streams, Kept(name="a"))
    streams.forget_idle(now=99.9)
    assert streams.get("a") is stream
    assert stream.pictures == []
    streams.forget_idle(now=100.0)
    assert streams.get("a") is None


def test_a_stream_whose_device_is_back_is_not_forgotten() -> None:
    streams = table()
    stream = away(streams, Kept(name="a"))
    assert streams.enter("a", lambda: Kept(name="other")) is stream
    streams.forget_idle(now=1e9)
    assert streams.get("a") is stream
    assert stream.pictures == ["newest"]


def test_a_stream_with_frames_under_way_is_not_forgotten() -> None:
    streams = table(max_idle=0)
    stream = away(streams, Kept(name="a", is_at_rest=False))
    streams.forget_idle(now=1e9)
    assert streams.get("a") is stream
    assert stream.pictures == ["newest"]


def test_past_the_bound_the_streams_that_are_away_for_longest_are_forgotten() -> None:
    streams = table(max_idle=2)
    for each in "abc":
        away(streams, Kept(name=each), since_s=1.0)
    streams.forget_idle(now=2.0)
    assert names(streams) == ["b", "c"]
    streams.forget_idle(now=2.0)
    assert names(streams) == ["b", "c"]


def test_state_that_is_nowhere_else_stays_until_there_is_too_much_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    streams = table(max_idle=2)
    for each in "ab":
        away(streams, Kept(name=each, may_be_forgotten=False))
    streams.forget_idle(now=1e9)
    assert names(streams) == ["a", "b"]
    assert caplog.messages == []
    away(streams, Kept(name="c", may_be_forgotten=False))
    streams.forget_idle(now=1e9)
    assert names(streams) == ["b", "c"]
    assert caplog.messages == ["stream_state_forgotten"]


@pytest.mark.parametrize("may_be_forgotten", [True, False])
def test_a_stream_that_another_server_has_moved_on_is_forgotten_once_it_is_at_rest(
    may_be_forgotten: bool,
) -> None:
    streams = table()
    stream = Kept(name="a", may_be_forgotten=may_be_forgotten, is_stale=True, is_at_rest=False)
    away(streams, stream)
    streams.forget_idle(now=0.5)
    assert names(streams) == ["a"]
    stream.is_at_rest = True
    streams.forget_idle(now=1.0)
    assert names(streams) == []


@source(gives="number")
def numbers() -> object:
    yield from range(10)


@task()
class Total:
    """Has a state, and says nothing of it."""

    def __call__(self, number: int) -> int:
        return number


@task()
def double(number: int) -> int:
    return 2 * number


@pytest.mark.parametrize(
    ("name", "last", "keeps_results", "may_be_forgotten"),
    [
        ("s", double, True, True),
        ("s", double, False, False),
        ("s", Total, True, False),
        # Its results are nowhere, so the state of its tasks is missed by nobody.
        ("s (trial)", Total, False, True),
    ],
)
def test_a_stream_may_be_forgotten_if_the_store_brings_it_back_or_it_is_a_trial(
    name: str, last: Task, keeps_results: bool, may_be_forgotten: bool
) -> None:
    stored: list[Finished] = []
    stream = Stream(
        app=App(name="app", pipeline=Pipeline([numbers, last])),
        lane=Lane(SimpleQueue()),
        counts=StreamCounts(stream=name, device="pi", app="app", next_seq=0),
        owner="porch",
        put=stored.append,
        memory=FrameMemory(limit_bytes=1),
        keeps_results=keeps_results,
    )
    assert stream.may_be_forgotten is may_be_forgotten


def test_a_stream_that_is_complete_is_forgotten_at_once() -> None:
    streams = table()
    stream = streams.enter("a", lambda: Kept(name="a"))
    streams.close(stream)
    assert names(streams) == []


def count(tally: Tally, name: str, results: int) -> None:
    counts = tally.of(stream=name, device="pi", app="app", next_seq=0)
    counts.add(
        Finished(
            stream=name,
            epoch=1,
            outcome=OutcomeRange(first=0, count=results, outcome=Outcome.RESULT),
            task_seconds={1: 0.5},
        ),
        now=1.0,
    )


def listed(tally: Tally) -> list[object]:
    return [each["stream"] for each in tally.streams()]


def test_past_the_bound_streams_that_were_over_first_are_in_the_totals_only() -> None:
    tally = Tally(max_listed=2)
    for name, results in (("a", 1), ("b", 10), ("c", 100)):
        count(tally, name, results)
    assert listed(tally) == ["a", "b", "c"]
    for name in "ba":
        tally.close(name)
    assert listed(tally) == ["a", "c"]
    assert tally.unlisted == 1
    totals = tally.totals()
    assert (totals["streams"], totals["results"], totals["cloud_task_s"]) == (3, 111, 1.5)


def test_a_stream_that_comes_back_is_counted_on_and_stays_listed() -> None:
    tally = Tally(max_listed=1)
    count(tally, "a", 1)
    tally.close("a")
    count(tally, "a", 10)
    count(tally, "b", 100)
    tally.close("b")
    assert listed(tally) == ["a"]
    assert tally.totals()["results"] == 111

"""Many stored frames in few messages, each of which fits."""

import pytest

from offload.cloud.acknowledging import MAX_EXCEPTIONS, MAX_RESIDENCES, acknowledgements
from offload.messages import MAX_TEXT_CHARACTERS, Acknowledgement, Outcome, OutcomeRange, TaskTime
from offload.results.writer import Finished
from offload.wire import encode


def finished(seq: int, outcome: Outcome = Outcome.RESULT, *, reason: str = "") -> Finished:
    return Finished(
        stream="s",
        epoch=1,
        outcome=OutcomeRange(first=seq, count=1, outcome=outcome, task=reason, reason=reason),
        received_s=float(seq),
        task_seconds={1: 0.25},
    )


def said(*frames: Finished) -> list[Acknowledgement]:
    return list(acknowledgements(frames, now=10_000.0, load=0.5))


def test_one_message_covers_frames_that_fit_it() -> None:
    failed = finished(1, Outcome.FAILED, reason="why")
    assert said(finished(0), failed, finished(2)) == [
        Acknowledgement(
            next_seq=3,
            exceptions=(failed.outcome,),
            residences_s=(10_000.0, 9_999.0, 9_998.0),
            task_times=(TaskTime(task=1, runs=3, seconds=0.75),),
            load=0.5,
        )
    ]


@pytest.mark.parametrize(
    ("count", "messages"), [(MAX_RESIDENCES, [512]), (MAX_RESIDENCES + 1, [512, 513])]
)
def test_more_frames_than_fit_take_another_message(count: int, messages: list[int]) -> None:
    assert [each.next_seq for each in said(*map(finished, range(count)))] == messages


@pytest.mark.parametrize(
    ("count", "messages"), [(MAX_EXCEPTIONS, [20]), (MAX_EXCEPTIONS + 1, [20, 21])]
)
def test_more_reasons_than_fit_take_another_message(count: int, messages: list[int]) -> None:
    failed = [finished(seq, Outcome.FAILED, reason=f"{seq} failed") for seq in range(count)]
    assert [each.next_seq for each in said(*failed)] == messages


def test_the_longest_reasons_fit_their_message() -> None:
    long = "\N{SNOWMAN}" * (MAX_TEXT_CHARACTERS - 2)
    frames = [
        finished(seq, Outcome.FAILED, reason=f"{seq:02}{long}") for seq in range(MAX_EXCEPTIONS)
    ]
    (message,) = said(*frames)
    assert len(message.exceptions) == MAX_EXCEPTIONS
    encode(message)


def test_what_ended_on_the_device_is_covered_and_not_told_back() -> None:
    dropped = OutcomeRange(first=1, count=3, outcome=Outcome.DROPPED)
    (message,) = said(finished(0), Finished(stream="s", epoch=1, outcome=dropped))
    assert (message.next_seq, message.exceptions, len(message.residences_s)) == (4, (), 1)

"""What a device keeps until the cloud has stored it."""

import pytest

from offload.device.outbox import Delivered, Outbox
from offload.messages import MAX_RANGES, Ended, Outcome, OutcomeRange
from tests.session_pair import dropped, ended, frame


def outbox(*, position: int = 0, max_entries: int = 32) -> Outbox:
    return Outbox(position=position, max_entries=max_entries)


def with_frames(count: int, *, position: int = 0) -> Outbox:
    box = outbox(position=position)
    for seq in range(position, position + count):
        box.put_frame(frame(seq), captured_s=float(seq))
    return box


def take_all(box: Outbox, now: float = 10.0) -> list[int]:
    taken = []
    while box.has_unsent:
        taken.append(box.take(now).first)
    return taken


def outcomes(delivered: list[Delivered]) -> list[tuple[int, int, Outcome]]:
    return [(each.outcome.first, each.outcome.count, each.outcome.outcome) for each in delivered]


def test_frames_are_taken_once_each_in_order() -> None:
    box = with_frames(3)
    assert take_all(box) == [0, 1, 2]
    assert not box.has_unsent
    assert len(box) == 3


def test_the_window_is_full_until_an_acknowledgement_opens_it() -> None:
    box = outbox(max_entries=2)
    box.put_frame(frame(0), captured_s=0.0)
    assert box.room > 0
    box.put_frame(frame(1), captured_s=0.0)
    assert box.room == 0
    take_all(box)
    box.acknowledge(1, (), (), 11.0)
    assert box.room > 0


def test_ended_neighbours_that_have_not_been_sent_travel_in_one_message() -> None:
    box = outbox()
    box.put_ended(dropped(0, 2), captured_s=[1.0, 2.0])
    box.put_ended(dropped(2), captured_s=[3.0])
    box.put_ended(dropped(3, reason="late"), captured_s=[4.0])
    assert len(box) == 1
    assert box.frames == 4
    assert box.take(10.0).message() == ended(dropped(0, 3), dropped(3, reason="late"))


def test_a_frame_between_ended_frames_keeps_them_apart() -> None:
    box = outbox()
    box.put_ended(dropped(0), captured_s=[1.0])
    box.put_frame(frame(1), captured_s=2.0)
    box.put_ended(dropped(2), captured_s=[3.0])
    assert [box.take(10.0).message() for _ in range(3)] == [
        ended(dropped(0)),
        frame(1),
        ended(dropped(2)),
    ]


def test_ended_frames_do_not_join_what_has_been_sent() -> None:
    box = outbox()
    box.put_ended(dropped(0), captured_s=[1.0])
    sent = box.take(10.0).message()
    box.put_ended(dropped(1), captured_s=[2.0])
    assert sent == ended(dropped(0))
    assert box.take(10.0).message() == ended(dropped(1))


def test_ended_frames_do_not_join_what_will_be_sent_again() -> None:
    box = outbox()
    box.put_ended(dropped(0), captured_s=[1.0])
    box.take(10.0)
    box.rewind()
    box.put_ended(dropped(1), captured_s=[2.0])
    assert box.take(11.0).message() == ended(dropped(0))


def test_a_message_of_ended_frames_has_no_more_ranges_than_fit_it() -> None:
    box = outbox()
    for seq in range(3 * MAX_RANGES):
        box.put_ended(dropped(seq, reason=f"reason {seq % 2}"), captured_s=[0.0])
    messages = [box.take(10.0).message() for _ in range(3)]
    assert not box.has_unsent
    assert [len(each.ranges) for each in messages if isinstance(each, Ended)] == [MAX_RANGES] * 3


def test_a_rewind_sends_everything_again_and_counts_what_was_sent_before() -> None:
    box = with_frames(2)
    box.put_ended(dropped(2, 3), captured_s=[0.0] * 3)
    box.take(10.0)
    box.rewind()
    assert box.resent == 0
    assert take_all(box) == [0, 1, 2]
    assert box.resent == 1
    box.rewind()
    take_all(box)
    assert box.resent == 1 + 5


def test_the_time_of_the_last_send_counts() -> None:
    box = with_frames(1)
    box.take(10.0)
    box.rewind()
    box.take(12.0)
    (delivered,) = box.acknowledge(1, (), (), 13.0)
    assert delivered.sent_s == 12.0


def test_an_acknowledgement_releases_what_lies_before_it() -> None:
    box = with_frames(3, position=5)
    take_all(box)
    delivered = box.acknowledge(7, (), (0.25,), 11.0)
    assert delivered == [
        Delivered(
            outcome=OutcomeRange(first=seq, count=1, outcome=Outcome.RESULT),
            split=1,
            captured_s=(float(seq),),
            finished_s=11.0,
            sent_s=10.0,
            residence_s=residence_s,
        )
        for seq, residence_s in ((5, 0.25), (6, None))
    ]
    assert (box.position, box.next_seq, box.frames, len(box)) == (7, 8, 1, 1)


def test_an_acknowledgement_of_nothing_new_releases_nothing() -> None:
    box = with_frames(2, position=5)
    take_all(box)
    assert box.acknowledge(5, (), (), 11.0) == []
    assert (box.position, len(box)) == (5, 2)


def test_frames_sent_after_an_acknowledgement_are_the_next_ones() -> None:
    box = with_frames(3)
    box.take(10.0)
    box.take(10.0)
    box.acknowledge(1, (), (), 11.0)
    assert box.take(12.0).first == 2


def test_part_of_a_run_of_ended_frames_is_kept_until_all_of_it_is_stored() -> None:
    box = outbox()
    box.put_ended(dropped(0, 4), captured_s=[0.0, 1.0, 2.0, 3.0])
    box.take(10.0)
    assert box.acknowledge(3, (), (), 11.0) == []
    assert (box.position, box.frames, len(box)) == (3, 1, 1)
    (delivered,) = box.acknowledge(4, (), (), 12.0)
    assert delivered.outcome == dropped(0, 4)
    assert len(box) == 0


def test_dropped_frames_keep_no_capture_times_and_their_neighbours_keep_theirs() -> None:
    box = outbox()
    box.put_ended(dropped(0, 3), captured_s=[0.0, 1.0, 2.0])
    filtered = OutcomeRange(first=3, count=2, outcome=Outcome.FILTERED, task="find")
    box.put_ended(filtered, captured_s=[3.0, 4.0])
    box.take(10.0)
    delivered = box.acknowledge(5, (), (), 12.0)
    assert [each.captured_s for each in delivered] == [(), (3.0, 4.0)]


def test_each_range_of_a_run_is_delivered_with_the_times_of_its_frames() -> None:
    box = outbox()
    find = OutcomeRange(first=0, count=2, outcome=Outcome.FILTERED, task="find")
    measure = OutcomeRange(first=2, count=1, outcome=Outcome.FILTERED, task="measure")
    box.put_ended(find, captured_s=[0.0, 1.0])
    box.put_ended(measure, captured_s=[2.0])
    box.take(10.0)
    delivered = box.acknowledge(3, (), (), 11.0)
    assert [each.captured_s for each in delivered] == [(0.0, 1.0), (2.0,)]
    assert {(each.split, each.sent_s, each.residence_s) for each in delivered} == {(0, None, None)}


def test_exceptions_say_which_frames_ended_in_the_cloud_without_a_result() -> None:
    box = with_frames(5)
    take_all(box)
    filtered = OutcomeRange(first=1, count=2, outcome=Outcome.FILTERED, task="find")
    failed = OutcomeRange(first=4, count=1, outcome=Outcome.FAILED, task="draw", reason="no ball")
    delivered = box.acknowledge(5, (filtered, failed), (), 11.0)
    assert outcomes(delivered) == [
        (0, 1, Outcome.RESULT),
        (1, 1, Outcome.FILTERED),
        (2, 1, Outcome.FILTERED),
        (3, 1, Outcome.RESULT),
        (4, 1, Outcome.FAILED),
    ]
    assert delivered[1].outcome.task == "find"
    assert delivered[4].outcome == failed


def test_frames_that_ended_on_the_device_take_no_residence_and_keep_their_outcome() -> None:
    box = outbox()
    box.put_frame(frame(0), captured_s=0.0)
    box.put_ended(dropped(1), captured_s=[1.0])
    box.put_frame(frame(2), captured_s=2.0)
    take_all(box)
    # After a reconnect the cloud cannot tell a dropped frame from a filtered one.
    forgotten = OutcomeRange(first=1, count=1, outcome=Outcome.FILTERED)
    delivered = box.acknowledge(3, (forgotten,), (0.25, 0.5), 11.0)
    assert [each.residence_s for each in delivered] == [0.25, None, 0.5]
    assert outcomes(delivered)[1] == (1, 1, Outcome.DROPPED)


def test_a_frame_that_cannot_be_sent_ends_as_a_failed_one() -> None:
    box = with_frames(1)
    entry = box.take(10.0)
    box.fail(entry, task="grab", reason="too large")
    failed = OutcomeRange(first=0, count=1, outcome=Outcome.FAILED, task="grab", reason="too large")
    assert entry.message() == ended(failed)
    (delivered,) = box.acknowledge(1, (), (), 11.0)
    assert (delivered.outcome, delivered.captured_s) == (failed, (0.0,))


def test_a_stream_that_goes_on_elsewhere_moves_the_position_of_an_empty_outbox() -> None:
    box = outbox(position=3)
    assert box.acknowledge(7, (), (), 11.0) == []
    assert (box.position, box.next_seq) == (7, 7)


def test_frames_have_to_follow_each_other() -> None:
    box = with_frames(1)
    with pytest.raises(AssertionError):
        box.put_frame(frame(2), captured_s=0.0)
    with pytest.raises(AssertionError):
        box.put_ended(dropped(0), captured_s=[0.0])


def test_frames_filtered_in_an_outage_fill_the_window_some_time() -> None:
    outbox = Outbox(position=0, max_entries=32)
    for seq in range(1_000_000):
        if outbox.room == 0:
            return
        ended = OutcomeRange(first=seq, count=1, outcome=Outcome.FILTERED, task="find_contours")
        outbox.put_ended(ended, captured_s=[0.0])
    raise AssertionError("a million frames are kept in one entry")

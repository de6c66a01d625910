"""What goes on behind a full window while there is no connection, and comes back in order."""

import pytest

from offload.device.outbox import Entry, SpooledOutbox
from tests.session_pair import dropped, frame

WINDOW = 3


def outbox(*, position: int = 0, stored_stop: int = 0) -> SpooledOutbox:
    return SpooledOutbox(position=position, stored_stop=stored_stop, max_entries=WINDOW)


def put(box: SpooledOutbox, count: int, *, now: float = 0.0) -> None:
    for _ in range(count):
        seq = box.next_seq
        box.put_frame(frame(seq, payload=bytes(100)), captured_s=float(seq), now=now)


def write(box: SpooledOutbox, *, now: float = 1.0) -> list[int]:
    """Write to disk what is due, and return which entries that was."""
    entries = box.seal_unwritten(put_before_s=now, max_bytes=10_000)
    box.note_written(entries)
    return [each.first for each in entries]


def read_back(box: SpooledOutbox) -> list[int]:
    """Read what there is room for, as the disk has one frame in each record."""
    stop = min(box.stored_stop, box.stored_first + box.window_room)
    entries = [Entry(first=seq, frame=frame(seq)) for seq in range(box.stored_first, stop)]
    box.put_back(entries)
    return [each.first for each in entries]


def sent(box: SpooledOutbox) -> list[int]:
    taken = []
    while box.has_unsent:
        taken.append(box.take(0.0).first)
    return taken


def test_with_a_connection_the_window_is_all_there_is() -> None:
    box = outbox()
    box.is_online = True
    put(box, WINDOW)
    assert box.room == 0
    assert not box.has_backlog


def test_without_one_the_stream_goes_on_behind_the_window() -> None:
    box = outbox()
    put(box, WINDOW)
    assert box.room == WINDOW
    put(box, WINDOW)
    assert box.room == 0
    assert box.has_backlog
    assert write(box) == [0, 1, 2, 3, 4, 5]
    assert (box.stored_first, box.stored_stop, box.room) == (3, 6, WINDOW)


def test_what_is_on_disk_comes_back_in_order_as_the_window_opens() -> None:
    box = outbox()
    for _ in range(4):
        put(box, WINDOW)
        write(box)
    box.is_online = True
    order = sent(box)
    while order[-1] < 11:
        box.acknowledge(order[-1] + 1, (), (), 0.0)
        assert read_back(box) == sent(box) != []
        order.append(box.window_stop - 1)
    assert (box.position, box.stored_first, box.stored_stop) == (9, 12, 12)
    box.acknowledge(12, (), (), 0.0)
    assert not box.has_backlog
    put(box, 1)
    assert sent(box) == [12]


def test_what_was_not_written_yet_moves_up_without_the_disk() -> None:
    box = outbox()
    put(box, 2 * WINDOW)
    box.is_online = True
    assert sent(box) == [0, 1, 2]
    box.acknowledge(2, (), (), 0.0)
    assert sent(box) == [3, 4]
    box.acknowledge(6 - 1, (), (), 0.0)
    assert sent(box) == [5]
    assert not box.has_backlog


def test_new_frames_join_the_line_behind_a_backlog_though_there_is_a_connection() -> None:
    box = outbox()
    put(box, 2 * WINDOW)
    write(box)
    box.is_online = True
    put(box, 1)
    assert box.window_stop == 3
    sent(box)
    box.acknowledge(3, (), (), 0.0)
    assert read_back(box) == [3, 4, 5]
    assert box.window_stop == 6
    box.acknowledge(4, (), (), 0.0)
    assert sent(box) == [4, 5, 6]


def test_an_earlier_run_s_frames_are_the_first() -> None:
    box = outbox(position=5, stored_stop=8)
    assert (box.next_seq, box.frames, box.has_backlog) == (8, 3, True)
    put(box, 1)
    assert read_back(box) == [5, 6, 7]
    box.is_online = True
    assert sent(box) == [5, 6, 7]
    box.acknowledge(8, (), (), 0.0)
    assert sent(box) == [8]


def test_a_spool_that_lags_behind_the_cloud_counts_for_nothing() -> None:
    box = outbox(position=9, stored_stop=4)
    assert (box.next_seq, box.frames, box.has_backlog) == (9, 0, False)


def test_only_what_has_waited_for_long_is_written() -> None:
    box = outbox()
    put(box, 1, now=1.0)
    put(box, 1, now=2.0)
    assert write(box, now=1.5) == [0]
    assert write(box, now=2.5) == [1]
    assert write(box, now=3.5) == []


def test_what_is_acknowledged_before_it_is_due_is_never_written() -> None:
    box = outbox()
    box.is_online = True
    put(box, 2)
    sent(box)
    box.acknowledge(1, (), (), 0.0)
    assert write(box) == [1]


def test_a_group_ends_with_the_entry_that_fills_it() -> None:
    box = outbox()
    put(box, WINDOW)
    assert len(box.seal_unwritten(put_before_s=1.0, max_bytes=150)) == 2
    assert len(box.seal_unwritten(put_before_s=1.0, max_bytes=100)) == 1


def test_ended_frames_do_not_join_what_is_written_or_about_to_be() -> None:
    box = outbox()
    box.put_ended(dropped(0), captured_s=())
    box.put_ended(dropped(1), captured_s=())
    (sealed,) = box.seal_unwritten(put_before_s=1.0, max_bytes=100)
    box.put_ended(dropped(2), captured_s=())
    assert (sealed.stop, len(box)) == (2, 2)


def test_what_was_sealed_and_could_not_be_written_is_tried_again() -> None:
    box = outbox()
    put(box, 2)
    first = box.seal_unwritten(put_before_s=1.0, max_bytes=1000)
    box.note_written(first[:1])
    assert [each.first for each in box.seal_unwritten(put_before_s=1.0, max_bytes=1000)] == [1]


@pytest.mark.parametrize("outages", [1, 2, 5])
def test_every_frame_is_sent_in_order_over_any_number_of_outages(outages: int) -> None:
    box = outbox()
    acknowledged: list[int] = []
    for _ in range(outages):
        box.is_online = False
        for _ in range(7):
            put(box, min(2, box.room))
            write(box)
        box.is_online = True
        box.rewind()
        for _ in range(4):
            for seq in sent(box):
                acknowledged += [
                    each.outcome.first for each in box.acknowledge(seq + 1, (), (), 0.0)
                ]
            read_back(box)
            write(box)
    while box.frames:
        for seq in sent(box):
            acknowledged += [each.outcome.first for each in box.acknowledge(seq + 1, (), (), 0.0)]
        read_back(box)
    assert acknowledged == list(range(box.next_seq))

"""What the ticks say of a connection."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from offload.cloud.link_watch import (
    HEARTBEAT_S,
    LINGER_S,
    LOOK_EVERY_S,
    MESSAGE_S,
    MIN_BYTES_PER_S,
    UNREAD_S,
    LinkWatch,
)
from offload.session import SILENCE_S


def seconds_until(look: Callable[[float], bool], *, at_most_s: float = 1000.0) -> float:
    """Return how many seconds after the first look it says yes."""
    for now in looks(at_most_s):
        if look(now):
            return now
    raise AssertionError("it never did")


def looks(seconds: float = 1000.0) -> list[float]:
    """Return when one looks."""
    return [number * LOOK_EVERY_S for number in range(round(seconds / LOOK_EVERY_S))]


def seldom(now: float) -> int:
    """Return a count that moves now and then: once in 4.5 s."""
    return int(now / 4.5)


def test_silence_is_noticed_after_its_time_and_within_six_seconds() -> None:
    watch = LinkWatch()
    noticed_s = seconds_until(lambda now: watch.is_silent(now, 7, reading=True))
    assert noticed_s == SILENCE_S
    assert noticed_s + LOOK_EVERY_S < 6.0


def test_any_byte_ends_the_silence() -> None:
    watch = LinkWatch()
    assert not any(watch.is_silent(now, seldom(now), reading=True) for now in looks())


def test_silence_while_nobody_reads_does_not_count() -> None:
    watch = LinkWatch()
    assert not any(watch.is_silent(now, 7, reading=False) for now in looks())
    assert seconds_until(lambda now: watch.is_silent(now, 7, reading=True)) == SILENCE_S


def test_silence_while_this_end_was_held_up_does_not_count() -> None:
    watch = LinkWatch()
    assert not watch.is_silent(0.0, 7, reading=True)
    watch.restart()
    assert not watch.is_silent(60.0, 7, reading=True)
    assert watch.is_silent(60.0 + SILENCE_S, 7, reading=True)


def test_an_end_that_says_nothing_shows_every_two_seconds_that_it_lives() -> None:
    watch = LinkWatch()
    sent_bytes, sent_s = 100, [0.0]
    for now in looks(20.0)[1:]:
        if watch.is_quiet(now, sent_bytes):
            sent_bytes += 30
            sent_s.append(now)
    gaps_s = [later - before for before, later in pairwise(sent_s)]
    assert max(gaps_s) <= HEARTBEAT_S
    assert min(gaps_s) > HEARTBEAT_S / 2


def test_an_end_that_says_something_all_the_time_sends_no_signs_of_life() -> None:
    watch = LinkWatch()
    assert not any(watch.is_quiet(now, int(now / LOOK_EVERY_S)) for now in looks())


@pytest.mark.parametrize("bytes_per_s", [0, 1, MIN_BYTES_PER_S - 1])
def test_a_message_has_ten_seconds_if_it_comes_slowly(bytes_per_s: int) -> None:
    watch = LinkWatch()
    assert (
        seconds_until(
            lambda now: watch.is_stuck(now, 3, int(bytes_per_s * now), begun=True, reading=True)
        )
        == MESSAGE_S
    )


def test_a_message_has_all_the_time_that_it_takes_at_64_kib_a_second() -> None:
    watch = LinkWatch()
    size = 100 * MIN_BYTES_PER_S
    late_s = seconds_until(
        lambda now: watch.is_stuck(
            now, 3, min(size, int(MIN_BYTES_PER_S * now)), begun=True, reading=True
        )
    )
    assert late_s > 100.0


def test_a_message_that_begins_and_then_trickles_is_late_after_ten_seconds() -> None:
    watch = LinkWatch()
    late_s = seconds_until(
        lambda now: watch.is_stuck(now, 3, 200_000 + int(now), begun=True, reading=True)
    )
    assert late_s == MESSAGE_S


def test_one_message_after_the_other_is_never_late() -> None:
    watch = LinkWatch()
    assert not any(watch.is_stuck(now, seldom(now), 0, begun=True, reading=True) for now in looks())


def test_no_message_is_late_if_none_has_begun() -> None:
    watch = LinkWatch()
    assert not any(watch.is_stuck(now, 3, 0, begun=False, reading=True) for now in looks())


def test_the_time_of_a_message_stands_still_while_nobody_reads() -> None:
    watch = LinkWatch()
    late_s = seconds_until(
        lambda now: watch.is_stuck(now, 3, 0, begun=True, reading=not 4.0 < now <= 100.0)
    )
    assert late_s == MESSAGE_S + 96.0


def test_who_takes_nothing_of_what_it_is_sent_does_not_read() -> None:
    watch = LinkWatch()

    def look(now: float) -> bool:
        sent_bytes = 1000 + int(now)
        return watch.is_unread(now, sent_bytes, sent_bytes - 500)

    assert seconds_until(look) == UNREAD_S


def test_who_reads_slowly_reads() -> None:
    watch = LinkWatch()
    assert not any(watch.is_unread(now, 9999, 9999 - seldom(now)) for now in looks())


def test_who_has_read_all_has_its_time_anew() -> None:
    watch = LinkWatch()
    assert not any(watch.is_unread(now, 1000, 500 if now % 9.0 else 0) for now in looks())


def test_a_device_has_two_seconds_to_hang_up_after_the_end_of_its_session() -> None:
    watch = LinkWatch()
    assert seconds_until(watch.has_lingered) == LINGER_S

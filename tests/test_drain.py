"""A run that is told to end has some time for it, and a second signal leaves none."""

import logging
import signal

import pytest

from offload.device.drain import DRAIN_S, Drain, Interrupted


class Told:
    """Counts how often a capture would be stopped."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


def test_nobody_has_told_a_new_run_to_end() -> None:
    drain = Drain(on_begin=Told())
    assert (drain.is_wanted, drain.is_over) == (False, False)


def test_the_first_signal_begins_and_the_second_ends(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()
    drain = Drain(on_begin=told)
    with caplog.at_level(logging.INFO):
        drain.interrupt(signal.SIGTERM, None)
        assert (drain.is_wanted, drain.is_over, told.times) == (True, False, 1)
        # In a signal handler nothing may be written.
        assert caplog.records == []
        drain.say()
        drain.say()
    (line,) = caplog.records
    assert (line.message, vars(line)["signal"]) == ("draining", "SIGTERM")
    with pytest.raises(Interrupted):
        drain.interrupt(signal.SIGINT, None)


def test_a_signal_after_another_reason_is_the_first_one_and_gives_no_more_time() -> None:
    now_s = 1000.0
    drain = Drain(on_begin=Told(), clock=lambda: now_s)
    drain.begin(why="the window was closed")
    now_s += DRAIN_S - 0.1
    drain.interrupt(signal.SIGINT, None)
    assert not drain.is_over
    now_s += 0.1
    assert drain.is_over


def test_a_run_that_ends_for_a_reason_told_elsewhere_says_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    drain = Drain(on_begin=Told())
    with caplog.at_level(logging.INFO):
        drain.begin()
        drain.say()
    assert drain.is_wanted
    assert caplog.records == []

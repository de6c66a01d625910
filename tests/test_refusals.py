"""Refusals are all counted; those that come by the thousand are said together."""

import logging
import math
import time

import pytest

from offload import throttle
from offload.cloud.refusals import Refusals
from offload.telemetry.recorder import Recorder


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[object, ...]]:
    return [
        (each.__dict__["why"], each.__dict__["peer"], each.__dict__.get("times"))
        for each in caplog.records
        if each.message == "refused"
    ]


def test_each_refusal_is_said_with_its_peer_and_its_reason(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(Recorder())
    for peer in ("a:1", "b:2"):
        refusals.note("token", peer, "no token")
    assert said(caplog) == [("token", "a:1", None), ("token", "b:2", None)]
    assert all(each.levelno == logging.WARNING for each in caplog.records)
    assert refusals.counts == {"token": 2}


def test_devices_that_find_the_server_full_are_one_line_a_minute_with_their_number(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusals = Refusals(Recorder())
    for number in range(1000):
        refusals.note("busy", f"a:{number}", "server is full")
    assert said(caplog) == [("busy", "a:0", 1)]
    # The minute is over.
    monkeypatch.setattr(throttle, "COMPLAIN_EVERY_S", 0.0)
    refusals.note("busy", "b:1", "server is full")
    assert said(caplog)[1:] == [("busy", "b:1", 1000)]
    refusals.note("busy", "b:2", "server is full")
    assert said(caplog)[2:] == [("busy", "b:2", 1)]
    assert refusals.counts == {"busy": 1002}


def test_what_was_kept_back_is_said_a_minute_later_or_at_the_end_though_no_more_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(Recorder())
    for at_s in (time.monotonic() + 2 * throttle.COMPLAIN_EVERY_S, math.inf):
        for number in range(3):
            refusals.note("busy", f"a:{number}", "server is full")
        said_before = len(said(caplog))
        refusals.look(time.monotonic())
        assert len(said(caplog)) == said_before
        refusals.look(at_s)
        refusals.look(at_s)
        assert said(caplog)[said_before][:2] == ("busy", "a:2")
        assert len(said(caplog)) == said_before + 1
    assert sum(times for _, _, times in said(caplog) if isinstance(times, int)) == 6

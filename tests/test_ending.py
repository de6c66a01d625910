"""How a run ended, in the one line that the user gets: what happened, why, what to do."""

import logging

import pytest

from offload.device.ending import check_ended_well, say_what_is_kept
from offload.device.options import Options
from offload.device.outbox import Delivered
from offload.device.report import RunReport
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.errors import Refused, RunFailed, ServerUnavailable, WorkKept
from offload.load import LoadMeter
from offload.messages import Outcome, OutcomeRange
from tests.device_options import read_options

MANUAL = ("3", "--host", "cloud", "--stream", "porch")


def options(*arguments: str) -> Options:
    return read_options(arguments)


def report(*ended: OutcomeRange, captured: int, link: LinkState | None = None) -> RunReport:
    totals = RunTotals(("get_frame", "measure"))
    for each in ended:
        totals.finished(Delivered(outcome=each, split=1, captured_s=(), finished_s=0.0))
    return RunReport(
        mode="manual",
        app="app",
        stream="porch",
        target_fps=None,
        began_s=0.0,
        duration_s=1.0,
        captured=captured,
        totals=totals,
        link=link or LinkState(),
        load=LoadMeter(),
    )


def ended(count: int, outcome: Outcome, *, task: str = "", reason: str = "") -> OutcomeRange:
    return OutcomeRange(first=0, count=count, outcome=outcome, task=task, reason=reason)


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [ended(9, Outcome.RESULT)],
        [ended(1, Outcome.FILTERED), ended(8, Outcome.FAILED)],
        [ended(9, Outcome.DROPPED)],
    ],
    ids=["none", "results", "some failed", "dropped"],
)
def test_a_run_whose_frames_all_have_an_outcome_has_ended_well(frames: list[OutcomeRange]) -> None:
    captured = sum(each.count for each in frames)
    check_ended_well(report(*frames, captured=captured), options(*MANUAL))


def test_frames_that_nothing_keeps_are_named_with_what_would_have_kept_them() -> None:
    run = report(ended(5, Outcome.RESULT), captured=12)
    with pytest.raises(RunFailed) as raised:
        check_ended_well(run, options(*MANUAL))
    assert str(raised.value) == (
        "7 frames were abandoned: the server did not acknowledge them within 10 s of the request "
        "to end, and nothing keeps them: --spool DIR would, for the next run"
    )
    assert raised.value.exit_code == 1


def test_frames_that_a_spool_could_not_take_are_told_from_those_that_it_keeps() -> None:
    run = report(captured=12, link=LinkState(spooled=1, resumed=3))
    with pytest.raises(RunFailed) as raised:
        check_ended_well(run, options(*MANUAL, "--spool", "s"))
    assert str(raised.value) == (
        "14 frames were abandoned: the server did not acknowledge them within 10 s of the request "
        "to end, and they could not be written to s: look at its disk and --spool-limit; "
        "1 frame is kept in s: start again with --stream porch and the same --spool"
    )


def test_a_client_alone_that_abandons_frames_says_where_to_look() -> None:
    with pytest.raises(RunFailed, match=r"^1 frame was abandoned: .* at sqlite:a\.db, which"):
        check_ended_well(report(captured=1), options("--results", "sqlite:a.db"))


def test_a_run_in_which_nothing_worked_names_the_task_that_failed_most() -> None:
    run = report(
        ended(1, Outcome.FAILED, task="measure", reason="raised ValueError: early"),
        ended(5, Outcome.FAILED, task="draw", reason="raised KeyError: 'x'"),
        ended(3, Outcome.FAILED, task="draw", reason="raised KeyError: 'y'"),
        ended(2, Outcome.DROPPED),
        captured=11,
    )
    with pytest.raises(RunFailed) as raised:
        check_ended_well(run, options(*MANUAL))
    assert str(raised.value) == (
        "no frame was finished, 9 failed: task 'draw' raised KeyError: 'x'; "
        "mend the app; --log-level debug names the line, if it ran here"
    )


def test_frames_that_no_task_failed_give_their_own_reason() -> None:
    run = report(ended(4, Outcome.FAILED, reason="message is too large: do this"), captured=4)
    with pytest.raises(
        RunFailed, match=r"^no frame was finished, 4 failed: message is .*: do this$"
    ):
        check_ended_well(run, options(*MANUAL))


def test_work_in_the_spool_is_named_with_the_command_that_sends_it() -> None:
    run = report(ended(5, Outcome.RESULT), captured=8, link=LinkState(spooled=3))
    asked = options("3", "--host", "cloud", "--stream", "back porch", "--spool", "s")
    kept = "3 frames are kept in s: start again with --stream 'back porch' and the same --spool"
    with pytest.raises(WorkKept) as raised:
        check_ended_well(run, asked)
    assert str(raised.value) == kept
    with pytest.raises(WorkKept) as raised:
        say_what_is_kept(run, asked, after=ServerUnavailable("no server"))
    assert str(raised.value) == f"no server; {kept}"


def test_work_in_the_spool_is_named_though_all_other_frames_failed() -> None:
    run = report(
        ended(1, Outcome.FAILED, task="warm", reason="raised ValueError: early"),
        captured=50,
        link=LinkState(spooled=49),
    )
    with pytest.raises(WorkKept, match=r"^49 frames are kept in s: start again with --stream"):
        check_ended_well(run, options(*MANUAL, "--spool", "s"))


def test_another_error_stays_and_the_log_says_what_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = options(*MANUAL, "--spool", "s")
    with caplog.at_level(logging.WARNING):
        run = report(captured=3, link=LinkState(spooled=3))
        say_what_is_kept(run, asked, after=Refused("taken over"))
        abandons = report(captured=3, link=LinkState(spooled=2))
        say_what_is_kept(abandons, asked, after=ServerUnavailable("no server"))
        say_what_is_kept(report(captured=3), asked, after=ServerUnavailable("no server"))
    assert [each.message for each in caplog.records] == ["work_kept", "work_kept"]
    assert vars(caplog.records[0])["how"].startswith("3 frames are kept in")


def test_a_report_counts_each_frame_once() -> None:
    run = report(
        ended(5, Outcome.RESULT),
        ended(2, Outcome.FAILED),
        captured=8,
        link=LinkState(spooled=1, resumed=2),
    )
    assert run.frames == {
        "captured": 8,
        "resumed": 2,
        "completed": 5,
        "filtered": 0,
        "dropped": 0,
        "failed": 2,
        "spooled": 1,
        "abandoned": 2,
    }

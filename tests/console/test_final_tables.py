"""The tables that stay when a run is over."""

from collections import Counter
from collections.abc import Mapping

import pytest

from offload.cloud import final_table as of_server
from offload.cloud.report import StreamCounts
from offload.console.table import Column, Table, table_lines
from offload.console.text import Look, Span, line_cells
from offload.device import final_table as of_device
from offload.device.report import RunReport
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter
from offload.messages import Outcome, TaskTime
from tests.console.samples import LOOKS, UNICODE


def shown(table: Table, *, width: int = 160) -> list[str]:
    lines = table_lines(table, width=width, look=UNICODE)
    return ["".join(each.text for each in line) for line in lines]


def report(
    *,
    mode: str = "automatic",
    here: Mapping[int, float] | None = None,
    there: Mapping[int, float] | None = None,
    sent_bytes: int = 0,
) -> RunReport:
    """Return that of a run of three tasks and ten frames, with the seconds of one frame."""
    totals = RunTotals(("get_frame", "find", "draw"))
    for _ in range(10):
        totals.ran_on_device(here or {})
    times = [TaskTime(task=each, seconds=10 * s, runs=10) for each, s in (there or {}).items()]
    totals.ran_in_cloud(times)
    return RunReport(
        mode=mode,
        app="ball_tracking",
        stream="porch",
        target_fps=None,
        began_s=0.0,
        duration_s=1.0,
        captured=10,
        totals=totals,
        link=LinkState(sent_bytes=sent_bytes),
        load=LoadMeter(),
    )


def test_each_task_has_a_row_that_says_where_it_ran() -> None:
    run = report(here={0: 0.1, 1: 0.2}, there={1: 0.05, 2: 0.4}, sent_bytes=275_120)
    assert shown(of_device.final_table(run)) == [
        " task       runs here  s here  runs in the cloud  s in the cloud",
        " get_frame         10    1.00",
        " find              10    2.00                 10            0.50",
        " draw                                         10            4.00",
        " all                     3.00                               4.50",
        " sent   275 kB, 27.5 kB for each frame",
        " saved  0.50 of the 5.00 cloud seconds of split 1 (10 %)",
    ]


def test_what_the_cloud_never_ran_is_counted_as_the_device_ran_it() -> None:
    run = report(here={0: 0.1, 1: 0.2}, there={2: 0.4})
    assert shown(of_device.final_table(run))[-2:] == [
        " saved  2.00 of the 6.00 cloud seconds of split 1 (33 %)",
        "        tasks that the cloud never ran count as they ran here",
    ]


def test_a_client_alone_sent_and_saved_nothing() -> None:
    run = report(mode="client_only", here={0: 0.1, 1: 0.2, 2: 0.3})
    assert shown(of_device.final_table(run)) == [
        " task       runs here  s here",
        " get_frame         10    1.00",
        " find              10    2.00",
        " draw              10    3.00",
        " all                     6.00",
    ]


def test_in_a_narrow_terminal_each_figure_still_says_which_side_it_is_of() -> None:
    run = report(here={0: 0.1, 1: 0.2}, there={1: 0.05, 2: 0.4})
    assert shown(of_device.final_table(run), width=40)[0] == " task       s here  s in the cloud"


def test_what_is_not_all_is_never_rounded_to_it() -> None:
    run = report(here={0: 0.1, 1: 0.2}, there={2: 0.0005})
    assert "(99 %)" in shown(of_device.final_table(run))[-2]


def test_a_run_without_a_frame_has_a_table_all_the_same() -> None:
    assert shown(of_device.final_table(report()))[-1] == " sent   0 B, 0 B for each frame"


def counts(stream: str, *, results: int = 0, failed: int = 0) -> StreamCounts:
    return StreamCounts(
        stream=stream,
        device="pi",
        app="ball_tracking",
        next_seq=0,
        outcomes=Counter({Outcome.RESULT: results, Outcome.FAILED: failed}),
        cloud_task_s=1.5,
        first_s=1.0,
        last_s=3.0,
    )


def test_a_server_s_table_has_a_row_for_each_stream_and_those_with_most_frames_first() -> None:
    table = of_server.final_table(
        [counts("garden", results=10, failed=2), counts("porch", results=50)]
    )
    titles, first, second = shown(table)
    assert titles.split() == [
        *("device", "stream", "app", "results", "filtered", "dropped", "failed", "FPS"),
        *("cloud", "seconds"),
    ]
    assert first.split() == ["pi", "porch", "ball_tracking", "50", "0", "0", "0", "25.0", "1.50"]
    assert second.split() == ["pi", "garden", "ball_tracking", "10", "0", "0", "2", "5.0", "1.50"]


def test_a_server_of_many_streams_says_how_many_are_not_in_its_table() -> None:
    many = [counts(f"stream {number:02}", results=number) for number in range(23)]
    lines = shown(of_server.final_table(many))
    assert len(lines) == 1 + of_server.MAX_STREAMS + 1
    assert lines[-1] == " and 3 more, with 3 results"


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("width", [1, 5, 20, 40, 60, 80])
def test_no_table_is_wider_than_the_terminal(width: int, look: Look) -> None:
    run = report(here={0: 0.1, 1: 0.2}, there={2: 0.4})
    for table in (of_device.final_table(run), of_server.final_table([counts("東" * 60)])):
        for line in table_lines(table, width=width, look=look):
            assert line_cells(line) <= width


def test_long_names_and_those_that_steer_terminals_are_tamed_in_every_table() -> None:
    columns = [Column(title="name", rank=0), Column(title="n", rank=1)]
    table = Table(columns=columns, rows=[[Span(text="\x1b[2J" + "x" * 200), Span(text="1")]])
    line = shown(table)[1]
    assert line.startswith(" ?[2Jxxx")
    assert line.endswith("x…  1")
    assert len(line) < 50


def test_columns_that_are_left_out_are_those_of_the_greatest_rank() -> None:
    columns = [Column(title=title, rank=rank) for title, rank in (("a", 0), ("b", 2), ("c", 1))]
    table = Table(columns=columns, rows=[[Span(text=each * 4) for each in "xyz"]])
    assert shown(table, width=17) == [" a     b     c", " xxxx  yyyy  zzzz"]
    assert shown(table, width=16) == [" a     c", " xxxx  zzzz"]
    assert shown(table, width=3) == [" a", " x…"]

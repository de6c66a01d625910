"""The curves of a report, and where they stand in its charts."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.emulation.experiment import LinkChange, MachineChange
from offload.emulation.report.axes import axis_for, place_labels, time_numbers
from offload.emulation.report.charts import MAX_POINTS, thinned
from offload.emulation.report.curves import Curve, Line, Quantity, curves_of
from offload.emulation.report.findings import Mark
from offload.emulation.report.run_folder import read_recording
from offload.emulation.report.wording import amount, plain, rate, seconds, share, size
from tests.emulation.run_folders import (
    QUALITY,
    RECORDED,
    experiment,
    write_events,
    write_experiment,
    write_links,
    write_log,
    write_machines,
    write_summary,
)

SLOW = replace(QUALITY, rate_bit_s=4e6)
DOWN = replace(QUALITY, is_up=False)


def curve(folder: Path, quantity: Quantity, subject: str) -> Curve:
    curves = curves_of(read_recording(folder))
    return next(each for each in curves if (each.quantity, each.subject) == (quantity, subject))


def link_change(at_s: float, **directions: object) -> LinkChange:
    base = LinkChange(at_s=at_s, link="wifi", forward=QUALITY, backward=QUALITY, text="")
    return replace(base, **directions)  # type: ignore[arg-type]  # each is a quality


def curve_of(quantity: Quantity, *lines: Line) -> Curve:
    return Curve(quantity=quantity, subject="pi", lines=lines)


def measured(*values: float | None) -> Line:
    return Line(name="measured", t=list(range(len(values))), values=values)


def held(name: str, *values: float) -> Line:
    return Line(name=name, t=list(range(len(values))), values=values, is_step=True)


# Curves


def test_a_run_that_went_well_has_curves_of_every_quantity() -> None:
    assert {each.quantity for each in curves_of(read_recording(RECORDED))} == set(Quantity)


def test_link_use_is_what_was_delivered_between_two_rows(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    rows = [(0, 0), (1, 1000), (3, 5000), (4, 4000), (5, 4500)]
    write_links(tmp_path, [(t, "wifi", "cloud", count, 0, 0, 0) for t, count in rows])
    line = curve(tmp_path, Quantity.LINK_USE, "wifi to cloud").lines[0]
    assert line.t == [1, 3, 4, 5]
    # A counter that went back says nothing.
    assert line.values == [8000, 16000, None, 4000]


def test_the_rate_of_a_link_follows_its_changes_in_each_direction(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment(link_change(30, forward=SLOW), link_change(45)))
    rows = [(t, "wifi", to, 10 * t, 0, 0, 0) for t in (0, 60) for to in ("cloud", "pi")]
    write_links(tmp_path, rows)
    there = curve(tmp_path, Quantity.LINK_USE, "wifi to cloud").lines[1]
    back = curve(tmp_path, Quantity.LINK_USE, "wifi to pi").lines[1]
    assert (there.name, there.is_step) == ("rate", True)
    assert (there.t, there.values) == ([0, 30, 45, 60], [20e6, 4e6, 20e6, 20e6])
    assert back.values == [20e6, 20e6, 20e6, 20e6]


def test_a_link_that_is_down_has_no_rate(tmp_path: Path) -> None:
    changes = [link_change(10, forward=DOWN, backward=DOWN), link_change(25)]
    write_experiment(tmp_path, experiment(*changes))
    write_links(tmp_path, [(t, "wifi", "cloud", 10 * t, 0, 0, 0) for t in (0, 60)])
    use = curve(tmp_path, Quantity.LINK_USE, "wifi to cloud")
    assert use.down == [(10, 25)]
    assert use.lines[1].values == [20e6, None, 20e6, 20e6]


def test_a_link_that_stays_down_is_so_to_the_end(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment(link_change(10, forward=DOWN, backward=DOWN)))
    write_links(tmp_path, [(t, "wifi", "cloud", 0, 0, 0, 0) for t in (0, 40)])
    assert curve(tmp_path, Quantity.LINK_USE, "wifi to cloud").down == [(10, 40)]


def test_lost_and_dropped_packets_are_two_lines(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_links(tmp_path, [(0, "wifi", "cloud", 0, 0, 5, 0), (2, "wifi", "cloud", 0, 6, 7, 0)])
    lines = curve(tmp_path, Quantity.PACKETS_LOST, "wifi to cloud").lines
    assert [(each.name, each.values) for each in lines] == [("lost", [3]), ("dropped", [1])]


def test_packets_that_a_link_missed_are_a_line_of_their_own_where_there_are_any(
    tmp_path: Path,
) -> None:
    write_experiment(tmp_path, experiment())
    write_links(tmp_path, [(1, "wifi", "cloud", 0, 0, 0, 0), (2, "wifi", "cloud", 10, 0, 0, 7)])
    lines = curve(tmp_path, Quantity.PACKETS_LOST, "wifi to cloud").lines
    assert [(each.name, each.values) for each in lines][2:] == [("missed", [7])]


def test_a_processor_is_held_against_its_limit_as_it_changes(tmp_path: Path) -> None:
    change = MachineChange(at_s=10, machine="pi", cpu=0.25, memory_bytes=None, text="")
    write_experiment(tmp_path, experiment(change, replace(change, at_s=50, cpu=None)))
    write_machines(tmp_path, [(0, "pi", 0, 0.1, 9), (60, "pi", 30, 0.5, 9)])
    limit = curve(tmp_path, Quantity.CPU, "pi").lines[1]
    assert (limit.t, limit.values) == ([0, 10, 50, 60], [0.5, 0.25, None, None])


def test_a_machine_without_a_limit_is_held_against_nothing(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_machines(tmp_path, [(1, "cloud", 0, 0.1, 9)])
    assert [each.name for each in curve(tmp_path, Quantity.CPU, "cloud").lines] == ["measured"]


def test_what_was_before_the_start_and_after_the_end_is_left_out(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_machines(tmp_path, [(t, "pi", 0, 0.1, 9) for t in (-3, -1, 0, 30, 60, 61)])
    write_events(tmp_path, {"t": 60, "kind": "stopped", "machine": None, "text": ""})
    assert curve(tmp_path, Quantity.CPU, "pi").lines[0].t == [0, 30, 60]


def test_a_device_is_followed_by_its_lines_of_progress(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_events(tmp_path, {"t": 60, "kind": "stopped", "machine": None, "text": ""})
    line = {"event": "progress", "target": 25.0}
    write_log(
        tmp_path,
        "pi",
        {"t": 1, "event": "session_opened"},
        line | {"t": 2, "fps": 20.0, "split": 3, "latency_p95_ms": 80, "dropped": 1},
        line | {"t": 4, "fps": 24.0, "split": 2.5, "latency_p95_ms": None, "dropped": 7},
    )
    fps = curve(tmp_path, Quantity.FPS, "pi")
    assert [(each.name, each.t, each.values) for each in fps.lines] == [
        ("measured", [2, 4], [20, 24]),
        ("target", [2, 4], [25, 25]),
    ]
    assert curve(tmp_path, Quantity.SPLIT, "pi").lines[0].values == [3, 2.5]
    assert curve(tmp_path, Quantity.LATENCY, "pi").lines[0].values == [0.08, None]
    assert curve(tmp_path, Quantity.FRAMES_DROPPED, "pi").lines[0].values == [3]


def test_a_device_that_logs_text_is_followed_by_its_scheduler(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_events(tmp_path, {"t": 50, "kind": "ended", "machine": "pi", "text": "", "exit_code": 0})
    decisions = [
        {"t": t, "fps": 20.0 + t, "target": 25.0, "split": 3, "reason": "settled"} for t in (1, 2)
    ]
    write_summary(tmp_path, "pi", {"duration_s": 45.0, "scheduler": decisions})
    fps = curve(tmp_path, Quantity.FPS, "pi").lines[0]
    # It ended at 50 s and its summary counts from 45 s before.
    assert (fps.t, fps.values) == ([6, 7], [21, 22])
    assert curve(tmp_path, Quantity.SPLIT, "pi").lines[0].values == [3, 3]


# Axes


@pytest.mark.parametrize(
    ("values", "numbers"),
    [
        ((0.0, 30.5), [0, 10, 20, 30, 40]),
        ((11.0,), [0, 5, 10, 15]),
        ((0.15,), [0, 0.05, 0.1, 0.15, 0.2]),
        ((0.0,), [0, 0.25, 0.5, 0.75, 1]),
    ],
)
def test_an_axis_begins_at_zero_and_has_few_round_numbers(
    values: tuple[float, ...], numbers: list[float]
) -> None:
    axis = axis_for([curve_of(Quantity.FPS, measured(*values))])
    assert axis.numbers == pytest.approx(numbers)


@given(st.floats(1e-6, 1e12))
def test_whatever_was_measured_is_on_its_axis(peak: float) -> None:
    for quantity in Quantity:
        axis = axis_for([curve_of(quantity, measured(0.0, peak))])
        assert axis.top * axis.factor > peak
        assert len(axis.numbers) <= 6


def test_a_split_has_whole_numbers() -> None:
    assert axis_for([curve_of(Quantity.SPLIT, measured(1.5, 2.5))]).numbers == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("peak", "unit"), [(2e9, "Gbit/s"), (4e6, "Mbit/s"), (30e3, "kbit/s"), (0.0, "kbit/s")]
)
def test_an_axis_takes_the_unit_that_fits(peak: float, unit: str) -> None:
    assert axis_for([curve_of(Quantity.LINK_USE, measured(peak))]).unit == unit


def test_a_limit_is_on_the_axis_unless_it_is_far_above() -> None:
    near = axis_for([curve_of(Quantity.CPU, measured(0.2), held("limit", 0.5))])
    far = axis_for([curve_of(Quantity.CPU, measured(0.2), held("limit", 4.0))])
    assert (near.top >= 0.5, far.top < 0.5) == (True, True)


@pytest.mark.parametrize(
    ("until_s", "words"),
    [
        (40.0, ["0 s", "10 s", "20 s", "30 s", "40 s"]),
        (90.4, ["0 s", "20 s", "40 s", "60 s", "80 s"]),
        (240.0, ["0 min", "1 min", "2 min", "3 min", "4 min"]),
        (1.0, ["0 s", "1 s"]),
    ],
)
def test_the_time_is_said_in_seconds_or_in_minutes(until_s: float, words: list[str]) -> None:
    assert [each for _, each in time_numbers(until_s)] == words


@given(st.floats(1.0, 1e7))
def test_the_time_has_few_numbers(until_s: float) -> None:
    numbers = time_numbers(until_s)
    assert 1 <= len(numbers) <= 7
    assert numbers[-1][0] <= until_s


def test_a_target_is_on_the_axis_however_far_above() -> None:
    assert axis_for([curve_of(Quantity.FPS, measured(2.0), held("target", 28.0))]).top >= 28


# Labels of marks


def marks(*at: float, text: str = "link wifi rate 4Mbit") -> list[Mark]:
    return [Mark(number=index, t=t, text=text) for index, t in enumerate(at, start=1)]


def test_labels_stand_side_by_side_where_there_is_room() -> None:
    labels = place_labels(marks(20, 60), until_s=90)
    assert [(each.lane, each.text) for each in labels] == [(0, "wifi rate 4Mbit")] * 2


def test_labels_that_are_close_stand_in_lines_of_their_own_and_then_are_numbers() -> None:
    labels = place_labels(marks(20, 21, 22, 23), until_s=90)
    assert [each.lane for each in labels] == [0, 1, 2, 3]
    assert [bool(each.text) for each in labels] == [True, True, True, False]


def test_a_label_at_the_end_stands_left_of_its_mark() -> None:
    assert [each.is_left for each in place_labels(marks(30, 88), until_s=90)] == [False, True]


def test_a_long_label_is_cut() -> None:
    (label,) = place_labels(marks(10, text="link wifi to cloud rate 4Mbit delay 80ms"), until_s=90)
    assert label.text == "wifi to cloud rate 4Mbit dela…"


@given(st.lists(st.floats(0, 90), max_size=40).map(sorted))
def test_every_mark_has_a_label(at: list[float]) -> None:
    assert [each.mark.t for each in place_labels(marks(*at), until_s=90)] == at


# Lines


def test_a_short_line_is_drawn_as_it_is() -> None:
    line = measured(1, None, 3)
    assert thinned(line) is line


def test_a_long_line_keeps_its_peaks() -> None:
    values: list[float | None] = [1.0] * 100_000
    values[33_333], values[66_666], values[70_000] = 9.0, 0.0, None
    thin = thinned(measured(*values))
    assert len(thin.t) <= MAX_POINTS
    assert (33_333, 9.0) in zip(thin.t, thin.values, strict=True)
    assert (66_666, 0.0) in zip(thin.t, thin.values, strict=True)
    assert list(thin.t) == sorted(thin.t)


def test_a_long_gap_stays_one_in_a_thin_line() -> None:
    thin = thinned(measured(*[1.0] * 5000, *[None] * 5000, *[2.0] * 5000))
    assert None in thin.values


# Words


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (rate(20e6), "20 Mbit/s"),
        (rate(1.5e9), "1.5 Gbit/s"),
        (rate(500), "500 bit/s"),
        (rate(0), "0 bit/s"),
        (size(512 * 2**20), "512 MiB"),
        (amount(1_536_000), "1.54 MB"),
        (seconds(0.005), "5 ms"),
        (seconds(0), "0 ms"),
        (seconds(30), "30 s"),
        (seconds(90.2), "1 min 30 s"),
        (seconds(120), "2 min"),
        (share(0.005), "0.5 %"),
        (plain(0.02586), "0.0259"),
        (plain(-0.00000123), "-0.000001"),
        (plain(99.96), "100"),
        (plain(1142), "1\u202f142"),
        (plain(25.0), "25"),
    ],
)
def test_numbers_are_said_with_the_unit_that_fits(said: str, words: str) -> None:
    assert said == words

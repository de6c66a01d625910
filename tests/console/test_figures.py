"""Figures as short as people say them."""

import pytest

from offload.console.figures import (
    MAX_BAR_CELLS,
    REASONS,
    clock,
    duration,
    memory,
    rate,
    reason_in_words,
    size,
    split_bar,
    target_in_figures,
    verdict,
)
from offload.console.text import ASCII_SIGNS, UNICODE_SIGNS, Span, Tone
from scheduler import Reason


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_of_the_scheduler_has_words(reason: Reason) -> None:
    assert "_" not in REASONS[reason]


def test_a_reason_that_is_not_known_is_shown_as_it_is() -> None:
    assert reason_in_words("held_by_hand") == "held by hand"


@pytest.mark.parametrize(
    ("bytes_per_s", "shown"),
    [
        (0.0, "0 kbit/s"),
        (90e3, "720 kbit/s"),
        (124_950.0, "1.0 Mbit/s"),
        (2.275e6, "18.2 Mbit/s"),
        (12.5e6, "100 Mbit/s"),
        (150e6, "1.2 Gbit/s"),
    ],
)
def test_a_rate_is_in_bits_with_few_digits(bytes_per_s: float, shown: str) -> None:
    assert rate(bytes_per_s) == shown


@pytest.mark.parametrize(
    ("byte_count", "shown"),
    [(0, "0 B"), (999, "999 B"), (27_512, "27.5 kB"), (999_600, "1.0 MB"), (4.12e11, "412 GB")],
)
def test_a_size_has_few_digits(byte_count: float, shown: str) -> None:
    assert size(byte_count) == shown


@pytest.mark.parametrize(
    ("byte_count", "shown"),
    [
        (0, "0 KiB"),
        (65_548, "64 KiB"),
        (2**20, "1.0 MiB"),
        (2**30, "1.0 GiB"),
        (7 * 2**40, "7168 GiB"),
    ],
)
def test_memory_is_in_the_units_of_its_limit(byte_count: float, shown: str) -> None:
    assert memory(byte_count) == shown


@pytest.mark.parametrize(
    ("taken_s", "shown"), [(0.084, "84 ms"), (0.9996, "1.0 s"), (12.34, "12.3 s"), (240.0, "240 s")]
)
def test_a_latency_is_in_milliseconds_or_seconds(taken_s: float, shown: str) -> None:
    assert duration(taken_s) == shown


@pytest.mark.parametrize(("left_s", "shown"), [(5.4, "0:05"), (65.0, "1:05"), (7205.0, "2:00:05")])
def test_time_left_is_in_minutes_and_hours(left_s: float, shown: str) -> None:
    assert clock(left_s) == shown


@pytest.mark.parametrize(("target", "shown"), [(25.0, "25"), (12.5, "12.5"), (100 / 6, "16.67")])
def test_a_target_has_no_digits_that_say_nothing(target: float, shown: str) -> None:
    assert target_in_figures(target) == shown


@pytest.mark.parametrize(
    ("measured", "target", "reason", "sign"),
    [
        (25.1, 25.0, "settled", Span(text="✓", tone=Tone.GOOD)),
        (23.8, 25.0, "settled", Span(text="✓", tone=Tone.GOOD)),
        (20.0, 25.0, "infeasible_link", Span(text="!", tone=Tone.WARNING)),
        (12.0, 25.0, "stalled", Span(text="✗", tone=Tone.BAD)),
        (0.0, 25.0, "cold_start", Span(text=" ")),
        (25.0, None, None, Span(text=" ")),
    ],
)
def test_a_target_is_met_or_missed_in_a_sign_and_a_colour(
    measured: float, target: float | None, reason: str | None, sign: Span
) -> None:
    assert verdict(measured, target, reason, UNICODE_SIGNS) == sign


@pytest.mark.parametrize(
    ("split", "tasks", "shown"),
    [
        (3.0, 7, "●●●○○○○ 3/7  "),
        (3.4, 7, "●●●◐○○○ 3.4/7"),
        (2.97, 7, "●●●○○○○ 3.0/7"),
        (7.0, 7, "●●●●●●● 7/7  "),
        (1.0, 1, "● 1/1  "),
        (0.0, 3, "○○○ 0/3  "),
        (13.0, 30, "●●●●●◐○○○○○○ 13/30  "),
        (15.0, 30, "●●●●●●○○○○○○ 15/30  "),
        (None, 7, "—/7"),
    ],
)
def test_a_bar_has_a_sign_for_each_task_on_the_device_in_the_cloud_or_on_both(
    split: float | None, tasks: int, shown: str
) -> None:
    assert split_bar(split, tasks, UNICODE_SIGNS) == shown


def test_a_bar_is_as_wide_as_many_tasks_permit() -> None:
    assert len(split_bar(500.0, 1000, ASCII_SIGNS).split()[0]) == MAX_BAR_CELLS
    assert split_bar(None, 0, ASCII_SIGNS) == "-/0"
    assert split_bar(3.4, 7, ASCII_SIGNS) == "###+... 3.4/7"

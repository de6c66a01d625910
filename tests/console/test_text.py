"""How wide text is, what hostile names become, and what a terminal can show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.console.text import (
    ASCII_SIGNS,
    UNICODE_SIGNS,
    Span,
    Tone,
    cells,
    cut,
    cut_line,
    line_cells,
    look_of,
    painted,
    printable,
)
from tests.console.samples import NO_COLOUR, UNICODE


@given(st.text())
def test_nothing_of_a_name_can_steer_a_terminal(name: str) -> None:
    assert printable(name, "utf-8").isprintable()


@given(st.text())
def test_a_name_can_be_written_in_the_encoding_of_the_terminal(name: str) -> None:
    assert printable(name, "latin-1").encode("latin-1").decode("latin-1").isprintable()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("pi-3", "pi-3"),
        ("\x1b[2J\x07pi\r\n", "?[2J?pi??"),
        ("evil\N{RIGHT-TO-LEFT OVERRIDE}txt", "evil?txt"),
        ("e\N{COMBINING ACUTE ACCENT}", "\N{LATIN SMALL LETTER E WITH ACUTE}"),
        ("a" + "\N{COMBINING ENCLOSING CIRCLE}" * 40, "a"),
        ("\udcff", "?"),
    ],
)
def test_what_cannot_be_shown_becomes_a_question_mark_and_stacked_marks_go(
    name: str, shown: str
) -> None:
    assert printable(name, "utf-8") == shown


def test_wide_letters_take_two_cells() -> None:
    assert cells("東京 cam") == 8


@given(st.text(), st.integers(min_value=0, max_value=40))
def test_a_cut_text_is_never_wider_than_it_may_be(text: str, width: int) -> None:
    shown = cut(printable(text, "utf-8"), width, UNICODE_SIGNS)
    assert cells(shown) <= width


def test_a_cut_text_says_so_and_one_that_fits_is_left_alone() -> None:
    assert cut("porch", 5, UNICODE_SIGNS) == "porch"
    assert cut("porch", 4, UNICODE_SIGNS) == "por…"
    assert cut("porch", 4, ASCII_SIGNS) == "por~"


def test_a_line_is_cut_where_it_is_too_wide_whatever_its_spans() -> None:
    line = (Span(text="12.0 "), Span(text="FPS", tone=Tone.GOOD), Span(text=" and more"))
    assert line_cells(cut_line(line, 7, UNICODE_SIGNS)) == 7
    assert cut_line(line, 7, UNICODE_SIGNS)[1] == Span(text="F…", tone=Tone.GOOD)
    assert cut_line(line, 17, UNICODE_SIGNS) == line


def test_tones_are_colours_that_end_with_their_text_unless_no_color_is_set() -> None:
    line = (Span(text="a "), Span(text="b", tone=Tone.GOOD))
    assert painted(line, UNICODE) == "a \x1b[32mb\x1b[0m"
    assert painted(line, NO_COLOUR) == "a b"


def test_an_empty_no_color_asks_for_nothing() -> None:
    assert look_of("utf-8", {"NO_COLOR": ""}).colours


@pytest.mark.parametrize(
    ("encoding", "terminal", "signs"),
    [
        ("utf-8", "xterm-256color", UNICODE_SIGNS),
        ("ascii", "xterm-256color", ASCII_SIGNS),
        ("latin-1", "xterm", ASCII_SIGNS),
        ("utf-8", "linux", ASCII_SIGNS),
    ],
)
def test_signs_are_those_that_encoding_and_font_have(
    encoding: str, terminal: str, signs: object
) -> None:
    assert look_of(encoding, {"TERM": terminal}).signs is signs


def test_every_sign_takes_one_cell() -> None:
    for signs in (UNICODE_SIGNS, ASCII_SIGNS):
        assert {cells(getattr(signs, name)) for name in type(signs).__slots__} == {1}

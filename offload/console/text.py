"""Lines of text for a terminal: how wide they are, what hostile names become, how they look. Pure.

look = look_of("utf-8", os.environ)
line = (Span(text="12.0 FPS", tone=Tone.GOOD), Span(text=printable(name, look.encoding)))
painted(cut_line(line, 40, look.signs), look)
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, TypeAlias


class Tone(Enum):
    """What a colour means; the words beside it always say so too."""

    PLAIN = ""
    QUIET = "2"
    GOOD = "32"
    WARNING = "33"
    BAD = "31"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Some text of one tone, without line breaks or anything else that steers a terminal."""

    text: str
    tone: Tone = Tone.PLAIN


Line: TypeAlias = tuple[Span, ...]

# The first cell of a line stays empty: it is the cursor's, see `offload.console.live`.
MARGIN: Final = Span(text=" ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """The signs that stand for something; each takes one cell."""

    on_device: str
    on_both: str
    in_cloud: str
    met: str
    missed: str
    far_off: str
    unknown: str
    cut: str


UNICODE_SIGNS: Final = Signs(
    on_device="●",
    on_both="◐",
    in_cloud="○",
    met="✓",
    missed="!",
    far_off="✗",
    unknown="—",
    cut="…",
)
ASCII_SIGNS: Final = Signs(
    on_device="#",
    on_both="+",
    in_cloud=".",
    met="=",
    missed="!",
    far_off="x",
    unknown="-",
    cut="~",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a terminal can show, and what its user wants to see.

    Attributes:
        colours: Whether tones become colours.
        encoding: The output's; what it cannot encode becomes a question mark.
        signs: Those that its font has.
    """

    colours: bool
    encoding: str
    signs: Signs


def look_of(encoding: str, environment: Mapping[str, str]) -> Look:
    """Find out how lines are to look on a terminal.

    Args:
        encoding: That of the stream that writes to it.
        environment: ``NO_COLOR``, if not empty, asks for no colours (https://no-color.org);
            ``TERM`` says which terminal it is.
    """
    try:
        "".join(getattr(UNICODE_SIGNS, name) for name in Signs.__slots__).encode(encoding)
        # The fonts of Linux's own screens have 256 or 512 signs, and not all of these.
        has_all = environment.get("TERM") != "linux"
    except UnicodeEncodeError:
        has_all = False
    return Look(
        colours=not environment.get("NO_COLOR"),
        encoding=encoding,
        signs=UNICODE_SIGNS if has_all else ASCII_SIGNS,
    )


def printable(text: str, encoding: str) -> str:
    """Return what can be shown of a name: no control characters, and nothing without a width.

    Marks above and below letters go too, unless they make one letter with what is before them:
    terminals do not agree on how wide they are.
    """
    if text.isascii() and text.isprintable():
        return text
    shown = "".join(
        each if each.isprintable() else "?"
        for each in unicodedata.normalize("NFC", text)
        if unicodedata.category(each) not in ("Mn", "Me")
    )
    return shown.encode(encoding, "replace").decode(encoding)


def cells(text: str) -> int:
    """Return how many cells of a terminal a printable text takes."""
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in text)


def line_cells(line: Line) -> int:
    """Return how many cells of a terminal a line takes."""
    return sum(cells(each.text) for each in line)


def cut(text: str, width: int, signs: Signs) -> str:
    """Return the text if it fits into ``width`` cells, else its beginning and a sign for that."""
    if cells(text) <= width:
        return text
    taken = ""
    for each in text:
        if cells(taken + each) > width - 1:
            break
        taken += each
    return taken + signs.cut if width > 0 else ""


def cut_line(line: Line, width: int, signs: Signs) -> Line:
    """Return the line, cut to ``width`` cells if it does not fit."""
    if line_cells(line) <= width:
        return line
    taken: list[Span] = []
    for each in line:
        taken.append(replace(each, text=cut(each.text, width, signs)))
        width -= cells(each.text)
        if width < 0:
            break
    return tuple(taken)


def painted(line: Line, look: Look) -> str:
    """Return the line as what is written to a terminal."""
    return "".join(_painted(each, look) for each in line)


def _painted(span: Span, look: Look) -> str:
    if not look.colours or span.tone is Tone.PLAIN or not span.text:
        return span.text
    return f"\x1b[{span.tone.value}m{span.text}\x1b[0m"

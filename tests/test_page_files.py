"""The web page's files: complete, from nowhere else, and without what a strict browser refuses."""

import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from offload.scheduling.terms import Reason

FOLDER: Final = Path(__file__).parent.parent / "offload" / "dashboard" / "static"
PAGES: Final = ("index.html", "sign-in.html")

# Version 1.6.32 as it is published; whoever takes another one changes this with it.
UPLOT: Final = {
    "uplot.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uplot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}

MODULES: Final = sorted(each.name for each in FOLDER.glob("*.js") if each.name not in UPLOT)
MAX_LINES: Final = 250

# What would read text as markup or as a program.
READS_MARKUP: Final = re.compile(
    r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function"
)
EMOJI: Final = re.compile("[\u2600-\u27bf\U0001f000-\U0001faff]")


class Page(HTMLParser):
    """Notes what a page refers to, and what a policy without inline code would refuse."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.refused: list[str] = []
        self.feed(read(name))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in {"link", "script", "img"}:
            self.references.append(given.get("href") or given.get("src") or "")
        if tag == "style" or (tag == "script" and "src" not in given):
            self.refused.append(tag)
        self.refused += [name for name in given if name == "style" or name.startswith("on")]


def read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def imports_of(module: str) -> set[str]:
    return set(re.findall(r'^(?:import|export) .*?from "\./([^"]+)";', read(module), re.M | re.S))


@pytest.mark.parametrize("page", PAGES)
def test_pages_have_no_code_or_style_in_them(page: str) -> None:
    assert Page(page).refused == []


def test_every_file_is_used_and_every_used_file_is_there() -> None:
    used = {name for page in PAGES for name in Page(page).references}
    assert all(name.startswith("/static/") for name in used)
    found = {name.removeprefix("/static/") for name in used}
    waiting = [name for name in found if name in MODULES]
    while waiting:
        new = imports_of(waiting.pop()) - found
        found |= new
        waiting += new
    there = {each.name for each in FOLDER.iterdir()} - {*PAGES, "uplot.LICENSE.txt"}
    assert found == there


@pytest.mark.parametrize("name", ["page.css", "list.css", "device.css", *MODULES, *PAGES])
def test_nothing_comes_from_another_server(name: str) -> None:
    addresses = set(re.findall(r"https?://[^\s\"')]+", read(name)))
    # The name of a kind of markup, which nobody fetches.
    assert addresses <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in read(name)


@pytest.mark.parametrize("module", MODULES)
def test_modules_take_text_as_text_and_are_short(module: str) -> None:
    text = read(module)
    assert READS_MARKUP.search(text) is None
    assert EMOJI.search(text) is None
    assert len(text.splitlines()) <= MAX_LINES
    assert text.startswith("/**")


def test_every_reason_of_the_scheduler_has_its_sentence() -> None:
    table = read("words.js").split("const REASONS = {", 1)[1].split("\n};", 1)[0]
    named = re.findall(r"^  (\w+): \[", table, re.M)
    assert named == [str(each) for each in Reason]


@pytest.mark.parametrize("name", UPLOT)
def test_uplot_is_as_it_was_published_with_its_licence(name: str) -> None:
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == UPLOT[name]
    assert read("uplot.LICENSE.txt").startswith("The MIT License")

"""The page of a report: what is on it, and how a browser shows it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Final

import pytest

from offload.emulation.report import make_report
from offload.emulation.report.findings import findings_of
from offload.emulation.report.page import page_of
from offload.emulation.report.run_folder import read_recording
from tests.emulation.chromium import PROGRAM, Chromium
from tests.emulation.run_folders import (
    PI,
    RECORDED,
    copy_of_recorded,
    experiment,
    write_events,
    write_experiment,
    write_links,
    write_log,
    write_machines,
)

needs_chromium: Final = pytest.mark.skipif(PROGRAM is None, reason="chromium is not installed")

# Elements that HTML knows to have no end.
VOID: Final = {"meta", "link", "br"}


class Page(HTMLParser):
    """Reads a page, and checks that what begins also ends."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        # Of SVG, a path or a rectangle ends in itself.
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.words += f" {data}"

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)

    def classes(self, name: str) -> int:
        return sum(name in (each.get("class") or "").split() for _, each in self.tags)


def page(folder: Path) -> Page:
    return Page(page_of(findings_of(read_recording(folder))))


def test_a_page_has_a_chart_for_every_curve_that_is_not_zero_all_along() -> None:
    found = findings_of(read_recording(RECORDED))
    drawn = [each for each in found.curves if any(v for line in each.lines for v in line.known)]
    shown = page(RECORDED)
    assert shown.count("figure") == shown.count("svg") == len(drawn)


def test_every_chart_has_every_mark() -> None:
    found = findings_of(read_recording(RECORDED))
    shown = page(RECORDED)
    assert shown.classes("mark") == len(found.marks) * shown.count("figure") > 0
    assert all(each.text in shown.words for each in found.marks)


@pytest.mark.parametrize(("other_fps", "is_shared"), [(20.0, True), (300.0, False)])
def test_devices_share_an_axis_unless_it_would_press_one_flat(
    tmp_path: Path, other_fps: float, is_shared: bool
) -> None:
    plan = experiment()
    porch = replace(PI, name="porch")
    write_experiment(tmp_path, replace(plan, machines=(*plan.machines, porch)))
    write_events(tmp_path, {"t": 9, "kind": "stopped", "machine": None, "text": ""})
    for name, fps in (("pi", 35.0), ("porch", other_fps)):
        write_log(tmp_path, name, {"t": 5, "event": "progress", "fps": fps})
    first, second = page_of(findings_of(read_recording(tmp_path))).split("<figure")[1:]
    numbers = [re.findall(r'class="y"[^>]*>(\d+)<', each) for each in (first, second)]
    assert numbers[0] == ["0", "10", "20", "30", "40"]
    assert (numbers[0] == numbers[1]) is is_shared


def test_what_a_curve_is_held_against_is_named_beside_it() -> None:
    words = page(RECORDED).words
    assert re.search(r"target \d", words)
    assert re.search(r"limit 0\.\d", words)
    assert re.search(r"rate \d+ Mbit/s", words)


def test_a_page_needs_nothing_from_anywhere() -> None:
    text = page_of(findings_of(read_recording(RECORDED)))
    loaded = [
        value
        for _, each in Page(text).tags
        for name, value in each.items()
        if name in ("src", "href", "data", "srcset", "action")
    ]
    assert loaded == ["data:,"]
    assert re.findall(r"https?://|url\(|@import|fetch\(|XMLHttpRequest|WebSocket", text) == []
    assert "default-src 'none'" in text


def test_texts_of_an_experiment_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    attack = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;\"$title"
    plan = experiment()
    plan = replace(
        plan,
        name=attack,
        description=attack,
        machines=(*plan.machines, replace(PI, name=attack, kind=attack)),
        links=(replace(plan.links[0], name=attack, kind=attack),),
    )
    write_experiment(tmp_path, plan)
    rows = [(t, f'"{attack.replace(chr(34), 2 * chr(34))}"', 1, 0.4, 9) for t in (1, 2)]
    write_machines(tmp_path, rows)
    write_events(tmp_path, {"t": 1, "kind": "change", "machine": None, "text": f"at 1s: {attack}"})
    found = findings_of(read_recording(tmp_path))
    shown = Page(page_of(found))
    assert attack in shown.words
    assert shown.count("script") == 2
    assert shown.count("img") == 0
    charts = [each["aria-label"] or "" for name, each in shown.tags if name == "svg"]
    assert charts[0].startswith(attack)


def test_a_page_says_what_is_missing(tmp_path: Path) -> None:
    folder = copy_of_recorded(tmp_path)
    (folder / "links.csv").unlink()
    assert "links.csv is missing" in page(folder).words
    assert "missing" not in page(RECORDED).words.lower()


def test_a_page_warns_of_a_link_that_the_machine_was_too_slow_for(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_links(tmp_path, [(1, "wifi", "cloud", 0, 0, 0, 0), (2, "wifi", "cloud", 10, 0, 0, 7)])
    warned = page(tmp_path).words
    assert "This machine was too slow for some links" in warned
    assert "wifi to cloud: 7 packets never got to it" in warned
    assert "too slow for some links" not in page(RECORDED).words


def test_a_difference_is_marked_by_more_than_a_colour(tmp_path: Path) -> None:
    folder = copy_of_recorded(tmp_path)
    probes = (folder / "probes.json").read_text(encoding="utf-8")
    slower = re.sub(r'("achieved": \{\s*"rate_bit_s": )[\d.]+', r"\g<1>1000000.0", probes, count=1)
    (folder / "probes.json").write_text(slower, encoding="utf-8")
    shown = page(folder)
    assert "1 Mbit/s ▼" in shown.words
    assert shown.classes("off") == page(RECORDED).classes("off") + 1


def test_a_program_that_failed_says_how_it_ended(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_events(
        tmp_path,
        {"t": 1, "kind": "ended", "machine": "pi", "text": "", "exit_code": -9},
        {"t": 2, "kind": "ended", "machine": "cloud", "text": "", "exit_code": 2},
    )
    shown = page(tmp_path)
    assert "Killed (signal 9)" in shown.words
    assert shown.classes("off") == 2


def test_a_run_of_which_nothing_was_measured_has_a_page(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    shown = page(tmp_path)
    assert "One device, one cloud." in shown.words
    assert shown.count("figure") == 0


# In a browser


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    folder = copy_of_recorded(tmp_path)
    make_report(folder)
    with Chromium(tmp_path) as opened:
        opened.resize(1280, 900)
        opened.open((folder / "report.html").as_uri())
        yield opened


@needs_chromium
@pytest.mark.browser
def test_a_browser_shows_all_charts_and_asks_for_nothing_else(
    browser: Chromium, tmp_path: Path
) -> None:
    assert browser.requests == [(tmp_path / "run" / "report.html").as_uri()]
    assert browser.errors == []
    shown = browser.evaluate(
        "[...document.querySelectorAll('.plot path.measured, .plot path.lost')]"
        ".filter((path) => path.getBoundingClientRect().width > 100).length"
    )
    assert shown == page(RECORDED).count("figure")


@needs_chromium
@pytest.mark.browser
def test_a_browser_would_refuse_what_a_page_loads_from_elsewhere(browser: Chromium) -> None:
    browser.evaluate("fetch('data:,hello').catch(() => { document.title = 'refused'; })")
    browser.wait_until("document.title === 'refused'")


@needs_chromium
@pytest.mark.browser
def test_pointing_at_a_chart_reads_out_all_charts_at_that_time(browser: Chromium) -> None:
    x, y = browser.evaluate(
        "(() => { const plot = document.querySelector('.plot'); plot.scrollIntoView();"
        " const box = plot.getBoundingClientRect();"
        " return [box.left + box.width / 2, box.top + box.height / 2]; })()"
    )
    browser.point_at(x, y)
    browser.wait_until("document.querySelector('output').textContent !== ''")
    said = browser.evaluate("[...document.querySelectorAll('output')].map((e) => e.textContent)")
    half_s = round(findings_of(read_recording(RECORDED)).ran_s / 2)
    assert all(re.match(rf"({half_s - 1}|{half_s}|{half_s + 1}) s: ", each) for each in said), said
    assert "target" in said[0]
    browser.point_at(0, 0)
    browser.wait_until("document.querySelector('output').textContent === ''")


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize(("scheme", "is_dark"), [("light", False), ("dark", True)])
def test_the_page_is_light_or_dark_as_its_reader_prefers(
    browser: Chromium, scheme: str, is_dark: bool
) -> None:
    browser.prefer(scheme)
    red, *_ = re.findall(
        r"\d+", browser.evaluate("getComputedStyle(document.body).backgroundColor")
    )
    assert (int(red) < 128) is is_dark


@needs_chromium
@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768, 1280])
def test_the_page_is_no_wider_than_its_window(browser: Chromium, width: int) -> None:
    browser.resize(width, 800)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    # Nothing of a label is cut off at the right, either.
    over = browser.evaluate(
        "[...document.querySelectorAll('.mark p, .name, .x')]"
        f".filter((each) => each.getBoundingClientRect().right > {width}).length"
    )
    assert over == 0

"""A browser for each module of tests, and a page of it for each test."""

import shutil
from collections.abc import Iterator
from typing import Any, Final

import pytest

# As root it needs to be without its sandbox; and nothing of its own on the network.
_OPTIONS: Final = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


# Of a module only: while it runs, no other test of this process can have an event loop.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Run Debian's Chromium, with a new empty profile."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=list(_OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any) -> Iterator[Any]:
    """Open a page with cookies of its own; at the end it must have complained of nothing."""
    from tests.browser.browsing import Visit

    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    visit = Visit(context.new_page())
    yield visit
    context.close()
    assert visit.problems == []

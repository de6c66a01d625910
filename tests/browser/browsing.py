"""The web page in a headless Chromium, beside real servers and devices.

    with page_server(tmp_path) as server:
        visit.sign_in(server.url, server.operator)
        visit.sees("h1", "Devices")

Chromium is Debian's, driven by Playwright. Every wait has a bound.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import pytest

from offload.auth import Token, TokenRole, new_token
from tests.integration.programs import (
    ROOT,
    CloudServer,
    Program,
    client,
    cloud_server,
    started,
)

pytest.importorskip("playwright.sync_api", reason="playwright is missing: ./run setup browser")
pytest.importorskip("axe_playwright_python", reason="axe is missing: ./run setup browser")
pytest.importorskip("uvicorn", reason="uvicorn is missing: ./run setup dashboard")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, expect

# A busy machine takes seconds for what an idle one does at once. This only ends a test that has
# failed already.
WAIT_MS: Final = 30_000.0

# Of axe-core's four levels the upper two.
SERIOUS: Final = {"serious", "critical"}

# A refusal is the server's answer to what a test does; browsers call it an error.
_REFUSED: Final = re.compile(r"the server responded with a status of (400|401|403|404|409|422)\b")
_NO_SERVER: Final = "net::ERR_"


class Visit:
    """One visitor's browser page, and what it complained of.

    Attributes:
        page: Playwright's.
        problems: Errors of scripts, and what the browser refused to load or to do.
        may_lose_the_server: Whether a server that cannot be reached is no problem.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.may_lose_the_server = False
        self.problems: list[str] = []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note)

    def sign_in(self, url: str, token: Token) -> None:
        """Go to the page and come in with a token."""
        self.page.goto(url)
        self.page.get_by_label("Token").fill(token.line())
        self.page.get_by_role("button", name="Sign in").click()
        self.sees("h1", "Devices")

    def open_device(self, stream: str) -> None:
        """Go from the list to a device, and wait until it is drawn."""
        self.page.get_by_role("link", name=stream, exact=True).click()
        self.sees("h1", stream)
        self.first(".plot canvas").wait_for()

    def leave(self) -> None:
        """Go away from the page, before its server ends."""
        self.page.goto("about:blank")

    def sees(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Wait until the first such element has a text in it."""
        expect(self.first(selector)).to_contain_text(text, timeout=WAIT_MS)

    def sees_no(self, selector: str, text: str | re.Pattern[str]) -> None:
        """Wait until the first such element has no such text in it."""
        expect(self.first(selector)).not_to_contain_text(text, timeout=WAIT_MS)

    def has_value(self, field: Locator, value: str) -> None:
        """Wait until a field has a value."""
        expect(field).to_have_value(value, timeout=WAIT_MS)

    def counts(self, selector: str, number: int) -> None:
        """Wait until there are so many such elements."""
        expect(self.page.locator(selector)).to_have_count(number, timeout=WAIT_MS)

    def first(self, selector: str) -> Locator:
        """Return the first such element."""
        return self.page.locator(selector).first

    def look_like(self, scheme: Literal["light", "dark"], width: int) -> None:
        """Have the user prefer a scheme, on a screen of so many pixels."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": 800})

    def has_no_faults(self) -> None:
        """Check that nothing keeps people from using what is shown, nor from seeing all of it."""
        found: list[dict[str, Any]] = Axe().run(self.page).response["violations"]
        serious = [f"{each['id']}: {each['help']}" for each in found if each["impact"] in SERIOUS]
        assert serious == []
        width, screen = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= screen

    def _note(self, message: Any) -> None:
        is_expected = _REFUSED.search(message.text) or (
            self.may_lose_the_server and _NO_SERVER in message.text
        )
        if message.type == "error" and not is_expected:
            self.problems.append(message.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageServer:
    """A server with the page, and tokens for it."""

    program: CloudServer
    url: str
    operator: Token
    viewer: Token
    device: Token
    device_options: tuple[str, ...]


@contextmanager
def page_server(
    folder: Path, *arguments: str, port: int = 0, page: str = "0"
) -> Iterator[PageServer]:
    """Run a server with tokens and the page while the block lasts."""
    tokens = {
        "boss": new_token("boss", role=TokenRole.OPERATOR),
        "guest": new_token("guest", role=TokenRole.VIEWER),
        "pi": new_token("pi"),
    }
    write_tokens(folder / "tokens", *tokens.values())
    write_tokens(folder / "pi.token", tokens["pi"])
    options = ("--token-file", str(folder / "tokens"), "--dashboard", page, *arguments)
    with cloud_server(folder, *options, port=port) as server:
        yield PageServer(
            program=server,
            url=page_url(server),
            operator=tokens["boss"],
            viewer=tokens["guest"],
            device=tokens["pi"],
            device_options=(*server.address, "--token-file", str(folder / "pi.token")),
        )


@contextmanager
def device(folder: Path, server: PageServer, *arguments: str) -> Iterator[Program]:
    """Run a device that tracks the synthetic ball while the block lasts; wait for its session."""
    with client(folder, *arguments, *server.device_options) as program:
        program.wait_for_line("session_opened")
        yield program


@contextmanager
def trace_viewer(trace: Path) -> Iterator[str]:
    """Show a recorded run while the block lasts; yield where."""
    arguments = ("offload.dashboard", str(trace), "--port", "0")
    with started(Path("-m"), ROOT, *arguments) as program:
        yield program.wait_for_line("http://").rsplit(maxsplit=1)[1]


def page_url(server: Program) -> str:
    """Return where a server says that its page is."""
    return server.wait_for_line("dashboard_served").rsplit("url=", 1)[1].strip()


def write_tokens(path: Path, *tokens: Token) -> None:
    """Write a token file that nobody else may read."""
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="ascii")
    path.chmod(0o600)

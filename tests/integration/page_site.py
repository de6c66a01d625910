"""A server with a page, and the tokens that its tests know."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.auth import Token, TokenRole
from tests.integration.programs import CloudServer, cloud_server
from tests.integration.visitor import Visitor
from tests.session_pair import OPERATOR, TOKEN

VIEWER: Final = Token(name="guest", secret=b"who-looks-and-changes-nothing", role=TokenRole.VIEWER)
OTHER: Final = Token(name="garden", secret=b"a-device-of-somebody-elses")


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server with a page."""

    server: CloudServer
    tokens: Path
    port: int

    def visitor(self, token: Token | None = None) -> Visitor:
        visitor = Visitor(self.port)
        if token is not None:
            answered = visitor.sign_in(token.line())
            assert (answered.status, answered.headers["location"]) == (303, "/"), answered
        return visitor


def write_tokens(path: Path, *tokens: Token) -> None:
    path.touch(mode=0o600)
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="ascii")


def page_port(server: CloudServer) -> int:
    return int(server.wait_for_line("dashboard_served").rstrip("/\n").rpartition(":")[2])


@contextmanager
def site_in(folder: Path, *arguments: str) -> Iterator[Site]:
    tokens = folder / "tokens"
    write_tokens(tokens, TOKEN, OPERATOR, VIEWER, OTHER)
    options = ("--token-file", str(tokens), "--dashboard", "0")
    with cloud_server(folder, *options, *arguments) as server:
        yield Site(server=server, tokens=tokens, port=page_port(server))

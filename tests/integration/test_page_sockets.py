"""The page's connections: which are kept, and what those leave behind that end."""

import asyncio
import gc
import http.client
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from offload.auth import ServerTokens
from offload.cloud.access import Access
from offload.dashboard import serving
from offload.dashboard.app import Dashboard
from offload.dashboard.doors import Doors, OpenDoors
from offload.dashboard.live import LiveSource
from offload.dashboard.serving import PageServer
from offload.dashboard.signing_in import TokenDoors
from offload.messages import Change, StreamSteering
from offload.telemetry.history import History
from offload.tls import page_context
from offload.transport import listening_sockets
from tests.certificates import make_authority, make_signed
from tests.session_pair import OPERATOR

pytestmark = pytest.mark.integration

COOKIE: Final = "here"
LONG_S: Final = 20.0


class NoDevices:
    """A server to which nobody has come."""

    def owner_of(self, stream: str) -> str | None:  # noqa: ARG002  # it knows none
        return None

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:  # noqa: ARG002
        raise AssertionError("there is nothing to steer")

    def look_at(self, stream: str) -> tuple[int, object] | None:  # noqa: ARG002  # it has none
        return None


def serve(
    behave: Callable[[int, PageServer], Awaitable[None]],
    *,
    doors: Doors | None = None,
    tls: ssl.SSLContext | None = None,
    static: Path | None = None,
) -> None:
    """Serve a page while ``behave`` does something with its port."""

    async def whole() -> None:
        source = LiveSource(NoDevices(), title="none", history=History(), results=None)
        dashboard = Dashboard(
            source, doors or OpenDoors(), cookie=COOKIE, is_loopback=True, static=static
        )
        sockets = listening_sockets("127.0.0.1", 0)
        port: int = sockets[0].getsockname()[1]
        server = PageServer(dashboard, sockets, tls=tls)
        server.start()
        try:
            await behave(port, server)
        finally:
            await server.close()

    asyncio.run(whole())


def test_the_memory_for_tls_is_free_when_a_handshake_has_failed(tmp_path: Path) -> None:
    def speak_no_tls(port: int) -> None:
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port), LONG_S) as peer:
                peer.sendall(b"GET / HTTP/1.1\r\n\r\n")
                while peer.recv(1024):
                    pass

    async def behave(port: int, server: PageServer) -> None:
        await asyncio.to_thread(speak_no_tls, port)
        # The one that is left accepts.
        while len(server._server._tasks) > 1:
            await asyncio.sleep(0.01)
        left = [each for each in gc.get_objects() if isinstance(each, SSLProtocol)]
        assert len(left) == 0

    own = make_signed(tmp_path, "server", make_authority(tmp_path, "ca"))
    gc.collect()
    gc.disable()
    try:
        serve(behave, tls=page_context(own.certificate, own.key))
    finally:
        gc.enable()


def answers(port: int, path: str, *, cookie: str = "", host: str = "localhost") -> int:
    """Return how many of three requests are answered on one connection."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nCookie: {COOKIE}={cookie}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), LONG_S) as peer:
        for count in range(3):
            response = http.client.HTTPResponse(peer)
            try:
                peer.sendall(request.encode())
                response.begin()
            except ConnectionError:
                return count
            response.read()
    return 3


@pytest.mark.parametrize(
    ("path", "host"),
    [
        *((path, "localhost") for path in ("/", "/sign-in", "/static/page.css", "/api/session")),
        *((path, "localhost") for path in ("/none", "/sign-in?refused")),
        ("/", "elsewhere.example"),
    ],
)
def test_the_connection_of_who_is_not_in_ends_with_its_answer(path: str, host: str) -> None:
    async def behave(port: int, _: PageServer) -> None:
        assert await asyncio.to_thread(answers, port, path, cookie="none", host=host) == 1

    serve(behave, doors=known_doors())


@pytest.mark.parametrize("path", ["/", "/static/page.css", "/api/session", "/none"])
def test_the_connection_of_who_is_in_is_kept(path: str) -> None:
    doors = known_doors()
    cookie = doors.sign_in(OPERATOR.line(), address="127.0.0.1")

    async def behave(port: int, _: PageServer) -> None:
        assert await asyncio.to_thread(answers, port, path, cookie=cookie) == 3

    serve(behave, doors=doors)


def known_doors() -> TokenDoors:
    tokens = ServerTokens(tokens={OPERATOR.name: OPERATOR}, path=None, created=False)
    return TokenDoors(Access(tokens))


def test_a_last_answer_that_nobody_reads_keeps_no_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More than the buffers between two programs hold.
    (tmp_path / "large.js").write_bytes(bytes(20_000_000))
    monkeypatch.setattr(serving, "STILL_S", 1.0)

    async def behave(port: int, server: PageServer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.sendall(b"GET /static/large.js HTTP/1.1\r\nHost: localhost\r\n\r\n")
            connections = server._server.server_state.connections
            async with asyncio.timeout(LONG_S):
                while not connections:
                    await asyncio.sleep(0.01)
                while connections:
                    await asyncio.sleep(0.01)

    serve(behave, doors=known_doors(), static=tmp_path)

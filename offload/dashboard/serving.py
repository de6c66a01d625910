"""The page on its sockets, in the event loop of whoever serves it.

server = PageServer(dashboard, sockets, tls=None)
server.start()
await server.close()
"""

import asyncio
import logging
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from offload.dashboard.app import Dashboard
from offload.transport import Listener

# All visitors with all that a browser opens for one page; a connection takes some kilobytes.
MAX_CONNECTIONS: Final = 256

# A request comes at once, or not at all; so does the next one on a connection that stays.
REQUEST_S: Final = 10.0
KEEP_ALIVE_S: Final = 30

# What browsers send as headers is a kilobyte or two.
MAX_HEADER_BYTES: Final = 16 * 1024

# For answers under way once all watchers were told that this is the end.
CLOSE_S: Final = 1


class _Connection(H11Protocol):
    """A connection that has a bound: to how many there are, and how long it may say nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self.loop.call_later(REQUEST_S, self._check_began)

    def _check_began(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class _Server(uvicorn.Server):
    """One that leaves signals to the program."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class PageServer:
    """Serves the page until it is closed.

    Args:
        dashboard: The page.
        sockets: Where it listens; they are closed in the end.
        tls: Certificate and key; None for plain HTTP.
    """

    def __init__(
        self, dashboard: Dashboard, sockets: Sequence[Listener], *, tls: ssl.SSLContext | None
    ) -> None:
        """Prepare; nothing is accepted yet."""
        self._dashboard = dashboard
        self._sockets = list(sockets)
        config = uvicorn.Config(
            dashboard.application,
            http=_Connection,
            ws="none",
            lifespan="off",
            loop="none",
            interface="asgi3",
            # The program has set up its logs; an error in the page is one of its lines.
            log_config=None,
            log_level=logging.ERROR,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=CLOSE_S,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        config.load()
        config.ssl = tls
        self._server = _Server(config)
        self._serving: asyncio.Task[Any] | None = None

    def start(self) -> None:
        """Accept visitors from now on."""
        self._serving = asyncio.get_running_loop().create_task(
            self._server.serve(sockets=self._sockets)
        )

    async def wait(self) -> None:
        """Wait until it is closed."""
        assert self._serving is not None, "it has started"
        await self._serving

    async def close(self) -> None:
        """End all connections, and give everything back; within two seconds or so."""
        self._dashboard.stop_watching()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._dashboard.close()

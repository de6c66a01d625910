"""The page on its sockets, in the event loop of whoever serves it.

    server = PageServer(dashboard, sockets, tls=None)
    server.start()
    await server.close()

Connections are accepted here instead of by uvicorn, which accepts all there are: whoever asks for
nothing, or reads nothing, must not take files and memory that devices need.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from offload.dashboard.app import Dashboard
from offload.transport import Listener

# Twenty visitors with all that a browser opens for one page; the others wait in the backlog.
MAX_CONNECTIONS: Final = 128

# A request comes at once, or not at all; so does the next one on a connection that stays, and so is
# what was sent taken: some of it at least, and all of it where that is the end of the connection.
STILL_S: Final = 15.0

# What browsers send as headers is a kilobyte or two.
MAX_HEADER_BYTES: Final = 16 * 1024

# For TLS to begin.
TLS_HANDSHAKE_S: Final = 5.0

# When the process may open no more files.
ACCEPT_PAUSE_S: Final = 1.0

# For answers under way once all watchers were told that this is the end; and the last resort.
HANG_UP_S: Final = 0.5
CLOSE_S: Final = 2


class _Connection(H11Protocol):
    """A connection that must not stand still: neither without a request, nor unread."""

    def __init__(self, on_lost: Callable[[], None], **state: Any) -> None:
        super().__init__(**state)
        self._on_lost = on_lost
        self._before: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._checking = self.loop.call_later(STILL_S, self._check_moves)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._checking.cancel()
        self._on_lost()

    def _check_moves(self) -> None:
        cycle = self.cycle
        # All of a request's body counts as its end: a byte now and then is not enough.
        waits = cycle is None or cycle.response_complete or cycle.more_body
        # Of a last answer, by which the connection ends, some is not enough either.
        is_closing = self.transport.is_closing()
        unread_bytes = 0 if is_closing else self.transport.get_write_buffer_size()
        now = (cycle, waits, unread_bytes)
        if (is_closing or waits or unread_bytes) and now == self._before:
            self.transport.abort()
            return
        self._before = now
        self._checking = self.loop.call_later(STILL_S, self._check_moves)


class _Server(uvicorn.Server):
    """One that accepts by itself, and leaves signals to the program."""

    def __init__(
        self, config: uvicorn.Config, listeners: Sequence[Listener], tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(config)
        self._listeners = list(listeners)
        self._tls = tls
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: Any = None) -> None:  # noqa: ARG002  # it has its own
        self.servers = []
        for each in self._listeners:
            self._run(self._accept(each))
        self.started = True

    async def shutdown(self, sockets: Any = None) -> None:  # noqa: ARG002  # it has its own
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        asyncio.get_running_loop().call_later(HANG_UP_S, self._hang_up)
        await super().shutdown(self._listeners)

    def _hang_up(self) -> None:
        """End the connections that are left: those that take nothing of what they asked for."""
        for each in list(self.server_state.connections):
            each.transport.abort()

    async def _accept(self, listener: Listener) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._places.acquire()
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError:
                self._places.release()
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            self._run(self._connect(accepted))

    async def _connect(self, accepted: Listener) -> None:
        times = {}
        if self._tls is not None:
            times["ssl_handshake_timeout"] = TLS_HANDSHAKE_S
            times["ssl_shutdown_timeout"] = STILL_S
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._make_connection, accepted, ssl=self._tls, **times
            )
        # TLS failed, or the browser went: it gave no place back, since it never had a connection.
        except OSError as error:
            # What asyncio was about holds this error: 256 KiB that only the collector would free.
            error.__traceback__ = None
            accepted.close()
            self._places.release()

    def _make_connection(self) -> _Connection:
        return _Connection(
            self._places.release,
            config=self.config,
            server_state=self.server_state,
            app_state={},
        )

    def _run(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
            timeout_keep_alive=int(STILL_S),
            timeout_graceful_shutdown=CLOSE_S,
            h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        )
        self._server = _Server(config, sockets, tls)
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accept visitors from now on."""
        self._serving = asyncio.get_running_loop().create_task(self._server.serve())

    async def close(self) -> None:
        """End all connections, and give everything back; within two seconds or so."""
        self._dashboard.stop_watching()
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._dashboard.close()

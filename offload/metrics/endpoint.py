"""Serve metrics over HTTP, to scrapers that are not trusted: ``GET /metrics`` and nothing else.

The package's own server starts as many threads as there are requests, waits for each for ever, and
looks up a name before it listens. What this one takes is bounded: threads, time, memory, and how
often a page is written.

    endpoint = MetricsEndpoint(Place(address=None, port=0), metrics)
    endpoint.url
    endpoint.close()
"""

import logging
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, cast
from urllib.parse import urlsplit

from offload.metrics.exposition import CONTENT_TYPE, PageWriter
from offload.metrics.families import Metrics
from offload.places import Place, is_local_host, is_loopback, reachable_endpoint
from offload.telemetry.events import SAMPLE_PERIOD_S
from offload.transport import cannot_listen, endpoint

logger = logging.getLogger(__name__)

PATH: Final = "/metrics"

# Whoever reaches the port reads all of it without a token, so others get in only if the user says.
DEFAULT_HOST: Final = "127.0.0.1"

# Two Prometheus servers and somebody who looks; more are turned away.
MAX_REQUESTS: Final = 8

# From accept to the last byte. Prometheus itself gives up after ten seconds.
REQUEST_S: Final = 10.0

# What Prometheus sends has some hundred bytes; Python would take 6 MB of header lines.
MAX_REQUEST_BYTES: Final = 16 * 1024

# How often the server looks for the end and for requests that take too long: the end of a run waits
# for it.
LOOK_EVERY_S: Final = 0.25

# There is no connection without a file descriptor, and they do not come back at once.
ACCEPT_PAUSE_S: Final = 1.0


class MetricsEndpoint:
    """Serves metrics until it is closed.

    Args:
        address: Where.
        metrics: What; asked from a thread of the endpoint's own, at most once a second.
        request_s: How long a request may take.

    Attributes:
        url: Where the page is, with the port that was taken.
    """

    def __init__(self, address: Place, metrics: Metrics, *, request_s: float = REQUEST_S) -> None:
        """Listen, and begin to serve.

        Raises:
            ConfigurationError: The port is in use, or the address is none of this machine's.
        """
        self._server = _listen(address, _Page(metrics), request_s)
        self.url = f"http://{reachable_endpoint(self._server.socket)}{PATH}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_EVERY_S,), name="metrics", daemon=True
        )
        self._thread.start()
        logger.info("metrics_served", extra={"url": self.url})

    def close(self) -> None:
        """Stop serving, within `LOOK_EVERY_S`; what is under way is not waited for."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Page:
    """The newest page: all who ask within the same second get the same one.

    Samples come once a second, and who asks more often, or in many threads, shall not make a device
    write pages instead of looking at frames.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._writer = PageWriter(metrics)
        self._lock = threading.Lock()
        self._page = b""
        self._expires_s = time.monotonic()

    def get(self) -> bytes:
        """Return the page."""
        with self._lock:
            now = time.monotonic()
            if now >= self._expires_s:
                self._page = self._writer.write()
                self._expires_s = now + SAMPLE_PERIOD_S
            return self._page


class _Server(ThreadingMixIn, TCPServer):
    """A thread for each request, as long as there are few of them."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        family: socket.AddressFamily,
        address: Any,
        *,
        host: str,
        page: _Page,
        request_s: float,
    ) -> None:
        self.address_family = family
        self.page = page
        self._host = host
        self._request_s = request_s
        # When each request's time is up.
        self._until_s: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        super().__init__(address, _Request)
        self._is_loopback = is_loopback([self.socket])

    def takes(self, host: str | None) -> bool:
        """Return whether requests to this host are answered; what says none is no browser."""
        return not self._is_loopback or host is None or is_local_host(host, given=self._host)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError:
            # The connection waits, so the next try comes at once.
            time.sleep(ACCEPT_PAUSE_S)
            raise

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._until_s) >= MAX_REQUESTS:
                logger.debug("scrape_refused", extra={"peer": client_address[0]})
                return False
            self._until_s[request] = time.monotonic() + self._request_s
            return True

    def service_actions(self) -> None:
        """End the requests whose time is up: one byte now and then keeps any other limit."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, until_s in self._until_s.items() if now >= until_s]
        for each in late:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._until_s.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, _request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # A peer that has gone is its own business.
        level = logging.DEBUG if isinstance(error, OSError) else logging.ERROR
        reason = f"{type(error).__name__}: {error}"
        logger.log(level, "scrape_failed", extra={"peer": client_address[0], "reason": reason})


class _Request(BaseHTTPRequestHandler):
    """One request; every other method than GET is refused by the base class."""

    server_version, sys_version = "task-offload", ""

    def setup(self) -> None:
        super().setup()
        self.rfile = cast(BufferedIOBase, _Bounded(self.rfile))

    def do_GET(self) -> None:
        if urlsplit(self.path).path != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, f"there is {PATH} and nothing else")
            return
        server = cast(_Server, self.server)
        if not server.takes(self.headers["Host"]):
            self.send_error(HTTPStatus.BAD_REQUEST, "these metrics are served on localhost only")
            return
        page = server.page.get()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing: it would be a line for each scrape."""


class _Bounded:
    """What a peer sends, up to a limit, behind which it seems to have ended."""

    def __init__(self, stream: BufferedIOBase) -> None:
        self._stream = stream
        self._left = MAX_REQUEST_BYTES
        self.close = stream.close

    def readline(self, size: int) -> bytes:
        line = self._stream.readline(min(size, self._left))
        self._left -= len(line)
        return line


def _listen(address: Place, page: _Page, request_s: float) -> _Server:
    host = address.address or DEFAULT_HOST
    where = endpoint(host, address.port)
    try:
        found = socket.getaddrinfo(
            host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, _, _, _, resolved = found[0]
        return _Server(family, resolved, host=host, page=page, request_s=request_s)
    except (OSError, UnicodeError) as error:
        raise cannot_listen(where, error, option="--metrics-port") from error

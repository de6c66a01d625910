"""The server's web page: where it is, who may come in, and what it shows.

page = open_page(setup, place, cloud, port=8089)    # raises what the user did wrong
telemetry.add_view(page.source)
page.start()
await page.close()

What it needs beyond the core is loaded here, on use.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from offload.cloud.options import Options
from offload.cloud.setup import Setup
from offload.cloud.stream_table import MAX_IDLE_STREAMS
from offload.dashboard import missing_extra
from offload.errors import ConfigurationError
from offload.places import Place, is_loopback, listen, urls
from offload.telemetry.history import History
from offload.telemetry.stream_history import LIVE
from offload.transport import Listener, machine_name

if TYPE_CHECKING:
    import ssl

    from offload.dashboard.doors import Doors
    from offload.dashboard.live import Cloud, LiveSource
    from offload.dashboard.serving import PageServer

logger = logging.getLogger("dashboard")

# Streams beyond those of clients that may be connected: all that are away and in memory, and some
# that are over.
SPARE_STREAMS: Final = MAX_IDLE_STREAMS + 256

# The port that a tunnel is advised for where the user left the choice of one to the system.
TUNNEL_PORT: Final = 8090


class Page:
    """The page, as the server sees it.

    Attributes:
        source: A view of the server's events.
        connections: As many files as it may have open.
    """

    def __init__(
        self,
        source: "LiveSource",
        server: "PageServer",
        *,
        connections: int,
        places: Sequence[str],
        signs_in: bool,
    ) -> None:
        """Prepare it; nobody is let in yet."""
        self.source = source
        self.connections = connections
        self._server = server
        self._places = places
        self._signs_in = signs_in

    def start(self) -> None:
        """Let visitors in, and say where."""
        for url in self._places:
            logger.info("dashboard_served", extra={"url": url})
        if not self._signs_in:
            why = (
                "--insecure, and there is no token: everybody may look and nobody may steer; to "
                "steer, start without --insecure"
            )
            logger.warning("dashboard_open", extra={"why": why})
        self._server.start()

    async def close(self) -> None:
        """Let nobody in any more."""
        await self._server.close()


def open_page(setup: Setup, place: Place, cloud: "Cloud", *, port: int) -> Page:
    """Open the page of a server.

    Args:
        setup: What the user asked for.
        place: Where the page is to be.
        cloud: The server.
        port: Where devices find it: the page shows it.

    Raises:
        ConfigurationError: The extra is missing, the port is taken, or others than this machine
            could read along.
    """
    try:
        from offload.dashboard.app import Dashboard
        from offload.dashboard.live import LiveSource
        from offload.dashboard.serving import MAX_CONNECTIONS, PageServer
    except ModuleNotFoundError as error:
        raise missing_extra(error) from error
    options = setup.options
    sockets = _listen(place, has_tls=options.tls is not None)
    source = LiveSource(
        cloud,
        title=f"{machine_name()}:{port}",
        history=_history(options),
        results=_results(options.results),
    )
    doors = _doors(setup)
    page_port = sockets[0].getsockname()[1]
    dashboard = Dashboard(
        source,
        doors,
        cookie=_cookie(page_port, has_tls=options.tls is not None),
        is_loopback=is_loopback(sockets),
    )
    return Page(
        source,
        PageServer(dashboard, sockets, tls=_tls(options)),
        connections=MAX_CONNECTIONS,
        places=urls(sockets, tls=options.tls is not None),
        signs_in=not doors.are_open,
    )


def _listen(place: Place, *, has_tls: bool) -> list[Listener]:
    sockets = listen(place, option="--dashboard")
    if has_tls or is_loopback(sockets):
        return sockets
    for each in sockets:
        each.close()
    # The other end of a tunnel has to know the port beforehand.
    port = place.port or TUNNEL_PORT
    raise ConfigurationError(
        f"--dashboard {place}: beyond this machine the page, and tokens, would cross the network "
        f"in the clear; give --tls-cert and --tls-key, or --dashboard {port} and from "
        f"elsewhere ssh -L {port}:localhost:{port} {machine_name()}"
    )


def _history(options: Options) -> History:
    most = max(LIVE.streams, options.max_clients + SPARE_STREAMS)
    return History(replace(LIVE, streams=most))


def _results(url: str) -> Path | None:
    kind, _, rest = url.partition(":")
    return Path(rest) if kind == "sqlite" else None


def _doors(setup: Setup) -> "Doors":
    from offload.dashboard.doors import OpenDoors
    from offload.dashboard.signing_in import TokenDoors

    return TokenDoors(setup.access) if setup.access.has_tokens else OpenDoors()


def _cookie(port: int, *, has_tls: bool) -> str:
    # Cookies know no ports: several pages on one machine would sign each other out. With the prefix
    # browsers take it over TLS only, and from this very host.
    return f"__Host-offload-{port}" if has_tls else f"offload-{port}"


def _tls(options: Options) -> "ssl.SSLContext | None":
    if options.tls is None:
        return None
    from offload.tls import page_context

    return page_context(options.tls.certificate, options.tls.key)

"""The page's application: its routes, and what they share.

dashboard = Dashboard(source, doors, cookie="offload-8090", is_loopback=True)
dashboard.application                       # for an ASGI server
dashboard.close()
"""

from concurrent.futures import ThreadPoolExecutor
from importlib.resources.abc import Traversable
from typing import Final

from starlette.applications import Starlette
from starlette.types import ASGIApp

from offload.dashboard import api, pages
from offload.dashboard.assets import Assets
from offload.dashboard.doors import Doors
from offload.dashboard.downloads import Downloads
from offload.dashboard.guard import Guard
from offload.dashboard.pictures import Pictures
from offload.dashboard.sources import Source
from offload.dashboard.watching import Watchers

# Pictures, pages of results and long texts are made in threads of their own: what the server does
# for devices waits for none of them. Each is bounded; downloads are not, and are processes.
WORK_THREADS: Final = 3


class Dashboard:
    """The page for one source.

    Args:
        source: What it shows.
        doors: Who may come in.
        cookie: Name of the cookie.
        is_loopback: Whether it is served on loopback only.
        static: The folder of the page's files; its own by default.
    """

    def __init__(
        self,
        source: Source,
        doors: Doors,
        *,
        cookie: str,
        is_loopback: bool,
        static: Traversable | None = None,
    ) -> None:
        """Prepare it."""
        self._work = ThreadPoolExecutor(WORK_THREADS, thread_name_prefix="dashboard")
        self._watchers = Watchers(source)
        self._app = Starlette(routes=[*pages.ROUTES, *api.ROUTES])
        self._app.router.redirect_slashes = False
        state = self._app.state
        state.source, state.doors, state.cookie = source, doors, cookie
        state.assets = Assets(static)
        state.work = self._work
        state.watchers = self._watchers
        state.pictures = self._pictures = Pictures(source, self._work)
        state.downloads = self._downloads = Downloads()
        self.application: ASGIApp = Guard(self._app, doors, cookie=cookie, is_loopback=is_loopback)

    def stop_watching(self) -> None:
        """Let all those end who watch."""
        self._watchers.close()
        self._pictures.close()

    def close(self) -> None:
        """Give back its threads, without waiting for what they are still at."""
        self._work.shutdown(wait=False)
        self._downloads.close()

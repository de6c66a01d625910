"""What holds for every request, whatever it is for: headers, the host's name, who may post.

``Guard(app, ...)`` is an ASGI application around another one. A connection is kept for visitors
who are in: what others could hold with a request now and then, nobody else could have.
"""

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from offload.dashboard.doors import Doors
from offload.places import is_local_host

# Only what comes from here is run, drawn or asked: what a device calls itself can never be more
# than text.
CONTENT_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

# With ``no-referrer`` browsers would say ``Origin: null`` of our own forms.
HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": CONTENT_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Refuses what no page of ours would send, and adds headers to every answer.

    Args:
        app: Gets the rest.
        doors: Know who is in.
        cookie: Name of the cookie.
        is_loopback: Whether it listens on loopback only. Then the host has to be called so, see
            `is_local_host`.
    """

    def __init__(self, app: ASGIApp, doors: Doors, *, cookie: str, is_loopback: bool) -> None:
        """Guard this application."""
        self._app = app
        self._doors = doors
        self._cookie = cookie
        self._is_loopback = is_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        assert scope["type"] == "http", "nothing else is served"
        is_in = self._doors.visit(Request(scope).cookies.get(self._cookie)) is not None

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
                if not is_in:
                    headers["Connection"] = "close"
            await send(message)

        refusal = self._refusal(scope)
        # As it came: a stream's name may have a slash in it, which browsers write as %2F.
        routed = {**scope, "path": scope["raw_path"].decode("ascii", "replace")}
        await (refusal or self._app)(routed, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if self._is_loopback and not is_local_host(host):
            return PlainTextResponse("this page is served on localhost only\n", 400)
        if scope["method"] not in ("GET", "HEAD") and not _is_from_here(headers, scope["scheme"]):
            return PlainTextResponse("only the page itself may ask for this\n", 403)
        return None


def _is_from_here(headers: Headers, scheme: str) -> bool:
    """Tell whether a page of ours made the browser send it: browsers say where from."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is None and origin is None:
        return False
    own = f"{scheme}://{headers.get('host', '')}".lower()
    return site in (None, "same-origin") and origin in (None, own)

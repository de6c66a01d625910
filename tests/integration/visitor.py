"""Visit the page as a browser does, over a real connection.

visitor = Visitor(port)
visitor.sign_in("boss:its-secret")
visitor.json("/api/devices")
with visitor.watching("/api/events") as events:
    name, data = events.next()
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

from tests.integration.programs import WAIT_S

Found = TypeVar("Found")

FORM: Final = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a server answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Events:
    """Server-sent events as they come.

    Args:
        response: Where they come from.
    """

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response

    def next(self) -> tuple[str, Any]:
        """Return the next event's name and data; comments are passed over."""
        fields: dict[str, str] = {}
        while line := self._response.readline():
            name, _, value = line.decode().rstrip("\n").partition(": ")
            if name:
                fields[name] = value
            elif "data" in fields:
                return fields["event"], json.loads(fields["data"])
            else:
                fields = {}
        raise EOFError("the server ended the events")

    def until(self, wanted: str, holds: Callable[[Any], bool]) -> Any:
        """Return the data of the first event of a name for which something holds."""
        give_up_s = time.monotonic() + WAIT_S
        while time.monotonic() < give_up_s:
            name, data = self.next()
            if name == wanted and holds(data):
                return data
        raise AssertionError(f"no such {wanted} in time")

    def run_out(self) -> None:
        """Read until the server ends them."""
        while self._response.readline():
            pass


class Visitor:
    """A browser with a cookie.

    Args:
        port: Of the page.
        host: Under which name it is asked for, which is also where it is.
        tls: For a page that is served over TLS.
    """

    def __init__(
        self, port: int, *, host: str = "localhost", tls: ssl.SSLContext | None = None
    ) -> None:
        self.cookie = ""
        self._host, self._port, self._tls = host, port, tls

    @property
    def origin(self) -> str:
        """What a browser says of where it is."""
        return f"{'https' if self._tls else 'http'}://{self._host}:{self._port}"

    def get(self, path: str, **headers: str) -> Answered:
        return self.ask("GET", path, headers=headers)

    def json(self, path: str) -> Any:
        """Return what an API says."""
        answered = self.get(path)
        assert answered.status == 200, answered
        return answered.json()

    def post(self, path: str, body: object = None, **headers: str) -> Answered:
        """Send JSON as the page does; headers that are given take the place of its own."""
        own = {"Origin": self.origin, "Content-Type": "application/json"}
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**own, **given}.items() if value}
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body)
        return self.ask("POST", path, headers=sent, body=content)

    def sign_in(self, line: str) -> Answered:
        """Send the form of the sign-in page, and keep the cookie."""
        headers = {"Origin": self.origin, "Content-Type": FORM}
        body = urlencode({"token": line})
        answered = self.ask("POST", "/sign-in", headers=headers, body=body)
        self.cookie = answered.headers.get("set-cookie", "").partition(";")[0] or self.cookie
        return answered

    def ask(
        self, method: str, path: str, *, headers: Mapping[str, str], body: str | bytes | None = None
    ) -> Answered:
        connection = self._connect()
        try:
            connection.request(method, path, body, self._with_cookie(headers))
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answered(status=response.status, headers=found, body=response.read())
        finally:
            connection.close()

    @contextmanager
    def watching(self, path: str, **headers: str) -> Iterator[Events]:
        """Yield the events of a path while the block lasts."""
        connection = self._connect()
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request("GET", path, headers=self._with_cookie(given))
            response = connection.getresponse()
            assert response.status == 200, response.read()
            yield Events(response)
        finally:
            connection.close()

    @contextmanager
    def asking_only(self, path: str) -> Iterator[socket.socket]:
        """Yield a connection on which something was asked for and nothing is read."""
        connection = self._connect()
        try:
            connection.request("GET", path, headers=self._with_cookie({}))
            assert connection.sock is not None
            yield connection.sock
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=WAIT_S)
        return http.client.HTTPSConnection(
            self._host, self._port, timeout=WAIT_S, context=self._tls
        )

    def _with_cookie(self, headers: Mapping[str, str]) -> dict[str, str]:
        return {**headers, "Cookie": self.cookie} if self.cookie else dict(headers)


def of_device(stream: str, what: str = "") -> str:
    """Return the path of a stream, as the page writes it."""
    return f"/api/devices/{quote(stream, safe='')}{what}"


def wait_until(look: Callable[[], Found], holds: Callable[[Found], bool]) -> Found:
    """Return what a look finds once something holds for it."""
    give_up_s = time.monotonic() + WAIT_S
    while not holds(found := look()):
        assert time.monotonic() < give_up_s, found
        time.sleep(0.05)
    return found

"""Who may come in to a server's page, and what they may ask for there."""

import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from offload.auth import Token
from tests.certificates import make_authority, make_signed
from tests.integration.page_site import OTHER, VIEWER, Site, page_port, site_in, write_tokens
from tests.integration.programs import (
    ROOT,
    client,
    cloud_server,
    run_server,
    wait_for_results,
)
from tests.integration.visitor import FORM, Visitor, of_device, wait_until
from tests.session_pair import OPERATOR, TOKEN

pytestmark = pytest.mark.integration

STREAM: Final = "porch/1"

GETS: Final = (
    *("/api/session", "/api/devices", "/api/events", of_device(STREAM)),
    *(of_device(STREAM, f"/{what}") for what in ("events", "picture", "results", "results.csv")),
)
POSTS: Final = tuple(
    of_device(STREAM, f"/{what}") for what in ("target", "pin", "release", "drain")
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with (
        site_in(folder) as site,
        client(
            folder,
            *("3", *site.server.address, "--stream", STREAM, "--rate", "20"),
            *("--token-file", str(site.tokens)),
        ),
    ):
        wait_for_results(folder / "results.db", STREAM, at_least=1)
        yield site


# Coming in.


@pytest.mark.parametrize("path", GETS)
def test_who_has_not_signed_in_is_told_nothing(site: Site, path: str) -> None:
    answered = site.visitor().get(path)
    assert answered.status == 401
    assert answered.json() == {"error": "sign in first"}


@pytest.mark.parametrize("path", POSTS)
def test_who_has_not_signed_in_changes_nothing(site: Site, path: str) -> None:
    assert site.visitor().post(path, {"fps": 1.0, "split": 1}).status == 401


def test_the_page_leads_to_the_sign_in_and_back(site: Site) -> None:
    visitor = site.visitor()
    answered = visitor.get("/")
    assert (answered.status, answered.headers["location"]) == (303, "/sign-in")
    assert visitor.get("/sign-in").headers["content-type"] == "text/html; charset=utf-8"
    visitor.sign_in(TOKEN.line())
    assert visitor.get("/").status == 200
    answered = visitor.get("/sign-in")
    assert (answered.status, answered.headers["location"]) == (303, "/")


@pytest.mark.parametrize(
    "line", ["", "default:wrong-secret-of-some-size", "nobody:at-all", "x" * 300]
)
def test_what_is_no_token_leads_back_to_the_sign_in(tmp_path: Path, line: str) -> None:
    with site_in(tmp_path, "--results", "none") as site:
        visitor = site.visitor()
        answered = visitor.sign_in(line)
        assert (answered.status, answered.headers["location"]) == (303, "/sign-in?refused")
        assert visitor.cookie == ""
        assert "sign_in_refused" in site.server.wait_for_line("sign_in_refused")


def test_after_some_wrong_tries_nobody_may_try_for_a_while(tmp_path: Path) -> None:
    with site_in(tmp_path, "--results", "none") as site:
        visitor = site.visitor(TOKEN)
        places = [Visitor(site.port).sign_in("default:wrong").headers["location"] for _ in range(6)]
        assert places[:5] == ["/sign-in?refused"] * 5
        found = re.fullmatch(r"/sign-in\?limited=address&wait_s=(\d+)", places[5])
        assert found is not None
        assert 0 < int(found[1]) <= 12
        line = site.server.wait_for_line("sign_in_limited")
        assert f"limited=address wait_s={found[1]}" in line
        location = Visitor(site.port).sign_in(TOKEN.line()).headers["location"]
        assert location.startswith("/sign-in?limited=address&wait_s=")
        # Who is in stays in.
        assert visitor.get("/api/session").status == 200
        ended = site.server.stop()
    assert OPERATOR.secret.decode() not in ended.err
    assert TOKEN.secret.decode() not in ended.err


def test_the_cookie_is_the_servers_alone(site: Site) -> None:
    answered = Visitor(site.port).sign_in(TOKEN.line())
    name, *attributes = answered.headers["set-cookie"].split("; ")
    assert name.startswith(f"offload-{site.port}=")
    assert len(name.partition("=")[2]) >= 43
    assert {each.lower() for each in attributes} == {
        *("httponly", "path=/", "samesite=strict", "max-age=43200")
    }


def test_who_was_in_before_is_told_why_to_sign_in_again(site: Site) -> None:
    visitor = Visitor(site.port)
    visitor.cookie = f"offload-{site.port}=of-a-server-before"
    assert visitor.get("/").headers["location"] == "/sign-in?ended"


def test_signing_out_ends_what_is_watched(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with visitor.watching("/api/events") as events:
        events.next()
        answered = visitor.post("/sign-out")
        assert (answered.status, answered.headers["location"]) == (303, "/sign-in")
        events.run_out()
    assert visitor.get("/api/session").status == 401


def test_a_token_that_is_withdrawn_ends_what_is_watched(tmp_path: Path) -> None:
    with site_in(tmp_path, "--results", "none") as site:
        visitor, other = site.visitor(VIEWER), site.visitor(TOKEN)
        with visitor.watching("/api/events") as events:
            events.next()
            write_tokens(site.tokens, TOKEN, OPERATOR)
            site.server.send(signal.SIGHUP)
            events.run_out()
        assert visitor.get("/api/session").status == 401
        assert other.get("/api/session").status == 200


# Roles.


@pytest.mark.parametrize(
    ("token", "role", "can_control"),
    [(OPERATOR, "operator", True), (VIEWER, "viewer", False), (TOKEN, "device", False)],
)
def test_the_page_is_told_who_is_in(site: Site, token: Token, role: str, can_control: bool) -> None:
    said = site.visitor(token).json("/api/session")
    assert (said["name"], said["role"], said["can_control"]) == (token.name, role, can_control)
    assert said["live"]
    assert said["signs_in"]
    assert said["title"].endswith(f":{site.server.port}")


@pytest.mark.parametrize("token", [OPERATOR, VIEWER, TOKEN])
def test_who_may_see_a_stream_finds_it_in_the_list(site: Site, token: Token) -> None:
    (row,) = site.visitor(token).json("/api/devices")["devices"]
    assert row["stream"] == STREAM


def test_a_device_token_sees_its_own_streams_only(site: Site) -> None:
    visitor = site.visitor(OTHER)
    assert visitor.json("/api/devices")["devices"] == []
    with visitor.watching("/api/events") as events:
        assert events.next()[1]["rows"] == []
    for path in GETS[3:]:
        answered = visitor.get(path)
        assert answered.status == 404, path
        assert answered.json() == visitor.get(of_device("none")).json()


@pytest.mark.parametrize("token", [VIEWER, TOKEN])
@pytest.mark.parametrize("path", POSTS)
def test_only_an_operator_may_steer(site: Site, token: Token, path: str) -> None:
    answered = site.visitor(token).post(path, {"fps": 1.0, "split": 1})
    assert answered.status == 403
    assert answered.json() == {"error": "this needs an operator's token"}


def test_a_viewers_token_opens_no_stream(site: Site, tmp_path: Path) -> None:
    write_tokens(tmp_path / "guest", VIEWER, TOKEN)
    write_tokens(tmp_path / "as_device", Token(name=VIEWER.name, secret=VIEWER.secret))
    options = (*site.server.address, "--frames", "1", "--token-file", "as_device")
    with client(tmp_path, "3", *options) as device:
        ended = device.wait()
    assert ended.code == 77
    assert "token 'guest' is a viewer's" in ended.error


def test_a_server_for_anybody_shows_everything_and_lets_nobody_steer(tmp_path: Path) -> None:
    options = ("--insecure", "--dashboard", "0", "--results", "none")
    with cloud_server(tmp_path, *options) as server:
        visitor = Visitor(page_port(server))
        server.wait_for_line("dashboard_open")
        with client(tmp_path, "3", *server.address, "--stream", STREAM, "--rate", "20"):
            wait_until(lambda: visitor.json("/api/devices")["devices"], bool)
            assert visitor.post(of_device(STREAM, "/release")).status == 403
        said = visitor.json("/api/session")
        assert (said["name"], said["role"], said["can_control"]) == ("", "viewer", False)
        assert not said["signs_in"]
        assert visitor.get("/").status == 200
        assert visitor.sign_in("a:b").headers["location"] == "/"


# What no page of ours would send.


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_on_loopback_the_page_is_not_served_under_other_names(site: Site, host: str) -> None:
    for path in ("/", "/sign-in", "/static/page.css", "/api/session"):
        assert site.visitor().get(path, Host=host).status == 400


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8090", "[::1]:8090"])
def test_a_tunnel_may_end_at_any_port(site: Site, host: str) -> None:
    assert site.visitor().get("/sign-in", Host=host).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "", "Sec_Fetch_Site": ""},
        {"Origin": "", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "", "Sec_Fetch_Site": "same-site"},
        {"Origin": "", "Sec_Fetch_Site": "none"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_another_page_cannot_make_a_browser_change_anything(
    site: Site, headers: dict[str, str]
) -> None:
    visitor = site.visitor(OPERATOR)
    for path in (of_device(STREAM, "/release"), "/sign-out"):
        assert visitor.post(path, **headers).status == 403
    assert visitor.get("/api/session").status == 200
    answered = Visitor(site.port).post("/sign-in", b"token=x", Content_Type=FORM, **headers)
    assert answered.status == 403


def test_a_browser_that_says_that_it_asks_for_our_own_page_is_believed(site: Site) -> None:
    visitor = site.visitor(OPERATOR)
    # A device in manual mode does not do it; but it was asked.
    answered = visitor.post(of_device(STREAM, "/release"), Origin="", Sec_Fetch_Site="same-origin")
    assert answered.status == 409


@pytest.mark.parametrize(
    ("what", "body", "content_type", "status"),
    [
        ("target", {"fps": 10.0}, "text/plain", 415),
        ("target", {"fps": 10.0}, "", 415),
        ("target", b"{", "application/json", 400),
        ("target", b"[1]", "application/json", 400),
        ("target", b"[" * 4000, "application/json", 400),
        ("target", b'{"fps": NaN}', "application/json", 400),
        ("target", b'{"fps": 1e999}', "application/json", 400),
        ("target", {"fps": 0}, "application/json", 400),
        ("target", {"fps": -1}, "application/json", 400),
        ("target", {"fps": True}, "application/json", 400),
        ("target", {"fps": "10"}, "application/json", 400),
        ("target", {"fps": 10**400}, "application/json", 400),
        ("target", {"fps": -(10**400)}, "application/json", 400),
        ("target", {}, "application/json", 400),
        ("pin", {"split": 1.5}, "application/json", 400),
        ("pin", {"split": 10**30}, "application/json", 400),
        ("pin", {}, "application/json", 400),
        ("release", b" " * 5000, "application/json", 413),
    ],
)
def test_a_change_that_is_none_is_refused_in_words(
    site: Site, what: str, body: object, content_type: str, status: int
) -> None:
    visitor = site.visitor(OPERATOR)
    answered = visitor.post(of_device(STREAM, f"/{what}"), body, Content_Type=content_type)
    assert answered.status == status
    assert set(answered.json()) == {"error"}
    assert "\n" not in answered.json()["error"]


@pytest.mark.parametrize("path", ["/sign-in", of_device(STREAM, "/target")])
def test_a_browser_that_goes_before_the_end_of_its_request_leaves_no_trace(
    tmp_path: Path, path: str
) -> None:
    with site_in(tmp_path, "--results", "none") as site:
        visitor = site.visitor(OPERATOR)
        with (
            client(
                tmp_path,
                *("3", *site.server.address, "--stream", STREAM, "--rate", "20"),
                *("--token-file", "tokens"),
            ),
            socket.create_connection(("localhost", site.port)) as connection,
        ):
            wait_until(lambda: visitor.json("/api/devices")["devices"], bool)
            content_type = FORM if path == "/sign-in" else "application/json"
            connection.sendall(
                f"POST {path} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
                f"Cookie: {visitor.cookie}\r\nContent-Type: {content_type}\r\n"
                "Content-Length: 90\r\n\r\ntoken".encode()
            )
        # Nothing after it says more than what it has said by its end.
        ended = site.server.stop()
    assert "Traceback" not in ended.err
    assert " ERROR " not in ended.err


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static/",
        "/api/",
        "/api/devices/",
        of_device("\x00"),
        "/index.html",
        "/%ff",
        "//evil.example",
    ],
)
def test_there_is_nothing_else(site: Site, path: str) -> None:
    assert site.visitor(OPERATOR).get(path).status == 404


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/sign-out"), ("DELETE", "/api/devices")]
)
def test_nothing_is_changed_by_another_method(site: Site, method: str, path: str) -> None:
    visitor = site.visitor(OPERATOR)
    answered = visitor.ask(method, path, headers={"Origin": visitor.origin})
    assert answered.status == 405


@pytest.mark.parametrize("path", ["/sign-in", "/static/page.css", "/api/session", "/none"])
def test_every_answer_says_what_browsers_may_do_with_it(site: Site, path: str) -> None:
    headers = site.visitor(VIEWER if path == "/api/session" else None).get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    expected = "no-cache" if path in ("/sign-in", "/static/page.css") else "no-store"
    assert headers["cache-control"] == expected
    assert "server" not in headers


def test_a_file_that_a_browser_has_is_not_sent_again(site: Site) -> None:
    visitor = site.visitor()
    tag = visitor.get("/static/page.css").headers["etag"]
    answered = visitor.get("/static/page.css", **{"If-None-Match": tag})
    assert (answered.status, answered.body) == (304, b"")


# Where it is.


@pytest.mark.parametrize("place", ["0.0.0.0:0", "[::]:0"])
def test_beyond_this_machine_there_is_no_page_without_tls(tmp_path: Path, place: str) -> None:
    options = ("--bind", "127.0.0.1", "--port", "0", "--dashboard", place, "--results", "none")
    ended = run_server(tmp_path, *options)
    assert ended.code == 2
    assert "--tls-cert" in ended.error
    # A tunnel to port 0 leads nowhere.
    assert "--dashboard 8090 and from elsewhere ssh -L 8090:localhost:8090" in ended.error


def test_a_port_that_is_taken_is_said_in_a_line(site: Site, tmp_path: Path) -> None:
    options = ("--bind", "127.0.0.1", "--port", "0", "--results", "none")
    ended = run_server(tmp_path, *options, "--dashboard", str(site.port))
    assert ended.code == 2
    assert ended.error == (
        f"error: localhost:{site.port} is taken by another program; choose another --dashboard"
    )


@pytest.mark.parametrize("place", ["", "x", "99999", "::1:80", "a:b:1", "127.0.0.1:", "-1"])
def test_a_place_that_is_none_is_wrong_usage(tmp_path: Path, place: str) -> None:
    ended = run_server(tmp_path, "--dashboard", place)
    assert ended.code == 2
    assert "--dashboard" in ended.error


def test_without_the_extra_a_line_says_what_to_install() -> None:
    program = (
        "import sys, runpy; sys.modules['uvicorn'] = None; "
        "runpy.run_path('cloud_server_coordinator.py', run_name='__main__')"
    )
    options = ("--bind", "127.0.0.1", "--port", "0", "--dashboard", "0", "--results", "none")
    ended = subprocess.run(
        [sys.executable, "-c", program, *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2
    (line,) = [each for each in ended.stderr.splitlines() if each.startswith("error: ")]
    assert "pip install starlette uvicorn" in line


def test_with_tls_the_page_is_served_over_tls_and_its_cookie_too(tmp_path: Path) -> None:
    ca = make_authority(tmp_path, "ca")
    own = make_signed(tmp_path, "server", ca, hosts="DNS:localhost")
    files = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    # Devices need a certificate, browsers have none.
    options = (*files, "--tls-client-ca", str(ca.certificate))
    with site_in(tmp_path, "--results", "none", *options) as site:
        context = ssl.create_default_context(cafile=str(ca.certificate))
        visitor = Visitor(site.port, tls=context)
        answered = visitor.sign_in(VIEWER.line())
        assert answered.status == 303
        cookie = answered.headers["set-cookie"]
        assert cookie.startswith(f"__Host-offload-{site.port}=")
        assert "; Secure" in cookie
        assert visitor.json("/api/session")["name"] == "guest"

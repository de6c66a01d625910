"""The endpoint of metrics: what it serves, and what a scraper that means no good can take."""

import http.client
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Final

import pytest

from offload.errors import ConfigurationError
from offload.metrics import open_endpoint
from offload.metrics.endpoint import MAX_REQUEST_BYTES, MAX_REQUESTS, MetricsEndpoint
from offload.metrics.families import Family, Kind, Metrics, Reading
from offload.places import Place

pytestmark = pytest.mark.integration

# Ends only a test that has failed already.
WAIT_S: Final = 20.0

NUMBER: Final = Family(name="offload_number", kind=Kind.GAUGE, help="A number.")


class Numbers:
    """Metrics that count how often they were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def read(self) -> Iterator[Reading]:
        self.asked += 1
        yield NUMBER.at(self.asked)


class Broken:
    """Metrics that cannot be read."""

    def read(self) -> Iterator[Reading]:
        raise ZeroDivisionError("no such number")


@contextmanager
def served(metrics: Metrics | None = None, *, host: str = "127.0.0.1") -> Iterator[MetricsEndpoint]:
    with closing(open_endpoint(Place(address=host, port=0), metrics or Numbers())) as endpoint:
        yield endpoint


@contextmanager
def impatient(*, request_s: float) -> Iterator[MetricsEndpoint]:
    address = Place(address="127.0.0.1", port=0)
    with closing(MetricsEndpoint(address, Numbers(), request_s=request_s)) as endpoint:
        yield endpoint


def port_of(endpoint: MetricsEndpoint) -> int:
    return int(endpoint.url.rsplit(":", 1)[1].removesuffix("/metrics"))


def request(endpoint: MetricsEndpoint, method: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(endpoint), timeout=WAIT_S)
    with closing(connection):
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()


def connect(endpoint: MetricsEndpoint) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=WAIT_S)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other end closes the connection, in whichever way."""
    received = b""
    try:
        while piece := connection.recv(65536):
            received += piece
    except ConnectionResetError:
        pass
    return received


def test_the_page_is_at_metrics_and_is_what_a_scraper_expects() -> None:
    with served() as endpoint, connect(endpoint) as connection:
        connection.sendall(b"GET /metrics?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head, page = read_all(connection).decode().split("\r\n\r\n", 1)
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
    assert f"Content-Length: {len(page)}" in head
    assert "Python" not in head
    assert page.endswith("\noffload_number 1.0\n")


@pytest.mark.parametrize("path", ["/", "/favicon.ico", "/metrics/", "/debug"])
def test_there_is_nothing_else(path: str) -> None:
    metrics = Numbers()
    with served(metrics) as endpoint:
        status, _ = request(endpoint, "GET", path)
    assert status == 404
    assert metrics.asked == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9464", 200),
        ("127.0.0.1:9464", 200),
        ("[::1]:9464", 200),
        ("rebound.example", 400),
        ("127.0.0.1.rebound.example:9464", 400),
        ("192.0.2.7:9464", 400),
    ],
)
def test_on_loopback_a_browser_is_answered_under_loopback_s_names_only(
    host: str, status: int
) -> None:
    metrics = Numbers()
    with served(metrics) as endpoint, connect(endpoint) as connection:
        connection.sendall(f"GET /metrics HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert read_all(connection).startswith(b"HTTP/1.0 %d " % status)
    assert metrics.asked == (status == 200)


def test_beyond_loopback_the_machine_may_have_any_name() -> None:
    with served(host="0.0.0.0") as endpoint, connect(endpoint) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: gate.example\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.0 200 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_it_can_only_be_read(method: str) -> None:
    with served() as endpoint:
        status, _ = request(endpoint, method, "/metrics")
    assert status == 501


def test_it_says_where_it_serves(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), served() as endpoint:
        assert re.fullmatch(r"http://127\.0\.0\.1:[1-9]\d*/metrics", endpoint.url)
    (said,) = [each for each in caplog.records if each.message == "metrics_served"]
    assert vars(said)["url"] == endpoint.url


def test_ipv6_is_served_too() -> None:
    with served(host="::1") as endpoint:
        assert endpoint.url.startswith("http://[::1]:")
        with socket.create_connection(("::1", port_of(endpoint)), timeout=WAIT_S) as connection:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            assert b"offload_number" in read_all(connection)


def test_a_port_that_is_taken_is_wrong_usage_in_one_line() -> None:
    with served() as endpoint:
        address = Place(address="127.0.0.1", port=port_of(endpoint))
        with pytest.raises(ConfigurationError) as caught:
            open_endpoint(address, Numbers())
    assert str(caught.value) == (
        f"127.0.0.1:{address.port} is taken by another program; choose another --metrics-port"
    )


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("192.0.2.7", "no address of this machine"),
        ("no.such.host.invalid", "not known|resolution"),
        ("a..b", "name"),
    ],
)
def test_an_address_that_is_none_of_this_machine_is_wrong_usage(host: str, why: str) -> None:
    says = f"cannot listen on {re.escape(host)}:9464: .*({why})"
    with pytest.raises(ConfigurationError, match=says):
        open_endpoint(Place(address=host, port=9464), Numbers())


def test_a_package_that_is_missing_is_named_with_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    for name in ("endpoint", "exposition"):
        monkeypatch.delitem(sys.modules, f"offload.metrics.{name}")
    with pytest.raises(ConfigurationError) as caught:
        open_endpoint(Place(address="127.0.0.1", port=0), Numbers())
    assert str(caught.value) == (
        "--metrics-port needs package prometheus-client, which is not installed: ./run setup "
        "metrics, or python3 -m pip install prometheus-client"
    )


def test_whoever_asks_often_gets_the_same_page_for_a_second() -> None:
    metrics = Numbers()
    began_s = time.monotonic()
    with served(metrics) as endpoint:
        pages = {request(endpoint, "GET", "/metrics")[1] for _ in range(20)}
    passed_s = time.monotonic() - began_s
    assert len(pages) == metrics.asked <= 1 + passed_s


def test_a_page_is_written_anew_after_a_second() -> None:
    metrics = Numbers()
    with served(metrics) as endpoint:
        give_up_s = time.monotonic() + WAIT_S
        while "offload_number 2.0" not in request(endpoint, "GET", "/metrics")[1]:
            assert time.monotonic() < give_up_s
    assert metrics.asked == 2


def test_one_more_than_there_are_places_for_is_turned_away_at_once() -> None:
    with impatient(request_s=10 * WAIT_S) as endpoint, ExitStack() as stack:
        silent = [stack.enter_context(connect(endpoint)) for _ in range(MAX_REQUESTS)]
        extra = stack.enter_context(connect(endpoint))
        assert read_all(extra) == b""
        silent.pop().close()
        give_up_s = time.monotonic() + WAIT_S
        while not serves(endpoint):
            assert time.monotonic() < give_up_s, "the place is not given back"


def serves(endpoint: MetricsEndpoint) -> bool:
    with connect(endpoint) as connection:
        try:
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        except BrokenPipeError:
            return False
        return b"offload_number" in read_all(connection)


def test_those_that_say_nothing_hold_others_up_for_a_while_only() -> None:
    with impatient(request_s=0.5) as endpoint, ExitStack() as stack:
        silent = [stack.enter_context(connect(endpoint)) for _ in range(MAX_REQUESTS)]
        for each in silent:
            assert read_all(each) == b""
        assert request(endpoint, "GET", "/metrics")[0] == 200


def test_a_peer_that_sends_a_byte_now_and_then_is_ended_all_the_same() -> None:
    with impatient(request_s=0.5) as endpoint, connect(endpoint) as connection:
        began_s = time.monotonic()
        connection.settimeout(0.05)
        while True:
            try:
                connection.sendall(b"G")
                if not connection.recv(1):
                    break
            except TimeoutError:
                assert time.monotonic() - began_s < WAIT_S, "it still listens"
            except (ConnectionResetError, BrokenPipeError):
                break
        assert request(endpoint, "GET", "/metrics")[0] == 200


def test_a_request_that_never_ends_is_read_up_to_a_limit() -> None:
    line = b"X: " + b"x" * 1000 + b"\r\n"
    with impatient(request_s=10 * WAIT_S) as endpoint, connect(endpoint) as connection:
        connection.sendall(b"GET /metrics HTTP/1.0\r\n" + line * (MAX_REQUEST_BYTES // 1000 + 2))
        # Without a limit there would be no answer before the empty line that ends a request.
        read_all(connection)
        assert request(endpoint, "GET", "/metrics")[0] == 200


def test_a_metric_that_cannot_be_read_is_said_and_ends_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with served(Broken()) as endpoint:
        for _ in range(2):
            with connect(endpoint) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert read_all(connection) == b""
    said = [each for each in caplog.records if each.message == "scrape_failed"]
    assert {vars(each)["reason"] for each in said} == {"ZeroDivisionError: no such number"}
    assert {each.levelname for each in said} == {"ERROR"}


def test_after_it_is_closed_the_port_is_free_and_no_thread_is_left() -> None:
    with served() as endpoint:
        assert request(endpoint, "GET", "/metrics")[0] == 200
        address = Place(address="127.0.0.1", port=port_of(endpoint))
    assert "metrics" not in {each.name for each in threading.enumerate()}
    with closing(open_endpoint(address, Numbers())) as again:
        assert request(again, "GET", "/metrics")[0] == 200

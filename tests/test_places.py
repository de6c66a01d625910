"""Where the page and metrics are served, as the user says it."""

import argparse

import pytest

from offload.places import Place, is_local_host, read_place


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("9464", None, 9464),
        ("0", None, 0),
        ("0.0.0.0:9464", "0.0.0.0", 9464),
        ("gate.example:65535", "gate.example", 65535),
        ("[::]:9464", "::", 9464),
        ("[fe80::1%eth0]:9464", "fe80::1%eth0", 9464),
    ],
)
def test_a_port_alone_is_of_this_machine_and_an_address_may_stand_before_it(
    text: str, host: str | None, port: int
) -> None:
    assert read_place(text) == Place(address=host, port=port)


@pytest.mark.parametrize(
    "text",
    ["", "x", "-1", "65536", "999999", ":9464", "::1:9464", "::", "[::1]", "host:", "http://x:1"],
)
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a port from 0 to 65535"):
        read_place(text)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LocalHost:80", "127.0.0.1", "127.0.0.1:80", "127.0.1.1", "[::1]", "[::1]:80"],
)
def test_a_request_to_loopback_is_for_one_of_its_names(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize(
    "host",
    ["", ":80", "localhost.example", "127.0.0.1.example:80", "192.0.2.7", "gate", "localhost:x"],
)
def test_a_request_for_another_name_is_not_for_loopback(host: str) -> None:
    assert not is_local_host(host)


def test_the_name_that_the_user_gave_is_one_of_its_names() -> None:
    assert is_local_host("Gate:9464", given="gate")
    assert not is_local_host("other:9464", given="gate")

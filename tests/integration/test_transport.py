"""Sockets on the loopback interface."""

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from offload.cloud.transport import CloudConnection
from offload.errors import ConfigurationError, HostUnknown, SessionLost
from offload.places import reachable_endpoint, urls
from offload.transport import (
    MAX_PIECES_PER_SEND,
    Connection,
    addresses,
    bound_endpoint,
    connect,
    endpoint,
    listening_sockets,
)

pytestmark = pytest.mark.integration

LONG_S = 30.0


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(listening_sockets("127.0.0.1", 0)[0]) as opened:
        opened.settimeout(LONG_S)
        yield opened


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[Connection, socket.socket]]:
    device = connect("127.0.0.1", listener.getsockname()[1], timeout_s=LONG_S)
    cloud, _ = listener.accept()
    cloud.settimeout(LONG_S)
    with closing(device), closing(cloud):
        yield device, cloud


def read(peer: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count and (part := peer.recv(1 << 16)):
        parts += part
    return bytes(parts)


def test_all_pieces_arrive_in_order_however_many_and_large(
    pair: tuple[Connection, socket.socket],
) -> None:
    device, cloud = pair
    pieces = [b"", *(bytes([each % 251]) * 3 for each in range(2 * MAX_PIECES_PER_SEND + 7))]
    pieces += [bytes(range(256)) * 20_000, b"end"]
    whole = b"".join(pieces)
    sender = threading.Thread(target=device.send, args=(pieces,))
    sender.start()
    received = read(cloud, len(whole))
    sender.join(LONG_S)
    assert received == whole
    assert device.sent_bytes == len(whole)


def test_received_bytes_go_where_the_view_says(pair: tuple[Connection, socket.socket]) -> None:
    device, cloud = pair
    cloud.sendall(b"abc")
    place = bytearray(8)
    count = device.receive_into(memoryview(place)[2:])
    assert (count, bytes(place)) == (3, b"\0\0abc\0\0\0")


def test_a_connection_that_the_server_closed_is_a_lost_session(
    pair: tuple[Connection, socket.socket],
) -> None:
    device, cloud = pair
    cloud.close()
    with pytest.raises(SessionLost, match="the server closed it"):
        device.receive_into(memoryview(bytearray(8)))


def test_sending_into_a_closed_connection_is_a_lost_session(
    pair: tuple[Connection, socket.socket],
) -> None:
    device, _ = pair
    device.close()
    with pytest.raises(SessionLost, match="connection ended while sending"):
        device.send([b"x"])


def test_nothing_within_the_time_is_a_timeout_and_no_lost_session(
    pair: tuple[Connection, socket.socket],
) -> None:
    device, cloud = pair
    device.set_timeout(0.01)
    with pytest.raises(TimeoutError):
        device.receive_into(memoryview(bytearray(8)))
    cloud.sendall(b"late")
    device.set_timeout(LONG_S)
    assert device.receive_into(memoryview(bytearray(8))) == 4


def test_closing_wakes_a_thread_that_waits_for_bytes(
    pair: tuple[Connection, socket.socket],
) -> None:
    device, _ = pair
    lost = threading.Event()

    def receive() -> None:
        with pytest.raises(SessionLost):
            device.receive_into(memoryview(bytearray(8)))
        lost.set()

    receiver = threading.Thread(target=receive)
    receiver.start()
    device.close()
    receiver.join(LONG_S)
    assert lost.is_set()


def test_a_server_that_is_not_there_is_named(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    listener.close()
    with pytest.raises(SessionLost, match=rf"cannot reach 127\.0\.0\.1:{port}: connection refused"):
        connect("127.0.0.1", port, timeout_s=LONG_S)


def test_all_interfaces_share_one_free_port() -> None:
    listeners = listening_sockets(None, 0)
    try:
        assert len({each.getsockname()[1] for each in listeners}) == 1
        assert {each.family for each in listeners} <= {socket.AF_INET, socket.AF_INET6}
        assert bound_endpoint(listeners[0]).startswith("0.0.0.0:")
    finally:
        for each in listeners:
            each.close()


def test_a_port_in_use_is_wrong_usage(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    says = rf"^127\.0\.0\.1:{port} is taken by another program; choose another --port$"
    with pytest.raises(ConfigurationError, match=says):
        listening_sockets("127.0.0.1", port)


def test_an_address_of_another_machine_is_wrong_usage() -> None:
    says = r"cannot listen on 192\.0\.2\.1:0: it is no address of this machine"
    with pytest.raises(ConfigurationError, match=says):
        listening_sockets("192.0.2.1", 0)


def test_what_is_no_name_is_wrong_usage() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot listen on a\.\.b:0: it is no host name"):
        listening_sockets("a..b", 0)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_what_listens_on_all_addresses_is_reached_under_the_name_of_the_machine(
    address: str,
) -> None:
    listeners = listening_sockets(address, 0)
    with closing(listeners[0]):
        port = listeners[0].getsockname()[1]
        assert urls(listeners, tls=True) == [f"https://{socket.gethostname()}:{port}/"]


def test_what_listens_on_another_loopback_address_is_reached_there() -> None:
    listeners = listening_sockets("127.0.0.2", 0)
    with closing(listeners[0]):
        port = listeners[0].getsockname()[1]
        assert urls(listeners, tls=False) == [f"http://127.0.0.2:{port}/"]


def test_what_listens_on_loopback_is_reached_as_localhost(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    assert urls([listener], tls=False) == [f"http://localhost:{port}/"]
    assert reachable_endpoint(listener) == f"127.0.0.1:{port}"


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert (endpoint("::1", 80), endpoint("127.0.0.1", 80)) == ("[::1]:80", "127.0.0.1:80")


def test_the_cloud_receives_into_its_buffer_answers_and_learns_of_the_end(
    listener: socket.socket,
) -> None:
    place, peers = bytearray(8), list[str]()

    async def serve() -> bytes:
        loop = asyncio.get_running_loop()
        received: asyncio.Future[bytes] = loop.create_future()
        lost: asyncio.Future[Exception | None] = loop.create_future()
        made: asyncio.Future[CloudConnection] = loop.create_future()
        server = await loop.create_server(
            lambda: CloudConnection(
                on_made=made.set_result,
                buffer=lambda: memoryview(place),
                on_bytes=lambda count: received.set_result(bytes(place[:count])),
                on_full=lambda: None,
                on_lost=lost.set_result,
            ),
            sock=listener,
        )
        port = listener.getsockname()[1]
        device = await loop.run_in_executor(
            None, lambda: connect("127.0.0.1", port, timeout_s=LONG_S)
        )
        device.send([b"hello"])
        assert await received == b"hello"
        connection = await made
        peers.append(connection.peer)
        connection.send([b"good", b"bye"])
        connection.close()
        answer = bytearray(7)
        count = await loop.run_in_executor(None, device.receive_into, memoryview(answer))
        device.close()
        assert await lost is None
        server.close()
        await server.wait_closed()
        return bytes(answer[:count])

    assert asyncio.run(asyncio.wait_for(serve(), LONG_S)) == b"goodbye"
    assert peers[0].startswith("127.0.0.1:")


def test_the_cloud_may_finish_a_connection_that_was_reset(listener: socket.socket) -> None:
    async def serve() -> None:
        loop = asyncio.get_running_loop()
        lost: asyncio.Future[Exception | None] = loop.create_future()
        device = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        accepted.setblocking(False)
        _, connection = await loop.connect_accepted_socket(
            lambda: CloudConnection(
                on_made=lambda _: None,
                buffer=lambda: memoryview(bytearray(8)),
                on_bytes=lambda _: None,
                on_full=lambda: None,
                on_lost=lost.set_result,
            ),
            accepted,
        )
        device.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        device.close()
        # The loop has had no turn to learn of it.
        connection.finish()
        await lost

    asyncio.run(asyncio.wait_for(serve(), LONG_S))


def test_nobody_knows_a_host_that_is_no_name() -> None:
    with pytest.raises(HostUnknown, match=r"cannot find a\.\.b: it is no host name or address"):
        addresses("a..b", 1)


def test_an_address_is_its_own_only_one() -> None:
    assert addresses("127.0.0.1", 80) == ["127.0.0.1"]
    assert addresses("::1", 80) == ["::1"]


@pytest.mark.parametrize(
    ("found", "in_turn"),
    [
        (["::1", "::2", "::3", "127.0.0.1"], ["::1", "127.0.0.1", "::2", "::3"]),
        (["127.0.0.1", "::1", "::1", "127.0.0.2"], ["127.0.0.1", "::1", "127.0.0.2"]),
        (["127.0.0.2", "127.0.0.1"], ["127.0.0.2", "127.0.0.1"]),
    ],
)
def test_the_addresses_of_a_name_are_of_both_kinds_in_turn(
    found: list[str], in_turn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def look_up(_: str, port: int, *args: Any, **options: Any) -> list[Any]:
        return [found_by for each in found for found_by in real(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert addresses("cloud.example", 80) == in_turn


def test_a_name_that_nobody_knows_is_told_apart_from_a_server_that_is_away() -> None:
    with pytest.raises(HostUnknown, match=r"^cannot find no-such-host\.invalid: "):
        addresses("no-such-host.invalid", 80)

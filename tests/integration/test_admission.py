"""So many handshakes at a time, and no more: the others wait in the backlog."""

import asyncio
import gc
import socket
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from offload.cloud.admission import HANDSHAKE_S, Admission, Arrival, note_tls_refusal
from offload.cloud.transport import CloudConnection
from offload.tls import server_context
from offload.transport import listening_sockets
from tests.certificates import make_authority, make_signed

pytestmark = pytest.mark.integration

LONG_S: Final = 20.0

# A hello begins so. A message of TLS begins with five bytes, so fewer say nothing.
NO_TLS: Final = b"TO\x01\x00\x00\x00"


class Hall:
    """Lets in who comes, and waits for nothing that they say."""

    def __init__(
        self,
        *,
        max_handshakes: int,
        tls: ssl.SSLContext | None = None,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        self.listener = listening_sockets("127.0.0.1", 0)[0]
        self.port = self.listener.getsockname()[1]
        self.arrivals: list[Arrival] = []
        self.connections: list[CloudConnection] = []
        self._changed = asyncio.Event()
        self.admission = Admission(
            [self.listener],
            make_connection=self._make,
            on_refused=self._refused,
            tls=tls,
            max_handshakes=max_handshakes,
            handshake_s=handshake_s,
        )
        self.refusals: list[tuple[str, str]] = []
        self.admission.start()

    def _make(self, arrival: Arrival) -> CloudConnection:
        self.arrivals.append(arrival)
        return CloudConnection(
            on_made=self._made,
            buffer=lambda: memoryview(bytearray(64)),
            on_bytes=lambda _: None,
            on_full=lambda: None,
            on_lost=lambda _: arrival.settle(),
        )

    def _made(self, connection: CloudConnection) -> None:
        self.connections.append(connection)
        self._changed.set()

    def _refused(self, why: str, _peer: str, reason: str) -> None:
        self.refusals.append((why, reason))
        self._changed.set()

    async def wait_for_refusal(self) -> tuple[str, str]:
        """Wait until TLS has refused somebody."""
        while not self.refusals:
            self._changed.clear()
            await self._changed.wait()
        return self.refusals[0]

    async def wait_for(self, count: int) -> None:
        """Wait until so many have come in, in all."""
        while len(self.connections) < count:
            self._changed.clear()
            await self._changed.wait()

    async def wait_in_vain(self) -> int:
        """Give those in the backlog every chance, and return how many have come in."""
        for _ in range(100):
            await asyncio.sleep(0)
        return len(self.connections)


def run(
    behave: Callable[[Hall, ExitStack], Awaitable[None]],
    *,
    max_handshakes: int = 9,
    tls: ssl.SSLContext | None = None,
    handshake_s: float = HANDSHAKE_S,
) -> None:
    async def whole() -> None:
        hall = Hall(max_handshakes=max_handshakes, tls=tls, handshake_s=handshake_s)
        try:
            with ExitStack() as peers:
                await behave(hall, peers)
        finally:
            hall.admission.stop()
            for each in hall.connections:
                each.abort()
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(whole(), LONG_S))


def connect(hall: Hall, peers: ExitStack) -> socket.socket:
    peer = peers.enter_context(socket.create_connection(("127.0.0.1", hall.port), LONG_S))
    peer.setblocking(False)
    return peer


def test_as_many_handshakes_are_under_way_as_there_are_places_and_the_next_one_waits() -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        for _ in range(4):
            connect(hall, peers)
        await hall.wait_for(2)
        assert await hall.wait_in_vain() == 2
        hall.arrivals[0].settle()
        await hall.wait_for(3)
        assert await hall.wait_in_vain() == 3

    run(behave, max_handshakes=2)


def test_a_place_that_is_given_back_twice_is_one_place() -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        for _ in range(3):
            connect(hall, peers)
        await hall.wait_for(1)
        hall.arrivals[0].settle()
        hall.arrivals[0].settle()
        await hall.wait_for(2)
        assert await hall.wait_in_vain() == 2

    run(behave, max_handshakes=1)


def test_who_hangs_up_gives_its_place_back() -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        first = connect(hall, peers)
        await hall.wait_for(1)
        connect(hall, peers)
        assert await hall.wait_in_vain() == 1
        first.close()
        await hall.wait_for(2)

    run(behave, max_handshakes=1)


def test_who_waits_in_the_backlog_when_the_server_stops_is_turned_away() -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        connect(hall, peers)
        waiting = connect(hall, peers)
        await hall.wait_for(1)
        hall.admission.stop()
        with pytest.raises(ConnectionError):
            await asyncio.get_running_loop().sock_recv(waiting, 1)
        with pytest.raises(ConnectionRefusedError):
            connect(hall, peers)

    run(behave, max_handshakes=1)


def of_server(folder: Path, *, hosts: str = "DNS:nobody") -> ssl.SSLContext:
    own = make_signed(folder, "server", make_authority(folder, "ca"), hosts=hosts)
    return server_context(own.certificate, own.key, on_refused=note_tls_refusal)


def test_a_peer_that_does_not_finish_tls_is_refused_when_its_time_is_up(tmp_path: Path) -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        silent = connect(hall, peers)
        assert await hall.wait_for_refusal() == ("timeout", "no TLS within 0 s")
        assert await asyncio.get_running_loop().sock_recv(silent, 1) == b""
        connect(hall, peers)
        hall.refusals.clear()
        await hall.wait_for_refusal()

    run(behave, max_handshakes=1, tls=of_server(tmp_path), handshake_s=0.1)


def test_peers_that_are_refused_at_the_same_time_are_told_apart(tmp_path: Path) -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        for greeting in (NO_TLS, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\xff"):
            peer = connect(hall, peers)
            peer.sendall(greeting)
            await asyncio.get_running_loop().sock_recv(peer, 4096)
            peer.shutdown(socket.SHUT_WR)
        while len(hall.refusals) < 2:
            await asyncio.sleep(0)
        assert ("tls", "peer does not speak TLS") in hall.refusals
        assert {why for why, _ in hall.refusals} == {"tls"}
        assert len({reason for _, reason in hall.refusals}) == 2

    run(behave, tls=of_server(tmp_path))


def say_nothing(peer: socket.socket, _: ssl.SSLContext) -> None:
    peer.close()


def say_no_tls(peer: socket.socket, _: ssl.SSLContext) -> None:
    peer.sendall(NO_TLS)
    peer.recv(1024)
    peer.close()


def shake_hands(peer: socket.socket, context: ssl.SSLContext) -> None:
    context.wrap_socket(peer, server_hostname="127.0.0.1").close()


@pytest.mark.parametrize("visit", [say_nothing, say_no_tls, shake_hands])
def test_the_memory_for_tls_is_free_when_a_connection_ends(
    tmp_path: Path, visit: Callable[[socket.socket, ssl.SSLContext], None]
) -> None:
    tls = of_server(tmp_path, hosts="IP:127.0.0.1")
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    def visits(port: int) -> None:
        for _ in range(5):
            visit(socket.create_connection(("127.0.0.1", port), LONG_S), trusting)

    async def behave(hall: Hall, _: ExitStack) -> None:
        await asyncio.get_running_loop().run_in_executor(None, visits, hall.port)
        while len(hall.arrivals) < 5 or hall.admission._under_way:
            await asyncio.sleep(0.01)
        hall.connections.clear()
        await hall.wait_in_vain()
        left = [each for each in gc.get_objects() if isinstance(each, SSLProtocol)]
        assert len(left) == 0

    gc.collect()
    gc.disable()
    try:
        run(behave, tls=tls)
    finally:
        gc.enable()


def test_who_only_looks_whether_the_port_is_open_is_no_refusal(tmp_path: Path) -> None:
    async def behave(hall: Hall, peers: ExitStack) -> None:
        connect(hall, peers).close()
        connect(hall, peers).sendall(NO_TLS)
        assert await hall.wait_for_refusal() == ("tls", "peer does not speak TLS")
        assert len(hall.refusals) == 1

    run(behave, max_handshakes=1, tls=of_server(tmp_path), handshake_s=1.0)

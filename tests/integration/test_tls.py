"""TLS over sockets on the loopback interface, against what Python and asyncio make of it."""

import asyncio
import contextlib
import functools
import os
import queue
import random
import re
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from offload import tls
from offload.auth import NONCE_BYTES
from offload.errors import AuthError, HandshakeError, SessionLost
from offload.session import DeviceSession
from offload.tls import device_context, secure
from offload.tls.connection import CHUNK_BYTES, RECORD_BYTES, TlsConnection
from offload.transport import connect, listening_sockets
from offload.wire import Piece
from tests.certificates import Identity, make_authority, make_signed
from tests.session_pair import opening

pytestmark = pytest.mark.integration

LONG_S: Final = 30.0
HOST: Final = "127.0.0.1"

# Larger than what the sockets of a connection hold together.
MORE_THAN_SOCKETS_HOLD: Final = 16 * 1024 * 1024


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Identity:
    return make_authority(folder, "ca")


@pytest.fixture(scope="module")
def stranger(folder: Path) -> Identity:
    return make_authority(folder, "stranger")


@pytest.fixture(scope="module")
def server(folder: Path, authority: Identity) -> Identity:
    return make_signed(folder, "server", authority, hosts="DNS:localhost,IP:127.0.0.1")


@pytest.fixture(scope="module")
def device(folder: Path, authority: Identity) -> Identity:
    return make_signed(folder, "device", authority)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(listening_sockets(HOST, 0)[0]) as opened:
        opened.settimeout(LONG_S)
        yield opened


@pytest.fixture
def pair(
    listener: socket.socket, authority: Identity, server: Identity
) -> Iterator[tuple[TlsConnection, ssl.SSLSocket]]:
    """Yield both ends of a connection: the device's is ours, the cloud's is Python's."""
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake_hands, listener, device_context(authority.certificate))
        raw, _ = listener.accept()
        raw.settimeout(LONG_S)
        # Without these Python takes an end that was cut off for one that was meant; the first is
        # set by Python 3.11.2 with OpenSSL 3, which is what Debian 12 has.
        context = context_of(server)
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        cloud = context.wrap_socket(raw, server_side=True, suppress_ragged_eofs=False)
        with closing(cloud), closing(shaken.result(LONG_S)) as secured:
            yield secured, cloud


def context_of(server: Identity, client_ca: Path | None = None) -> ssl.SSLContext:
    return tls.server_context(server.certificate, server.key, client_ca, on_refused=pytest.fail)


def shake_hands(
    listener: socket.socket, context: ssl.SSLContext, host: str = HOST
) -> TlsConnection:
    connection = connect(HOST, listener.getsockname()[1], timeout_s=LONG_S)
    connection.set_timeout(LONG_S)
    try:
        secured = secure(connection, context, host)
    except BaseException:
        connection.close()
        raise
    secured.set_timeout(None)
    return secured


def read(peer: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count and (part := peer.recv(min(1 << 16, count - len(parts)))):
        parts += part
    return bytes(parts)


def receive(connection: TlsConnection, count: int, *, view_bytes: int) -> bytes:
    received, place = bytearray(), memoryview(bytearray(view_bytes))
    while len(received) < count:
        received += place[: connection.receive_into(place[: count - len(received)])]
    return bytes(received)


@functools.cache
def noise(count: int) -> bytes:
    return random.Random(count).randbytes(count)


def cut(whole: bytes, piece_bytes: int) -> list[Piece]:
    view = memoryview(whole)
    return [view[start : start + piece_bytes] for start in range(0, len(whole), piece_bytes)]


# What arrives


@pytest.mark.parametrize("count", [1, RECORD_BYTES, RECORD_BYTES + 1, CHUNK_BYTES + 1, 1 << 23])
@pytest.mark.parametrize("piece_bytes", [700, RECORD_BYTES - 1, RECORD_BYTES, 1 << 23])
def test_the_cloud_reads_what_the_device_sends_however_it_is_cut(
    pair: tuple[TlsConnection, ssl.SSLSocket], count: int, piece_bytes: int
) -> None:
    secured, cloud = pair
    whole = noise(count)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(secured.send, [b"", *cut(whole, piece_bytes), b""])
        received = read(cloud, count)
        sent.result(LONG_S)
    assert received == whole
    assert secured.sent_bytes > count


@pytest.mark.parametrize("view_bytes", [1, 1000, RECORD_BYTES, 1 << 20])
@pytest.mark.parametrize("count", [1, RECORD_BYTES + 1, 3 * CHUNK_BYTES + 1])
def test_the_device_reads_what_the_cloud_sends_into_places_of_all_sizes(
    pair: tuple[TlsConnection, ssl.SSLSocket], count: int, view_bytes: int
) -> None:
    secured, cloud = pair
    whole = noise(count)
    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(cloud.sendall, whole)
        received = receive(secured, count, view_bytes=view_bytes)
        sent.result(LONG_S)
    assert received == whole


def test_single_bytes_arrive_one_by_one(pair: tuple[TlsConnection, ssl.SSLSocket]) -> None:
    secured, cloud = pair
    for each in noise(300):
        secured.send([bytes([each])])
        assert cloud.recv(8) == bytes([each])


def test_small_pieces_share_records(pair: tuple[TlsConnection, ssl.SSLSocket]) -> None:
    secured, cloud = pair
    before = secured.sent_bytes
    secured.send([b"x"] * 1000)
    assert read(cloud, 1000) == b"x" * 1000
    assert secured.sent_bytes - before < 1000 + 50


def test_what_the_socket_does_not_take_at_once_is_sent_later_and_nothing_twice(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, cloud = pair
    messages = [noise(size) for size in (MORE_THAN_SOCKETS_HOLD, 1, 5 * CHUNK_BYTES)]
    rest = secured.send_at_once(cut(messages[0], 100_000))
    assert rest

    def send_rest() -> None:
        secured.send(rest)
        for each in messages[1:]:
            secured.send(secured.send_at_once(cut(each, 100_000)))

    with ThreadPoolExecutor(1) as pool:
        sent = pool.submit(send_rest)
        received = read(cloud, sum(map(len, messages)))
        sent.result(LONG_S)
    assert received == b"".join(messages)


@pytest.mark.parametrize("finish", ["send", "send_at_once"])
def test_ciphertext_that_waits_alone_is_reported_as_left_and_kept(
    pair: tuple[TlsConnection, ssl.SSLSocket], finish: str
) -> None:
    secured, cloud = pair
    sent = 0
    # No plaintext is left of a message that is encrypted as a whole, though the socket is full.
    while not (rest := secured.send_at_once([noise(CHUNK_BYTES)])):
        sent += 1
    assert sum(map(len, rest)) == 0
    whole = noise(CHUNK_BYTES) * (sent + 1) + b"end"

    def send_rest() -> None:
        left = rest
        while left and finish == "send_at_once":
            left = secured.send_at_once(left)
        secured.send(left)
        secured.send([b"end"])

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(send_rest)
        received = read(cloud, len(whole))
        done.result(LONG_S)
    assert received == whole


# Both directions at once

BLOCK_BYTES: Final = 50_000
BLOCK: Final = struct.Struct("!Q?")
PATTERN: Final = noise(BLOCK_BYTES + 251)


def block(number: int, *, is_last: bool) -> bytes:
    start = number % 251
    body = PATTERN[start : start + BLOCK_BYTES - BLOCK.size]
    return BLOCK.pack(number, is_last) + body


def check(number: int, received: bytes | bytearray) -> bool:
    """Compare a block with what it must be, and return whether it is the last."""
    is_last = bool(received[BLOCK.size - 1])
    assert received == block(number, is_last=is_last)
    return is_last


@contextmanager
def cloud_running(
    context: ssl.SSLContext,
    handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> Iterator[socket.socket]:
    """Run an asyncio server in a thread, as the cloud does, and yield its listener."""
    listener = listening_sockets(HOST, 0)[0]
    stop: Future[Callable[[], object]] = Future()

    async def serve() -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        running = await asyncio.start_server(
            handle, sock=listener, ssl=context, ssl_handshake_timeout=LONG_S
        )
        stop.set_result(lambda: loop.call_soon_threadsafe(stopped.set))
        async with running:
            await stopped.wait()

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(asyncio.run, serve())
        try:
            yield listener
        finally:
            stop.result(LONG_S)()
            served.result(LONG_S)


def both_directions_at_once(server: Identity, authority: Identity, *, duration_s: float) -> int:
    """Send for a while from both ends, check all that comes, and return how many blocks came."""
    ends_at = time.monotonic() + duration_s
    received_by_cloud: Future[int] = Future()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def send() -> None:
            for number in range(1 << 40):
                is_last = time.monotonic() > ends_at
                writer.write(block(number, is_last=is_last))
                await writer.drain()
                if is_last:
                    return

        async def read_all() -> None:
            for number in range(1 << 40):
                if check(number, await reader.readexactly(BLOCK_BYTES)):
                    received_by_cloud.set_result(number + 1)
                    return

        try:
            await asyncio.gather(send(), read_all())
        except BaseException as error:
            received_by_cloud.set_exception(error)
            raise
        finally:
            writer.close()

    with cloud_running(context_of(server), handle) as listener:
        secured = shake_hands(listener, device_context(authority.certificate))
        with closing(secured), ThreadPoolExecutor(1) as pool:
            sent = pool.submit(send_in_odd_pieces, secured, ends_at)
            received = receive_in_odd_pieces(secured)
            assert sent.result(LONG_S) == received_by_cloud.result(LONG_S)
            return received + sent.result()


def send_in_odd_pieces(secured: TlsConnection, ends_at: float) -> int:
    chance = random.Random(1)
    for number in range(1 << 40):
        is_last = time.monotonic() > ends_at
        pieces = cut(block(number, is_last=is_last), chance.choice([100, 7000, 20_000, 50_000]))
        if chance.random() < 0.5:
            pieces = list(secured.send_at_once(pieces))
        secured.send(pieces)
        if is_last:
            return number + 1
    raise AssertionError("never")


def receive_in_odd_pieces(secured: TlsConnection) -> int:
    chance = random.Random(2)
    place = memoryview(bytearray(BLOCK_BYTES))
    for number in range(1 << 40):
        filled = 0
        while filled < BLOCK_BYTES:
            stop = min(BLOCK_BYTES, filled + chance.choice([100, 9000, BLOCK_BYTES]))
            filled += secured.receive_into(place[filled:stop])
        if check(number, bytes(place)):
            return number + 1
    raise AssertionError("never")


def test_both_directions_run_at_once_for_two_seconds(server: Identity, authority: Identity) -> None:
    assert both_directions_at_once(server, authority, duration_s=2.0) > 100


@pytest.mark.slow
def test_both_directions_run_at_once_for_a_minute(server: Identity, authority: Identity) -> None:
    assert both_directions_at_once(server, authority, duration_s=60.0) > 3000


# Keys that change


@dataclass(frozen=True, slots=True, kw_only=True)
class OpensslServer:
    """OpenSSL's own server: it sends the lines of its input, and prints what it gets."""

    port: int
    program: subprocess.Popen[bytes]
    new_keys: queue.SimpleQueue[bytes]
    new_keys_of_device: queue.SimpleQueue[bytes]

    def write(self, line: bytes) -> None:
        assert self.program.stdin is not None
        self.program.stdin.write(line)
        self.program.stdin.flush()

    def change_keys(self) -> None:
        """Have the server take new keys and ask for new ones, and wait until it has."""
        self.write(b"K\n")
        self.new_keys.get(timeout=LONG_S)

    def printed(self, ending: bytes) -> bytes:
        """Return what the server gets until the line ``ending``, without what it says itself."""
        assert self.program.stdout is not None
        lines = b"".join(iter(self.program.stdout.readline, ending))
        return re.sub(rb"Read BLOCK\n|SSL_do_handshake -> 1\n", b"", lines)


@contextmanager
def openssl_server(server: Identity, folder: Path) -> Iterator[OpensslServer]:
    log = folder / "messages"
    os.mkfifo(log)
    command: list[str | Path] = [
        "openssl",
        "s_server",
        "-tls1_3",
        "-accept",
        f"{HOST}:0",
        "-msg",
        "-msgfile",
        log,
    ]
    command += ["-cert", server.certificate, "-key", server.key]
    sent: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read_log() -> None:
        with log.open("rb") as lines:
            for line in lines:
                if line.rstrip().endswith(b"KeyUpdate"):
                    (sent if line.startswith(b">>>") else received).put(line)

    with ThreadPoolExecutor(1) as pool:
        pool.submit(read_log)
        program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with program:
            try:
                assert program.stdout is not None
                accepts = next(line for line in program.stdout if line.startswith(b"ACCEPT "))
                port = int(accepts.rpartition(b":")[2])
                yield OpensslServer(
                    port=port, program=program, new_keys=sent, new_keys_of_device=received
                )
            finally:
                program.kill()


def test_new_keys_while_both_directions_are_in_use_lose_nothing(
    server: Identity, authority: Identity, tmp_path: Path
) -> None:
    rounds, ending = 50, b"the end\n"
    line, stop, sent = b"x" * 1000 + b"\n", threading.Event(), bytearray()
    with openssl_server(server, tmp_path) as cloud:
        connection = connect(HOST, cloud.port, timeout_s=LONG_S)
        secured = secure(connection, device_context(authority.certificate), HOST)
        secured.set_timeout(LONG_S)

        def send() -> None:
            for number in range(1 << 40):
                message = b"%d %s" % (number, line)
                secured.send([message])
                sent.extend(message)
                if stop.is_set():
                    break
            secured.send([ending])

        with closing(secured), ThreadPoolExecutor(2) as pool:
            printed = pool.submit(cloud.printed, ending)
            sending = pool.submit(send)
            for number in range(rounds):
                message = b"%d %s" % (number, line)
                cloud.write(message)
                assert receive(secured, len(message), view_bytes=512) == message
                cloud.change_keys()
            stop.set()
            sending.result(LONG_S)
            assert printed.result(LONG_S).endswith(sent)
            assert cloud.new_keys_of_device.qsize() > 1


# How a connection ends


def test_a_connection_that_was_cut_off_is_a_lost_session(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, cloud = pair
    cloud.sendall(b"half a mess")
    cloud.shutdown(socket.SHUT_WR)
    assert receive(secured, 11, view_bytes=64) == b"half a mess"
    for _ in range(2):
        with pytest.raises(SessionLost, match="the server closed it"):
            secured.receive_into(memoryview(bytearray(8)))


def test_the_cloud_learns_that_a_closed_connection_was_not_cut_off(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, cloud = pair
    secured.send([b"all"])
    secured.close()
    assert (cloud.recv(8), cloud.recv(8)) == (b"all", b"")


def test_closing_wakes_a_thread_that_waits_for_bytes(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, _ = pair
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(receive, secured, 1, view_bytes=8)
        secured.close()
        assert isinstance(waiting.exception(LONG_S), SessionLost)


def test_closing_wakes_a_thread_that_waits_for_the_socket_and_says_nothing_in_between(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, cloud = pair
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(secured.send, [noise(MORE_THAN_SOCKETS_HOLD)])
        read(cloud, CHUNK_BYTES)
        secured.close()
        assert isinstance(sending.exception(LONG_S), SessionLost)
    with pytest.raises(ssl.SSLError, match=r"(?i)eof"):
        read(cloud, MORE_THAN_SOCKETS_HOLD)


def test_sending_into_a_closed_connection_is_a_lost_session(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, _ = pair
    secured.close()
    secured.close()
    for send in (secured.send, secured.send_at_once):
        with pytest.raises(SessionLost, match="connection ended while sending"):
            send([b"x"])


def test_nothing_within_the_time_is_a_timeout_and_no_lost_session(
    pair: tuple[TlsConnection, ssl.SSLSocket],
) -> None:
    secured, cloud = pair
    secured.set_timeout(1.0)
    with pytest.raises(TimeoutError):
        secured.receive_into(memoryview(bytearray(8)))
    cloud.sendall(b"late")
    secured.set_timeout(LONG_S)
    assert secured.receive_into(memoryview(bytearray(8))) == 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudByHand:
    """The cloud's end, where a test decides how ciphertext is cut."""

    raw: socket.socket
    tls: ssl.SSLObject
    outgoing: ssl.MemoryBIO


@pytest.fixture
def pair_by_hand(
    listener: socket.socket, authority: Identity, server: Identity
) -> Iterator[tuple[TlsConnection, CloudByHand]]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    cloud = context_of(server).wrap_bio(incoming, outgoing, server_side=True)
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake_hands, listener, device_context(authority.certificate))
        raw, _ = listener.accept()
        with closing(raw):
            while True:
                incoming.write(raw.recv(1 << 16))
                with contextlib.suppress(ssl.SSLWantReadError):
                    cloud.do_handshake()
                    break
                raw.sendall(outgoing.read())
            with closing(shaken.result(LONG_S)) as secured:
                yield secured, CloudByHand(raw=raw, tls=cloud, outgoing=outgoing)


def test_what_is_sent_counts_as_it_is_on_the_wire(
    pair_by_hand: tuple[TlsConnection, CloudByHand],
) -> None:
    secured, cloud = pair_by_hand
    before = secured.sent_bytes
    secured.send([b"x" * 1000])
    assert secured.sent_bytes - before == len(cloud.raw.recv(1 << 16)) > 1000


def test_a_record_that_comes_in_halves_is_waited_for(
    pair_by_hand: tuple[TlsConnection, CloudByHand],
) -> None:
    secured, cloud = pair_by_hand
    cloud.tls.write(b"whole")
    record = cloud.outgoing.read()
    cloud.raw.sendall(record[:9])
    secured.set_timeout(1.0)
    with pytest.raises(TimeoutError):
        secured.receive_into(memoryview(bytearray(8)))
    cloud.raw.sendall(record[9:])
    secured.set_timeout(LONG_S)
    assert receive(secured, 5, view_bytes=8) == b"whole"


def test_what_came_before_the_end_is_read_before_it(
    pair_by_hand: tuple[TlsConnection, CloudByHand],
) -> None:
    secured, cloud = pair_by_hand
    cloud.tls.write(b"last words")
    with pytest.raises(ssl.SSLWantReadError):
        cloud.tls.unwrap()
    cloud.raw.sendall(cloud.outgoing.read())
    assert secured.receive_into(memoryview(bytearray(64))) == 10
    for _ in range(2):
        with pytest.raises(SessionLost, match="the server closed it"):
            secured.receive_into(memoryview(bytearray(64)))


def test_bytes_that_are_no_tls_end_a_session_after_what_came_before_them(
    pair_by_hand: tuple[TlsConnection, CloudByHand],
) -> None:
    secured, cloud = pair_by_hand
    cloud.tls.write(b"good")
    cloud.raw.sendall(cloud.outgoing.read() + b"TO" * 20)
    assert secured.receive_into(memoryview(bytearray(64))) == 4
    for _ in range(2):
        with pytest.raises(SessionLost, match="TLS failed: "):
            secured.receive_into(memoryview(bytearray(64)))


# Handshakes that fail, and what both ends say


async def no_one(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    raise AssertionError("a refused device reached the cloud")


def refused_by_device(listener: socket.socket, context: ssl.SSLContext, host: str = HOST) -> str:
    with pytest.raises(AuthError) as refused:
        shake_hands(listener, context, host)
    return str(refused.value)


def said_by_cloud(
    server: Identity, client_ca: Path | None, attempt: Callable[[socket.socket], None]
) -> str:
    """Run ``attempt`` against a server, and return what that says of it."""
    refused: Future[str] = Future()
    context = tls.server_context(
        server.certificate, server.key, client_ca, on_refused=refused.set_result
    )
    with cloud_running(context, no_one) as listener:
        attempt(listener)
        return refused.result(LONG_S)


def test_a_server_of_an_unknown_authority_is_not_accepted(
    server: Identity, stranger: Identity
) -> None:
    def attempt(listener: socket.socket) -> None:
        assert refused_by_device(listener, device_context(stranger.certificate)) == (
            "server's certificate is not accepted: unable to get local issuer certificate: "
            "give the authority that signed it with --tls-ca"
        )

    said = said_by_cloud(server, None, attempt)
    assert said == (
        "device does not accept this server's certificate (tlsv1 alert unknown ca): --tls-cert "
        "must have the name that devices connect to, and be signed by their --tls-ca"
    )


@pytest.mark.parametrize("host", ["example.org", "127.0.0.2"])
def test_a_server_of_another_name_is_not_accepted(
    server: Identity, authority: Identity, host: str
) -> None:
    def attempt(listener: socket.socket) -> None:
        said = refused_by_device(listener, device_context(authority.certificate), host)
        assert said.startswith("server's certificate is not accepted: ")
        assert f"certificate is not valid for '{host}': connect to a name that it has" in said

    said = said_by_cloud(server, None, attempt)
    assert said.startswith("device does not accept this server's certificate (")
    assert "--tls-cert must have the name that devices connect to" in said


def test_a_server_whose_certificate_has_expired_is_not_accepted(
    authority: Identity, tmp_path: Path
) -> None:
    expired = make_signed(tmp_path, "expired", authority, hosts="IP:127.0.0.1", days=-1)

    def attempt(listener: socket.socket) -> None:
        assert refused_by_device(listener, device_context(authority.certificate)) == (
            "server's certificate is not accepted: certificate has expired: "
            "renew it, or set this machine's clock"
        )

    said = said_by_cloud(expired, None, attempt)
    assert "device does not accept this server's certificate (" in said
    assert "certificate expired): renew --tls-cert, or set the device's clock" in said


def test_a_device_with_the_certificate_that_the_server_asks_for_is_let_in(
    server: Identity, device: Identity, authority: Identity
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.readexactly(6))
        writer.close()

    with cloud_running(context_of(server, authority.certificate), answer) as listener:
        context = device_context(authority.certificate, device.certificate, device.key)
        with closing(shake_hands(listener, context, "localhost")) as secured:
            secured.send([b"device"])
            assert receive(secured, 12, view_bytes=64) == b"hello device"


def test_a_device_without_the_certificate_that_the_server_asks_for_is_refused(
    server: Identity, authority: Identity
) -> None:
    def attempt(listener: socket.socket) -> None:
        said = refused_after_handshake(listener, device_context(authority.certificate))
        assert said == "server asks for a certificate: give --tls-cert and --tls-key"

    said = said_by_cloud(server, authority.certificate, attempt)
    assert said == (
        "device has no certificate: give it --tls-cert and --tls-key, as --tls-client-ca asks"
    )


def test_a_device_with_a_certificate_of_an_unknown_authority_is_refused(
    server: Identity, authority: Identity, stranger: Identity, tmp_path: Path
) -> None:
    unknown = make_signed(tmp_path, "unknown", stranger)

    def attempt(listener: socket.socket) -> None:
        context = device_context(authority.certificate, unknown.certificate, unknown.key)
        assert refused_after_handshake(listener, context) == (
            "server does not accept this device's certificate (tlsv1 alert unknown ca): "
            "give --tls-cert and --tls-key that its --tls-client-ca has signed"
        )

    said = said_by_cloud(server, authority.certificate, attempt)
    assert said == (
        "device's certificate is not accepted: unable to get local issuer certificate: give it one "
        "that --tls-client-ca has signed for a client, or another --tls-client-ca here"
    )


def test_a_device_whose_certificate_has_expired_is_refused(
    server: Identity, authority: Identity, tmp_path: Path
) -> None:
    expired = make_signed(tmp_path, "expired", authority, days=-1)

    def attempt(listener: socket.socket) -> None:
        context = device_context(authority.certificate, expired.certificate, expired.key)
        said = refused_after_handshake(listener, context)
        assert said.startswith("server does not accept this device's certificate (")
        assert said.endswith("certificate expired): renew it, or set the server's clock")

    said = said_by_cloud(server, authority.certificate, attempt)
    assert said == (
        "device's certificate is not accepted: certificate has expired: give the device a new one, "
        "or set this machine's clock"
    )


def refused_after_handshake(listener: socket.socket, context: ssl.SSLContext) -> str:
    """In TLS 1.3 a device learns only after its handshake that its certificate is not accepted."""
    with closing(shake_hands(listener, context)) as secured:
        secured.send([b"hello"])
        with pytest.raises(AuthError) as refused:
            receive(secured, 1, view_bytes=64)
        return str(refused.value)


def test_a_device_without_tls_reads_that_the_server_speaks_it(server: Identity) -> None:
    session = DeviceSession(opening=opening(), token=None, nonce=bytes(NONCE_BYTES))

    def attempt(listener: socket.socket) -> None:
        with closing(connect(HOST, listener.getsockname()[1], timeout_s=LONG_S)) as plain:
            plain.send(session.take_outgoing())
            with pytest.raises(HandshakeError) as refused:
                list(session.received(plain.receive_into(session.buffer())))
        assert str(refused.value) == "server refused: this server speaks TLS: give --tls"

    assert said_by_cloud(server, None, attempt) == "peer does not speak TLS"


def test_a_server_without_tls_is_told_apart(listener: socket.socket, authority: Identity) -> None:
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake_hands, listener, device_context(authority.certificate))
        plain, _ = listener.accept()
        with closing(plain):
            plain.recv(1 << 16)
            plain.sendall(b"TO\x0c\0\0\0\0\x20" + bytes(36))
            refused = shaken.exception(LONG_S)
    assert isinstance(refused, HandshakeError)
    assert str(refused) == (
        "server does not speak TLS: leave --tls out, or give the server --tls-cert"
    )


def test_a_server_of_older_tls_is_told_apart(
    listener: socket.socket, authority: Identity, server: Identity
) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.load_cert_chain(server.certificate, server.key)
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake_hands, listener, device_context(authority.certificate))
        raw, _ = listener.accept()
        with closing(raw), pytest.raises(ssl.SSLError):
            old.wrap_socket(raw, server_side=True)
        refused = shaken.exception(LONG_S)
    assert isinstance(refused, HandshakeError)
    assert str(refused) == "server does not speak TLS 1.3: upgrade it"


def test_a_handshake_that_is_cut_off_is_a_lost_session(
    listener: socket.socket, authority: Identity
) -> None:
    with ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(shake_hands, listener, device_context(authority.certificate))
        raw, _ = listener.accept()
        raw.recv(1 << 16)
        raw.close()
        assert isinstance(shaken.exception(LONG_S), SessionLost)


def test_a_handshake_that_is_trickled_ends_in_time(
    listener: socket.socket, authority: Identity
) -> None:
    with closing(connect(HOST, listener.getsockname()[1], timeout_s=LONG_S)) as connection:
        raw, _ = listener.accept()
        with closing(raw):
            raw.sendall(b"\x16")
            context = device_context(authority.certificate)
            with pytest.raises(TimeoutError, match="TLS handshake took longer than 0 s"):
                secure(connection, context, HOST, timeout_s=0.0)

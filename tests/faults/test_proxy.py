"""Each fault does what it says. The tests hold both ends of each connection themselves."""

import itertools
import os
import random
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.faults.flow import CHUNK_BYTES, MAX_HELD_BYTES, Stage
from tests.faults.proxy import Closing, Direction, End, FaultProxy, Faults

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Longer than anything takes that works: whoever waits for this long, waits in vain.
PATIENCE_S = 5.0


class Network:
    """A proxy before a listening socket; ``connect`` gives both ends of a new connection."""

    def __init__(self, *, seed: int = 7) -> None:
        self._opened = ExitStack()
        self.listener = self._opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.listener.settimeout(PATIENCE_S)
        target = self.listener.getsockname()
        self.proxy = self._opened.enter_context(FaultProxy(target=target, seed=seed))

    def dial(self) -> socket.socket:
        address = (self.proxy.host, self.proxy.port)
        return self._opened.enter_context(socket.create_connection(address, PATIENCE_S))

    def answer(self) -> socket.socket:
        server, _ = self.listener.accept()
        server.settimeout(PATIENCE_S)
        return self._opened.enter_context(server)

    def connect(self) -> tuple[socket.socket, socket.socket]:
        client = self.dial()
        return client, self.answer()

    def close(self) -> None:
        self._opened.close()


@pytest.fixture
def network() -> Iterator[Network]:
    network = Network()
    yield network
    network.close()


@contextmanager
def sending(sock: socket.socket, *pieces: bytes) -> Iterator[None]:
    """Send the pieces, and then the end of the file, in another thread."""

    def send() -> None:
        for piece in pieces:
            sock.sendall(piece)
        sock.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=send)
    thread.start()
    yield
    thread.join()


def receive(sock: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (piece := sock.recv(size - len(data))):
        data += piece
    return data


def receive_all(sock: socket.socket) -> bytes:
    pieces = []
    while piece := sock.recv(1 << 20):
        pieces.append(piece)
    return b"".join(pieces)


def receive_end(sock: socket.socket) -> Closing:
    """Read up to the end, and say which it was."""
    try:
        receive_all(sock)
    except ConnectionResetError:
        return Closing.RESET
    return Closing.FIN


def stay_silent(*socks: socket.socket, for_s: float) -> bool:
    return not select.select(socks, [], [], for_s)[0]


def through(faults: Faults, *pieces: bytes, seed: int = 7) -> bytes:
    """What the server receives of these pieces."""
    network = Network(seed=seed)
    network.proxy.set_faults(faults, direction=Direction.UP)
    client, server = network.connect()
    with sending(client, *pieces):
        received = receive_all(server)
    network.close()
    return received


def random_bytes(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def fill(sock: socket.socket) -> int:
    """Send until the socket takes nothing for 0.3 s; return how much it took."""
    sock.setblocking(False)
    taken = 0
    while select.select([], [sock], [], 0.3)[1]:
        taken += sock.send(bytes(1 << 16))
    return taken


def test_without_faults_all_bytes_pass_both_ways_and_are_counted(network: Network) -> None:
    client, server = network.connect()
    up, down = random_bytes(3_000_000), random_bytes(2_000_000)

    with sending(client, up):
        assert receive_all(server) == up
    with sending(server, down):
        assert receive_all(client) == down

    assert (network.proxy.bytes_up, network.proxy.bytes_down) == (len(up), len(down))
    assert network.proxy.opened == 1


def test_after_the_end_of_one_direction_the_other_goes_on(network: Network) -> None:
    client, server = network.connect()
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""

    server.sendall(b"still here")

    assert receive(client, 10) == b"still here"
    assert network.proxy.connections == 1


def test_a_reset_by_one_end_reaches_the_other(network: Network) -> None:
    for closes_first in (0, 1):
        ends = network.connect()
        # Once a byte came through, the proxy serves the connection.
        ends[0].sendall(b"x")
        receive(ends[1], 1)
        ends[closes_first].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends[closes_first].close()
        assert receive_end(ends[1 - closes_first]) is Closing.RESET


def test_latency_delays_each_direction_on_its_own(network: Network) -> None:
    client, server = network.connect()
    network.proxy.set_faults(Faults(latency_s=0.2), direction=Direction.UP)

    started = time.monotonic()
    client.sendall(b"ping")
    receive(server, 4)
    arrived = time.monotonic()
    server.sendall(b"pong")
    receive(client, 4)

    assert 0.2 <= arrived - started < 0.4
    assert time.monotonic() - arrived < 0.2


def test_latency_limits_no_rate(network: Network) -> None:
    network.proxy.set_faults(Faults(latency_s=0.2))
    client, server = network.connect()

    started = time.monotonic()
    with sending(client, bytes(20_000_000)):
        assert len(receive_all(server)) == 20_000_000

    # If no more than the held bytes were on their way at a time, this would take 15 s.
    assert 0.2 <= time.monotonic() - started < 2.0


def test_jitter_varies_the_delay_and_keeps_the_order(network: Network) -> None:
    network.proxy.set_faults(Faults(latency_s=0.01, jitter_s=0.05))
    client, server = network.connect()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    delays_s = []
    for number in range(20):
        started = time.monotonic()
        client.sendall(bytes([number]))
        assert server.recv(10) == bytes([number])
        delays_s.append(time.monotonic() - started)

    assert min(delays_s) >= 0.01
    assert min(delays_s) < 0.03
    assert 0.04 < max(delays_s) < 0.2

    data = random_bytes(2_000_000)
    with sending(client, data):
        assert receive_all(server) == data


def test_the_rate_is_kept_within_5_percent_in_each_direction(network: Network) -> None:
    network.proxy.set_faults(Faults(rate_bytes_s=250_000), direction=Direction.UP)
    network.proxy.set_faults(Faults(rate_bytes_s=8_000_000), direction=Direction.DOWN)
    client, server = network.connect()
    took_s = {}

    def read_all(sock: socket.socket, started: float) -> None:
        receive_all(sock)
        took_s[sock] = time.monotonic() - started

    with sending(client, bytes(500_000)), sending(server, bytes(16_000_000)):
        started = time.monotonic()
        reader = threading.Thread(target=read_all, args=(client, started))
        reader.start()
        read_all(server, started)
        reader.join()

    assert took_s[server] == pytest.approx(2.0, rel=0.05)
    assert took_s[client] == pytest.approx(2.0, rel=0.05)


def test_time_in_which_nothing_was_sent_is_no_credit_for_the_rate(network: Network) -> None:
    network.proxy.set_faults(Faults(rate_bytes_s=100_000))
    client, server = network.connect()
    client.sendall(b"x")
    receive(server, 1)
    assert stay_silent(server, for_s=0.5)

    started = time.monotonic()
    client.sendall(bytes(30_000))
    receive(server, 30_000)

    assert time.monotonic() - started == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize(
    "faults", [Faults(), Faults(rate_bytes_s=1000)], ids=["slow_reader", "slow_link"]
)
def test_a_sender_faster_than_the_link_or_the_reader_is_stopped(
    network: Network, faults: Faults
) -> None:
    network.proxy.set_faults(faults)
    network.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
    client, _server = network.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)

    # The proxy's two sockets, what it holds, and the two small buffers of the ends.
    assert MAX_HELD_BYTES / 2 < fill(client) < 2_000_000


def test_with_slices_of_one_byte_each_byte_travels_alone(network: Network) -> None:
    client, server = network.connect()
    network.proxy.set_faults(Faults(slice_bytes=1))

    with sending(client, bytes(range(200))):
        assert receive_all(server) == bytes(range(200))

    # tcpi_data_segs_in: how many segments with data this socket received.
    info = server.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 160)
    assert struct.unpack_from("I", info, 152)[0] >= 200


def test_one_bit_is_flipped_in_each_block_and_nothing_else_changes() -> None:
    sent = random_bytes(1_000_000)
    received = through(Faults(flip_every_bytes=10_000), sent)

    assert len(received) == len(sent)
    changes = {at: a ^ b for at, (a, b) in enumerate(zip(sent, received, strict=True)) if a != b}
    assert [at // 10_000 for at in changes] == list(range(100))
    assert all(change.bit_count() == 1 for change in changes.values())
    assert len({at % 10_000 for at in changes}) > 50
    assert len(set(changes.values())) > 4


def test_two_neighbouring_chunks_swap_places_in_each_block() -> None:
    sent = random_bytes(100_000)
    received = through(Faults(reorder_every_bytes=1000), sent)

    assert len(received) == len(sent)
    for start in range(0, len(sent), 1000):
        block = sent[start : start + 1000]
        swapped = [
            block[:at] + block[at + 16 : at + 32] + block[at : at + 16] + block[at + 32 :]
            for at in range(1000 - 31)
        ]
        assert swapped.count(received[start : start + 1000]) == 1


def test_one_chunk_arrives_twice_in_each_block() -> None:
    sent = random_bytes(100_000)
    received = through(Faults(duplicate_every_bytes=1000), sent)

    assert len(received) == 100 * (1000 + CHUNK_BYTES)
    for number in range(100):
        block = sent[number * 1000 :][:1000]
        doubled = [block[: at + 16] + block[at:] for at in range(1000 - 15)]
        assert received[number * 1016 :][:1016] in doubled


EVERY_CHANGE = Faults(flip_every_bytes=50, reorder_every_bytes=70, duplicate_every_bytes=90)


def test_the_changes_depend_on_the_seed_and_not_on_how_the_bytes_are_cut() -> None:
    sent = random_bytes(100_000)
    whole = through(EVERY_CHANGE, sent)
    slow = Faults(
        rate_bytes_s=300_000,
        flip_every_bytes=50,
        reorder_every_bytes=70,
        duplicate_every_bytes=90,
    )

    assert through(slow, sent[:12_345], sent[12_345:]) == whole
    assert through(EVERY_CHANGE, sent, seed=8) != whole


def test_each_connection_and_each_direction_has_places_of_its_own(network: Network) -> None:
    network.proxy.set_faults(Faults(flip_every_bytes=100))
    sent = random_bytes(10_000)
    received = []
    for _ in range(2):
        ends = network.connect()
        for source, sink in (ends, ends[::-1]):
            with sending(source, sent):
                received.append(receive_all(sink))
    assert len(set(received)) == 4


@given(
    cuts=st.lists(st.integers(0, 3000), max_size=30),
    start=st.integers(0, 500),
    block_bytes=st.integers(4, 300),
)
def test_a_stage_changes_the_same_places_however_the_stream_is_cut(
    cuts: list[int], start: int, block_bytes: int
) -> None:
    def reverse(span: bytes, _: random.Random) -> bytes:
        return span[::-1]

    def run(stream: bytes, *cuts: int, start: int) -> bytes:
        stage = Stage(block_bytes, 4, reverse, key="7", start=start)
        places = [0, *sorted(cuts), len(stream)]
        fed = [stage.feed(stream[a:b]) for a, b in itertools.pairwise(places)]
        return b"".join(fed) + stage.flush()

    stream = random_bytes(3000)
    whole = run(stream, start=0)
    assert run(stream, *cuts, start=0) == whole
    # Started in the middle, it misses what lies before, at most the block it started in.
    later = -(-start // block_bytes) * block_bytes
    assert run(stream[start:], start=start)[later - start :] == whole[later:]


def test_bytes_held_for_a_swap_leave_unchanged_when_the_faults_end(network: Network) -> None:
    network.proxy.set_faults(Faults(reorder_every_bytes=2 * CHUNK_BYTES))
    client, server = network.connect()
    client.sendall(bytes(range(40)))
    assert receive(server, 32) == bytes(range(16, 32)) + bytes(range(16))
    assert stay_silent(server, for_s=0.1)

    network.proxy.set_faults(Faults())

    assert receive(server, 8) == bytes(range(32, 40))


@pytest.mark.parametrize("closing", Closing)
def test_a_cut_ends_all_connections_and_refuses_new_ones_until_it_is_healed(
    network: Network, closing: Closing
) -> None:
    client, server = network.connect()
    client.sendall(b"x")
    receive(server, 1)
    network.proxy.cut(closing)

    assert receive_end(client) is closing
    assert receive_end(server) is closing
    assert network.proxy.connections == 0
    with pytest.raises(ConnectionRefusedError):
        network.dial()
    network.proxy.heal()
    client, server = network.connect()
    client.sendall(b"again")
    assert receive(server, 5) == b"again"


def test_a_cut_by_an_end_of_file_is_no_reset_while_bytes_wait_both_ways(network: Network) -> None:
    client, server = network.connect()
    fill(server)
    network.proxy.stall()
    client.sendall(b"lost")

    network.proxy.cut(Closing.FIN)

    assert receive_end(client) is Closing.FIN


def test_nobody_else_gets_the_port_while_it_is_cut(network: Network) -> None:
    network.proxy.cut()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((network.proxy.host, network.proxy.port))


def test_in_a_black_hole_neither_end_learns_anything(network: Network) -> None:
    client, server = network.connect()
    client.sendall(b"x")
    receive(server, 1)

    network.proxy.black_hole()
    client.sendall(b"to the server")
    server.sendall(b"to the client")
    late = network.dial()
    late.sendall(b"hello")

    assert stay_silent(client, server, late, network.listener, for_s=1.0)
    assert (network.proxy.bytes_up, network.proxy.bytes_down) == (1, 0)


def test_a_healed_black_hole_keeps_what_it_swallowed_and_serves_new_connections(
    network: Network,
) -> None:
    swallowed = network.connect()
    network.proxy.black_hole()
    swallowed[0].sendall(b"lost")
    late = network.dial()

    network.proxy.heal()
    client, server = network.connect()
    client.sendall(b"new")

    assert receive(server, 3) == b"new"
    assert stay_silent(*swallowed, late, network.listener, for_s=0.3)
    assert network.proxy.connections == 1


def test_the_end_of_one_peer_does_not_leave_a_black_hole(network: Network) -> None:
    client, server = network.connect()
    network.proxy.black_hole()
    client.close()
    network.proxy.heal()
    assert stay_silent(server, for_s=0.3)


def test_a_stall_holds_everything_back_and_delivers_it_when_healed(network: Network) -> None:
    client, server = network.connect()
    client.sendall(b"x")
    receive(server, 1)

    network.proxy.stall()
    data = random_bytes(100_000)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    late = network.dial()
    assert stay_silent(client, server, late, network.listener, for_s=0.5)
    network.proxy.heal()

    assert receive_all(server) == data
    late.sendall(b"late")
    assert receive(network.answer(), 4) == b"late"


@pytest.mark.parametrize("closed", End)
def test_a_half_open_connection_is_closed_at_one_end_and_silent_at_the_other(
    network: Network, closed: End
) -> None:
    client, server = network.connect()
    gone, kept = (client, server) if closed is End.CLIENT else (server, client)
    kept.sendall(b"x")
    receive(gone, 1)

    network.proxy.half_open(closed)

    assert receive_end(gone) is Closing.FIN
    kept.sendall(b"anyone?")
    assert stay_silent(kept, for_s=0.5)
    new_client, new_server = network.connect()
    new_client.sendall(b"new")
    assert receive(new_server, 3) == b"new"


@pytest.mark.parametrize("towards", End)
def test_a_slow_close_ends_one_direction_first_and_the_rest_later(
    network: Network, towards: End
) -> None:
    client, server = network.connect()
    told, other = (client, server) if towards is End.CLIENT else (server, client)
    other.sendall(b"x")
    receive(told, 1)

    started = time.monotonic()
    network.proxy.slow_close(towards, linger_s=0.5)

    assert told.recv(1) == b""
    assert time.monotonic() - started < 0.3
    other.sendall(b"not read any more")
    told.sendall(b"still read")
    assert receive(other, 10) == b"still read"
    assert other.recv(1) == b""
    assert 0.5 <= time.monotonic() - started < 1.0


def test_a_client_is_reset_if_the_target_is_away_and_served_by_the_next_target(
    network: Network,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as away:
        network.proxy.target = away.getsockname()
    # The reset may arrive before the client knows that it is connected.
    with pytest.raises(ConnectionResetError):
        receive_all(network.dial())
    assert network.proxy.opened == 0

    network.proxy.target = network.listener.getsockname()

    client, server = network.connect()
    client.sendall(b"x")
    assert receive(server, 1) == b"x"


def test_the_end_of_the_proxy_is_quick_and_leaves_nothing_behind() -> None:
    threads, files = threading.enumerate(), os.listdir("/proc/self/fd")
    network = Network()
    full = network.connect()
    fill(full[0])
    network.proxy.black_hole()
    network.proxy.heal()
    network.proxy.set_faults(Faults(latency_s=60.0, rate_bytes_s=1))
    slow = network.connect()
    slow[0].sendall(bytes(1000))
    network.connect()
    network.proxy.slow_close(End.SERVER, linger_s=60.0)
    network.proxy.stall()

    started = time.monotonic()
    network.close()

    assert time.monotonic() - started < 2.0
    assert threading.enumerate() == threads
    assert os.listdir("/proc/self/fd") == files


def test_a_failure_of_the_proxy_itself_fails_the_test() -> None:
    def use_no_port() -> None:
        with FaultProxy(target=("127.0.0.1", -1), seed=7) as proxy:
            address = (proxy.host, proxy.port)
            with (
                pytest.raises(ConnectionResetError),
                socket.create_connection(address, PATIENCE_S) as client,
            ):
                receive_all(client)

    started = time.monotonic()
    with pytest.raises(BaseExceptionGroup, match="the fault proxy failed"):
        use_no_port()
    # The client was told, it did not have to lose its patience.
    assert time.monotonic() - started < PATIENCE_S / 2


@pytest.mark.parametrize(
    "make",
    [
        lambda: Faults(latency_s=-0.1),
        lambda: Faults(jitter_s=-0.1),
        lambda: Faults(rate_bytes_s=0.5),
        lambda: Faults(slice_bytes=0),
        lambda: Faults(flip_every_bytes=0),
        lambda: Faults(duplicate_every_bytes=15),
        lambda: Faults(reorder_every_bytes=31),
    ],
)
def test_faults_out_of_range_are_refused(make: Callable[[], Faults]) -> None:
    with pytest.raises(ValueError, match="expected at least"):
        make()

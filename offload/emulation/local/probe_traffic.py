"""Numbered packets over a link, sent and received by one process; see `probing` for what they tell.

    with open_flow(pi, cloud) as flow:
        arrivals = flow.send_paced(count=100, every_s=0.01, size_bytes=100, patience_s=0.2)
        [each.delay_s for each in arrivals]

A socket stays in the namespace in which it was made. So one process holds both ends, measures each
direction by one clock, and knows when it sends what has arrived. Sizes are those of IP packets.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Final

from offload.emulation.local.network import inside

# Headers of IPv4 and UDP.
_HEADERS_BYTES: Final = 28

FULL_BYTES: Final = 1500

# What the receiver's kernel may keep: enough for what arrives while this process does not run. The
# option, from asm-generic/socket.h, lets root pass the system's limit.
_BUFFER_BYTES: Final = 4 * 1024 * 1024
_SO_RCVBUFFORCE: Final = 33

# Of a stream of TCP, the share of an IP packet of full size that is the programs' bytes: all but
# the headers of IPv4 and of TCP with its time stamps.
_TCP_SHARE: Final = 1448 / 1500
_CHUNK_BYTES: Final = 256 * 1024
CONNECT_LIMIT_S: Final = 5.0

# Number and time of sending.
_STAMP: Final = struct.Struct("!Id")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeEnd:
    """A machine at one end of a link.

    Attributes:
        namespace: Its network namespace.
        address: Its address.
    """

    namespace: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A packet that came through; times are of this process's monotonic clock."""

    number: int
    sent_s: float
    arrived_s: float

    @property
    def delay_s(self) -> float:
        """How long it took."""
        return self.arrived_s - self.sent_s


class Flow:
    """Packets in one direction; see `open_flow`."""

    def __init__(self, sender: socket.socket, receiver: socket.socket) -> None:
        """Use two connected datagram sockets that do not block."""
        self._sender = sender
        self._receiver = receiver
        self._sent = 0

    def send_paced(
        self, *, count: int, every_s: float, size_bytes: int, patience_s: float
    ) -> list[Arrival]:
        """Send packets at a steady pace and return those that arrive.

        Args:
            count: How many.
            every_s: The time between two of them; a packet that is late delays all after it.
            size_bytes: How large they are.
            patience_s: How long to wait for the last ones.
        """
        arrivals: list[Arrival] = []
        first = self._sent
        next_s = time.monotonic()
        while self._sent < first + count:
            now = time.monotonic()
            if now >= next_s and self._send(size_bytes):
                next_s = max(next_s + every_s, now)
            arrivals += self._receive(max(0.0, next_s - time.monotonic()))
        give_up_s = time.monotonic() + patience_s
        while len(arrivals) < count and (left_s := give_up_s - time.monotonic()) > 0:
            arrivals += self._receive(left_s)
        return [each for each in arrivals if each.number >= first]

    def send_steadily(
        self, *, in_flight_bytes: int, duration_s: float, patience_s: float
    ) -> list[Arrival]:
        """Keep so many bytes in packets of full size on their way, and return what arrives.

        A packet counts as lost when a later one has arrived, or when none has for so long.
        """
        arrivals: list[Arrival] = []
        window = max(2, in_flight_bytes // FULL_BYTES)
        settled = self._sent
        end_s = time.monotonic() + duration_s
        heard_s = time.monotonic()
        while (now := time.monotonic()) < end_s:
            while self._sent - settled < window and self._send(FULL_BYTES):
                pass
            new = self._receive(min(end_s - now, patience_s))
            if new:
                arrivals += new
                settled, heard_s = new[-1].number + 1, now
            elif now - heard_s > patience_s:
                settled, heard_s = self._sent, now
        return arrivals

    def _send(self, size_bytes: int) -> bool:
        stamp = _STAMP.pack(self._sent, time.monotonic())
        try:
            self._sender.send(stamp.ljust(size_bytes - _HEADERS_BYTES, b"\0"))
        except BlockingIOError:
            return False
        self._sent += 1
        return True

    def _receive(self, wait_s: float) -> list[Arrival]:
        """Return all that has arrived; wait if nothing has."""
        select.select([self._receiver], (), (), wait_s)
        found = []
        try:
            while True:
                number, sent_s = _STAMP.unpack_from(self._receiver.recv(FULL_BYTES))
                found.append(Arrival(number=number, sent_s=sent_s, arrived_s=time.monotonic()))
        except BlockingIOError:
            return found


@contextmanager
def open_flow(sender: ProbeEnd, receiver: ProbeEnd) -> Iterator[Flow]:
    """Open sockets for packets from one end to the other.

    Raises:
        OSError: The address of an end is not there.
    """
    with ExitStack() as stack:
        sockets = []
        for end in (sender, receiver):
            with inside(end.namespace):
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            stack.enter_context(made)
            made.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
            made.setblocking(False)
            made.bind((end.address, 0))
            sockets.append(made)
        sending, receiving = sockets
        sending.connect(receiving.getsockname())
        yield Flow(sending, receiving)


def stream_rate_bit_s(
    sender: ProbeEnd, receiver: ProbeEnd, *, warm_up_s: float, duration_s: float
) -> float:
    """Return the rate of a stream of TCP, for links that carry more than `Flow` can.

    Args:
        sender: Where it comes from.
        receiver: Where it goes to.
        warm_up_s: How long TCP has to find the rate.
        duration_s: How long is counted after that.

    Raises:
        OSError: No connection, or it broke.
    """
    with inside(receiver.namespace):
        listening = socket.create_server((receiver.address, 0))
    with listening:
        with inside(sender.namespace):
            sending = socket.create_connection(listening.getsockname(), CONNECT_LIMIT_S)
        listening.settimeout(CONNECT_LIMIT_S)
        receiving, _ = listening.accept()
    with sending:
        receiving.settimeout(CONNECT_LIMIT_S)
        feeder = threading.Thread(target=_feed, args=(sending,))
        feeder.start()
        try:
            with receiving:
                _count_bytes(receiving, warm_up_s)
                began_s = time.monotonic()
                count = _count_bytes(receiving, duration_s)
                return 8 * count / _TCP_SHARE / (time.monotonic() - began_s)
        finally:
            feeder.join()


def _feed(sending: socket.socket) -> None:
    chunk = bytes(_CHUNK_BYTES)
    # It ends when the receiver closes its end.
    with contextlib.suppress(ConnectionError):
        while True:
            sending.sendall(chunk)


def _count_bytes(receiving: socket.socket, duration_s: float) -> int:
    buffer = bytearray(_CHUNK_BYTES)
    end_s = time.monotonic() + duration_s
    count = 0
    while time.monotonic() < end_s:
        count += receiving.recv_into(buffer)
    return count

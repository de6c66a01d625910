"""One direction of one connection of the fault proxy: what happens to its bytes, and when.

A ``Flow`` reads from one socket, changes the bytes, holds them for as long as they must wait, and
writes them to the other socket. What it changes depends on its key and on the bytes only, however
they are read. It leaves connecting and closing to ``tests/faults/proxy.py``, which tests use.
"""

import asyncio
import enum
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final

# What a slow link's own buffer holds. Behind it the sender's socket fills, and the sender feels it.
MAX_HELD_BYTES: Final = 256 * 1024
# Bytes that latency delays are on their way, not in a buffer: this is 100 MB/s for 0.6 s.
MAX_ON_THE_WAY_BYTES: Final = 64 * 1024 * 1024
READ_BYTES: Final = 64 * 1024
# A limited rate moves bytes in steps of this length: short against any wait that a test measures.
RATE_STEP_S: Final = 0.01
# How many bytes are sent twice, or swap places with as many behind them.
CHUNK_BYTES: Final = 16


class End(enum.Enum):
    """One of the two programs that the proxy stands between."""

    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What happens to the bytes of one direction; without arguments, nothing.

    Each block of ``*_every_bytes`` bytes, counted from the first byte of the connection, is hurt at
    one place. The seed, the number of the connection (from 1), the direction and the fault choose
    it. Flips come first, then swaps, then duplicates. A chunk that will be swapped or sent twice is
    held until it is complete: up to 31 bytes wait for the bytes behind them, for the end of the
    stream, or for the next ``set_faults``.

    Attributes:
        latency_s: Delay of each byte. Keeps the order and limits no rate.
        jitter_s: Delays each read by up to this much more, evenly spread. Keeps the order, too.
        rate_bytes_s: Bytes per second of one connection, 1 or more; None is no limit.
        slice_bytes: Most bytes in one write and one TCP segment; None is no limit.
        flip_every_bytes: Flips one bit in each block of this size, 1 or more.
        duplicate_every_bytes: Sends 16 bytes twice in each block of this size, 16 or more.
        reorder_every_bytes: Swaps 16 bytes with the next 16 in each block of this size, 32 or more.

    Raises:
        ValueError: A number is out of range.
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    rate_bytes_s: float | None = None
    slice_bytes: int | None = None
    flip_every_bytes: int | None = None
    duplicate_every_bytes: int | None = None
    reorder_every_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, value, least in (
            ("latency_s", self.latency_s, 0),
            ("jitter_s", self.jitter_s, 0),
            ("rate_bytes_s", self.rate_bytes_s, 1),
            ("slice_bytes", self.slice_bytes, 1),
            ("flip_every_bytes", self.flip_every_bytes, 1),
            ("duplicate_every_bytes", self.duplicate_every_bytes, CHUNK_BYTES),
            ("reorder_every_bytes", self.reorder_every_bytes, 2 * CHUNK_BYTES),
        ):
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}, expected at least {least}")


class Way:
    """One direction: its faults, and how much all connections moved in it."""

    def __init__(self, *, name: str, source: End, sink: End) -> None:
        self.name = name
        self.source = source
        self.sink = sink
        self.faults = Faults()
        self.moved_bytes = 0


class Flow:
    """Moves bytes from one socket to another: a reader, a line of delayed pieces, a writer."""

    task: asyncio.Task[None]

    def __init__(
        self, *, way: Way, sockets: dict[End, socket.socket], flowing: asyncio.Event, key: str
    ) -> None:
        self.way = way
        self._source = sockets[way.source]
        self._sink = sockets[way.sink]
        self._flowing = flowing
        self._key = key
        self._jitter = Random(f"{key}/jitter")
        self._read_bytes = 0
        self._stages = self._new_stages()
        self._loop = asyncio.get_running_loop()
        # From when each piece may be written, and the piece. An empty one is the end of the file.
        self._line: deque[tuple[float, bytes]] = deque()
        self._held_bytes = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        # When a link of the wanted rate has sent all that was read.
        self._sent_at_s = self._loop.time()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    def renew_faults(self) -> None:
        """Take the way's faults from here on."""
        if held := self._through_stages(b"", flush=True):
            self._append(held)
        self._stages = self._new_stages()

    def _new_stages(self) -> "list[Stage]":
        faults = self.way.faults
        # Flips and swaps keep the length, so all three count the bytes as they were read.
        changes = (
            (faults.flip_every_bytes, 1, _flip),
            (faults.reorder_every_bytes, 2 * CHUNK_BYTES, _swap),
            (faults.duplicate_every_bytes, CHUNK_BYTES, _double),
        )
        return [
            Stage(every, span, change, key=self._key, start=self._read_bytes)
            for every, span, change in changes
            if every is not None
        ]

    def _through_stages(self, data: bytes, *, flush: bool) -> bytes:
        for stage in self._stages:
            data = stage.feed(data)
            if flush:
                data += stage.flush()
        return data

    async def _read(self) -> None:
        while data := await self._receive():
            self._read_bytes += len(data)
            rate = self.way.faults.rate_bytes_s
            # If nothing was waited for, a late wake-up must not make the link slower.
            self._sent_at_s = (
                self._loop.time() if rate is None else self._sent_at_s + len(data) / rate
            )
            if changed := self._through_stages(data, flush=False):
                self._append(changed)
            # Without a rate this only gives others their turn.
            await asyncio.sleep(max(0.0, self._sent_at_s - self._loop.time()))
        self.renew_faults()
        self._append(b"")

    async def _receive(self) -> bytes:
        """Wait until there is room, and bytes or the end of the file."""
        while True:
            if self._is_full():
                self._drained.clear()
                await self._drained.wait()
            elif not self._flowing.is_set():
                await self._flowing.wait()
            else:
                rate = self.way.faults.rate_bytes_s
                step = READ_BYTES if rate is None else int(rate * RATE_STEP_S)
                try:
                    return self._source.recv(max(1, min(READ_BYTES, step)))
                except BlockingIOError:
                    loop = self._loop
                    await ready(self._source, loop.add_reader, loop.remove_reader)
            # The link was idle, and what it did not send then is no credit.
            self._sent_at_s = self._loop.time()

    def _is_full(self) -> bool:
        if self._held_bytes + READ_BYTES <= MAX_HELD_BYTES:
            return False
        # Pieces that are not due are on their way. If the first is overdue, the receiver is slow.
        return self._held_bytes >= MAX_ON_THE_WAY_BYTES or self._line[0][0] <= self._loop.time()

    def _append(self, piece: bytes) -> None:
        faults = self.way.faults
        delay_s = faults.latency_s + self._jitter.random() * faults.jitter_s
        self._line.append((self._sent_at_s + delay_s, piece))
        self._held_bytes += len(piece)
        self._filled.set()

    async def _write(self) -> None:
        while True:
            while not self._line:
                self._filled.clear()
                await self._filled.wait()
            due_s, piece = self._line[0]
            if (wait_s := due_s - self._loop.time()) > 0:
                await asyncio.sleep(wait_s)
            await self._flowing.wait()
            if not piece:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await self._send(piece)
            self._line.popleft()
            self._held_bytes -= len(piece)
            self._drained.set()

    async def _send(self, piece: bytes) -> None:
        rest = memoryview(piece)
        while rest:
            await self._flowing.wait()
            slice_bytes = self.way.faults.slice_bytes
            # With TCP_NODELAY alone, the kernel still joins slices while it waits for the peer.
            flags = 0 if slice_bytes is None else socket.MSG_EOR
            try:
                sent = self._sink.send(rest[:slice_bytes], flags)
            except BlockingIOError:
                await ready(self._sink, self._loop.add_writer, self._loop.remove_writer)
                continue
            self.way.moved_bytes += sent
            rest = rest[sent:]
            if slice_bytes is not None:
                await asyncio.sleep(0)


async def ready(
    sock: socket.socket,
    add: Callable[[socket.socket, Callable[[], None]], None],
    remove: Callable[[socket.socket], bool],
) -> None:
    """Wait until the socket can be read or written, as ``add`` says."""
    event = asyncio.Event()
    add(sock, event.set)
    try:
        await event.wait()
    finally:
        remove(sock)


class Stage:
    """Changes one span at a seeded place of each block of a stream, however the stream is cut."""

    def __init__(
        self,
        block_bytes: int,
        span_bytes: int,
        change: Callable[[bytes, Random], bytes],
        *,
        key: str,
        start: int,
    ) -> None:
        self._block_bytes = block_bytes
        self._span_bytes = span_bytes
        self._change = change
        self._key = f"{key}/{change.__name__}/{block_bytes}"
        self._at = start
        self._held = b""
        self._choose_place(start // block_bytes)
        if self._place < start:
            self._choose_place(self._block + 1)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; return what is ready. The beginning of a span waits for its end."""
        data = self._held + data
        passed = []
        done = 0
        while (place := self._place - self._at) + self._span_bytes <= len(data):
            end = place + self._span_bytes
            passed += [data[done:place], self._change(data[place:end], self._random)]
            done = end
            self._choose_place(self._block + 1)
        keep_from = max(done, min(place, len(data)))
        passed.append(data[done:keep_from])
        self._held = data[keep_from:]
        self._at += keep_from
        return b"".join(passed)

    def flush(self) -> bytes:
        """Return the beginning of a span, which stays as it is. Nothing may be fed any more."""
        held, self._held = self._held, b""
        return held

    def _choose_place(self, block: int) -> None:
        # A generator for each block: its place is the same, whenever the faults were set.
        self._random = Random(f"{self._key}/{block}")
        self._block = block
        room = self._block_bytes - self._span_bytes + 1
        self._place = block * self._block_bytes + self._random.randrange(room)


def _flip(span: bytes, random: Random) -> bytes:
    return bytes([span[0] ^ 1 << random.randrange(8)])


def _swap(span: bytes, _: Random) -> bytes:
    return span[CHUNK_BYTES:] + span[:CHUNK_BYTES]


def _double(span: bytes, _: Random) -> bytes:
    return span + span

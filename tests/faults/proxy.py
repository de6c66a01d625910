"""A TCP proxy that makes a bad network between a client and a server: slow, corrupt, cut or silent.

It runs in a thread of its own and is steered from the test's thread: each method returns once its
change is made. What happens to bytes on their way is in ``tests/faults/flow.py``; what the programs
must make of it, the tests say.

    with FaultProxy(target=("127.0.0.1", port), seed=7) as proxy:
        client = connect(proxy.host, proxy.port)
        proxy.set_faults(Faults(latency_s=0.05, rate_bytes_s=250_000), direction=Direction.UP)
        proxy.cut()
        proxy.heal()
"""

import asyncio
import concurrent.futures
import enum
import socket
import struct
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self

from tests.faults.flow import READ_BYTES, End, Faults, Flow, Way, ready

__all__ = ["Closing", "Direction", "End", "FaultProxy", "Faults"]

# Left alone, the kernel lets a socket's buffers grow to 6 MB, and no sender would feel a slow link.
SOCKET_BUFFER_BYTES: Final = 256 * 1024
# A thousand devices may connect at once.
BACKLOG: Final = 1024
# More reads than a socket's buffer can fill: a peer that never stops must not hold up a cut.
DRAIN_READS: Final = 64
# A change takes milliseconds, or a second if it ends a thousand connections. Past this it hangs.
CONTROL_TIMEOUT_S: Final = 10.0


class Direction(enum.Enum):
    """Which way bytes travel: from the client up to the server, or down to the client."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


class Closing(enum.Enum):
    """How a connection ends: by RST, an error for the other end, or by FIN, the end of the file."""

    RESET = "reset"
    FIN = "fin"


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes each connection on to ``target``.

    A reset is passed on as a reset, an end of file as an end of file. If the target does not take a
    connection, the client sees one that is accepted and reset, not one that is refused.

    Attributes:
        host, port: Where clients connect. The port stays taken, and the same, while it is cut.
        target: Host and port of the server. May be changed; counts for connections from then on.
        opened: How many connections reached the target so far.
    """

    def __init__(self, *, target: tuple[str, int], seed: int) -> None:
        self.target = target
        self.host = "127.0.0.1"
        self.port = 0
        self.opened = 0
        self._seed = seed
        self._up = Way(name="up", source=End.CLIENT, sink=End.SERVER)
        self._down = Way(name="down", source=End.SERVER, sink=End.CLIENT)
        self._connections: set[_Connection] = set()
        # Open towards one end or both, neither read nor written until a cut or the end.
        self._silent: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._acceptor: asyncio.Task[None] | None = None
        self._in_black_hole = False
        self._flowing = asyncio.Event()
        self._late_closers: set[asyncio.Task[None]] = set()
        self._failures: list[BaseException] = []
        self._stopping = asyncio.Event()
        self._changing = asyncio.Lock()
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="fault-proxy")

    def __enter__(self) -> Self:
        """Listen.

        Raises:
            OSError: There is no free port.
        """
        # Bound, but never listening, this keeps the port during a cut. Else another socket could
        # get it, even that of a client that tries to connect: it would be connected to itself.
        self._reserved = _new_socket()
        self._reserved.bind((self.host, 0))
        self.port = self._reserved.getsockname()[1]
        self._listen()
        self._loop = asyncio.new_event_loop()
        self._ended = self._thread.submit(self._run)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything (FIN) and end the thread.

        Raises:
            BaseExceptionGroup: The proxy itself failed, and what the test saw means nothing.
        """
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.shutdown()
        self._ended.result()
        if self._failures:
            raise BaseExceptionGroup("the fault proxy failed", self._failures)

    @property
    def connections(self) -> int:
        """How many connections carry bytes, or will after a stall. Silent ones do not count."""
        return len(self._connections)

    @property
    def bytes_up(self) -> int:
        """How many bytes the server's socket took so far, over all connections."""
        return self._up.moved_bytes

    @property
    def bytes_down(self) -> int:
        """How many bytes the clients' sockets took so far, over all connections."""
        return self._down.moved_bytes

    def set_faults(self, faults: Faults, *, direction: Direction = Direction.BOTH) -> None:
        """Use ``faults`` for all that is read from now on, until they are set again."""
        self._call(self._set_faults(faults, direction))

    def cut(self, closing: Closing = Closing.RESET) -> None:
        """Close all connections, silent ones too, and refuse new ones until ``heal``.

        Bytes that are on their way are lost.
        """
        self._call(self._cut(closing))

    def black_hole(self) -> None:
        """Swallow everything and tell nobody: no byte, no end, no reset.

        The kernel takes new connections, but nobody reads them. All these connections, old and new,
        stay silent for ever, also after ``heal``: only a timeout of their owners ends them, and
        their sockets stay open here until a cut or the end. The kernel goes on to acknowledge what
        fits its buffers, so TCP's own keepalive notices nothing.
        """
        self._call(self._black_hole())

    def stall(self) -> None:
        """Hold everything back until ``heal``: no byte, no end, no reset.

        New connections wait, too. ``heal`` delivers all bytes and serves all that waited.
        """
        self._call(self._stall())

    def half_open(self, closed: End) -> None:
        """Close each connection (FIN) towards one end only, and tell the other end nothing.

        What the other end keeps is silent for ever. New connections work.
        """
        self._call(self._half_open(closed))

    def slow_close(self, towards: End, *, linger_s: float) -> None:
        """Tell one end that its peer has finished (FIN), and close for good after ``linger_s``.

        Until then, what this end sends still arrives, and what the other end sends is read no more.
        If this end finishes sooner, the connection is closed then. New connections work.
        """
        self._call(self._slow_close(towards, linger_s))

    def heal(self) -> None:
        """End a cut, a black hole or a stall. Faults stay as they were set."""
        self._call(self._heal())

    def _call(self, change: Coroutine[Any, Any, None]) -> None:
        done = asyncio.run_coroutine_threadsafe(self._alone(change), self._loop)
        done.result(CONTROL_TIMEOUT_S)

    def _run(self) -> None:
        with self._reserved, asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _alone(self, change: Coroutine[Any, Any, None]) -> None:
        async with self._changing:
            await change

    async def _main(self) -> None:
        await self._heal()
        await self._stopping.wait()
        async with self._changing:
            await self._cut(Closing.FIN)

    async def _set_faults(self, faults: Faults, direction: Direction) -> None:
        for way, other in ((self._up, Direction.DOWN), (self._down, Direction.UP)):
            if direction is not other:
                way.faults = faults
        for connection in self._connections:
            for flow in connection.flows:
                flow.renew_faults()

    async def _cut(self, closing: Closing) -> None:
        await self._stop_accepting()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._in_black_hole = False
        for connection in await self._take_connections():
            self._silent += connection.sockets.values()
        for sock in self._silent:
            _close(sock, closing)
        self._silent.clear()

    async def _black_hole(self) -> None:
        await self._stop_accepting()
        self._listen()
        self._in_black_hole = True
        for connection in await self._take_connections():
            self._silent += connection.sockets.values()

    async def _stall(self) -> None:
        await self._stop_accepting()
        self._listen()
        self._flowing.clear()

    async def _half_open(self, closed: End) -> None:
        for connection in await self._take_connections():
            _close(connection.sockets.pop(closed), Closing.FIN)
            self._silent += connection.sockets.values()

    async def _slow_close(self, towards: End, linger_s: float) -> None:
        for connection in list(self._connections):
            await _cancel(flow.task for flow in connection.flows if flow.way.sink is towards)
            # That end may be gone already.
            with suppress(OSError):
                connection.sockets[towards].shutdown(socket.SHUT_WR)
            closer = self._spawn(self._close_late(connection, linger_s))
            self._late_closers.add(closer)
            closer.add_done_callback(self._late_closers.discard)

    async def _heal(self) -> None:
        listener = self._listen()
        if self._in_black_hole:
            self._in_black_hole = False
            with suppress(BlockingIOError):
                while True:
                    self._silent.append(listener.accept()[0])
        self._flowing.set()
        if self._acceptor is None:
            self._acceptor = self._spawn(self._accept(listener))

    def _listen(self) -> socket.socket:
        if self._listener is None:
            self._listener = _new_socket()
            self._listener.bind((self.host, self.port))
            self._listener.listen(BACKLOG)
        return self._listener

    async def _stop_accepting(self) -> None:
        if self._acceptor is not None:
            await _cancel([self._acceptor])
            self._acceptor = None

    async def _take_connections(self) -> list["_Connection"]:
        """Stop the open connections where they are, and leave their sockets to the caller."""
        await _cancel(list(self._late_closers))
        taken = list(self._connections)
        await _cancel(connection.task for connection in taken)
        self._connections.difference_update(taken)
        return taken

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await ready(listener, loop.add_reader, loop.remove_reader)
            # Whoever connected may be gone again.
            with suppress(BlockingIOError, ConnectionAbortedError):
                client, _ = listener.accept()
                client.setblocking(False)
                connection = _Connection(client=client, server=_new_socket())
                self._connections.add(connection)
                connection.task = self._spawn(self._serve(connection))

    async def _serve(self, connection: "_Connection") -> None:
        try:
            server = connection.sockets[End.SERVER]
            await asyncio.get_running_loop().sock_connect(server, self.target)
            self.opened += 1
            await connection.run(
                [
                    Flow(
                        way=way,
                        sockets=connection.sockets,
                        flowing=self._flowing,
                        key=f"{self._seed}/{self.opened}/{way.name}",
                    )
                    for way in (self._up, self._down)
                ]
            )
        except* OSError:
            connection.close(Closing.RESET)
        else:
            connection.close(Closing.FIN)
        self._connections.discard(connection)

    async def _close_late(self, connection: "_Connection", linger_s: float) -> None:
        await asyncio.sleep(linger_s)
        await self._flowing.wait()
        await _cancel([connection.task])
        connection.close(Closing.FIN)
        self._connections.discard(connection)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_failure)
        return task

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failures.append(failure)
            # The test must not wait for a proxy that does nothing any more.
            self._last_cut = asyncio.create_task(self._alone(self._cut(Closing.RESET)))


class _Connection:
    """The client's socket, the one towards the server, and the two flows between them."""

    task: asyncio.Task[None]

    def __init__(self, *, client: socket.socket, server: socket.socket) -> None:
        self.sockets = {End.CLIENT: client, End.SERVER: server}
        self.flows: list[Flow] = []

    async def run(self, flows: "list[Flow]") -> None:
        """Move bytes until both ends have finished.

        Raises:
            BaseExceptionGroup: With the ``OSError`` by which one end broke the connection.
        """
        self.flows = flows
        async with asyncio.TaskGroup() as group:
            for flow in flows:
                flow.task = group.create_task(flow.run())

    def close(self, closing: Closing) -> None:
        for sock in self.sockets.values():
            _close(sock, closing)


def _new_socket() -> socket.socket:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # A slice must leave at once. An accepted socket takes all this from its listener.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    return sock


def _close(sock: socket.socket, closing: Closing) -> None:
    # There may be nothing left to read, or the peer may be gone: then there is no one to tell.
    with suppress(OSError):
        if closing is Closing.RESET:
            linger_no_time = struct.pack("ii", 1, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_no_time)
        else:
            sock.shutdown(socket.SHUT_WR)
            # Unread bytes would turn the FIN into a RST.
            for _ in range(DRAIN_READS):
                if not sock.recv(READ_BYTES):
                    break
    sock.close()


async def _cancel(tasks: Iterable[asyncio.Task[None]]) -> None:
    cancelled = [task for task in tasks if task.cancel()]
    await asyncio.gather(*cancelled, return_exceptions=True)

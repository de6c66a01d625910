"""The floor: what bare blocking sockets do. Nothing that sends over TCP from Python is simpler.

One `sendmsg` of a header and the arrays' own memory, `recv_into` at the other end, no copy on
either side. A message is a header, then the arrays' bytes; an answer has a fixed size.
"""

import socket
import struct
from collections.abc import Sequence

import numpy as np

from benchmarks.peer_work import Array, Message, Shape

# Media time and the number of bytes that follow.
_HEADER = struct.Struct("!dI")
_ANSWER = struct.Struct("!Qd")


class SocketDevice:
    """The sending end.

    Args:
        port: Where the cloud listens on the loopback address.
    """

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = bytearray(_ANSWER.size)

    def send(self, message: Message) -> None:
        """Send a message, and return when the kernel has it."""
        buffers = [each.data.cast("B") for each in message.arrays]
        size = sum(each.nbytes for each in buffers)
        pieces = [memoryview(_HEADER.pack(message.time_s, size)), *buffers]
        sent = self._socket.sendmsg(pieces)
        # A blocking send is cut short only by a signal; what is left then goes piece by piece.
        for piece in pieces:
            if sent < piece.nbytes:
                self._socket.sendall(piece[sent:])
            sent = max(0, sent - piece.nbytes)

    def receive_answer(self) -> None:
        """Wait for one answer."""
        _receive_into(self._socket, memoryview(self._answer))

    def close(self) -> None:
        """Say that this was all."""
        self._socket.close()


class SocketCloud:
    """The receiving end.

    Args:
        shapes: What each message holds, all uint8.
        reuse: Whether all frames share one buffer, as they can while each is done before the next
            is received. Otherwise each gets a buffer of its own.
    """

    def __init__(self, shapes: Sequence[Shape], *, reuse: bool) -> None:
        self._shapes = shapes
        self._size = sum(int(np.prod(shape)) for shape in shapes)
        self._buffer = bytearray(self._size) if reuse else None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._socket: socket.socket | None = None
        self._answered = 0

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listener.getsockname()[1]
        return port

    def receive(self) -> Message | None:
        """Wait for one message; None when there are no more."""
        if self._socket is None:
            self._socket, _ = self._listener.accept()
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        header = bytearray(_HEADER.size)
        if not _receive_into(self._socket, memoryview(header)):
            return None
        time_s, size = _HEADER.unpack(header)
        assert size == self._size
        buffer = self._buffer if self._buffer is not None else bytearray(size)
        assert _receive_into(self._socket, memoryview(buffer))
        return Message(time_s=time_s, arrays=_arrays(buffer, self._shapes))

    def answer(self) -> None:
        """Answer the oldest message without an answer."""
        assert self._socket is not None
        self._socket.sendall(_ANSWER.pack(self._answered, 0.0))
        self._answered += 1

    def close(self) -> None:
        """Close the sockets."""
        self._listener.close()
        if self._socket is not None:
            self._socket.close()


def _receive_into(connection: socket.socket, view: memoryview) -> bool:
    """Fill ``view``; False if the peer has closed before its first byte."""
    received = 0
    while received < view.nbytes:
        count = connection.recv_into(view[received:])
        if count == 0:
            assert received == 0, "the peer closed in the middle of a message"
            return False
        received += count
    return True


def _arrays(buffer: bytearray, shapes: Sequence[Shape]) -> list[Array]:
    arrays = []
    offset = 0
    for shape in shapes:
        count = int(np.prod(shape))
        arrays.append(np.frombuffer(buffer, np.uint8, count, offset).reshape(shape))
        offset += count
    return arrays

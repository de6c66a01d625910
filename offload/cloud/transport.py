"""The cloud's connections: asyncio's, without a copy of what comes.

connection = CloudConnection(...)
await loop.connect_accepted_socket(lambda: connection, accepted)
connection.send(pieces)
"""

import asyncio
import fcntl
import logging
import os
import termios
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from offload.transport import configure, endpoint
from offload.wire import Piece

logger = logging.getLogger(__name__)

# What may wait to be read by a device. A device that reads has a few acknowledgements of at most
# 64 KiB each under way; one that does not read must not fill the memory. Under TLS, 64 KiB more.
MAX_UNSENT_BYTES: Final = 1024 * 1024

# So often one device is read before it is the turn of the others: about eight frames.
MAX_READS_PER_TURN: Final = 16

# A count of 0, as the kernel writes it.
_NONE: Final = bytes(4)

# Where bytes go that nobody wants to know, of all connections.
_NOWHERE: Final = memoryview(bytearray(64 * 1024))


class CloudConnection(asyncio.BufferedProtocol):
    """One device's connection in the cloud: received bytes go where ``buffer`` says.

    Args:
        on_made: Called when the connection stands.
        buffer: Returns the place for the next bytes.
        on_bytes: Called with their number.
        on_full: Called when more than `MAX_UNSENT_BYTES` wait to be sent.
        on_lost: Called once when the connection has ended, with the reason or None.
    """

    def __init__(
        self,
        *,
        on_made: Callable[["CloudConnection"], None],
        buffer: Callable[[], memoryview],
        on_bytes: Callable[[int], None],
        on_full: Callable[[], None],
        on_lost: Callable[[Exception | None], None],
    ) -> None:
        """Wait for the connection."""
        self._on_made = on_made
        self._buffer = buffer
        self._on_bytes = on_bytes
        self._on_full = on_full
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reading = True
        self._place = memoryview(b"")
        self._descriptor = -1
        self._is_plain = True
        self._has_finished = False
        self.sent_bytes = 0

    @property
    def peer(self) -> str:
        """The device's address."""
        address = self._transport.get_extra_info("peername") if self._transport else None
        return endpoint(address[0], address[1]) if address else "unknown"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell that the connection stands."""
        self._transport = cast("asyncio.Transport", transport)
        raw = self._transport.get_extra_info("socket")
        configure(raw)
        self._descriptor = raw.fileno()
        # Under TLS only asyncio knows what the bytes mean.
        self._is_plain = transport.get_extra_info("sslcontext") is None
        self._transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)
        self._on_made(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's signature
        """Return the place for the next bytes."""
        self._place = self._buffer()
        return self._place

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on how many bytes came, and read on while each read brings as much as it may.

        Each turn of the event loop is a system call more. With 16 reads in a turn instead of 4,
        15 % more frames of 0.4 MB came through.
        """
        self._on_bytes(nbytes)
        for _ in range(MAX_READS_PER_TURN - 1):
            if nbytes < len(self._place) or not self._may_read_on:
                return
            self._place = self._buffer()
            try:
                nbytes = os.readv(self._descriptor, [self._place])
            except OSError:
                # Nothing more is there; or it is the end, which asyncio finds out, too.
                return
            if nbytes == 0:
                return
            self._on_bytes(nbytes)

    @property
    def _may_read_on(self) -> bool:
        return (
            self._is_plain
            and self._reading
            and self._transport is not None
            and not self._transport.is_closing()
        )

    def pause_writing(self) -> None:
        """Tell that too much waits to be sent."""
        self._on_full()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell that the connection has ended."""
        self._on_lost(exc)
        # Whoever is called holds this connection, and the collector looks rarely. So does asyncio's
        # TLS, which the transport holds, with a buffer of 256 KiB.
        self._transport = None
        self._buffer, self._on_bytes = _nowhere, _ignore
        self._on_made, self._on_lost, self._on_full = _ignore, _ignore, _nothing

    def send(self, pieces: Sequence[Piece]) -> None:
        """Send the pieces; what the socket does not take at once, asyncio keeps and sends later."""
        if self._transport is None or self._transport.is_closing() or self._has_finished:
            return
        self.sent_bytes += sum(map(len, pieces))
        self._transport.writelines(pieces)

    @property
    def unsent_bytes(self) -> int:
        """How much of `sent_bytes` has not gone to the socket."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    @property
    def is_reading(self) -> bool:
        """Whether it is read."""
        return self._reading

    def set_reading(self, reading: bool) -> None:
        """Read, or leave what comes in the kernel so that the device's sending stops."""
        if self._transport is None or reading is self._reading or self._transport.is_closing():
            return
        self._reading = reading
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    @property
    def has_more(self) -> bool:
        """Whether more bytes have come than were read."""
        if self._transport is None or self._transport.is_closing():
            return False
        return fcntl.ioctl(self._descriptor, termios.FIONREAD, _NONE) != _NONE

    def finish(self) -> None:
        """Send nothing more, and ignore what still comes, until the device hangs up.

        A connection that is closed with bytes unread is reset, and the device may lose what it was
        sent last: the reason why.
        """
        self._buffer, self._on_bytes = _nowhere, _ignore
        self._has_finished = True
        self.set_reading(True)
        if self._transport is not None and self._transport.can_write_eof():
            try:
                self._transport.write_eof()
            except OSError:
                # The device has reset the connection, which asyncio has not seen yet.
                self._transport.abort()

    def close(self) -> None:
        """End the connection once all is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once; what was not sent is lost."""
        if self._transport is not None:
            self._transport.abort()


def _nowhere() -> memoryview:
    return _NOWHERE


def _ignore(_: object) -> None:
    """Do nothing: it came too late."""


def _nothing() -> None:
    """Do nothing."""


def log_failure(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Say in one line what went wrong in the event loop: a bug of ours, or of a library."""
    error = context.get("exception")
    logger.critical(
        "connection_failed",
        extra={"what": context["message"], "reason": f"{type(error).__name__}: {error}"},
        exc_info=error if logger.isEnabledFor(logging.DEBUG) else None,
    )

"""One device's connection to the cloud: the session core and the socket, joined.

The cloud program owns the links; it is told of what devices say, and of links that come and go.

    link = DeviceLink(server, CloudSession(...))
    await loop.create_server(lambda: link.connection, sock=listener)
"""

import asyncio
import logging
from typing import Final, Protocol

from offload.cloud_transport import CloudConnection
from offload.errors import (
    AuthError,
    HandshakeError,
    LimitPassed,
    OffloadError,
    RemoteProtocolError,
)
from offload.messages import RefusalCode
from offload.session import CloudEvent, CloudSession, State

logger = logging.getLogger(__name__)

# A device proves who it is within this time, or its place is given up.
HANDSHAKE_S: Final = 5.0


class LinkOwner(Protocol):
    """What a link tells of itself."""

    def link_made(self, link: "DeviceLink") -> None:
        """Take note of a device that has connected and said nothing yet."""

    def handle(self, link: "DeviceLink", event: CloudEvent) -> None:
        """Act on what the device said, or raise `RemoteProtocolError`."""

    def events_handled(self, link: "DeviceLink") -> None:
        """Take note that all is handled that came in one read."""

    def note_refusal(self, why: str, link: "DeviceLink", reason: str) -> None:
        """Count a refusal, by ``why``, and say it."""

    def link_lost(self, link: "DeviceLink", reason: str) -> None:
        """Take note that nothing more comes on this link; it may be told twice."""


class DeviceLink:
    """One device's connection: the session core and the socket, joined.

    Args:
        server: Is told what happens on it.
        session: The protocol's core.
    """

    def __init__(self, server: "LinkOwner", session: CloudSession) -> None:
        """Wait for the connection."""
        self.session = session
        self.is_open = True
        self._server = server
        self._handshake_timer: asyncio.TimerHandle | None = None
        self.connection = CloudConnection(
            on_made=self._made, buffer=session.buffer, on_bytes=self._received, on_lost=self._lost
        )

    def flush(self) -> None:
        """Send what the session has queued."""
        if pieces := self.session.take_outgoing():
            self.connection.send(pieces)

    def refuse(self, code: RefusalCode, reason: str) -> None:
        """Tell the device why the session ends, and end it."""
        self._server.link_lost(self, reason)
        self.session.refuse(code, reason)
        self.flush()
        self.connection.close()

    def opened(self) -> None:
        """Note that the handshake is over."""
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()

    def _made(self, connection: CloudConnection) -> None:
        self._server.link_made(self)
        timer = asyncio.get_running_loop().call_later(HANDSHAKE_S, self._too_slow)
        self._handshake_timer = timer
        logger.debug("connection_made", extra={"peer": connection.peer})

    def _too_slow(self) -> None:
        self._server.note_refusal("timeout", self, f"no handshake within {HANDSHAKE_S:.0f} s")
        self.refuse(RefusalCode.PROTOCOL, f"no handshake within {HANDSHAKE_S:.0f} s")

    def _received(self, byte_count: int) -> None:
        try:
            if events := self.session.received(byte_count):
                for event in events:
                    self._server.handle(self, event)
                self._server.events_handled(self)
        except AuthError as error:
            self._end("token", RefusalCode.TOKEN, error)
        except HandshakeError as error:
            self._end("protocol", RefusalCode.PROTOCOL, error)
        except LimitPassed as error:
            self._end("limit", RefusalCode.LIMIT, error)
        except RemoteProtocolError as error:
            self._end("protocol", RefusalCode.PROTOCOL, error)
        self.flush()

    def _end(self, why: str, code: RefusalCode, error: OffloadError) -> None:
        self._server.note_refusal(why, self, str(error))
        self.refuse(code, str(error))

    def _lost(self, error: Exception | None) -> None:
        self.is_open = False
        self.opened()
        if self.session.state is State.PROOF:
            # The device checks the server's proof first, and leaves without a word if it is wrong.
            reason = "device left when asked for its proof: do both hold the same secret?"
            self._server.note_refusal("token", self, reason)
        self._server.link_lost(self, str(error or "closed by the device"))

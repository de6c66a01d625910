"""One device's, or operator's, connection to the cloud: the session core and the socket, joined.

The cloud program owns the links; it is told of what devices say, and of links that come and go.

    link = DeviceLink(server, arrival, ...)
    await loop.connect_accepted_socket(lambda: link.connection, accepted)
    link.look(loop.time())                          # once every `LOOK_EVERY_S`
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from offload.cloud.access import Credential
from offload.cloud.admission import HANDSHAKE_S, Arrival
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.link_watch import MESSAGE_S, MIN_BYTES_PER_S, UNREAD_S, LinkWatch
from offload.cloud.transport import MAX_UNSENT_BYTES, CloudConnection
from offload.errors import (
    AuthError,
    HandshakeError,
    LimitPassed,
    RemoteProtocolError,
)
from offload.messages import Control, RefusalCode
from offload.session import SILENCE_S, CloudEvent, CloudSession
from offload.sizes import size_in_words
from offload.telemetry.events import MuteRefusal
from offload.wire import Admit

logger = logging.getLogger(__name__)

# These are no fault of the device's: it is sent elsewhere, or asked to come again.
_UNCOUNTED: Final = (RefusalCode.DRAINING, RefusalCode.INTERNAL)

MakeSession = Callable[[Credential, Admit], CloudSession]


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Whose session it is: the newest one of a client takes over from the one before."""

    owner: str
    app: str
    stream: str


class LinkOwner(Protocol):
    """What a link tells of itself."""

    def link_made(self, link: "DeviceLink") -> None:
        """Take note of a device that has connected and said nothing yet."""

    def handle(self, link: "DeviceLink", event: CloudEvent) -> None:
        """Act on what the device said, or raise `RemoteProtocolError`."""

    def events_handled(self, link: "DeviceLink") -> None:
        """Take note that all is handled that came in one read."""

    def link_lost(self, link: "DeviceLink", reason: str) -> None:
        """Take note that nothing more comes on this link."""

    def link_gone(self, link: "DeviceLink") -> None:
        """Take note that the link's connection has ended, too, and what it held is free."""


class DeviceLink:
    """One device's connection.

    Args:
        server: Is told what happens on it.
        arrival: Its place among the handshakes.
        credential: What the device proves to know.
        memory: Where memory for its messages is reserved.
        make_session: Makes the protocol's core.
        on_refused: Called with why, the peer and the reason when this end refuses the device.

    Attributes:
        is_open: Whether the device may still be heard and told something.
        client: Whose session it is; None before the device has said so.
        received_bytes: What came from it.
        reserved_bytes: What is reserved for messages on their way; who takes a frame over takes its
            bytes over, too.
    """

    def __init__(
        self,
        server: LinkOwner,
        arrival: Arrival,
        *,
        credential: Credential,
        memory: FrameMemory,
        make_session: MakeSession,
        on_refused: Callable[[str, str, str], None],
    ) -> None:
        """Wait for the connection."""
        self.credential = credential
        self.session = make_session(credential, self._reserve)
        self.is_open = True
        self.client: Client | None = None
        self.reserved_bytes = 0
        self._server = server
        self._on_refused = on_refused
        self._arrival = arrival
        self._memory = memory
        self._begun_bytes = 0
        self.received_bytes = 0
        self._waits_for_memory = False
        self._is_crowded = False
        self._watch = LinkWatch()
        self._handshake_timer: asyncio.TimerHandle | None = None
        self.connection = CloudConnection(
            on_made=self._made,
            buffer=self.session.buffer,
            on_bytes=self._received,
            on_full=self._is_full,
            on_lost=self._lost,
        )

    def flush(self) -> None:
        """Send what the session has queued."""
        if pieces := self.session.take_outgoing():
            self.connection.send(pieces)

    def send_control(self, control: Control) -> None:
        """Send a control message now; the session must be talking."""
        self.session.send_control(control)
        self.flush()

    def refuse(self, code: RefusalCode, reason: str) -> None:
        """Tell the device why the session ends, and end it."""
        if not self.is_open:
            return
        if code not in _UNCOUNTED:
            self._on_refused(code.value, self.connection.peer, reason)
        was_talking = self.session.is_talking
        self._leave(reason)
        self.session.refuse(code, reason)
        self.flush()
        if was_talking:
            # Frames may be on their way, which must not reset the connection.
            self.connection.finish()
        else:
            self.connection.close()

    def settle(self) -> None:
        """Note that the device has proved who it is, and given its place to the next one."""
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        self._arrival.settle()

    def set_crowded(self, crowded: bool) -> None:
        """Read the connection, or leave it unread while its stream has enough to do."""
        self._is_crowded = crowded
        self.connection.set_reading(not (crowded or self._waits_for_memory))

    def wait_for_memory(self) -> None:
        """Leave the connection unread until there is memory again."""
        if not self._waits_for_memory:
            self._memory.wait(self, 0)
            self._starve()

    def go_on(self) -> None:
        """Go on with what waited for memory: it is this link's turn."""
        self._waits_for_memory = False
        self._received(0)
        self.set_crowded(self._is_crowded)

    def look(self, now: float) -> None:
        """Judge whether the connection lives, and show the device that this end does."""
        session, connection, watch = self.session, self.connection, self._watch
        reading = connection.is_reading
        if watch.is_unread(now, connection.sent_bytes, connection.unsent_bytes):
            self._end_slow_reader(f"took nothing of what it was sent for {UNREAD_S:.0f} s")
        elif session.is_closed:
            if watch.has_lingered(now):
                connection.abort()
        elif session.is_talking and watch.is_silent(now, self.received_bytes, reading=reading):
            # Nobody would read a refusal.
            self._end_at_once(f"silent for {SILENCE_S:.0f} s")
        elif session.has_proved and watch.is_stuck(
            now,
            session.messages,
            self.received_bytes,
            begun=session.mid_message,
            reading=reading,
        ):
            self.refuse(RefusalCode.TIMEOUT, _too_slow(session.payload_bytes))
        elif session.may_show_life and watch.is_quiet(now, connection.sent_bytes):
            session.send_heartbeat()
            self.flush()

    def look_away(self) -> None:
        """Start all times anew: this end was held up, and knows nothing of the other one."""
        self._watch.restart()

    def _made(self, connection: CloudConnection) -> None:
        self._server.link_made(self)
        loop = asyncio.get_running_loop()
        self._handshake_timer = loop.call_at(self._arrival.until_s, self._handshake_timed_out)
        logger.debug("connection_made", extra={"peer": connection.peer})

    def _handshake_timed_out(self) -> None:
        self.refuse(RefusalCode.TIMEOUT, f"no handshake within {HANDSHAKE_S:.0f} s")

    def _received(self, byte_count: int) -> None:
        self.received_bytes += byte_count
        try:
            if events := self.session.received(byte_count):
                for event in events:
                    self._server.handle(self, event)
                self._server.events_handled(self)
        except AuthError as error:
            self.refuse(RefusalCode.TOKEN, str(error))
        except HandshakeError as error:
            self.refuse(RefusalCode.PROTOCOL, str(error))
        except LimitPassed as error:
            self.refuse(RefusalCode.LIMIT, str(error))
        except RemoteProtocolError as error:
            self.refuse(RefusalCode.PROTOCOL, str(error))
        if self.reserved_bytes:
            self._release_ignored()
        self.flush()

    def _reserve(self, held_bytes: int) -> bool:
        if self._memory.reserve(self, held_bytes):
            self.reserved_bytes += held_bytes
            self._begun_bytes = held_bytes
            return True
        self._starve()
        return False

    def _starve(self) -> None:
        self._waits_for_memory = True
        self.connection.set_reading(False)

    def _release_ignored(self) -> None:
        """Give back what was reserved for duplicates: nobody took them over."""
        under_way = self._begun_bytes if self.session.payload_bytes else 0
        if self.reserved_bytes > under_way:
            self._memory.release(self.reserved_bytes - under_way)
            self.reserved_bytes = under_way

    def _is_full(self) -> None:
        self._end_slow_reader(f"has over {MAX_UNSENT_BYTES >> 20} MiB unread")

    def _end_slow_reader(self, what: str) -> None:
        reason = f"the device does not read: it {what}"
        self._on_refused(MuteRefusal.SLOW_READER.value, self.connection.peer, reason)
        self._end_at_once(reason)

    def _end_at_once(self, reason: str) -> None:
        self._leave(reason)
        self.connection.abort()

    def _leave(self, reason: str) -> None:
        if self.is_open:
            self.is_open = False
            self._memory.forget(self)
            self._server.link_lost(self, reason)

    def _lost(self, error: Exception | None) -> None:
        self._leave(str(error or "closed by the device"))
        self.settle()
        self._memory.release(self.reserved_bytes)
        self.reserved_bytes = 0
        self._server.link_gone(self)
        self.session.release()


def _too_slow(payload_bytes: int) -> str:
    if not payload_bytes:
        return f"a message was not complete after {MESSAGE_S:.0f} s"
    return (
        f"a message of {size_in_words(payload_bytes)} comes at less than "
        f"{MIN_BYTES_PER_S // 1024} KiB/s: run more tasks on the device or use --encoding"
    )

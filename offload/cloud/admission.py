"""Who gets in: accepted connections, from the backlog to the end of their handshakes.

Only so many handshakes are under way at a time. Others wait in the kernel's backlog, where they
cost nothing: a thousand devices may come back at once from behind one address.

    admission = Admission(listeners, make_connection=..., on_refused=..., tls=None)
    admission.start()
    ...
    admission.stop()
"""

import asyncio
import contextvars
import logging
import resource
import ssl
import time
from collections.abc import Callable, Sequence
from typing import Final

from offload.cloud.transport import CloudConnection
from offload.messages import RefusalCode
from offload.telemetry.events import MuteRefusal
from offload.throttle import Complaint
from offload.transport import Listener, endpoint

logger = logging.getLogger(__name__)

# Handshakes under way, TLS included. Each may hold 1 KiB of message, a socket and some objects.
MAX_HANDSHAKES: Final = 256

# From accept to the device's last word of the handshake; after it the place is given up.
HANDSHAKE_S: Final = 5.0

# How long a server that cannot accept, for lack of file descriptors or memory, waits for some.
ACCEPT_PAUSE_S: Final = 1.0

# A peer that does not answer the end of its TLS session is not waited for longer.
TLS_GOODBYE_S: Final = 2.0

# Beside its connections a server has open: results, logs, listeners, what tasks open.
SPARE_FILES: Final = 128


class Arrival:
    """A connection from accept to the end of its handshake: it takes up a place.

    Attributes:
        peer: Its address.
        until_s: When its time is up, by the loop's clock.
        refusal: Why TLS refused it; empty if it did not.
    """

    def __init__(self, peer: str, until_s: float, on_settled: Callable[[], None]) -> None:
        """Take up the place."""
        self.peer = peer
        self.until_s = until_s
        self.refusal = ""
        self._on_settled: Callable[[], None] | None = on_settled

    def settle(self) -> None:
        """Give the place back; it may be given back again."""
        if self._on_settled is not None:
            on_settled, self._on_settled = self._on_settled, None
            on_settled()


# asyncio calls TLS in the context of the task that accepted the connection, and TLS itself knows no
# connection.
_arrival: contextvars.ContextVar[Arrival] = contextvars.ContextVar("arrival")


def note_tls_refusal(reason: str) -> None:
    """Remember why TLS refuses the connection of the current context; for `tls.server_context`."""
    _arrival.get().refusal = reason


class Admission:
    """Accepts connections while there are places for them.

    Args:
        listeners: Listening sockets; closed in the end.
        make_connection: Makes what serves an arrival. It settles it when the handshake is over or
            the connection has ended.
        on_refused: Called with why, the peer and the reason when TLS fails.
        tls: What TLS needs, or None to speak without.
        max_handshakes: How many places there are.
        handshake_s: How long one may be taken up.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        *,
        make_connection: Callable[[Arrival], CloudConnection],
        on_refused: Callable[[str, str, str], None],
        tls: ssl.SSLContext | None,
        max_handshakes: int = MAX_HANDSHAKES,
        handshake_s: float = HANDSHAKE_S,
    ) -> None:
        """Prepare; nothing is accepted yet."""
        self._listeners = listeners
        self._make_connection = make_connection
        self._on_refused = on_refused
        self._tls = tls
        self._max_handshakes = max_handshakes
        self._handshake_s = handshake_s
        self._under_way = 0
        self._is_open = False
        self._complaint = Complaint()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Accept from now on."""
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        self._resume()

    def stop(self) -> None:
        """Accept no more, and end what has not come to the session's own handshake."""
        if not self._is_open:
            return
        self._pause()
        self._is_open = False
        for each in self._listeners:
            each.close()
        for task in self._tasks:
            task.cancel()

    def _resume(self) -> None:
        if self._is_open:
            for each in self._listeners:
                self._loop.add_reader(each, self._accept, each)

    def _pause(self) -> None:
        for each in self._listeners:
            self._loop.remove_reader(each)

    def _accept(self, listener: Listener) -> None:
        """Accept what waits, as far as there are places."""
        while self._under_way < self._max_handshakes:
            try:
                accepted, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if self._complaint.is_due(time.monotonic()):
                    logger.error("cannot_accept", extra={"reason": str(error.strerror).lower()})
                self._pause()
                self._loop.call_later(ACCEPT_PAUSE_S, self._resume)
                return
            self._under_way += 1
            until_s = self._loop.time() + self._handshake_s
            arrival = Arrival(endpoint(address[0], address[1]), until_s, self._settled)
            task = self._loop.create_task(self._connect(accepted, arrival))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._pause()

    def _settled(self) -> None:
        if self._under_way == self._max_handshakes:
            self._resume()
        self._under_way -= 1

    async def _connect(self, accepted: Listener, arrival: Arrival) -> None:
        _arrival.set(arrival)
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._make_connection(arrival),
                accepted,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake_s if self._tls else None,
                ssl_shutdown_timeout=TLS_GOODBYE_S if self._tls else None,
            )
        except OSError as error:
            # What asyncio was about holds this error: 256 KiB that only the collector would free.
            error.__traceback__ = None
            arrival.settle()
            self._note_failure(arrival)
        except asyncio.CancelledError:
            arrival.settle()
            raise

    def _note_failure(self, arrival: Arrival) -> None:
        # A failure that TLS has words for shows here only when the peer has hung up, or later.
        if arrival.refusal:
            self._on_refused(MuteRefusal.TLS.value, arrival.peer, arrival.refusal)
        elif self._loop.time() >= arrival.until_s:
            self._on_refused(
                RefusalCode.TIMEOUT.value, arrival.peer, f"no TLS within {self._handshake_s:.0f} s"
            )
        # Else it hung up without a word, as who only looks whether a port is open.


def allow_open_files(max_clients: int) -> None:
    """Let this process open a file for each connection, as far as the system lets it."""
    needed = max_clients + MAX_HANDSHAKES + SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        logger.warning(
            "few_open_files",
            extra={
                "why": f"{max_clients} clients need {needed}, this user may open {hard}: "
                "raise the limit (ulimit -n), or give a smaller --max-clients"
            },
        )
        needed = hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

"""The connections of a server: made, looked after, and which of them are clients.

links = Links(server, options=options, access=access, memory=memory, recorder=recorder)
admission = Admission(listeners, make_connection=links.make, ...)
if not links.let_in(link, client): ...          # there are as many clients as there may be
links.look(loop.time())                         # once every LOOK_EVERY_S
"""

import math
import time
from typing import Final

from offload.auth import new_nonce
from offload.cloud.access import Access, Credential
from offload.cloud.admission import Arrival
from offload.cloud.buffers import BufferPool
from offload.cloud.device_link import Client, DeviceLink, LinkOwner
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.link_watch import LOOK_EVERY_S
from offload.cloud.options import Options
from offload.cloud.refusals import Refusals
from offload.cloud.transport import CloudConnection
from offload.messages import RefusalCode
from offload.session import CloudSession
from offload.telemetry.recorder import Recorder
from offload.wire import Admit

# A loop that comes round so late was held up: it has not read what the devices said meanwhile.
HELD_UP_S: Final = 1.0

# Memory for payloads that is kept for the next ones: a window of pictures of some devices.
MAX_IDLE_BUFFER_BYTES: Final = 64 * 1024 * 1024


class Links:
    """All connections, from the first byte to the last; and the devices that were let in.

    Args:
        owner: Is told what happens on them. It adds those that stand, and discards those that have
            ended.
        options: How many clients and how large messages there may be, and who may come in.
        access: The tokens.
        memory: Where memory for messages is reserved.
        recorder: Is told who was refused.

    Attributes:
        refusals: Who was refused, whether by a link or before there was one.
    """

    def __init__(
        self,
        owner: LinkOwner,
        *,
        options: Options,
        access: Access,
        memory: FrameMemory,
        recorder: Recorder,
    ) -> None:
        """Start without connections."""
        self.refusals = Refusals(recorder)
        self._owner = owner
        self._options = options
        self._access = access
        self._memory = memory
        self._buffers = BufferPool(max_idle_bytes=MAX_IDLE_BUFFER_BYTES)
        self._links: set[DeviceLink] = set()
        self._clients: dict[Client, DeviceLink] = {}
        self._looked_s = math.inf

    def make(self, arrival: Arrival) -> CloudConnection:
        """Return the connection that serves an arrival; its link is known to the owner only."""
        link = DeviceLink(
            self._owner,
            arrival,
            credential=self._access.new_credential(),
            memory=self._memory,
            make_session=self._make_session,
            on_refused=self.refusals.note,
        )
        return link.connection

    def all(self) -> list[DeviceLink]:
        """Return the connections there are now."""
        return list(self._links)

    @property
    def clients(self) -> int:
        """How many devices are let in."""
        return len(self._clients)

    def add(self, link: DeviceLink) -> None:
        """Take note of a device that has connected."""
        self._links.add(link)

    def discard(self, link: DeviceLink) -> None:
        """Forget a connection that has ended."""
        self._links.discard(link)

    def let_in(self, link: DeviceLink, client: Client) -> bool:
        """Count the link's device as a client; False if there are as many as there may be.

        One that takes over its own stream is no new client: the older link is told so, and ends.
        """
        if older := self._clients.get(client):
            reason = f"stream {client.stream!r} was taken over by a newer connection"
            older.refuse(RefusalCode.TAKEN_OVER, reason)
        elif len(self._clients) >= self._options.max_clients:
            return False
        link.client = client
        self._clients[client] = link
        return True

    def let_out(self, link: DeviceLink) -> None:
        """Count the link's device as a client no longer."""
        if link.client is not None:
            del self._clients[link.client]
            link.client = None

    def look(self, now: float) -> None:
        """Find connections that do not live any more, show the others that we do, say refusals."""
        self.refusals.look(time.monotonic())
        was_held_up = now - self._looked_s > LOOK_EVERY_S + HELD_UP_S
        self._looked_s = now
        for link in self.all():
            if was_held_up:
                link.look_away()
            else:
                link.look(now)

    def reload_tokens(self) -> None:
        """Read the tokens again; end the sessions whose token is gone, or has another secret."""
        self._access.reload()
        for link in self.all():
            if link.credential.is_withdrawn:
                link.refuse(RefusalCode.TOKEN, f"token {link.credential.token!r} was withdrawn")

    def _make_session(self, credential: Credential, admit: Admit) -> CloudSession:
        return CloudSession(
            secret_for=credential.secret_for,
            role_of=credential.role_of,
            insecure=self._options.insecure,
            nonce=new_nonce(),
            max_message_bytes=self._options.max_frame_bytes,
            take_memory=self._buffers.take,
            admit=admit,
        )

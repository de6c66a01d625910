"""The connections of operators: each asks, one request at a time, and is answered.

operators = Operators(steering)
operators.handle(link, control)             # whatever an operator sends
operators.leave(link)                       # when its connection has ended
"""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Final

from offload.cloud.device_link import DeviceLink
from offload.cloud.steering import Steering
from offload.errors import RemoteProtocolError, SteeringError
from offload.messages import (
    MAX_STEERED,
    OPERATOR_REQUESTS,
    Control,
    OperatorRequest,
    RefusalCode,
    Steered,
    StreamSteering,
)

# They are no clients, and have files of their own (`admission.SPARE_FILES`). Some people and their
# scripts are not as many.
MAX_OPERATORS: Final = 32

# A long answer goes out in parts. The next one waits until less than this is left of those before:
# a sixteenth of what ends a connection that is not read.
MAX_UNSENT_ANSWER_BYTES: Final = 64 * 1024
_ROOM_POLL_S: Final = 0.02


class Operators:
    """The operators that are connected; for the event loop.

    Args:
        steering: Does what they ask for.
    """

    def __init__(self, steering: Steering) -> None:
        """Start without any."""
        self._steering = steering
        # Their last requests.
        self._answering: dict[DeviceLink, asyncio.Task[None]] = {}
        # Those of operators that are gone, until they are done.
        self._orphans: set[asyncio.Task[None]] = set()

    def handle(self, link: DeviceLink, control: Control) -> None:
        """Act on what an operator sent; what is no request of its is ignored.

        Raises:
            RemoteProtocolError: Its last request is not answered yet.
        """
        if control.name not in OPERATOR_REQUESTS:
            return
        if link not in self._answering:
            link.settle()
            if len(self._answering) >= MAX_OPERATORS:
                link.refuse(RefusalCode.BUSY, f"server has {MAX_OPERATORS} operators already")
                return
        elif not self._answering[link].done():
            raise RemoteProtocolError("operator asks again, expected it to wait for its answer")
        self._answering[link] = asyncio.get_running_loop().create_task(self._answer(link, control))

    @property
    def connected(self) -> int:
        """How many there are."""
        return len(self._answering)

    def leave(self, link: DeviceLink) -> None:
        """Forget an operator whose connection has ended; what it asked for is done all the same."""
        answering = self._answering.pop(link, None)
        if answering is not None and not answering.done():
            self._orphans.add(answering)
            answering.add_done_callback(self._orphans.discard)

    async def _answer(self, link: DeviceLink, control: Control) -> None:
        try:
            request = OperatorRequest.read(control)
            streams = await self._steering.steer(request, by=link.credential.token)
        except (RemoteProtocolError, SteeringError) as error:
            if link.is_open:
                link.send_control(Steered(error=str(error)).control())
            return
        for part in _parts(streams):
            while link.is_open and link.connection.unsent_bytes > MAX_UNSENT_ANSWER_BYTES:
                await asyncio.sleep(_ROOM_POLL_S)
            if not link.is_open:
                return
            link.send_control(part.control())


def _parts(streams: Sequence[StreamSteering]) -> Iterator[Steered]:
    """Yield the answer in parts, at least one, each of which fits an envelope."""
    for start in range(0, max(1, len(streams)), MAX_STEERED):
        stop = start + MAX_STEERED
        yield Steered(streams=tuple(streams[start:stop]), more=stop < len(streams))

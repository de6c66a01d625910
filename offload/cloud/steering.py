"""Steer the devices that are connected: pass a change on, and wait until they say what they did.

    steering = Steering(recorder)
    stream = steering.enter("porch", device="pi", app="ball", splits=range(1, 7), send=send)
    stream.note(state)                          # whenever its device says `steering`
    found = await steering.steer(OperatorRequest(change=SetTarget(fps=25.0)), by="boss")
    steering.leave(stream)

Who asks, and over what, is not known here; operators' connections are served by ``operators``.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from itertools import count
from typing import Final

from offload.errors import SteeringError
from offload.messages import (
    Change,
    Control,
    OperatorRequest,
    PinSplit,
    SteeringRequest,
    SteeringState,
    StreamSteering,
    change_name,
    change_value,
)
from offload.session import STEERING_S
from offload.telemetry.events import Steered
from offload.telemetry.recorder import Recorder

# Sends a control message to a device.
Send = Callable[[Control], None]

_LOST: Final = "its device was lost before it answered"


class SteeredStream:
    """One stream of a connected device, as far as it is steered.

    Args:
        name: The stream.
        device: The device's name.
        app: Its app.
        splits: What it may be pinned to.
        send: Sends it a control message.
    """

    def __init__(self, name: str, *, device: str, app: str, splits: range, send: Send) -> None:
        """Start without a word of the device's."""
        self.name = name
        self._device = device
        self._app = app
        self._splits = splits
        self._send = send
        self._state: SteeringState | None = None
        self._is_gone = False
        # One change at a time: the device says only what came of its last one.
        self._turn = asyncio.Lock()
        # By the numbers of requests: why the change was not made, once the device has said.
        self._waiting: dict[int, asyncio.Future[str | None]] = {}

    def note(self, state: SteeringState) -> None:
        """Take note of what the device says."""
        self._state = state
        if state.answers in self._waiting:
            _answer(self._waiting.pop(state.answers), state.error)

    def end(self) -> None:
        """Take note that the device is connected no longer; whoever waits for it is told."""
        self._is_gone = True
        while self._waiting:
            _answer(self._waiting.popitem()[1], _LOST)

    def now(self, error: str | None = None) -> StreamSteering:
        """Return how it is steered, as far as its device has said."""
        return StreamSteering(
            stream=self.name, device=self._device, app=self._app, state=self._state, error=error
        )

    async def steer(self, change: Change, numbers: Iterator[int]) -> StreamSteering:
        """Have the device make a change, and return what came of it within `STEERING_S`."""
        if isinstance(change, PinSplit) and change.split not in self._splits:
            first, last = self._splits[0], self._splits[-1]
            return self.now(f"split is {change.split}, expected {first} to {last}")
        try:
            async with asyncio.timeout(STEERING_S), self._turn:
                return self.now(await self._change(change, next(numbers)))
        except TimeoutError:
            late = f"its device did not answer within {STEERING_S:.0f} s, and may do it later"
            return self.now(late)

    async def _change(self, change: Change, number: int) -> str | None:
        """Have the device make a change, and return why it did not."""
        if self._is_gone:
            return _LOST
        answer: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._send(SteeringRequest(change=change, number=number).control())
            return await answer
        finally:
            self._waiting.pop(number, None)


def _answer(waiting: asyncio.Future[str | None], error: str | None) -> None:
    # Whoever waited may have given up in this turn of the loop, and not have taken it back yet.
    if not waiting.done():
        waiting.set_result(error)


class Steering:
    """The streams of all connected devices, and who steers them; for the event loop.

    Args:
        recorder: Is told of every change, made or not.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Start without streams."""
        self._recorder = recorder
        self._streams: dict[str, SteeredStream] = {}
        # Begun anywhere, so that a device that comes from another server answers nobody by chance.
        self._numbers = count(secrets.randbits(32))

    def enter(
        self, name: str, *, device: str, app: str, splits: range, send: Send
    ) -> SteeredStream:
        """Take note of a device that is connected; the arguments are those of `SteeredStream`."""
        stream = SteeredStream(name, device=device, app=app, splits=splits, send=send)
        self._streams[name] = stream
        return stream

    def leave(self, stream: SteeredStream) -> None:
        """Take note that a device is connected no longer."""
        del self._streams[stream.name]
        stream.end()

    async def steer(self, request: OperatorRequest, *, by: str) -> list[StreamSteering]:
        """Do what an operator asks for, and return what came of it, by the streams' names.

        All devices are told at once, and have `STEERING_S` to say what they did. Where one does
        not, or where its app has no such split, its ``error`` says so.

        Args:
            request: What is asked for.
            by: Name of the operator's token.

        Raises:
            SteeringError: There is no stream of the name that was asked for.
        """
        streams = self._chosen(request.stream)
        if request.change is None:
            return [each.now() for each in streams]
        changes = (each.steer(request.change, self._numbers) for each in streams)
        steered = list(await asyncio.gather(*changes))
        for each in steered:
            self._record(request.change, each, by)
        return steered

    def _record(self, change: Change, steered: StreamSteering, by: str) -> None:
        state = steered.state
        self._recorder.record(
            Steered(
                at_s=self._recorder.now(),
                stream=steered.stream,
                change=change_name(change),
                value=change_value(change),
                error=steered.error,
                target_fps=None if state is None else state.target_fps,
                pinned=None if state is None else state.pinned,
                by=by,
            )
        )

    def _chosen(self, name: str | None) -> list[SteeredStream]:
        if name is None:
            return [self._streams[each] for each in sorted(self._streams)]
        if name not in self._streams:
            raise SteeringError(f"stream {name!r:.140} is not connected")
        return [self._streams[name]]

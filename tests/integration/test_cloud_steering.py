"""Steering on the server's side, without a connection: who gives up, and who is told."""

import asyncio
from itertools import count

from offload.cloud.steering import SteeredStream, Steering
from offload.messages import (
    Control,
    OperatorRequest,
    SetTarget,
    SteeringMode,
    SteeringRequest,
    SteeringState,
)
from offload.telemetry.recorder import Recorder

CHANGE = SetTarget(fps=25.0)


class Device:
    """A device that keeps what it was asked for, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Control] = []
        self.stream = SteeredStream(
            "s", device="d", app="a", splits=range(1, 4), send=self.asked.append
        )

    def answer(self) -> None:
        request = SteeringRequest.read(self.asked[-1])
        self.stream.note(
            SteeringState(
                mode=SteeringMode.AUTOMATIC,
                target_fps=25.0,
                pinned=None,
                error=None,
                answers=request.number,
            )
        )


def test_an_answer_that_comes_as_its_operator_gives_up_harms_nobody() -> None:
    async def answered_late() -> None:
        device = Device()
        asking = asyncio.create_task(device.stream.steer(CHANGE, count()))
        await asyncio.sleep(0)
        asking.cancel()
        device.answer()
        device.stream.end()

    asyncio.run(answered_late())


def test_a_device_that_goes_as_its_operator_gives_up_harms_nobody() -> None:
    async def gone() -> None:
        device = Device()
        asking = asyncio.create_task(device.stream.steer(CHANGE, count()))
        await asyncio.sleep(0)
        asking.cancel()
        device.stream.end()

    asyncio.run(gone())


def test_a_change_is_done_when_its_device_says_so() -> None:
    async def changed() -> str | None:
        steering, device = Steering(Recorder()), Device()
        stream = steering.enter(
            "s", device="d", app="a", splits=range(1, 4), send=device.asked.append
        )
        device.stream = stream
        asking = asyncio.create_task(
            steering.steer(OperatorRequest(change=CHANGE, stream="s"), by="boss")
        )
        while not device.asked:
            await asyncio.sleep(0)
        device.answer()
        (found,) = await asking
        return found.error

    assert asyncio.run(changed()) is None

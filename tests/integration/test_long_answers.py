"""An answer about more streams than fit a connection reaches an operator that reads late."""

import asyncio
import time
from typing import Final

import pytest

from offload.auth import ServerTokens
from offload.cloud.access import Access
from offload.cloud.admission import Admission
from offload.cloud.device_link import DeviceLink
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.links import Links
from offload.cloud.operators import Operators
from offload.cloud.options import parse
from offload.cloud.steering import Steering
from offload.cloud.transport import MAX_UNSENT_BYTES
from offload.messages import MAX_TEXT_CHARACTERS, Control, OperatorRequest
from offload.session import CloudEvent
from offload.telemetry.recorder import Recorder
from offload.transport import listening_sockets
from tests.integration.raw_operator import RawOperator
from tests.session_pair import OPERATOR

pytestmark = pytest.mark.integration

STREAMS: Final = 2000
WIDE: Final = "\N{BASKETBALL AND HOOP}" * MAX_TEXT_CHARACTERS


class Site:
    """A server of operators only, with many streams that nobody sends.

    Attributes:
        lost: Why connections have ended.
    """

    def __init__(self) -> None:
        recorder = Recorder()
        steering = Steering(recorder)
        for number in range(STREAMS):
            steering.enter(f"{number:04}", device=WIDE, app="a", splits=range(1, 2), send=_nothing)
        self._operators = Operators(steering)
        self.lost: list[str] = []
        tokens = ServerTokens(tokens={OPERATOR.name: OPERATOR}, path=None, created=False)
        links = Links(
            self,
            options=parse(["--port", "0"], {}),
            access=Access(tokens),
            memory=FrameMemory(limit_bytes=1 << 30),
            recorder=recorder,
        )
        (listener,) = listening_sockets("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self._admission = Admission(
            [listener], make_connection=links.make, on_refused=links.refusals.note, tls=None
        )

    def start(self) -> None:
        self._admission.start()

    def stop(self) -> None:
        self._admission.stop()

    def link_made(self, link: DeviceLink) -> None:
        pass

    def handle(self, link: DeviceLink, event: CloudEvent) -> None:
        assert isinstance(event, Control)
        self._operators.handle(link, event)

    def events_handled(self, link: DeviceLink) -> None:
        pass

    def link_lost(self, link: DeviceLink, reason: str) -> None:
        self.lost.append(reason)
        self._operators.leave(link)

    def link_gone(self, link: DeviceLink) -> None:
        pass


def _nothing(_: Control) -> None:
    raise AssertionError("nobody is told to change")


def ask_and_read_late(port: int) -> list[str]:
    with RawOperator(port) as operator:
        operator.ask(OperatorRequest())
        # What does not fit the socket waits in the server meanwhile.
        time.sleep(1.0)
        return [each.stream for each in operator.answer()]


def test_an_answer_of_megabytes_is_no_reason_to_cut_its_operator_off() -> None:
    async def run() -> tuple[list[str], list[str]]:
        site = Site()
        site.start()
        found = await asyncio.to_thread(ask_and_read_late, site.port)
        site.stop()
        return found, site.lost

    assert STREAMS * len(WIDE.encode()) > 2 * MAX_UNSENT_BYTES
    found, _ = asyncio.run(run())
    assert found == [f"{number:04}" for number in range(STREAMS)]

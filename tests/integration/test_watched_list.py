"""What browsers that show the list of devices are told as it changes."""

import asyncio
import json

import pytest

from offload.dashboard.doors import OpenDoors
from offload.dashboard.live import LiveSource
from offload.dashboard.watching import Watchers
from offload.telemetry.history import History
from offload.telemetry.stream_history import FORGET_AWAY_S
from tests.metrics.events import server_sampled
from tests.test_history import lost, opened
from tests.test_live_source import Owners

pytestmark = pytest.mark.integration


def test_whoever_watches_is_told_of_streams_that_are_forgotten() -> None:
    source = LiveSource(Owners(), title="", history=History(), results=None)  # type: ignore[arg-type]
    for event in (opened(), opened(stream="t"), lost(1.0)):
        source.note(event)

    async def watched() -> list[str]:
        visit = OpenDoors().visit(None)
        assert visit is not None
        said = Watchers(source).watch_list(visit)
        await anext(said)
        first = await anext(said)
        source.note(server_sampled(at_s=1.0 + FORGET_AWAY_S))
        return [first, await anext(said)]

    first, then = (
        json.loads(event.partition("data: ")[2].strip()) for event in asyncio.run(watched())
    )
    assert ([each["stream"] for each in first["rows"]], first["gone"]) == (["s", "t"], [])
    assert (then["rows"], then["gone"]) == ([], ["s"])

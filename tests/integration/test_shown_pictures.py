"""Pictures that browsers are shown: made once for all, and never again for who has them."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from offload.dashboard.pictures import MAX_KEPT, Jpeg, Pictures
from offload.dashboard.sources import Picture

cv2 = pytest.importorskip("cv2", reason="JPEGs are made by OpenCV")
pytestmark = pytest.mark.integration


class Album:
    """A source of one picture of each stream."""

    def look(self, stream: str) -> Picture:  # noqa: ARG002  # all are alike
        return Picture(number=1, content=np.zeros((8, 8), np.uint8))


class Workers(ThreadPoolExecutor):
    """Threads that count what they are given."""

    jobs = 0

    def submit(self, *work: Any, **named: Any) -> Any:
        self.jobs += 1
        return super().submit(*work, **named)


@pytest.fixture
def workers() -> Iterator[Workers]:
    with Workers(1) as workers:
        yield workers


async def newest(pictures: Pictures, streams: list[str], *, after: int) -> list[Jpeg | None]:
    return await asyncio.gather(*(pictures.newer_than(each, after) for each in streams))


def test_a_picture_is_made_once_for_all_who_look(workers: Workers) -> None:
    pictures = Pictures(Album(), workers)  # type: ignore[arg-type]
    shown = asyncio.run(newest(pictures, ["porch"] * 5, after=-1))
    assert {each.number for each in shown if each is not None} == {1}
    assert workers.jobs == 1


def test_who_waits_has_no_picture_made_that_they_have_though_many_look(workers: Workers) -> None:
    streams = [f"s{number}" for number in range(MAX_KEPT + 8)]
    pictures = Pictures(Album(), workers)  # type: ignore[arg-type]

    async def look_twice() -> list[Jpeg | None]:
        await newest(pictures, streams, after=-1)
        return await newest(pictures, streams, after=1)

    assert asyncio.run(look_twice()) == [None] * len(streams)
    assert workers.jobs == len(streams)

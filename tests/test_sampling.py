"""What a device's sample says of its run."""

from collections.abc import Iterator
from typing import Final

import pytest

from offload.device.capture import Capture, Limit, Overload
from offload.device.choosing import Choosing
from offload.device.sampling import Moment, Sampler
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter
from task_interface import Pipeline, source, task
from tests.device_options import read_options


@source(gives="number")
def numbers() -> Iterator[int]:
    yield from range(10)


@task(gives="doubled")
def double(number: int) -> int:
    return 2 * number


@task(gives="squared")
def square(doubled: int) -> int:
    return doubled * doubled


@task()
def finish(squared: int) -> int:
    return squared


PIPELINE: Final = Pipeline([numbers, double, square, finish])
FIRST, *_, LAST = PIPELINE.splits


@pytest.mark.parametrize(("is_behind", "split"), [(False, FIRST), (True, LAST)])
def test_the_split_of_frames_that_go_to_disk_is_theirs_and_not_the_schedulers(
    is_behind: bool, split: int
) -> None:
    choosing = Choosing(PIPELINE, read_options([str(FIRST), "25", "--host", "192.0.2.7"]))
    choosing.begin(workers=1, cloud_workers=1)
    totals = RunTotals(PIPELINE.names)
    capture = Capture(
        iter([(1,)]), start_seq=0, overload=Overload.BLOCK, limit=Limit(), rate_fps=None
    )
    captured = capture.next(timeout_s=0.0)
    assert captured is not None
    totals.chose(choosing.choose(captured, 1.0, watched=False, is_behind=is_behind).split)
    moment = Moment(
        now=2.0,
        at_s=2.0,
        began_s=0.0,
        link=LinkState(),
        has_cloud=True,
        is_behind=is_behind,
        capture=capture,
        is_live=False,
        expected_frames=None,
        split=None,
        pinned=None,
    )
    sampler = Sampler(stream="porch", totals=totals, load=LoadMeter(), choosing=choosing)
    assert sampler.sample(moment).split == split

"""The doctor on a device with a fifth of a core behind a thin link; it needs root."""

import json
from pathlib import Path
from typing import Final

import pytest

from benchmarks.doctor import limited_device
from benchmarks.doctor_rounds import ALONE
from benchmarks.measure import Options
from tests.emulation import test_local_run as local
from tests.integration.programs import write_app

pytestmark = local.pytestmark

# Work that takes the same on every machine, however fast it is: processor time, and bytes that no
# encoding makes fewer. So what is reached is the same a minute later, too.
BURNING: Final = """
import time
import numpy as np
from task_interface import Pipeline, source, task

def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass

@source(gives="picture")
def pictures():
    picture = np.random.default_rng(1).integers(0, 256, 40_000, np.uint8)
    while True:
        yield picture

@task(gives="half")
def halve(picture):
    burn(0.002)
    return picture[::2].copy()

@task(gives="hundredth")
def shrink(half):
    burn(0.006)
    return half[::50].copy()

@task()
def read(hundredth):
    burn(0.001)
    return int(hundredth[0])

pipeline = Pipeline([pictures, halve, shrink, read])
"""

# How exact forecasts are, `benchmarks.doctor` measures; a doctor that misses a limit is wrong by a
# factor.
ROUGHLY: Final = 0.3


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_forecasts_for_a_limited_device_are_what_it_reaches(tmp_path: Path) -> None:
    write_app(tmp_path, "burning", BURNING)
    one_round = Options(rounds=1, quick=False, json=None)
    with local.running(tmp_path, limited_device("burning", one_round)) as run:
        assert run.wait(within_s=200.0).code == 0
        (found,) = json.loads(run.log("pi").splitlines()[-1])
    assert set(found) == {"1", "2", "3", ALONE}
    for split, (expected, reached) in found.items():
        assert expected == pytest.approx(reached, rel=ROUGHLY), split

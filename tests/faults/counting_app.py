"""The app of the kill tests: each value follows from the frame's number, and each loss would show.

Frames end in every way: filtered and failed before the state and behind it, on the device and in
the cloud. The totals of each result cover all frames before it, so a frame that is lost, run twice
or run without its state changes all results behind it.

``--source N`` gives N frames; the last one comes once there is a file ``release``, so that a test
has all the time it needs in the middle of the stream.
"""

import os
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from task_interface import FILTER, Pipeline, Placement, source, task


class Numbers:
    """The numbers below ``count``, each with an array: some bytes, or now and then 10 to 100 kB."""

    def __init__(self, count: int) -> None:
        self._count = count

    def open(self, start_seq: int) -> Iterator[Any]:
        with Path("starts").open("a", encoding="ascii") as starts:
            starts.write(f"{start_seq}\n")
        for number in range(start_seq, self._count):
            while number == self._count - 1 and not Path("release").exists():
                time.sleep(0.01)
            yield number, picture_of(number)


def picture_of(number: int) -> Any:
    size = 64 if number % 20 else 10_000 + number * 7919 % 90_001
    return np.arange(number, number + size).astype(np.uint8)


@task(gives="checked")
def filter_early(number: int) -> Any:
    return FILTER if number % 7 == 3 else number


@task(gives="checksum")
def measure(checked: int, picture: Any) -> int:
    if checked % 97 == 50:
        raise ValueError(f"number {checked} cannot be measured")
    return int(picture.sum())


@task(gives=("seen", "total", "digits"), placement=Placement.CLOUD)
class Totals:
    """Adds up what it sees; says in the file ``mark`` how far it is."""

    def __init__(self) -> None:
        self.seen = self.total = 0
        self.digits = np.zeros(10, np.int64)

    def __call__(self, checked: int, checksum: int) -> Any:
        self.seen += 1
        self.total += checksum
        self.digits[checked % 10] += 1
        os.pwrite(_mark(), b"%12d" % checked, 0)
        return self.seen, self.total, self.digits.tolist()

    def snapshot(self) -> Any:
        return {"seen": self.seen, "total": self.total, "digits": self.digits.copy()}

    def restore(self, state: Any) -> None:
        self.seen, self.total, self.digits = state["seen"], state["total"], state["digits"]


@task(placement=Placement.CLOUD)
def tell(checked: int, checksum: int, seen: int, total: int, digits: list[int]) -> Any:
    if checked % 101 == 7:
        raise ValueError(f"number {checked} cannot be told")
    if checked % 11 == 5:
        return FILTER
    return {
        "number": checked,
        "checksum": checksum,
        "seen": seen,
        "total": total,
        "digits": digits,
    }


@cache
def _mark() -> int:
    return os.open("mark", os.O_WRONLY | os.O_CREAT, 0o600)


def make_pipeline(count: str | None) -> Pipeline:
    """Return the pipeline; the cloud gives no count, and has no source."""
    numbers = source(gives=("number", "picture"), name="numbers")(Numbers(int(count or 0)))
    return Pipeline([numbers, filter_early, measure, Totals, tell])

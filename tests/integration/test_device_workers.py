"""However many workers a device has, results and their order are the same, every frame counted."""

import json
import signal
from pathlib import Path
from typing import Any, Final

import pytest

from offload.messages import Outcome
from tests.integration.programs import (
    Ended,
    client,
    cloud_server,
    read_failures,
    read_results,
    run_client,
    wait_for_results,
    write_app,
)

pytestmark = pytest.mark.integration

FRAMES: Final = 60

# Later frames overtake earlier ones where they may: every third one takes longer in `double`, and
# every fourth one in `prepare`. `Sum` shows any that is missing, doubled or out of order.
APP: Final = """
import time
from task_interface import FILTER, Pipeline, Placement, source, task

@source(gives="number")
class Numbers:
    def open(self, start_seq):
        number = start_seq
        while number != {frames}:
            {before}
            yield number
            number += 1

    def prepare(self, number):
        time.sleep(0.002 if number % 4 == 0 else 0)
        if {is_bad}:
            raise ValueError(f"bad frame {{number}}")
        return number

@task(gives="double")
def double(number):
    time.sleep(0.004 if number % 3 == 0 else 0)
    if number % 11 == 7:
        raise RuntimeError("no double")
    return FILTER if number % 5 == 1 else 2 * number

@task(gives="total", placement=Placement.DEVICE)
class Sum:
    def __init__(self):
        self.total = 0

    def __call__(self, double):
        self.total += double
        return self.total

@task(gives="text")
def write(total):
    return str(total)

@task()
def finish(number, text):
    return [number, text]

pipeline = Pipeline([Numbers, double, Sum, write, finish])
"""


def write_summing(
    folder: Path,
    *,
    frames: int = FRAMES,
    before: str = "pass",
    is_bad: str = "number % 13 == 5",
) -> str:
    text = APP.format(frames=frames, before=before, is_bad=is_bad)
    return write_app(folder, "summing", text)


def outcome_of(number: int) -> Outcome:
    """Return how the app ends a frame."""
    if number % 13 == 5 or number % 11 == 7:
        return Outcome.FAILED
    return Outcome.FILTERED if number % 5 == 1 else Outcome.RESULT


def results_of(frames: int) -> dict[int, object]:
    """Compute the app's results by a plain loop."""
    results: dict[int, object] = {}
    total = 0
    for number in range(frames):
        if outcome_of(number) is Outcome.RESULT:
            total += 2 * number
            results[number] = [number, str(total)]
    return results


def counts_of(frames: int) -> dict[str, int]:
    """Return what a summary says of so many captured frames."""
    outcomes = [outcome_of(number) for number in range(frames)]
    return {
        "captured": frames,
        "resumed": 0,
        "completed": outcomes.count(Outcome.RESULT),
        "filtered": outcomes.count(Outcome.FILTERED),
        "dropped": 0,
        "failed": outcomes.count(Outcome.FAILED),
        "spooled": 0,
        "abandoned": 0,
    }


def frames_of(ended: Ended) -> Any:
    return json.loads(ended.out)["frames"]


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow), "4"])
def test_results_failures_and_their_order_are_the_same_in_all_modes(
    workers: str, tmp_path: Path
) -> None:
    app = write_summing(tmp_path)
    shared = ("--app", app, "--device-workers", workers, "--summary", "-")
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(tmp_path, *shared, "--results", "sqlite:local.db", "--stream", "here") as here,
        client(tmp_path, "3", *server.address, *shared, "--stream", "manual") as manual,
        client(tmp_path, "4", "500", *server.address, *shared, "--stream", "moving") as moving,
    ):
        ends = {"here": here.wait(), "manual": manual.wait(), "moving": moving.wait()}
    for stream, ended in ends.items():
        database = tmp_path / ("local.db" if stream == "here" else "results.db")
        assert ended.code == 0, ended.err
        assert frames_of(ended) == counts_of(FRAMES)
        assert read_results(database, stream) == results_of(FRAMES)
        failures = read_failures(database, stream)
        assert {seq: task for seq, (task, _) in failures.items()} == {
            seq: "Numbers" if seq % 13 == 5 else "double"
            for seq in range(FRAMES)
            if outcome_of(seq) is Outcome.FAILED
        }
        assert "bad frame 18" in failures[18][1]


@pytest.mark.parametrize("mode", ["client only", "manual"])
def test_a_device_that_is_told_to_stop_finishes_the_frames_on_its_workers(
    mode: str, tmp_path: Path
) -> None:
    app = write_summing(tmp_path, frames=-1)
    shared = ("--app", app, "--device-workers", "4", "--stream", "s", "--summary", "-")
    with cloud_server(tmp_path, "--app", app) as server:
        how = ("3", *server.address) if mode == "manual" else ("--results", "sqlite:results.db")
        with client(tmp_path, *how, *shared) as device:
            wait_for_results(tmp_path / "results.db", "s", at_least=20)
            device.send(signal.SIGTERM)
            ended = device.wait()
    assert ended.code == 0, ended.err
    frames = frames_of(ended)
    assert frames == counts_of(frames["captured"])
    assert read_results(tmp_path / "results.db", "s") == results_of(frames["captured"])


@pytest.mark.parametrize("workers", ["1", "4"])
def test_the_frames_before_a_source_that_raises_are_finished(workers: str, tmp_path: Path) -> None:
    app = write_summing(tmp_path, before="1 / (number - 40)")
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path,
            *("3", *server.address, "--app", app, "--device-workers", workers),
            *("--stream", "s", "--summary", "-"),
        )
    assert ended.code == 1, ended.err
    assert "Numbers" in ended.error
    assert "ZeroDivisionError" in ended.error
    assert frames_of(ended) == counts_of(40)
    assert read_results(tmp_path / "results.db", "s") == results_of(40)


@pytest.mark.parametrize("workers", ["1", "4"])
def test_frames_that_are_overwritten_are_counted_and_the_others_stay_in_order(
    workers: str, tmp_path: Path
) -> None:
    app = write_summing(tmp_path, frames=1000, before="time.sleep(3e-4)")
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path,
            *("3", *server.address, "--app", app, "--device-workers", workers),
            *("--overload", "newest", "--stream", "s", "--summary", "-"),
        )
    assert ended.code == 0, ended.err
    frames = frames_of(ended)
    assert frames["captured"] == 1000
    assert frames["dropped"] > 0
    ended_frames = ("completed", "filtered", "dropped", "failed")
    assert sum(frames[each] for each in ended_frames) == 1000
    results = read_results(tmp_path / "results.db", "s")
    assert len(results) == frames["completed"]
    total = 0
    for seq, result in results.items():
        total += 2 * seq
        assert outcome_of(seq) is Outcome.RESULT
        assert result == [seq, str(total)]


def test_a_device_whose_frames_all_fail_in_prepare_has_failed(tmp_path: Path) -> None:
    app = write_summing(tmp_path, is_bad="True")
    ended = run_client(tmp_path, "--app", app, "--device-workers", "2", "--summary", "-")
    assert ended.code == 1, ended.err
    assert frames_of(ended)["failed"] == FRAMES


PLAIN = """
count = 0

def get():
    global count
    count += 1
    return count <= 40, count

def check(number):
    return True, (number, count)

def store(number, now):
    return True, [number, now]

tasks = [get, check, store]
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_plain_tasks_and_their_source_run_one_frame_at_a_time(workers: str, tmp_path: Path) -> None:
    app = write_app(tmp_path, "counting", PLAIN)
    how = ("--app", app, "--device-workers", workers, "--stream", "s")
    assert run_client(tmp_path, *how, "--results", "sqlite:r.db").code == 0
    results = read_results(tmp_path / "r.db", "s")
    assert list(results.values()) == [[number, number] for number in range(1, 41)]


SLOW_SOURCE = """
import time
from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    for number in range(5):
        time.sleep(0.3)
        yield number

@task(gives="same")
def pass_on(number):
    time.sleep(0.002)
    return number

@task()
def finish(same):
    return same

pipeline = Pipeline([numbers, pass_on, finish])
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_finished_frame_does_not_wait_for_the_source_to_give_another(
    workers: str, tmp_path: Path
) -> None:
    app = write_app(tmp_path, "slow_source", SLOW_SOURCE)
    ended = run_client(tmp_path, "--app", app, "--device-workers", workers, "--summary", "-")
    assert json.loads(ended.out)["latency_s"]["p50"] < 0.1

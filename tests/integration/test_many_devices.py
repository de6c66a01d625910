"""One server serves several apps and several devices, and mixes none of them up."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.integration.programs import (
    client,
    cloud_server,
    read_position,
    read_results,
    read_summary,
    run_client,
    write_app,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# Each device's source has its own numbers, and the task in the cloud keeps a total per stream.
TOTALS = """
import os
from task_interface import FILTER, Pipeline, Placement, source, task

@source(gives="number")
def numbers():
    step = int(os.environ["STEP"])
    yield from range(0, 200 * step, step)

@task(gives="odd_one")
def drop_multiples_of_seven(number):
    return FILTER if number % 7 == 0 else number

@task(placement=Placement.CLOUD)
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, odd_one):
        self.total += odd_one
        return self.total

pipeline = Pipeline([numbers, drop_multiples_of_seven, Total])
"""


def test_three_devices_with_one_app_get_their_own_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = write_app(tmp_path, "totals", TOTALS)
    steps = {"one": "1", "two": "2", "three": "3"}
    for stream, step in steps.items():
        monkeypatch.setenv("STEP", step)
        alone = run_client(
            tmp_path, "--app", app, "--results", "sqlite:alone.db", "--stream", stream
        )
        assert alone.code == 0, alone.err
    with cloud_server(tmp_path, "--app", app, "--summary", "cloud.json") as server:
        with ExitStack() as stack:
            devices = []
            for k, (stream, step) in zip(("1", "2", "1"), steps.items(), strict=True):
                monkeypatch.setenv("STEP", step)
                arguments = (k, *server.address, "--app", app, "--stream", stream)
                devices.append(stack.enter_context(client(tmp_path, *arguments, "--rate", "200")))
            for each in devices:
                ended = each.wait()
                assert ended.code == 0, ended.err
        assert server.stop().code == 0
    found = {stream: read_results(tmp_path / "results.db", stream) for stream in steps}
    assert found == {stream: read_results(tmp_path / "alone.db", stream) for stream in steps}
    assert len({tuple(each.items()) for each in found.values()}) == 3
    report = read_summary(tmp_path / "cloud.json")
    assert {each["stream"]: each["results"] for each in report["streams"]} == {
        stream: len(results) for stream, results in found.items()
    }
    assert report["totals"]["results"] == sum(len(each) for each in found.values())
    for stream in steps:
        assert read_position(tmp_path / "results.db", stream)[0] == 200


def test_three_devices_with_the_scene_and_different_modes_get_client_onlys_results(
    tmp_path: Path,
) -> None:
    frames = ("--frames", "60")
    alone = run_client(tmp_path, *frames, "--results", "sqlite:alone.db", "--stream", "s")
    assert alone.code == 0, alone.err
    modes = {"a": ("1",), "b": ("5",), "c": ("6", "100")}
    with cloud_server(tmp_path) as server, ExitStack() as stack:
        devices = [
            stack.enter_context(
                client(tmp_path, *mode, *server.address, *frames, "--stream", stream)
            )
            for stream, mode in modes.items()
        ]
        for each in devices:
            ended = each.wait()
            assert ended.code == 0, ended.err
    expected = read_results(tmp_path / "alone.db", "s")
    assert expected
    for stream in modes:
        assert read_results(tmp_path / "results.db", stream) == expected


def test_one_server_runs_two_apps_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP", "1")
    app = write_app(tmp_path, "totals", TOTALS)
    ball = "ball_tracking_example"
    with cloud_server(tmp_path, "--app", app, "--app", ball, "--summary", "cloud.json") as server:
        with (
            client(
                tmp_path, "1", *server.address, "--app", app, "--stream", "t", "--rate", "200"
            ) as counting,
            client(tmp_path, "3", *server.address, "--stream", "b", "--frames", "60") as tracking,
        ):
            for each in (counting, tracking):
                ended = each.wait()
                assert ended.code == 0, ended.err
        other = run_client(tmp_path, "1", *server.address, "--app", app, "--stream", "b")
        server.stop()
    streams = {each["stream"]: each for each in read_summary(tmp_path / "cloud.json")["streams"]}
    assert {name: each["app"] for name, each in streams.items()} == {"t": app, "b": ball}
    assert (streams["t"]["next_seq"], streams["b"]["next_seq"]) == (200, 60)
    assert other.code == 77, other.err
    assert "belongs to app" in other.error

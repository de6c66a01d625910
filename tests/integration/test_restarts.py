"""Programs that are killed or stopped and come back lose nothing and store nothing twice."""

import json
import signal
from pathlib import Path

import cv2
import pytest

from ball_tracking_example.scene import Scene
from tests.integration.programs import (
    client,
    cloud_server,
    read_position,
    read_results,
    read_summary,
    run_client,
    wait_for_results,
    write_app,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FRAMES = 150

COUNTING = """
from task_interface import Pipeline, Placement, source, task

@source(gives="number")
class Numbers:
    def open(self, start_seq):
        yield from range(start_seq, 10_000)

@task(gives="same")
def pass_on(number):
    return number

@task(placement=Placement.CLOUD)
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, same):
        self.total += same
        return {"number": same, "total": self.total}

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state

pipeline = Pipeline([Numbers, pass_on, Total])
"""


def totals(frames: int) -> dict[int, object]:
    return {seq: {"number": seq, "total": seq * (seq + 1) // 2} for seq in range(frames)}


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_server_that_comes_back_ends_with_the_numbers_of_an_undisturbed_run(
    end: signal.Signals, tmp_path: Path
) -> None:
    app = write_app(tmp_path, "counting", COUNTING)
    arguments = ("--app", app, "--frames", "300", "--stream", "s", "--rate", "150")
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(tmp_path, "1", *server.address, *arguments, "--summary", "-") as device,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=50)
        server.send(end)
        server.wait()
        device.wait_for_line("session_lost")
        with cloud_server(tmp_path, "--app", app, port=server.port) as again:
            ended = device.wait()
            stopped = again.stop()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err + stopped.err
    report = json.loads(ended.out)
    assert report["reconnects"] == 1
    assert (report["frames"]["captured"], report["frames"]["completed"]) == (300, 300)
    assert read_results(tmp_path / "results.db", "s") == totals(300)
    assert read_position(tmp_path / "results.db", "s") == (300, 0, 0)


def test_server_killed_in_the_middle_of_a_scene_changes_no_result(tmp_path: Path) -> None:
    arguments = ("--frames", str(FRAMES))
    local = ("--results", "sqlite:local.db", "--stream", "s")
    assert run_client(tmp_path, *arguments, *local).code == 0
    paced = (*arguments, "--stream", "s", "--rate", "75")
    with (
        cloud_server(tmp_path) as server,
        client(tmp_path, "3", *server.address, *paced) as device,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=40)
        server.kill()
        with cloud_server(tmp_path, port=server.port):
            ended = device.wait()
    assert ended.code == 0, ended.err
    assert read_results(tmp_path / "results.db", "s") == read_results(tmp_path / "local.db", "s")
    assert read_position(tmp_path / "results.db", "s")[0] == FRAMES


def test_server_that_stays_away_is_unavailable_and_frames_are_counted(tmp_path: Path) -> None:
    arguments = ("--rate", "100", "--stream", "s", "--retry-for", "0.5", "--summary", "-")
    with (
        cloud_server(tmp_path) as server,
        client(tmp_path, "3", *server.address, *arguments) as device,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=10)
        server.kill()
        ended = device.wait()
    assert ended.code == 69, ended.err
    assert "tried for" in ended.error
    frames = json.loads(ended.out)["frames"]
    assert frames["abandoned"] > 0
    assert frames["captured"] == sum(
        count for name, count in frames.items() if name not in ("captured", "resumed")
    )


def test_client_killed_in_the_middle_goes_on_where_its_stream_stands(tmp_path: Path) -> None:
    app = write_app(tmp_path, "counting", COUNTING)
    arguments = ("--app", app, "--stream", "s")
    with cloud_server(tmp_path, "--app", app) as server:
        with client(tmp_path, "1", *server.address, *arguments, "--rate", "150") as device:
            wait_for_results(tmp_path / "results.db", "s", at_least=30)
            device.kill()
        server.wait_for_line("session_lost")
        ended = run_client(
            tmp_path, "2", *server.address, *arguments, "--frames", "50", "--summary", "-"
        )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["frames"]["completed"] == 50
    next_seq = read_position(tmp_path / "results.db", "s")[0]
    assert next_seq >= 80
    assert read_results(tmp_path / "results.db", "s") == totals(next_seq)


@pytest.mark.parametrize("mode", [pytest.param("client_only", marks=pytest.mark.slow), "manual"])
def test_video_given_twice_under_one_name_goes_on_where_it_stopped(
    mode: str, tmp_path: Path
) -> None:
    make_video(tmp_path / "ball.avi", frames=60)
    source = ("--source", "ball.avi", "--summary", "-")
    whole = run_client(tmp_path, *source, "--results", "sqlite:whole.db", "--stream", "s")
    assert whole.code == 0, whole.err
    with cloud_server(tmp_path) as server:
        where = ("--results", "sqlite:results.db")
        arguments = where if mode == "client_only" else ("4", *server.address)
        first = run_client(tmp_path, *arguments, *source, "--stream", "s", "--frames", "25")
        second = run_client(tmp_path, *arguments, *source, "--stream", "s")
        third = run_client(tmp_path, *arguments, *source, "--stream", "s")
    captured = []
    for ended in (first, second, third):
        assert ended.code == 0, ended.err
        captured.append(json.loads(ended.out)["frames"]["captured"])
    assert captured == [25, 35, 0]
    results = read_results(tmp_path / "results.db", "s")
    assert len(results) > 30
    assert results == read_results(tmp_path / "whole.db", "s")
    assert read_position(tmp_path / "results.db", "s")[0] == 60


def test_newer_connection_takes_a_stream_over(tmp_path: Path) -> None:
    app = write_app(tmp_path, "counting", COUNTING)
    arguments = ("--app", app, "--stream", "s")
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(tmp_path, "1", *server.address, *arguments, "--rate", "100") as older,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=10)
        newer = run_client(tmp_path, "1", *server.address, *arguments, "--frames", "20")
        ended = older.wait()
    assert newer.code == 0, newer.err
    assert ended.code == 1, ended.err
    assert "taken over" in ended.error
    next_seq = read_position(tmp_path / "results.db", "s")[0]
    assert read_results(tmp_path / "results.db", "s") == totals(next_seq)


def make_video(path: Path, *, frames: int) -> None:
    scene = Scene(320, 240, 30.0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30.0, (320, 240))
    assert writer.isOpened()
    for seq in range(frames):
        writer.write(scene.frame(seq))
    writer.release()


COUNTING_THEN_FILTERING = """
from task_interface import FILTER, Pipeline, Placement, source, task

@source(gives="number")
class Numbers:
    def open(self, start_seq):
        yield from range(start_seq, 10_000)

@task(gives="seen", placement=Placement.CLOUD)
class Count:
    def __init__(self):
        self.seen = 0

    def __call__(self, number):
        self.seen += 1
        return self.seen if number % 10 == 0 else FILTER

    def snapshot(self):
        return self.seen

    def restore(self, state):
        self.seen = state

@task(placement=Placement.CLOUD)
def tell(seen):
    return seen

pipeline = Pipeline([Numbers, Count, tell])
"""


def test_state_that_a_filtered_frame_changed_survives_a_restart_of_the_server(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path, "counting_first", COUNTING_THEN_FILTERING)
    for _ in range(2):
        with cloud_server(tmp_path, "--app", app) as server:
            arguments = ("--app", app, "--frames", "15", "--stream", "s")
            assert run_client(tmp_path, "1", *server.address, *arguments).code == 0
    assert read_results(tmp_path / "results.db", "s") == {0: 1, 10: 11, 20: 21}


def test_state_that_a_filtered_frame_changed_survives_in_client_only_mode(tmp_path: Path) -> None:
    app = write_app(tmp_path, "counting_first", COUNTING_THEN_FILTERING)
    for _ in range(2):
        arguments = ("--app", app, "--frames", "15", "--stream", "s")
        assert run_client(tmp_path, *arguments, "--results", "sqlite:local.db").code == 0
    assert read_results(tmp_path / "local.db", "s") == {0: 1, 10: 11, 20: 21}


PAUSING = """
import time
from pathlib import Path
from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    yield 0
    yield 1
    while not Path("go").exists():
        time.sleep(0.02)
    yield 2

@task(gives="same")
def pass_on(number):
    return number

@task()
def finish(same):
    return same

pipeline = Pipeline([numbers, pass_on, finish])
"""


def test_a_device_with_nothing_in_flight_outlives_a_server_that_keeps_no_results(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path, "pausing", PAUSING)
    keeps_none = ("--app", app, "--results", "none")
    with (
        cloud_server(tmp_path, *keeps_none) as first,
        client(
            tmp_path,
            *(
                "2",
                *first.address,
                "--app",
                app,
                "--device-workers",
                "1",
                "--report-every",
                "0.2",
                "--summary",
                "s.json",
            ),
        ) as device,
    ):
        device.wait_for_line("session_opened")
        first.send(signal.SIGTERM)
        assert first.wait().code == 0
        with cloud_server(tmp_path, *keeps_none, port=first.port):
            (tmp_path / "go").touch()
            ended = device.wait()
    assert ended.code == 0, ended.err
    assert read_summary(tmp_path / "s.json")["frames"]["completed"] == 3


def test_resent_frames_are_counted_though_all_are_acknowledged_at_the_end(tmp_path: Path) -> None:
    with (
        cloud_server(tmp_path) as first,
        client(
            tmp_path,
            *("1", *first.address, "--frames", "300", "--rate", "150"),
            *("--stream", "s", "--report-every", "0.2", "--summary", "s.json"),
        ) as device,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=20)
        first.send(signal.SIGSTOP)
        device.wait_for_line("in_flight=32")
        first.kill()
        with cloud_server(tmp_path, port=first.port):
            assert device.wait().code == 0
    assert read_summary(tmp_path / "s.json")["resent"] > 0


def test_summary_is_written_by_a_device_that_is_stopped_before_it_was_connected(
    tmp_path: Path,
) -> None:
    with client(
        tmp_path, "3", "--host", "127.0.0.1", "--port", "1", "--summary", "s.json"
    ) as device:
        device.wait_for_line("server_unavailable")
        device.send(signal.SIGTERM)
        assert device.wait().code == 0
    assert read_summary(tmp_path / "s.json")["frames"]["captured"] == 0

"""The three modes give the same results, and the programs say what the contract promises."""

import fcntl
import json
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from tests.integration.programs import (
    CLIENT,
    SERVER,
    WAIT_S,
    client,
    cloud_server,
    read_position,
    read_results,
    read_summary,
    run_client,
    started,
    wait_for_results,
    write_app,
)

pytestmark = pytest.mark.integration

FRAMES = 150

FOUR_TASKS = """
count = 0

def get():
    global count
    if count == 30:
        return False
    count += 1
    return True, (count, count * 2)

def add(single, double):
    return True, single + double

def drop_multiples_of_nine(total):
    if total % 9 == 0:
        return False
    return True, total

def store(total):
    return True, None

tasks = [get, add, drop_multiples_of_nine, store]
"""

# As above for the ends: the server must never call the first function, nor this app's last one
# return anything.
SLOW = """
import time
from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    number = 0
    while True:
        yield number
        number += 1

@task(gives="same")
def pass_on(number):
    return number

@task()
def work_slowly(same):
    time.sleep(0.02)
    return same

pipeline = Pipeline([numbers, pass_on, work_slowly])
"""

NUMBER = (int, float)
SUMMARY_FIELDS: dict[str, type | tuple[type, ...]] = {
    "mode": str,
    "app": str,
    "stream": str,
    "duration_s": NUMBER,
    "frames": dict,
    "fps": NUMBER,
    "latency_s": dict,
    "split": dict,
    "sent_bytes": int,
    "device_task_s": NUMBER,
    "cloud_task_s": NUMBER,
    "cloud_s_saved": NUMBER,
    "tasks": list,
    "reconnects": int,
    "resent": int,
    "cpu_s": NUMBER,
    "cpu_percent": NUMBER,
    "peak_rss_bytes": int,
    "scheduler": list,
}
FRAME_COUNTS = {
    "captured",
    "resumed",
    "completed",
    "filtered",
    "dropped",
    "failed",
    "spooled",
    "abandoned",
}
SERVER_STREAM_FIELDS: dict[str, type | tuple[type, ...]] = {
    "stream": str,
    "device": str,
    "app": str,
    "results": int,
    "filtered": int,
    "failed": int,
    "dropped": int,
    "duplicates_ignored": int,
    "next_seq": int,
    "cloud_task_s": NUMBER,
    "fps": NUMBER,
}


def assert_every_frame_has_one_outcome(frames: dict[str, int]) -> None:
    assert set(frames) == FRAME_COUNTS
    ended = ("completed", "filtered", "dropped", "failed", "spooled", "abandoned")
    assert frames["captured"] + frames["resumed"] == sum(frames[each] for each in ended)


def assert_has_fields(report: dict[str, Any], expected: dict[str, type | tuple[type, ...]]) -> None:
    for name, types in expected.items():
        assert isinstance(report[name], types), f"{name} is {report[name]!r}"
        assert not isinstance(report[name], bool), f"{name} is {report[name]!r}"


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[int, object]:
    """Return what client only finds in the synthetic scene."""
    folder = tmp_path_factory.mktemp("client_only")
    ended = run_client(
        folder,
        *("--source", "synthetic", "--frames", str(FRAMES)),
        *("--results", "sqlite:local.db", "--stream", "here"),
    )
    assert ended.code == 0, ended.err
    results = read_results(folder / "local.db", "here")
    assert len(results) > FRAMES // 2
    return results


@pytest.mark.parametrize(
    "mode",
    [
        ("1",),
        pytest.param(("2",), marks=pytest.mark.slow),
        ("3",),
        pytest.param(("4",), marks=pytest.mark.slow),
        pytest.param(("5",), marks=pytest.mark.slow),
        ("6",),
        ("6", "200"),
    ],
    ids=" ".join,
)
def test_every_mode_gives_the_results_of_client_only(
    mode: tuple[str, ...], expected: dict[int, object], tmp_path: Path
) -> None:
    summary = tmp_path / "summary.json"
    with cloud_server(tmp_path) as server:
        ended = run_client(
            tmp_path,
            *(*mode, *server.address, "--frames", str(FRAMES)),
            *("--stream", "there", "--summary", str(summary)),
        )
    assert ended.code == 0, ended.err
    assert read_results(tmp_path / "results.db", "there") == expected
    assert read_position(tmp_path / "results.db", "there")[0] == FRAMES
    assert read_summary(summary)["frames"]["completed"] == len(expected)


def test_summaries_have_every_field_of_the_contract(tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--summary", "cloud.json") as server:
        ended = run_client(
            tmp_path,
            *("6", "200", *server.address, "--duration", "2.5", "--rate", "60"),
            *("--stream", "mine", "--summary", "device.json"),
        )
        assert ended.code == 0, ended.err
        assert server.stop().code == 0
    device = read_summary(tmp_path / "device.json")
    assert_has_fields(device, SUMMARY_FIELDS)
    assert_every_frame_has_one_outcome(device["frames"])
    assert (device["mode"], device["target_fps"], device["stream"]) == ("automatic", 200.0, "mine")
    assert set(device["latency_s"]) == {"p50", "p95", "p99"}
    assert set(device["split"]) == {"mean", "last", "histogram"}
    assert sum(device["split"]["histogram"].values()) == device["frames"]["captured"]
    assert [set(each) for each in device["tasks"]] == 7 * [
        {"name", "device_s", "cloud_s", "runs_device", "runs_cloud"}
    ]
    assert device["scheduler"], "no decision in 2.5 s"
    assert set(device["scheduler"][0]) == {"t", "fps", "target", "split", "reason"}
    cloud = read_summary(tmp_path / "cloud.json")
    assert set(cloud) >= {"streams", "refused", "totals", "cpu_s", "peak_rss_bytes"}
    (stream,) = cloud["streams"]
    assert_has_fields(stream, SERVER_STREAM_FIELDS)
    assert stream["results"] == device["frames"]["completed"]
    assert stream["filtered"] == device["frames"]["filtered"]
    assert stream["next_seq"] == device["frames"]["captured"]


def test_summary_is_the_only_thing_on_standard_output(tmp_path: Path) -> None:
    ended = run_client(tmp_path, "--frames", "10", "--summary", "-")
    assert ended.code == 0
    report = json.loads(ended.out)
    assert (report["mode"], report["target_fps"]) == ("client_only", None)
    assert_every_frame_has_one_outcome(report["frames"])


def test_server_says_on_standard_output_only_where_it_listens(tmp_path: Path) -> None:
    with started(SERVER, tmp_path, "--port", "0") as server:
        server.wait_for_line("listening on")
        ended = server.stop()
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines
    for line in lines:
        assert re.fullmatch(r"listening on ([0-9.]+|\[[0-9a-f:]+\]):[1-9][0-9]*", line)


@pytest.mark.parametrize("k", ["1", "2", "3"])
def test_plain_module_of_four_functions_runs_at_every_split(k: str, tmp_path: Path) -> None:
    app = write_app(tmp_path, "four", FOUR_TASKS)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path,
            *(k, *server.address, "--app", app, "--stream", "s", "--summary", "-"),
        )
    assert ended.code == 0, ended.err
    frames = json.loads(ended.out)["frames"]
    assert (frames["captured"], frames["completed"], frames["filtered"]) == (30, 20, 10)
    # Frame i gives 3 * (i + 1), a multiple of nine for every third.
    expected = {seq: None for seq in range(30) if (seq + 1) % 3}
    assert read_results(tmp_path / "results.db", "s") == expected


def test_first_function_runs_only_on_the_device(tmp_path: Path) -> None:
    text = FOUR_TASKS.replace("def get():", "def get():\n    open('called', 'a').write('x')")
    app = write_app(tmp_path, "four", text)
    cloud_folder, device_folder = tmp_path / "cloud", tmp_path / "device"
    for folder in (cloud_folder, device_folder):
        folder.mkdir()
        write_app(folder, "four", text)
    with cloud_server(cloud_folder, "--app", app) as server:
        ended = run_client(device_folder, "1", *server.address, "--app", app)
    assert ended.code == 0, ended.err
    assert (device_folder / "called").exists()
    assert not (cloud_folder / "called").exists()


def test_newest_drops_frames_of_a_fast_source_and_counts_them(tmp_path: Path) -> None:
    app = write_app(tmp_path, "slow", SLOW)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path,
            *("1", *server.address, "--app", app, "--overload", "newest", "--window", "2"),
            *("--rate", "200", "--duration", "1.5", "--stream", "s", "--summary", "-"),
        )
    assert ended.code == 0, ended.err
    frames = json.loads(ended.out)["frames"]
    assert_every_frame_has_one_outcome(frames)
    assert frames["dropped"] > 50
    assert frames["completed"] > 10
    assert frames["abandoned"] == 0
    assert read_position(tmp_path / "results.db", "s") == (
        frames["captured"],
        0,
        frames["dropped"],
    )


def test_block_loses_no_frame_to_a_slow_cloud(tmp_path: Path) -> None:
    app = write_app(tmp_path, "slow", SLOW)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path,
            *("1", *server.address, "--app", app, "--overload", "block", "--window", "2"),
            *("--rate", "200", "--frames", "40", "--stream", "s", "--summary", "-"),
        )
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["frames"]["completed"] == 40
    assert read_results(tmp_path / "results.db", "s") == {seq: seq for seq in range(40)}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("mode", [(), ("3",)], ids=["client_only", "manual"])
def test_client_drains_at_the_first_signal(
    number: signal.Signals, mode: tuple[str, ...], tmp_path: Path
) -> None:
    with cloud_server(tmp_path) as server:
        where = server.address if mode else ("--results", "sqlite:results.db")
        with client(
            tmp_path,
            *(*mode, *where, "--stream", "s", "--rate", "100", "--summary", "s.json"),
        ) as device:
            wait_for_results(tmp_path / "results.db", "s", at_least=10)
            device.send(number)
            ended = device.wait()
    assert ended.code == 0, ended.err
    assert "draining" in ended.err
    frames = read_summary(tmp_path / "s.json")["frames"]
    assert_every_frame_has_one_outcome(frames)
    assert frames["abandoned"] == 0
    assert len(read_results(tmp_path / "results.db", "s")) == frames["completed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_server_drains_at_the_first_signal(number: signal.Signals, tmp_path: Path) -> None:
    with (
        cloud_server(tmp_path, "--summary", "cloud.json") as server,
        client(tmp_path, "3", *server.address, "--stream", "s", "--rate", "100") as device,
    ):
        wait_for_results(tmp_path / "results.db", "s", at_least=10)
        server.send(number)
        ended = server.wait()
        device.wait_for_line("server_unavailable")
        assert device.is_running, "it reconnects for ever"
    assert ended.code == 0, ended.err
    assert "draining" in ended.err
    (stream,) = read_summary(tmp_path / "cloud.json")["streams"]
    assert stream["results"] == len(read_results(tmp_path / "results.db", "s"))


def test_client_ends_at_once_at_the_second_signal(tmp_path: Path) -> None:
    app = write_app(tmp_path, "slow", SLOW.replace("0.02", "3"))
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(tmp_path, "1", *server.address, "--app", app, "--report-every", "0.2") as device,
    ):
        device.wait_for_line("in_flight=32")
        device.send(signal.SIGINT)
        device.wait_for_line("draining")
        device.send(signal.SIGINT)
        ended = device.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err


@pytest.mark.slow
def test_frames_that_are_not_acknowledged_in_time_are_abandoned_in_one_line(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path, "slow", SLOW.replace("0.02", "3"))
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(
            tmp_path,
            *("1", *server.address, "--app", app, "--report-every", "0.2", "--summary", "-"),
        ) as device,
    ):
        device.wait_for_line("in_flight=32")
        device.send(signal.SIGTERM)
        ended = device.wait()
    assert ended.code == 1, ended.err
    abandoned = json.loads(ended.out)["frames"]["abandoned"]
    assert f"{abandoned} frames were abandoned" in ended.error
    assert "--spool DIR would" in ended.error


def test_server_ends_at_once_at_the_second_signal(tmp_path: Path) -> None:
    app = write_app(tmp_path, "slow", SLOW.replace("0.02", "3"))
    with (
        cloud_server(tmp_path, "--app", app) as server,
        client(tmp_path, "1", *server.address, "--app", app, "--report-every", "0.2") as device,
    ):
        device.wait_for_line("in_flight=32")
        server.send(signal.SIGTERM)
        server.wait_for_line("draining")
        server.send(signal.SIGTERM)
        ended = server.wait()
    assert ended.code == 130, ended.err
    assert "Traceback" not in ended.err


LIVE = """
import time
from task_interface import Pipeline, source, task

class Camera:
    live = True

    def open(self, start_seq):
        while True:
            time.sleep(0.005)
            yield start_seq

@task()
def think(number):
    time.sleep(0.05)
    return number

pipeline = Pipeline([source(gives="number", name="camera")(Camera()), think])
"""


def test_progress_of_a_live_source_says_what_was_missed_and_how_old_the_newest_frame_is(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path, "camera", LIVE)
    with client(tmp_path, "--app", app, "--report-every", "0.3", "--summary", "s.json") as device:
        device.wait_for_line("newest_age_ms=")
        device.send(signal.SIGTERM)
        ended = device.wait()
    assert ended.code == 0, ended.err
    (missed, *_) = re.findall(r"missed=(\d+) newest_age_ms=\d+", ended.err)
    assert 0 < int(missed) <= read_summary(tmp_path / "s.json")["frames"]["dropped"]


def test_client_drains_though_nobody_has_read_its_lines(tmp_path: Path) -> None:
    app = write_app(tmp_path, "camera", LIVE.replace("0.05", "0.001"))
    with subprocess.Popen(
        [sys.executable, CLIENT, "--app", app, "--report-every", "0.001"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    ) as device:
        assert device.stderr is not None
        # Nobody reads, so that a pipe of one page takes no more than the first lines.
        fcntl.fcntl(device.stderr, fcntl.F_SETPIPE_SZ, 4096)
        wait_for_bytes(device.stderr)
        device.send_signal(signal.SIGTERM)
        err = device.stderr.read().decode()
        assert device.wait(WAIT_S) == 0, err
    assert "draining signal=SIGTERM" in err
    assert "Traceback" not in err


def wait_for_bytes(pipe: IO[bytes]) -> None:
    """Wait until something can be read."""
    assert select.select([pipe], [], [], WAIT_S)[0]

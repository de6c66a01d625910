"""``--metrics-port`` of both programs, as a user meets it."""

import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

from offload.messages import Frame
from offload.transport import listening_sockets
from tests.integration.programs import (
    CLIENT,
    ROOT,
    SERVER,
    Ended,
    Program,
    client,
    cloud_server,
    run_client,
    run_server,
    started,
    write_app,
)
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice

pytestmark = pytest.mark.integration

WAIT_S: Final = 20.0

# Ends when it is told to.
APP: Final = """
import time
from pathlib import Path

from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    number = 0
    while not Path("end").exists():
        time.sleep(0.02)
        yield number
        number += 1

@task()
def finish(number: int) -> int:
    return number

pipeline = Pipeline([numbers, finish])
"""

# Gives frames until a file says no more, and then hangs.
HANGING_APP: Final = APP.replace(
    "        number += 1",
    """        number += 1
    time.sleep(3600)""",
)

# Runs a program as a user does whose Python lacks the package.
WITHOUT_PACKAGE: Final = """
import runpy, sys
sys.modules["prometheus_client"] = None
sys.path[0] = {root!r}
runpy.run_path({program!r}, run_name="__main__")
"""


def url_of(program: Program) -> str:
    said = re.search(r"url=(\S+)", program.wait_for_line("metrics_served"))
    assert said is not None
    return said[1]


def read_page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        text: str = answer.read().decode()
        return text


def test_both_programs_serve_their_metrics_until_they_end(tmp_path: Path) -> None:
    app = write_app(tmp_path, "numbers_app", APP)
    common = ("--app", app, "--metrics-port", "0")
    with cloud_server(tmp_path, *common, "--results", "none") as server:
        with client(
            tmp_path, "1", *server.address, *common, "--stream", "porch", "--report-every", "1"
        ) as device:
            urls = [url_of(server), url_of(device)]
            # By then samples have been made on both sides.
            device.wait_for_line("progress", times=2)
            cloud, local = map(read_page, urls)
            (tmp_path / "end").touch()
            assert device.wait().code == 0
        assert server.stop().code == 0
    assert re.search(
        r'^offload_run_info{app="numbers_app",.*mode="manual",stream="porch"', local, re.MULTILINE
    )
    assert re.search(r"^offload_captured_frames_total [1-9]", local, re.MULTILINE)
    # What is known of the last moments is fresh.
    assert "\noffload_connected 1.0\n" in local
    assert "\noffload_server_sessions 1.0\n" in cloud
    assert "offload_stream_throughput_frames_per_second" not in local
    assert 'offload_stream_connected{stream="porch"} 1.0\n' in cloud
    assert re.search(r'^offload_stream_split{stream="porch"} 1\.0$', cloud, re.MULTILINE)
    for each in urls:
        with pytest.raises(urllib.error.URLError):
            read_page(each)


def test_frames_that_come_again_are_counted_while_their_device_is_connected(
    tmp_path: Path,
) -> None:
    app = RawApp.of(write_app(tmp_path, "totals_app", NUMBERS), NUMBERS)
    arguments = ("--app", app.name, "--insecure", "--metrics-port", "0")
    with (
        cloud_server(tmp_path, *arguments) as server,
        RawDevice(server.port, app, stream="porch") as device,
    ):
        url = url_of(server)
        device.open()
        device.send_frame(0, doubled=2)
        device.wait_for_acknowledgement(1)
        device.send_raw(Frame(seq=0, split=1, captured_at=0.0, tree={"doubled": 2}))
        counted = 'offload_stream_duplicate_frames_total{stream="porch"} 1.0'
        give_up_s = time.monotonic() + WAIT_S
        while counted not in (page := read_page(url)):
            assert time.monotonic() < give_up_s, page
            device.beat()
            time.sleep(0.5)
    assert 'offload_stream_connected{stream="porch"} 1.0' in page


@pytest.mark.slow
def test_a_device_that_hangs_does_not_look_well(tmp_path: Path) -> None:
    app = write_app(tmp_path, "hanging_app", HANGING_APP)
    with client(tmp_path, "--app", app, "--metrics-port", "0", "--report-every", "1") as device:
        url = url_of(device)
        device.wait_for_line("progress")
        assert "\noffload_throughput_frames_per_second " in read_page(url)
        (tmp_path / "end").touch()
        give_up_s = time.monotonic() + WAIT_S
        while "\noffload_throughput_frames_per_second " in (page := read_page(url)):
            assert time.monotonic() < give_up_s, page
            time.sleep(0.5)
    assert re.search(r"^offload_captured_frames_total [1-9]", page, re.MULTILINE)
    assert re.search(r"^offload_sample_age_seconds [1-9]", page, re.MULTILINE)


@pytest.mark.parametrize("run", [run_client, run_server], ids=["device", "server"])
def test_a_port_that_is_taken_is_wrong_usage(tmp_path: Path, run: Callable[..., Ended]) -> None:
    (taken,) = listening_sockets("127.0.0.1", 0)
    with closing(taken):
        port = str(taken.getsockname()[1])
        ended = run(tmp_path, "--metrics-port", port)
    assert ended.code == 2
    assert ended.error == (
        f"error: 127.0.0.1:{port} is taken by another program; choose another --metrics-port"
    )
    assert ended.out == ""


@pytest.mark.parametrize("program", [CLIENT, SERVER], ids=["device", "server"])
def test_a_missing_package_is_wrong_usage_and_says_what_to_type(
    tmp_path: Path, program: Path
) -> None:
    script = tmp_path / "without_package.py"
    script.write_text(WITHOUT_PACKAGE.format(root=str(ROOT), program=str(program)))
    with started(script, tmp_path, "--metrics-port", "0") as running:
        ended = running.wait()
    assert ended.code == 2
    assert ended.error == (
        "error: --metrics-port needs package prometheus-client, which is not installed: "
        "./run setup metrics, or python3 -m pip install prometheus-client"
    )


@pytest.mark.parametrize("run", [run_client, run_server], ids=["device", "server"])
def test_what_is_no_port_is_wrong_usage(tmp_path: Path, run: Callable[..., Ended]) -> None:
    ended = run(tmp_path, "--metrics-port", "all")
    assert ended.code == 2
    assert "'all' is not a port from 0 to 65535" in ended.error

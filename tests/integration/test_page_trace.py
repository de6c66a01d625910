"""``python3 -m offload.dashboard`` shows recorded runs in the same page."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from offload.telemetry.form import to_fields
from tests.integration.programs import ROOT, cloud_server, run_client
from tests.integration.visitor import Visitor, of_device
from tests.seen_events import sampled

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMMAND: Final = (sys.executable, "-m", "offload.dashboard")


def lines_of(*events: object) -> str:
    return "".join(json.dumps(to_fields(each)) + "\n" for each in events)  # type: ignore[arg-type]


def run_page(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@contextmanager
def page_of(trace: Path, *arguments: str) -> Iterator[Visitor]:
    """Show a trace while the block lasts; the command ends well."""
    program = subprocess.Popen(
        [*COMMAND, str(trace), *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    try:
        line = program.stdout.readline()
        name, _, url = line.strip().partition(": ")
        assert name == trace.name
        yield Visitor(int(url.rstrip("/").rpartition(":")[2]))
        program.send_signal(signal.SIGINT)
        assert program.wait(10) == 0
    finally:
        program.kill()
        program.wait()
        program.stdout.close()


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the traces of a device and its server."""
    folder = tmp_path_factory.mktemp("traces")
    with cloud_server(folder, "--results", "none", "--trace", "server.jsonl") as server:
        ended = run_client(
            folder,
            *("3", "20", *server.address, "--stream", "porch", "--rate", "30"),
            *("--duration", "3", "--trace", "device.jsonl"),
        )
        assert ended.code == 0, ended.err
        assert server.stop().code == 0
    return folder


def test_a_devices_trace_is_shown_as_its_run_was(traces: Path) -> None:
    with page_of(traces / "device.jsonl") as visitor:
        said = visitor.json("/api/session")
        assert (said["title"], said["live"], said["can_control"]) == ("device.jsonl", False, False)
        assert not said["signs_in"]
        (row,) = visitor.json("/api/devices")["devices"]
        assert (row["stream"], row["ended"], row["mode"]) == ("porch", True, "automatic")
        assert row["completed"] > 0
        found = visitor.json(of_device("porch"))
        assert found["info"]["tasks"][0] == "get_frame"
        assert found["info"]["version"]
        assert len(found["samples"]["at_s"]) >= 2
        assert len(found["tasks"]) == 7
        kinds = [each["kind"] for each in found["notices"]]
        assert kinds[0] == "run_began"
        assert kinds[-1] == "run_ended"


def test_a_servers_trace_is_shown_in_the_same_page(traces: Path) -> None:
    with page_of(traces / "server.jsonl") as visitor:
        found = visitor.json(of_device("porch"))
        assert found["row"]["ended"]
        assert len(found["samples"]["fps"]) >= 2
        assert [each["kind"] for each in found["notices"]][-1] == "stream_ended"
        with visitor.watching("/api/events") as events:
            assert events.next()[1]["rows"] == visitor.json("/api/devices")["devices"]
        with visitor.watching(of_device("porch", "/events")) as events:
            assert events.next()[1]["row"] == found["row"]


def test_a_trace_is_only_looked_at(traces: Path) -> None:
    with page_of(traces / "device.jsonl") as visitor:
        assert visitor.get("/").status == 200
        assert visitor.get("/sign-in").headers["location"] == "/"
        assert visitor.post(of_device("porch", "/target"), {"fps": 5}).status == 403
        assert visitor.json(of_device("porch", "/results"))["kept"] is False
        assert visitor.get(of_device("porch", "/picture")).status == 204
        assert visitor.get("/api/session", Host="evil.example").status == 400


def test_a_trace_that_was_cut_off_is_shown_up_to_there(tmp_path: Path, traces: Path) -> None:
    content = (traces / "device.jsonl").read_text(encoding="utf-8")
    (tmp_path / "cut.jsonl").write_text(content[:-40], encoding="utf-8")
    with page_of(tmp_path / "cut.jsonl") as visitor:
        (row,) = visitor.json("/api/devices")["devices"]
        assert not row["ended"]


def test_a_day_is_shown_in_a_page_of_bearable_size(tmp_path: Path) -> None:
    day = (
        sampled(at_s=float(at_s), running_s=float(at_s), captured=25 * at_s, stream="porch")
        for at_s in range(20_000)
    )
    (tmp_path / "day.jsonl").write_text(lines_of(*day), encoding="utf-8")
    with page_of(tmp_path / "day.jsonl") as visitor:
        began_s = time.monotonic()
        answered = visitor.get(of_device("porch"))
        assert time.monotonic() - began_s < 5.0
        samples = answered.json()["samples"]
        assert 3600 <= len(samples["at_s"]) <= 7200
        assert samples["at_s"][-1] > 19_990
        assert set(samples["captured_per_s"][1:]) == {25.0}
        assert len(answered.body) < 3_000_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lines_of(sampled()) + "{}\n", "line 2: no event of a trace"),
        (lines_of(sampled()) + "\x00\n" + lines_of(sampled()), "line 2: no event of a trace"),
        ("seq,value\n1,2\n", "line 1: no event of a trace"),
        ("", "has no event of any stream"),
        (lines_of() + '{"event": "sampled"', "has no event of any stream"),
    ],
    ids=["an object", "damaged", "a table", "empty", "one that was cut off at once"],
)
def test_a_file_that_is_no_trace_is_named_in_a_line(
    tmp_path: Path, content: str, words: str
) -> None:
    (tmp_path / "odd.jsonl").write_text(content, encoding="utf-8")
    ended = run_page(tmp_path / "odd.jsonl")
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert "odd.jsonl" in line
    assert words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "TRACE"),
        (("none.jsonl",), "none.jsonl cannot be read"),
        ((".",), "cannot be read"),
        (("x", "--port", "99999"), "--port"),
    ],
)
def test_wrong_usage_is_a_line(arguments: tuple[str, ...], words: str) -> None:
    ended = run_page(*arguments)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert words in line


def test_a_port_that_is_taken_is_a_line(traces: Path) -> None:
    with page_of(traces / "device.jsonl") as visitor:
        port = visitor.origin.rpartition(":")[2]
        ended = run_page(traces / "device.jsonl", "--port", port)
    assert ended.returncode == 2
    assert "is taken by another program; choose another --port" in ended.stderr


def test_without_the_extra_a_line_says_what_to_install(traces: Path) -> None:
    program = (
        "import runpy, sys; sys.modules['starlette'] = None; "
        f"sys.argv = ['', {str(traces / 'device.jsonl')!r}]; "
        "runpy.run_module('offload.dashboard', run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert ended.returncode == 2
    assert "pip install starlette uvicorn" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1

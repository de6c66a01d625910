"""Wrong usage, broken apps and strange peers each get one clear line and the contract's code."""

import json
import logging
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.integration.programs import (
    CLIENT,
    SERVER,
    WAIT_S,
    client,
    cloud_server,
    read_failures,
    read_results,
    read_summary,
    run_client,
    run_server,
    started,
    write_app,
)

pytestmark = pytest.mark.integration

HERE = ("--host", "127.0.0.1", "--port", "1")

GOOD_SECRET = "a-secret-of-more-than-sixteen-characters"

APP = """
from task_interface import FILTER, Pipeline, source, task

@source(gives="number")
def numbers():
    yield from range(10)

@task(gives="half")
def halve(number):
    {halve}

@task()
def store(half):
    {store}

pipeline = Pipeline([numbers, halve, store])
"""


def app_text(*, halve: str = "return number / 2", store: str = "return half") -> str:
    return APP.format(halve=halve, store=store)


BROKEN_APPS = {
    "needs_missing": ("import no_such_module_anywhere\n", "no_such_module_anywhere"),
    "raises": ("tasks = 1 / 0\n", "ZeroDivisionError"),
    "misspelt": ("def f(:\n", "SyntaxError"),
    "empty": ("x = 1\n", "make_pipeline, pipeline, tasks"),
    "number": ("pipeline = 3\n", "expected a Pipeline"),
    "too_short": ("def f():\n    return False\ntasks = [f]\n", "at least two"),
    "unknown_value": (app_text().replace("def store(half)", "def store(third)"), "third"),
    "makes_none": ("def make_pipeline(source):\n    return None\n", "expected a Pipeline"),
    "exits": ("raise SystemExit('bye')\n", "SystemExit"),
}


Refused = Callable[[Path, Sequence[str]], str]


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Run a program in this process, as far as it comes, and return its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])

    def run(script: Path, arguments: Sequence[str]) -> str:
        assert runpy.run_path(str(script))["main"](arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1, said.err
        return said.err

    return run


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("0", *HERE), "'0'"),
        (("7", *HERE), "expected 1 to 6"),
        (("three", *HERE), "'three'"),
        (("3", "0", *HERE), "'0' is not a number over 0"),
        (("3", "-5", *HERE), "'-5' is not a number over 0"),
        (("3", "nan", *HERE), "'nan'"),
        (("3", "20", "1", *HERE), "unrecognized arguments: 1"),
        (("3",), "no cloud address"),
        (HERE, "--host goes with K"),
        (("--port", "9"), "--port goes with K"),
        (("3", "--host", "127.0.0.1", "--port", "65536"), "'65536'"),
        (("3", "--host", "127.0.0.1", "--port", "0"), "port is 0"),
        (("3", "--host", "127.0.0.1:8089"), "give the port by --port"),
        (("3", "--host", "a,,b"), "'a,,b' has an empty entry"),
        (("3", *HERE, "--results", "none"), "--results is for client only"),
        (("--frames", "0"), "'0'"),
        (("--overload", "sometimes"), "sometimes"),
        (("--device-workers", "0"), "'0'"),
        (("--device-workers", "1000000"), "'1000000'"),
        (("3", *HERE, "--encoding", "x"), "'x'"),
        (("--encoding", "raw"), "--encoding goes with K"),
        (("1", *HERE, "--app", "task_interface_example", "--encoding", "lossy"), "no task"),
        (("--source", "missing.mp4"), "missing.mp4"),
        (("--source", "synthetic:1x1"), "1x1"),
        (("--app", "nowhere"), "'nowhere' not found"),
        (("--app", "ball_tracking_example:nothing"), "'nothing'"),
        (("--summary", "missing/s.json"), "missing/s.json"),
        (("--spool", "s"), "--spool goes with K"),
        (("3", *HERE, "--spool-limit", "2MiB"), "--spool-limit goes with --spool"),
        (("3", *HERE, "--spool", "s", "--spool-limit", "big"), "'big' is no size"),
        (("3", *HERE, "--spool", ""), "--spool: the name is empty"),
        (("--tls",), "--tls goes with K"),
        (("3", *HERE, "--tls-ca", "ca.pem"), "--tls-ca goes with --tls"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_client_refuses_wrong_usage_in_one_line(
    arguments: tuple[str, ...], says: str, refused: Refused
) -> None:
    assert says in refused(CLIENT, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--results", "mysql:x"), "mysql"),
        (("3", *HERE, "--token-file", "missing"), "missing"),
        (("3", *HERE, "--spool", "s", "--spool-limit", "2"), "expected at least 1048576"),
        (
            ("3", *HERE, "--spool", "/dev/null"),
            "'/dev/null' cannot be made: a file is in its place",
        ),
        (("3", *HERE, "--spool", "/dev/null/s"), "'/dev/null/s' cannot be made"),
        (("3", *HERE, "--tls", "--tls-ca", "ca.pem"), "ca.pem"),
        (("3", *HERE, "--tls", "--tls-cert", "me.pem"), "me.pem"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_client_refuses_what_it_cannot_begin_with_in_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    ended = run_client(tmp_path, *arguments)
    assert ended.code == 2, ended.err
    assert says in ended.error
    assert ended.err.count("\n") == 1, ended.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--port", "many"), "'many'"),
        (("--app", "nowhere"), "'nowhere' not found"),
        (("--app", "ball_tracking_example", "--app", "ball_tracking_example"), "twice"),
        (("3",), "unrecognized arguments: 3"),
        (("--workers", "0"), "'0'"),
        (("--watch", "x"), "'x'"),
        (("--watch", "0"), "'0'"),
        (("--watch", "-5"), "'-5'"),
        (("--watch", "nan"), "'nan'"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_server_refuses_wrong_usage_in_one_line(
    arguments: tuple[str, ...], says: str, refused: Refused
) -> None:
    assert says in refused(SERVER, arguments)


@pytest.mark.parametrize("name", BROKEN_APPS)
def test_app_that_cannot_be_loaded_is_wrong_usage_on_both_ends(name: str, tmp_path: Path) -> None:
    text, says = BROKEN_APPS[name]
    write_app(tmp_path, name, text)
    with (
        client(tmp_path, "--app", name) as device,
        started(SERVER, tmp_path, "--port", "0", "--app", name) as cloud,
    ):
        ends = (device.wait(), cloud.wait())
    for ended in ends:
        assert ended.code == 2, ended.err
        assert says in ended.error


def test_address_of_another_machine_is_wrong_usage(tmp_path: Path) -> None:
    ended = run_server(tmp_path, "--bind", "192.0.2.1", "--port", "0")
    assert ended.code == 2, ended.err
    assert "192.0.2.1" in ended.error


def test_port_in_use_is_wrong_usage(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run_server(tmp_path, "--bind", "127.0.0.1", "--port", str(port))
    assert ended.code == 2, ended.err
    assert ended.error == (
        f"error: 127.0.0.1:{port} is taken by another program; choose another --port"
    )


def test_results_that_cannot_be_written_end_both_programs_in_one_line(tmp_path: Path) -> None:
    results = ("--results", "sqlite:missing/results.db")
    device = run_client(tmp_path, *results, "--frames", "5")
    cloud = run_server(tmp_path, *results, "--port", "0")
    for ended in (device, cloud):
        assert ended.code == 2, ended.err
        assert "missing/results.db" in ended.error
    assert cloud.out == ""


def test_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    began = time.monotonic()
    ended = run_client(tmp_path, "3", *HERE, "--retry-for", "0.5")
    assert ended.code == 69, ended.err
    assert "127.0.0.1:1" in ended.error
    assert time.monotonic() - began < 10


def test_host_without_address_is_unavailable(tmp_path: Path) -> None:
    ended = run_client(tmp_path, "3", "--host", "no-such-host.invalid", "--retry-for", "0.1")
    assert ended.code == 69, ended.err
    assert "no-such-host.invalid" in ended.error


def test_pipelines_that_differ_name_the_first_task_that_does(tmp_path: Path) -> None:
    cloud_folder, device_folder = tmp_path / "cloud", tmp_path / "device"
    for folder in (cloud_folder, device_folder):
        folder.mkdir()
    write_app(cloud_folder, "halves", app_text())
    write_app(device_folder, "halves", app_text().replace("halve", "split_in_two"))
    with cloud_server(cloud_folder, "--app", "halves") as server:
        ended = run_client(device_folder, "1", *server.address, "--app", "halves")
        refused = server.wait_for_line("refused")
        stopped = server.stop()
    assert ended.code == 76, ended.err
    assert "split_in_two" in ended.error
    assert "split_in_two" in refused
    assert stopped.code == 0


def test_app_that_the_server_does_not_run_is_a_mismatch(tmp_path: Path) -> None:
    write_app(tmp_path, "halves", app_text())
    with cloud_server(tmp_path, "--app", "halves") as server:
        ended = run_client(tmp_path, "1", *server.address)
    assert ended.code == 76, ended.err
    assert "ball_tracking_example" in ended.error
    assert "halves" in ended.error


def test_value_that_cannot_cross_fails_its_frame_and_names_task_and_type(tmp_path: Path) -> None:
    halve = "return {number} if number == 4 else number / 2"
    app = write_app(tmp_path, "halves", app_text(halve=halve))
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path, "2", *server.address, "--app", app, "--stream", "s", "--summary", "-"
        )
    assert ended.code == 0, ended.err
    frames = json.loads(ended.out)["frames"]
    assert (frames["completed"], frames["failed"], frames["abandoned"]) == (9, 1, 0)
    ((seq, (task, reason)),) = read_failures(tmp_path / "results.db", "s").items()
    assert (seq, task) == (4, "halve")
    assert "set" in reason
    (line,) = [each for each in ended.err.splitlines() if "frame_failed" in each]
    assert "task=halve" in line
    assert "set" in line


@pytest.mark.parametrize("k", ["1", "2"], ids=["cloud", "device"])
def test_task_that_raises_fails_its_frames_and_the_stream_goes_on(k: str, tmp_path: Path) -> None:
    app = write_app(tmp_path, "halves", app_text(halve="return number // (number % 5)"))
    with cloud_server(tmp_path, "--app", app, "--summary", "cloud.json") as server:
        ended = run_client(
            tmp_path, k, *server.address, "--app", app, "--stream", "s", "--summary", "-"
        )
        stopped = server.stop()
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err + stopped.err
    frames = json.loads(ended.out)["frames"]
    assert (frames["captured"], frames["completed"], frames["failed"]) == (10, 8, 2)
    failures = read_failures(tmp_path / "results.db", "s")
    assert set(failures) == {0, 5}
    assert failures[5][0] == "halve"
    assert "ZeroDivisionError" in failures[5][1]
    assert sorted(read_results(tmp_path / "results.db", "s")) == [1, 2, 3, 4, 6, 7, 8, 9]
    assert read_summary(tmp_path / "cloud.json")["streams"][0]["failed"] == 2
    assert "ZeroDivisionError" in ended.err


def test_task_that_raises_fails_its_frames_in_client_only(tmp_path: Path) -> None:
    app = write_app(tmp_path, "halves", app_text(store="return 1 // (int(half) % 3)"))
    ended = run_client(tmp_path, "--app", app, "--summary", "-")
    assert ended.code == 0, ended.err
    assert "Traceback" not in ended.err
    frames = json.loads(ended.out)["frames"]
    assert (frames["completed"], frames["failed"]) == (6, 4)


def test_run_in_which_every_frame_failed_has_failed(tmp_path: Path) -> None:
    app = write_app(tmp_path, "halves", app_text(store="return 1 / 0"))
    ended = run_client(tmp_path, "--app", app, "--log-level", "debug")
    assert ended.code == 1, ended.err
    assert ended.err.splitlines()[-1] == (
        "error: no frame was finished, 10 failed: task 'store' raised ZeroDivisionError: division "
        "by zero; mend the app; --log-level debug names the line, if it ran here"
    )
    assert "halves.py:14 in store" in ended.err


def test_frames_too_large_for_the_server_say_what_helps(tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--max-frame", "100kB") as server:
        ended = run_client(tmp_path, "1", *server.address, "--frames", "5", "--summary", "-")
    assert ended.code == 1, ended.err
    assert json.loads(ended.out)["frames"]["failed"] == 5
    advice = "run more tasks on the device, choose another --encoding, or raise --max-frame"
    (line,) = [each for each in ended.err.splitlines() if "frame_failed" in each]
    assert advice in line
    assert ended.error.startswith("error: no frame was finished, 5 failed: message is ")
    assert advice in ended.error


def test_a_report_that_cannot_be_written_is_one_error_of_either_program(tmp_path: Path) -> None:
    full = ("--summary", "/dev/full")
    device = run_client(tmp_path, "--frames", "3", *full)
    with cloud_server(tmp_path, *full) as server:
        cloud = server.stop()
    for ended in (device, cloud):
        assert ended.code == 1, ended.err
        assert "cannot write --summary /dev/full: No space left on device" in ended.error
    assert "finished" in device.err


def test_a_report_that_standard_output_does_not_take_is_one_error(tmp_path: Path) -> None:
    # With a buffer, Python tries once more at its end.
    buffered = {name: each for name, each in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [sys.executable, CLIENT, "--frames", "3", "--summary", "-"],
            cwd=tmp_path,
            env=buffered,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=WAIT_S,
            check=False,
            text=True,
        )
    assert ended.returncode == 1, ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: cannot write --summary -: No space")
    assert "Traceback" not in ended.stderr


def test_a_stream_that_could_not_be_opened_is_told_before_its_report(tmp_path: Path) -> None:
    ended = run_client(tmp_path, "3", *HERE, "--retry-for", "0.1", "--summary", "/dev/full")
    assert ended.code == 69, ended.err
    assert "127.0.0.1" in ended.error
    assert "summary_not_written" in ended.err


def test_source_that_raises_ends_the_stream_after_the_frames_it_gave(tmp_path: Path) -> None:
    text = app_text().replace("range(10)", "(3 // left for left in (3, 2, 1, 0))")
    app = write_app(tmp_path, "halves", text)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path, "2", *server.address, "--app", app, "--stream", "s", "--summary", "-"
        )
    assert ended.code == 1, ended.err
    assert "numbers" in ended.error
    assert "ZeroDivisionError" in ended.error
    assert json.loads(ended.out)["frames"]["completed"] == 3
    assert len(read_results(tmp_path / "results.db", "s")) == 3


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(200)),
        bytes(1000),
        b"\xff" * 100_000,
    ],
    ids=["http", "tls", "zeros", "ones"],
)
def test_server_outlives_a_peer_that_is_no_client_of_ours(sent: bytes, tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--summary", "cloud.json") as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as peer:
            try:
                peer.sendall(sent)
                while peer.recv(4096):
                    pass
            except ConnectionError:
                # Closed with our bytes unread.
                pass
        refused = server.wait_for_line("refused")
        ended = run_client(tmp_path, "3", *server.address, "--frames", "5")
        stopped = server.stop()
    assert "127.0.0.1" in refused
    assert ended.code == 0, ended.err
    assert stopped.code == 0
    assert stopped.err.count("refused") == 1
    assert "Traceback" not in stopped.err
    assert sum(read_summary(tmp_path / "cloud.json")["refused"].values()) == 1


@pytest.mark.slow
def test_peers_that_say_nothing_or_leave_at_once_disturb_nobody(tmp_path: Path) -> None:
    with cloud_server(tmp_path) as server:
        with socket.create_connection(("127.0.0.1", server.port)):
            pass
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
            ended = run_client(tmp_path, "3", *server.address, "--frames", "5")
            assert ended.code == 0, ended.err
            while silent.recv(4096):
                pass
        refused = server.wait_for_line("refused")
        stopped = server.stop()
    assert "handshake" in refused
    assert stopped.code == 0
    assert "Traceback" not in stopped.err


def test_client_says_what_answers_if_it_is_no_server_of_ours(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:
        port = web.getsockname()[1]
        with client(
            tmp_path, "3", "--host", "127.0.0.1", "--port", str(port), "--retry-for", "1"
        ) as device:
            web.settimeout(20)
            connection, _ = web.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                ended = device.wait()
    assert ended.code == 76, ended.err
    assert ended.error


# Who may come in.


def test_client_with_another_secret_is_refused_on_both_ends(tmp_path: Path) -> None:
    write_token(tmp_path / "cloud.token", f"home:{GOOD_SECRET}")
    write_token(tmp_path / "device.token", f"home:{GOOD_SECRET[::-1]}")
    with cloud_server(tmp_path, "--token-file", "cloud.token", "--summary", "cloud.json") as server:
        ended = run_client(tmp_path, "3", *server.address, "--token-file", "device.token")
        server.wait_for_line("refused")
        stopped = server.stop()
    assert ended.code == 77, ended.err
    assert "token" in ended.error
    assert GOOD_SECRET not in ended.err + stopped.err
    assert GOOD_SECRET[::-1] not in ended.err + stopped.err
    assert sum(read_summary(tmp_path / "cloud.json")["refused"].values()) == 1


def test_client_without_a_token_is_refused(tmp_path: Path) -> None:
    write_token(tmp_path / "cloud.token", f"home:{GOOD_SECRET}")
    with cloud_server(tmp_path, "--token-file", "cloud.token") as server:
        ended = run_client(tmp_path, "3", *server.address)
        server.wait_for_line("refused")
    assert ended.code == 77, ended.err
    assert "token" in ended.error


def test_insecure_server_accepts_a_client_without_a_token(tmp_path: Path) -> None:
    with cloud_server(tmp_path, "--insecure") as server:
        server.wait_for_line("insecure")
        ended = run_client(tmp_path, "3", *server.address, "--frames", "5")
    assert ended.code == 0, ended.err


def test_client_with_a_token_talks_to_no_server_that_cannot_prove_it(tmp_path: Path) -> None:
    write_token(tmp_path / "device.token", f"home:{GOOD_SECRET}")
    with cloud_server(tmp_path, "--insecure") as server:
        ended = run_client(
            tmp_path, "3", *server.address, "--frames", "5", "--token-file", "device.token"
        )
    assert ended.code == 77, ended.err
    assert "token" in ended.error


def test_token_file_that_others_can_read_is_wrong_usage(tmp_path: Path) -> None:
    write_token(tmp_path / "open.token", f"home:{GOOD_SECRET}")
    (tmp_path / "open.token").chmod(0o644)
    for ended in (
        run_client(tmp_path, "3", *HERE, "--token-file", "open.token"),
        run_server(tmp_path, "--port", "0", "--token-file", "open.token"),
    ):
        assert ended.code == 2, ended.err
        assert "chmod 600" in ended.error


def test_server_shows_no_secret_where_no_terminal_is(tmp_path: Path) -> None:
    with cloud_server(tmp_path) as server:
        ended = server.stop()
    tokens = Path(os.environ["XDG_CONFIG_HOME"]) / "task-offload" / "tokens"
    secret = tokens.read_text(encoding="utf-8").strip().split(":")[1]
    assert str(tokens) in ended.err
    assert secret not in ended.err + ended.out
    assert tokens.stat().st_mode & 0o777 == 0o600


def test_stream_of_another_token_is_refused(tmp_path: Path) -> None:
    write_token(tmp_path / "cloud.token", f"home:{GOOD_SECRET}\nwork:{GOOD_SECRET[::-1]}")
    write_token(tmp_path / "home.token", f"home:{GOOD_SECRET}")
    write_token(tmp_path / "work.token", f"work:{GOOD_SECRET[::-1]}")
    arguments = ("--frames", "5", "--stream", "mine")
    with cloud_server(tmp_path, "--token-file", "cloud.token") as server:
        first = run_client(tmp_path, "3", *server.address, *arguments, "--token-file", "home.token")
        other = run_client(tmp_path, "3", *server.address, *arguments, "--token-file", "work.token")
        server.wait_for_line("refused")
    assert first.code == 0, first.err
    assert other.code == 77, other.err
    assert "'mine'" in other.error


def write_token(path: Path, text: str) -> None:
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o600)

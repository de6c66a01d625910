"""The doctor on the real programs, and on servers, apps and sources that are not well."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import pytest

from offload.auth import Token
from offload.doctor import clock_and_link
from offload.doctor.apps import LoadedApp, look_at_app
from offload.doctor.clock_and_link import clock_finding
from offload.doctor.findings import Level
from offload.doctor.reaching import CONNECT_S, Reached, reach
from offload.doctor.reading import DEFAULT_MARK
from offload.errors import HandshakeError, ServerUnavailable
from offload.messages import Probed, RefusalCode
from offload.servers import Server, leave_plain
from offload.transport import listening_sockets
from tests.certificates import make_authority
from tests.faults.proxy import Direction, FaultProxy, Faults
from tests.integration.answers import (
    FIRST,
    Answer,
    Cloud,
    Visit,
    refusing,
    silent,
    speaking_http,
    welcoming,
)
from tests.integration.programs import ROOT, WAIT_S, Ended, cloud_server, write_app
from tests.integration.raw_device import NUMBERS, RawApp
from tests.integration.test_surveys import SLEEPING

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ANY_SOURCE: Final = f"{DEFAULT_MARK}synthetic"
# `test_surveys` compares with what is reached at the same time.
ROUGHLY: Final = 0.3
# An address of this machine at which nobody listens.
DEAD: Final = "127.0.0.99"
TOKEN: Final = Token(name="default", secret=b"correct-horse-battery")

KILLING: Final = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"

# What a frame is made of takes no time, and to make it does.
PREPARING: Final = NUMBERS.replace(
    """@source(gives="number")
def numbers():
    yield from range(10)
""",
    """@source(gives="number")
class numbers:
    def open(self, start_seq):
        yield from range(10)

    def prepare(self, number):
        import time
        time.sleep(0.1)
        return number
""",
)


def run_doctor(folder: Path, *options: str, **environment: str) -> Ended:
    ran = subprocess.run(
        [sys.executable, "-m", "offload.doctor", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3 * WAIT_S,
        check=False,
    )
    assert "Traceback" not in ran.stderr, ran.stderr
    return Ended(code=ran.returncode, out=ran.stdout, err=ran.stderr)


def found(ended: Ended, check: str) -> str:
    """Return the line of a check."""
    lines = [line for line in ended.out.splitlines() if line.split()[1:2] == [check]]
    assert len(lines) == 1, ended.out
    return lines[0]


def numbers_app(folder: Path) -> str:
    return write_app(folder, "numbers_app", NUMBERS)


# A device that is well.


def test_doctor_forecasts_what_each_split_gives_and_says_how_to_begin(tmp_path: Path) -> None:
    app = write_app(tmp_path, "sleeping_app", SLEEPING)
    with cloud_server(tmp_path, "--app", app) as server:
        options = (*server.address, "--app", app)
        ended = run_doctor(tmp_path, *options, "--json")
        assert ended.code == 0, ended.out
        said: dict[str, Any] = json.loads(ended.out)
    # What the tasks sleep, on the side that does so for longer, and what a busy machine adds.
    found_fps = [each["fps"] for each in said["forecasts"]]
    assert found_fps == pytest.approx([1 / 0.064, 1 / 0.044, 1 / 0.06], rel=ROUGHLY)
    assert {each["level"] for each in said["checks"]} == {"ok"}
    assert said["client_only_fps"] == pytest.approx(1 / 0.064, rel=ROUGHLY)
    assert said["command"].startswith("python3 iot_client_coordinator.py 2 ")
    assert said["verdict"] == "ready"


def test_server_keeps_nothing_of_what_the_doctor_tries(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_doctor(tmp_path, *server.address, "--app", app)
    assert ended.code == 0, ended.out
    connection = sqlite3.connect(tmp_path / "results.db")
    assert connection.execute("SELECT count(*) FROM streams").fetchone() == (0,)
    connection.close()


def test_checks_come_in_the_order_in_which_things_are_needed(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_doctor(tmp_path, *server.address, "--app", app)
    checks = [line.split()[1] for line in ended.out.splitlines()[:13]]
    assert checks == [
        *("python", "packages", "extras", "machine", "app", "source", "tasks", "alone"),
        *("token", "server", "clock", "link", "splits"),
    ]
    assert "\n\nready\nto begin (" in ended.out
    # On a terminal only.
    assert ended.err == ""


def test_device_alone_is_looked_at_without_a_server(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--app", numbers_app(tmp_path), HOST="")
    assert ended.code == 0, ended.out
    assert found(ended, "server").endswith(
        "none named (--host): nothing but client only is measured"
    )
    assert ended.out.rstrip().endswith("iot_client_coordinator.py --app numbers_app")


def test_what_an_app_prints_is_no_matter(tmp_path: Path) -> None:
    text = NUMBERS.replace("return 2 * number", "print({'fps': 1}, flush=True); return 2 * number")
    noise = 'import os\nprint("{}")\nprint({"name": 1})\nos.system("echo {}")\n'
    app = write_app(tmp_path, "printing_app", noise + text)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_doctor(tmp_path, *server.address, "--app", app, "--json")
    said = json.loads(ended.out)
    assert said["exit_code"] == 0
    assert said["client_only_fps"] > 0
    assert [each["split"] for each in said["forecasts"]] == [1, 2]


def test_source_that_prepares_slowly_gives_what_its_reading_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_app(tmp_path, "preparing_app", PREPARING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    # A run prepares several frames at once.
    fps = look_at_app("preparing_app", source=ANY_SOURCE).source_fps
    assert fps is not None
    assert fps > 5 / 0.1


# Apps and sources that are not well.


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("raise OSError('no disk')", "raised OSError on import: no disk"),
        ("import nowhere", "needs module 'nowhere'"),
        ("tasks = 7", "expected a Pipeline"),
    ],
)
def test_app_that_cannot_be_loaded_is_told_why(tmp_path: Path, text: str, why: str) -> None:
    ended = run_doctor(tmp_path, "--app", write_app(tmp_path, "bad_app", text))
    assert ended.code == 2
    assert found(ended, "app").startswith("failed")
    assert why in found(ended, "app")


def test_app_that_hangs_on_import_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_app(tmp_path, "hanging_app", "import time\ntime.sleep(1000)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seen = look_at_app("hanging_app", source=ANY_SOURCE, timeout_s=2.0)
    assert seen.finding.exit_code == 2
    assert "hangs while it is loaded" in seen.finding.found


def test_source_that_hangs_is_ended_and_the_app_is_known_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = NUMBERS.replace("yield from range(10)", "import time; time.sleep(1000); yield 1")
    write_app(tmp_path, "waiting_app", text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seen = look_at_app("waiting_app", source=ANY_SOURCE, timeout_s=3.0)
    assert seen.app is not None
    assert seen.app.tasks == ("numbers", "double", "Total")
    assert seen.source_finding is not None
    assert seen.source_finding.exit_code == 2
    assert "it hangs" in seen.source_finding.found


def test_camera_that_is_not_there_is_told_and_nothing_is_run(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--source", "camera:63")
    assert ended.code == 2
    assert found(ended, "source").startswith("failed")
    assert " tasks " not in ended.out.replace("7 tasks", "")
    assert ended.out.splitlines()[-1].startswith("not ready: source failed")


def test_source_that_nobody_knows_fails_as_the_source_and_not_as_the_app(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--source", "nonsense", HOST="")
    assert ended.code == 2
    assert found(ended, "app").startswith("ok")
    assert found(ended, "source").startswith("failed")
    assert "no such source or file: 'nonsense'" in found(ended, "source")


def test_pace_that_was_asked_for_is_told_and_nothing_above_it_is_expected(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--source", "synthetic:@20", "--json", HOST="")
    said = json.loads(ended.out)
    (source,) = [each["found"] for each in said["checks"] if each["check"] == "source"]
    assert source.endswith(" FPS by itself, and is paced to 20.0")
    assert said["expected_fps"] <= 20.0


def test_source_for_an_app_that_takes_none_fails_as_the_source(tmp_path: Path) -> None:
    ended = run_doctor(tmp_path, "--app", numbers_app(tmp_path), "--source", "x", HOST="")
    assert ended.code == 2
    assert "takes no --source" in found(ended, "source")


def test_task_that_runs_only_when_somebody_watches_is_told_so(tmp_path: Path) -> None:
    text = NUMBERS.replace(
        "@task(placement",
        """@task(gives="drawn", on_demand=True)
def draw(doubled):
    return str(doubled)

@task(placement""",
    ).replace("double, Total", "double, draw, Total")
    ended = run_doctor(tmp_path, "--app", write_app(tmp_path, "drawing_app", text), HOST="")
    assert ended.code == 0, ended.out
    assert found(ended, "tasks").endswith("; only when somebody watches: draw")


def test_source_that_cannot_prepare_a_frame_fails(tmp_path: Path) -> None:
    text = PREPARING.replace("return number\n", "raise OSError('torn')\n", 1)
    ended = run_doctor(tmp_path, "--app", write_app(tmp_path, "torn_app", text), HOST="")
    assert ended.code == 1
    assert "torn" in found(ended, "source")


def test_task_that_raises_is_told(tmp_path: Path) -> None:
    text = NUMBERS.replace("return 2 * number", "raise ValueError('odd')")
    ended = run_doctor(tmp_path, "--app", write_app(tmp_path, "raising_app", text))
    assert ended.code == 1
    assert "'double'" in found(ended, "tasks")
    assert "odd" in found(ended, "tasks")


@pytest.mark.parametrize(
    ("text", "check"),
    [
        (NUMBERS.replace("return 2 * number", f"print('here', flush=True); {KILLING}"), "tasks"),
        (NUMBERS.replace("yield from range(10)", f"yield 1; print('here'); {KILLING}"), "source"),
    ],
)
def test_app_that_a_signal_ends_is_told_and_fails_with_1(
    tmp_path: Path, text: str, check: str
) -> None:
    ended = run_doctor(tmp_path, "--app", write_app(tmp_path, "crashing_app", text), HOST="")
    assert ended.code == 1
    assert found(ended, check).endswith("ended by SIGSEGV")


# Servers that are not well.


def reached(port: int, *, host: str = FIRST, token: Token | None = None) -> Reached:
    app = RawApp.of("numbers_app", NUMBERS)
    loaded = LoadedApp(
        name=app.name,
        tasks=("numbers", "double", "Total"),
        splits=(1, 2),
        fingerprint=app.fingerprint,
    )
    return reach(Server(host=host, port=port), secure=leave_plain, token=token, app=loaded)


def free_port() -> int:
    (listener,) = listening_sockets(FIRST, 0)
    port = listener.getsockname()[1]
    listener.close()
    assert isinstance(port, int)
    return port


def test_without_a_server_the_device_is_looked_at_and_the_server_is_missed(tmp_path: Path) -> None:
    port = str(free_port())
    app = numbers_app(tmp_path)
    ended = run_doctor(tmp_path, "--host", FIRST, "--port", port, "--app", app)
    assert ended.code == 69
    assert "connection refused: is the server running" in found(ended, "server")
    assert found(ended, "alone").startswith("ok")
    assert "to begin" not in ended.out


def test_dead_server_of_a_list_is_a_warning_where_another_takes_the_device(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    with cloud_server(tmp_path, "--app", app) as server:
        hosts = f"{DEAD},{FIRST}"
        ended = run_doctor(tmp_path, "--host", hosts, "--port", str(server.port), "--app", app)
    dead, well = (line for line in ended.out.splitlines() if line.split()[1:2] == ["server"])
    assert dead.startswith("warning")
    assert f"{DEAD}:{server.port}: connection refused" in dead
    assert well.startswith("ok")
    assert ended.code == 0
    assert "works, but 1 warning: server" in ended.out


def test_name_that_nobody_knows_is_no_server() -> None:
    finding = reached(8089, host="nowhere.invalid").finding
    assert finding.exit_code == ServerUnavailable.exit_code
    assert "is the name right" in finding.advice


def test_wrong_token_is_told_with_what_to_do(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    wrong = tmp_path / "wrong"
    wrong.write_text("default:not-the-servers-secret\n", encoding="utf-8")
    wrong.chmod(0o600)
    with cloud_server(tmp_path, "--app", app) as server:
        own = reached(server.port, token=Token(name="default", secret=b"not-the-servers-secret"))
        unknown = reached(server.port, token=Token(name="other", secret=TOKEN.secret))
        none = reached(server.port, token=None)
        ended = run_doctor(tmp_path, *server.address, "--app", app, "--token-file", str(wrong))
    assert "hold different secrets" in own.finding.found
    assert "knows no token with the name 'other'" in unknown.finding.found
    assert "the device has none" in none.finding.found
    assert [each.finding.exit_code for each in (own, unknown, none)] == [77, 77, 77]
    assert ended.code == 77
    assert "copy the server's token file" in found(ended, "server")


def test_server_that_says_nothing_is_given_up_in_time() -> None:
    with Cloud(FIRST, answer=silent) as cloud:
        began_s = time.monotonic()
        finding = reached(cloud.port).finding
        took_s = time.monotonic() - began_s
    assert took_s < 2 * CONNECT_S
    assert finding.exit_code == 69
    assert "does not answer in time" in finding.found
    assert "is it a task-offload server" in finding.advice


def test_server_that_is_full_is_asked_again_later() -> None:
    with Cloud(FIRST, answer=refusing(RefusalCode.BUSY, "server is full")) as cloud:
        finding = reached(cloud.port).finding
    assert finding.advice == "try again later"


def test_certificate_that_is_not_accepted_is_no_matter_of_tokens(tmp_path: Path) -> None:
    own = make_authority(tmp_path, "own")
    app = numbers_app(tmp_path)
    options = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    with cloud_server(tmp_path, "--app", app, *options) as server:
        ended = run_doctor(tmp_path, *server.address, "--app", app, "--tls")
    assert ended.code == 77
    assert "--tls-ca" in found(ended, "server")
    assert "token" not in found(ended, "server")


@pytest.mark.parametrize(
    ("answer", "code", "why"),
    [
        (speaking_http, 76, "expected b'TO'"),
        (refusing(RefusalCode.PIPELINE, "app differs: task 2"), HandshakeError.exit_code, "task 2"),
        (refusing(RefusalCode.BUSY, "server is full"), 69, "server is full"),
    ],
)
def test_server_that_does_not_fit_says_why(answer: Answer, code: int, why: str) -> None:
    with Cloud(FIRST, answer=answer) as cloud:
        finding = reached(cloud.port).finding
    assert finding.exit_code == code
    assert why in finding.found


def answering_one_probe(visit: Visit) -> None:
    """Take the stream, and lose all probes after the first."""
    visit.shake_hands()
    visit.welcome()
    visit.next_control()
    visit.say(Probed(number=0, at=time.time()).control())
    while not visit.session.is_closed:
        visit.take()


def test_older_server_is_a_warning_and_its_clock_stays_unknown() -> None:
    # It takes no notice of what it does not know.
    with Cloud(FIRST, answer=welcoming) as cloud:
        seen = reached(cloud.port)
    assert "knows no trials" in seen.finding.found
    assert seen.measured is not None
    assert seen.measured.round_trip_s is None


def test_clock_and_link_of_a_server_are_measured(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    with cloud_server(tmp_path, "--app", app, "--insecure") as server:
        measured = reached(server.port).measured
    assert measured is not None
    assert measured.round_trip_s is not None
    assert measured.round_trip_s < 1
    assert measured.clock_ahead_s == pytest.approx(0, abs=1)
    assert (measured.up_bytes_per_s or 0) > 1e6
    assert (measured.down_bytes_per_s or 0) > 1e6


def test_link_with_a_long_round_trip_is_measured_and_its_server_is_not_too_old(
    tmp_path: Path,
) -> None:
    app = numbers_app(tmp_path)
    one_way = Faults(latency_s=0.25)
    with (
        cloud_server(tmp_path, "--app", app, "--insecure") as server,
        FaultProxy(target=(FIRST, server.port), seed=1) as proxy,
    ):
        proxy.set_faults(one_way, direction=Direction.BOTH)
        measured = reached(proxy.port).measured
    assert measured is not None
    assert measured.round_trip_s is not None
    assert measured.round_trip_s >= 2 * one_way.latency_s
    assert measured.clock_ahead_s == pytest.approx(0, abs=1)
    assert measured.up_bytes_per_s is not None
    assert measured.down_bytes_per_s is not None


def test_answers_that_came_count_though_the_next_one_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(clock_and_link, "ANSWER_S", 1.0)
    monkeypatch.setattr(clock_and_link, "LARGE_S", 0.1)
    with Cloud(FIRST, answer=answering_one_probe) as cloud:
        measured = reached(cloud.port).measured
    assert measured is not None
    assert measured.round_trip_s is not None
    assert clock_finding(measured).level is Level.OK


# A server's machine.


def test_server_machine_that_is_well_is_left_as_it_was(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    config = tmp_path / "config"
    ended = run_doctor(
        tmp_path, "--server", "--app", app, "--port", "0", XDG_CONFIG_HOME=str(config)
    )
    assert ended.code == 0, ended.out
    assert "a commit is on disk after" in found(ended, "results")
    assert "first start" in found(ended, "token")
    assert ended.out.splitlines()[-3] == "ready"
    assert ended.out.rstrip().endswith(
        "cloud_server_coordinator.py --app numbers_app --port 0 --results sqlite:results.db"
    )
    assert not config.exists()
    assert {each.name for each in tmp_path.iterdir()} <= {f"{app}.py", "__pycache__"}


def test_app_that_a_server_is_given_twice_is_told(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    again = ("--app", f"{app}:pipeline")
    ended = run_doctor(tmp_path, "--server", "--app", app, *again, "--port", "0")
    assert ended.code == 2
    assert "app 'numbers_app' is given twice" in ended.out
    assert "to begin" not in ended.out


def test_port_that_is_taken_is_told(tmp_path: Path) -> None:
    app = numbers_app(tmp_path)
    with cloud_server(tmp_path, "--app", app) as server:
        port = str(server.port)
        ended = run_doctor(tmp_path, "--server", "--app", app, "--bind", FIRST, "--port", port)
    assert ended.code == 2
    assert "choose another --port" in found(ended, "port")
    # What the running server has stored is looked at, and left alone.
    assert found(ended, "results").startswith("ok")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("sqlite:nowhere/results.db", "No such file"),
        ("sqlite:results.txt", "results.txt"),
        ("mysql:x", "expected sqlite:FILE or none"),
    ],
)
def test_results_that_cannot_be_stored_are_told(tmp_path: Path, url: str, why: str) -> None:
    (tmp_path / "results.txt").write_text("a letter to my grandmother\n" * 100, encoding="utf-8")
    app = numbers_app(tmp_path)
    ended = run_doctor(tmp_path, "--server", "--app", app, "--port", "0", "--results", url)
    assert ended.code in (1, 2)
    assert found(ended, "results").startswith("failed")
    assert why in found(ended, "results")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--server", "--source", "x"], "--source is of a device"),
        (["--results", "none"], "--results is of a server"),
        (["--app", "a", "--app", "b"], "a device runs one"),
        (["--tls-ca", "f", "--host", "h"], "--tls-ca goes with --tls"),
        (["--tls"], "--tls goes with --host"),
        (["--token-file", "f"], "--token-file goes with --host"),
        # What the server would not take either.
        (["--server", "--memory-limit", "0"], "--memory-limit is 0 bytes, expected at least 134"),
        (["--server", "--memory-limit", "1MiB"], "expected at least 134217728 bytes"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    tmp_path: Path, options: list[str], why: str
) -> None:
    ended = run_doctor(tmp_path, *options, HOST="")
    assert ended.code == 2
    assert why in ended.error
    assert ended.out == ""

"""``python3 -m offload.control`` against the two programs: what it changes, says and ends with."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from offload.auth import Token, TokenRole
from offload.control.cli import line, parse
from offload.messages import (
    HEARTBEAT,
    OperatorRequest,
    PinSplit,
    RefusalCode,
    Release,
    SetTarget,
    Steered,
    SteeringMode,
    SteeringState,
    StreamSteering,
)
from offload.transport import machine_name
from tests.certificates import make_authority, make_signed
from tests.integration.answers import FIRST, Answer, Cloud, Visit, silent, speaking_http
from tests.integration.programs import (
    ROOT,
    WAIT_S,
    CloudServer,
    Ended,
    Program,
    client,
    cloud_server,
    read_summary,
    write_app,
)
from tests.session_pair import OPERATOR, TOKEN

pytestmark = [pytest.mark.integration, pytest.mark.slow]

# A camera of 60 frames a second that never ends, and tasks that may run on either side. One thread
# runs the second one 33 times a second; four, as the server has, more often than the camera gives.
APP: Final = """
import itertools
import time
from task_interface import Pipeline, source, task

class Camera:
    rate_fps = 60.0

    def open(self, start_seq):
        yield from itertools.count(start_seq)

@task(gives="one")
def first(number):
    return number

@task(gives="two")
def second(one):
    time.sleep(0.03)
    return one

@task()
def last(two):
    return two

pipeline = Pipeline([source(gives="number", name="camera")(Camera()), first, second, last])
"""

SERVER: Final = (
    *("--app", "steered_app", "--results", "none"),
    *("--token-file", "server", "--workers", "4"),
)


class Site:
    """A server with two tokens, its devices, and its operator."""

    def __init__(self, folder: Path, server: CloudServer, stack: ExitStack) -> None:
        self.server = server
        self._folder = folder
        self._stack = stack

    def device(self, stream: str, *arguments: str) -> Program:
        """Start a device, and wait until its stream is open."""
        common = ("--app", "steered_app", "--device-workers", "1", "--report-every", "0.2")
        own = ("--stream", stream, "--token-file", "device", "--summary", f"{stream}.json")
        program = self._stack.enter_context(
            client(self._folder, *arguments, *self.server.address, *common, *own)
        )
        program.wait_for_line("progress")
        return program

    def control(self, *arguments: str, token: str = "operator") -> Ended:
        """Run the command to its end."""
        return control(self._folder, *self.server.address, "--token-file", token, *arguments)

    def report(self, stream: str) -> dict[str, Any]:
        return read_summary(self._folder / f"{stream}.json")


def control(folder: Path, *arguments: str, **variables: str) -> Ended:
    """Run the command to its end."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OFFLOAD_")}
    ended = subprocess.run(
        [sys.executable, "-m", "offload.control", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(folder), **variables},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    return Ended(code=ended.returncode, out=ended.stdout, err=ended.stderr)


def write_tokens(path: Path, *tokens: Token) -> None:
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="utf-8")
    path.chmod(0o600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_app(tmp_path, "steered_app", APP)
    write_tokens(tmp_path / "server", TOKEN, OPERATOR)
    write_tokens(tmp_path / "device", TOKEN)
    write_tokens(tmp_path / "operator", OPERATOR)
    return tmp_path


@pytest.fixture
def site(folder: Path) -> Iterator[Site]:
    with ExitStack() as stack, cloud_server(folder, *SERVER) as server:
        yield Site(folder, server, stack)


def shown(stream: str, how: str) -> str:
    return f"{stream} ({machine_name()}, steered_app): {how}\n"


# What it does.


def test_a_target_is_changed_and_reached_while_the_device_runs(site: Site) -> None:
    device = site.device("porch", "3", "20")
    assert site.control() == Ended(
        code=0, out=shown("porch", "automatic, target 20 FPS, split free"), err=""
    )
    changed = site.control("--stream", "porch", "--target", "45")
    assert changed == Ended(
        code=0, out=shown("porch", "automatic, target 45 FPS, split free"), err=""
    )
    assert "change=target fps=45" in device.wait_for_line(" steered ")
    device.wait_for_line("target=45", times=25)
    assert device.stop().code == 0
    decisions = site.report("porch")["scheduler"]
    before = [each for each in decisions if each["target"] == 20.0]
    after = [each for each in decisions if each["target"] == 45.0]
    assert before + after == decisions
    # Alone it does not reach 34, and needs not.
    assert before[-1]["fps"] < 36.0
    assert after[-1]["fps"] > 40.0


def test_a_pin_holds_all_frames_at_a_split_until_it_is_released(site: Site) -> None:
    device = site.device("porch", "3", "20")
    device.wait_for_line("reason=settled", times=2)
    pinned = site.control("--pin", "1")
    assert (pinned.code, pinned.out) == (0, shown("porch", "automatic, target 20 FPS, split 1"))
    assert " split=1 " in device.wait_for_line("reason=pinned", times=3)
    released = site.control("--release")
    assert (released.code, released.out) == (
        0,
        shown("porch", "automatic, target 20 FPS, split free"),
    )
    # Two lines came at least before it was pinned.
    device.wait_for_line("reason=settled", times=5)


def test_without_a_stream_all_are_steered_and_those_that_cannot_be_are_named(site: Site) -> None:
    site.device("a", "3", "20")
    site.device("b", "3", "20")
    assert site.control("--target", "30").out == "".join(
        shown(each, "automatic, target 30 FPS, split free") for each in "ab"
    )
    site.device("c", "2")
    ended = site.control("--pin", "2")
    assert ended.code == 1
    assert ended.out == (
        shown("a", "automatic, target 30 FPS, split 2")
        + shown("b", "automatic, target 30 FPS, split 2")
        + shown("c", "manual, split 2")
    )
    assert ended.error.startswith("error: c: its device runs tasks 1 to 2 by hand (manual mode)")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--pin", "4"), "porch: split is 4, expected 1 to 3"),
        (("--stream", "attic", "--pin", "2"), "stream 'attic' is not connected"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_changes_nothing(
    site: Site, arguments: tuple[str, ...], says: str
) -> None:
    site.device("porch", "3", "20")
    ended = site.control(*arguments)
    assert ended.code == 1
    assert says in ended.error
    assert site.control().out == shown("porch", "automatic, target 20 FPS, split free")


def test_a_device_that_is_gone_is_not_listed(site: Site) -> None:
    device = site.device("porch", "3", "20")
    device.kill()
    by_s = time.monotonic() + WAIT_S
    while (ended := site.control()).out:
        assert time.monotonic() < by_s
    assert (ended.code, ended.err) == (0, "no stream is connected\n")
    changed = site.control("--target", "30")
    assert changed.code == 1
    assert "no stream is connected" in changed.error


def test_a_device_that_comes_back_says_again_how_it_is_steered(folder: Path) -> None:
    with ExitStack() as stack:
        with cloud_server(folder, *SERVER) as server:
            site = Site(folder, server, stack)
            device = site.device("porch", "3", "20")
            assert site.control("--target", "30").code == 0
            assert site.control("--pin", "2").code == 0
            server.kill()
        with cloud_server(folder, *SERVER, port=server.port) as again:
            device.wait_for_line("session_opened", times=2)
            assert Site(folder, again, stack).control().out == shown(
                "porch", "automatic, target 30 FPS, split 2"
            )


# Who may.


def test_a_devices_token_is_no_operators(site: Site) -> None:
    ended = site.control(token="device")
    assert ended.code == 77
    assert "no operator's token: device holds none" in ended.error


def test_a_token_that_the_server_takes_for_a_devices_is_refused(site: Site, folder: Path) -> None:
    write_tokens(folder / "wrong", replace(TOKEN, role=TokenRole.OPERATOR))
    ended = site.control(token="wrong")
    assert ended.code == 77
    assert "token 'default' may not steer, only an operator's token may" in ended.error


def test_a_server_that_does_not_know_the_token_is_not_talked_to(site: Site, folder: Path) -> None:
    write_tokens(folder / "other", replace(OPERATOR, secret=TOKEN.secret))
    ended = site.control(token="other")
    assert ended.code == 77
    assert "the operator and the server hold different secrets" in ended.error


def test_an_operators_token_starts_no_device(site: Site, folder: Path) -> None:
    arguments = ("2", *site.server.address, "--app", "steered_app", "--token-file", "wrong")
    write_tokens(folder / "wrong", replace(OPERATOR, role=TokenRole.DEVICE))
    with client(folder, *arguments) as program:
        ended = program.wait()
    assert ended.code == 77
    assert "token 'boss' is an operator's, which opens no stream" in ended.error


def test_the_token_may_be_in_a_variable_and_so_may_host_and_port(site: Site, folder: Path) -> None:
    variables = {"HOST": FIRST, "PORT": str(site.server.port), "OFFLOAD_TOKEN": OPERATOR.line()}
    assert control(folder, **variables).code == 0


def test_it_speaks_tls(folder: Path) -> None:
    own = make_signed(folder, "server", make_authority(folder, "ca"), hosts="IP:127.0.0.1")
    tls = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    with ExitStack() as stack, cloud_server(folder, *SERVER, *tls) as server:
        site = Site(folder, server, stack)
        assert site.control("--tls", "--tls-ca", "ca.pem").code == 0
        plain = site.control()
        assert plain.code == 76
        assert "this server speaks TLS: give --tls" in plain.error


# What is wrong elsewhere.


def test_the_first_server_of_a_list_that_answers_is_asked(site: Site) -> None:
    # Nothing listens at the second loopback address.
    hosts = ("--host", f"127.0.0.2,{FIRST}")
    assert site.control(*hosts).code == 0


def test_without_a_server_it_says_so(folder: Path) -> None:
    with Cloud(FIRST) as cloud:
        port = str(cloud.port)
    arguments = ("--host", FIRST, "--port", port, "--token-file", "operator")
    ended = control(folder, *arguments)
    assert ended.code == 69
    assert "is the server running?" in ended.error


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (speaking_http, 76, "expected"),
        pytest.param(silent, 69, "did not answer within 5 s", marks=pytest.mark.slow),
    ],
    ids=["http", "silent"],
)
def test_a_server_that_does_not_answer_as_it_should_is_one_line(
    folder: Path, answer: Answer, code: int, says: str
) -> None:
    with Cloud(FIRST, answer=answer) as cloud:
        arguments = ("--host", FIRST, "--port", str(cloud.port), "--token-file", "operator")
        ended = control(folder, *arguments)
    assert ended.code == code, ended.err
    assert says in ended.error


def answering_after_signs_of_life(visit: Visit) -> None:
    """Answer an operator that has asked and given two signs of life since."""
    assert visit.next_control() == "streams"
    assert [visit.next_control() for _ in range(2)] == [HEARTBEAT, HEARTBEAT]
    visit.say(Steered().control())


def test_while_it_waits_for_an_answer_it_gives_signs_of_life(folder: Path) -> None:
    with Cloud(FIRST, answer=answering_after_signs_of_life) as cloud:
        arguments = ("--host", FIRST, "--port", str(cloud.port), "--token-file", "operator")
        ended = control(folder, *arguments)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize(
    ("code", "exit_code"), [(RefusalCode.BUSY, 69), (RefusalCode.LIMIT, 1), (RefusalCode.TOKEN, 77)]
)
def test_a_refusal_is_one_line(folder: Path, code: RefusalCode, exit_code: int) -> None:
    def refuse(visit: Visit) -> None:
        visit.next_control()
        visit.refuse(code, "so it is")

    with Cloud(FIRST, answer=refuse) as cloud:
        arguments = ("--host", FIRST, "--port", str(cloud.port), "--token-file", "operator")
        ended = control(folder, *arguments)
    assert ended.code == exit_code
    assert "server refused: so it is" in ended.error


# The command line.


@pytest.mark.parametrize(
    ("arguments", "request_"),
    [
        ((), OperatorRequest()),
        (("--stream", "s"), OperatorRequest(stream="s")),
        (("--target", "2.5"), OperatorRequest(change=SetTarget(fps=2.5))),
        (("--pin", "3", "--stream", "s"), OperatorRequest(change=PinSplit(split=3), stream="s")),
        (("--release",), OperatorRequest(change=Release())),
    ],
)
def test_the_command_line_says_what_to_ask(
    arguments: tuple[str, ...], request_: OperatorRequest
) -> None:
    assert parse(("--host", "cloud", *arguments), {}).request == request_


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "no cloud address"),
        (("--host", "h", "--target", "0"), "'0' is not a number over 0"),
        (("--host", "h", "--pin", "0"), "'0' is not a whole number of at least 1"),
        (("--host", "h", "--pin", "1", "--release"), "not allowed with"),
        (("--host", "h", "--stream", ""), "a stream's name has 1 to 128"),
        (("--host", "h", "--stream", ".."), "and is neither . nor .."),
        (("--host", "h", "--tls-ca", "ca.pem"), "--tls-ca goes with --tls"),
        (("--host", "h", "--port", "0"), "port is 0"),
        (("--host", "h", "--token-file", "none"), "token file none does not exist"),
        (("--host", "h", "everything"), "unrecognized arguments: everything"),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    ended = control(folder, *arguments)
    assert ended.code == 2
    assert says in ended.error


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (None, "s (d, a): has not said how it is steered"),
        (
            SteeringState(mode=SteeringMode.AUTOMATIC, target_fps=12.5, pinned=None),
            "s (d, a): automatic, target 12.5 FPS, split free",
        ),
        (
            SteeringState(mode=SteeringMode.AUTOMATIC, target_fps=30.0, pinned=2),
            "s (d, a): automatic, target 30 FPS, split 2",
        ),
        (
            SteeringState(mode=SteeringMode.MANUAL, target_fps=None, pinned=2),
            "s (d, a): manual, split 2",
        ),
    ],
)
def test_a_stream_is_a_line(state: SteeringState | None, expected: str) -> None:
    assert line(StreamSteering(stream="s", device="d", app="a", state=state)) == expected

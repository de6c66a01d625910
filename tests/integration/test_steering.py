"""Operators and devices at a running server: who may steer, what is passed on, what is answered."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from offload.auth import Token, TokenRole
from offload.cloud.operators import MAX_OPERATORS
from offload.errors import AuthError, HandshakeError, SessionLost, SteeringError, TurnedAway
from offload.messages import (
    MAX_STEERED,
    Control,
    OperatorRequest,
    PinSplit,
    Release,
    SetTarget,
    SteeringMode,
    SteeringRequest,
    SteeringState,
)
from offload.session import SILENCE_S, STEERING_S
from tests.integration.programs import CloudServer, cloud_server, write_app
from tests.integration.raw_device import NUMBERS, WAIT_S, RawApp, RawDevice
from tests.integration.raw_operator import RawOperator
from tests.session_pair import OPERATOR, TOKEN, encoded, frame

pytestmark = pytest.mark.integration

SHOW: Final = OperatorRequest()
FASTER: Final = OperatorRequest(change=SetTarget(fps=25.0))
AUTOMATIC: Final = SteeringState(mode=SteeringMode.AUTOMATIC, target_fps=10.0, pinned=None)


class Site:
    """A server, and what connects to it."""

    def __init__(self, folder: Path, server: CloudServer, app: RawApp, stack: ExitStack) -> None:
        self.folder = folder
        self.server = server
        self._app = app
        self._stack = stack

    def connect(self, stream: str, *, token: Token = TOKEN) -> RawDevice:
        """Return a device that has said nothing yet."""
        device = RawDevice(self.server.port, self._app, stream=stream, token=token)
        return self._stack.enter_context(device)

    def device(self, stream: str) -> RawDevice:
        """Return a device whose stream is open."""
        device = self.connect(stream)
        device.open()
        return device

    def operator(self, *, token: Token = OPERATOR) -> RawOperator:
        """Return an operator that has not asked yet."""
        return self._stack.enter_context(RawOperator(self.server.port, token=token))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    app = RawApp.of(write_app(tmp_path, "raw_numbers", NUMBERS), NUMBERS)
    write_tokens(tmp_path, TOKEN, OPERATOR)
    arguments = ("--app", app.name, "--token-file", "tokens", "--results", "none")
    with ExitStack() as stack, cloud_server(tmp_path, *arguments, "--max-clients", "40") as server:
        yield Site(tmp_path, server, app, stack)


def write_tokens(folder: Path, *tokens: Token) -> None:
    path = folder / "tokens"
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="utf-8")
    path.chmod(0o600)


def say(device: RawDevice, state: SteeringState) -> None:
    device.session.send_control(state.control())
    device.flush()


def next_request(device: RawDevice) -> SteeringRequest:
    """Wait until the device is asked for a change."""
    for event in device.events():
        if isinstance(event, Control) and event.name in ("target", "pin", "release"):
            return SteeringRequest.read(event)
    raise AssertionError("nothing came")


def answer(device: RawDevice, state: SteeringState = AUTOMATIC) -> SteeringRequest:
    """Wait for a request, and say that it was done."""
    request = next_request(device)
    say(device, replace(state, answers=request.number))
    return request


def asked(operator: RawOperator, request: OperatorRequest) -> list[str | None]:
    """Ask, and return the errors of all streams."""
    operator.ask(request)
    return [each.error for each in operator.answer()]


# What operators ask for.


def test_an_operator_sees_what_is_connected_and_how_it_is_steered(site: Site) -> None:
    operator = site.operator()
    assert asked(operator, SHOW) == []
    said = site.device("b")
    site.device("a")
    # An acknowledgement comes after what was said before its frame.
    say(said, AUTOMATIC)
    said.send_frame(0, number=1)
    said.wait_for_acknowledgement(1)
    operator.ask(SHOW)
    first, second = operator.answer()
    assert (first.stream, first.state) == ("a", None)
    assert (second.stream, second.device, second.app) == ("b", "raw", "raw_numbers")
    assert (second.state, second.error) == (AUTOMATIC, None)


@pytest.mark.parametrize("change", [SetTarget(fps=25.0), PinSplit(split=2), Release()])
def test_a_change_is_passed_on_and_answered_with_what_the_device_says(
    site: Site, change: SetTarget | PinSplit | Release
) -> None:
    device, other, operator = site.device("a"), site.device("b"), site.operator()
    operator.ask(OperatorRequest(change=change, stream="a"))
    changed = replace(AUTOMATIC, pinned=2)
    assert answer(device, changed).change == change
    (found,) = operator.answer()
    assert (found.stream, found.state, found.error) == ("a", changed, None)
    assert not any(
        isinstance(each, Control) and each.name != "heartbeat" for each in other.received
    )


def test_without_a_stream_all_devices_are_told_at_once(site: Site) -> None:
    devices, operator = [site.device(name) for name in "abc"], site.operator()
    operator.ask(FASTER)
    requests = [next_request(each) for each in devices]
    for device, request in zip(devices, requests, strict=True):
        say(device, replace(AUTOMATIC, answers=request.number))
    assert [each.error for each in operator.answer()] == [None] * 3


def test_what_a_device_refuses_is_told_in_its_words(site: Site) -> None:
    device, operator = site.device("a"), site.operator()
    operator.ask(FASTER)
    manual = SteeringState(mode=SteeringMode.MANUAL, target_fps=None, pinned=1, error="not so")
    answer(device, manual)
    (found,) = operator.answer()
    assert found.error == "not so"
    assert found.state is not None
    assert found.state.mode is SteeringMode.MANUAL


def test_a_split_outside_of_the_pipeline_reaches_no_device(site: Site) -> None:
    device, operator = site.device("a"), site.operator()
    assert asked(operator, OperatorRequest(change=PinSplit(split=3))) == [
        "split is 3, expected 1 to 2"
    ]
    operator.ask(FASTER)
    assert answer(device).change == FASTER.change
    operator.answer()


def test_a_stream_that_is_not_connected_is_named_and_the_session_goes_on(site: Site) -> None:
    operator = site.operator()
    operator.ask(OperatorRequest(change=Release(), stream="porch"))
    with pytest.raises(SteeringError, match="stream 'porch' is not connected"):
        operator.answer()
    assert asked(operator, SHOW) == []


@pytest.mark.parametrize("body", [{"fps": 0}, {"fps": "fast"}, {}, {"fps": 1.0, "stream": 3}])
def test_a_request_that_makes_no_sense_is_answered_in_words_and_the_session_goes_on(
    site: Site, body: dict[str, object]
) -> None:
    operator = site.operator()
    operator.session.send_control(Control(name="target", body=body))
    operator.flush()
    with pytest.raises(SteeringError, match=r"field '(fps|stream)' is "):
        operator.answer()
    assert asked(operator, SHOW) == []


def test_an_answer_about_many_streams_comes_in_parts(site: Site) -> None:
    names = [f"{number:02}" for number in range(2 * MAX_STEERED + 1)]
    for each in names:
        site.device(each)
    operator = site.operator()
    operator.ask(SHOW)
    assert [each.stream for each in operator.answer()] == names
    assert operator.parts == 3


# Devices that do not answer.


@pytest.mark.slow
def test_a_device_that_says_nothing_is_waited_for_no_longer_than_it_may_take(site: Site) -> None:
    silent, device, operator = site.device("a"), site.device("b"), site.operator()
    began_s = time.monotonic()
    operator.ask(FASTER)
    late = next_request(silent)
    answer(device)
    while time.monotonic() - began_s < STEERING_S - 1.5:
        for each in (silent, device):
            each.beat()
        operator.session.send_heartbeat()
        operator.flush()
        time.sleep(0.5)
    found = operator.answer()
    assert STEERING_S <= time.monotonic() - began_s < STEERING_S + 2.0
    assert [each.error for each in found] == [
        "its device did not answer within 5 s, and may do it later",
        None,
    ]
    # A late word is not taken for the answer to the next request.
    operator.ask(OperatorRequest(change=Release(), stream="a"))
    request = next_request(silent)
    say(silent, replace(AUTOMATIC, answers=late.number, error="late"))
    say(silent, replace(AUTOMATIC, answers=request.number))
    assert [each.error for each in operator.answer()] == [None]


def test_a_device_that_goes_before_it_answers_is_not_waited_for(site: Site) -> None:
    device, operator = site.device("a"), site.operator()
    operator.ask(FASTER)
    next_request(device)
    device.socket.close()
    assert [each.error for each in operator.answer()] == ["its device was lost before it answered"]
    assert asked(operator, SHOW) == []


def test_a_stream_that_ends_is_not_listed_any_more(site: Site) -> None:
    device, operator = site.device("a"), site.operator()
    assert asked(operator, SHOW) == [None]
    device.end()
    assert asked(operator, SHOW) == []


def test_two_operators_are_answered_each_for_its_own_request(site: Site) -> None:
    device, first, second = site.device("a"), site.operator(), site.operator()
    first.ask(FASTER)
    request = next_request(device)
    second.ask(OperatorRequest(change=PinSplit(split=1)))
    # The device says what came of its last change only, so the next one waits.
    for seq in range(20):
        device.send_frame(seq, number=1)
        device.wait_for_acknowledgement(seq + 1)
    assert not any(isinstance(each, Control) and each.name == "pin" for each in device.received)
    say(device, replace(AUTOMATIC, answers=request.number, error="too fast"))
    assert [each.error for each in first.answer()] == ["too fast"]
    assert answer(device).change == PinSplit(split=1)
    assert [each.error for each in second.answer()] == [None]


# Who may.


def test_a_devices_token_may_not_steer(site: Site) -> None:
    operator = site.operator(token=TOKEN)
    operator.ask(SHOW)
    with pytest.raises(AuthError, match="token 'default' may not steer"):
        raise operator.refusal()


def test_an_operators_token_opens_no_stream(site: Site) -> None:
    device = site.connect("a", token=OPERATOR)
    with pytest.raises(AuthError, match="token 'boss' is an operator's, which opens no stream"):
        device.open()


def test_a_token_that_is_an_operators_no_longer_ends_its_session(site: Site) -> None:
    operator = site.operator()
    assert asked(operator, SHOW) == []
    write_tokens(site.folder, TOKEN, replace(OPERATOR, role=TokenRole.DEVICE))
    site.server.send(signal.SIGHUP)
    with pytest.raises(AuthError, match="token 'boss' was withdrawn"):
        raise operator.refusal()


def test_an_insecure_server_without_a_token_has_no_operators(tmp_path: Path) -> None:
    app = RawApp.of(write_app(tmp_path, "raw_numbers", NUMBERS), NUMBERS)
    arguments = ("--app", app.name, "--insecure", "--results", "none")
    with cloud_server(tmp_path, *arguments) as server:
        with RawDevice(server.port, app, stream="a") as device:
            device.open()
        with pytest.raises(AuthError, match="no token of that name and takes any operator"):
            RawOperator(server.port)


# What operators have in common with everybody.


def test_operators_are_no_clients(site: Site) -> None:
    for number in range(40):
        site.device(str(number))
    assert len(asked(site.operator(), SHOW)) == 40
    with pytest.raises(TurnedAway, match="server is full"):
        site.device("one more")


def test_one_operator_too_many_is_asked_to_come_again(site: Site) -> None:
    operators = [site.operator() for _ in range(MAX_OPERATORS)]
    for each in operators:
        assert asked(each, SHOW) == []
    with pytest.raises(TurnedAway, match=f"{MAX_OPERATORS} operators already"):
        asked(site.operator(), SHOW)
    operators[0].socket.close()
    by_s = time.monotonic() + WAIT_S
    while True:
        try:
            assert asked(site.operator(), SHOW) == []
        except TurnedAway:
            assert time.monotonic() < by_s
        else:
            return


def test_an_operator_that_does_not_wait_for_its_answer_breaks_the_protocol(site: Site) -> None:
    device, operator = site.device("a"), site.operator()
    operator.ask(FASTER)
    next_request(device)
    operator.ask(SHOW)
    with pytest.raises(HandshakeError, match="operator asks again"):
        raise operator.refusal()


def test_an_operator_that_sends_a_frame_breaks_the_protocol(site: Site) -> None:
    operator = site.operator()
    assert asked(operator, SHOW) == []
    operator.socket.sendall(encoded(frame(0)))
    with pytest.raises(HandshakeError, match="Frame while the session is STEERING"):
        raise operator.refusal()


@pytest.mark.slow
def test_a_silent_operator_is_gone(site: Site) -> None:
    operator = site.operator()
    assert asked(operator, SHOW) == []
    began_s = time.monotonic()
    assert isinstance(operator.refusal(), SessionLost)
    assert SILENCE_S - 0.5 < time.monotonic() - began_s < SILENCE_S + 2.0


def test_an_operator_learns_that_the_server_ends(site: Site) -> None:
    operator = site.operator()
    assert asked(operator, SHOW) == []
    site.server.send(signal.SIGTERM)
    with pytest.raises(TurnedAway, match="shutting down"):
        raise operator.refusal()

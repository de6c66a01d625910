"""What operators ask for and devices are told: every field is checked, and nothing is trusted."""

from collections.abc import Sequence

import pytest

from offload.errors import RemoteProtocolError
from offload.messages import (
    MAX_SEQ,
    MAX_STEERED,
    MAX_TEXT_CHARACTERS,
    Change,
    Control,
    DrainDevice,
    OperatorRequest,
    PinSplit,
    Release,
    SetTarget,
    Steered,
    SteeringMode,
    SteeringRequest,
    SteeringState,
    StreamSteering,
    change_name,
)
from offload.wire import encode

CHANGES = (SetTarget(fps=0.5), PinSplit(split=-3), Release(), DrainDevice())
AUTOMATIC = SteeringState(mode=SteeringMode.AUTOMATIC, target_fps=25.0, pinned=None)
STATES = (
    AUTOMATIC,
    SteeringState(mode=SteeringMode.MANUAL, target_fps=None, pinned=4, error="no", answers=0),
    SteeringState(mode=SteeringMode.AUTOMATIC, target_fps=1e-9, pinned=1, answers=MAX_SEQ),
)
NO_NUMBER: Sequence[object] = (None, True, "1", float("nan"), float("inf"), [], {})
NO_SPLIT: Sequence[object] = (None, True, 1.0, "1", [])


def test_a_device_is_told_to_finish_by_another_name_than_that_the_server_ends() -> None:
    assert SteeringRequest(change=DrainDevice(), number=1).control().name == "finish"
    assert change_name(DrainDevice()) == "drain"


def steering(body: dict[str, object]) -> Control:
    return Control(name="steering", body={**AUTOMATIC.control().body, **body})


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", [None, 0, MAX_SEQ])
def test_a_device_reads_what_it_is_told(change: Change, number: int | None) -> None:
    request = SteeringRequest(change=change, number=number)
    assert SteeringRequest.read(request.control()) == request


@pytest.mark.parametrize("change", [*CHANGES, None])
@pytest.mark.parametrize("stream", [None, "porch"])
def test_a_cloud_reads_what_an_operator_asks_for(change: Change | None, stream: str | None) -> None:
    request = OperatorRequest(change=change, stream=stream)
    assert OperatorRequest.read(request.control()) == request


@pytest.mark.parametrize("state", STATES)
def test_a_cloud_reads_how_a_device_says_it_is_steered(state: SteeringState) -> None:
    assert SteeringState.read(state.control()) == state


@pytest.mark.parametrize("state", [None, *STATES])
def test_an_operator_reads_its_answer(state: SteeringState | None) -> None:
    stream = StreamSteering(
        stream="a  b", device="pi", app="ball", state=state and state.unprompted(), error="gone"
    )
    said = Steered(streams=(stream, stream), error="so it is", more=True)
    found = Steered.read(said.control())
    assert found.error == said.error
    assert found.more
    assert [(each.stream, each.device, each.app, each.error) for each in found.streams] == [
        ("a  b", "pi", "ball", "gone")
    ] * 2
    for each in found.streams:
        assert (each.state and each.state.unprompted()) == stream.state


def test_what_is_said_unasked_answers_nobody() -> None:
    said = STATES[1].unprompted()
    assert (said.error, said.answers) == (None, None)
    assert (said.mode, said.pinned) == (STATES[1].mode, STATES[1].pinned)


@pytest.mark.parametrize("fps", [*NO_NUMBER, 0, -1.0])
def test_a_target_that_is_no_number_over_0_is_refused(fps: object) -> None:
    control = Control(name="target", body={"fps": fps})
    for read in (SteeringRequest.read, OperatorRequest.read):
        with pytest.raises(RemoteProtocolError, match="fps"):
            read(control)


@pytest.mark.parametrize("split", NO_SPLIT)
def test_a_split_that_is_no_integer_is_refused(split: object) -> None:
    control = Control(name="pin", body={"split": split})
    for read in (SteeringRequest.read, OperatorRequest.read):
        with pytest.raises(RemoteProtocolError, match="split"):
            read(control)


@pytest.mark.parametrize("number", [True, 1.0, -1, MAX_SEQ + 1, "1"])
def test_a_number_of_a_request_that_is_none_is_refused(number: object) -> None:
    with pytest.raises(RemoteProtocolError, match="request"):
        SteeringRequest.read(Control(name="release", body={"request": number}))
    with pytest.raises(RemoteProtocolError, match="request"):
        SteeringState.read(steering({"request": number}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("mode", (None, 1, "", "Manual", "client_only")),
        ("target", (True, "25", 0, -1, float("inf"))),
        ("pinned", (True, 1.5, "3")),
        ("error", (1, b"no", [])),
    ],
)
def test_a_state_with_a_field_of_a_wrong_type_is_refused(
    name: str, values: tuple[object, ...]
) -> None:
    for value in values:
        with pytest.raises(RemoteProtocolError, match=name):
            SteeringState.read(steering({name: value}))


@pytest.mark.parametrize("stream", [1, True, b"porch", ["porch"]])
def test_a_stream_that_is_no_text_is_refused(stream: object) -> None:
    with pytest.raises(RemoteProtocolError, match="stream"):
        OperatorRequest.read(Control(name="streams", body={"stream": stream}))


@pytest.mark.parametrize(
    "body",
    [
        {"streams": None},
        {"streams": [1]},
        {"streams": [{}]},
        {"streams": [{"stream": "", "device": "d", "app": "a"}]},
        {"streams": [{"stream": "two\nlines", "device": "d", "app": "a"}]},
        {"streams": [{"stream": "s", "device": 1, "app": "a"}]},
        {"streams": [{"stream": "s", "device": "d", "app": "a", "mode": "other"}]},
        {"streams": [{"stream": "s", "device": "d", "app": "a", "error": 1}]},
        {"error": 1},
        {"more": None},
    ],
)
def test_an_answer_with_a_wrong_field_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(RemoteProtocolError):
        Steered.read(Control(name="steered", body={**Steered().control().body, **body}))


def test_what_devices_and_servers_say_is_made_printable() -> None:
    said = "\x1b[2J" + "a" * 1000
    state = SteeringState(
        mode=SteeringMode.MANUAL, target_fps=None, pinned=1, error=said, answers=1
    )
    found = SteeringState.read(state.control())
    assert found.error is not None
    assert found.error.isprintable()
    assert len(found.error) == MAX_TEXT_CHARACTERS


def test_a_full_answer_fits_an_envelope_whatever_streams_are_called() -> None:
    wide = "\U0001f3c0" * MAX_TEXT_CHARACTERS
    state = SteeringState(
        mode=SteeringMode.AUTOMATIC, target_fps=25.0, pinned=2**63, error=wide, answers=MAX_SEQ
    )
    stream = StreamSteering(
        stream="\U0001f3c0" * 128, device=wide, app=wide, state=state, error=wide
    )
    encode(Steered(streams=(stream,) * MAX_STEERED, error=wide, more=True).control())

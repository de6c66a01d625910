"""An operator's session: who may steer, when, and what is not for operators."""

from dataclasses import replace

import pytest

from offload.auth import NONCE_BYTES, Token, TokenRole
from offload.errors import (
    AuthError,
    HandshakeError,
    LimitPassed,
    LocalProtocolError,
    Refused,
    RemoteProtocolError,
    TurnedAway,
)
from offload.messages import (
    HEARTBEAT,
    PROTOCOL_VERSION,
    Acknowledgement,
    Challenge,
    Control,
    End,
    Hello,
    Message,
    OperatorRequest,
    Proof,
    RefusalCode,
    Release,
    SetTarget,
    Steered,
)
from offload.session import CloudSession, DeviceSession, State
from offload.wire import ENVELOPE_ONLY_BYTES
from tests.session_pair import (
    OPERATOR,
    TOKEN,
    OperatorPair,
    dropped,
    encoded,
    ended,
    feed,
    frame,
    joined,
    opening,
)

VIEWER = Token(name="guest", secret=b"who-looks-and-changes-nothing", role=TokenRole.VIEWER)
FASTER = OperatorRequest(change=SetTarget(fps=25.0), stream="s1")


def steering() -> OperatorPair:
    """Return a session in which the operator has asked something."""
    pair = OperatorPair().shake_hands()
    pair.operator.ask(FASTER)
    pair.send_to_cloud()
    return pair


def cloud_of(*tokens: Token, insecure: bool = False) -> CloudSession:
    known = {each.name: each for each in tokens}
    return CloudSession(
        secret_for=lambda name: known[name].secret if name in known else None,
        role_of=lambda name: known[name].role,
        insecure=insecure,
        nonce=b"\xff" * NONCE_BYTES,
    )


def proved(token: Token) -> CloudSession:
    """Return a cloud's session whose peer has proved a token, and said nothing else."""
    cloud = cloud_of(TOKEN, OPERATOR, VIEWER)
    # A device's session says what it opens in the same breath.
    device = DeviceSession(opening=opening(), token=token, nonce=bytes(NONCE_BYTES))
    feed(cloud, joined(device.take_outgoing()))
    feed(device, joined(cloud.take_outgoing()))
    data = joined(device.take_outgoing())
    feed(cloud, data[: len(data) - len(encoded(opening()))])
    assert cloud.state is State.OPENING
    return cloud


def test_an_operator_asks_in_the_place_of_an_open_and_is_answered() -> None:
    pair = OperatorPair().shake_hands()
    assert pair.operator.is_talking
    pair.operator.ask(FASTER)
    assert pair.send_to_cloud() == [FASTER.control()]
    assert pair.cloud.is_steering
    pair.cloud.send_control(Steered(more=True).control())
    pair.cloud.send_control(Steered(error="no such stream").control())
    assert pair.send_to_operator() == [Steered(more=True), Steered(error="no such stream")]


def test_an_operator_may_stay_and_ask_again() -> None:
    pair = steering()
    again = OperatorRequest(change=Release())
    pair.operator.ask(again)
    assert pair.send_to_cloud() == [again.control()]


def test_both_ends_give_signs_of_life_once_the_operator_has_asked() -> None:
    pair = OperatorPair().shake_hands()
    assert not pair.cloud.may_show_life
    pair.operator.ask(FASTER)
    pair.send_to_cloud()
    assert pair.cloud.may_show_life
    pair.cloud.send_heartbeat()
    assert pair.send_to_operator() == []
    pair.operator.send_heartbeat()
    assert pair.send_to_cloud() == [Control(name=HEARTBEAT)]


def test_an_operator_ignores_what_it_does_not_know() -> None:
    pair = steering()
    pair.cloud.send_control(Control(name="later", body={"a": 1}))
    assert pair.send_to_operator() == []


# Who may.


def test_a_device_token_may_not_steer() -> None:
    pair = OperatorPair(token=TOKEN).shake_hands()
    pair.operator.ask(FASTER)
    with pytest.raises(AuthError, match="token 'default' may not steer, only an operator's"):
        pair.send_to_cloud()


def test_nobody_steers_without_a_token_though_the_server_takes_any_device() -> None:
    cloud = cloud_of(insecure=True)
    hello = Hello(protocol=PROTOCOL_VERSION, version="0", token_name="", nonce=bytes(NONCE_BYTES))
    feed(cloud, encoded(hello, Proof(proof=b"")))
    with pytest.raises(AuthError, match="a peer without a token may not steer"):
        feed(cloud, encoded(FASTER.control()))


@pytest.mark.parametrize(
    ("token", "whose"), [(OPERATOR, "'boss' is an operator's"), (VIEWER, "'guest' is a viewer's")]
)
def test_only_a_devices_token_opens_a_stream(token: Token, whose: str) -> None:
    with pytest.raises(AuthError, match=f"token {whose}, which opens no stream"):
        feed(proved(token), encoded(opening()))


def test_a_viewers_token_may_not_steer() -> None:
    with pytest.raises(AuthError, match="token 'guest' may not steer, only an operator's"):
        feed(proved(VIEWER), encoded(FASTER.control()))


@pytest.mark.parametrize("insecure", [True, False])
def test_an_operator_believes_only_a_server_that_knows_its_token(insecure: bool) -> None:
    pair = OperatorPair(cloud_tokens=[replace(OPERATOR, secret=TOKEN.secret)], insecure=insecure)
    pair.send_to_cloud()
    with pytest.raises(AuthError, match="the operator and the server hold different secrets"):
        pair.send_to_operator()
    assert not pair.operator.is_talking


def test_an_operator_does_not_talk_to_a_server_that_takes_anybody() -> None:
    pair = OperatorPair(cloud_tokens=[], insecure=True)
    pair.send_to_cloud()
    with pytest.raises(AuthError, match="no token of that name and takes any operator"):
        pair.send_to_operator()


def test_an_operator_with_another_secret_is_refused() -> None:
    cloud = cloud_of(OPERATOR)
    pair = OperatorPair(token=OPERATOR, cloud_tokens=[OPERATOR])
    feed(cloud, joined(pair.operator.take_outgoing()))
    with pytest.raises(AuthError, match="could not prove that it knows token 'boss'"):
        feed(cloud, encoded(Proof(proof=bytes(32))))


# What is not for operators, or not yet.


@pytest.mark.parametrize(
    "message",
    [frame(0), ended(dropped(0)), End(next_seq=0), opening(), Proof(proof=b"")],
    ids=lambda message: type(message).__name__,
)
def test_an_operator_that_sends_what_a_device_does_breaks_the_protocol(message: Message) -> None:
    with pytest.raises(RemoteProtocolError, match="while the session is STEERING"):
        feed(steering().cloud, encoded(message))


@pytest.mark.parametrize("name", [HEARTBEAT, "later", "steering", "steered"])
def test_an_operator_begins_with_a_request(name: str) -> None:
    with pytest.raises(RemoteProtocolError, match="Control while the session is OPENING"):
        feed(proved(OPERATOR), encoded(Control(name=name)))


def test_an_operator_cannot_ask_before_it_has_proved_who_it_is() -> None:
    pair = OperatorPair()
    with pytest.raises(LocalProtocolError, match="session is HELLO"):
        pair.operator.ask(FASTER)


@pytest.mark.parametrize("token", [OPERATOR, VIEWER])
def test_who_opens_no_stream_gets_no_memory_for_payloads(token: Token) -> None:
    large = encoded(frame(0, payload=bytes(ENVELOPE_ONLY_BYTES)))
    with pytest.raises(LimitPassed):
        feed(proved(token), large)


@pytest.mark.parametrize(
    "message",
    [Acknowledgement(next_seq=0), opening(), Challenge(version="", nonce=b"", proof=b"")],
    ids=lambda message: type(message).__name__,
)
def test_a_cloud_that_treats_an_operator_as_a_device_breaks_the_protocol(message: Message) -> None:
    with pytest.raises(RemoteProtocolError):
        feed(steering().operator, encoded(message))


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (RefusalCode.TOKEN, AuthError),
        (RefusalCode.PROTOCOL, HandshakeError),
        (RefusalCode.DRAINING, TurnedAway),
        (RefusalCode.LIMIT, Refused),
    ],
)
def test_a_refusal_ends_an_operators_session(code: RefusalCode, error: type[Exception]) -> None:
    pair = steering()
    pair.cloud.refuse(code, "so it is")
    with pytest.raises(error, match="server refused: so it is"):
        pair.send_to_operator()
    assert pair.operator.is_closed

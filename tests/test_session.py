"""Two sessions joined without sockets: the handshake, positions, the end, and what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from offload.auth import NONCE_BYTES, Role, Token, prove
from offload.errors import (
    AuthError,
    HandshakeError,
    LimitPassed,
    LocalProtocolError,
    OffloadError,
    PayloadError,
    Refused,
    RemoteProtocolError,
    TurnedAway,
)
from offload.messages import (
    DRAIN,
    HEARTBEAT,
    MAX_RANGES,
    PROTOCOL_VERSION,
    Acknowledgement,
    Challenge,
    Control,
    End,
    EndConfirmed,
    Frame,
    Hello,
    Message,
    Open,
    Outcome,
    OutcomeRange,
    Proof,
    Refusal,
    RefusalCode,
    Welcome,
)
from offload.session import CloudSession, DeviceSession, State
from offload.wire import (
    ENVELOPE_ONLY_BYTES,
    HANDSHAKE_BYTES,
    MAX_MESSAGE_BYTES,
    MOST_MESSAGE_BYTES,
)
from tests.session_pair import (
    TOKEN,
    SessionPair,
    dropped,
    encoded,
    ended,
    feed,
    frame,
    joined,
    opening,
)

OTHER = Token(name="default", secret=b"incorrect-horse-battery")
HELLO = Hello(
    protocol=PROTOCOL_VERSION, version="0.1.0", token_name=TOKEN.name, nonce=bytes(NONCE_BYTES)
)
NO_PROOF = Challenge(version="0.1.0", nonce=b"\xff" * NONCE_BYTES, proof=b"")
PROOF = Proof(proof=prove(TOKEN.secret, Role.DEVICE, bytes(NONCE_BYTES), b"\xff" * NONCE_BYTES))
FILTERED = OutcomeRange(first=3, count=2, outcome=Outcome.FILTERED, task="find")


def secure_cloud() -> CloudSession:
    return CloudSession(
        secret_for={TOKEN.name: TOKEN.secret}.get, insecure=False, nonce=b"\xff" * NONCE_BYTES
    )


def sessions(pair: SessionPair) -> tuple[State, State]:
    return pair.device.state, pair.cloud.state


# The whole way.


def test_a_stream_goes_from_hello_to_its_confirmed_end() -> None:
    pair = SessionPair(asked=opening(fingerprint=[{"name": "grab"}]))
    requested = pair.shake_hands()
    assert requested.opening == opening(fingerprint=[{"name": "grab"}])
    assert requested.owner == TOKEN.name
    pair.cloud.accept(next_seq=0, durable=True)
    assert pair.send_to_device() == [
        Welcome(next_seq=0, durable=True, max_message_bytes=MAX_MESSAGE_BYTES)
    ]

    pair.device.send_frame(frame(0, payload=b"x" * 1000))
    pair.device.send_ended(ended(dropped(1, 2)))
    pair.device.send_frame(frame(3))
    assert pair.send_to_cloud() == [
        frame(0, payload=b"x" * 1000),
        ended(dropped(1, 2)),
        frame(3),
    ]
    assert pair.acknowledge(3) == [Acknowledgement(next_seq=3)]

    pair.device.send_end()
    assert pair.device.is_ending
    assert pair.send_to_cloud() == [End(next_seq=4)]
    assert len(pair.acknowledge(4)) == 1
    pair.cloud.confirm_end()
    assert pair.send_to_device() == [EndConfirmed(next_seq=4)]
    assert sessions(pair) == (State.CLOSED, State.CLOSED)


def test_a_stream_without_frames_can_end() -> None:
    pair = SessionPair().open()
    pair.device.send_end()
    assert pair.send_to_cloud() == [End(next_seq=0)]
    pair.cloud.confirm_end()
    assert pair.send_to_device() == [EndConfirmed(next_seq=0)]


def test_control_messages_go_both_ways_until_the_end_is_confirmed() -> None:
    pair = SessionPair().open()
    for _ in range(2):
        pair.device.send_control(Control(name="pictures", body={"fps": 2}))
        assert Control(name="pictures", body={"fps": 2}) in pair.send_to_cloud()
        pair.cloud.send_control(Control(name="drain"))
        assert pair.send_to_device() == [Control(name="drain")]
        if not pair.device.is_ending:
            pair.device.send_end()


def test_the_secret_never_crosses_the_wire() -> None:
    pair = SessionPair().open()
    assert TOKEN.secret not in pair.to_cloud + pair.to_device


# Who may talk to whom.


def test_a_device_refuses_a_server_with_another_secret_and_proves_nothing_to_it() -> None:
    pair = SessionPair(cloud_tokens=[OTHER])
    pair.send_to_cloud()
    with pytest.raises(
        AuthError, match=r"server could not prove .* 'default': .*different secrets"
    ):
        pair.send_to_device()
    assert joined(pair.device.take_outgoing()) == encoded(Proof(proof=b""))


def test_a_server_refuses_a_device_with_another_secret() -> None:
    cloud = secure_cloud()
    feed(cloud, encoded(HELLO))
    wrong = prove(OTHER.secret, Role.DEVICE, HELLO.nonce, b"\xff" * NONCE_BYTES)
    with pytest.raises(
        AuthError, match=r"device could not prove .* 'default': .*different secrets"
    ):
        feed(cloud, encoded(Proof(proof=wrong)))


def test_a_server_refuses_its_own_proof_sent_back() -> None:
    cloud = secure_cloud()
    feed(cloud, encoded(HELLO))
    own = prove(TOKEN.secret, Role.SERVER, HELLO.nonce, b"\xff" * NONCE_BYTES)
    with pytest.raises(AuthError):
        feed(cloud, encoded(Proof(proof=own)))


@pytest.mark.parametrize("proof", [b"", bytes(31), bytes(32), bytes(33)])
def test_a_server_refuses_a_proof_of_any_length_that_proves_nothing(proof: bytes) -> None:
    cloud = secure_cloud()
    feed(cloud, encoded(HELLO))
    with pytest.raises(AuthError):
        feed(cloud, encoded(Proof(proof=proof)))


@pytest.mark.parametrize("insecure", [True, False])
def test_a_known_token_has_to_be_proved_to_an_insecure_server_as_well(insecure: bool) -> None:
    pair = SessionPair(insecure=insecure)
    pair.send_to_cloud()
    with pytest.raises(AuthError):
        feed(pair.cloud, encoded(Proof(proof=b"")))


def test_a_server_says_that_it_does_not_know_a_token() -> None:
    pair = SessionPair(device_token=Token(name="lab", secret=TOKEN.secret))
    with pytest.raises(AuthError, match="server knows no token with the name 'lab'"):
        pair.send_to_cloud()


def test_a_secure_server_says_that_a_device_needs_a_token() -> None:
    pair = SessionPair(device_token=None)
    with pytest.raises(AuthError, match="the device has none: give it --token-file"):
        pair.send_to_cloud()


def test_an_insecure_server_takes_a_device_without_a_token_as_nobodys() -> None:
    pair = SessionPair(device_token=None, cloud_tokens=(), insecure=True)
    assert pair.shake_hands().owner == ""


def test_a_device_with_a_token_refuses_an_insecure_server_that_does_not_know_it() -> None:
    pair = SessionPair(cloud_tokens=(), insecure=True)
    pair.send_to_cloud()
    with pytest.raises(AuthError, match="it has no token of that name"):
        pair.send_to_device()
    assert joined(pair.device.take_outgoing()) == encoded(Proof(proof=b""))


@pytest.mark.parametrize(
    ("cloud_tokens", "why"),
    [([OTHER], "hold different secrets"), ([], "this server has no token of that name")],
)
def test_a_server_learns_that_a_device_left_because_of_its_proof(
    cloud_tokens: list[Token], why: str
) -> None:
    pair = SessionPair(cloud_tokens=cloud_tokens, insecure=True)
    pair.send_to_cloud()
    with pytest.raises(AuthError):
        pair.send_to_device()
    with pytest.raises(AuthError, match=rf"^device does not believe .* token 'default': .*{why}$"):
        pair.send_to_cloud()


def test_an_insecure_server_proves_itself_to_a_device_that_shares_a_token() -> None:
    assert SessionPair(insecure=True).shake_hands().owner == TOKEN.name


@pytest.mark.parametrize("nonce", [b"", bytes(31), bytes(33)])
def test_a_server_refuses_a_nonce_of_another_length(nonce: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=f"nonce is {len(nonce)} bytes, expected 32"):
        feed(secure_cloud(), encoded(replace(HELLO, nonce=nonce)))


@pytest.mark.parametrize(("protocol", "older"), [(1, "device"), (4, "server"), (-1, "device")])
def test_a_server_says_which_end_is_too_old(protocol: int, older: str) -> None:
    hello = replace(HELLO, protocol=protocol, version="9.8.7")
    with pytest.raises(HandshakeError) as raised:
        feed(secure_cloud(), encoded(hello))
    assert f"device speaks protocol {protocol} (version '9.8.7')" in str(raised.value)
    assert str(raised.value).endswith(f"upgrade the {older}")


# Positions.


def test_a_device_goes_on_where_the_server_stands() -> None:
    pair = SessionPair().open(next_seq=7)
    pair.device.send_frame(frame(7))
    assert pair.send_to_cloud() == [frame(7)]


def test_a_device_refuses_a_server_that_stands_before_what_it_acknowledged() -> None:
    pair = SessionPair(asked=opening(position=5))
    pair.shake_hands()
    pair.cloud.accept(next_seq=4, durable=True)
    with pytest.raises(RemoteProtocolError, match=r"server stands at 4, .* all before 5"):
        pair.send_to_device()


def test_a_gap_between_frames_is_refused_on_both_ends() -> None:
    pair = SessionPair().open()
    with pytest.raises(LocalProtocolError, match="frame to send is 1, expected 0"):
        pair.device.send_frame(frame(1))
    with pytest.raises(RemoteProtocolError, match="device sent frame 2, expected 0"):
        feed(pair.cloud, encoded(frame(2)))


def test_a_gap_before_ended_frames_is_refused_on_both_ends() -> None:
    pair = SessionPair().open()
    with pytest.raises(LocalProtocolError, match="frame to send is 1, expected 0"):
        pair.device.send_ended(ended(dropped(1)))
    with pytest.raises(RemoteProtocolError, match="device sent frame 1, expected 0"):
        feed(pair.cloud, encoded(ended(dropped(1))))


def test_frames_that_the_cloud_has_are_ignored_and_counted() -> None:
    cloud = SessionPair().open(next_seq=2).cloud
    assert feed(cloud, encoded(frame(0), frame(1), frame(2), frame(2))) == [frame(2)]
    assert cloud.duplicates_ignored == 3


def test_ended_frames_that_the_cloud_has_are_ignored_and_counted() -> None:
    cloud = SessionPair().open(next_seq=3).cloud
    assert feed(cloud, encoded(ended(dropped(0, 2), dropped(2, reason="late")))) == []
    assert cloud.duplicates_ignored == 3


@pytest.mark.parametrize(
    ("next_seq", "new"),
    [
        (0, [dropped(0, 2), dropped(2, 3, "late")]),
        (1, [dropped(1, 1), dropped(2, 3, "late")]),
        (2, [dropped(2, 3, "late")]),
        (4, [dropped(4, 1, "late")]),
    ],
)
def test_of_partly_known_ended_frames_the_unknown_ones_count(
    next_seq: int, new: list[OutcomeRange]
) -> None:
    cloud = SessionPair().open(next_seq=next_seq).cloud
    sent = ended(dropped(0, 2), dropped(2, 3, "late"))
    assert feed(cloud, encoded(sent, frame(5))) == [ended(*new), frame(5)]
    assert cloud.duplicates_ignored == next_seq


@pytest.mark.parametrize("next_seq", [0, 1, 2, 3, 4])
def test_a_device_sends_a_run_again_of_which_the_server_has_a_part(next_seq: int) -> None:
    pair = SessionPair().open(next_seq=next_seq)
    pair.device.send_ended(ended(dropped(0, 2), dropped(2, 2, "late")))
    pair.device.send_frame(frame(4))
    assert pair.send_to_cloud()[-1] == frame(4)
    assert pair.cloud.duplicates_ignored == next_seq


@pytest.mark.parametrize("next_seq", [0, 3])
def test_an_acknowledgement_outside_of_what_was_sent_is_refused(next_seq: int) -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0, 2)))
    pair.send_to_cloud()
    pair.acknowledge(1)
    with pytest.raises(RemoteProtocolError, match=f"before {next_seq}, expected 1 to 2"):
        feed(pair.device, encoded(Acknowledgement(next_seq=next_seq)))
    with pytest.raises(LocalProtocolError, match=f"before {next_seq}, expected 1 to 2"):
        pair.cloud.acknowledge(Acknowledgement(next_seq=next_seq))


def test_acknowledging_the_same_position_twice_is_allowed() -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0, 2)))
    pair.send_to_cloud()
    pair.acknowledge(2)
    assert pair.acknowledge(2) == [Acknowledgement(next_seq=2)]


@pytest.mark.parametrize(("position", "next_seq"), [(4, 9), (3, 4), (5, 9), (0, 3), (0, 4)])
def test_exceptions_outside_of_a_welcome_are_refused(position: int, next_seq: int) -> None:
    pair = SessionPair(asked=opening(position=position))
    pair.shake_hands()
    pair.cloud.accept(next_seq=next_seq, durable=True, exceptions=(FILTERED,))
    with pytest.raises(RemoteProtocolError, match="server names exceptions from 3 to before 5"):
        pair.send_to_device()


@pytest.mark.parametrize(("position", "next_seq"), [(3, 5), (0, 9)])
def test_exceptions_inside_of_a_welcome_reach_the_device(position: int, next_seq: int) -> None:
    pair = SessionPair(asked=opening(position=position))
    pair.shake_hands()
    pair.cloud.accept(next_seq=next_seq, durable=True, exceptions=(FILTERED,))
    (welcome,) = pair.send_to_device()
    assert isinstance(welcome, Welcome)
    assert welcome.exceptions == (FILTERED,)


@pytest.mark.parametrize(("acknowledged", "next_seq"), [(4, 9), (0, 4), (3, 4)])
def test_exceptions_outside_of_an_acknowledgement_are_refused(
    acknowledged: int, next_seq: int
) -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0, 9)))
    pair.send_to_cloud()
    pair.acknowledge(acknowledged)
    with pytest.raises(RemoteProtocolError, match="server names exceptions from 3"):
        pair.acknowledge(next_seq, FILTERED)


def test_a_result_is_no_exception() -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0)))
    pair.send_to_cloud()
    with pytest.raises(RemoteProtocolError, match="a result as an exception"):
        pair.acknowledge(1, OutcomeRange(first=0, count=1, outcome=Outcome.RESULT))


def test_a_welcome_with_more_reasons_than_fit_keeps_all_outcomes() -> None:
    failures = tuple(
        OutcomeRange(first=seq, count=1, outcome=Outcome.FAILED, task="t", reason=f"{seq}" * 75)
        for seq in range(1000, 3000)
    )
    pair = SessionPair()
    pair.shake_hands()
    pair.cloud.accept(next_seq=3000, durable=True, exceptions=failures)
    (welcome,) = pair.send_to_device()
    assert isinstance(welcome, Welcome)
    assert welcome.exceptions[:MAX_RANGES] == failures[:MAX_RANGES]
    assert [(each.first, each.outcome, each.count) for each in welcome.exceptions] == [
        (seq, Outcome.FAILED, 1) for seq in range(1000, 3000)
    ]


# The end.


@pytest.mark.parametrize("next_seq", [0, 2])
def test_an_end_at_another_position_is_refused(next_seq: int) -> None:
    pair = SessionPair().open()
    pair.device.send_frame(frame(0))
    pair.send_to_cloud()
    with pytest.raises(RemoteProtocolError, match=f"ends the stream at {next_seq}, received all"):
        feed(pair.cloud, encoded(End(next_seq=next_seq)))


@pytest.mark.parametrize("next_seq", [0, 2])
def test_a_confirmation_at_another_position_is_refused(next_seq: int) -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0)))
    pair.device.send_end()
    pair.send_to_cloud()
    pair.acknowledge(1)
    with pytest.raises(RemoteProtocolError, match=f"confirms the end at {next_seq}, expected 1"):
        feed(pair.device, encoded(EndConfirmed(next_seq=next_seq)))


def test_a_confirmation_before_all_is_acknowledged_is_refused_on_both_ends() -> None:
    pair = SessionPair().open()
    pair.device.send_frame(frame(0))
    pair.device.send_end()
    pair.send_to_cloud()
    with pytest.raises(LocalProtocolError, match="with frames unacknowledged"):
        pair.cloud.confirm_end()
    with pytest.raises(RemoteProtocolError, match="with all acknowledged"):
        feed(pair.device, encoded(EndConfirmed(next_seq=1)))


def test_nothing_is_sent_after_the_end() -> None:
    pair = SessionPair().open()
    pair.device.send_end()
    calls: list[Callable[[], object]] = [
        lambda: pair.device.send_frame(frame(0)),
        lambda: pair.device.send_ended(ended(dropped(0))),
        pair.device.send_end,
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError, match="session is ENDING, expected OPEN"):
            call()


# Sizes.


@pytest.mark.parametrize("task_count", [1, 20, 300])
def test_a_long_pipeline_opens_however_proof_and_open_arrive(task_count: int) -> None:
    fingerprint = [{"name": f"task {number}"} for number in range(task_count)]
    pair = SessionPair(asked=opening(fingerprint=fingerprint))
    assert pair.shake_hands().opening.fingerprint == fingerprint


def test_a_device_that_has_proved_nothing_gets_no_room_for_more_than_a_handshake() -> None:
    large = replace(HELLO, version="1" * HANDSHAKE_BYTES)
    with pytest.raises(RemoteProtocolError, match=f"expected at most {HANDSHAKE_BYTES}"):
        feed(secure_cloud(), encoded(large))
    cloud = secure_cloud()
    feed(cloud, encoded(HELLO))
    with pytest.raises(RemoteProtocolError, match=f"expected at most {HANDSHAKE_BYTES}"):
        feed(cloud, encoded(opening(fingerprint=["x" * HANDSHAKE_BYTES])))


def test_a_message_past_the_limit_after_the_handshake_is_refused_by_its_header() -> None:
    cloud = SessionPair().open().cloud
    header = encoded(frame(0))[:8] + MAX_MESSAGE_BYTES.to_bytes(4, "big")
    with pytest.raises(RemoteProtocolError, match=f"expected at most {MAX_MESSAGE_BYTES}"):
        feed(cloud, header)


def test_a_server_gets_no_room_for_a_payload() -> None:
    device = SessionPair().device
    with pytest.raises(RemoteProtocolError, match="expected at most 65548"):
        feed(device, encoded(frame(0, payload=bytes(65536))))


def test_a_frame_too_large_to_send_leaves_the_session_as_it_was() -> None:
    pair = SessionPair().open()
    with pytest.raises(PayloadError, match="expected at most"):
        pair.device.send_frame(frame(0, payload=bytes(MAX_MESSAGE_BYTES)))
    pair.device.send_ended(ended(dropped(0)))
    assert pair.send_to_cloud() == [ended(dropped(0))]


# What comes at the wrong time.


def cloud_in(state: State) -> CloudSession:
    """Return a cloud's session in ``state``, brought there by the device's messages."""
    cloud = secure_cloud()
    steps: Sequence[tuple[State, Callable[[], object]]] = [
        (State.PROOF, lambda: feed(cloud, encoded(HELLO))),
        (State.OPENING, lambda: feed(cloud, encoded(PROOF))),
        (State.DECIDING, lambda: feed(cloud, encoded(opening()))),
        (State.OPEN, lambda: cloud.accept(next_seq=0, durable=True)),
        (State.ENDING, lambda: feed(cloud, encoded(End(next_seq=0)))),
    ]
    for reached, step in steps:
        if cloud.state is state:
            break
        step()
        assert cloud.state is reached
    return cloud


FROM_DEVICE: dict[State, list[Message]] = {
    State.HELLO: [HELLO],
    State.PROOF: [PROOF],
    State.OPENING: [opening()],
    State.DECIDING: [],
    State.OPEN: [frame(0), ended(dropped(0)), Control(name="x"), End(next_seq=0)],
    State.ENDING: [Control(name="x")],
}
FROM_CLOUD: list[Message] = [
    NO_PROOF,
    Welcome(next_seq=0, durable=True, max_message_bytes=MAX_MESSAGE_BYTES),
    Acknowledgement(next_seq=0),
    EndConfirmed(next_seq=0),
    Refusal(code="internal", reason="x"),
]
ALL_FROM_DEVICE: list[Message] = [
    HELLO,
    PROOF,
    opening(),
    frame(0),
    ended(dropped(0)),
    Control(name="x"),
    End(next_seq=0),
]


@pytest.mark.parametrize("state", FROM_DEVICE)
@pytest.mark.parametrize(
    "message", ALL_FROM_DEVICE + FROM_CLOUD, ids=lambda each: type(each).__name__
)
def test_a_cloud_takes_only_what_belongs_to_its_state(state: State, message: Message) -> None:
    cloud = cloud_in(state)
    if message in FROM_DEVICE[state]:
        feed(cloud, encoded(message))
        return
    with pytest.raises(
        RemoteProtocolError, match=f"peer sent .* while the session is {state.name}"
    ):
        feed(cloud, encoded(message))


def test_a_stream_is_asked_for_once() -> None:
    cloud = cloud_in(State.OPENING)
    with pytest.raises(RemoteProtocolError, match="peer sent Open while the session is DECIDING"):
        feed(cloud, encoded(opening(), opening()))


def device_in(state: State) -> DeviceSession:
    pair = SessionPair()
    if state is State.OPENING:
        pair.send_to_cloud()
        pair.send_to_device()
    elif state is not State.HELLO:
        pair.open()
    if state in (State.ENDING, State.CLOSED):
        pair.device.send_end()
        pair.send_to_cloud()
    if state is State.CLOSED:
        pair.cloud.confirm_end()
        pair.send_to_device()
    assert pair.device.state is state
    return pair.device


TO_DEVICE: dict[State, list[type[Message]]] = {
    State.HELLO: [Challenge],
    State.OPENING: [Welcome],
    State.OPEN: [Acknowledgement, Control],
    State.ENDING: [Acknowledgement, Control, EndConfirmed],
    State.CLOSED: [],
}


@pytest.mark.parametrize("state", TO_DEVICE)
@pytest.mark.parametrize(
    "message",
    [*ALL_FROM_DEVICE, *FROM_CLOUD[:-1]],
    ids=lambda each: type(each).__name__,
)
def test_a_device_takes_only_what_belongs_to_its_state(state: State, message: Message) -> None:
    device = device_in(state)
    if type(message) in TO_DEVICE[state]:
        if isinstance(message, Challenge):
            proof = prove(TOKEN.secret, Role.SERVER, bytes(NONCE_BYTES), message.nonce)
            message = replace(message, proof=proof)
        feed(device, encoded(message))
        return
    with pytest.raises(
        RemoteProtocolError, match=f"peer sent .* while the session is {state.name}"
    ):
        feed(device, encoded(message))


@pytest.mark.parametrize("name", [DRAIN, "x"])
@pytest.mark.parametrize("state", [State.HELLO, State.OPENING])
def test_a_device_takes_no_control_message_but_signs_of_life_before_its_welcome(
    name: str, state: State
) -> None:
    with pytest.raises(
        RemoteProtocolError, match=f"peer sent Control while the session is {state.name}"
    ):
        feed(device_in(state), encoded(Control(name=name)))


def test_a_sign_of_life_before_the_servers_proof_is_refused() -> None:
    with pytest.raises(RemoteProtocolError, match="peer sent Control while the session is HELLO"):
        feed(device_in(State.HELLO), encoded(Control(name=HEARTBEAT)))


@pytest.mark.parametrize("state", [State.HELLO, State.OPENING])
def test_a_device_sends_nothing_of_a_stream_before_it_is_open(state: State) -> None:
    device = device_in(state)
    calls: list[Callable[[], object]] = [
        lambda: device.send_frame(frame(0)),
        lambda: device.send_ended(ended(dropped(0))),
        lambda: device.send_control(Control(name="x")),
        device.send_heartbeat,
        device.send_end,
    ]
    for call in calls:
        with pytest.raises(LocalProtocolError, match=f"session is {state.name}, expected OPEN"):
            call()


@pytest.mark.parametrize("state", [State.HELLO, State.PROOF, State.OPENING, State.DECIDING])
def test_a_cloud_sends_no_control_message_before_its_welcome(state: State) -> None:
    with pytest.raises(LocalProtocolError, match=f"session is {state.name}, expected OPEN"):
        cloud_in(state).send_control(Control(name=HEARTBEAT))


@pytest.mark.parametrize("state", [State.HELLO, State.PROOF, State.OPENING, State.CLOSED])
def test_a_cloud_shows_no_life_before_it_is_asked_and_after_the_end(state: State) -> None:
    cloud = cloud_in(State.ENDING if state is State.CLOSED else state)
    if state is State.CLOSED:
        cloud.confirm_end()
    assert not cloud.may_show_life
    with pytest.raises(LocalProtocolError, match=f"session is {state.name}, expected DECIDING"):
        cloud.send_heartbeat()


@pytest.mark.parametrize("state", [State.HELLO, State.PROOF, State.OPENING, State.OPEN])
def test_a_cloud_accepts_nobody_who_did_not_ask(state: State) -> None:
    with pytest.raises(LocalProtocolError, match="expected DECIDING"):
        cloud_in(state).accept(next_seq=0, durable=True)


# Refusals.


REFUSALS: dict[RefusalCode, type[OffloadError]] = {
    RefusalCode.PROTOCOL: HandshakeError,
    RefusalCode.PIPELINE: HandshakeError,
    RefusalCode.TOKEN: AuthError,
    RefusalCode.OWNER: AuthError,
    RefusalCode.TAKEN_OVER: Refused,
    RefusalCode.LIMIT: Refused,
    RefusalCode.DRAINING: TurnedAway,
    RefusalCode.BUSY: TurnedAway,
    RefusalCode.TIMEOUT: TurnedAway,
    RefusalCode.INTERNAL: TurnedAway,
}


@pytest.mark.parametrize("code", RefusalCode)
@pytest.mark.parametrize("state", TO_DEVICE)
def test_a_refusal_becomes_the_error_of_its_code_at_any_time(
    code: RefusalCode, state: State
) -> None:
    device = device_in(state)
    with pytest.raises(OffloadError, match="server refused: so it is") as raised:
        feed(device, encoded(Refusal(code=code, reason="so it is")))
    assert type(raised.value) is REFUSALS[code]
    assert device.state is State.CLOSED


def test_what_came_before_a_refusal_in_the_same_bytes_counts() -> None:
    pair = SessionPair().open()
    pair.device.send_ended(ended(dropped(0)))
    pair.send_to_cloud()
    pair.cloud.acknowledge(Acknowledgement(next_seq=1))
    pair.cloud.refuse(RefusalCode.TAKEN_OVER, "by a newer one")
    data = joined(pair.cloud.take_outgoing())
    pair.device.buffer()[: len(data)] = data
    events = pair.device.received(len(data))
    assert next(events) == Acknowledgement(next_seq=1)
    with pytest.raises(Refused, match="by a newer one"):
        next(events)


def test_a_frame_larger_than_the_server_takes_is_a_payload_error() -> None:
    pair = SessionPair(max_message_bytes=80_000).open()
    with pytest.raises(PayloadError, match=r"message is 900\d\d bytes, expected at most 80000"):
        pair.device.send_frame(frame(0, payload=bytes(90_000)))
    pair.device.send_frame(frame(0, payload=bytes(70_000)))
    assert pair.send_to_cloud() == [frame(0, payload=bytes(70_000))]


@pytest.mark.parametrize("limit", [0, ENVELOPE_ONLY_BYTES - 1, MOST_MESSAGE_BYTES + 1, 2**62])
def test_a_server_must_take_what_every_session_has_to_say_and_no_more_than_fits(
    limit: int,
) -> None:
    pair = SessionPair()
    pair.shake_hands()
    welcome = Welcome(next_seq=0, durable=True, max_message_bytes=limit)
    with pytest.raises(RemoteProtocolError, match=f"server takes messages of up to {limit} bytes"):
        feed(pair.device, encoded(welcome))


def test_a_device_that_ignores_the_limit_of_the_server_is_refused_for_it() -> None:
    cloud = SessionPair(max_message_bytes=80_000).open().cloud
    with pytest.raises(LimitPassed, match=r"message is 900\d\d bytes, expected at most 80000"):
        feed(cloud, encoded(frame(0, payload=bytes(90_000))))


def test_a_cloud_says_how_far_the_message_is_that_comes() -> None:
    cloud = SessionPair().open().cloud
    before = cloud.messages
    data = encoded(frame(0, payload=bytes(90_000)))
    assert (cloud.mid_message, cloud.payload_bytes) == (False, 0)
    feed(cloud, data[:50_000])
    assert (cloud.mid_message, cloud.payload_bytes) == (True, 90_000)
    assert cloud.messages == before
    feed(cloud, data[50_000:])
    assert (cloud.mid_message, cloud.payload_bytes) == (False, 0)
    assert cloud.messages == before + 1


def test_a_message_for_which_there_is_no_memory_waits_until_the_connection_ends() -> None:
    cloud = CloudSession(
        secret_for={TOKEN.name: TOKEN.secret}.get,
        insecure=False,
        nonce=b"\xff" * NONCE_BYTES,
        admit=lambda held_bytes: held_bytes < 1000,
    )
    feed(cloud, encoded(HELLO))
    assert not cloud.has_proved
    feed(cloud, encoded(PROOF, opening()))
    assert cloud.has_proved
    cloud.accept(next_seq=0, durable=True)
    assert feed(cloud, encoded(frame(0, payload=bytes(500)))) == [frame(0, payload=bytes(500))]
    assert feed(cloud, encoded(frame(1, payload=bytes(2000)))) == []
    assert cloud.mid_message
    cloud.release()
    assert len(cloud.buffer()) == 0


def test_a_session_talks_from_the_welcome_to_its_end() -> None:
    pair = SessionPair()
    pair.shake_hands()
    for each in (pair.device, pair.cloud):
        assert (each.is_talking, each.is_closed) == (False, False)
    pair.cloud.accept(next_seq=0, durable=True)
    pair.send_to_device()
    pair.device.send_end()
    pair.send_to_cloud()
    for each in (pair.device, pair.cloud):
        assert (each.is_talking, each.is_closed) == (True, False)
    pair.cloud.confirm_end()
    pair.send_to_device()
    for each in (pair.device, pair.cloud):
        assert (each.is_talking, each.is_closed) == (False, True)


def test_a_heartbeat_goes_either_way_and_means_nothing_else() -> None:
    pair = SessionPair().open()
    pair.device.send_heartbeat()
    pair.cloud.send_heartbeat()
    assert pair.send_to_cloud() == pair.send_to_device() == [Control(name="heartbeat")]


def test_a_device_that_waits_for_its_welcome_takes_signs_of_life_and_says_nothing_of_them() -> None:
    pair = SessionPair()
    assert not pair.device.is_opening
    pair.shake_hands()
    for _ in range(3):
        assert pair.device.is_opening
        assert pair.cloud.may_show_life
        pair.cloud.send_heartbeat()
        assert pair.send_to_device() == []
        assert pair.device.take_outgoing() == []
    pair.cloud.send_heartbeat()
    pair.cloud.accept(next_seq=0, durable=True)
    (welcome,) = pair.send_to_device()
    assert isinstance(welcome, Welcome)
    assert not pair.device.is_opening
    assert pair.cloud.may_show_life


def test_a_refusal_with_a_code_of_later_is_final() -> None:
    with pytest.raises(Refused, match="server refused: of later"):
        feed(SessionPair().device, encoded(Refusal(code="later", reason="of later")))


@pytest.mark.parametrize("state", FROM_DEVICE)
def test_a_cloud_that_has_refused_says_it_once_and_ignores_what_comes(state: State) -> None:
    cloud = cloud_in(state)
    cloud.take_outgoing()
    cloud.refuse(RefusalCode.DRAINING, "the server is shutting down")
    cloud.refuse(RefusalCode.INTERNAL, "again")
    refusal = Refusal(code="draining", reason="the server is shutting down")
    assert joined(cloud.take_outgoing()) == encoded(refusal)
    assert feed(cloud, encoded(frame(0), frame(5), opening(), End(next_seq=3))) == []


def test_a_refusal_before_the_handshake_may_be_as_long_as_any() -> None:
    pair = SessionPair()
    pair.cloud.refuse(RefusalCode.TOKEN, "球" * 1000)
    with pytest.raises(AuthError, match="球" * 299 + "…"):
        pair.send_to_device()


def test_what_is_taken_to_be_sent_is_given_once() -> None:
    pair = SessionPair()
    assert len(pair.device.take_outgoing()) == 1
    assert pair.device.take_outgoing() == []


def test_a_frame_arrives_with_its_values_and_payload() -> None:
    pair = SessionPair().open()
    sent = Frame(
        seq=0,
        split=3,
        captured_at=1700000000.25,
        tree={"a": [3, "|u1", 0, 3], "b": None},
        buffers=(memoryview(b"abc"),),
    )
    pair.device.send_frame(sent)
    assert pair.send_to_cloud() == [sent]


def test_the_opening_says_which_stream_of_which_device() -> None:
    asked = Open(app="a", fingerprint=[1], stream="s", device="d", position=9)
    assert SessionPair(asked=asked).shake_hands().opening == asked

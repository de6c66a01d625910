"""Messages as values: each field is checked, and nothing that a peer sends is trusted."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from offload.errors import RemoteProtocolError
from offload.messages import (
    MAX_RANGES,
    MAX_SEQ,
    MAX_TEXT_CHARACTERS,
    Acknowledgement,
    Ended,
    Frame,
    Message,
    MessageType,
    Open,
    Outcome,
    OutcomeRange,
    Refusal,
    Welcome,
    decode_message,
    extend_ranges,
    text,
)
from offload.wire import MAX_ENVELOPE_BYTES, encode
from tests.golden.messages import MESSAGES

NAN, INFINITY = float("nan"), float("inf")
DEEP: list[object] = []
for _ in range(1000):
    DEEP = [DEEP]

#: What stands for a field of each kind, and must not.
NO_INTEGER: Sequence[object] = [None, True, 1.0, "1", b"1", [], {}, DEEP]
NO_SEQ: Sequence[object] = [*NO_INTEGER, -1, MAX_SEQ + 1, 2**64 - 1]
NO_NUMBER: Sequence[object] = [None, True, "1", [], {}, DEEP, NAN, INFINITY, -INFINITY]
NO_SHARE: Sequence[object] = [*NO_NUMBER, -0.1, 1.5]
NO_TEXT: Sequence[object] = [None, 1, b"a", ["a"], {}, DEEP]
NO_BYTES: Sequence[object] = [None, 1, "a", [1], {}, DEEP]
NO_LIST: Sequence[object] = [None, 1, "a", {}, b"ab"]
NO_RANGES: Sequence[object] = [
    *NO_LIST,
    [1],
    [[]],
    [DEEP],
    [[0, 1, 1, ""]],
    [[-1, 1, 1, "", ""]],
    [[0, 0, 1, "", ""]],
    [[0, True, 1, "", ""]],
    [[0, 1.0, 1, "", ""]],
    [[MAX_SEQ, 1, 1, "", ""]],
    [[0, MAX_SEQ + 1, 1, "", ""]],
    [[DEEP, 1, 1, "", ""]],
    [[0, 1, 4, "", ""]],
    [[0, 1, -1, "", ""]],
    [[0, 1, True, "", ""]],
    [[0, 1, 1.0, "", ""]],
    [[0, 1, DEEP, "", ""]],
    [[0, 1, 1, None, ""]],
    [[0, 1, 1, "", b""]],
]
TOO_DEEP = DEEP[0]

WRONG: Mapping[str, Mapping[str, Sequence[object]]] = {
    "hello": {"protocol": NO_INTEGER, "version": NO_TEXT, "token": NO_TEXT, "nonce": NO_BYTES},
    "challenge": {"version": NO_TEXT, "nonce": NO_BYTES, "proof": NO_BYTES},
    "proof": {"proof": NO_BYTES},
    "open": {
        "app": NO_TEXT,
        "fingerprint": [*NO_LIST, [TOO_DEEP], [{b"name": "grab"}], [{"a": {1: 2}}]],
        "stream": [*NO_TEXT, "", "a" * 129, "two\nlines", "\x1b[2J", "\ud800", ".", ".."],
        "device": NO_TEXT,
        "position": NO_SEQ,
    },
    "welcome": {
        "next": NO_SEQ,
        "durable": [None, 0, 1, "true"],
        "max_message": NO_SEQ,
        "exceptions": NO_RANGES,
    },
    "frame": {"seq": [*NO_SEQ, MAX_SEQ], "split": NO_INTEGER, "at": NO_NUMBER},
    "ended": {
        "ranges": [
            *NO_RANGES,
            [],
            [[0, 1, 0, "", ""]],
            [[0, 1, 1, "", ""], [2, 1, 1, "", ""]],
            [[0, 2, 1, "", ""], [1, 1, 1, "", ""]],
        ]
    },
    "acknowledgement": {
        "next": NO_SEQ,
        "exceptions": NO_RANGES,
        "residences": [*NO_LIST, *([each] for each in [*NO_NUMBER, -0.1])],
        "tasks": [
            *NO_LIST,
            [1],
            [[1, 1]],
            *([[each, 1, 0.5]] for each in NO_SEQ),
            *([[1, each, 0.5]] for each in NO_SEQ),
            *([[1, 1, each]] for each in [*NO_NUMBER, -0.5]),
        ],
        "load": NO_SHARE,
    },
    "control": {
        "name": NO_TEXT,
        "body": [None, 1, [], "a", {"a": DEEP}, {1: 2}, {"a": [{b"": 1}]}],
    },
    "end": {"next": NO_SEQ},
    "end_confirmed": {"next": NO_SEQ},
    "refusal": {"code": NO_TEXT, "reason": NO_TEXT},
}
CASES = [
    (name, field, value)
    for name, fields in WRONG.items()
    for field, values in fields.items()
    for value in values
]


def again(message: Message) -> Message:
    return decode_message(message.TYPE, message.fields())


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "frame"])
def test_a_message_is_read_from_the_fields_that_it_gives(name: str) -> None:
    assert again(MESSAGES[name]) == MESSAGES[name]


def test_every_field_of_every_message_is_tried_with_wrong_values() -> None:
    assert {
        (name, field) for name in WRONG for field in MESSAGES[name].fields() if field != "values"
    } == {(name, field) for name, field, _ in CASES}
    assert {MESSAGES[name].TYPE for name in WRONG} == set(MessageType)


@pytest.mark.parametrize(
    ("name", "field", "value"), CASES, ids=[f"{name}-{field}" for name, field, _ in CASES]
)
def test_a_field_of_a_wrong_type_or_range_is_refused(name: str, field: str, value: object) -> None:
    message = MESSAGES[name]
    with pytest.raises(RemoteProtocolError) as raised:
        decode_message(message.TYPE, {**message.fields(), field: value})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name in WRONG for field in MESSAGES[name].fields()]
)
def test_a_missing_field_is_refused(name: str, field: str) -> None:
    fields = MESSAGES[name].fields()
    del fields[field]
    with pytest.raises(RemoteProtocolError):
        decode_message(MESSAGES[name].TYPE, fields)


@pytest.mark.parametrize("name", WRONG)
def test_an_unknown_field_is_ignored(name: str) -> None:
    message = MESSAGES[name]
    if isinstance(message, Frame):
        message = replace(message, buffers=())
    assert decode_message(message.TYPE, {**message.fields(), "later": DEEP}) == message


def test_more_fields_of_a_range_or_a_task_time_are_ignored() -> None:
    fields = Acknowledgement(next_seq=3).fields()
    fields["exceptions"] = [[0, 1, 1, "a", "b", "later", DEEP]]
    fields["tasks"] = [[1, 2, 3, "later"]]
    found = decode_message(MessageType.ACKNOWLEDGEMENT, fields)
    assert isinstance(found, Acknowledgement)
    assert found.exceptions[0].reason == "b"
    assert found.task_times[0].seconds == 3.0


@pytest.mark.parametrize("value", [*NO_LIST, *([each] for each in [*NO_NUMBER, -0.1])])
def test_decode_seconds_are_none_or_seconds(value: object) -> None:
    fields = MESSAGES["acknowledgement"].fields()
    assert decoded(fields).decodes_s == ()
    assert decoded({**fields, "decodes": [0.25]}).decodes_s == (0.25,)
    with pytest.raises(RemoteProtocolError):
        decoded({**fields, "decodes": value})


def decoded(fields: dict[str, object]) -> Acknowledgement:
    message = decode_message(MessageType.ACKNOWLEDGEMENT, fields)
    assert isinstance(message, Acknowledgement)
    return message


@pytest.mark.parametrize(("said", "workers"), [({}, 1), ({"workers": 0}, 1), ({"workers": 4}, 4)])
def test_a_server_works_on_one_frame_at_least(said: dict[str, object], workers: int) -> None:
    message = decode_message(MessageType.WELCOME, {**MESSAGES["welcome"].fields(), **said})
    assert isinstance(message, Welcome)
    assert message.workers == workers
    assert again(message) == message


def test_whole_seconds_arrive_as_float() -> None:
    fields = {**Acknowledgement(next_seq=3).fields(), "residences": [1], "load": 1}
    found = decode_message(MessageType.ACKNOWLEDGEMENT, fields)
    assert isinstance(found, Acknowledgement)
    assert [type(each) for each in (*found.residences_s, found.load)] == [float, float]


def test_a_range_may_end_at_the_last_position() -> None:
    fields = {"ranges": [[MAX_SEQ - 1, 1, 3, "", ""]]}
    found = decode_message(MessageType.ENDED, fields)
    assert isinstance(found, Ended)
    assert found.ranges[0].stop == MAX_SEQ


def test_a_refusal_with_an_unknown_code_is_kept() -> None:
    assert again(Refusal(code="later", reason="why")) == Refusal(code="later", reason="why")


@pytest.mark.parametrize("name", ["ä" * 127 + "球", "...", "../", ". ", ".a"])
def test_a_stream_name_may_have_128_characters_of_any_kind(name: str) -> None:
    opening = Open(app="a", fingerprint=[], stream=name, device="pi")
    assert again(opening) == opening


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("as it is", "as it is"),
        ("  two\n lines\t", "two lines"),
        ("\x1b[2J\x00", "�[2J�"),
        ("caf\udce9", "caf�"),
        ("ä球🏀", "ä球🏀"),
        ("a" * MAX_TEXT_CHARACTERS, "a" * MAX_TEXT_CHARACTERS),
        ("a" * (MAX_TEXT_CHARACTERS + 1), "a" * (MAX_TEXT_CHARACTERS - 1) + "…"),
    ],
)
def test_a_text_is_one_printable_line_of_limited_length(value: str, line: str) -> None:
    assert text(value) == line


def test_what_a_peer_says_is_made_printable() -> None:
    fields = {"code": "x", "reason": "\x1b]0;title\x07" + "a" * 1000}
    found = decode_message(MessageType.REFUSAL, fields)
    assert isinstance(found, Refusal)
    assert found.reason.isprintable()
    assert len(found.reason) == MAX_TEXT_CHARACTERS


def test_a_reason_that_is_no_unicode_can_be_sent() -> None:
    failed = OutcomeRange(first=0, count=1, outcome=Outcome.FAILED, reason="no file '\udce9'")
    encode(Ended(ranges=(failed,)))
    encode(Refusal(code="internal", reason="no file '\udce9'"))


def test_as_many_ranges_as_are_joined_fit_an_envelope_whatever_they_say() -> None:
    longest = "🏀" * 2 * MAX_TEXT_CHARACTERS
    ranges = tuple(
        OutcomeRange(
            first=MAX_SEQ - 2**40, count=1, outcome=Outcome.FAILED, task=longest, reason=longest
        )
        for _ in range(MAX_RANGES)
    )
    (message,) = encode(Acknowledgement(next_seq=MAX_SEQ, exceptions=ranges))
    # The rest is for 512 residences, as many decode seconds and the times of a few hundred tasks.
    assert len(message) < MAX_ENVELOPE_BYTES - 15_000


def test_ranges_that_continue_each_other_are_joined() -> None:
    ranges: list[OutcomeRange] = []
    for seq in (3, 4, 5):
        extend_ranges(ranges, OutcomeRange(first=seq, count=1, outcome=Outcome.FILTERED, task="a"))
    assert ranges == [OutcomeRange(first=3, count=3, outcome=Outcome.FILTERED, task="a")]


@pytest.mark.parametrize(
    "other",
    [
        OutcomeRange(first=5, count=1, outcome=Outcome.FILTERED, task="a"),
        OutcomeRange(first=4, count=1, outcome=Outcome.DROPPED, task="a"),
        OutcomeRange(first=4, count=1, outcome=Outcome.FILTERED, task="b"),
        OutcomeRange(first=4, count=1, outcome=Outcome.FILTERED, task="a", reason="r"),
    ],
)
def test_ranges_that_differ_or_do_not_touch_stay_apart(other: OutcomeRange) -> None:
    first = OutcomeRange(first=3, count=1, outcome=Outcome.FILTERED, task="a")
    ranges = [first]
    extend_ranges(ranges, other)
    assert ranges == [first, other]

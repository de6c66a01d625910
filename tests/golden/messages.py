"""The messages of ``messages.hex``: one short session, a refusal, and some that look different.

Token and nonces are fixed, so that the proofs are, too. PROTOCOL.md shows the same bytes.
"""

from pathlib import Path
from typing import Final

from offload.auth import Role, Token, prove
from offload.messages import (
    Acknowledgement,
    Challenge,
    Control,
    End,
    EndConfirmed,
    Ended,
    Frame,
    Hello,
    Message,
    Open,
    Outcome,
    OutcomeRange,
    Probe,
    Probed,
    Proof,
    Refusal,
    TaskTime,
    Welcome,
)

TOKEN: Final = Token(name="default", secret=b"correct-horse-battery")
DEVICE_NONCE: Final = bytes(range(32))
SERVER_NONCE: Final = bytes(range(32, 64))
OPENING: Final = Open(
    app="counting", fingerprint=[{"name": "grab"}, {"name": "count"}], stream="s1", device="pi"
)

MESSAGES: Final[dict[str, Message]] = {
    "hello": Hello(protocol=3, version="0.1.0", token_name="default", nonce=DEVICE_NONCE),
    "challenge": Challenge(
        version="0.1.0",
        nonce=SERVER_NONCE,
        proof=prove(TOKEN.secret, Role.SERVER, DEVICE_NONCE, SERVER_NONCE),
    ),
    "proof": Proof(proof=prove(TOKEN.secret, Role.DEVICE, DEVICE_NONCE, SERVER_NONCE)),
    "open": OPENING,
    "welcome": Welcome(next_seq=0, durable=True, max_message_bytes=2**26),
    "frame": Frame(
        seq=0,
        split=1,
        captured_at=1700000000.5,
        tree={"mask": [3, "|u1", 0, 2, 5], "edge": [3, "<u2", 1, 4], "name": "left"},
        buffers=(memoryview(bytes(range(10))), memoryview(bytes(range(16, 24)))),
    ),
    "ended": Ended(
        ranges=(
            OutcomeRange(first=1, count=2, outcome=Outcome.FILTERED, task="count"),
            OutcomeRange(first=3, count=1, outcome=Outcome.FAILED, task="count", reason="no ball"),
            OutcomeRange(first=4, count=300, outcome=Outcome.DROPPED, reason="too late"),
        )
    ),
    "acknowledgement": Acknowledgement(
        next_seq=304,
        exceptions=(OutcomeRange(first=0, count=1, outcome=Outcome.FILTERED, task="count"),),
        residences_s=(0.25,),
        task_times=(TaskTime(task=1, runs=1, seconds=0.125),),
        load=0.5,
    ),
    "control": Control(name="drain"),
    "end": End(next_seq=304),
    "end_confirmed": EndConfirmed(next_seq=304),
    "refusal": Refusal(code="token", reason="server knows no token with the name 'müller'"),
    "welcome_back": Welcome(
        next_seq=70000,
        durable=False,
        max_message_bytes=2**20,
        exceptions=(
            OutcomeRange(first=65536, count=1, outcome=Outcome.FAILED, task="t", reason="r"),
        ),
    ),
    "frame_without_payload": Frame(
        seq=2**62 - 1, split=6, captured_at=0.0, tree={"circle": [1, 3, -1.5, None, True]}
    ),
    "control_with_body": Control(name="watch", body={"fps": 2.0, "tasks": [1, 2]}),
    "frame_watched": Frame(
        seq=1,
        split=3,
        captured_at=0.0,
        tree={
            # The bits 01011010, by zlib.
            "mask": [9, "|u1", bytes.fromhex("78018b0200005b005b"), 0, 255, 2, 4],
            "frame": [3, "|u1", bytes(range(6)), 1, 2, 3],
        },
        watched=True,
        decoded_bytes=8,
    ),
    "control_heartbeat": Control(name="heartbeat"),
    "control_watch_all": Control(name="watch", body={"fps": None}),
    "open_trial": Open(
        app="counting", fingerprint=[], stream="s1", device="pi", position=7, trial=True
    ),
    "control_finish": Control(name="finish", body={"request": 7}),
    "control_probe": Probe(number=7, padding=b"\0\0", wanted_bytes=2).control(),
    "control_probed": Probed(number=7, at=1700000000.5, padding=b"\0\0").control(),
}


def golden_bytes() -> dict[str, bytes]:
    """Return the bytes of ``messages.hex`` by the names of its sections."""
    found: dict[str, bytes] = {}
    name = ""
    for line in Path(__file__).with_name("messages.hex").read_text("utf-8").splitlines():
        content = line.partition("#")[0].strip()
        if content.startswith("["):
            name = content.strip("[]")
            found[name] = b""
        elif content:
            found[name] += bytes.fromhex(content)
    return found

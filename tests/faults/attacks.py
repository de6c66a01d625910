"""What many hostile peers do to a live server: they send damaged recordings, or next to nothing.

how = attack(port, 4711)                             # the damaged stream of this number
Drip(port, strangers=900, inside=100).run(60.0)      # a byte a second from each
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import count
from random import Random
from typing import Final

from offload.messages import MessageType, Refusal
from tests.faults.hostile import EVIL, Peer
from tests.faults.hostile_messages import frame, hello, opening
from tests.faults.mutations import cut, damage
from tests.faults.parts import Part, written
from tests.faults.targets import HANDSHAKE_TO_CLOUD, Session, sessions

# How many streams are damaged before, in and behind the handshake: most can go wrong behind it.
RAW_SHARE: Final = 0.25
OPENING_SHARE: Final = 0.15

# So many break off without a word; the others wait for what the server says.
RESET_SHARE: Final = 0.1

# What drips: none of it is complete within the minutes of a test.
HELLO: Final = hello(version="x" * 500)
FRAME: Final = frame([3, "|u1", 0, 500, 500, 3], bytes(750_000))

# Of a frame that drips: its envelope and some more.
BEGUN_BYTES: Final = 1000


def attack(port: int, number: int) -> str:
    """Send the damaged stream of this number, and say how the server answered."""
    rng = Random(number)
    draw = rng.random()
    with Peer(port) as peer:
        if draw < RAW_SHARE:
            session, other = rng.choice(sessions()), rng.choice(sessions())
            _send(peer, damage(_with_known_token(session, rng), other.to_cloud, rng), rng)
        else:
            session, other = rng.choice(_opened()), rng.choice(_opened())
            opening = _opening(session, f"evil-{number}")
            frames = session.to_cloud[HANDSHAKE_TO_CLOUD:]
            others = other.to_cloud[HANDSHAKE_TO_CLOUD:]
            peer.prove()
            if draw < RAW_SHARE + OPENING_SHARE:
                _send(peer, damage([opening, *frames], others, rng), rng)
            else:
                peer.open(written(opening))
                _send(peer, damage(frames, others, rng), rng)
        if rng.random() < RESET_SHARE:
            peer.reset()
            return "broken off"
        peer.hang_up()
        said = peer.rest()
    if said and isinstance(said[-1], Refusal):
        return f"refused: {said[-1].code}"
    return "borne"


@cache
def _opened() -> tuple[Session, ...]:
    return tuple(each for each in sessions() if each.welcome is not None)


def _with_known_token(session: Session, rng: Random) -> Sequence[Part]:
    """Return the stream; in half of the cases its token is one that the server knows."""
    hello, *rest = session.to_cloud
    if rng.random() < 0.5:
        hello = replace(hello, raw=None, fields={**hello.fields, "token": EVIL.name})
    return [hello, *rest]


def _opening(session: Session, stream: str) -> Part:
    opening = session.to_cloud[HANDSHAKE_TO_CLOUD - 1]
    assert opening.kind == MessageType.OPEN
    assert session.welcome is not None
    # Where the recorded frames begin: the server takes a device's word for what it has stored.
    fields = {**opening.fields, "stream": stream, "position": session.welcome.next_seq}
    return replace(opening, raw=None, fields=fields)


def _send(peer: Peer, data: bytes, rng: Random) -> None:
    for chunk in cut(data, rng):
        peer.send(chunk)


class Drip:
    """Connections that send a byte a second each, and come back when they are sent away.

    Args:
        port: The server's.
        strangers: How many never finish a hello.
        inside: How many prove a token, come in, and never finish a frame.
    """

    def __init__(self, port: int, *, strangers: int, inside: int) -> None:
        """Connect; who wants in comes first, before the strangers fill the queue."""
        self.answers: Counter[str] = Counter()
        self._port = port
        self._drops = [
            _Drop(_inside(port, f"drip-{each}"), FRAME[BEGUN_BYTES:]) for each in range(inside)
        ]
        self._drops += [self._stranger() for _ in range(strangers)]

    def run(self, for_s: float) -> None:
        """Send for so long, then hang up."""
        began_s = time.monotonic()
        pause = threading.Event()
        for second in count(1):
            for index, each in enumerate(self._drops):
                if not each.fall():
                    self.answers[each.said] += 1
                    each.peer.close()
                    self._drops[index] = self._stranger()
            left_s = began_s + second - time.monotonic()
            if began_s + for_s <= time.monotonic() + max(0.0, left_s):
                break
            pause.wait(max(0.0, left_s))
        for each in self._drops:
            each.peer.close()

    def _stranger(self) -> "_Drop":
        return _Drop(Peer(self._port), HELLO)


class _Drop:
    """One of them, and how much it has sent."""

    def __init__(self, peer: Peer, data: bytes) -> None:
        self.peer = peer
        self.said = "hung up"
        self._data = data
        self._sent = 0

    def fall(self) -> bool:
        """Send a byte; False if the server has ended the connection."""
        for each in (heard := self.peer.heard()) or ():
            if isinstance(each, Refusal):
                self.said = f"{each.code}: {each.reason}"
        if heard is None:
            return False
        self.peer.send(self._data[self._sent : self._sent + 1])
        self._sent += 1
        return True


def _inside(port: int, stream: str) -> Peer:
    peer = Peer(port)
    peer.prove()
    peer.open(opening(stream))
    peer.send(FRAME[:BEGUN_BYTES])
    return peer

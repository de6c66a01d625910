"""What all messages are made of: their types, and fields that are read with suspicion.

A reader takes the fields of an envelope and the name of one of them. Where that is missing, of the
wrong type or out of range, it raises `RemoteProtocolError`.

    read_seq({"next": 7}, "next")       # 7
    read_seq({"next": -1}, "next")      # RemoteProtocolError
"""

import math
import reprlib
from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeVar, cast

from offload.errors import RemoteProtocolError

Fields = Mapping[str, object]

# Position arithmetic stays inside 64 bits on both ends, with room to add a count.
MAX_SEQ: Final = 2**62

# Long enough for any one-line reason; a task that raises with a megabyte of text must not fill
# the envelope of its neighbours.
MAX_TEXT_CHARACTERS: Final = 300

# Lists and maps inside a fingerprint or the body of a control message. Theirs are two levels deep,
# and code that prints or compares what a peer nested a thousand deep would end in RecursionError.
MAX_DEPTH: Final = 8


class MessageType(IntEnum):
    """The type byte of a message's header."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    OPEN = 4
    WELCOME = 5
    FRAME = 6
    ENDED = 7
    ACKNOWLEDGEMENT = 8
    CONTROL = 9
    END = 10
    END_CONFIRMED = 11
    REFUSAL = 12


def text(value: str) -> str:
    """Return ``value`` as one line of at most `MAX_TEXT_CHARACTERS` characters.

    What cannot be printed is replaced: a surrogate (as in the name of a file that is no UTF-8)
    could not be sent, and a control character is the peer's hand on a terminal.
    """
    line = " ".join(value.split())
    if not line.isprintable():
        line = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in line)
    return line if len(line) <= MAX_TEXT_CHARACTERS else line[: MAX_TEXT_CHARACTERS - 1] + "…"


def read_seq(fields: Fields, name: str) -> int:
    """Return a sequence number or another count, 0 to `MAX_SEQ`."""
    value = fields.get(name)
    if not is_seq(value):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected a sequence number")
    return cast("int", value)


def read_integer(fields: Fields, name: str) -> int:
    """Return an integer of any size and sign."""
    value = fields.get(name)
    if type(value) is not int:
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected an integer")
    return value


def read_number(fields: Fields, name: str) -> float:
    """Return a finite number."""
    value = fields.get(name)
    if type(value) not in (int, float) or not math.isfinite(cast("float", value)):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected a finite number")
    return float(cast("float", value))


def read_boolean(fields: Fields, name: str) -> bool:
    """Return true or false."""
    value = fields.get(name)
    if not isinstance(value, bool):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected true or false")
    return value


def read_text(fields: Fields, name: str) -> str:
    """Return a text as it came; see `text` for what people read."""
    value = fields.get(name)
    if not isinstance(value, str):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected text")
    return value


def read_bytes(fields: Fields, name: str) -> bytes:
    """Return bytes."""
    value = fields.get(name)
    if not isinstance(value, bytes):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected bytes")
    return value


def read_list(fields: Fields, name: str) -> list[object]:
    """Return a list of whatever it holds."""
    value = fields.get(name)
    if not isinstance(value, list):
        raise RemoteProtocolError(f"field {name!r} is {shown(value)}, expected a list")
    return value


_Container = TypeVar("_Container", list[object], dict[str, object])


def check_depth(container: _Container, name: str) -> _Container:
    """Return ``container`` if it is no deeper than `MAX_DEPTH` and has text for keys."""
    level: list[object] = [container]
    for _ in range(MAX_DEPTH):
        inner: list[object] = []
        for each in level:
            if isinstance(each, dict):
                if not all(isinstance(key, str) for key in each):
                    raise RemoteProtocolError(f"field {name!r} has a key that is no text")
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        level = inner
    if any(isinstance(each, list | dict) for each in level):
        raise RemoteProtocolError(f"field {name!r} is nested too deep, expected {MAX_DEPTH} levels")
    return container


def is_seq(value: object) -> bool:
    """Return whether ``value`` can be a sequence number or a count of frames."""
    return type(value) is int and 0 <= value <= MAX_SEQ


def is_duration(value: object) -> bool:
    """Return whether ``value`` is a number of seconds, at least 0 and finite."""
    return type(value) in (int, float) and 0 <= cast("float", value) < float("inf")


def shown(value: object) -> str:
    """Return what a peer sent, short and in one line, for an error message."""
    # Unlike repr, which fails on lists nested a thousand deep, this looks a few levels in.
    return reprlib.repr(value)[:40]

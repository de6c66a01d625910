"""Damage to recorded streams, by chance that a seed decides: what a broken or hostile peer sends.

Bytes are damaged without knowledge, headers and the order of messages with some. Most damage is
done inside of messages: an envelope is read, one of its values is replaced by an odd one, and the
message is written again with lengths that fit, so that it gets past the first checks.

    stream = read_stream(recording.to_cloud)
    damaged = damage(stream, other_stream, Random(7))
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from offload.messages import MessageType
from offload.values.encodings import MAX_DECODED_BYTES
from tests.faults.byte_damage import BYTE_DAMAGES, NUMBERS
from tests.faults.hostile_values import ODD_VALUES, attack
from tests.faults.parts import Part, written


def damage(stream: Sequence[Part], other: Sequence[Part], rng: Random) -> bytes:
    """Return the bytes of ``stream`` with one to three kinds of damage.

    ``other`` is a stream in the same direction, from which messages are taken.
    """
    parts = list(stream)
    by_bytes = False
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        draw = rng.random()
        if draw < 0.2 or not parts:
            by_bytes = True
        elif draw < 0.35:
            _reorder(parts, other, rng)
        else:
            frames = [index for index, each in enumerate(parts) if each.kind == MessageType.FRAME]
            # Nothing else can hold as much as a frame.
            place = rng.choice(frames if frames and rng.random() < 0.8 else range(len(parts)))
            parts[place] = _damaged_part(parts[place], rng)
    data = b"".join(map(written, parts))
    return rng.choice(BYTE_DAMAGES)(data, rng) if by_bytes and data else data


def cut(data: bytes, rng: Random) -> list[bytes]:
    """Return ``data`` in pieces: whole, cut at a few places, or some of it in single bytes."""
    draw = rng.random()
    if draw < 0.6 or not data:
        return [data]
    if draw < 0.9:
        places = sorted({0, len(data), *(rng.randrange(len(data)) for _ in range(5))})
        return [data[start:stop] for start, stop in pairwise(places)]
    start = rng.randrange(len(data))
    singles = data[start : start + 200]
    return [
        data[:start],
        *(singles[place : place + 1] for place in range(len(singles))),
        data[start + 200 :],
    ]


# The order of messages.


def _reorder(parts: list[Part], other: Sequence[Part], rng: Random) -> None:
    place = rng.randrange(len(parts))
    draw = rng.randrange(6)
    if draw == 0:
        del parts[place]
    elif draw == 1:
        parts.insert(place, parts[rng.randrange(len(parts))])
    elif draw == 2:
        # As many large ones would take long in all, though none of them does.
        most = 30 if len(written(parts[place])) < 4096 else 2
        parts[place:place] = [parts[place]] * rng.choice((1, 2, most))
    elif draw == 3:
        to = rng.randrange(len(parts))
        parts[place], parts[to] = parts[to], parts[place]
    elif draw == 4 and other:
        parts.insert(place, rng.choice(other))
    elif other:
        parts[place:] = other[rng.randrange(len(other)) :]


# What one message says.


def _damaged_part(part: Part, rng: Random) -> Part:
    draw = rng.random()
    if draw < 0.12:
        return _with_odd_header(part, rng)
    if part.kind == MessageType.FRAME:
        return _damaged_frame(part, rng)
    return replace(part, raw=None, fields=_damaged_fields(part.fields, rng))


def _with_odd_header(part: Part, rng: Random) -> Part:
    raw = bytearray(written(part))
    kind = rng.randrange(4)
    if kind == 0:
        raw[2] = rng.choice((*MessageType, 0, 13, 255))
    elif kind == 1:
        raw[rng.randrange(4)] ^= 1 << rng.randrange(8)
    else:
        place = 4 if kind == 2 else 8
        length = int.from_bytes(raw[place : place + 4], "big")
        odd = rng.choice((*NUMBERS, length - 1, length + 1, length + 8, length * 2)) % 2**32
        raw[place : place + 4] = odd.to_bytes(4, "big")
    return replace(part, raw=bytes(raw))


def _damaged_frame(part: Part, rng: Random) -> Part:
    fields, pieces = part.fields, list(part.pieces)
    draw = rng.random()
    if draw < 0.15:
        fields = _damaged_fields(fields, rng)
    elif draw < 0.2:
        name = rng.choice(("sizes", "tree", "decoded"))
        odd_sizes = [rng.choice(NUMBERS) for _ in range(rng.randrange(4))]
        fields = {**fields, name: rng.choice((odd_sizes, _odd(len(pieces), rng)))}
    elif draw < 0.35 and pieces:
        place = rng.randrange(len(pieces))
        pieces[place] = rng.choice(BYTE_DAMAGES)(pieces[place] or b"\0", rng)
    elif draw < 0.7:
        fields = {**fields, "values": _damaged_tree(fields.get("values"), rng)}
    else:
        # As the last value, so that the places of the others stay right.
        node, more = attack(len(pieces), rng)
        values = fields.get("values")
        fields = {**fields, "values": {**(values if isinstance(values, dict) else {}), "!": node}}
        pieces += more
        if rng.random() < 0.9:
            fields["decoded"] = MAX_DECODED_BYTES
    return replace(
        part,
        raw=None,
        fields=fields,
        pieces=tuple(pieces),
        tree_apart=part.tree_apart or rng.random() < 0.2,
    )


def _damaged_fields(fields: dict[str, object], rng: Random) -> dict[str, object]:
    name = rng.choice([*fields, "?"])
    draw = rng.random()
    if draw < 0.1:
        return {each: fields[each] for each in fields if each != name}
    if draw < 0.15:
        return {**fields, _odd_text(rng): _odd(None, rng)}
    return {**fields, name: _damaged_tree(fields.get(name), rng)}


def _damaged_tree(tree: object, rng: Random) -> object:
    """Return ``tree`` with one value, somewhere in it, that is an odd one."""
    if isinstance(tree, dict) and tree and rng.random() < 0.8:
        name = rng.choice(list(tree))
        return {**tree, name: _damaged_tree(tree[name], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        items = list(tree)
        place = rng.randrange(len(items))
        if rng.random() < 0.1:
            items[place : place + 1] = [items[place]] * rng.choice((0, 2, 40))
        else:
            items[place] = _damaged_tree(items[place], rng)
        return items
    return _odd(tree, rng)


def _odd(value: object, rng: Random) -> object:
    """Return something else than ``value``, often near to it."""
    if rng.random() < 0.5:
        if type(value) is int:
            near = rng.choice((value + 1, value - 1, -value, value * 2, value + 2**32))
            return max(-(2**63), min(near, 2**64 - 1))
        if isinstance(value, bytes) and value:
            return rng.choice(BYTE_DAMAGES)(value, rng)
        if isinstance(value, str):
            return _odd_text(rng)
    return rng.choice(NUMBERS) if rng.random() < 0.4 else rng.choice(ODD_VALUES)


def _odd_text(rng: Random) -> str:
    return "".join(chr(rng.choice((0, 10, 27, 65, 0x202E, 0xD800, 0x1F600))) for _ in range(4))

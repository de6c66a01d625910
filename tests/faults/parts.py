"""Messages taken apart, so that one thing in them can be changed, and put together again.

parts = read_stream(recording.to_cloud)
odd = replace(parts[0], raw=None, fields={**parts[0].fields, "protocol": Raw(b"\xc1")})
data = b"".join(map(written, [odd, *parts[1:]]))
"""

from dataclasses import dataclass

import msgpack

from offload.messages import MessageType
from offload.wire import ALIGNMENT, HEADER, MAGIC
from tests.faults.recordings import cut_messages


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that stand in a packed message as they are."""

    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One message, as bytes and as what they say.

    Attributes:
        raw: Its bytes; None if it was changed, and they are to be made anew.
        kind: The type byte of its header.
        fields: Its envelope, without the sizes of its pieces. A tree that travels behind the
            envelope is put back into it.
        pieces: Of its payload, without the tree.
        tree_apart: Whether the tree travels behind the envelope.
    """

    raw: bytes | None
    kind: int
    fields: dict[str, object]
    pieces: tuple[bytes, ...]
    tree_apart: bool


def read_stream(stream: bytes) -> list[Part]:
    """Return the messages of a recorded stream."""
    return [_read(raw) for raw in cut_messages(stream)]


def _read(raw: bytes) -> Part:
    _, kind, envelope_bytes, _ = HEADER.unpack_from(raw)
    fields = msgpack.unpackb(raw[HEADER.size : HEADER.size + envelope_bytes])
    pieces: list[bytes] = []
    start = HEADER.size + envelope_bytes
    tree_apart = kind == MessageType.FRAME and "tree" in fields
    tree_sizes = [fields.pop("tree")] if tree_apart else []
    for size in [*fields.pop("sizes", []), *tree_sizes]:
        pieces.append(raw[start : start + size])
        start += size + -size % ALIGNMENT
    if tree_apart:
        fields["values"] = msgpack.unpackb(pieces.pop())
    return Part(raw=raw, kind=kind, fields=fields, pieces=tuple(pieces), tree_apart=tree_apart)


def written(part: Part) -> bytes:
    """Return the bytes of a message, with lengths that fit unless a field says otherwise."""
    if part.raw is not None:
        return part.raw
    fields, pieces = dict(part.fields), list(part.pieces)
    if pieces:
        fields.setdefault("sizes", list(map(len, pieces)))
    if part.tree_apart and "values" in fields:
        pieces.append(_pack(fields.pop("values")))
        fields.setdefault("tree", len(pieces[-1]))
    envelope = _pack(fields)
    payload = b"".join(each + bytes(-len(each) % ALIGNMENT) for each in pieces)
    return HEADER.pack(MAGIC, part.kind, len(envelope), len(payload)) + envelope + payload


def _pack(value: object) -> bytes:
    """Pack ``value``; what is `Raw` inside of it stands in the result as it is."""
    found: list[Raw] = []

    def stand_in(odd: object) -> object:
        assert isinstance(odd, Raw)
        found.append(odd)
        return _marker(len(found) - 1)

    packed: bytes = msgpack.packb(value, default=stand_in, unicode_errors="surrogatepass")
    for index, each in enumerate(found):
        packed = packed.replace(msgpack.packb(_marker(index)), each.data)
    return packed


def _marker(index: int) -> bytes:
    return b"here stands raw %d" % index

"""The checks of what a peer sent before memory is taken for it, and while it is unpacked.

The peer is not trusted: what is no message of ours is a `RemoteProtocolError`.
"""

from typing import Final

import msgpack

from offload.errors import RemoteProtocolError
from offload.messages import Fields, MessageType
from offload.values import MAX_BUFFERS, MAX_DECODED_BYTES, MAX_NODES
from offload.wire.form import (
    ALIGNMENT,
    MAGIC,
    MAX_ENVELOPE_BYTES,
    MAX_INLINE_TREE_BYTES,
    MAX_TREE_BYTES,
)

# What a byte of a tree may become at most: an empty dict, which takes 64 bytes and its place in
# the list around it (sys.getsizeof in CPython 3.11). So much takes each value of it, too.
UNPACKED_FACTOR: Final = 72

# A list is made as long as it claims to be before its items are read. In so few bytes even lists in
# lists that each claim as many items as there are bytes take 3 MiB; to look first would cost more
# time than the rest of the reading.
SMALL_BYTES: Final = 1024


def check_magic(found: bytes) -> None:
    """Refuse a message by the first bytes that have come of it; there may be none yet."""
    if not MAGIC.startswith(found):
        # Alerts and greetings of TLS; of two kinds of talk that miss each other this is the usual.
        if found[:1] in (b"\x15", b"\x16"):
            raise RemoteProtocolError(
                "peer speaks TLS, and this end does not: see --tls and --tls-cert"
            )
        raise RemoteProtocolError(f"message begins with {found!r}, expected {MAGIC!r}")


def held_bytes_of(kind: int, fields: Fields, envelope_bytes: int, payload_bytes: int) -> int:
    """Return what a message may take in memory while it is worked on; of small ones nothing."""
    if kind != MessageType.FRAME:
        return payload_bytes
    decoded_bytes = fields.get("decoded", 0)
    if type(decoded_bytes) is not int or not 0 <= decoded_bytes <= MAX_DECODED_BYTES:
        raise RemoteProtocolError(f"field 'decoded' is no number up to {MAX_DECODED_BYTES}")
    tree_bytes = fields.get("tree", envelope_bytes if envelope_bytes > MAX_INLINE_TREE_BYTES else 0)
    if type(tree_bytes) is not int or not 0 <= tree_bytes <= MAX_TREE_BYTES:
        raise RemoteProtocolError(f"field 'tree' is no number of bytes up to {MAX_TREE_BYTES}")
    unpacked_bytes = min(UNPACKED_FACTOR * tree_bytes, 2 * UNPACKED_FACTOR * MAX_NODES)
    return payload_bytes + decoded_bytes + unpacked_bytes


def unpack_envelope(envelope: memoryview) -> Fields:
    """Return the fields of an envelope, whatever they hold."""
    fields = unpack(envelope, MAX_ENVELOPE_BYTES, "envelope")
    if not isinstance(fields, dict):
        raise RemoteProtocolError("envelope is no map with text keys")
    for key in fields:
        if type(key) is not str:
            raise RemoteProtocolError("envelope is no map with text keys")
    return fields


def unpack(packed: memoryview, max_bytes: int, name: str) -> object:
    """Return the one msgpack value that ``packed`` holds; ``name`` says what it is."""
    try:
        if len(packed) > SMALL_BYTES:
            return _unpack_large(packed, max_bytes)
        # Two ways to say that there are no extension types: the limit stops those with content,
        # timestamps among them, the hook empty ones.
        return msgpack.unpackb(
            packed,
            max_ext_len=0,
            ext_hook=_refuse_extension,
            max_array_len=len(packed),
            max_map_len=len(packed),
        )
    # msgpack reports what is malformed, nested too deep or a bad key as ValueError or a subclass of
    # it, a key that cannot be hashed as TypeError, what ends too early as OutOfData.
    except (ValueError, TypeError, msgpack.OutOfData) as error:
        raise RemoteProtocolError(
            f"{name} is no msgpack: {str(error) or type(error).__name__}"
        ) from error


def _unpack_large(packed: memoryview, max_bytes: int) -> object:
    # Skipping makes nothing, and finds that the items that a list claims are not there.
    claims = msgpack.Unpacker(max_buffer_size=max_bytes)
    claims.feed(packed)
    claims.skip()
    # A byte may be a whole dict, so that their number is bounded, too.
    count = _Count()
    return msgpack.unpackb(
        packed,
        max_ext_len=0,
        ext_hook=_refuse_extension,
        max_array_len=MAX_NODES,
        max_map_len=MAX_NODES,
        list_hook=count.list,
        object_hook=count.map,
    )


def cut_payload(fields: Fields, payload: memoryview) -> list[memoryview]:
    """Cut the payload into the pieces whose sizes the envelope declares; the tree comes last."""
    sizes = fields.get("sizes", [])
    if not isinstance(sizes, list):
        raise RemoteProtocolError("sizes of the payload's pieces are no list of byte counts")
    if len(sizes) > MAX_BUFFERS:
        raise RemoteProtocolError(
            f"payload has {len(sizes)} pieces, expected at most {MAX_BUFFERS}"
        )
    if "tree" in fields:
        sizes = [*sizes, fields["tree"]]
    pieces: list[memoryview] = []
    start = 0
    for size in sizes:
        if type(size) is not int or size < 0:
            raise RemoteProtocolError("sizes of the payload's pieces are no list of byte counts")
        pieces.append(payload[start : start + size])
        start += size + -size % ALIGNMENT
    if start != len(payload):
        raise RemoteProtocolError(f"payload is {len(payload)} bytes, its pieces {start}")
    return pieces


class _Count:
    """Counts the values of one tree, a container at a time, while it is made."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values = 0

    def list(self, made: list[object]) -> list[object]:
        self._add(len(made))
        return made

    def map(self, made: dict[object, object]) -> dict[object, object]:
        self._add(2 * len(made))
        return made

    def _add(self, values: int) -> None:
        self._values += values
        if self._values > 2 * MAX_NODES:
            raise ValueError(f"it has over {2 * MAX_NODES} values")


def _refuse_extension(code: int, data: bytes) -> object:  # noqa: ARG001  # msgpack's signature
    raise ValueError(f"extension type {code}, expected none")

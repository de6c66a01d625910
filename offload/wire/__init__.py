"""How messages become bytes and bytes messages: header, envelope, payload. PROTOCOL.md states it.

Pure: `encode` returns the pieces for one gathering send, never a copy of an image; a `Decoder` says
where the next received bytes belong, so that a large payload is received straight into its own
buffer.

    decoder = Decoder(max_message_bytes=HANDSHAKE_BYTES)
    count = connection.receive_into(decoder.buffer())
    for message in decoder.received(count): ...
"""

from offload.wire.decoder import Admit, Decoder, TakeMemory, always, decode, fresh_memory
from offload.wire.encoding import encode
from offload.wire.form import (
    ALIGNMENT,
    ENVELOPE_ONLY_BYTES,
    HANDSHAKE_BYTES,
    HEADER,
    MAGIC,
    MAX_ENVELOPE_BYTES,
    MAX_INLINE_TREE_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TREE_BYTES,
    MOST_MESSAGE_BYTES,
    Piece,
)
from offload.wire.unpacking import SMALL_BYTES, UNPACKED_FACTOR

__all__ = [
    "ALIGNMENT",
    "ENVELOPE_ONLY_BYTES",
    "HANDSHAKE_BYTES",
    "HEADER",
    "MAGIC",
    "MAX_ENVELOPE_BYTES",
    "MAX_INLINE_TREE_BYTES",
    "MAX_MESSAGE_BYTES",
    "MAX_TREE_BYTES",
    "MOST_MESSAGE_BYTES",
    "SMALL_BYTES",
    "UNPACKED_FACTOR",
    "Admit",
    "Decoder",
    "Piece",
    "TakeMemory",
    "always",
    "decode",
    "encode",
    "fresh_memory",
]

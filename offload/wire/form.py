"""What a message is made of, and how large it may be: header, envelope, payload."""

import struct
from typing import Final

# Magic, message type, a reserved zero byte, envelope bytes, payload bytes.
HEADER: Final = struct.Struct("!2sBxII")
MAGIC: Final = b"TO"

# An envelope describes; what is large travels behind it. msgpack's own limits do not bound memory
# (16 MiB of empty arrays unpack to over 1 GiB), 64 KiB of anything unpack to a few MiB at most.
MAX_ENVELOPE_BYTES: Final = 64 * 1024

# A tree of values past this travels as a piece of the payload, so that a long list does not meet
# the envelope's limit. Its own limit bounds what a hostile one unpacks to: an empty list is one
# byte here and 64 bytes there. The 100,000 numbers that a tree may hold at most take 900 KB.
MAX_INLINE_TREE_BYTES: Final = 4096
MAX_TREE_BYTES: Final = 1024 * 1024

# Before a peer has proved that it knows a token it gets no more memory than a handshake needs.
HANDSHAKE_BYTES: Final = 1024

# Holds the picture of a 20-megapixel camera as raw BGR; the contract's default for one message.
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

# No server may be told to take more: the header has 32 bits for the size.
MOST_MESSAGE_BYTES: Final = 1024 * 1024 * 1024

# Only frames have a payload, and no frame goes to a device: a server that has not proved itself yet
# cannot make it reserve more than this.
ENVELOPE_ONLY_BYTES: Final = HEADER.size + MAX_ENVELOPE_BYTES

# Payload pieces start at multiples of this, so that arrays of 8-byte numbers are aligned views.
ALIGNMENT: Final = 8

Piece = bytes | memoryview

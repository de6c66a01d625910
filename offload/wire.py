"""How messages become bytes and bytes messages: header, envelope, payload. PROTOCOL.md states it.

Pure: `encode` returns the pieces for one gathering send, never a copy of an image; a `Decoder` says
where the next received bytes belong, so that a large payload is received straight into its own
buffer.

    decoder = Decoder(max_message_bytes=HANDSHAKE_BYTES)
    count = connection.receive_into(decoder.buffer())
    for message in decoder.received(count): ...
"""

import struct
from collections.abc import Callable, Iterator
from typing import Final, cast

import msgpack

from offload.errors import LimitPassed, PayloadError, RemoteProtocolError
from offload.messages import Fields, Frame, Message, MessageType, decode_message
from offload.values import MAX_BUFFERS, MAX_DECODED_BYTES, MAX_NODES

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

# What a byte of a tree may become at most: an empty dict, which takes 64 bytes and its place in
# the list around it (sys.getsizeof in CPython 3.11). So much takes each value of it, too.
UNPACKED_FACTOR: Final = 72

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

_NO_PAYLOAD: Final = memoryview(b"")

_PADDING: Final = tuple(bytes(count) for count in range(ALIGNMENT))

Piece = bytes | memoryview

# Where a decoder gets the memory for a payload of so many bytes.
TakeMemory = Callable[[int], memoryview]

# Whether a message that will hold so many bytes may begin now.
Admit = Callable[[int], bool]


def encode(message: Message, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> list[Piece]:
    """Return the pieces of ``message``, in order, for one gathering send.

    Raises:
        PayloadError: The envelope is larger than `MAX_ENVELOPE_BYTES`, the tree of values larger
            than `MAX_TREE_BYTES`, or the whole message larger than ``max_message_bytes``; or it has
            a text or a number that msgpack cannot hold.
    """
    fields: dict[str, object] = message.fields()
    pieces: list[Piece] = [b""]
    payload_bytes = 0
    if isinstance(message, Frame) and message.buffers:
        fields["sizes"] = [each.nbytes for each in message.buffers]
        for each in message.buffers:
            payload_bytes += _append_piece(pieces, each)
    envelope = _pack(fields)
    if len(envelope) > MAX_INLINE_TREE_BYTES and isinstance(message, Frame):
        tree = _pack(fields.pop("values"))
        if len(tree) > MAX_TREE_BYTES:
            raise PayloadError(
                f"values take {len(tree)} bytes beside their buffers, expected at most "
                f"{MAX_TREE_BYTES}: give long lists of numbers as an array"
            )
        fields["tree"] = len(tree)
        payload_bytes += _append_piece(pieces, tree)
        envelope = _pack(fields)
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise PayloadError(
            f"envelope is {len(envelope)} bytes, expected at most {MAX_ENVELOPE_BYTES}"
        )
    message_bytes = HEADER.size + len(envelope) + payload_bytes
    if message_bytes > max_message_bytes:
        raise PayloadError(
            f"message is {message_bytes} bytes, expected at most {max_message_bytes}"
        )
    pieces[0] = HEADER.pack(MAGIC, message.TYPE, len(envelope), payload_bytes) + envelope
    return pieces


def decode(message: memoryview) -> Message:
    """Return the message that ``message`` holds from its first byte to its last, and owns then.

    Raises:
        RemoteProtocolError: It is no message, or not one.
    """
    decoder = Decoder(max_message_bytes=len(message))
    while message:
        place = decoder.buffer()
        count = min(len(place), len(message))
        place[:count] = message[:count]
        found = list(decoder.received(count))
        message = message[count:]
        if len(found) == 1 and not message and not decoder.mid_message:
            return found[0]
    raise RemoteProtocolError("these bytes are not one message")


def _append_piece(pieces: list[Piece], piece: Piece) -> int:
    """Append ``piece`` and its padding, and return how many bytes these are."""
    pieces.append(piece)
    if padding := -len(piece) % ALIGNMENT:
        pieces.append(_PADDING[padding])
    return len(piece) + padding


def fresh_memory(size: int) -> memoryview:
    """Return ``size`` bytes of memory of their own."""
    return memoryview(bytearray(size))


def always(held_bytes: int) -> bool:  # noqa: ARG001  # the signature of `Admit`
    """Admit any message."""
    return True


class Decoder:
    """Turns received bytes into messages, however the stream is cut.

    Args:
        max_message_bytes: Largest message that is accepted.
        take_memory: Where the memory for payloads comes from.
        admit: Asked before memory is taken for a message, with what it will hold (its payload, and
            that unpacked and decoded); where it says no, the decoder `is_starved`.

    Attributes:
        is_starved: Whether a message was not admitted. Read no more then; call `received` with 0
            to ask again.
        messages: How many messages are complete.
    """

    # Takes a full envelope with its header.
    STAGING_BYTES: Final = HEADER.size + MAX_ENVELOPE_BYTES

    # What is read ahead after a message with a large payload: the next is probably alike, and what
    # of a payload is received here has to be copied. A frame's envelope is 100 bytes or so.
    READ_AHEAD_BYTES: Final = 512
    LARGE_PAYLOAD_BYTES: Final = 64 * 1024

    def __init__(
        self,
        *,
        max_message_bytes: int,
        take_memory: TakeMemory = fresh_memory,
        admit: Admit = always,
    ) -> None:
        """Start at the boundary of a message."""
        self.is_starved = False
        self.messages = 0
        self._max_message_bytes = max_message_bytes
        self._take_memory = take_memory
        self._admit = admit
        self._read_ahead_bytes = self.STAGING_BYTES
        # Peers that have proved nothing yet, of whom there may be many, get no more than they need.
        self._view = memoryview(bytearray(min(self.STAGING_BYTES, max_message_bytes)))
        self._start = 0
        self._stop = 0
        self._payload: memoryview | None = None
        self._payload_filled = 0
        self._kind = 0
        self._held_bytes = 0
        self._fields: Fields = {}

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._payload is not None or self._stop > self._start

    @property
    def payload_bytes(self) -> int:
        """The size of the payload that is being received; 0 if none is."""
        return len(self._payload) if self._payload is not None else 0

    def raise_limit(self, max_message_bytes: int) -> None:
        """Accept larger messages from the next one on: the peer has proved who it is."""
        self._max_message_bytes = max_message_bytes
        if len(self._view) < self.STAGING_BYTES:
            staging = memoryview(bytearray(self.STAGING_BYTES))
            staging[: self._stop] = self._view[: self._stop]
            self._view = staging

    def release(self) -> None:
        """Give back the memory, and forget who was asked for some; nothing more is received."""
        self._view, self._payload = _NO_PAYLOAD, None
        self._take_memory, self._admit = fresh_memory, always

    def buffer(self) -> memoryview:
        """Return the place for the next received bytes, never empty.

        It is valid until the next call of `received`.
        """
        if self._payload is not None:
            return self._payload[self._payload_filled :]
        if self._start == self._stop:
            self._start = self._stop = 0
            return self._view[: self._read_ahead_bytes]
        if self._stop == len(self._view):
            # A message that begins near the end moves to the front; it is at most an envelope.
            kept = bytes(self._view[self._start : self._stop])
            self._view[: len(kept)] = kept
            self._start, self._stop = 0, len(kept)
        return self._view[self._stop :]

    def received(self, count: int) -> Iterator[Message]:
        """Return the messages that ``count`` more bytes in `buffer` completed, in order.

        Each is decoded when it is asked for, so that the limit may be raised after one message for
        the next, which may have come with it. Ask for all before the next bytes.

        Raises:
            LimitPassed: A message is too large.
            RemoteProtocolError: The bytes are no message of ours. In both cases the decoder must
                not be used again.
        """
        if self._payload is None:
            self._stop += count
        else:
            self._payload_filled += count
            # The usual case, many times for each large payload.
            if self._payload_filled < len(self._payload):
                return iter(())
        return iter(self._next, None)

    def _next(self) -> Message | None:
        if self._payload is None and not self._begin():
            return None
        assert self._payload is not None
        if self._payload_filled < len(self._payload):
            return None
        payload, self._payload = self._payload, None
        self.messages += 1
        if not payload and "sizes" not in self._fields:
            return decode_message(self._kind, self._fields, held_bytes=self._held_bytes)
        pieces = _pieces(self._fields, payload)
        if "tree" in self._fields and self._kind == MessageType.FRAME:
            tree = _unpack(pieces.pop(), MAX_TREE_BYTES, "tree of values")
            self._fields = {**self._fields, "values": tree}
        return decode_message(self._kind, self._fields, pieces, self._held_bytes)

    def _begin(self) -> bool:
        """Read header and envelope, if they are complete, and begin the payload."""
        available = self._stop - self._start
        if available < HEADER.size:
            # Bytes that cannot be ours are refused at the first one, not with a whole header.
            _check_magic(bytes(self._view[self._start : self._stop])[: len(MAGIC)])
            return False
        magic, kind, envelope_bytes, payload_bytes = HEADER.unpack_from(self._view, self._start)
        _check_magic(magic)
        self._check_sizes(envelope_bytes, payload_bytes)
        if available < HEADER.size + envelope_bytes:
            return False
        begin = self._start + HEADER.size
        fields = _unpack_envelope(self._view[begin : begin + envelope_bytes])
        held_bytes = _held_bytes(kind, fields, envelope_bytes, payload_bytes)
        # What waits is read again when it is asked for again: that is rare.
        self.is_starved = held_bytes > 0 and not self._admit(held_bytes)
        if self.is_starved:
            return False
        self._kind, self._fields, self._held_bytes = kind, fields, held_bytes
        self._start = begin + envelope_bytes
        large = payload_bytes > self.LARGE_PAYLOAD_BYTES
        self._read_ahead_bytes = self.READ_AHEAD_BYTES if large else self.STAGING_BYTES
        # The payload's own memory: arrays are views on it and may outlive this decoder.
        self._payload = self._take_memory(payload_bytes) if payload_bytes else _NO_PAYLOAD
        filled = min(payload_bytes, self._stop - self._start)
        if filled:
            self._payload[:filled] = self._view[self._start : self._start + filled]
        self._payload_filled = filled
        self._start += filled
        return True

    def _check_sizes(self, envelope_bytes: int, payload_bytes: int) -> None:
        if envelope_bytes > MAX_ENVELOPE_BYTES:
            raise RemoteProtocolError(
                f"envelope is {envelope_bytes} bytes, expected at most {MAX_ENVELOPE_BYTES}"
            )
        message_bytes = HEADER.size + envelope_bytes + payload_bytes
        if message_bytes > self._max_message_bytes:
            raise LimitPassed(
                f"message is {message_bytes} bytes, expected at most {self._max_message_bytes}"
            )


def _check_magic(found: bytes) -> None:
    if not MAGIC.startswith(found):
        # Alerts and greetings of TLS; of two kinds of talk that miss each other this is the usual.
        if found[:1] in (b"\x15", b"\x16"):
            raise RemoteProtocolError(
                "peer speaks TLS, and this end does not: see --tls and --tls-cert"
            )
        raise RemoteProtocolError(f"message begins with {found!r}, expected {MAGIC!r}")


def _held_bytes(kind: int, fields: Fields, envelope_bytes: int, payload_bytes: int) -> int:
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


def _pack(plain: object) -> bytes:
    try:
        return cast("bytes", msgpack.packb(plain))
    # Surrogates, as in a file name that is no UTF-8, are a ValueError; ints past 64 bits overflow.
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"message cannot be encoded: {error}") from error


def _unpack_envelope(envelope: memoryview) -> Fields:
    fields = _unpack(envelope, MAX_ENVELOPE_BYTES, "envelope")
    if not isinstance(fields, dict):
        raise RemoteProtocolError("envelope is no map with text keys")
    for key in fields:
        if type(key) is not str:
            raise RemoteProtocolError("envelope is no map with text keys")
    return fields


def _unpack(packed: memoryview, max_bytes: int, name: str) -> object:
    try:
        # A list is made as long as it claims to be before its items are read, and a thousand of
        # them nest in 3 KiB. Skipping makes nothing, and finds that the items are not there.
        claims = msgpack.Unpacker(max_buffer_size=max_bytes)
        claims.feed(packed)
        claims.skip()
        count = _Count()
        return msgpack.unpackb(
            packed,
            # Two ways to say that there are no extension types: the limit stops those with
            # content, timestamps among them, the hook empty ones.
            max_ext_len=0,
            ext_hook=_refuse_extension,
            # And two to say how many values there may be: a byte may be a whole dict.
            max_array_len=MAX_NODES,
            max_map_len=MAX_NODES,
            list_hook=count.list,
            object_hook=count.map,
        )
    # msgpack reports what is malformed, nested too deep or a bad key as ValueError or a subclass of
    # it, a key that cannot be hashed as TypeError, what ends too early as OutOfData.
    except (ValueError, TypeError, msgpack.OutOfData) as error:
        raise RemoteProtocolError(
            f"{name} is no msgpack: {str(error) or type(error).__name__}"
        ) from error


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


def _pieces(fields: Fields, payload: memoryview) -> list[memoryview]:
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

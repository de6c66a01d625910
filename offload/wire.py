"""How messages become bytes and bytes messages: header, envelope, payload. PROTOCOL.md states it.

Pure: `encode` returns the pieces for one gathering send, never a copy of an image; a `Decoder` says
where the next received bytes belong, so that a large payload is received straight into its own
buffer.

    decoder = Decoder(max_message_bytes=HANDSHAKE_BYTES)
    count = connection.receive_into(decoder.buffer())
    for message in decoder.received(count): ...
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, cast

import msgpack

from offload.errors import PayloadError, RemoteProtocolError
from offload.messages import Fields, Frame, Message, decode_message
from offload.values import MAX_BUFFERS

# Magic, message type, a reserved zero byte, envelope bytes, payload bytes.
HEADER: Final = struct.Struct("!2sBxII")
MAGIC: Final = b"TO"

# An envelope describes; what is large travels behind it. msgpack's own limits do not bound memory
# (16 MiB of empty arrays unpack to over 1 GiB), 64 KiB of anything unpack to a few MiB at most.
MAX_ENVELOPE_BYTES: Final = 64 * 1024

# Before a peer has proved that it knows a token it gets no more memory than a handshake needs.
HANDSHAKE_BYTES: Final = 1024

# Holds the picture of a 20-megapixel camera as raw BGR; the contract's default for one message.
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024

# Only frames have a payload, and no frame goes to a device: a server that has not proved itself yet
# cannot make it reserve more than this.
ENVELOPE_ONLY_BYTES: Final = HEADER.size + MAX_ENVELOPE_BYTES

# Payload pieces start at multiples of this, so that arrays of 8-byte numbers are aligned views.
ALIGNMENT: Final = 8

_PADDING: Final = tuple(bytes(count) for count in range(ALIGNMENT))

Piece = bytes | memoryview


def encode(message: Message) -> list[Piece]:
    """Return the pieces of ``message``, in order, for one gathering send.

    Raises:
        PayloadError: The envelope is larger than `MAX_ENVELOPE_BYTES`, or the whole message larger
            than `MAX_MESSAGE_BYTES`; or it has a text or a number that msgpack cannot hold.
    """
    fields: dict[str, object] = message.fields()
    pieces: list[Piece] = [b""]
    payload_bytes = 0
    if isinstance(message, Frame) and message.buffers:
        fields["sizes"] = [each.nbytes for each in message.buffers]
        for each in message.buffers:
            pieces.append(each)
            payload_bytes += each.nbytes
            if padding := -each.nbytes % ALIGNMENT:
                pieces.append(_PADDING[padding])
                payload_bytes += padding
    envelope = _pack_envelope(fields)
    if len(envelope) > MAX_ENVELOPE_BYTES:
        raise PayloadError(
            f"envelope is {len(envelope)} bytes, expected at most {MAX_ENVELOPE_BYTES}"
        )
    message_bytes = HEADER.size + len(envelope) + payload_bytes
    if message_bytes > MAX_MESSAGE_BYTES:
        raise PayloadError(
            f"message is {message_bytes} bytes, expected at most {MAX_MESSAGE_BYTES}"
        )
    pieces[0] = HEADER.pack(MAGIC, message.TYPE, len(envelope), payload_bytes) + envelope
    return pieces


class Decoder:
    """Turns received bytes into messages, however the stream is cut.

    Args:
        max_message_bytes: Largest message that is accepted. It may be raised between messages, as
            it is once a peer has proved who it is.
    """

    # Takes a full envelope with its header; small enough that little of a large payload is received
    # here, from where it has to be copied.
    STAGING_BYTES: Final = HEADER.size + MAX_ENVELOPE_BYTES

    def __init__(self, *, max_message_bytes: int) -> None:
        """Start at the boundary of a message."""
        self.max_message_bytes = max_message_bytes
        self._staging = bytearray(self.STAGING_BYTES)
        self._view = memoryview(self._staging)
        self._start = 0
        self._stop = 0
        self._payload: memoryview | None = None
        self._payload_filled = 0
        self._kind = 0
        self._fields: Fields = {}

    @property
    def mid_message(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._payload is not None or self._stop > self._start

    def buffer(self) -> memoryview:
        """Return the place for the next received bytes, never empty.

        It is valid until the next call of `received`.
        """
        if self._payload is not None:
            return self._payload[self._payload_filled :]
        if self._start == self._stop:
            self._start = self._stop = 0
        elif self._stop == len(self._staging):
            # A message that begins near the end moves to the front; it is at most an envelope.
            kept = bytes(self._view[self._start : self._stop])
            self._view[: len(kept)] = kept
            self._start, self._stop = 0, len(kept)
        return self._view[self._stop :]

    def received(self, count: int) -> Iterator[Message]:
        """Return the messages that ``count`` more bytes in `buffer` completed, in order.

        Each is decoded when it is asked for, so that ``max_message_bytes`` may be raised after one
        message for the next, which may have come with it. Ask for all before the next bytes.

        Raises:
            RemoteProtocolError: The bytes are no message of ours, or one that is too large. The
                decoder must not be used again.
        """
        if self._payload is not None:
            self._payload_filled += count
        else:
            self._stop += count
        return iter(self._next, None)

    def _next(self) -> Message | None:
        if self._payload is None and not self._begin():
            return None
        assert self._payload is not None
        if self._payload_filled < len(self._payload):
            return None
        payload, self._payload = self._payload, None
        return decode_message(self._kind, self._fields, _pieces(self._fields, payload))

    def _begin(self) -> bool:
        """Read header and envelope, if they are complete, and begin the payload."""
        available = self._stop - self._start
        # Bytes that cannot be ours are refused at the first one, not when a header is complete.
        head = bytes(self._view[self._start : self._start + min(available, len(MAGIC))])
        if not MAGIC.startswith(head):
            raise RemoteProtocolError(f"message begins with {head!r}, expected {MAGIC!r}")
        if available < HEADER.size:
            return False
        _, kind, envelope_bytes, payload_bytes = HEADER.unpack_from(self._view, self._start)
        self._check_sizes(envelope_bytes, payload_bytes)
        if available < HEADER.size + envelope_bytes:
            return False
        begin = self._start + HEADER.size
        self._kind = kind
        self._fields = _unpack_envelope(self._view[begin : begin + envelope_bytes])
        self._start = begin + envelope_bytes
        # The payload's own buffer: arrays are views on it and may outlive this decoder.
        self._payload = memoryview(bytearray(payload_bytes))
        self._payload_filled = min(payload_bytes, self._stop - self._start)
        self._payload[: self._payload_filled] = self._view[
            self._start : self._start + self._payload_filled
        ]
        self._start += self._payload_filled
        return True

    def _check_sizes(self, envelope_bytes: int, payload_bytes: int) -> None:
        if envelope_bytes > MAX_ENVELOPE_BYTES:
            raise RemoteProtocolError(
                f"envelope is {envelope_bytes} bytes, expected at most {MAX_ENVELOPE_BYTES}"
            )
        message_bytes = HEADER.size + envelope_bytes + payload_bytes
        if message_bytes > self.max_message_bytes:
            raise RemoteProtocolError(
                f"message is {message_bytes} bytes, expected at most {self.max_message_bytes}"
            )


def _pack_envelope(fields: Fields) -> bytes:
    try:
        return cast("bytes", msgpack.packb(fields))
    # Surrogates, as in a file name that is no UTF-8, are a ValueError; ints past 64 bits overflow.
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"message cannot be encoded: {error}") from error


def _unpack_envelope(envelope: memoryview) -> Fields:
    try:
        # A list is made as long as it claims to be before its items are read, and a thousand of
        # them nest in 3 KiB. Skipping makes nothing, and finds that the items are not there.
        claims = msgpack.Unpacker(max_buffer_size=MAX_ENVELOPE_BYTES)
        claims.feed(envelope)
        claims.skip()
        # Two ways to say that there are no extension types: the limit stops those with content,
        # timestamps among them, the hook empty ones.
        fields = msgpack.unpackb(envelope, max_ext_len=0, ext_hook=_refuse_extension)
    # msgpack reports what is malformed, nested too deep or a bad key as ValueError or a subclass of
    # it, a key that cannot be hashed as TypeError, what ends too early as OutOfData.
    except (ValueError, TypeError, msgpack.OutOfData) as error:
        raise RemoteProtocolError(
            f"envelope is no msgpack: {str(error) or type(error).__name__}"
        ) from error
    if not isinstance(fields, dict) or not all(isinstance(key, str) for key in fields):
        raise RemoteProtocolError("envelope is no map with text keys")
    return fields


def _refuse_extension(code: int, data: bytes) -> object:  # noqa: ARG001  # msgpack's signature
    raise ValueError(f"extension type {code}, expected none")


def _pieces(fields: Fields, payload: memoryview) -> Sequence[memoryview]:
    """Cut the payload into the pieces whose sizes the envelope declares."""
    sizes = fields.get("sizes", [])
    if not isinstance(sizes, list) or not all(type(each) is int and each >= 0 for each in sizes):
        raise RemoteProtocolError("sizes of the payload's pieces are no list of byte counts")
    if len(sizes) > MAX_BUFFERS:
        raise RemoteProtocolError(
            f"payload has {len(sizes)} pieces, expected at most {MAX_BUFFERS}"
        )
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size + -size % ALIGNMENT)
    if starts[-1] != len(payload):
        raise RemoteProtocolError(f"payload is {len(payload)} bytes, its pieces {starts[-1]}")
    return [
        payload[start : start + size]
        for (start, _), size in zip(pairwise(starts), sizes, strict=True)
    ]

"""Bytes to messages, however the stream is cut."""

from collections.abc import Callable, Iterator
from typing import Final

from offload.errors import LimitPassed, RemoteProtocolError
from offload.messages import Fields, Message, MessageType, decode_message
from offload.sizes import size_in_words
from offload.wire.form import HEADER, MAGIC, MAX_ENVELOPE_BYTES, MAX_TREE_BYTES
from offload.wire.unpacking import check_magic, cut_payload, held_bytes_of, unpack, unpack_envelope

_NO_PAYLOAD: Final = memoryview(b"")

# Where a decoder gets the memory for a payload of so many bytes.
TakeMemory = Callable[[int], memoryview]

# Whether a message that will hold so many bytes may begin now.
Admit = Callable[[int], bool]


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
        pieces = cut_payload(self._fields, payload)
        if "tree" in self._fields and self._kind == MessageType.FRAME:
            tree = unpack(pieces.pop(), MAX_TREE_BYTES, "tree of values")
            self._fields = {**self._fields, "values": tree}
        return decode_message(self._kind, self._fields, pieces, self._held_bytes)

    def _begin(self) -> bool:
        """Read header and envelope, if they are complete, and begin the payload."""
        available = self._stop - self._start
        if available < HEADER.size:
            # Bytes that cannot be ours are refused at the first one, not with a whole header.
            check_magic(bytes(self._view[self._start : self._stop])[: len(MAGIC)])
            return False
        magic, kind, envelope_bytes, payload_bytes = HEADER.unpack_from(self._view, self._start)
        check_magic(magic)
        self._check_sizes(envelope_bytes, payload_bytes)
        if available < HEADER.size + envelope_bytes:
            return False
        begin = self._start + HEADER.size
        fields = unpack_envelope(self._view[begin : begin + envelope_bytes])
        held_bytes = held_bytes_of(kind, fields, envelope_bytes, payload_bytes)
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
                f"message is {size_in_words(message_bytes)}, "
                f"expected at most {self._max_message_bytes}"
            )


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

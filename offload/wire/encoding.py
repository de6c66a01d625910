"""Messages to bytes: the pieces of one gathering send."""

from typing import Final, cast

import msgpack

from offload.errors import PayloadError
from offload.messages import Frame, Message
from offload.sizes import size_in_words
from offload.wire.form import (
    ALIGNMENT,
    HEADER,
    MAGIC,
    MAX_ENVELOPE_BYTES,
    MAX_INLINE_TREE_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TREE_BYTES,
    Piece,
)

_PADDING: Final = tuple(bytes(count) for count in range(ALIGNMENT))


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
            f"message is {size_in_words(message_bytes)}, expected at most {max_message_bytes}: "
            "run more tasks on the device, choose another --encoding, or raise --max-frame of the "
            "server"
        )
    pieces[0] = HEADER.pack(MAGIC, message.TYPE, len(envelope), payload_bytes) + envelope
    return pieces


def _append_piece(pieces: list[Piece], piece: Piece) -> int:
    """Append ``piece`` and its padding, and return how many bytes these are."""
    pieces.append(piece)
    if padding := -len(piece) % ALIGNMENT:
        pieces.append(_PADDING[padding])
    return len(piece) + padding


def _pack(plain: object) -> bytes:
    try:
        return cast("bytes", msgpack.packb(plain))
    # Surrogates, as in a file name that is no UTF-8, are a ValueError; ints past 64 bits overflow.
    except (ValueError, OverflowError) as error:
        raise PayloadError(f"message cannot be encoded: {error}") from error

"""What an entry of the outbox is as a record of the spool, and back.

A record begins with the run that wrote it and its number of capture times, which follow: they are
of that run's clock, and mean nothing to another. Then comes the message as it would be sent.

    content = packed(encode(entry.message()), entry.captured_s, run_id=run_id)
    entry = entry_from(Record(first=7, stop=8, content=content), 7, run_id=run_id)
"""

import logging
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from offload.device.outbox import Entry
from offload.errors import RemoteProtocolError
from offload.messages import Ended, Frame, Outcome, OutcomeRange
from offload.spool import Record
from offload.wire import Piece, decode

logger = logging.getLogger(__name__)

_HEAD: Final = struct.Struct("=16sI")


def packed(pieces: Sequence[Piece], captured_s: Sequence[float], *, run_id: bytes) -> bytes:
    """Return a record's content: the message in ``pieces``, and when its frames were captured.

    Args:
        pieces: An encoded `Frame` or `Ended`.
        captured_s: Monotonic seconds, of this run's clock.
        run_id: 16 bytes that no other run has.
    """
    times = struct.pack(f"={len(captured_s)}d", *captured_s)
    return b"".join((_HEAD.pack(run_id, len(captured_s)), times, *pieces))


def entry_from(record: Record, first: int, *, run_id: bytes) -> Entry:
    """Return what ``record`` holds from frame ``first`` on; it may begin before.

    If it is damaged, or cannot be decoded, its frames have failed, and the log says so.
    """
    first = max(first, record.first)
    if record.content is None:
        return _lost(first, record.stop, "its record in the spool is damaged")
    writer, count = _HEAD.unpack_from(record.content)
    start = _HEAD.size + 8 * count
    times = struct.unpack_from(f"={count}d", record.content, _HEAD.size)
    captured_s = list(times) if writer == run_id else []
    try:
        message = decode(memoryview(record.content)[start:])
    except RemoteProtocolError as error:
        return _lost(first, record.stop, f"its record in the spool cannot be read: {error}")
    if isinstance(message, Frame):
        split = message.split
        return Entry(first=record.first, frame=message, captured_s=captured_s, split=split)
    assert isinstance(message, Ended), "only frames and ended frames are written"
    ranges = [_from(first, each) for each in message.ranges if each.stop > first]
    timed = sum(each.count for each in ranges if each.outcome is not Outcome.DROPPED)
    return Entry(first=first, ranges=ranges, captured_s=captured_s[len(captured_s) - timed :])


def failed(first: int, stop: int, reason: str) -> OutcomeRange:
    """Return the outcome of frames that were lost on the device, though no task failed."""
    return OutcomeRange(first=first, count=stop - first, outcome=Outcome.FAILED, reason=reason)


def _from(first: int, outcome: OutcomeRange) -> OutcomeRange:
    known = max(0, first - outcome.first)
    return replace(outcome, first=outcome.first + known, count=outcome.count - known)


def _lost(first: int, stop: int, reason: str) -> Entry:
    logger.error("frames_lost", extra={"first": first, "stop": stop, "why": reason})
    return Entry(first=first, ranges=[failed(first, stop, reason)])

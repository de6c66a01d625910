"""Where a stream stands that a device asks for, by what the store knows of it.

standing = find_standing(store, request)        # in a thread: it waits for the disk
session.accept(next_seq=standing.next_seq, exceptions=standing.exceptions, ...)
"""

import logging
import time
from dataclasses import dataclass

from offload.errors import AuthError, ResultsError
from offload.messages import OutcomeRange
from offload.results import ResultsStore, StreamCommit
from offload.results.store import StreamRecord
from offload.session import OpenRequested

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stream, and where its device goes on.

    Attributes:
        record: What was stored of it when it was asked for.
        next_seq: Where it goes on; past the record's if the device knows of more.
        exceptions: Frames that the device does not know the outcome of, and that have no result.
    """

    record: StreamRecord
    next_seq: int
    exceptions: tuple[OutcomeRange, ...]


def find_standing(store: ResultsStore, request: OpenRequested) -> Standing:
    """Look the stream up, new or as stored; from now on no other server can store frames of it.

    A device that was promised more than the store knows is believed: it is not the store of before,
    and the frames are not there any more.

    Raises:
        AuthError: The stream belongs to another token, or to another app.
        ResultsError: The store cannot be read or written.
    """
    opening = request.opening
    record = store.open_stream(
        stream=opening.stream,
        device=opening.device,
        app=opening.app,
        owner=request.owner,
        now=time.time(),
    )
    if record.owner != request.owner or record.app != opening.app:
        what = "another token" if record.owner != request.owner else f"app {record.app!r}"
        raise AuthError(f"stream {opening.stream!r} belongs to {what}: choose another --stream")
    next_seq = max(record.next_seq, opening.position)
    if next_seq > record.next_seq:
        _adopt(store, record, next_seq)
    exceptions = store.ended_between(record.stream, opening.position, next_seq)
    return Standing(record=record, next_seq=next_seq, exceptions=tuple(exceptions))


def _adopt(store: ResultsStore, record: StreamRecord, next_seq: int) -> None:
    logger.warning(
        "position_adopted",
        extra={
            "stream": record.stream,
            "stored": record.next_seq,
            "next_seq": next_seq,
            "why": (
                f"the device was told before that all frames below {next_seq} are stored, and here "
                f"are only those below {record.next_seq}: the others are in the results of another "
                "server, or in a file that this one was started without (--results)"
            ),
        },
    )
    commit = StreamCommit(
        stream=record.stream,
        epoch=record.epoch,
        first_seq=record.next_seq,
        next_seq=next_seq,
        at=time.time(),
    )
    if store.commit([commit]):
        raise ResultsError(f"stream {record.stream!r} was opened at another server meanwhile")

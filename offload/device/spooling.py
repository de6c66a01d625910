"""Keep unacknowledged frames on disk: what moves between an `Outbox` and its `Spool`, and when.

A thread writes what has waited for its acknowledgement for a while, reads back what went behind the
window while there was no connection, and lets the spool forget what is acknowledged. What is
acknowledged soon is never written: that spares the disk, which on many devices is a memory card.

    spooler = Spooler(open_spool(folder, opening, limit_bytes=2**28), lock)
    spooler.start(spooler.make_outbox(...), on_moved=wake_the_sender)
    ...
    spooler.close()            # writes what is left
"""

import hashlib
import json
import logging
import math
import os
import shlex
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from offload.device.outbox import Entry, SpooledOutbox
from offload.device.spool_records import entry_from, failed, packed
from offload.errors import PayloadError, SpoolError
from offload.messages import PROTOCOL_VERSION, Ended, Open
from offload.spool import Record, Spool, left_behind
from offload.throttle import Complaint
from offload.wire import MOST_MESSAGE_BYTES, encode

logger = logging.getLogger(__name__)

# Frames wait so long for their acknowledgement, and each other's company, before they are written.
# With the commit itself, what a power cut takes is then about a tenth of a second of the stream.
WRITE_AFTER_S: Final = 0.05

# A disk that is full, or came back read-only, is tried again at this pace.
RETRY_S: Final = 1.0

# What is acknowledged is forgotten with the next writing, or after so long without one.
FLUSH_EVERY_S: Final = 5.0

# How full it is, is of interest to people.
MEASURE_EVERY_S: Final = 1.0

# Written in one transaction, and copied for it: some pictures.
GROUP_BYTES: Final = 4 * 1024 * 1024

# Read back at a time: enough to keep a link busy, and little next to a window of pictures.
READ_BYTES: Final = 4 * 1024 * 1024

# Streams whose frames lie in the same folder are named, but not by the hundred.
MOST_NAMED_STREAMS: Final = 5

# The disk of a device that is told to end may be slow, but not so slow.
CLOSE_TIMEOUT_S: Final = 10.0


def open_spool(folder: Path, opening: Open, *, limit_bytes: int, is_named: bool = True) -> Spool:
    """Open the spool of a stream, and say what is found in its folder.

    Args:
        folder: Where spools are, each in a file of its own.
        opening: Names the stream, and the pipeline whose frames are kept.
        limit_bytes: Most that this spool takes.
        is_named: Whether the user chose the stream's name.

    Raises:
        ConfigurationError: It cannot be made, or another program uses it.
        HandshakeError: It holds frames of another pipeline, or in another form.
    """
    made_by = json.dumps([PROTOCOL_VERSION, opening.fingerprint], sort_keys=True).encode()
    spool = Spool(
        folder,
        stream=opening.stream,
        pipeline=f"{opening.app} {hashlib.sha256(made_by).hexdigest()[:16]}",
        limit_bytes=limit_bytes,
        is_named=is_named,
    )
    if not spool.can_write:
        how = "frames are kept in memory only; make its disk writable: it is tried once a second"
        logger.error("spool_not_writable", extra={"reason": spool.note, "how": how})
    elif spool.note:
        logger.error("spool_damaged", extra={"reason": spool.note})
    _name_other_streams(folder, opening.stream)
    return spool


def _name_other_streams(folder: Path, stream: str) -> None:
    """Say which other streams have frames here: nobody else would send them."""
    others = sorted(left_behind(folder, besides=stream), key=lambda each: -each.frames)
    if not others:
        return
    named = ", ".join(shlex.quote(each.stream) for each in others[:MOST_NAMED_STREAMS])
    more = ", ..." if len(others) > MOST_NAMED_STREAMS else ""
    logger.warning(
        "other_streams_kept",
        extra={
            "streams": len(others),
            "frames": sum(each.frames for each in others),
            "how": f"start again with --stream NAME and the same --spool; NAME is {named}{more}",
        },
    )


class Spooler:
    """Moves entries between an outbox and its spool, on a thread of its own.

    Args:
        spool: Only this thread uses it from `start` on.
        lock: Guards the outbox. It is never held while the disk is used.

    Attributes:
        resumed: Frames that an earlier run has left.
        used_bytes: What the spool holds, as of the last second.
        capacity_bytes: What it may hold.
    """

    def __init__(self, spool: Spool, lock: threading.Lock) -> None:
        """Prepare; nothing is written before `start`."""
        self._spool = spool
        self._run_id = os.urandom(16)
        self._work = threading.Condition(lock)
        self._closing = False
        self._flushed_s = 0.0
        self._write_again_s = 0.0
        self._read_again_s = 0.0
        self._complaints: defaultdict[str, Complaint] = defaultdict(Complaint)
        self._said_note = spool.note
        self._thread = threading.Thread(target=self._run, name="spooler", daemon=True)
        self._outbox: SpooledOutbox | None = None
        self.resumed = spool.frames
        self.capacity_bytes = spool.capacity_bytes
        self.used_bytes = 0
        self._measured_s = -math.inf

    @property
    def position(self) -> int:
        """The first frame that an earlier run has left on disk."""
        return self._spool.first

    @property
    def kept(self) -> int:
        """How many unacknowledged frames are on disk."""
        position = self._outbox.position if self._outbox is not None else 0
        return max(0, self._spool.stop - max(position, self._spool.first))

    def make_outbox(self, *, next_seq: int, max_entries: int) -> SpooledOutbox:
        """Return the outbox of a stream that goes on at ``next_seq``, with what is on disk."""
        self._spool.release(next_seq)
        self.resumed = max(0, self._spool.stop - next_seq)
        return SpooledOutbox(
            position=next_seq, stored_stop=self._spool.stop, max_entries=max_entries
        )

    def start(self, outbox: SpooledOutbox, *, on_moved: Callable[[], None]) -> None:
        """Begin; ``on_moved`` is called, with the lock held, when entries came or went."""
        self._outbox = outbox
        self._on_moved = on_moved
        self._thread.start()

    def wake(self) -> None:
        """Look at once whether there is room for what is on disk; call it with the lock held."""
        self._work.notify()

    def close(self) -> None:
        """Write what is unacknowledged, and end the thread."""
        if self._outbox is None:
            self._spool.close()
            return
        with self._work:
            self._closing = True
            self._work.notify()
        self._thread.join(CLOSE_TIMEOUT_S)

    def _run(self) -> None:
        assert self._outbox is not None, "it was started"
        outbox = self._outbox
        while not self._closing:
            with self._work:
                self._work.wait(WRITE_AFTER_S)
            now = time.monotonic()
            if now >= self._write_again_s:
                # What is put in while nothing else can be is written at once.
                stands_still = outbox.room <= 0 and not outbox.is_online
                put_before_s = math.inf if stands_still else now - WRITE_AFTER_S
                if not self._write(outbox, put_before_s=put_before_s):
                    self._write_again_s = now + RETRY_S
            if now >= self._read_again_s and not self._read(outbox):
                self._read_again_s = now + RETRY_S
            self._say_note()
            self._measure(now)
        self._write(outbox, put_before_s=math.inf)
        self._spool.close()

    def _write(self, outbox: SpooledOutbox, *, put_before_s: float) -> bool:
        """Write what has waited for long; False if the disk does not take it."""
        while True:
            with self._work:
                self._spool.release(outbox.position)
                entries = outbox.seal_unwritten(put_before_s=put_before_s, max_bytes=GROUP_BYTES)
            try:
                if not entries:
                    self._flush()
                    return True
                self._spool.append([self._record(outbox, each) for each in entries])
            except SpoolError as error:
                how = "new frames are kept in memory only, as many as the window takes"
                self._complain("spool_not_written", str(error), how=how)
                return False
            finally:
                self._note_written(outbox, entries)

    def _note_written(self, outbox: SpooledOutbox, entries: Sequence[Entry]) -> None:
        stop = self._spool.stop
        written = [each for each in entries if each.stop <= stop]
        if written:
            with self._work:
                outbox.note_written(written)
                self._on_moved()

    def _flush(self) -> None:
        """Let the disk forget what is acknowledged, though nothing comes in its place."""
        now = time.monotonic()
        if self._closing or now - self._flushed_s >= FLUSH_EVERY_S:
            self._flushed_s = now
            self._spool.flush()

    def _read(self, outbox: SpooledOutbox) -> bool:
        """Read back what there is room for; False if the disk does not give it."""
        with self._work:
            first, count = outbox.stored_first, outbox.window_room
            if not outbox.is_online or first == outbox.stored_stop or not count:
                return True
        try:
            records = self._spool.read(first, max_records=count, max_bytes=READ_BYTES)
        except SpoolError as error:
            # Frames go out in order, so all that come later wait for these.
            how = f"the stream waits for {outbox.stored_stop - first} frames on it; mend its disk"
            self._complain("spool_not_read", str(error), how=how)
            return False
        entries = [entry_from(each, first, run_id=self._run_id) for each in records]
        with self._work:
            outbox.put_back(entries)
            self._on_moved()
        return True

    def _complain(self, name: str, reason: str, *, how: str) -> None:
        if self._complaints[name].is_due(time.monotonic()):
            logger.error(name, extra={"reason": reason, "how": how})

    def _measure(self, now: float) -> None:
        """Note how full the spool is, for reports; while the disk does not say, as it was."""
        if now - self._measured_s >= MEASURE_EVERY_S:
            self._measured_s = now
            with suppress(SpoolError):
                self.used_bytes = self._spool.used_bytes()

    def _say_note(self) -> None:
        """Say that the file was found damaged while it was in use, and what became of it."""
        if self._spool.note != self._said_note and self._spool.can_write:
            self._said_note = self._spool.note
            logger.error("spool_damaged", extra={"reason": self._said_note})

    def _record(self, outbox: SpooledOutbox, entry: Entry) -> Record:
        try:
            pieces = encode(entry.message(), max_message_bytes=MOST_MESSAGE_BYTES)
        except PayloadError as error:
            # It cannot be sent, either.
            with self._work:
                outbox.fail(entry, task="", reason=str(error))
            pieces = encode(entry.message())
        content = packed(pieces, entry.captured_s, run_id=self._run_id)
        if len(content) > self._spool.record_bytes:
            reason = f"it takes {len(content)} bytes, more than a record of this spool may"
            how = (
                "a crash loses it, and so does an outage that fills the window: raise --spool-limit"
            )
            self._complain("frame_not_spooled", f"frame {entry.first}: {reason}", how=how)
            ended = Ended(ranges=(failed(entry.first, entry.stop, reason),))
            content = packed(encode(ended), (), run_id=self._run_id)
        return Record(first=entry.first, stop=entry.stop, content=content)

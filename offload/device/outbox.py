"""What a device has sent or will send, and what it must keep until the cloud has stored it.

Pure. An `Outbox` holds the frames of one stream in order, from the first that is not acknowledged;
an acknowledgement releases from the front, a reconnect rewinds to where the cloud stands. Without
locks: its owner brings one.

With a spool (see ``spooling``) the stream goes on behind a full window while there is no
connection. In order, the frames are then in three places::

    entries          the window: in memory, on disk as well once they are `Entry.on_disk`
    stored_frames    on disk only
    behind           in memory, on their way to the disk
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Final

from offload.messages import MAX_RANGES, Ended, Frame, Outcome, OutcomeRange, extend_ranges

# Frames with a capture time in one entry. In an outage they join it without end, and at 32 bytes
# for each the window has to become full some day: one of 1024 entries holds 128 MB then.
MAX_TIMES: Final = 4096


@dataclass(slots=True, kw_only=True)
class Entry:
    """One message that waits for its acknowledgement: a frame, or a run of ended frames.

    Attributes:
        first: Sequence number of its first frame.
        frame: The frame; None where the frames ended on the device.
        ranges: The ended frames' outcomes.
        captured_s: Monotonic capture time of each of its frames, in order; dropped ones have none.
        sent_s: Monotonic time of the last send; None before the first.
        split: The frame's split; 0 for ended frames.
        message_bytes: Size of its message, once it was sent.
        put_s: Monotonic time when it was put in.
        is_sealed: Whether it is about to be written to disk as it is, or was.
        on_disk: Whether it was written to disk.
    """

    first: int
    frame: Frame | None = None
    ranges: list[OutcomeRange] = field(default_factory=list)
    captured_s: list[float] = field(default_factory=list)
    sent_s: float | None = None
    split: int = 0
    message_bytes: int = 0
    put_s: float = 0.0
    is_sealed: bool = False
    on_disk: bool = False

    @property
    def stop(self) -> int:
        """One past the last sequence number."""
        return self.ranges[-1].stop if self.ranges else self.first + 1

    @property
    def payload_bytes(self) -> int:
        """Bytes of the frame's buffers; 0 for ended frames."""
        return sum(len(each) for each in self.frame.buffers) if self.frame is not None else 0

    def message(self) -> Frame | Ended:
        """Return what goes over the wire."""
        return self.frame if self.frame is not None else Ended(ranges=tuple(self.ranges))


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One frame, or a run of frames that ended alike, is finished and stored.

    ``captured_s`` has one monotonic time per frame, but none for dropped ones; ``finished_s`` is
    when the device learned it. ``sent_s`` and ``residence_s`` are None for frames that ended on
    the device, and their ``message_bytes`` is 0. ``decode_s`` is 0 where it is not known.
    """

    outcome: OutcomeRange
    split: int
    captured_s: tuple[float, ...]
    finished_s: float
    sent_s: float | None = None
    residence_s: float | None = None
    decode_s: float = 0.0
    message_bytes: int = 0


class Outbox:
    """The unacknowledged frames of one stream, in order.

    Args:
        position: Sequence number of the first frame that will be put in.
        max_entries: The window: most entries that may wait for acknowledgement.
    """

    def __init__(self, *, position: int, max_entries: int) -> None:
        """Start empty."""
        self._entries: deque[Entry] = deque()
        self._unsent = 0
        self.position = position
        self.next_seq = position
        self.max_entries = max_entries
        self.resent = 0

    def __len__(self) -> int:
        """Return the number of entries in the window."""
        return len(self._entries)

    @property
    def room(self) -> int:
        """How many more entries may be put in now."""
        return self.max_entries - len(self._entries)

    @property
    def window_stop(self) -> int:
        """One past the last frame that may have been sent."""
        return self._entries[-1].stop if self._entries else self.position

    @property
    def has_unsent(self) -> bool:
        """Whether an entry waits to be sent."""
        return self._unsent < len(self._entries)

    @property
    def frames(self) -> int:
        """The number of frames that wait for acknowledgement, ended ones among them."""
        return self.next_seq - self.position

    def put_frame(self, frame: Frame, *, captured_s: float, now: float = 0.0) -> None:
        """Append a frame at ``now``."""
        assert frame.seq == self.next_seq
        self._append(
            Entry(
                first=frame.seq, frame=frame, captured_s=[captured_s], split=frame.split, put_s=now
            )
        )
        self.next_seq += 1

    def put_ended(
        self, ended: OutcomeRange, *, captured_s: Sequence[float], now: float = 0.0
    ) -> None:
        """Append ended frames; they join neighbours that have not been sent or written yet."""
        assert ended.first == self.next_seq
        last = self._last_unsent()
        if last is None or not _may_join(last):
            last = Entry(first=ended.first, put_s=now)
            self._append(last)
        extend_ranges(last.ranges, ended)
        # Dropped frames have no latency. In an outage there may be millions of them.
        if ended.outcome is not Outcome.DROPPED:
            last.captured_s += captured_s
        self.next_seq = ended.stop

    def take(self, now: float) -> Entry:
        """Return the next entry to send and mark it as sent at ``now``."""
        entry = self._entries[self._unsent]
        if entry.sent_s is not None:
            self.resent += entry.stop - entry.first
        entry.sent_s = now
        self._unsent += 1
        return entry

    def rewind(self) -> None:
        """Send every entry again, from the first: the connection before is gone."""
        self._unsent = 0

    def fail(self, entry: Entry, *, task: str, reason: str) -> None:
        """Turn a frame that cannot be sent into a failed one, to be sent instead."""
        entry.ranges = [
            OutcomeRange(
                first=entry.first, count=1, outcome=Outcome.FAILED, task=task, reason=reason
            )
        ]
        entry.frame = None

    def acknowledge(
        self,
        next_seq: int,
        exceptions: Sequence[OutcomeRange],
        residences_s: Sequence[float],
        now: float,
        *,
        decodes_s: Sequence[float] = (),
    ) -> list[Delivered]:
        """Release all before ``next_seq`` and return how they ended.

        Args:
            next_seq: One past the last frame that is finished and stored.
            exceptions: Those of them that the cloud ended without a result.
            residences_s: Seconds in the cloud of each frame message among them; may be shorter.
            now: Monotonic seconds.
            decodes_s: Seconds to decode each of these, in the cloud; may be shorter, too.
        """
        residences, decodes = iter(residences_s), iter(decodes_s)
        delivered: list[Delivered] = []
        while self._entries and self._entries[0].stop <= next_seq:
            entry = self._entries.popleft()
            self._unsent = max(0, self._unsent - 1)
            if entry.frame is None:
                delivered += _ended_here(entry, now)
            else:
                outcome = _ended_in_cloud(entry, exceptions)
                delivered.append(
                    Delivered(
                        outcome=outcome,
                        split=entry.split,
                        captured_s=tuple(entry.captured_s),
                        finished_s=now,
                        sent_s=entry.sent_s,
                        residence_s=next(residences, None),
                        decode_s=next(decodes, 0.0),
                        message_bytes=entry.message_bytes,
                    )
                )
        self.position = max(self.position, next_seq)
        self.next_seq = max(self.next_seq, next_seq)
        return delivered

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)

    def _last_unsent(self) -> Entry | None:
        return self._entries[-1] if self.has_unsent else None


class SpooledOutbox(Outbox):
    """An outbox that goes on behind a full window while there is no connection.

    Args:
        position: Sequence number of the first frame that is not acknowledged.
        stored_stop: One past the last frame that is on disk; ``position`` if none is.
        max_entries: The window, and how much may be on its way to the disk.

    Attributes:
        is_online: Whether there is a connection that answers; its owner sets it.
        stored_first: The first frame that is on disk only.
        stored_stop: One past the last of these.
    """

    def __init__(self, *, position: int, stored_stop: int, max_entries: int) -> None:
        """Start with what an earlier run has left on disk."""
        super().__init__(position=position, max_entries=max_entries)
        self.is_online = False
        self.stored_first = position
        self.stored_stop = self.next_seq = max(position, stored_stop)
        self._behind: deque[Entry] = deque()

    @property
    def has_backlog(self) -> bool:
        """Whether frames wait behind the window."""
        return self.stored_first < self.stored_stop or bool(self._behind)

    @property
    def room(self) -> int:
        """How many more entries may be put in now."""
        return self.max_entries - len(self._line_to_join)

    def acknowledge(
        self,
        next_seq: int,
        exceptions: Sequence[OutcomeRange],
        residences_s: Sequence[float],
        now: float,
        *,
        decodes_s: Sequence[float] = (),
    ) -> list[Delivered]:
        """Release all before ``next_seq``, and let what is behind move up."""
        delivered = super().acknowledge(
            next_seq, exceptions, residences_s, now, decodes_s=decodes_s
        )
        self._move_up()
        return delivered

    @property
    def window_room(self) -> int:
        """How many entries may be put back into the window."""
        return self.max_entries - len(self._entries)

    def seal_unwritten(self, *, put_before_s: float, max_bytes: int) -> list[Entry]:
        """Return what is to be written to disk next, in order; it stays as it is from now on.

        Args:
            put_before_s: Nothing that was put in later.
            max_bytes: No more after so many bytes of payload.
        """
        found: list[Entry] = []
        payload_bytes = 0
        for each in chain(self._entries, self._behind):
            if each.put_s > put_before_s or payload_bytes >= max_bytes:
                break
            if not each.on_disk:
                each.is_sealed = True
                found.append(each)
                payload_bytes += each.payload_bytes
        return found

    def note_written(self, entries: Sequence[Entry]) -> None:
        """Note what is on disk; behind the window nothing else needs to be kept of it."""
        for each in entries:
            each.on_disk = True
        while self._behind and self._behind[0].on_disk:
            gone = self._behind.popleft()
            if self.stored_first == self.stored_stop:
                self.stored_first = gone.first
            self.stored_stop = gone.stop

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Take entries that were read from disk into the window, from `stored_first` on."""
        for each in entries:
            each.on_disk = each.is_sealed = True
            self._entries.append(each)
            self.stored_first = each.stop
        self._move_up()

    @property
    def _line_to_join(self) -> deque[Entry]:
        if self.has_backlog or (not self.is_online and len(self._entries) >= self.max_entries):
            return self._behind
        return self._entries

    def _append(self, entry: Entry) -> None:
        self._line_to_join.append(entry)

    def _last_unsent(self) -> Entry | None:
        if self._line_to_join is self._entries:
            return super()._last_unsent()
        return self._behind[-1] if self._behind else None

    def _move_up(self) -> None:
        """Take what is behind, and needs no reading from disk, into the window."""
        if self.stored_first < self.stored_stop:
            return
        while self._behind and len(self._entries) < self.max_entries:
            self._entries.append(self._behind.popleft())


def _may_join(last: Entry) -> bool:
    """Return whether ended frames may join ``last``, which was not sent."""
    # A message has to fit its envelope. Outcomes take turns all the time, as when two tasks filter,
    # and no message leaves while there is no connection.
    return (
        last.frame is None
        and last.sent_s is None
        and not last.is_sealed
        and len(last.ranges) < MAX_RANGES
        and len(last.captured_s) < MAX_TIMES
    )


def _ended_here(entry: Entry, now: float) -> list[Delivered]:
    times = iter(entry.captured_s)
    return [
        Delivered(
            outcome=each,
            split=0,
            captured_s=() if each.outcome is Outcome.DROPPED else tuple(islice(times, each.count)),
            finished_s=now,
        )
        for each in entry.ranges
    ]


def _ended_in_cloud(entry: Entry, exceptions: Sequence[OutcomeRange]) -> OutcomeRange:
    for each in exceptions:
        if each.first <= entry.first < each.stop:
            return replace(each, first=entry.first, count=1)
    return OutcomeRange(first=entry.first, count=1, outcome=Outcome.RESULT)

"""What a device has sent or will send, and what it must keep until the cloud has stored it.

Pure. An `Outbox` holds the frames of one stream in order, from the first that is not acknowledged;
an acknowledgement releases from the front, a reconnect rewinds to where the cloud stands. Without
locks: its owner brings one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
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
    """

    first: int
    frame: Frame | None = None
    ranges: list[OutcomeRange] = field(default_factory=list)
    captured_s: list[float] = field(default_factory=list)
    sent_s: float | None = None
    split: int = 0
    message_bytes: int = 0

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
    the device, and their ``message_bytes`` is 0.
    """

    outcome: OutcomeRange
    split: int
    captured_s: tuple[float, ...]
    finished_s: float
    sent_s: float | None = None
    residence_s: float | None = None
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
        """Return the number of entries that wait for acknowledgement."""
        return len(self._entries)

    @property
    def is_full(self) -> bool:
        """Whether the window has no room for another entry."""
        return len(self._entries) >= self.max_entries

    @property
    def has_unsent(self) -> bool:
        """Whether an entry waits to be sent."""
        return self._unsent < len(self._entries)

    @property
    def frames(self) -> int:
        """The number of frames that wait for acknowledgement, ended ones among them."""
        return self.next_seq - self.position

    def put_frame(self, frame: Frame, *, captured_s: float) -> None:
        """Append a frame."""
        assert frame.seq == self.next_seq
        self._entries.append(
            Entry(first=frame.seq, frame=frame, captured_s=[captured_s], split=frame.split)
        )
        self.next_seq += 1

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Append ended frames; they join neighbours that have not been sent yet."""
        assert ended.first == self.next_seq
        last = self._entries[-1] if self.has_unsent else None
        # A message has to fit its envelope. Outcomes take turns all the time, as when two tasks
        # filter, and no message leaves while there is no connection.
        full = last is not None and (
            len(last.ranges) >= MAX_RANGES or len(last.captured_s) >= MAX_TIMES
        )
        if last is None or last.frame is not None or last.sent_s is not None or full:
            last = Entry(first=ended.first)
            self._entries.append(last)
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
    ) -> list[Delivered]:
        """Release all before ``next_seq`` and return how they ended.

        Args:
            next_seq: One past the last frame that is finished and stored.
            exceptions: Those of them that the cloud ended without a result.
            residences_s: Seconds in the cloud of each frame message among them; may be shorter.
            now: Monotonic seconds.
        """
        residences = iter(residences_s)
        delivered: list[Delivered] = []
        while self._entries and self._entries[0].stop <= next_seq:
            entry = self._entries.popleft()
            self._unsent = max(0, self._unsent - 1)
            if entry.frame is None:
                delivered += _ended_here(entry, now)
            else:
                residence_s = next(residences, None)
                delivered.append(_ended_in_cloud(entry, exceptions, residence_s, now))
        self.position = max(self.position, next_seq)
        self.next_seq = max(self.next_seq, next_seq)
        return delivered


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


def _ended_in_cloud(
    entry: Entry, exceptions: Sequence[OutcomeRange], residence_s: float | None, now: float
) -> Delivered:
    outcome = OutcomeRange(first=entry.first, count=1, outcome=Outcome.RESULT)
    for each in exceptions:
        if each.first <= entry.first < each.stop:
            outcome = replace(each, first=entry.first, count=1)
    return Delivered(
        outcome=outcome,
        split=entry.split,
        captured_s=tuple(entry.captured_s),
        finished_s=now,
        sent_s=entry.sent_s,
        residence_s=residence_s,
        message_bytes=entry.message_bytes,
    )

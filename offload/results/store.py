"""What every store of results is given and gives back, and the rules that all of them keep.

A stream's position only moves forward, over frames that are covered once. `goes_on` holds every
store to that, before it changes anything. Several servers may share a store, and a stream belongs
to the one that opened it last: each opening begins a new epoch, and commits of an older one are
stale.

    for commit in commits:
        if not goes_on(commit, stored=places.get(commit.stream)):
            stale.append(commit)
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from offload.errors import LocalProtocolError
from offload.messages import MAX_SEQ, Outcome, OutcomeRange


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One frame's result; ``value`` is what `pack_result` gave, the times are wall clocks."""

    seq: int
    captured_at: float
    received_at: float
    split: int
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamCommit:
    """Frames of one stream that are finished, and the positions before and after them.

    ``epoch`` is that of the record with which its program opened the stream. ``results`` and
    ``ended`` (filtered, failed, dropped) lie between ``first_seq``, where the stream has to stand,
    and ``next_seq``, and do not overlap. ``state`` and ``closed_at`` replace what is stored unless
    None. ``at`` is the wall clock at which failures are booked.
    """

    stream: str
    epoch: int
    first_seq: int
    results: tuple[Result, ...] = ()
    ended: tuple[OutcomeRange, ...] = ()
    next_seq: int
    state: bytes | None = None
    closed_at: float | None = None
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamRecord:
    """What is stored of one stream: its position, its counts, and the state of its tasks.

    ``epoch`` says how often it was opened.
    """

    stream: str
    device: str
    app: str
    owner: str
    opened_at: float
    epoch: int
    closed_at: float | None = None
    next_seq: int = 0
    results: int = 0
    filtered: int = 0
    failed: int = 0
    dropped: int = 0
    state: bytes | None = None


# A device keeps at most 1024 messages until they are acknowledged.
MAX_ENDED_FRAMES: Final = 2048


class ResultsStore(ABC):
    """Where results go. ``durable`` says whether they survive this process."""

    durable: ClassVar[bool]

    @abstractmethod
    def open_stream(
        self, *, stream: str, device: str, app: str, owner: str, now: float
    ) -> StreamRecord:
        """Return the stream's record, made new at position 0 if there is none.

        A stream that exists keeps its device, app, owner and ``opened_at``, is marked open again,
        and begins a new epoch: what was to be committed in the one before is stale from now on. If
        the given owner or app differs, nothing changes: compare the record, and refuse.

        Raises:
            ResultsError: The store cannot be written.
        """

    @abstractmethod
    def commit(self, commits: Sequence[StreamCommit]) -> list[StreamCommit]:
        """Store ``commits`` in one transaction, in order; a stream may occur repeatedly.

        Returns:
            Those that are stale: nothing of them is stored, since the stream has been opened again
            after their ``epoch``, stands elsewhere than at their ``first_seq``, or is not there
            any more.

        Raises:
            LocalProtocolError: A commit covers a frame twice, or one that is not between its
                positions; nothing of ``commits`` is stored.
            ResultsError: The store cannot be written; nothing of ``commits`` is stored.
        """

    @abstractmethod
    def ended_between(self, stream: str, first: int, stop: int) -> list[OutcomeRange]:
        """Return which of the stored frames from ``first`` to before ``stop`` have no result.

        It answers a device whose last acknowledgements were lost, so it covers the newest
        `MAX_ENDED_FRAMES` frames before ``stop`` only: more than any device holds. Whether a frame
        without a result was filtered or dropped is not told apart; the device knows what it
        dropped.

        Raises:
            ResultsError: The store cannot be read.
        """

    @abstractmethod
    def close(self) -> None:
        """Release the store; what was committed stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a stream stands: how often it was opened, and one past its last frame."""

    epoch: int
    next_seq: int


def goes_on(commit: StreamCommit, *, stored: Place | None) -> bool:
    """Return whether ``commit`` goes on from where the stream stands; None if there is no stream.

    Frames may be missing in it: a stream that was acknowledged before goes on in a new store.

    Raises:
        LocalProtocolError: The commit covers a frame twice, or one that is not between its
            positions.
    """
    if any(each.outcome is Outcome.RESULT for each in commit.ended):
        raise LocalProtocolError(f"ended range of stream {commit.stream!r} claims results")
    spans = [(each.seq, each.seq + 1) for each in commit.results]
    spans += [(each.first, each.stop) for each in commit.ended]
    spans.sort()
    done = commit.first_seq
    for first, stop in spans:
        if not done <= first < stop:
            raise LocalProtocolError(
                f"commit to stream {commit.stream!r} has frames {first} to {stop},"
                f" expected none before {done}"
            )
        done = stop
    if not done <= commit.next_seq <= MAX_SEQ:
        raise LocalProtocolError(
            f"commit to stream {commit.stream!r} moves to {commit.next_seq},"
            f" expected {done} at least"
        )
    # Positions are compared, too: the program of another version knows no epochs.
    return stored == Place(epoch=commit.epoch, next_seq=commit.first_seq)


def count_outcomes(commit: StreamCommit) -> Counter[Outcome]:
    """Return how many frames of ``commit`` ended in each way."""
    counts = Counter({Outcome.RESULT: len(commit.results)})
    for each in commit.ended:
        counts[each.outcome] += each.count
    return counts

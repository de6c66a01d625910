"""Keep results, one transaction for many frames: outcomes and positions go to disk together.

The way in to ``store`` (what a store is given, and its rules), ``sqlite`` and ``values`` (bytes);
beside it stand ``writer``, which commits in the background, and ``cli``. Stores may be used from
several threads.

    store = open_results("sqlite:results.db")
    record = store.open_stream(stream="s", device="pi", app="ball", owner="home", now=now)
    seq = record.next_seq
    result = Result(seq=seq, ..., value=pack_result({"area": 7}))
    commit = StreamCommit(
        stream="s", epoch=record.epoch, first_seq=seq, results=(result,), next_seq=seq + 1, at=now
    )
    stale = store.commit([commit])
    store.close()

``python3 -m offload.results`` exports, summarises and follows a results file.
"""

import threading
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError
from offload.messages import Outcome, OutcomeRange
from offload.results.store import (
    MAX_ENDED_FRAMES,
    Place,
    Result,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    goes_on,
)
from offload.results.values import pack_result, pack_state, unpack_result, unpack_state

__all__ = [
    "MAX_MEMORY_STREAMS",
    "MemoryResults",
    "Result",
    "ResultsStore",
    "StreamCommit",
    "StreamRecord",
    "open_results",
    "pack_result",
    "pack_state",
    "unpack_result",
    "unpack_state",
]

# Without a file, positions are all that is kept. This is far above the streams that one server
# serves at once, so what is forgotten has long been idle.
MAX_MEMORY_STREAMS: Final = 100_000


def open_results(url: str) -> ResultsStore:
    """Open the store that ``url`` names: ``sqlite:FILE`` or ``none``.

    Raises:
        ConfigurationError: The URL is of another kind, or its file cannot be used.
    """
    kind, _, rest = url.partition(":")
    if url == "none":
        return MemoryResults()
    if kind == "sqlite" and rest:
        # Here, because a program that keeps no results file should not load SQLite.
        from offload.results.sqlite import SqliteResults

        return SqliteResults(Path(rest))
    if kind in ("postgresql", "postgres"):
        # The URL itself is not shown, since it may hold a password.
        raise ConfigurationError(
            "results in PostgreSQL are not supported by this version, expected sqlite:FILE or none"
        )
    shown = kind if "://" in url else url
    raise ConfigurationError(f"results URL is {shown!r}, expected sqlite:FILE or none")


class MemoryResults(ResultsStore):
    """Positions and counts in memory, no results: exactly once only while this process lives."""

    durable = False

    def __init__(self) -> None:
        """Start without streams."""
        self._lock = threading.Lock()
        # In the order of their last use, so that the first is the one to forget.
        self._kept: dict[str, _Kept] = {}
        self._epochs = count(1)

    def commit(self, commits: Sequence[StreamCommit]) -> list[StreamCommit]:
        """Advance positions and counts; see `ResultsStore.commit`."""
        with self._lock:
            # All are checked before any is stored.
            places: dict[str, Place] = {}
            fitting: list[StreamCommit] = []
            stale: list[StreamCommit] = []
            for each in commits:
                kept = self._kept.get(each.stream)
                stored = None if kept is None else places.get(each.stream, kept.place)
                if goes_on(each, stored=stored):
                    places[each.stream] = Place(epoch=each.epoch, next_seq=each.next_seq)
                    fitting.append(each)
                else:
                    stale.append(each)
            for each in fitting:
                kept = self._kept.pop(each.stream)
                self._kept[each.stream] = kept
                kept.advance(each)
            return stale

    def open_stream(
        self, *, stream: str, device: str, app: str, owner: str, now: float
    ) -> StreamRecord:
        """Return the stream's record, new or as kept; see `ResultsStore.open_stream`."""
        with self._lock:
            kept = self._kept.pop(stream, None)
            if kept is None:
                kept = _Kept(stream=stream, device=device, app=app, owner=owner, opened_at=now)
            if (kept.owner, kept.app) == (owner, app):
                kept.closed_at = None
                # None is used twice: a stream that was forgotten may be here again.
                kept.epoch = next(self._epochs)
            self._kept[stream] = kept
            if len(self._kept) > MAX_MEMORY_STREAMS:
                del self._kept[next(iter(self._kept))]
            return kept.record()

    def ended_between(self, stream: str, first: int, stop: int) -> list[OutcomeRange]:
        """Return which frames have no result; see `ResultsStore.ended_between`."""
        with self._lock:
            kept = self._kept.get(stream)
            ended = list(kept.ended) if kept is not None else []
        first = max(first, stop - MAX_ENDED_FRAMES)
        return [each for each in ended if each.stop > first and each.first < stop]

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


@dataclass(slots=True, kw_only=True)
class _Kept:
    """A stream in memory; unlike a `StreamRecord` it changes, since it does for every frame."""

    stream: str
    device: str
    app: str
    owner: str
    opened_at: float
    epoch: int = 0
    closed_at: float | None = None
    next_seq: int = 0
    results: int = 0
    counts: Counter[Outcome] = field(default_factory=Counter)
    state: bytes | None = None
    ended: deque[OutcomeRange] = field(default_factory=lambda: deque(maxlen=MAX_ENDED_FRAMES))

    @property
    def place(self) -> Place:
        return Place(epoch=self.epoch, next_seq=self.next_seq)

    def advance(self, commit: StreamCommit) -> None:
        self.next_seq = commit.next_seq
        self.results += len(commit.results)
        for each in commit.ended:
            self.counts[each.outcome] += each.count
            self.ended.append(each)
        if commit.state is not None:
            self.state = commit.state
        if commit.closed_at is not None:
            self.closed_at = commit.closed_at

    def record(self) -> StreamRecord:
        return StreamRecord(
            stream=self.stream,
            device=self.device,
            app=self.app,
            owner=self.owner,
            opened_at=self.opened_at,
            epoch=self.epoch,
            closed_at=self.closed_at,
            next_seq=self.next_seq,
            results=self.results,
            filtered=self.counts[Outcome.FILTERED],
            failed=self.counts[Outcome.FAILED],
            dropped=self.counts[Outcome.DROPPED],
            state=self.state,
        )

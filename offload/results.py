"""Keep results, one transaction for many frames: outcomes and positions go to disk together.

The way in to the four modules behind it: ``results_store`` (what a store is given, and its rules),
``results_sqlite``, ``results_values`` (bytes) and ``results_cli``. Stores may be used from several
threads.

    store = open_results("sqlite:results.db")
    record = store.open_stream(stream="s", device="pi", app="ball", owner="home", now=now)
    result = Result(seq=record.next_seq, ..., value=pack_result({"area": 7}))
    store.commit([StreamCommit(stream="s", results=(result,), next_seq=result.seq + 1, at=now)])
    store.close()

``python3 -m offload.results`` exports, summarises and follows a results file.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from offload.errors import ConfigurationError
from offload.messages import Outcome, OutcomeRange
from offload.results_sqlite import SqliteResults, connect_reader
from offload.results_store import (
    MAX_ENDED_FRAMES,
    Result,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    check_commit,
    count_outcomes,
)
from offload.results_values import pack_result, pack_state, unpack_result, unpack_state

__all__ = [
    "MAX_MEMORY_STREAMS",
    "MemoryResults",
    "Result",
    "ResultsStore",
    "SqliteResults",
    "StreamCommit",
    "StreamRecord",
    "connect_reader",
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
        self._records: dict[str, StreamRecord] = {}
        self._ended: dict[str, deque[OutcomeRange]] = {}

    def commit(self, commits: Sequence[StreamCommit]) -> None:
        """Advance positions and counts; see `ResultsStore.commit`."""
        with self._lock:
            changed: dict[str, StreamRecord] = {}
            for each in commits:
                record = changed.get(each.stream) or self._records.get(each.stream)
                check_commit(each, stored=None if record is None else record.next_seq)
                assert record is not None
                changed[each.stream] = _advanced(record, each)
            for stream, record in changed.items():
                del self._records[stream]
                self._records[stream] = record
            for each in commits:
                recent = self._ended.setdefault(each.stream, deque(maxlen=MAX_ENDED_FRAMES))
                recent.extend(each.ended)

    def open_stream(
        self, *, stream: str, device: str, app: str, owner: str, now: float
    ) -> StreamRecord:
        """Return the stream's record, new or as kept; see `ResultsStore.open_stream`."""
        with self._lock:
            record = self._records.pop(stream, None)
            if record is None:
                record = StreamRecord(
                    stream=stream, device=device, app=app, owner=owner, opened_at=now
                )
            elif (record.owner, record.app) == (owner, app):
                record = replace(record, closed_at=None)
            self._records[stream] = record
            if len(self._records) > MAX_MEMORY_STREAMS:
                forgotten = next(iter(self._records))
                del self._records[forgotten]
                self._ended.pop(forgotten, None)
            return record

    def ended_between(self, stream: str, first: int, stop: int) -> list[OutcomeRange]:
        """Return which frames have no result; see `ResultsStore.ended_between`."""
        with self._lock:
            ended = list(self._ended.get(stream, ()))
        first = max(first, stop - MAX_ENDED_FRAMES)
        return [each for each in ended if each.stop > first and each.first < stop]

    def close(self) -> None:
        """Do nothing; there is nothing to release."""


def _advanced(record: StreamRecord, commit: StreamCommit) -> StreamRecord:
    counts = count_outcomes(commit)
    return replace(
        record,
        next_seq=commit.next_seq,
        results=record.results + counts[Outcome.RESULT],
        filtered=record.filtered + counts[Outcome.FILTERED],
        failed=record.failed + counts[Outcome.FAILED],
        dropped=record.dropped + counts[Outcome.DROPPED],
        state=record.state if commit.state is None else commit.state,
        closed_at=record.closed_at if commit.closed_at is None else commit.closed_at,
    )


if __name__ == "__main__":
    from offload.results_cli import main

    raise SystemExit(main())

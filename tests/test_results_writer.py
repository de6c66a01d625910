"""Commits in the background: groups, a store that cannot be written, and the end."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from offload.errors import TaskError
from offload.messages import Outcome, OutcomeRange
from offload.results import (
    MemoryResults,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    pack_result,
    unpack_result,
    unpack_state,
)
from offload.results import sqlite as results_sqlite
from offload.results import values as results_values
from offload.results import writer as results_writer
from offload.results.sqlite import SqliteResults
from offload.results.writer import Finished, ResultsWriter, Settled, no_state, settle
from offload.values import Value

LONG_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture
def store(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqliteResults]:
    # A locked file is found out at once and tried again at once.
    monkeypatch.setattr(results_sqlite, "BUSY_TIMEOUT_S", 0.0)
    monkeypatch.setattr(results_writer, "RETRY_S", 0.01)
    with closing(SqliteResults(path)) as opened:
        for stream in ("a", "b"):
            record(opened, stream)
        yield opened


def record(store: ResultsStore, stream: str = "a") -> StreamRecord:
    return store.open_stream(stream=stream, device="pi", app="app", owner="home", now=1.0)


def finished(seq: int, *, stream: str = "a", state: int | None = None) -> Finished:
    return Finished(
        stream=stream,
        epoch=1,
        outcome=OutcomeRange(first=seq, count=1, outcome=Outcome.RESULT),
        value=pack_result(seq),
        state=None if state is None else {"total": state},
    )


def ended(first: int, count: int, outcome: Outcome, *, epoch: int = 1) -> Finished:
    ranged = OutcomeRange(first=first, count=count, outcome=outcome)
    return Finished(stream="a", epoch=epoch, outcome=ranged)


def ignore(_: list[Finished]) -> None:
    """Do nothing with what was committed."""


def never(stale: list[Finished]) -> None:
    raise AssertionError(f"nobody else writes, and yet this is stale: {stale}")


def new_writer(
    store: ResultsStore,
    on_committed: Callable[[list[Finished]], None] = ignore,
    *,
    on_stale: Callable[[list[Finished]], None] = never,
    wall_clock: Callable[[], float] = time.time,
) -> ResultsWriter:
    return ResultsWriter(store, on_committed=on_committed, on_stale=on_stale, wall_clock=wall_clock)


class Committed:
    """What was committed, batch by batch; the first batch is held up until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[Finished]] = []
        self.has_first = threading.Event()
        self.may_go_on = threading.Event()
        self.came = threading.Semaphore(0)

    def __call__(self, batch: list[Finished]) -> None:
        self.batches.append(batch)
        self.has_first.set()
        self.came.release()
        assert self.may_go_on.wait(LONG_S)


class Complaint(logging.Handler):
    """Says when the writer has found that it cannot write."""

    def __init__(self) -> None:
        super().__init__()
        self.came = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if record.message == "results_not_written":
            self.came.set()

    def handle(self, record: logging.LogRecord) -> bool:
        record.message = record.getMessage()
        return super().handle(record)


@pytest.fixture
def complaint() -> Iterator[Complaint]:
    handler = Complaint()
    results_writer.logger.addHandler(handler)
    yield handler
    results_writer.logger.removeHandler(handler)


@pytest.fixture
def lock(store: SqliteResults, path: Path) -> Iterator[sqlite3.Connection]:
    """Another program's hold on the file."""
    del store
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


def test_what_finishes_during_a_commit_is_one_group_over_all_streams(store: SqliteResults) -> None:
    committed = Committed()
    writer = new_writer(store, committed)
    frames = [finished(0), finished(1), finished(0, stream="b"), finished(2)]
    writer.put(frames[0])
    assert committed.has_first.wait(LONG_S)
    for each in frames[1:]:
        writer.put(each)
    committed.may_go_on.set()
    assert writer.close(timeout_s=LONG_S) == []
    assert committed.batches == [frames[:1], frames[1:]]
    assert (record(store, "a").next_seq, record(store, "b").next_seq) == (3, 1)


def test_commits_keep_their_distance(store: SqliteResults, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_writer, "COMMIT_DISTANCE_S", 10 * LONG_S)
    committed = Committed()
    committed.may_go_on.set()
    writer = new_writer(store, committed)
    frames = [finished(seq) for seq in range(5)]
    writer.put(frames[0])
    assert committed.came.acquire(timeout=LONG_S)
    for each in frames[1:]:
        writer.put(each)
    assert writer.close(timeout_s=LONG_S) == []
    assert committed.batches == [frames[:1], frames[1:]]


def test_a_frame_that_waits_for_others_is_committed_without_them(store: SqliteResults) -> None:
    committed = Committed()
    committed.may_go_on.set()
    writer = new_writer(store, committed)
    for seq in range(3):
        writer.put(finished(seq))
        assert committed.came.acquire(timeout=LONG_S)
    assert writer.close(timeout_s=LONG_S) == []
    assert len(committed.batches) == 3


def test_every_outcome_reaches_the_store(store: SqliteResults) -> None:
    writer = new_writer(store)
    writer.put(finished(0))
    writer.put(ended(1, 2, Outcome.FILTERED))
    writer.put(ended(3, 1, Outcome.FAILED))
    writer.put(ended(4, 3, Outcome.DROPPED))
    assert writer.close(timeout_s=LONG_S) == []
    kept = record(store)
    assert (kept.results, kept.filtered, kept.failed, kept.dropped) == (1, 2, 1, 3)
    assert kept.next_seq == 7


def test_the_state_after_the_last_frame_of_a_group_is_kept(store: SqliteResults) -> None:
    committed = Committed()
    writer = new_writer(store, committed)
    writer.put(finished(0, state=10))
    assert committed.has_first.wait(LONG_S)
    for each in (finished(1, state=11), finished(2, state=12), ended(3, 1, Outcome.FILTERED)):
        writer.put(each)
    committed.may_go_on.set()
    assert writer.close(timeout_s=LONG_S) == []
    assert len(committed.batches) == 2
    state = record(store).state
    assert state is not None
    assert unpack_state(state) == {"total": 12}


def test_the_end_of_a_stream_is_stored_and_counts_no_frame(
    store: SqliteResults, path: Path
) -> None:
    writer = new_writer(store, wall_clock=lambda: 77.0)
    nothing = OutcomeRange(first=1, count=0, outcome=Outcome.DROPPED)
    writer.put(finished(0))
    writer.put(Finished(stream="a", epoch=1, outcome=nothing, closes=True))
    assert writer.close(timeout_s=LONG_S) == []
    with closing(results_sqlite.connect_reader(path)) as reader:
        row = reader.execute(
            "SELECT closed_at, next_seq, dropped FROM streams WHERE stream = 'a'"
        ).fetchone()
    assert row == (77.0, 1, 0)


def test_nothing_is_acknowledged_until_a_locked_file_can_be_written_again(
    store: SqliteResults,
    lock: sqlite3.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tries, commit = threading.Semaphore(0), store.commit

    def counted(commits: Sequence[StreamCommit]) -> list[StreamCommit]:
        tries.release()
        return commit(commits)

    monkeypatch.setattr(store, "commit", counted)
    committed = Committed()
    committed.may_go_on.set()
    writer = new_writer(store, committed)
    writer.put(finished(0))
    for _ in range(3):
        assert tries.acquire(timeout=LONG_S)
    assert committed.batches == []
    lock.execute("ROLLBACK")
    assert committed.has_first.wait(LONG_S)
    assert writer.close(timeout_s=LONG_S) == []
    assert record(store).next_seq == 1
    # However often it was tried, the user is told once that it fails and once that it is over.
    names = [each.message for each in caplog.records]
    assert names == ["results_not_written", "results_written_again"]


@pytest.mark.usefixtures("lock")
def test_closing_while_the_file_is_locked_says_that_something_is_lost(
    store: SqliteResults, complaint: Complaint
) -> None:
    committed = Committed()
    writer = new_writer(store, committed)
    writer.put(finished(0))
    assert complaint.came.wait(LONG_S)
    assert writer.close(timeout_s=LONG_S) == [finished(0)]
    assert committed.batches == []


def test_of_a_batch_only_what_another_program_has_opened_since_is_stale(
    store: SqliteResults, path: Path
) -> None:
    committed = Committed()
    stale: list[list[Finished]] = []
    writer = new_writer(store, committed, on_stale=stale.append)
    b = [finished(seq, stream="b") for seq in range(2)]
    writer.put(b[0])
    assert committed.has_first.wait(LONG_S)
    with closing(SqliteResults(path)) as elsewhere:
        other = new_writer(elsewhere)
        other.put(ended(0, 3, Outcome.FILTERED, epoch=record(elsewhere).epoch))
        assert other.close(timeout_s=LONG_S) == []
    for each in (finished(0), b[1], finished(1)):
        writer.put(each)
    committed.may_go_on.set()
    assert writer.close(timeout_s=LONG_S) == []
    assert committed.batches == [b[:1], b[1:]]
    assert stale == [[finished(0), finished(1)]]
    assert (record(store, "a").next_seq, record(store, "a").results) == (3, 0)
    assert record(store, "b").next_seq == 2


def test_what_is_stale_in_memory_is_told_when_put_returns() -> None:
    store = MemoryResults()
    record(store)
    record(store)
    new_writer(store).put(ended(0, 3, Outcome.FILTERED, epoch=2))
    stale: list[list[Finished]] = []
    new_writer(store, never, on_stale=stale.append).put(finished(0))
    assert stale == [[finished(0)]]
    assert record(store).next_seq == 3


def test_closing_an_idle_writer_ends_it(store: SqliteResults) -> None:
    assert new_writer(store).close(timeout_s=LONG_S) == []


def test_a_store_in_memory_has_a_frame_when_put_returns() -> None:
    store = MemoryResults()
    record(store)
    committed: list[list[Finished]] = []
    writer = new_writer(store, committed.append)
    for each in (finished(0), ended(1, 2, Outcome.FILTERED)):
        writer.put(each)
        assert committed[-1] == [each]
    assert (record(store).results, record(store).next_seq) == (1, 3)
    assert writer.close(timeout_s=LONG_S) == []


def test_a_state_that_is_too_large_is_said_and_the_result_is_kept(
    store: SqliteResults, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_values, "MAX_STATE_BYTES", 10_000)
    writer = new_writer(store)
    writer.put(replace(finished(0), state={"total": np.zeros(10_001, np.uint8)}))
    assert writer.close(timeout_s=LONG_S) == []
    assert (record(store).results, record(store).state) == (1, None)
    assert [each.message for each in caplog.records] == ["state_not_kept"]


# What a frame's tasks brought.


def settled(
    *,
    filtered_by: str | None = None,
    error: TaskError | None = None,
    result: Value = 5,
    snapshot: Callable[[], dict[str, Value] | None] = no_state,
) -> Settled:
    return settle(
        7,
        filtered_by=filtered_by,
        error=error,
        result=result,
        last_task="store",
        snapshot=snapshot,
    )


def outcome(kind: Outcome, *, task: str = "", reason: str = "") -> OutcomeRange:
    return OutcomeRange(first=7, count=1, outcome=kind, task=task, reason=reason)


def test_a_result_is_packed_with_the_state_after_it() -> None:
    found = settled(snapshot=lambda: {"total": 3})
    assert found.outcome == outcome(Outcome.RESULT)
    assert found.value is not None
    assert unpack_result(found.value) == 5
    assert found.state == {"total": 3}


def test_a_filtered_frame_has_no_result_and_a_state() -> None:
    found = settled(filtered_by="detect", snapshot=lambda: {"total": 3})
    assert found == Settled(
        outcome=outcome(Outcome.FILTERED, task="detect"), value=None, state={"total": 3}
    )


def test_a_failed_frame_names_its_task_and_keeps_the_state() -> None:
    found = settled(error=TaskError("detect", "raised ValueError"), snapshot=lambda: {"total": 3})
    failed = outcome(Outcome.FAILED, task="detect", reason="raised ValueError")
    assert found == Settled(outcome=failed, value=None, state={"total": 3})


def test_a_result_that_cannot_be_stored_fails_the_frame_of_the_last_task() -> None:
    found = settled(result={"found": {1, 2}})
    assert (found.outcome.outcome, found.outcome.task) == (Outcome.FAILED, "store")
    assert found.outcome.reason.startswith("returned a result: ")
    assert found.value is None


@pytest.mark.parametrize(
    ("error", "task"), [(None, "count"), (TaskError("detect", "raised ValueError"), "detect")]
)
def test_a_snapshot_that_raises_fails_the_frame_unless_it_has_failed_before(
    error: TaskError | None, task: str
) -> None:
    def snapshot() -> None:
        raise TaskError("count", "cannot be stored")

    found = settled(error=error, snapshot=snapshot)
    assert (found.outcome.outcome, found.outcome.task) == (Outcome.FAILED, task)
    assert (found.value, found.state) == (None, None)

"""Commit finished frames in the background, many at a time, in one transaction.

Both programs use it: the cloud for its sessions, the device in client-only mode. What finishes
while a commit is under way waits for the next one, so that groups grow by themselves as the disk
gets slower; and one commit begins a few milliseconds after the other at the earliest.

    writer = ResultsWriter(store, on_committed=acknowledge, on_stale=give_up)
    writer.put(Finished(...))
    left = writer.close(timeout_s=10.0)
"""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from offload.errors import PayloadError, ResultsError, TaskError
from offload.messages import Outcome, OutcomeRange
from offload.results import Result, ResultsStore, StreamCommit, pack_result, pack_state
from offload.throttle import Complaint
from offload.values import Value

logger = logging.getLogger(__name__)

# A commit costs processor time however few frames it has, and wears out a memory card. What
# finishes so soon after the last one waits for company.
COMMIT_DISTANCE_S: Final = 4e-3

# Returns the state of a stream's tasks, or None if they offer none; raises `TaskError`.
Snapshot = Callable[[], dict[str, Value] | None]

# A full disk is retried at this pace; nothing is acknowledged meanwhile, so nothing is lost.
RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One frame, or a run of frames that ended alike, with its outcome and what it cost.

    Attributes:
        stream: Name of the stream.
        epoch: That of the record with which the stream was opened.
        outcome: What became of which frames.
        split: Tasks that ran on the device.
        captured_at: Wall clock at capture, seconds since 1970.
        received_at: Wall clock of this machine when the frame came, seconds since 1970.
        value: The packed result; None unless the outcome is a result.
        state: Snapshot of the stream's stateful tasks after this frame; None if they offer none.
        received_s: Monotonic seconds when the last byte came; None where nothing was received.
        decode_s: Seconds for which its values were decoded here.
        task_seconds: Index of each task that ran here, and its seconds.
        held_bytes: Bytes that it held in memory while it waited here.
        closes: Whether this marks the end of the stream, after its last frame; ``outcome`` is then
            of no frame.
    """

    stream: str
    epoch: int
    outcome: OutcomeRange
    split: int = 0
    captured_at: float = 0.0
    received_at: float = 0.0
    value: bytes | None = None
    state: dict[str, Value] | None = None
    received_s: float | None = None
    decode_s: float = 0.0
    task_seconds: dict[int, float] = field(default_factory=dict)
    held_bytes: int = 0
    closes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """How a frame ended that has run as far as it goes; see `settle`."""

    outcome: OutcomeRange
    value: bytes | None
    state: dict[str, Value] | None


def no_state() -> None:
    """Take no snapshot: where the store ends with the process, so does the state."""


def settle(
    seq: int,
    *,
    filtered_by: str | None,
    error: TaskError | None,
    result: Value,
    last_task: str,
    snapshot: Snapshot,
) -> Settled:
    """Pack what a frame's tasks brought; a result or a state that cannot be taken fails the frame.

    Args:
        seq: The frame.
        filtered_by: Name of the task that ended it, if one did.
        error: The task that raised, if one did.
        result: What the last task returned; of no meaning if the frame ended before.
        last_task: Name of the last task.
        snapshot: Returns the state of the stream's tasks, or raises `TaskError`. It is taken of
            every frame: one that ends early may have changed the state of a task before.
    """
    value: bytes | None = None
    state: dict[str, Value] | None = None
    try:
        state = snapshot()
        if error is None and filtered_by is None:
            value = pack_result(result)
    except PayloadError as problem:
        error = TaskError(last_task, f"returned a result: {problem}")
    except TaskError as problem:
        error = error or problem.released()
    task, reason, kind = filtered_by or "", "", Outcome.FILTERED
    if error is not None:
        task, reason, kind = error.task, error.reason, Outcome.FAILED
    elif filtered_by is None:
        kind = Outcome.RESULT
    outcome = OutcomeRange(first=seq, count=1, outcome=kind, task=task, reason=reason)
    return Settled(outcome=outcome, value=value, state=state)


class ResultsWriter:
    """A thread that commits; for a store in memory, which never waits, whoever puts does it.

    Args:
        store: Where results are kept. Other programs may write to it, too.
        on_committed: Called after each transaction, in the thread that did it, with what it covered
            in order; it must be quick.
        on_stale: Called like it, and after it, with what was not stored, and never will be: another
            program has opened the stream since. What still comes of it is stale, too.
        wall_clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: ResultsStore,
        *,
        on_committed: Callable[[list[Finished]], None],
        on_stale: Callable[[list[Finished]], None],
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Start the thread."""
        self._store = store
        self._on_committed = on_committed
        self._on_stale = on_stale
        self._wall_clock = wall_clock
        self._changed = threading.Condition()
        self._waiting: list[Finished] = []
        # What is being committed.
        self._batch: list[Finished] = []
        self._is_asleep = False
        self._commit_began_s = -math.inf
        self._closing = False
        self._is_failing = False
        self._complaint = Complaint()
        self._thread = threading.Thread(target=self._run, name="results-writer", daemon=True)
        self._thread.start()

    def put(self, finished: Finished) -> None:
        """Hand over a finished frame; those of one stream must come in order."""
        if not self._store.durable:
            commit = _commit_of(finished.stream, [finished], self._wall_clock())
            self._tell([finished], self._store.commit([commit]))
            return
        with self._changed:
            self._waiting.append(finished)
            # While it commits or keeps its distance it need not hear of each frame.
            if self._is_asleep:
                self._changed.notify()

    def close(self, *, timeout_s: float) -> list[Finished]:
        """Commit what is left and end the thread; return what was not committed in this time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            return self._batch + self._waiting

    def _run(self) -> None:
        while batch := self._next_batch():
            commits = _commits(batch, self._wall_clock())
            while (stale := self._commit(commits)) is None:
                with self._changed:
                    if self._changed.wait_for(lambda: self._closing, RETRY_S):
                        return
            with self._changed:
                self._batch = []
            self._tell(batch, stale)

    def _next_batch(self) -> list[Finished]:
        """Wait for frames and return them; none at the end."""
        with self._changed:
            self._is_asleep = True
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._is_asleep = False
            if not self._waiting:
                return []
            pause_s = self._commit_began_s + COMMIT_DISTANCE_S - time.monotonic()
            if pause_s > 0:
                self._changed.wait_for(lambda: self._closing, pause_s)
            self._commit_began_s = time.monotonic()
            self._batch, self._waiting = self._waiting, []
            return self._batch

    def _commit(self, commits: Sequence[StreamCommit]) -> list[StreamCommit] | None:
        """Commit, and return what was stale; None if the store cannot be written."""
        try:
            stale = self._store.commit(commits)
        except ResultsError as error:
            self._is_failing = True
            if self._complaint.is_due(time.monotonic()):
                logger.error("results_not_written", extra={"reason": str(error)})
            return None
        if self._is_failing:
            self._is_failing, self._complaint = False, Complaint()
            logger.warning("results_written_again")
        return stale

    def _tell(self, batch: list[Finished], stale: Sequence[StreamCommit]) -> None:
        """Tell what became of a batch whose commits of some streams were stale."""
        if not stale:
            self._on_committed(batch)
            return
        streams = {each.stream for each in stale}
        if stored := [each for each in batch if each.stream not in streams]:
            self._on_committed(stored)
        self._on_stale([each for each in batch if each.stream in streams])


def _commits(batch: Sequence[Finished], now: float) -> list[StreamCommit]:
    by_stream: dict[str, list[Finished]] = {}
    for each in batch:
        by_stream.setdefault(each.stream, []).append(each)
    return [_commit_of(stream, finished, now) for stream, finished in by_stream.items()]


def _commit_of(stream: str, finished: Sequence[Finished], now: float) -> StreamCommit:
    states = [each.state for each in finished if each.state is not None]
    return StreamCommit(
        stream=stream,
        # A stream is opened again by the same program only while nothing of it waits here.
        epoch=finished[0].epoch,
        first_seq=finished[0].outcome.first,
        results=tuple([_result(each, each.value) for each in finished if each.value is not None]),
        ended=tuple(
            each.outcome
            for each in finished
            if each.outcome.outcome is not Outcome.RESULT and not each.closes
        ),
        next_seq=max(each.outcome.stop for each in finished),
        # Each frame's snapshot covers all before it, so the last one is the one to keep; only it is
        # packed.
        state=_packed_state(stream, states[-1]) if states else None,
        closed_at=now if any(each.closes for each in finished) else None,
        at=now,
    )


def _result(finished: Finished, value: bytes) -> Result:
    return Result(
        seq=finished.outcome.first,
        captured_at=finished.captured_at,
        received_at=finished.received_at,
        split=finished.split,
        value=value,
    )


def _packed_state(stream: str, state: dict[str, Value]) -> bytes | None:
    """Return the state for the store, or None if it cannot be stored: results matter more."""
    try:
        return pack_state(state)
    except PayloadError as error:
        logger.error("state_not_kept", extra={"stream": stream, "reason": str(error)})
        return None

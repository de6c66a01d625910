"""A power cut between any two syncs loses nothing that was stored before, on either side."""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from offload.messages import Outcome, OutcomeRange
from offload.results import (
    Result,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    pack_result,
    unpack_result,
)
from offload.results.sqlite import SqliteResults, connect_reader
from offload.spool import Record, Spool, spool_path
from offload.spool.limits import MIN_LIMIT_BYTES
from tests.faults.storage import Cut, Stored, cut_off

FRAMES: Final = 1000

# How many states are looked at, besides those where the log was on its way into the file.
STATES: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Something that stores frames, and knows what must be there after a power cut.

    Attributes:
        path: Its file.
        copy: Where states of the file are put.
        store_next: Stores one frame more; it is on disk when this returns.
        check: Opens the copy. What all calls but the last one stored must be there; what that one
            stored is there or not.
    """

    path: Path
    copy: Path
    store_next: Callable[[], None]
    check: Callable[[], None]


def check_states(run: Run, *, seed: int, states_into_file: int) -> Counter[Cut]:
    """Store all frames, and check states between syncs; return how many, by what was cut off.

    ``states_into_file`` are looked at each time that the log was put into the file.
    """
    rng = random.Random(seed)
    chosen = frozenset(rng.sample(range(FRAMES), STATES))
    seen: Counter[Cut] = Counter()
    before = Stored.read(run.path)
    for number in range(FRAMES):
        run.store_next()
        after = Stored.read(run.path)
        states = int(number in chosen) + (states_into_file if before.file != after.file else 0)
        for _ in range(states):
            cut = cut_off(before, after, rng)
            cut.stored.write(run.copy)
            run.check()
            seen[cut.during] += 1
        before = after
    return seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a spool holds after a sync."""

    first: int
    records: tuple[Record, ...]

    @property
    def stop(self) -> int:
        return self.records[-1].stop


class SpoolRun:
    """A spool that is appended to and released from; what it must hold before and after."""

    def __init__(self, folder: Path, copies: Path, *, seed: int) -> None:
        self.copies = copies
        self._rng = random.Random(seed)
        self._spool = self._open(folder)
        first = Record(first=0, stop=1, content=b"first")
        self._spool.append([first])
        self.old = self.new = Expected(first=0, records=(first,))

    def store_next(self) -> None:
        rng, stop = self._rng, self._spool.stop
        content = rng.randbytes(rng.choice((0, 50, 400, 5000)))
        record = Record(first=stop, stop=stop + rng.choice((1, 1, 5)), content=content)
        self._spool.release(rng.randint(stop - 200, stop - 20))
        self._spool.append([record])
        kept = tuple(each for each in self.new.records if each.stop > self._spool.first)
        self.old = self.new
        self.new = Expected(first=self._spool.first, records=(*kept, record))

    def check(self) -> None:
        with closing(self._open(self.copies)) as spool:
            assert spool.stop in (self.old.stop, self.new.stop)
            expected = self.old if spool.stop == self.old.stop else self.new
            assert spool.first == expected.first
            assert spool.read(spool.first, max_bytes=1 << 30) == list(expected.records)
            assert spool.note == ""
            spool.append([Record(first=spool.stop, stop=spool.stop + 1, content=b"next")])

    def close(self) -> None:
        self._spool.close()

    def _open(self, folder: Path) -> Spool:
        return Spool(folder, stream="s", pipeline="p", limit_bytes=MIN_LIMIT_BYTES)


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_power_cut_takes_nothing_from_a_spool_that_was_appended_before(
    tmp_path: Path, seed: int
) -> None:
    folder, copies = tmp_path / "spool", tmp_path / "copies"
    copies.mkdir()
    with closing(SpoolRun(folder, copies, seed=seed)) as spool:
        run = Run(
            path=spool_path(folder, "s"),
            copy=spool_path(copies, "s"),
            store_next=spool.store_next,
            check=spool.check,
        )
        seen = check_states(run, seed=seed, states_into_file=1)
    assert min(seen[Cut.LOG], seen[Cut.FILE]) >= STATES
    assert not [each for each in copies.iterdir() if "damaged" in each.name]


class ResultsRun:
    """Results that are committed frame by frame; what they must hold before and after."""

    def __init__(self, path: Path, copy: Path) -> None:
        self._copy = copy
        self._store = SqliteResults(path)
        record = self._open_stream(self._store)
        self._next_seq, self._epoch = record.next_seq, record.epoch

    def store_next(self) -> None:
        seq = self._next_seq
        self._next_seq += 1
        state = b"%d" % self._next_seq
        if seq % 7 == 3:
            failed = OutcomeRange(first=seq, count=1, outcome=Outcome.FAILED, reason="no ball")
            commit = StreamCommit(
                stream="s",
                epoch=self._epoch,
                first_seq=seq,
                ended=(failed,),
                next_seq=seq + 1,
                at=1.0,
                state=state,
            )
        else:
            value = pack_result({"seq": seq, "bytes": random.Random(seq).randbytes(seq % 5 * 900)})
            result = Result(seq=seq, captured_at=1.0, received_at=2.0, split=1, value=value)
            commit = StreamCommit(
                stream="s",
                epoch=self._epoch,
                first_seq=seq,
                results=(result,),
                next_seq=seq + 1,
                at=1.0,
                state=state,
            )
        self._store.commit([commit])

    def check(self) -> None:
        with closing(SqliteResults(self._copy)) as store:
            record = self._open_stream(store)
            position = record.next_seq
            assert position in (self._next_seq - 1, self._next_seq)
            assert record.state == (b"%d" % position if position else None)
        with closing(connect_reader(self._copy)) as connection:
            rows = connection.execute("SELECT seq, value FROM results ORDER BY seq").fetchall()
            failures = connection.execute("SELECT seq FROM failures ORDER BY seq").fetchall()
        assert [seq for seq, _ in rows] == [seq for seq in range(position) if seq % 7 != 3]
        assert [seq for (seq,) in failures] == [seq for seq in range(position) if seq % 7 == 3]
        for seq, value in rows[-20:]:
            expected = {"seq": seq, "bytes": random.Random(seq).randbytes(seq % 5 * 900)}
            assert unpack_result(value) == expected

    def close(self) -> None:
        self._store.close()

    def _open_stream(self, store: ResultsStore) -> StreamRecord:
        return store.open_stream(stream="s", device="pi", app="ball", owner="home", now=9.0)


@pytest.mark.slow
def test_a_power_cut_takes_nothing_from_results_that_were_committed_before(tmp_path: Path) -> None:
    path, copy = tmp_path / "results.db", tmp_path / "copy.db"
    with closing(ResultsRun(path, copy)) as results:
        run = Run(path=path, copy=copy, store_next=results.store_next, check=results.check)
        # SQLite puts its log into the file every thousand pages.
        seen = check_states(run, seed=3, states_into_file=10)
    assert seen[Cut.LOG] >= STATES
    assert seen[Cut.FILE] >= 5

"""Results stores, and the command that reads their files."""

import csv
import json
import math
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload import results as results_module
from offload.errors import ConfigurationError, LocalProtocolError, PayloadError, ResultsError
from offload.messages import MAX_SEQ, Outcome, OutcomeRange
from offload.results import (
    MemoryResults,
    Result,
    ResultsStore,
    StreamCommit,
    StreamRecord,
    open_results,
    pack_result,
    pack_state,
    unpack_result,
    unpack_state,
)
from offload.results import sqlite as results_sqlite
from offload.results import values as results_values
from offload.results.reading import json_value
from offload.results.sqlite import SqliteResults, connect_reader

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.db"


@pytest.fixture(params=["sqlite", "none"])
def store(request: pytest.FixtureRequest, path: Path) -> Iterator[ResultsStore]:
    with closing(open_results("none" if request.param == "none" else f"sqlite:{path}")) as opened:
        yield opened


def open_stream(
    store: ResultsStore, stream: str = "s", *, owner: str = "home", app: str = "ball"
) -> StreamRecord:
    return store.open_stream(stream=stream, device="pi", app=app, owner=owner, now=100.0)


def look(store: ResultsStore, stream: str = "s") -> StreamRecord:
    """Return what is stored of a stream; a stranger who asks for it does not open it."""
    return open_stream(store, stream, owner="stranger")


def result(seq: int, value: object = None) -> Result:
    return Result(
        seq=seq, captured_at=seq + 0.5, received_at=1000.0 + seq, split=3, value=pack_result(value)
    )


def ended(first: int, count: int, outcome: Outcome) -> OutcomeRange:
    return OutcomeRange(first=first, count=count, outcome=outcome, task="find", reason="no ball")


def results_commit(first: int, stop: int, *, stream: str = "s", epoch: int = 1) -> StreamCommit:
    found = tuple(result(seq, {"seq": seq}) for seq in range(first, stop))
    return StreamCommit(
        stream=stream, epoch=epoch, first_seq=first, results=found, next_seq=stop, at=5.0
    )


def rows(path: Path, query: str) -> list[Any]:
    with closing(connect_reader(path)) as connection:
        return connection.execute(query).fetchall()


# Stores


def test_a_new_stream_starts_at_position_zero(store: ResultsStore) -> None:
    record = open_stream(store)
    expected = StreamRecord(
        stream="s", device="pi", app="ball", owner="home", opened_at=100.0, epoch=1
    )
    assert record == expected
    assert record.next_seq == 0


def test_every_outcome_moves_the_position_and_is_counted(store: ResultsStore) -> None:
    open_stream(store)
    commit = StreamCommit(
        stream="s",
        epoch=1,
        first_seq=0,
        results=(result(0), result(4)),
        ended=(
            ended(1, 2, Outcome.FILTERED),
            ended(3, 1, Outcome.FAILED),
            ended(5, 3, Outcome.DROPPED),
        ),
        next_seq=8,
        at=5.0,
    )
    store.commit([commit, results_commit(8, 10)])
    record = open_stream(store)
    assert (record.results, record.filtered, record.failed, record.dropped) == (4, 2, 1, 3)
    assert record.next_seq == 10


def test_state_and_closing_time_stay_unless_a_commit_brings_new_ones(store: ResultsStore) -> None:
    open_stream(store)
    store.commit([replace(results_commit(0, 1), state=b"one", closed_at=200.0)])
    store.commit([results_commit(1, 2)])
    assert (look(store).state, look(store).closed_at) == (b"one", 200.0)
    store.commit([replace(results_commit(2, 3), state=b"two")])
    assert look(store).state == b"two"


def test_opening_a_closed_stream_again_marks_it_as_open(store: ResultsStore) -> None:
    open_stream(store)
    store.commit([replace(results_commit(0, 1), closed_at=200.0)])
    assert open_stream(store).closed_at is None


@pytest.mark.parametrize("changed", [{"owner": "other"}, {"app": "other"}])
def test_a_stream_keeps_its_owner_and_app_and_what_others_ask_changes_nothing(
    store: ResultsStore, changed: dict[str, str]
) -> None:
    open_stream(store)
    store.commit([replace(results_commit(0, 1), closed_at=200.0)])
    record = open_stream(store, **changed)
    assert (record.owner, record.app, record.closed_at) == ("home", "ball", 200.0)
    assert store.commit([results_commit(1, 2)]) == []


def test_streams_do_not_share_positions(store: ResultsStore) -> None:
    for name, stop in (("a", 3), ("b", 1)):
        epoch = open_stream(store, name).epoch
        store.commit([results_commit(0, stop, stream=name, epoch=epoch)])
    assert [look(store, name).next_seq for name in ("a", "b")] == [3, 1]


def commit_at(first: int, stop: int, *parts: Result | OutcomeRange) -> StreamCommit:
    return StreamCommit(
        stream="s",
        epoch=1,
        first_seq=first,
        results=tuple(each for each in parts if isinstance(each, Result)),
        ended=tuple(each for each in parts if isinstance(each, OutcomeRange)),
        next_seq=stop,
        at=5.0,
    )


@pytest.mark.parametrize(
    "bad",
    [
        commit_at(2, 1),
        commit_at(2, 3, result(1)),
        commit_at(2, 2, result(2)),
        commit_at(2, 3, result(2), result(2)),
        commit_at(2, 4, ended(1, 2, Outcome.FILTERED)),
        commit_at(2, 3, ended(2, 2, Outcome.DROPPED)),
        commit_at(2, 3, ended(2, 1, Outcome.RESULT)),
        commit_at(2, 3, ended(2, 0, Outcome.DROPPED)),
        commit_at(2, MAX_SEQ + 1),
    ],
)
def test_a_commit_that_contradicts_itself_leaves_nothing_of_its_batch(
    store: ResultsStore, bad: StreamCommit
) -> None:
    open_stream(store)
    store.commit([results_commit(0, 2)])
    other = open_stream(store, "neighbour")
    with pytest.raises(LocalProtocolError):
        store.commit([results_commit(0, 5, stream="neighbour", epoch=other.epoch), bad])
    assert (look(store).next_seq, look(store).results) == (2, 2)
    assert look(store, "neighbour") == other


def test_a_store_goes_on_after_a_refused_commit(store: ResultsStore) -> None:
    open_stream(store)
    with pytest.raises(LocalProtocolError):
        store.commit([results_commit(0, 1), commit_at(1, 0)])
    store.commit([results_commit(0, 1)])
    assert look(store).next_seq == 1


@pytest.mark.parametrize(
    "stale",
    [
        # Its frames fit, and yet the stream was opened again.
        results_commit(2, 4, epoch=0),
        results_commit(1, 4),
        # All of its frames are new, and yet those between are missing.
        results_commit(3, 5),
        replace(commit_at(1, 5, result(2)), state=b"stale", closed_at=9.0),
        replace(commit_at(0, 0), closed_at=9.0),
        results_commit(0, 1, stream="never opened"),
    ],
)
def test_of_a_batch_only_the_stale_commit_is_left_out(
    store: ResultsStore, stale: StreamCommit
) -> None:
    open_stream(store)
    store.commit([replace(results_commit(0, 2), state=b"kept")])
    before = look(store)
    epoch = open_stream(store, "neighbour").epoch
    other = results_commit(0, 5, stream="neighbour", epoch=epoch)
    assert store.commit([stale, other]) == [stale]
    assert look(store) == before
    assert look(store, "neighbour").next_seq == 5
    assert store.ended_between("s", 0, 2) == []


def test_what_one_transaction_has_moved_on_is_stale_behind_it(store: ResultsStore) -> None:
    open_stream(store)
    again = results_commit(0, 3)
    assert store.commit([results_commit(0, 2), again, results_commit(2, 4)]) == [again]
    assert (look(store).next_seq, look(store).results) == (4, 4)


def test_of_two_programs_on_one_file_only_the_one_that_opened_a_stream_last_moves_it_on(
    path: Path,
) -> None:
    with closing(SqliteResults(path)) as one, closing(SqliteResults(path)) as other:
        first = open_stream(one).epoch
        assert one.commit([results_commit(0, 1, epoch=first)]) == []
        second = open_stream(other).epoch
        # Nothing was stored meanwhile, so its position fits.
        late = results_commit(1, 3, epoch=first)
        assert one.commit([late]) == [late]
        assert other.commit([results_commit(1, 2, epoch=second)]) == []
        assert one.commit([results_commit(2, 3, epoch=open_stream(one).epoch)]) == []
    assert rows(path, "SELECT seq FROM results ORDER BY seq") == [(0,), (1,), (2,)]


def test_a_stream_that_was_opened_again_is_another_epoch(store: ResultsStore) -> None:
    epochs = [open_stream(store).epoch for _ in range(3)]
    assert epochs == [1, 2, 3]
    assert look(store).epoch == 3


def test_a_stream_that_was_acknowledged_elsewhere_may_go_on_past_a_gap(store: ResultsStore) -> None:
    open_stream(store)
    store.commit([commit_at(0, 500), results_commit(500, 501)])
    assert (look(store).next_seq, look(store).results) == (501, 1)


def test_frames_without_a_result_are_told_again(store: ResultsStore) -> None:
    open_stream(store)
    filtered, failed = ended(1, 2, Outcome.FILTERED), ended(3, 2, Outcome.FAILED)
    commit = replace(results_commit(0, 1), ended=(filtered, failed), next_seq=5)
    store.commit([commit, results_commit(5, 6)])
    told = store.ended_between("s", 0, 6)
    assert [(each.first, each.stop, each.outcome) for each in told] == [
        (1, 3, Outcome.FILTERED),
        (3, 5, Outcome.FAILED),
    ]
    assert (told[1].task, told[1].reason) == ("find", "no ball")
    assert store.ended_between("s", 5, 6) == []


def test_one_thread_commits_while_others_open_streams(store: ResultsStore) -> None:
    open_stream(store)
    opened: list[StreamRecord] = []

    def open_many(prefix: str) -> None:
        opened.extend(open_stream(store, f"{prefix}{index}") for index in range(20))

    threads = [threading.Thread(target=open_many, args=(prefix,)) for prefix in "ab"]
    for thread in threads:
        thread.start()
    for seq in range(40):
        store.commit([results_commit(seq, seq + 1)])
    for thread in threads:
        thread.join()
    assert len({each.stream for each in opened}) == 40
    assert look(store).results == 40


def test_only_the_file_is_durable(path: Path) -> None:
    with closing(SqliteResults(path)) as on_disk:
        assert on_disk.durable
    assert not MemoryResults().durable


def test_memory_forgets_the_stream_that_was_not_used_for_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(results_module, "MAX_MEMORY_STREAMS", 2)
    store = MemoryResults()
    a, b = (
        results_commit(0, 1, stream=name, epoch=open_stream(store, name).epoch) for name in "ab"
    )
    store.commit([b, a])
    open_stream(store, "c")
    assert open_stream(store, "a").next_seq == 1
    # Whoever had opened it before it was forgotten does not get it back by this.
    assert open_stream(store, "b").next_seq == 0
    assert store.commit([b]) == [b]


# The file


def test_a_file_that_is_opened_again_has_everything(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        commit = replace(results_commit(0, 2), ended=(ended(2, 1, Outcome.FILTERED),), next_seq=3)
        store.commit([replace(commit, state=b"state")])
        before = look(store)
    with closing(SqliteResults(path)) as store:
        again = store.open_stream(stream="s", device="x", app="ball", owner="home", now=9.0)
        assert again == replace(before, epoch=2)


def test_what_is_committed_survives_the_process_being_killed(path: Path) -> None:
    program = (
        "import os, sys\n"
        "from offload.results import *\n"
        "store = open_results('sqlite:' + sys.argv[1])\n"
        "store.open_stream(stream='s', device='pi', app='ball', owner='home', now=1.0)\n"
        "found = Result(seq=0, captured_at=1.0, received_at=2.0, split=1, value=b'\\x07')\n"
        "commit = StreamCommit(stream='s', epoch=1, first_seq=0, results=(found,),\n"
        "    next_seq=1, at=2.0)\n"
        "store.commit([commit])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    with closing(SqliteResults(path)) as store:
        assert (open_stream(store).next_seq, open_stream(store).results) == (1, 1)


def test_rows_are_as_the_contract_names_them(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        failed = ended(2, 2, Outcome.FAILED)
        store.commit([replace(commit_at(0, 4, result(1, {"seq": 1}), failed), closed_at=9.0)])
    columns = "stream, seq, captured_at, received_at, split, value"
    expected = [("s", 1, 1.5, 1001.0, 3, pack_result({"seq": 1}))]
    assert rows(path, f"SELECT {columns} FROM results") == expected
    assert rows(path, "SELECT stream, seq, task, reason, at FROM failures ORDER BY seq") == [
        ("s", 2, "find", "no ball", 5.0),
        ("s", 3, "find", "no ball", 5.0),
    ]
    columns = (
        "stream, device, app, owner, opened_at, closed_at, next_seq, filtered, failed, dropped"
    )
    assert rows(path, f"SELECT {columns} FROM streams") == [
        ("s", "pi", "ball", "home", 100.0, 9.0, 4, 0, 2, 0)
    ]


def test_filtered_and_dropped_frames_make_no_rows_however_many(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        many = (ended(0, 10**9, Outcome.FILTERED), ended(10**9, 10**9, Outcome.DROPPED))
        store.commit([commit_at(0, 2 * 10**9, *many)])
        assert open_stream(store).filtered == 10**9
    assert rows(path, "SELECT * FROM results UNION ALL SELECT *, 0 FROM failures") == []


def test_failure_rows_of_one_range_are_bounded_and_its_count_is_exact(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_sqlite, "MAX_FAILURE_ROWS", 3)
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        many = ended(0, 2**61, Outcome.FAILED)
        store.commit([commit_at(0, 2**61, many)])
        assert open_stream(store).failed == 2**61
    assert rows(path, "SELECT seq FROM failures") == [(0,), (1,), (2,)]


def test_a_reason_that_is_no_unicode_is_stored_in_escapes(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        odd = replace(ended(0, 1, Outcome.FAILED), reason="no file '\udcff'")
        store.commit([commit_at(0, 1, odd)])
    assert rows(path, "SELECT reason FROM failures") == [("no file '\\udcff'",)]


def test_the_file_is_written_ahead_and_synchronised_with_each_commit(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[sqlite3.Connection] = []
    connect = results_sqlite._connect

    def keep(path: Path, mode: str) -> sqlite3.Connection:
        opened.append(connect(path, mode))
        return opened[-1]

    monkeypatch.setattr(results_sqlite, "_connect", keep)
    with closing(SqliteResults(path)):
        assert opened[0].execute("PRAGMA journal_mode").fetchone() == ("wal",)
        full = 2
        assert opened[0].execute("PRAGMA synchronous").fetchone() == (full,)


def test_a_write_that_sqlite_refuses_is_a_results_error_and_stores_nothing(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        with closing(sqlite3.connect(path)) as other:
            other.execute(
                "CREATE TRIGGER full BEFORE INSERT ON results WHEN NEW.seq = 2"
                " BEGIN SELECT RAISE(ABORT, 'disk is full'); END"
            )
        with pytest.raises(ResultsError, match=r"cannot be written .*: disk is full") as caught:
            store.commit([results_commit(0, 2), results_commit(2, 3)])
        assert isinstance(caught.value.__cause__, sqlite3.Error)
        assert (look(store).next_seq, look(store).results) == (0, 0)
        store.commit([results_commit(0, 2)])


def test_a_closed_file_refuses_in_words(path: Path) -> None:
    store = SqliteResults(path)
    store.close()
    store.close()
    with pytest.raises(ResultsError):
        store.commit([])
    with pytest.raises(ResultsError):
        open_stream(store)
    with pytest.raises(ResultsError):
        store.ended_between("s", 0, 1)


# Opening


def write_without_epochs(path: Path) -> None:
    """Write a file as version 0.1 did, with a stream that has a result."""
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        store.commit([results_commit(0, 1)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE streams DROP COLUMN epoch")


def test_a_file_of_an_older_version_goes_on(path: Path) -> None:
    write_without_epochs(path)
    with closing(SqliteResults(path)) as store, closing(SqliteResults(path)) as other:
        first = open_stream(store)
        assert (first.next_seq, first.epoch) == (1, 1)
        assert open_stream(other).epoch == 2
        late = results_commit(1, 2, epoch=first.epoch)
        assert store.commit([late]) == [late]


def test_a_file_of_an_older_version_can_be_read_and_stays_as_it_is(path: Path) -> None:
    write_without_epochs(path)
    assert rows(path, "SELECT seq FROM results") == [(0,)]
    assert "epoch" not in [
        name for (name,) in rows(path, "SELECT name FROM pragma_table_info('streams')")
    ]


@pytest.mark.parametrize("name", [":memory:", "a b?mode=ro#%41.db", "ü.db"])
def test_no_file_name_is_special(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_results(f"sqlite:{name}")) as store:
        open_stream(store)
    assert [each.name for each in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "url", ["", "sqlite:", "results.db", "nothing", "none:x", "mysql://h/d", "postgres://h/d"]
)
def test_a_url_of_another_kind_is_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="expected sqlite:FILE or none"):
        open_results(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_a_refused_url_does_not_show_its_password(scheme: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        open_results(f"{scheme}://me:hunter2@host/results")
    assert "hunter2" not in str(caught.value)


def write_text(path: Path) -> None:
    path.write_text("this is a text file, and no database of any kind\n" * 40)


def write_foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE photos(name)")


def write_older(path: Path) -> None:
    with closing(SqliteResults(path)), closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE streams DROP COLUMN owner")


def make_folder(path: Path) -> None:
    path.mkdir()


BAD_FILES = [
    (write_text, "file is not a database"),
    (write_foreign, "table 'results' has no stream"),
    (write_older, "table 'streams' has no owner"),
    (make_folder, "is a folder"),
]


@pytest.mark.parametrize(("write", "reason"), BAD_FILES)
def test_a_file_that_holds_no_results_is_wrong_usage_and_stays_as_it_is(
    path: Path, write: Any, reason: str
) -> None:
    write(path)
    before = None if path.is_dir() else path.read_bytes()
    with pytest.raises(ConfigurationError, match=reason) as caught:
        open_results(f"sqlite:{path}")
    assert "\n" not in str(caught.value)
    assert before is None or path.read_bytes() == before


def test_a_missing_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="folder that does not exist"):
        open_results(f"sqlite:{tmp_path}/missing/results.db")


@pytest.mark.parametrize("mode", [connect_reader, SqliteResults])
def test_a_name_that_the_system_refuses_is_wrong_usage(tmp_path: Path, mode: Any) -> None:
    with pytest.raises(ConfigurationError, match="File name too long"):
        mode(tmp_path / ("x" * 300))


@pytest.mark.parametrize("mode", [connect_reader, SqliteResults])
def test_a_path_that_is_too_long_for_sqlite_is_wrong_usage(tmp_path: Path, mode: Any) -> None:
    folder = tmp_path.joinpath(*["x" * 200] * 4)
    folder.mkdir(parents=True)
    (folder / "results.db").touch()
    with pytest.raises(ConfigurationError, match="unable to open database file"):
        mode(folder / "results.db")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_file_in_a_folder_that_may_not_be_written_can_be_read(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
    path.parent.chmod(0o500)
    try:
        assert rows(path, "SELECT stream FROM streams") == [("s",)]
        with pytest.raises(ConfigurationError, match="cannot be opened"):
            SqliteResults(path)
    finally:
        path.parent.chmod(0o700)


def test_a_file_that_another_process_keeps_locked_is_refused_in_words(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results_sqlite, "BUSY_TIMEOUT_S", 0.01)
    with closing(SqliteResults(path)) as store, closing(sqlite3.connect(path)) as other:
        open_stream(store)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match="database is locked"):
            SqliteResults(path)
        with pytest.raises(ResultsError, match="database is locked"):
            store.commit([results_commit(0, 1)])


# Values


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (None, None),
        ((1, (2.5, "ü")), [1, [2.5, "ü"]]),
        ({"a": b"\x00\xff", "b": [True, False]}, {"a": b"\x00\xff", "b": [True, False]}),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (2**64 - 1, 2**64 - 1),
        (2**64, 2**64),
        (-(2**63) - 1, -(2**63) - 1),
        (10**100, 10**100),
        ([math.inf, -math.inf], [math.inf, -math.inf]),
    ],
)
def test_a_value_comes_back_in_plain_types(value: object, stored: object) -> None:
    found = unpack_result(pack_result(value))
    assert found == stored
    assert type(found) is type(stored)


def test_not_a_number_comes_back() -> None:
    assert math.isnan(unpack_result(pack_result(math.nan)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype="<i2").reshape(2, 3),
        np.arange(6, dtype=">f8")[::2],
        np.zeros((0, 3), np.uint8),
        np.array(5, np.float16),
        np.array([1 + 2j]),
        np.array([[True], [False]]),
        np.asfortranarray(np.arange(12).reshape(3, 4)),
    ],
)
def test_an_array_comes_back_with_dtype_and_shape(array: np.ndarray[Any, Any]) -> None:
    found = unpack_result(pack_result({"a": [array]}))["a"][0]  # type: ignore[index]
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    np.testing.assert_array_equal(found, array)


def nested(depth: int) -> object:
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1, 2},
        {1: "key is no text"},
        {"inner": [{b"bytes": 1}]},
        {(1, 2): 3},
        np.array([object()]),
        np.array([(1, 2)], dtype="i4,i4"),
        np.datetime64("2024-01-01"),
        1j,
        "\ud800",
        nested(10_000),
        10**5000,
        msgpack.ExtType(9, b""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_stored_is_refused(value: object) -> None:
    with pytest.raises(PayloadError, match="result cannot be stored"):
        pack_result(value)


def test_a_result_over_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_values, "MAX_RESULT_BYTES", 100)
    pack_result(bytes(90))
    with pytest.raises(PayloadError, match="expected at most 100"):
        pack_result(bytes(100))


def test_a_stored_result_over_the_limit_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = pack_result(bytes(100))
    monkeypatch.setattr(results_values, "MAX_RESULT_BYTES", len(stored))
    assert unpack_result(stored) == bytes(100)
    monkeypatch.setattr(results_values, "MAX_RESULT_BYTES", len(stored) - 1)
    with pytest.raises(ResultsError, match=f"result is {len(stored)} bytes, expected at most"):
        unpack_result(stored)


def extension(code: int, data: bytes) -> bytes:
    return bytes(msgpack.packb(msgpack.ExtType(code, data)))


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x92\x01",
        b"\x01\x02",
        b"\xc1",
        extension(2, b"seven"),
        extension(1, b"\x00"),
        extension(1, msgpack.packb(["O", [1], bytes(8)])),
        extension(1, msgpack.packb(["<f8", [1], bytes(9)])),
        extension(1, msgpack.packb(["<f8", [2**40], bytes(8)])),
        extension(1, msgpack.packb(["<f8", [2**63 - 1, 2**63 - 1], bytes(8)])),
        extension(1, msgpack.packb(["<f8", [-1], b""])),
        extension(1, msgpack.packb([["<f8"], [1], bytes(8)])),
        extension(1, msgpack.packb(["<f8", [1], "text"])),
    ],
)
def test_bytes_that_are_no_result_are_a_results_error(blob: bytes) -> None:
    with pytest.raises(ResultsError):
        unpack_result(blob)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_results_error(blob: bytes) -> None:
    for read in (unpack_result, unpack_state):
        try:
            read(blob)
        except ResultsError:
            continue


def test_a_state_keeps_the_type_of_everything() -> None:
    state = {"trail": {"last": (1, [2.5]), "speed": np.float32(1.5), "far": 2**80}}
    found: Any = unpack_state(pack_state(state))
    assert found == state
    assert type(found["trail"]["last"]) is tuple
    assert type(found["trail"]["speed"]) is np.float32


@pytest.mark.parametrize("count", [3, 3000])
def test_an_array_in_a_state_can_be_written_to_again(count: int) -> None:
    found: Any = unpack_state(pack_state({"sum": np.arange(count)}))
    found["sum"] += 1
    assert found["sum"][-1] == count


def test_a_state_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results_values, "MAX_STATE_BYTES", 10_000)
    with pytest.raises(PayloadError, match="expected at most 10000"):
        pack_state({"sum": np.zeros(2000)})


@pytest.mark.parametrize("blob", [b"", b"\x05", b"\x92\x05\x90", b"\x92\x80\x91\x05"])
def test_bytes_that_are_no_state_are_a_results_error(blob: bytes) -> None:
    with pytest.raises(ResultsError):
        unpack_state(blob)


# The command


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "offload.results", *map(str, arguments)]


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    # An ASCII locale, as on a device without one set up, must not change what is written.
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    return subprocess.run(
        command(*arguments),
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=False,
    )


@pytest.fixture
def filled(path: Path) -> Path:
    """Two streams: 'ü' with two results, a filtered and a failed frame; 'b' with a hundred."""
    values = ({"xy": np.array([[1.5, math.nan]]), "z": (1, b"\x00\xff")}, 2**70)
    with closing(SqliteResults(path)) as store:
        open_stream(store, "ü")
        store.open_stream(stream="b", device="esc\x1b[2J", app="ball", owner="home", now=200.0)
        first = tuple(result(2 * index, value) for index, value in enumerate(values))
        others = (ended(1, 1, Outcome.FILTERED), ended(3, 2, Outcome.FAILED))
        store.commit(
            [
                StreamCommit(
                    stream="ü",
                    epoch=1,
                    first_seq=0,
                    results=first,
                    ended=others,
                    next_seq=5,
                    at=5.0,
                ),
                results_commit(0, 100, stream="b"),
            ]
        )
    return path


def test_export_writes_one_json_object_per_result_in_order(filled: Path) -> None:
    done = run("export", filled, "--format", "jsonl")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["stream"], line["seq"]) for line in lines] == [
        *(("b", seq) for seq in range(100)),
        ("ü", 0),
        ("ü", 2),
    ]
    assert lines[100] == {
        "stream": "ü",
        "seq": 0,
        "captured_at": 0.5,
        "received_at": 1000.0,
        "split": 3,
        "value": {"xy": [[1.5, None]], "z": [1, "AP8="]},
    }
    assert lines[101]["value"] == 2**70


def test_export_writes_csv_with_the_value_as_json(filled: Path) -> None:
    done = run("export", filled, "--format", "csv")
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = csv.reader(done.stdout.splitlines())
    assert header == ["stream", "seq", "captured_at", "received_at", "split", "value"]
    assert len(lines) == 102
    assert lines[100][:5] == ["ü", "0", "0.5", "1000.0", "3"]
    assert json.loads(lines[100][5]) == {"xy": [[1.5, None]], "z": [1, "AP8="]}


@pytest.mark.parametrize(("stream", "number"), [("b", 100), ("s", 0), ("", 0)])
@pytest.mark.parametrize(("kind", "head_lines"), [("csv", 1), ("jsonl", 0)])
def test_export_writes_one_stream_only_where_it_is_asked_to(
    filled: Path, stream: str, number: int, kind: str, head_lines: int
) -> None:
    done = run("export", filled, "--format", kind, f"--stream={stream}")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == head_lines + number


@pytest.mark.parametrize("moment", [math.nan, math.inf])
def test_export_is_valid_json_whatever_a_device_says_the_time_is(path: Path, moment: float) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        odd = replace(result(0, {"inf": math.inf}), captured_at=moment)
        store.commit([commit_at(0, 1, odd)])
    line = json.loads(run("export", path).stdout, parse_constant=pytest.fail)
    assert (line["captured_at"], line["value"]) == (None, {"inf": None})


def test_summary_shows_each_stream_and_a_total(filled: Path) -> None:
    done = run("summary", filled)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        *[
            [
                "stream",
                "device",
                "app",
                "results",
                "filtered",
                "failed",
                "dropped",
                "next_seq",
                "fps",
            ]
        ],
        ["ü", "pi", "ball", "2", "1", "2", "0", "5", "0.5"],
        ["b", "esc?[2J", "ball", "100", "0", "0", "0", "100", "1.0"],
        ["total", "(2)", "102", "1", "2", "0", "1.0"],
    ]


def test_summary_as_json_has_the_same_numbers(filled: Path) -> None:
    summary = json.loads(run("summary", filled, "--json").stdout)
    assert [each["results"] for each in summary["streams"]] == [2, 100]
    assert summary["streams"][0]["fps"] == 0.5
    assert summary["totals"] == {
        "streams": 2,
        "results": 102,
        "filtered": 1,
        "failed": 2,
        "dropped": 0,
        "fps": pytest.approx(101 / 99),
    }


def test_an_empty_file_of_results_has_a_summary(path: Path) -> None:
    SqliteResults(path).close()
    assert json.loads(run("summary", path, "--json").stdout)["totals"]["fps"] is None
    assert run("summary", path).stdout.splitlines()[1].split() == ["total", "(0)", *"0000", "-"]
    assert run("tail", path).stdout == run("export", path).stdout == ""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], range(90, 100)),
        (["--lines", 2], range(98, 100)),
        (["--lines", 0], []),
        (["--lines", 99], range(1, 100)),
    ],
)
def test_tail_writes_the_results_committed_last(
    filled: Path, options: list[object], expected: range
) -> None:
    done = run("tail", filled, *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert [json.loads(line)["seq"] for line in done.stdout.splitlines()] == list(expected)


def test_tail_follows_what_is_committed_until_it_is_interrupted(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        store.commit([results_commit(0, 3)])
        arguments = command("tail", path, "--follow", "--lines", 1)
        # Unbuffered output would hide a line that is written and not sent.
        environment = {name: each for name, each in os.environ.items() if "UNBUFFERED" not in name}
        with subprocess.Popen(
            arguments,
            cwd=REPOSITORY,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # What a shell runs in the background ignores SIGINT, and hands that on.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stderr is not None
                assert json.loads(process.stdout.readline())["seq"] == 2
                store.commit([results_commit(3, 200)])
                seen = [json.loads(process.stdout.readline())["seq"] for _ in range(197)]
                assert seen == list(range(3, 200))
                process.send_signal(signal.SIGINT)
                assert process.wait(timeout=10) == 130
                assert (process.stdout.read(), process.stderr.read()) == ("", "")
            finally:
                process.kill()


def test_a_reader_that_has_seen_enough_ends_the_command_quietly(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        # More than a pipe holds.
        store.commit([results_commit(0, 3000)])
    with subprocess.Popen(
        command("export", path), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=10) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_one_line(filled: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command("export", filled),
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == b"error: standard output cannot be written: No space left on device\n"


@pytest.mark.parametrize("verb", ["export", "summary", "tail"])
def test_a_file_that_does_not_exist_is_one_line_and_is_not_made(path: Path, verb: str) -> None:
    done = run(verb, path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: results file {str(path)!r} does not exist\n"
    assert not path.exists()


@pytest.mark.parametrize(("write", "reason"), [*BAD_FILES, (Path.touch, "has no stream")])
def test_a_file_that_holds_no_results_is_one_line(path: Path, write: Any, reason: str) -> None:
    write(path)
    done = run("summary", path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["eat"],
        ["export"],
        ["export", "f", "--format", "xml"],
        ["export", "f", "--stream", "\n"],
        ["export", "f", "--stream", "\udcff"],
        ["tail", "f", "--lines", "-1"],
        ["tail", "f", "--lines", "many"],
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str]) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_result_that_is_broken_is_named(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE results SET value = x'c1' WHERE stream = 'b' AND seq = 70")
    done = run("export", filled)
    assert done.returncode == 1
    assert done.stderr.startswith("error: result 70 of stream 'b' cannot be read: ")
    assert len(done.stdout.splitlines()) == 70


def test_a_result_that_is_no_bytes_is_named(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection, connection:
        connection.execute("UPDATE results SET value = 'text' WHERE stream = 'b' AND seq = 70")
    done = run("export", filled)
    assert (done.returncode, done.stderr) == (
        1,
        "error: result 70 of stream 'b' is str, not bytes\n",
    )


def test_a_file_that_is_damaged_on_the_way_is_one_line(filled: Path) -> None:
    with closing(sqlite3.connect(filled)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    data = bytearray(filled.read_bytes())
    # The first page has the tables, which are looked at before.
    data[4096:] = b"\xff" * len(data[4096:])
    filled.write_bytes(data)
    done = run("export", filled)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: results file '{filled}' cannot be read: database disk image is malformed\n"
    )


def test_an_array_of_complex_numbers_is_exported_as_pairs(path: Path) -> None:
    with closing(SqliteResults(path)) as store:
        open_stream(store)
        value = pack_result(np.array([1 + 2j, complex(math.inf, -1)]))
        result = Result(seq=0, captured_at=1.0, received_at=2.0, split=1, value=value)
        store.commit([commit_at(0, 1, result)])
    exported = json.loads(run("export", path).stdout)
    assert exported["value"] == [[1.0, 2.0], [None, -1.0]]


def test_what_no_result_can_hold_is_no_json() -> None:
    with pytest.raises(ResultsError, match="value holds set, which no result can hold"):
        json_value({"found": [{1, 2}]})


def test_help_shows_examples() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "python3 -m offload.results tail results.db --follow" in done.stdout


def test_reading_leaves_the_file_as_it_is(filled: Path) -> None:
    before = filled.read_bytes()
    for verb in ("export", "summary", "tail"):
        assert run(verb, filled).returncode == 0
    assert filled.read_bytes() == before

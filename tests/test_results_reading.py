"""Stored results as people and their programs read them: in order, by stream, by pages."""

import csv
import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import Connection, connect
from typing import Final

import numpy as np
import pytest

from offload.dashboard.stored import MAX_SHOWN_BYTES, read_page
from offload.errors import ResultsError
from offload.results import Result, StreamCommit, open_results, pack_result, reading
from offload.results.reading import (
    BATCH_ROWS,
    COLUMNS,
    committed,
    csv_head,
    csv_line,
    json_line,
    newest,
    rows,
    value_of,
)
from offload.results.sqlite import connect_reader

# More than one batch, so that it matters where the next one begins.
MANY: Final = 2 * BATCH_ROWS + 3


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Connection]:
    """Return a connection to a file with many results of stream b, and some of a and c."""
    with closing(open_results(f"sqlite:{tmp_path / 'results.db'}")) as store:
        for stream, number in (("a", 3), ("b", MANY), ("c", 3)):
            record = store.open_stream(stream=stream, device="pi", app="x", owner="me", now=0.0)
            results = tuple(
                Result(
                    seq=seq,
                    captured_at=float(seq),
                    received_at=float("inf") if seq == 1 else 0.0,
                    split=3,
                    value=pack_result({"text": 'a "b",\nc', "seq": seq}),
                )
                for seq in range(number)
            )
            commit = StreamCommit(
                stream=stream,
                epoch=record.epoch,
                first_seq=0,
                results=results,
                next_seq=number,
                at=0.0,
            )
            assert store.commit([commit]) == []
        with closing(connect_reader(tmp_path / "results.db")) as connection:
            yield connection


def test_all_results_come_by_stream_and_number(reader: Connection) -> None:
    found = [row[:2] for row in rows(reader)]
    expected = [("a", 3), ("b", MANY), ("c", 3)]
    assert found == [(stream, seq) for stream, number in expected for seq in range(number)]


@pytest.mark.parametrize(("stream", "number"), [("a", 3), ("b", MANY), ("c", 3), ("none", 0)])
def test_of_one_stream_nothing_of_another_comes(
    reader: Connection, stream: str, number: int
) -> None:
    assert [row[:2] for row in rows(reader, stream=stream)] == [
        (stream, seq) for seq in range(number)
    ]


def test_of_large_results_few_are_fetched_at_a_time(
    reader: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_) = rows(reader)
    value = first[-1]
    assert isinstance(value, bytes)
    monkeypatch.setattr(reading, "BATCH_BYTES", 2 * len(value))
    queries: list[str] = []
    reader.set_trace_callback(queries.append)
    for found in (rows(reader, stream="a"), committed(reader, 0, 3)):
        assert [row[:2] for row in found] == [("a", seq) for seq in range(3)]
    # Two, one, and none; from either.
    assert len(queries) == 6


@pytest.mark.parametrize(
    ("before", "limit", "expected"),
    [
        (None, 2, [MANY - 1, MANY - 2]),
        (2, 10, [1, 0]),
        (0, 10, []),
        (10**9, 1, [MANY - 1]),
    ],
)
def test_the_newest_results_come_first(
    reader: Connection, before: int | None, limit: int, expected: list[int]
) -> None:
    found = newest(reader, "b", before=before, limit=limit, value_bytes=1000)
    assert [each.row[1] for each in found] == expected


@pytest.mark.parametrize(("spare_bytes", "is_read"), [(-1, False), (0, True)])
def test_a_value_that_is_too_long_to_be_shown_is_not_read(
    reader: Connection, spare_bytes: int, is_read: bool
) -> None:
    *_, value = list(rows(reader, stream="a"))[2]
    assert isinstance(value, bytes)
    (found,) = newest(reader, "a", before=None, limit=1, value_bytes=len(value) + spare_bytes)
    assert found.value_bytes == len(value)
    assert found.row == ("a", 2, 2.0, 0.0, 3, value if is_read else None)


def test_the_pages_table_says_of_a_long_value_how_long_it_is(
    reader: Connection, tmp_path: Path
) -> None:
    assert len(list(rows(reader))) > 3
    values = (pack_result("x" * MAX_SHOWN_BYTES), None, b"\xc1")
    with closing(connect(tmp_path / "results.db")) as connection, connection:
        for seq, value in enumerate(values):
            connection.execute("UPDATE results SET value = ? WHERE seq = ?", (value, seq))
    page = read_page(tmp_path / "results.db", "a", before=None, limit=3)
    shown = [row["value"] for row in reversed(page["rows"])]
    assert shown[0] == f"({MAX_SHOWN_BYTES + 3} bytes: see the download)"
    assert shown[1] == "(result 1 of stream 'a' is NoneType, not bytes)"
    assert shown[2].startswith("(result 2 of stream 'a' cannot be read: ")


def test_a_line_of_either_kind_says_the_same(reader: Connection) -> None:
    row = list(rows(reader, stream="a"))[1]
    named = json.loads(json_line(row))
    assert list(named) == list(COLUMNS)
    assert named["received_at"] is None
    (columns, cells) = csv.reader(io.StringIO(csv_head() + csv_line(row)))
    assert columns == list(COLUMNS)
    assert cells[:2] == ["a", "1"]
    assert json.loads(cells[-1]) == named["value"] == {"text": 'a "b",\nc', "seq": 1}


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        ("=1+cmd|' /C calc'!A0", "'=1+cmd|' /C calc'!A0"),
        *((f"{first}porch", f"'{first}porch") for first in "+-@"),
        ("porch=1", "porch=1"),
        ("-5", "-5"),
        ("-5+cmd", "'-5+cmd"),
    ],
)
def test_no_cell_of_csv_is_a_formula(stream: str, expected: str) -> None:
    line = csv_line((stream, 1, 0.0, 0.0, 3, pack_result("=1")))
    ((name, *_, value),) = csv.reader(io.StringIO(line, newline=""))
    assert name == expected
    assert value == '"=1"'


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("|b1", [[True, False], [True, True]]),
        ("|u1", [[1, 0], [2, 3]]),
        (">i8", [[1, 0], [2, 3]]),
        ("<f4", [[1.0, 0.0], [2.0, 3.0]]),
        ("<c8", [[[1.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [3.0, 0.0]]]),
    ],
)
def test_an_array_of_any_kind_of_numbers_is_nested_lists(dtype: str, expected: object) -> None:
    line = json_line(("porch", 1, 0.0, 0.0, 3, pack_result(np.array([[1, 0], [2, 3]], dtype))))
    assert json.loads(line)["value"] == expected


@pytest.mark.parametrize("value", [-5, -5.25, -1e-7])
def test_numbers_in_csv_are_plain(value: float) -> None:
    line = csv_line(("porch", 1, -0.5, 0.0, 3, pack_result(value)))
    assert line == f"porch,1,-0.5,0.0,3,{value}\n"


@pytest.mark.parametrize("value", [b"\xc1", "text", None])
def test_a_value_that_is_damaged_is_named(value: object) -> None:
    with pytest.raises(ResultsError, match="result 7 of stream 's'"):
        value_of(("s", 7, 0.0, 0.0, 3, value))

"""Downloads of stored results: what comes, what ends them, and that nothing is left of them."""

import asyncio
import csv
import io
import json
import sqlite3
from collections.abc import Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Final

import psutil
import pytest

from offload.dashboard.doors import OpenDoors, Visit
from offload.dashboard.downloads import NICENESS, Downloads
from offload.dashboard.visitors import Visitor, VisitorRole
from offload.errors import ResultsError
from offload.results import Result, StreamCommit, open_results, pack_result
from tests.integration.visitor import wait_until

pytestmark = pytest.mark.integration

# More than the buffers between two programs hold.
MANY: Final = 3000
LONG_TEXT: Final = "x" * 1000

NAMES: Final = ("porch", "-", "--format", "-- x", "=1+1", "ü \N{BASKETBALL AND HOOP}", "a'\"\\ $b")


class LeftVisit:
    """A visit that is over."""

    visitor = Visitor(name="guest", role=VisitorRole.VIEWER)
    is_over = True


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with three results for each of some names, and many of another stream."""
    path = tmp_path / "results.db"
    with closing(open_results(f"sqlite:{path}")) as store:
        for stream, number in (*((name, 3) for name in NAMES), ("many", MANY)):
            record = store.open_stream(stream=stream, device="pi", app="x", owner="me", now=0.0)
            results = tuple(
                Result(
                    seq=seq,
                    captured_at=0.0,
                    received_at=0.0,
                    split=3,
                    value=pack_result([seq, LONG_TEXT]),
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
    return path


@pytest.fixture
def downloads() -> Iterator[Downloads]:
    downloads = Downloads()
    yield downloads
    downloads.close()


def visit() -> Visit:
    found = OpenDoors().visit(None)
    assert found is not None
    return found


async def read(downloads: Downloads, path: Path, stream: str, kind: str) -> str:
    parts = [part async for part in downloads.read(visit(), path, stream, kind)]
    return b"".join(parts).decode()


def children() -> set[psutil.Process]:
    """Return the processes that this one has begun, those included that nobody has waited for."""
    return set(psutil.Process().children())


@pytest.mark.parametrize("stream", NAMES)
def test_all_results_of_a_stream_come_whatever_its_name(
    downloads: Downloads, file: Path, stream: str
) -> None:
    text = asyncio.run(read(downloads, file, stream, "jsonl"))
    found = [json.loads(line) for line in text.splitlines()]
    expected = [(stream, seq, [seq, LONG_TEXT]) for seq in range(3)]
    assert [(each["stream"], each["seq"], each["value"]) for each in found] == expected


def test_in_a_table_no_name_is_a_formula(downloads: Downloads, file: Path) -> None:
    text = asyncio.run(read(downloads, file, "=1+1", "csv"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["stream"] for row in rows] == ["'=1+1"] * 3
    assert [json.loads(row["value"]) for row in rows] == [[seq, LONG_TEXT] for seq in range(3)]


@pytest.mark.parametrize(("kind", "lines"), [("csv", 1), ("jsonl", 0)])
def test_of_a_stream_without_results_no_line_comes(
    downloads: Downloads, file: Path, kind: str, lines: int
) -> None:
    assert len(asyncio.run(read(downloads, file, "none", kind)).splitlines()) == lines


def test_a_result_that_is_damaged_ends_a_download_and_is_named(
    downloads: Downloads, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE results SET value = x'c1' WHERE stream = 'porch' AND seq = 1")
    found = []

    async def gather() -> None:
        async for part in downloads.read(visit(), file, "porch", "jsonl"):
            found.append(part)

    with pytest.raises(ResultsError, match="result 1 of stream 'porch' cannot be read"):
        asyncio.run(gather())
    assert [json.loads(line)["seq"] for line in b"".join(found).splitlines()] == [0]
    assert caplog.messages == ["download_failed"]


def test_a_file_that_is_gone_ends_a_download_and_is_named(
    downloads: Downloads, tmp_path: Path
) -> None:
    with pytest.raises(ResultsError, match=r"none\.db' does not exist"):
        asyncio.run(read(downloads, tmp_path / "none.db", "porch", "csv"))


def test_a_download_ends_with_the_visit(downloads: Downloads, file: Path) -> None:
    found, others = [], children()

    async def gather() -> None:
        async for part in downloads.read(LeftVisit(), file, "many", "csv"):
            found.append(part)

    with pytest.raises(ResultsError, match="has signed out"):
        asyncio.run(gather())
    assert len(found) == 1
    wait_until(children, lambda found: found <= others)


def test_a_download_is_a_process_behind_the_server_and_goes_with_who_asked(
    downloads: Downloads, file: Path
) -> None:
    others = children()

    async def look() -> None:
        async with aclosing(downloads.read(visit(), file, "many", "csv")) as parts:
            await anext(parts)
            (process,) = children() - others
            assert process.nice() == min(psutil.Process().nice() + NICENESS, 19)

    asyncio.run(look())
    wait_until(children, lambda found: found <= others)

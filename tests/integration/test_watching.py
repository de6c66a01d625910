"""Whoever watches gets pictures, results stay the same, and what nobody watches costs little."""

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import client, cloud_server, read_summary, run_client

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Rows = list[tuple[int, bytes]]

# K = 2 ships the frame in other colours, as K = 1 does; its results are tested without watching.
SPLITS: Final = ("1", "3", "4", "5", "6")
FRAMES: Final = 60

# The server says that it watches right after its welcome, so that the first frames of a session may
# be on their way before the device has read it.
FIRST_UNWATCHED: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What one stream left: both summaries' parts on it, and the stored bytes of its results."""

    device: dict[str, Any]
    cloud: dict[str, Any]
    rows: Rows

    @property
    def bytes_per_frame(self) -> float:
        """What it sent, its handshake included."""
        return float(self.device["sent_bytes"] / self.device["frames"]["captured"])


def run_splits(
    folder: Path,
    *,
    splits: Sequence[str] = SPLITS,
    server: tuple[str, ...] = (),
    device: tuple[str, ...] = (),
) -> dict[str, Ran]:
    """Run a client for each split, all at once, and return what they left."""
    with cloud_server(folder, *server, "--summary", "cloud.json") as cloud, ExitStack() as stack:
        programs = [
            stack.enter_context(
                client(
                    folder,
                    *(split, *cloud.address, "--frames", str(FRAMES), "--stream", split),
                    *("--summary", f"{split}.json", *device),
                )
            )
            for split in splits
        ]
        for program in programs:
            ended = program.wait()
            assert ended.code == 0, ended.err
        assert cloud.stop().code == 0
    streams = {each["stream"]: each for each in read_summary(folder / "cloud.json")["streams"]}
    return {
        split: Ran(
            device=read_summary(folder / f"{split}.json"),
            cloud=streams[split],
            rows=read_rows(folder / "results.db", split),
        )
        for split in splits
    }


def read_rows(database: Path, stream: str) -> Rows:
    connection = sqlite3.connect(database)
    try:
        return connection.execute(
            "SELECT seq, value FROM results WHERE stream = ? ORDER BY seq", (stream,)
        ).fetchall()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Return what client only stores of the synthetic scene."""
    folder = tmp_path_factory.mktemp("client_only")
    results = ("--results", "sqlite:local.db", "--stream", "here")
    ended = run_client(folder, "--frames", str(FRAMES), *results)
    assert ended.code == 0, ended.err
    rows = read_rows(folder / "local.db", "here")
    assert FRAMES // 2 < len(rows) < FRAMES
    return rows


def test_a_frame_that_nobody_watches_has_no_picture_and_travels_in_few_bytes(
    expected: Rows, tmp_path: Path
) -> None:
    ran = run_splits(tmp_path, device=("--encoding", "lossless"))
    for split, each in ran.items():
        assert each.rows == expected, split
        assert each.cloud["pictures"] == 0, split
    assert ran["3"].bytes_per_frame < 2048
    assert ran["4"].bytes_per_frame < 1024
    # The handshake, about a kilobyte, is 17 bytes of each frame here.
    assert ran["5"].bytes_per_frame < 150
    assert ran["6"].bytes_per_frame < 150


# Starting clients costs most of the time here: every encoding at every split is a property test.
@pytest.mark.parametrize(
    ("encoding", "splits"),
    [
        ("auto", SPLITS),
        ("lossy", ("1", "3", "6")),
        ("raw", ("1", "6")),
        ("lossless", ("3", "5")),
    ],
    ids=["auto", "lossy", "raw", "lossless"],
)
def test_every_result_has_its_picture_once_all_are_watched(
    encoding: str, splits: Sequence[str], expected: Rows, tmp_path: Path
) -> None:
    ran = run_splits(
        tmp_path,
        splits=splits,
        server=("--watch", "all"),
        device=("--encoding", encoding),
    )
    for split, each in ran.items():
        assert each.rows == expected, split
        pictures = each.cloud["pictures"]
        assert len(expected) - FIRST_UNWATCHED <= pictures <= len(expected), split


def test_so_many_pictures_come_a_second_as_the_server_asks_for(
    expected: Rows, tmp_path: Path
) -> None:
    ran = run_splits(tmp_path, splits=("1", "5"), server=("--watch", "5"), device=("--rate", "30"))
    for split, each in ran.items():
        assert each.rows == expected, split
        # The paced source needs 2 s. Of the frames that are watched, some are filtered.
        lasted_s = each.device["duration_s"]
        assert 0.4 * 5 * lasted_s <= each.cloud["pictures"] <= 5 * lasted_s + 1, split

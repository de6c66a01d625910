"""The device's durable queue: what it keeps, how it is bounded, and what a bad disk does to it."""

import errno
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from offload.errors import (
    ConfigurationError,
    HandshakeError,
    LocalProtocolError,
    SpoolError,
    SpoolFull,
)
from offload.spool import Left, Record, Spool, left_behind, spool_path
from offload.spool.access import RETRY_S, UNREADABLE_S
from offload.spool.entries import Entry, Kind, find_entries, log_path, seal, unseal
from offload.spool.file import Change, SpoolFile
from offload.spool.limits import MIN_LIMIT_BYTES, FileLimits

REPOSITORY: Final = Path(__file__).parent.parent

ALL: Final = 1 << 30


class ManualClock:
    """Monotonic seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def open_spool(
    folder: Path,
    *,
    stream: str = "s",
    pipeline: str = "ball 1",
    limit_bytes: int = 16 * MIN_LIMIT_BYTES,
    is_named: bool = True,
    clock: ManualClock | None = None,
) -> Spool:
    return Spool(
        folder,
        stream=stream,
        pipeline=pipeline,
        limit_bytes=limit_bytes,
        is_named=is_named,
        clock=clock or ManualClock(),
    )


def content(seq: int, size: int = 200) -> bytes:
    """Return bytes that belong to this frame and no other."""
    return random.Random(seq).randbytes(size)


def record(first: int, stop: int | None = None, *, size: int = 200) -> Record:
    return Record(first=first, stop=stop or first + 1, content=content(first, size))


def records(first: int, stop: int, *, size: int = 200) -> list[Record]:
    return [record(each, size=size) for each in range(first, stop)]


def read_all(spool: Spool) -> list[Record]:
    found: list[Record] = []
    at = spool.first
    while at < spool.stop:
        found += spool.read(at, max_bytes=100_000)
        at = found[-1].stop
    return found


def fill(folder: Path, frames: int, *, size: int = 200) -> Path:
    """Make a spool that was closed well, and return its file."""
    with closing(open_spool(folder, limit_bytes=1 << 26)) as spool:
        spool.append(records(0, frames, size=size))
    return spool_path(folder, "s")


def left(stream: str, frames: int) -> Left:
    return Left(stream=stream, frames=frames)


def disk_bytes(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.iterdir())


@contextmanager
def crashed(folder: Path) -> Iterator[Path]:
    """Yield a folder with the files of running spools as a crash would leave them."""
    copy = folder.with_name("crashed")
    shutil.copytree(folder, copy)
    yield copy


# What it keeps


def test_a_new_spool_is_empty_and_begins_at_frame_zero(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop, spool.frames) == (0, 0, 0)
        assert spool.note == ""
        assert spool.read(0, max_bytes=ALL) == []
        spool.append([])
        assert (spool.first, spool.stop) == (0, 0)


def test_what_was_appended_is_read_back_in_order_after_opening_again(folder: Path) -> None:
    kept = [record(0), record(1, 40), Record(first=40, stop=41, content=b""), record(41, size=9000)]
    with closing(open_spool(folder)) as spool:
        spool.append(kept[:2])
        spool.append(kept[2:])
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop, spool.frames) == (0, 42, 42)
        assert spool.read(0, max_bytes=ALL) == kept


def test_what_was_appended_is_on_disk_before_the_file_is_closed(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 30))
        with crashed(folder) as copy, closing(open_spool(copy)) as again:
            assert read_all(again) == records(0, 30)
            assert again.note == ""


def test_the_position_outlives_the_program_where_nothing_is_kept(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        spool.release(10)
        spool.flush()
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (10, 10)


def test_the_file_of_a_stream_that_nobody_can_name_goes_when_it_keeps_nothing(folder: Path) -> None:
    with closing(open_spool(folder, is_named=False)) as spool:
        spool.append(records(0, 10))
        spool.release(9)
    with closing(open_spool(folder, is_named=False)) as spool:
        assert (spool.first, spool.stop) == (9, 10)
        spool.release(10)
    assert list(folder.iterdir()) == []


def test_with_the_file_goes_what_a_mending_could_not_remove(folder: Path) -> None:
    with closing(open_spool(folder, is_named=False)):
        for name in ("partial", "partial-wal", "salvaged"):
            spool_path(folder, "s").with_name(f"{spool_path(folder, 's').name}.{name}").touch()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("size", [0, 1, 3900, 4020, 4030, 4100, 8200, 200_000])
def test_a_content_of_any_size_is_read_back(folder: Path, size: int) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 3, size=size))
        assert spool.read(0, max_bytes=ALL) == records(0, 3, size=size)


def test_reading_stops_at_either_limit_but_gives_one_record_at_least(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        assert spool.read(0, max_bytes=1) == records(0, 1)
        assert spool.read(3, max_bytes=599) == records(3, 5)
        assert spool.read(3, max_bytes=600) == records(3, 6)
        assert spool.read(8, max_bytes=ALL) == records(8, 10)
        assert spool.read(2, max_bytes=ALL, max_records=2) == records(2, 4)
        assert spool.read(10, max_bytes=ALL) == []


def test_what_was_released_is_gone_for_good_with_the_next_append(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        spool.release(4)
        assert (spool.first, spool.frames) == (4, 6)
        spool.append(records(10, 12))
        with crashed(folder) as copy, closing(open_spool(copy)) as again:
            assert (again.first, again.stop) == (4, 12)
            assert read_all(again) == records(4, 12)
        with pytest.raises(LocalProtocolError, match="frame 3 is released"):
            spool.read(3, max_bytes=ALL)


def test_closing_puts_on_disk_what_was_released(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        spool.release(7)
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (7, 10)


def test_a_record_stays_until_its_last_frame_is_released(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append([record(0), record(1, 10), record(10)])
        spool.release(9)
        spool.flush()
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (9, 11)
        assert spool.read(9, max_bytes=ALL) == [record(1, 10), record(10)]
        spool.release(10)
        spool.flush()
        assert spool.read(10, max_bytes=ALL) == [record(10)]


@pytest.mark.parametrize("first", [10, 25])
def test_after_all_was_released_it_goes_on_there_or_later(folder: Path, first: int) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        spool.release(99)
        assert (spool.first, spool.stop) == (10, 10)
        spool.append(records(first, first + 3))
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (first, first + 3)
        assert read_all(spool) == records(first, first + 3)


@pytest.mark.parametrize(
    "wrong",
    [
        [record(9)],
        [record(11)],
        [record(10), record(12)],
        [Record(first=10, stop=10, content=b"")],
        [Record(first=10, stop=11, content=None)],
    ],
)
def test_records_that_do_not_follow_what_is_kept_are_our_own_mistake(
    folder: Path, wrong: list[Record]
) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 10))
        with pytest.raises(LocalProtocolError, match="expected one from"):
            spool.append(wrong)
        assert spool.stop == 10


# Whose it is


def test_each_stream_has_a_file_of_its_own_that_only_this_user_can_read(folder: Path) -> None:
    names = ["a", "a/b", "a_b", "../a", "A" * 128, "größe", ".", "-"]
    for stream in names:
        with closing(open_spool(folder, stream=stream)) as spool:
            spool.append([Record(first=0, stop=1, content=stream.encode())])
    assert len(list(folder.iterdir())) == len(names)
    for stream in names:
        with closing(open_spool(folder, stream=stream)) as spool:
            assert spool.read(0, max_bytes=ALL)[0].content == stream.encode()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}


def test_frames_of_another_pipeline_are_refused_in_words(folder: Path) -> None:
    file = fill(folder, 12)
    with pytest.raises(HandshakeError) as caught:
        open_spool(folder, pipeline="ball 2")
    assert str(caught.value) == (
        f"spool '{file}' keeps 12 frames of another pipeline ('ball 1', expected 'ball 2'):"
        " run the version that made them, or remove the file"
    )
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 12)


def test_a_spool_without_frames_is_taken_over_by_another_pipeline(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 12))
        spool.release(12)
    for _ in range(2):
        with closing(open_spool(folder, pipeline="ball 2")) as spool:
            assert (spool.first, spool.stop, spool.note) == (0, 0, "")
    with closing(open_spool(folder, pipeline="ball 2")) as spool:
        spool.append(records(0, 1))


def test_a_second_program_with_the_same_spool_is_refused_in_words(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 3))
        ended = run_child(f"open_spool(Path({str(folder)!r}))")
    assert ended.stderr.splitlines()[-1] == (
        f"offload.errors.ConfigurationError: spool '{spool_path(folder, 's')}'"
        " is in use by another program"
    )


def test_other_streams_that_were_left_behind_are_named_with_their_frames(folder: Path) -> None:
    with (
        closing(open_spool(folder, stream="cam/1")) as closed,
        closing(open_spool(folder, stream="done")) as done,
    ):
        closed.append(records(0, 5))
        done.append(records(0, 5))
        done.release(5)
    with closing(open_spool(folder, stream="killed")) as killed:
        killed.append(records(0, 7))
        killed.release(2)
        killed.append(records(7, 8))
        with crashed(folder) as copy:
            (copy / "no-database.spool").write_bytes(b"no database" * 1000)
            before = {each: each.read_bytes() for each in copy.iterdir()}
            assert left_behind(copy, besides="mine") == [left("cam/1", 5), left("killed", 6)]
            assert left_behind(copy, besides="killed") == [left("cam/1", 5)]
            assert {each: each.read_bytes() for each in copy.iterdir()} == before


def test_a_spool_that_another_program_uses_is_not_left_behind(folder: Path) -> None:
    with closing(open_spool(folder, stream="busy")) as busy:
        busy.append(records(0, 5))
        ended = run_child(f"print(left_behind(Path({str(folder)!r}), besides='mine'))")
        assert ended.stdout == "[]\n", ended.stderr
    assert left_behind(folder, besides="mine") == [left("busy", 5)]
    assert left_behind(folder / "missing", besides="mine") == []


def test_a_spool_that_does_not_say_what_it_keeps_is_not_named(folder: Path) -> None:
    file = fill(folder, 5)
    assert left_behind(folder, besides="mine") == [left("s", 5)]
    flip_in(file, seal(Entry(kind=Kind.POSITION, first=0, stop=5)))
    assert left_behind(folder, besides="mine") == []


# Its limit


def test_a_limit_that_is_too_small_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"expected at least {MIN_LIMIT_BYTES}"):
        open_spool(folder, limit_bytes=MIN_LIMIT_BYTES - 1)
    open_spool(folder, limit_bytes=MIN_LIMIT_BYTES).close()


def append_until_full(spool: Spool, folder: Path, *, size: int, limit_bytes: int) -> None:
    while True:
        try:
            spool.append(records(spool.stop, spool.stop + 64, size=size))
        except SpoolFull:
            return
        assert disk_bytes(folder) <= limit_bytes


@pytest.mark.parametrize("limit_bytes", [MIN_LIMIT_BYTES, 3_000_000])
@pytest.mark.parametrize("size", [50, 5_000, 100_000])
def test_a_full_spool_says_so_keeps_what_it_has_and_stays_within_its_limit(
    folder: Path, limit_bytes: int, size: int
) -> None:
    with closing(open_spool(folder, limit_bytes=limit_bytes)) as spool:
        append_until_full(spool, folder, size=size, limit_bytes=limit_bytes)
        stop = spool.stop
        # Less than one more record fits: it was filled to the brim.
        with pytest.raises(SpoolFull):
            spool.append(records(stop, stop + 1, size=size))
        assert spool.stop == stop
        assert stop * (size + 80) > limit_bytes // 2
        assert disk_bytes(folder) <= limit_bytes
        assert read_all(spool) == records(0, stop, size=size)
        spool.release(stop // 2)
        spool.append(records(stop, stop + 1, size=size))
        assert disk_bytes(folder) <= limit_bytes
    with closing(open_spool(folder, limit_bytes=limit_bytes)) as spool:
        assert read_all(spool) == records(stop // 2, stop + 1, size=size)


def test_of_an_append_that_is_too_much_the_records_that_fit_stay(folder: Path) -> None:
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        with pytest.raises(SpoolFull):
            spool.append(records(0, 2000, size=1000))
        assert 500 < spool.stop < 800
        assert read_all(spool) == records(0, spool.stop, size=1000)


def test_many_empty_records_stay_within_the_limit_too(folder: Path) -> None:
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        with pytest.raises(SpoolFull):
            spool.append([Record(first=at, stop=at + 1, content=b"") for at in range(50_000)])
        assert disk_bytes(folder) <= MIN_LIMIT_BYTES
        assert spool.stop > 10_000


def test_the_largest_record_fits_and_one_byte_more_does_not(folder: Path) -> None:
    most = MIN_LIMIT_BYTES // 8
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        with pytest.raises(SpoolFull, match=f"record is {most + 1} bytes, expected at most {most}"):
            spool.append([record(0), record(1, size=most), record(2, size=most + 1), record(3)])
        assert spool.stop == 2
        assert read_all(spool) == [record(0), record(1, size=most)]


@pytest.mark.parametrize(("size", "at_once"), [(100, 400), (3_000, 10), (100_000, 2)])
def test_the_space_of_what_was_released_is_used_again(
    folder: Path, size: int, at_once: int
) -> None:
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        for first in range(0, 10 * MIN_LIMIT_BYTES // size, at_once):
            spool.append(records(first, first + at_once, size=size))
            spool.release(first - at_once // 2)
            assert disk_bytes(folder) <= MIN_LIMIT_BYTES
        spool.flush()
        assert read_all(spool) == records(spool.first, spool.stop, size=size)


def test_a_spool_that_is_released_at_once_or_bit_by_bit_gives_all_its_room_back(
    folder: Path,
) -> None:
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        for step in (5000, 700, 1):
            with pytest.raises(SpoolFull):
                spool.append(records(spool.stop, spool.stop + 10_000, size=100))
            assert spool.frames > 3_000
            while spool.frames > step:
                spool.release(spool.first + step)
                spool.flush()
                assert disk_bytes(folder) <= MIN_LIMIT_BYTES
                if step == 1 and spool.frames < 3_000:
                    break
            assert read_all(spool) == records(spool.first, spool.stop, size=100)


def test_what_was_released_makes_room_for_a_large_record_at_once(folder: Path) -> None:
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        append_until_full(spool, folder, size=100, limit_bytes=MIN_LIMIT_BYTES)
        stop, most = spool.stop, MIN_LIMIT_BYTES // 8
        spool.release(stop - 1)
        spool.append(records(stop, stop + 1, size=most))
        assert disk_bytes(folder) <= MIN_LIMIT_BYTES
        assert read_all(spool) == [*records(stop - 1, stop, size=100), record(stop, size=most)]


# Files may be larger than the log may grow, but smaller than the file would: so it cannot be
# put into the file.
LOG_STAYS: Final = """
import resource
spool = open_spool(Path({folder!r}), limit_bytes=MIN_LIMIT_BYTES)
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, resource.RLIM_INFINITY))
try:
    while True:
        spool.append(records(spool.stop, spool.stop + 1, size={size}))
        log_bytes = log_path(spool_path(Path({folder!r}), "s")).stat().st_size
        assert log_bytes <= FileLimits.within(MIN_LIMIT_BYTES).log
        assert disk_bytes(Path({folder!r})) <= MIN_LIMIT_BYTES
except SpoolError as error:
    print(type(error).__name__, disk_bytes(Path({folder!r})) <= MIN_LIMIT_BYTES)
"""


@pytest.mark.parametrize("size", [9_000, 120_000])
def test_a_log_that_cannot_be_emptied_stays_within_the_limit(folder: Path, size: int) -> None:
    ended = run_child(LOG_STAYS.format(folder=str(folder), size=size))
    assert ended.stdout == "SpoolError True\n", ended.stderr


def test_an_empty_spool_gives_its_space_back_to_the_disk_when_it_is_opened(folder: Path) -> None:
    file = fill(folder, 100, size=20_000)
    with closing(open_spool(folder)) as spool:
        spool.release(100)
    assert file.stat().st_size > 2_000_000
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (100, 100)
        assert disk_bytes(folder) < 50_000


def test_a_lower_limit_takes_nothing_away_but_adds_nothing(folder: Path) -> None:
    fill(folder, 200, size=20_000)
    with closing(open_spool(folder, limit_bytes=MIN_LIMIT_BYTES)) as spool:
        assert read_all(spool) == records(0, 200, size=20_000)
        with pytest.raises(SpoolFull):
            spool.append(records(200, 250, size=20_000))
        assert disk_bytes(folder) < 200 * 20_600 + MIN_LIMIT_BYTES // 4
        spool.release(190)
        spool.append(records(spool.stop, 250, size=20_000))
        assert read_all(spool) == records(190, 250, size=20_000)


# A disk that does not do what it should


def run_child(
    code: str, *, user: int | None = None, timeout_s: float = 30
) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in a Python of its own that has this module's names."""
    return subprocess.run(
        [sys.executable, "-c", f"from tests.test_spool import *\n{code}"],
        cwd=REPOSITORY,
        user=user,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_folder_that_cannot_be_one_is_wrong_usage(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(
        ConfigurationError, match=r"cannot be made: a file is in its place"
    ) as raised:
        open_spool(tmp_path / place)
    assert str(tmp_path / place) in str(raised.value)


def test_a_folder_that_may_not_be_written_is_wrong_usage(folder: Path) -> None:
    fill(folder, 3)
    folder.chmod(0o500)
    # Root may write anywhere, so a child tries as nobody.
    as_nobody = "os.setuid(65534) if os.geteuid() == 0 else None"
    folder.parent.chmod(0o755)
    ended = run_child(
        f"{as_nobody}\ntry:\n    open_spool(Path({str(folder)!r}))\n"
        "except ConfigurationError as error:\n    print(error)"
    )
    folder.chmod(0o700)
    assert ended.stdout.endswith("cannot be used: Permission denied\n"), ended.stderr


# The largest file that the child may write is smaller than what it appends, until it may again.
WRITES_TOO_MUCH: Final = """
import resource
clock = ManualClock()
spool = open_spool(Path({folder!r}), clock=clock)
spool.append(records(0, 5))
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
reasons = []
for attempt in range(3):
    try:
        spool.append(records(5, 50, size=9000))
    except SpoolError as error:
        reasons.append((type(error).__name__, str(error), spool.stop))
    assert read_all(spool) == records(0, 5), "what is kept can be read all the while"
    clock.now_s += {pause_s}
print(*reasons, sep="\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
clock.now_s += RETRY_S
spool.append(records(5, 50, size=9000))
assert read_all(spool) == records(0, 5) + records(5, 50, size=9000)
print("goes on", spool.note)
"""


@pytest.mark.parametrize("pause_s", [0.0, RETRY_S])
def test_after_an_error_of_the_disk_the_next_append_succeeds(folder: Path, pause_s: float) -> None:
    ended = run_child(WRITES_TOO_MUCH.format(folder=str(folder), pause_s=pause_s))
    assert ended.returncode == 0, ended.stderr
    *reasons, last = ended.stdout.splitlines()
    reason = (
        f"('SpoolError', \"spool '{spool_path(folder, 's')}' cannot be used: disk I/O error\", 5)"
    )
    assert reasons == [reason] * 3
    assert last == "goes on "
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 5) + records(5, 50, size=9000)


APPENDS: Final = """
spool = open_spool(Path({folder!r}))
while True:
    spool.append(records(spool.stop, spool.stop + 7, size=3000))
    spool.release(spool.stop - 200)
    print(spool.stop, flush=True)
"""


def test_a_program_that_is_killed_has_on_disk_what_append_returned_for(folder: Path) -> None:
    rng = random.Random(4)
    code = f"from tests.test_spool import *\n{APPENDS.format(folder=str(folder))}"
    appended = 0
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            for _ in range(rng.randrange(1, 60)):
                appended = int(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            appended = max([appended, *map(int, child.stdout.read().split())])
        with closing(open_spool(folder)) as spool:
            assert spool.stop >= appended
            assert read_all(spool) == records(spool.first, spool.stop, size=3000)
            assert spool.note == ""


@contextmanager
def small_disk(folder: Path, *, size_bytes: int) -> Iterator[None]:
    folder.mkdir()
    options = f"size={size_bytes}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


@pytest.mark.root
def test_a_full_disk_takes_records_again_when_it_has_room(folder: Path) -> None:
    with small_disk(folder, size_bytes=1 << 20), closing(open_spool(folder)) as spool:
        with pytest.raises(SpoolError, match="no space left on the disk") as caught:
            spool.append(records(0, 1000, size=3000))
        assert not isinstance(caught.value, SpoolFull)
        stop = spool.stop
        assert read_all(spool) == records(0, stop, size=3000)
        with pytest.raises(SpoolError):
            spool.append(records(stop, 1000, size=3000))
        remount(folder, "size=8m")
        spool.append(records(spool.stop, 1000, size=3000))
        assert read_all(spool) == records(0, 1000, size=3000)


@pytest.mark.root
def test_a_disk_that_is_full_at_the_start_is_tried_again_once_a_second(folder: Path) -> None:
    clock = ManualClock()
    with small_disk(folder, size_bytes=1 << 20):
        ballast = folder / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(2 << 20))
        with closing(open_spool(folder, clock=clock)) as spool:
            assert "spool" in spool.note
            with pytest.raises(SpoolError):
                spool.append(records(0, 1))
            ballast.unlink()
            with pytest.raises(SpoolError):
                spool.append(records(0, 1))
            clock.now_s += RETRY_S
            spool.append(records(0, 1))
            assert read_all(spool) == records(0, 1)


@pytest.mark.root
@pytest.mark.parametrize("is_closed", [True, False])
def test_a_read_only_disk_is_read_and_written_again_when_it_can_be(
    folder: Path, is_closed: bool
) -> None:
    clock = ManualClock()
    source = folder.with_name("source")
    with closing(open_spool(source)) as spool:
        spool.append(records(0, 50))
        if is_closed:
            spool.close()
        with small_disk(folder, size_bytes=1 << 20):
            shutil.copytree(source, folder, dirs_exist_ok=True)
            remount(folder, "ro")
            with closing(open_spool(folder, clock=clock)) as again:
                assert "Read-only file system" in again.note
                assert again.stop == 50
                assert read_all(again) == records(0, 50)
                again.release(10)
                with pytest.raises(SpoolError, match="Read-only file system"):
                    again.append(records(50, 51))
                again._access.close()  # a disk is not made writable under an open file
                remount(folder, "rw")
                clock.now_s += RETRY_S
                again.append(records(50, 51))
                assert read_all(again) == records(10, 51)
                assert again.stop == 51


@pytest.mark.root
def test_a_damaged_spool_on_a_read_only_disk_is_mended_when_it_can_be(folder: Path) -> None:
    clock = ManualClock()
    with small_disk(folder, size_bytes=4 << 20):
        file = fill(folder, 500)
        flip(file, file.stat().st_size // 2 // 4096 * 4096, 0)
        remount(folder, "ro")
        with closing(open_spool(folder, clock=clock)) as spool:
            assert "cannot be read, either" in spool.note
            assert (spool.first, spool.stop) == (0, 500)
            with pytest.raises(SpoolError):
                spool.read(0, max_bytes=ALL)
            remount(folder, "rw")
            clock.now_s += RETRY_S
            assert read_all(spool) == records(0, 500)
            assert "was damaged" in spool.note


@pytest.mark.root
def test_a_spool_that_was_not_there_in_time_is_set_aside_when_it_is(folder: Path) -> None:
    clock = ManualClock()
    with small_disk(folder, size_bytes=4 << 20):
        file = fill(folder, 500)
        data = file.read_bytes()
        file.write_bytes(data[: 2 * 4096] + bytes(4096) + data[3 * 4096 :])
        remount(folder, "ro")
        with closing(open_spool(folder, clock=clock)) as spool:
            assert (spool.first, spool.stop) == (0, 0)
            remount(folder, "rw")
            clock.now_s += RETRY_S
            spool.append(records(0, 3))
            assert "could not be opened in time; it is set aside as" in spool.note
            assert read_all(spool) == records(0, 3)


@pytest.mark.root
def test_a_read_only_spool_of_another_pipeline_is_refused_as_well(folder: Path) -> None:
    with small_disk(folder, size_bytes=4 << 20):
        fill(folder, 5)
        with closing(open_spool(folder, stream="empty")):
            pass
        remount(folder, "ro")
        with pytest.raises(HandshakeError, match="keeps 5 frames of another pipeline"):
            open_spool(folder, pipeline="ball 2")
        clock = ManualClock()
        empty = open_spool(folder, stream="empty", pipeline="ball 2", clock=clock)
        with closing(empty) as spool, pytest.raises(SpoolError, match="Read-only"):
            spool.append(records(0, 1))
        remount(folder, "rw")
        with closing(empty) as spool:
            clock.now_s += RETRY_S
            spool.append(records(0, 1))
        with closing(open_spool(folder, stream="empty", pipeline="ball 2")) as spool:
            assert read_all(spool) == records(0, 1)


# Damage


def flip(file: Path, at: int, bit: int) -> None:
    data = bytearray(file.read_bytes())
    data[at] ^= 1 << bit
    file.write_bytes(data)


def flip_in(file: Path, wanted: bytes) -> None:
    """Flip a bit of ``wanted`` wherever it lies: some pages are left over from earlier."""
    data = file.read_bytes()
    assert wanted in data
    file.write_bytes(data.replace(wanted, bytes([wanted[0] ^ 1]) + wanted[1:]))


def test_a_record_with_a_wrong_checksum_is_lost_and_no_other(folder: Path) -> None:
    file = fill(folder, 20)
    flip_in(file, content(7))
    flip_in(file, content(19))
    with closing(open_spool(folder)) as spool:
        expected = records(0, 20)
        expected[7] = Record(first=7, stop=8, content=None)
        expected[19] = Record(first=19, stop=20, content=None)
        for _ in range(2):
            assert read_all(spool) == expected
        assert spool.read(7, max_bytes=ALL)[0] == expected[7]
        spool.release(8)
        spool.append(records(20, 22))
        assert read_all(spool) == expected[8:] + records(20, 22)


@pytest.mark.parametrize(
    ("frames", "size", "is_closed"),
    [(1000, 200, True), (20, 200_000, True), (300, 200, False), (20, 200_000, False)],
)
def test_a_flipped_bit_loses_one_record_at_most(
    tmp_path: Path, folder: Path, frames: int, size: int, is_closed: bool
) -> None:
    check_flips(tmp_path, folder, frames=frames, size=size, is_closed=is_closed, flips=25)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("frames", "size", "is_closed"),
    [(1000, 200, True), (20, 200_000, True), (1000, 200, False), (20, 200_000, False)],
)
def test_none_of_500_flipped_bits_loses_more_than_one_record(
    tmp_path: Path, folder: Path, frames: int, size: int, is_closed: bool
) -> None:
    check_flips(tmp_path, folder, frames=frames, size=size, is_closed=is_closed, flips=500)


def check_flips(
    tmp_path: Path, folder: Path, *, frames: int, size: int, is_closed: bool, flips: int
) -> None:
    """Flip one bit after the other, each in a fresh copy of a file and its log, if it has one."""
    rng = random.Random(size)
    with closing(open_spool(folder, limit_bytes=1 << 26)) as spool:
        for first in range(frames):
            spool.append(records(first, first + 1, size=size))
        if is_closed:
            spool.close()
        copy, damaged = tmp_path / "copy", tmp_path / "damaged"
        shutil.copytree(folder, copy)
    for _ in range(flips):
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(copy, damaged)
        flip_anywhere(damaged, rng)
        with closing(open_spool(damaged, limit_bytes=1 << 26)) as spool:
            assert spool.first == 0
            # What the last transaction wrote to the log is not told from what a power cut cut off.
            assert spool.stop == frames or (spool.stop == frames - 1 and not is_closed)
            found = read_all(spool)
            expected = records(0, frames, size=size)
            good = [each for each in found if each.content is not None]
            assert all(each == expected[each.first] for each in good)
            assert frames - len(good) <= 1
            spool.append(records(spool.stop, spool.stop + 1))


def flip_anywhere(folder: Path, rng: random.Random) -> None:
    at = rng.randrange(disk_bytes(folder))
    for file in sorted(folder.iterdir()):
        if at < file.stat().st_size:
            flip(file, at, rng.randrange(8))
            return
        at -= file.stat().st_size


@pytest.mark.parametrize("word", [b"INTEGER", b"header", b"records(", b"CREATE"])
@pytest.mark.parametrize("bit", [0, 5, 7])
def test_a_wrong_bit_in_the_definition_of_a_table_loses_nothing(
    folder: Path, word: bytes, bit: int
) -> None:
    file = fill(folder, 20)
    flip(file, file.read_bytes().index(word), bit)
    with closing(open_spool(folder)) as spool:
        assert "was damaged" in spool.note
        assert read_all(spool) == records(0, 20)


def test_a_name_of_a_table_that_is_no_text_any_more_loses_nothing(folder: Path) -> None:
    file = fill(folder, 20)
    flip(file, file.read_bytes().index(b"recordsrecords"), 7)
    with closing(open_spool(folder)) as spool:
        assert "was damaged" in spool.note
        assert read_all(spool) == records(0, 20)


def test_a_file_that_is_no_database_is_set_aside(folder: Path) -> None:
    file = spool_path(folder, "s")
    folder.mkdir()
    for number in range(1, 6):
        file.write_bytes(b"no database %d " % number * 1000)
        with closing(open_spool(folder)) as spool:
            assert (spool.first, spool.stop) == (0, 0)
            assert spool.note.startswith(f"spool '{file}' was damaged (file is not a database):")
            spool.append(records(0, 3))
            assert read_all(spool) == records(0, 3)
    aside = [folder / f"{file.name}.damaged{number}" for number in ("", "-2", "-3")]
    assert sorted(folder.iterdir()) == sorted([file, *aside])
    assert [each.read_bytes()[12:14] for each in aside] == [b"1 ", b"2 ", b"5 "]


@pytest.mark.parametrize("pages", [1, 3, 8])
def test_of_a_file_that_was_cut_off_what_is_left_is_kept(folder: Path, pages: int) -> None:
    file = fill(folder, 1000)
    os.truncate(file, file.stat().st_size - pages * 4096)
    with closing(open_spool(folder)) as spool:
        assert (spool.first, spool.stop) == (0, 1000)
        found = read_all(spool)
        assert found[:-1] == records(0, len(found) - 1)
        lost = found[-1]
        assert lost.content is None
        assert lost.stop - lost.first <= pages * 20
        assert "was damaged" in spool.note


def test_a_damaged_page_among_others_loses_what_was_on_it(folder: Path) -> None:
    file = fill(folder, 1000)
    with file.open("r+b") as opened:
        opened.seek(20 * 4096)
        opened.write(random.Random(1).randbytes(4096))
    with closing(open_spool(folder)) as spool:
        good = [each for each in read_all(spool) if each.content is not None]
        assert 980 <= len(good) < 1000


def test_damage_that_comes_up_while_reading_is_mended_then(folder: Path) -> None:
    # SQLite keeps the last 2 MB that it read.
    file = fill(folder, 1000, size=3000)
    with closing(open_spool(folder)) as spool:
        for page in range(100, 110):
            flip(file, page * 4096, 0)
        assert read_all(spool) == records(0, 1000, size=3000)
        assert "was damaged" in spool.note
        spool.append(records(1000, 1001))


def test_what_was_deleted_does_not_come_back_with_a_damaged_file(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 500))
        spool.release(400)
        spool.append(records(500, 510))
    file = spool_path(folder, "s")
    assert any(each.stop <= 400 for each in find_entries(file, {Kind.RECORD}))
    flip(file, 100, 1)
    with closing(open_spool(folder)) as spool:
        assert "was damaged" in spool.note
        assert (spool.first, spool.stop) == (400, 510)
        assert read_all(spool) == records(400, 510)
        spool.close()
    assert {each.first for each in find_entries(file, {Kind.RECORD})} == set(range(400, 510))


def test_what_a_failed_append_may_have_left_on_disk_is_not_taken_for_a_record(
    folder: Path,
) -> None:
    file = fill(folder, 20)
    left = [Entry(kind=Kind.RECORD, first=at, stop=at + 5, content=b"left") for at in (20, 25, 30)]
    with closing(SpoolFile.for_writing(file, FileLimits.within(MIN_LIMIT_BYTES))) as opened:
        opened.copy(left)
    with closing(open_spool(folder)) as spool:
        assert spool.stop == 20
        assert read_all(spool) == records(0, 20)
        spool.append([record(20, 24)])
        spool.append([record(24, 40)])
    with closing(SpoolFile.for_writing(file, FileLimits.within(MIN_LIMIT_BYTES))) as opened:
        assert [each and each.content for each in opened.entries_from(20)] == [
            content(20),
            content(24),
        ]


def test_a_record_that_another_one_replaced_is_not_read(folder: Path) -> None:
    file = fill(folder, 20)
    replaced = Entry(kind=Kind.RECORD, first=22, stop=23, content=b"replaced")
    with closing(open_spool(folder)) as spool:
        spool.append([record(20, 30), record(30)])
    with closing(SpoolFile.for_writing(file, FileLimits.within(MIN_LIMIT_BYTES))) as opened:
        opened.copy([replaced])
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == [*records(0, 20), record(20, 30), record(30)]


@pytest.mark.parametrize("step", ["salvaged", "log moved", "file moved"])
def test_a_mending_that_was_cut_off_is_finished_at_the_next_start(folder: Path, step: str) -> None:
    file = fill(folder, 30)
    salvaged = file.with_name(f"{file.name}.salvaged")
    shutil.copy(file, salvaged)
    file.write_bytes(b"damaged" * 1000)
    log_path(file).write_bytes(b"log of the damaged file" * 1000)
    if step != "salvaged":
        log_path(file).unlink()
    if step == "file moved":
        file.unlink()
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 30)
        spool.append(records(30, 31))
    assert not salvaged.exists()


def test_what_a_mending_that_was_killed_had_written_goes_at_the_next_start(folder: Path) -> None:
    file = fill(folder, 30)
    partial = file.with_name(f"{file.name}.partial")
    for each in (partial, log_path(partial)):
        each.write_bytes(bytes(4096))
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 30)
    assert list(folder.iterdir()) == [file]


def test_what_cannot_be_mended_now_is_mended_when_it_can_be(folder: Path) -> None:
    clock = ManualClock()
    file = fill(folder, 500)
    flip(file, file.stat().st_size // 2 // 4096 * 4096, 0)
    obstacle = file.with_name(f"{file.name}.partial")
    obstacle.mkdir()
    with closing(open_spool(folder, clock=clock)) as spool:
        assert "cannot be mended" in spool.note
        assert (spool.first, spool.stop) == (0, 500)
        obstacle.rmdir()
        with pytest.raises(SpoolError, match="cannot be mended"):
            spool.append(records(500, 501))  # it is not tried again so soon
        obstacle.mkdir()
        clock.now_s += RETRY_S
        with pytest.raises(SpoolError, match="cannot be mended"):
            spool.read(0, max_bytes=ALL)
        obstacle.rmdir()
        with pytest.raises(SpoolError, match="cannot be mended"):
            spool.append(records(500, 501))
        clock.now_s += RETRY_S
        spool.append(records(500, 501))
        assert read_all(spool) == records(0, 501)
        assert "was damaged" in spool.note


@contextmanager
def unreadable(file: Path, *, pages: Collection[int]) -> Iterator[None]:
    """Let the disk fail where these pages of ``file`` are read from outside of SQLite."""
    pread, read_bytes = os.pread, Path.read_bytes
    failure = OSError(errno.EIO, os.strerror(errno.EIO))

    def pread_or_fail(opened: int, size: int, offset: int) -> bytes:
        if os.path.samestat(os.fstat(opened), file.stat()) and 1 + offset // 4096 in pages:
            raise failure
        return pread(opened, size, offset)

    def read_bytes_or_fail(path: Path) -> bytes:
        if path == log_path(file) and 0 in pages:
            raise failure
        return read_bytes(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", pread_or_fail)
        patch.setattr(Path, "read_bytes", read_bytes_or_fail)
        yield


@pytest.mark.parametrize(
    "pages", [range(1, 2000), [80], [0]], ids=["the whole file", "one page", "the log"]
)
def test_nothing_is_lost_to_a_disk_whose_reads_fail_for_a_while(
    folder: Path, pages: Collection[int]
) -> None:
    clock = ManualClock()
    file = fill(folder, 1000, size=3000)
    with closing(open_spool(folder, clock=clock)) as spool:
        spool.append(records(1000, 1010, size=3000))
        # SQLite finds damage, but the pages that are sound cannot be taken over now.
        flip(file, 100 * 4096, 0)
        with unreadable(file, pages=pages):
            for _ in range(5):
                with pytest.raises(SpoolError, match=r"cannot be mended: .*Input/output error"):
                    read_all(spool)
                clock.now_s += UNREADABLE_S / 6
                assert not list(folder.glob("*.partial*"))
        assert read_all(spool) == records(0, 1010, size=3000)
        spool.append(records(1010, 1011, size=3000))


def test_what_stays_unreadable_is_given_up_and_nothing_else(folder: Path) -> None:
    clock = ManualClock()
    file = fill(folder, 1000, size=3000)
    with closing(open_spool(folder, clock=clock)) as spool:
        flip(file, 100 * 4096, 0)
        with unreadable(file, pages=[80]):
            with pytest.raises(SpoolError, match="cannot be mended"):
                read_all(spool)
            clock.now_s += UNREADABLE_S
            found = read_all(spool)
        assert [each.content is None for each in found].count(True) == 1
        assert "what can be read is kept" in spool.note


def test_what_is_unreadable_at_the_start_is_given_up_then(folder: Path) -> None:
    file = fill(folder, 1000, size=3000)
    flip(file, 100 * 4096, 0)
    with unreadable(file, pages=[80]), closing(open_spool(folder)) as spool:
        assert [each.content is None for each in read_all(spool)].count(True) == 1


def test_what_is_on_a_disk_that_was_taken_out_is_read_when_it_is_back(folder: Path) -> None:
    clock = ManualClock()
    file = fill(folder, 1000, size=3000)
    obstacle = file.with_name(f"{file.name}.partial")
    with closing(open_spool(folder, clock=clock)) as spool:
        # An error that closes the file, though not one that a missing disk would give.
        obstacle.mkdir()
        flip(file, 100 * 4096, 0)
        with pytest.raises(SpoolError, match="cannot be mended"):
            read_all(spool)
        obstacle.rmdir()
        folder.rename(folder.with_name("pocket"))
        for _ in range(2):
            clock.now_s += RETRY_S
            with pytest.raises(SpoolError, match="is gone: bring its disk back"):
                spool.read(0, max_bytes=ALL)
            with pytest.raises(SpoolError, match="is gone"):
                spool.append(records(1000, 1001))
        assert not folder.exists()
        folder.with_name("pocket").rename(folder)
        clock.now_s += RETRY_S
        assert read_all(spool) == records(0, 1000, size=3000)
        spool.append(records(1000, 1001))


def test_a_file_that_cannot_be_mended_nor_read_is_set_aside_when_it_can_be(folder: Path) -> None:
    clock = ManualClock()
    file = fill(folder, 20)
    # Nothing tells any more where the stream was, until it can be mended.
    flip_in(file, b"CREATE TABLE notes")
    obstacle = file.with_name(f"{file.name}.partial")
    obstacle.mkdir()
    with closing(open_spool(folder, clock=clock)) as spool:
        assert (spool.first, spool.stop) == (0, 0)
        obstacle.rmdir()
        clock.now_s += RETRY_S
        spool.append(records(0, 3))
        assert "could not be opened in time; it is set aside as" in spool.note
        assert read_all(spool) == records(0, 3)
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 3)


@pytest.mark.parametrize("frames", [0, 12])
def test_an_empty_file_of_another_pipeline_that_cannot_be_mended_waits_for_it(
    folder: Path, frames: int
) -> None:
    clock = ManualClock()
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, frames))
        spool.release(frames)
    file = spool_path(folder, "s")
    flip(file, 4096, 0)
    obstacle = file.with_name(f"{file.name}.partial")
    obstacle.mkdir()
    with closing(open_spool(folder, pipeline="ball 2", clock=clock)) as spool:
        assert (spool.first, spool.stop) == (0, 0)
        with pytest.raises(SpoolError, match="cannot be mended"):
            spool.append(records(0, 1))
        obstacle.rmdir()
        clock.now_s += RETRY_S
        spool.append(records(0, 1))
    with closing(open_spool(folder, pipeline="ball 2")) as spool:
        assert read_all(spool) == records(0, 1)


def test_damage_that_comes_up_while_writing_is_mended_then(folder: Path) -> None:
    # SQLite keeps the last 2 MB that it read; the pages that are free are looked at first.
    file = fill(folder, 1000, size=3000)
    with closing(open_spool(folder)) as spool:
        spool.release(200)
    with closing(open_spool(folder)) as spool:
        first_free = int.from_bytes(file.read_bytes()[32:36])
        with file.open("r+b") as opened:
            opened.seek((first_free - 1) * 4096)
            opened.write(b"\xff" * 4096)
        spool.append(records(1000, 1001, size=3000))
        assert "was damaged" in spool.note
        assert read_all(spool) == records(200, 1001, size=3000)


# The disk has failed before the damage is found, so the file is opened anew, which mends it.
IS_DAMAGED_THEN: Final = """
import resource
clock = ManualClock()
file = fill(Path({folder!r}), 1000, size=3000)
spool = open_spool(Path({folder!r}), clock=clock)
resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, resource.RLIM_INFINITY))
try:
    spool.append(records(1000, 1050, size=9000))
except SpoolError:
    pass
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
flip(file, 100 * 4096, 0)
clock.now_s += RETRY_S
assert read_all(spool) == records(0, 1000, size=3000)
spool.close()
"""


def test_damage_that_is_found_after_an_error_of_the_disk_is_mended_once(folder: Path) -> None:
    ended = run_child(IS_DAMAGED_THEN.format(folder=str(folder)))
    assert ended.returncode == 0, ended.stderr
    assert [each.suffix for each in sorted(folder.iterdir())] == [".spool", ".damaged"]


def test_a_log_that_somebody_removes_does_not_stop_the_program(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 5))
        log_path(spool_path(folder, "s")).unlink()
        spool.append(records(5, 10))
        assert read_all(spool) == records(0, 10)
    with closing(open_spool(folder)) as spool:
        assert read_all(spool) == records(0, 10)


def test_a_damaged_position_beside_a_damaged_log_loses_no_record(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 20))
        with crashed(folder) as copy:
            log = bytearray(log_path(spool_path(copy, "s")).read_bytes())
    file = spool_path(folder, "s")
    flip_in(file, seal(Entry(kind=Kind.POSITION, first=0, stop=20)))
    log[25] ^= 1  # a bit of the checksum in its header: SQLite takes nothing from it
    log_path(file).write_bytes(log)
    with closing(open_spool(folder)) as spool:
        assert "its log is damaged" in spool.note
        assert (spool.first, spool.stop) == (0, 20)
        assert read_all(spool) == records(0, 20)


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_file_is_read_as_it_is_where_it_cannot_be_written(folder: Path, is_closed: bool) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 20))
        if is_closed:
            spool.close()
        with crashed(folder) as copy:
            before = {each: each.read_bytes() for each in copy.iterdir()}
            limits = FileLimits.within(MIN_LIMIT_BYTES)
            with closing(SpoolFile.for_reading(spool_path(copy, "s"), limits)) as opened:
                assert opened.fault([]) == ""
                assert [each and each.first for each in opened.entries_from(5)] == list(
                    range(5, 20)
                )
                with pytest.raises(sqlite3.OperationalError, match="readonly"):
                    opened.write(Change(old_stop=20, first=10, stop=20))
                assert {each: each.read_bytes() for each in copy.iterdir()} == before


# Entries


def test_a_mark_that_stands_in_a_content_by_chance_misleads_nobody(folder: Path) -> None:
    sealed = seal(Entry(kind=Kind.RECORD, first=7, stop=9, content=b"content"))
    kept = [
        Record(first=0, stop=1, content=sealed[:7] * 3000),
        Record(first=1, stop=2, content=sealed * 700),
    ]
    with closing(open_spool(folder)) as spool:
        spool.append(kept)
    file = spool_path(folder, "s")
    flip(file, 100, 1)
    found = {each.first: each.content for each in find_entries(file, {Kind.RECORD})}
    assert found == {0: kept[0].content, 1: kept[1].content}
    with closing(open_spool(folder)) as spool:
        assert "was damaged" in spool.note
        assert read_all(spool) == kept


@pytest.mark.parametrize("pointer", [0, 1 << 31])
def test_an_entry_whose_pages_do_not_go_on_is_lost_and_no_other(folder: Path, pointer: int) -> None:
    file = fill(folder, 3, size=12_345)
    data = bytearray(file.read_bytes())
    page = data.index(content(1, 12_345)[6000:6050]) // 4096 * 4096
    assert data[page : page + 4] != bytes(4)
    data[page : page + 4] = pointer.to_bytes(4)
    file.write_bytes(data)
    assert {each.first for each in find_entries(file, {Kind.RECORD})} == {0, 2}
    with closing(open_spool(folder)) as spool:
        assert [each.content is None for each in read_all(spool)] == [False, True, False]


def test_a_transaction_that_was_cut_off_in_the_log_is_found_as_far_as_it_goes(folder: Path) -> None:
    with closing(open_spool(folder)) as spool:
        spool.append(records(0, 1))
        spool.append(records(1, 4, size=3000))
        with crashed(folder) as copy:
            file = spool_path(copy, "s")
            os.truncate(log_path(file), log_path(file).stat().st_size - 2 * 4096)
            found = {each.first for each in find_entries(file, {Kind.RECORD})}
            assert {0} < found < {0, 1, 2, 3}
            with closing(open_spool(copy)) as again:
                assert (again.stop, again.note) == (1, "")


def test_an_entry_is_only_what_it_was_sealed_as() -> None:
    entry = Entry(kind=Kind.RECORD, first=7, stop=9, content=b"content")
    header = seal(entry)
    assert unseal(header, b"content") == entry
    for bit in range(len(header) * 8):
        wrong = bytearray(header)
        wrong[bit // 8] ^= 1 << bit % 8
        assert unseal(bytes(wrong), b"content") is None
    assert unseal(header, b"Content") is None
    assert unseal(header, b"content ") is None
    assert unseal(header[:-1], b"content") is None


@pytest.mark.parametrize("size", [*range(3990, 4040), 4073, 8150, 12_345, 70_000])
def test_entries_are_found_without_the_structure_of_the_file(folder: Path, size: int) -> None:
    file = fill(folder, 2, size=size)
    data = bytearray(file.read_bytes())
    data[:4096] = bytes(4096)
    file.write_bytes(data)
    found = {each.first: each.content for each in find_entries(file, {Kind.RECORD})}
    assert found == {0: content(0, size), 1: content(1, size)}


def test_the_journal_of_every_sync_is_a_write_ahead_log_that_is_synced_in_full(
    folder: Path,
) -> None:
    with closing(open_spool(folder)) as spool:
        connection: sqlite3.Connection = spool._access.writable()._connection
        values = [
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "locking_mode")
        ]
    assert values == [b"wal", 2, b"exclusive"]

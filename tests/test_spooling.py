"""An outbox, its spool, and the thread between: what waits goes to disk, and comes back."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from offload.device.outbox import Entry, SpooledOutbox
from offload.device.spooling import Spooler, open_spool
from offload.errors import HandshakeError
from offload.messages import Open, Outcome, OutcomeRange
from tests.session_pair import dropped, frame, opening

LIMIT_BYTES = 4 * 1024 * 1024
LONG_S = 20.0
WINDOW = 4


class Run:
    """One run of a device: an outbox and its spooler, without a connection."""

    def __init__(
        self,
        folder: Path,
        *,
        next_seq: int | None = None,
        asked: Open | None = None,
        is_named: bool = True,
    ) -> None:
        self.lock = threading.Lock()
        self.reads = 0
        self.spool = open_spool(
            folder, asked or opening(), limit_bytes=LIMIT_BYTES, is_named=is_named
        )
        self.spooler = Spooler(self.spool, self.lock)
        position = self.spooler.position if next_seq is None else next_seq
        self.outbox: SpooledOutbox = self.spooler.make_outbox(next_seq=position, max_entries=WINDOW)
        self.spooler.start(self.outbox, on_moved=self._note_read)

    def _note_read(self) -> None:
        self.reads += 1

    def put(self, count: int, *, payload: bytes = b"x" * 2000) -> None:
        for _ in range(count):
            self.wait_until(lambda: self.outbox.room > 0)
            with self.lock:
                seq = self.outbox.next_seq
                self.outbox.put_frame(
                    frame(seq, payload=payload), captured_s=float(seq), now=time.monotonic()
                )

    def go_online(self) -> None:
        with self.lock:
            self.outbox.is_online = True
            self.spooler.wake()

    def send_all(self) -> list[Entry]:
        """Send and acknowledge one frame after the other, until nothing is left."""
        sent: list[Entry] = []
        while self.outbox.frames:
            self.wait_until(lambda: self.outbox.has_unsent)
            with self.lock:
                entry = self.outbox.take(time.monotonic())
                sent.append(entry)
                self.outbox.acknowledge(entry.stop, (), (), time.monotonic())
                self.spooler.wake()
        return sent

    def wait_until(self, holds: Callable[[], bool]) -> None:
        by_s = time.monotonic() + LONG_S
        while not holds():
            assert time.monotonic() < by_s
            time.sleep(0.002)


@contextmanager
def run(
    folder: Path,
    *,
    next_seq: int | None = None,
    asked: Open | None = None,
    is_named: bool = True,
) -> Iterator[Run]:
    it = Run(folder, next_seq=next_seq, asked=asked, is_named=is_named)
    try:
        yield it
    finally:
        it.spooler.close()


def seqs(entries: list[Entry]) -> list[int]:
    return [seq for each in entries for seq in range(each.first, each.stop)]


def test_what_goes_behind_the_window_comes_back_in_order_and_whole(tmp_path: Path) -> None:
    with run(tmp_path) as device:
        device.put(30)
        device.wait_until(lambda: device.spooler.kept == 30)
        assert len(device.outbox) == WINDOW
        device.go_online()
        sent = device.send_all()
        assert seqs(sent) == list(range(30))
        assert all(each.frame == frame(each.first, payload=b"x" * 2000) for each in sent)
        assert [each.captured_s for each in sent] == [[float(seq)] for seq in range(30)]
        assert device.reads > 0


def test_a_new_run_takes_over_what_the_last_one_left_without_its_clock(tmp_path: Path) -> None:
    with run(tmp_path) as device:
        device.put(10)
        with device.lock:
            device.outbox.put_ended(dropped(10, 3), captured_s=())
    with run(tmp_path) as device:
        assert (device.spooler.resumed, device.outbox.next_seq) == (13, 13)
        device.go_online()
        device.put(2)
        sent = device.send_all()
        assert seqs(sent) == list(range(15))
        assert [bool(each.captured_s) for each in sent] == [*[False] * 11, True, True]
        assert sent[10].ranges == [dropped(10, 3)]
    with run(tmp_path) as device:
        assert (device.spooler.resumed, device.spooler.kept) == (0, 0)


def test_what_the_cloud_has_meanwhile_is_not_sent_again(tmp_path: Path) -> None:
    with run(tmp_path) as device:
        device.put(10)
    with run(tmp_path, next_seq=7) as device:
        assert (device.spooler.resumed, device.spooler.kept) == (3, 3)
        device.go_online()
        assert seqs(device.send_all()) == [7, 8, 9]
    with run(tmp_path, next_seq=50) as device:
        assert (device.spooler.resumed, device.outbox.next_seq) == (0, 50)


def test_what_is_acknowledged_soon_never_comes_to_the_disk(tmp_path: Path) -> None:
    with run(tmp_path) as device:
        device.go_online()
        for _ in range(50):
            device.put(1)
            device.send_all()
        assert device.spool.stop == 0


def test_a_full_spool_keeps_the_rest_in_memory_and_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run(tmp_path) as device, caplog.at_level(logging.ERROR):
        picture = b"p" * 400_000
        full = threading.Event()
        while not full.is_set():
            device.put(1, payload=picture)
            device.wait_until(lambda: device.outbox.room > 0 or bool(caplog.records))
            if device.outbox.room == 0:
                full.set()
        kept, frames = device.spooler.kept, device.outbox.frames
        assert frames - kept == WINDOW
        assert [each.message for each in caplog.records] == ["spool_not_written"]
        device.go_online()
        sent = device.send_all()
        assert seqs(sent) == list(range(frames))
        assert sent[-1].frame == frame(frames - 1, payload=picture)


def test_a_damaged_record_fails_its_frame_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run(tmp_path) as device:
        device.put(10, payload=b"a needle in a haystack" + bytes(1000))
    (path,) = tmp_path.glob("*.spool")
    data = bytearray(path.read_bytes())
    places = [at for at in range(len(data)) if data.startswith(b"a needle", at)]
    data[places[6] + 3] ^= 1
    path.write_bytes(data)
    with run(tmp_path) as device:
        device.go_online()
        sent = device.send_all()
    assert seqs(sent) == list(range(10))
    (lost,) = [each for each in sent if each.frame is None]
    (failed,) = lost.ranges
    assert (failed.count, failed.outcome) == (1, Outcome.FAILED)
    assert "damaged" in failed.reason
    assert [each.message for each in caplog.records] == ["frames_lost"]


def test_a_frame_that_cannot_be_encoded_fails_on_disk_as_it_would_on_the_wire(
    tmp_path: Path,
) -> None:
    with run(tmp_path) as device:
        device.put(1)
        with device.lock:
            bad = frame(1)
            object.__setattr__(bad, "tree", {"text": "\ud800"})
            device.outbox.put_frame(bad, captured_s=1.0, now=time.monotonic())
        device.put(1)
    with run(tmp_path) as device:
        device.go_online()
        sent = device.send_all()
    assert [each.frame is None for each in sent] == [False, True, False]
    assert isinstance(sent[1].ranges[0], OutcomeRange)
    assert "cannot be encoded" in sent[1].ranges[0].reason


def test_a_frame_too_large_for_the_spool_is_sent_from_memory_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    picture = b"p" * (LIMIT_BYTES // 8)
    with run(tmp_path) as device:
        for _ in range(2):
            device.put(1, payload=picture)
        device.wait_until(lambda: device.spooler.kept == 2)
        device.go_online()
        assert [each.frame for each in device.send_all()] == [
            frame(seq, payload=picture) for seq in range(2)
        ]
    (line,) = caplog.records
    assert line.message == "frame_not_spooled"
    assert "raise --spool-limit" in vars(line)["how"]


def test_frames_of_another_pipeline_are_refused(tmp_path: Path) -> None:
    with run(tmp_path) as device:
        device.put(2)
    with pytest.raises(HandshakeError, match="2 frames"):
        open_spool(tmp_path, opening(fingerprint=[{"name": "new"}]), limit_bytes=LIMIT_BYTES)


def test_streams_whose_frames_lie_in_the_same_folder_are_named_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(7):
        with run(tmp_path, asked=opening_of(f"cam {number}")) as device:
            device.put(number)
    caplog.clear()
    open_spool(tmp_path, opening_of("other"), limit_bytes=LIMIT_BYTES).close()
    (line,) = caplog.records
    assert line.message == "other_streams_kept"
    assert (vars(line)["streams"], vars(line)["frames"]) == (6, 21)
    assert vars(line)["how"] == (
        "start again with --stream NAME and the same --spool; "
        "NAME is 'cam 6', 'cam 5', 'cam 4', 'cam 3', 'cam 2', ..."
    )


def test_a_spool_that_cannot_be_written_is_not_called_damaged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run(tmp_path) as device:
        device.put(20)
    damage_structure(tmp_path)
    with no_mending(tmp_path), run(tmp_path):
        pass
    line = caplog.records[0]
    assert line.message == "spool_not_writable"
    assert "cannot be mended" in vars(line)["reason"]
    assert "make its disk writable" in vars(line)["how"]


def test_what_cannot_be_read_now_is_sent_when_it_can_and_nothing_overtakes_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with run(tmp_path) as device:
        device.put(20)
    damage_structure(tmp_path)
    with no_mending(tmp_path) as mending, run(tmp_path) as device:
        device.go_online()
        device.put(WINDOW)
        device.wait_until(lambda: device.outbox.room == 0)
        device.wait_until(lambda: "spool_not_read" in messages(caplog))
        assert not device.outbox.has_unsent
        assert (device.spooler.kept, device.outbox.frames) == (20, 20 + WINDOW)
        mending.rmdir()
        sent = device.send_all()
    assert seqs(sent) == list(range(20 + WINDOW))
    assert all(each.frame is not None for each in sent)
    assert messages(caplog)[-1] == "spool_damaged"


def test_a_stream_that_nobody_can_name_leaves_no_file_once_all_is_acknowledged(
    tmp_path: Path,
) -> None:
    with run(tmp_path, is_named=False) as device:
        device.put(10)
        device.wait_until(lambda: device.spooler.kept == 10)
        device.go_online()
        device.send_all()
    assert list(tmp_path.iterdir()) == []
    with run(tmp_path, is_named=False) as device:
        device.put(10)
    with run(tmp_path) as device:
        assert device.spooler.resumed == 10


def opening_of(stream: str) -> Open:
    return replace(opening(), stream=stream)


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.message for each in caplog.records]


def damage_structure(folder: Path) -> None:
    """Flip a bit in a page's head: no record is lost by it, once the file is mended."""
    (path,) = folder.glob("*.spool")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 // 4096 * 4096] ^= 1
    path.write_bytes(data)


@contextmanager
def no_mending(folder: Path) -> Iterator[Path]:
    """Keep a damaged spool from being mended, until the obstacle is taken away."""
    (path,) = folder.glob("*.spool")
    obstacle = path.with_name(f"{path.name}.partial")
    obstacle.mkdir()
    yield obstacle

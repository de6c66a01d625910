"""Two servers keep one results file: a stream that goes on at the other one is stored once.

Server ``a`` is the one that is not dead, but believed to be: it wakes up with frames that ``b`` has
stored meanwhile.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from offload.errors import TurnedAway
from tests.faults.outages import wait_until
from tests.integration.programs import (
    CloudServer,
    client,
    cloud_server,
    read_position,
    read_results,
    run_client,
    wait_for_results,
    write_app,
)
from tests.integration.raw_device import GATED, NUMBERS, Gate, RawApp, RawDevice

pytestmark = [pytest.mark.integration, pytest.mark.slow]

FRAMES: Final = 400
HELD: Final = 40
WINDOW: Final = 32

# Adds up numbers, and comes to a stop at one of them for as long as there is a file ``hold``.
HOLDING: Final = f"""
import time
from pathlib import Path
from task_interface import Pipeline, Placement, source, task

@source(gives="number")
class Numbers:
    def open(self, start_seq):
        yield from range(start_seq, {FRAMES})

@task(gives="same")
def pass_on(number):
    return number

@task(placement=Placement.CLOUD)
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, same):
        if same == {HELD}:
            Path("held").touch()
            while Path("hold").exists():
                time.sleep(0.01)
        self.total += same
        return self.total

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state

pipeline = Pipeline([Numbers, pass_on, Total])
"""


@contextmanager
def two_servers(folder: Path) -> Iterator[tuple[CloudServer, CloudServer, RawApp]]:
    """Run two servers on one file; tasks of the first wait for the `Gate` in ``folder/a``."""
    for name, text in (("a", GATED), ("b", NUMBERS)):
        (folder / name).mkdir()
        write_app(folder / name, "app", text)
    arguments = ("--app", "app", "--insecure", "--results", f"sqlite:{folder / 'results.db'}")
    with (
        cloud_server(folder / "a", *arguments, "--workers", "4") as a,
        cloud_server(folder / "b", *arguments) as b,
    ):
        yield a, b, RawApp.of("app", NUMBERS)


def test_a_stream_that_another_server_has_moved_on_is_refused_in_words_and_others_go_on(
    tmp_path: Path,
) -> None:
    with two_servers(tmp_path) as (a, b, app):
        gate = Gate(tmp_path / "a")
        with (
            RawDevice(a.port, app, stream="moved") as late,
            RawDevice(a.port, app, stream="other") as other,
            RawDevice(b.port, app, stream="moved") as newer,
        ):
            for each in (late, other):
                each.open()
                for seq in range(2):
                    each.send_frame(seq, number=seq + 1)
            assert newer.open().next_seq == 0
            for seq in range(3):
                newer.send_frame(seq, number=seq + 1)
            newer.wait_for_acknowledgement(3)
            gate.open()
            refused = late.refusal()
            other.wait_for_acknowledgement(2)
        assert isinstance(refused, TurnedAway)
        assert "another server that keeps the same results has taken stream 'moved'" in str(refused)
        assert late.acknowledged == 0
        with RawDevice(a.port, app, stream="moved") as back:
            assert back.open().next_seq == 3
            back.send_frame(3, number=4)
            back.wait_for_acknowledgement(4)
        stopped = a.stop()
    assert stopped.code == 0
    assert "CRITICAL" not in stopped.err
    assert stopped.err.count("stream_moved_on") == 1
    assert read_results(tmp_path / "results.db", "moved") == {0: 2, 1: 6, 2: 12, 3: 20}
    assert read_results(tmp_path / "results.db", "other") == {0: 2, 1: 6}


def test_only_the_server_at_which_a_stream_was_opened_last_stores_frames_of_it(
    tmp_path: Path,
) -> None:
    with two_servers(tmp_path) as (a, b, app):
        gate = Gate(tmp_path / "a")
        with (
            RawDevice(a.port, app, stream="s") as killed,
            RawDevice(b.port, app, stream="s") as started_again,
        ):
            killed.open()
            killed.send_frames(range(3), number=100)
            # Its source takes a while for the first frame, so nothing is stored meanwhile.
            assert started_again.open().next_seq == 0
            gate.open()
            a.wait_for_line("stream_moved_on")
            for seq in range(2):
                started_again.send_frame(seq, number=seq + 1)
            started_again.wait_for_acknowledgement(2)
    assert read_results(tmp_path / "results.db", "s") == {0: 2, 1: 6}


def test_a_device_that_comes_back_does_not_wait_for_the_tasks_of_frames_that_cannot_be_stored(
    tmp_path: Path,
) -> None:
    with two_servers(tmp_path) as (a, b, app):
        gate = Gate(tmp_path / "a")
        with (
            RawDevice(a.port, app, stream="s") as device,
            RawDevice(b.port, app, stream="s") as elsewhere,
        ):
            device.open()
            device.send_frames(range(9), number=100)
            assert elsewhere.open().next_seq == 0
            gate.let_one_pass()
            a.wait_for_line("stream_moved_on")
            # The second one is among its tasks already.
            gate.let_one_pass()
            with RawDevice(a.port, app, stream="s") as back:
                assert back.open().next_seq == 0
                gate.open()
                back.send_frame(0, number=1)
                back.wait_for_acknowledgement(1)
        assert a.stop().code == 0
    assert read_results(tmp_path / "results.db", "s") == {0: 2}


def test_a_stream_in_memory_that_has_gone_on_elsewhere_comes_back_with_the_state_of_the_store(
    tmp_path: Path,
) -> None:
    with two_servers(tmp_path) as (a, b, app):
        Gate(tmp_path / "a").open()
        for seq, server in enumerate((a, b, a)):
            with RawDevice(server.port, app, stream="s") as device:
                assert device.open().next_seq == seq
                device.send_frame(seq, number=seq + 1)
                device.wait_for_acknowledgement(seq + 1)
            server.wait_for_line("session_lost", times=2 if seq == 2 else 1)
    assert read_results(tmp_path / "results.db", "s") == {0: 2, 1: 6, 2: 12}


def test_a_server_that_was_stopped_for_a_while_neither_ends_nor_stores_anything_twice(
    tmp_path: Path,
) -> None:
    app = write_app(tmp_path, "holding", HOLDING)
    database = tmp_path / "results.db"
    hold = tmp_path / "hold"
    hold.touch()
    with (
        cloud_server(tmp_path, "--app", app) as a,
        cloud_server(tmp_path, "--app", app, "--bind", "127.0.0.2", port=a.port) as b,
    ):
        hosts = ("--host", "127.0.0.1,127.0.0.2", "--port", str(a.port), "--app", app)
        paced = ("--stream", "s", "--rate", "100", "--window", str(WINDOW))
        with client(tmp_path, "1", *hosts, *paced) as device:
            # What came before the frame that is held is stored, so that the file is not locked.
            wait_for_results(database, "s", at_least=HELD)
            wait_until((tmp_path / "held").exists, "no frame is held")
            a.send(signal.SIGSTOP)
            hold.unlink()
            b.wait_for_line("session_opened")
            wait_for_results(database, "s", at_least=HELD + 2 * WINDOW)
            a.send(signal.SIGCONT)
            a.wait_for_line("stream_moved_on")
            ended = device.wait()
        alone = run_client(tmp_path, "1", *a.address, "--app", app, "--stream", "t")
        stopped = a.stop()
    assert ended.code == alone.code == stopped.code == 0, stopped.err
    assert "CRITICAL" not in stopped.err
    totals = {seq: seq * (seq + 1) // 2 for seq in range(FRAMES)}
    for stream in ("s", "t"):
        assert read_results(database, stream) == totals
        assert read_position(database, stream) == (FRAMES, 0, 0)

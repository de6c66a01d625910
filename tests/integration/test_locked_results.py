"""A results file that another program keeps locked, as a full disk would be."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from offload.errors import SessionLost
from tests.integration.programs import cloud_server, read_results, write_app
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice

pytestmark = pytest.mark.integration


@pytest.mark.slow
def test_what_cannot_be_written_is_not_acknowledged_until_it_can_be(tmp_path: Path) -> None:
    app = RawApp.of(write_app(tmp_path, "app", NUMBERS), NUMBERS)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="s") as device,
        closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as other,
    ):
        device.open()
        other.execute("BEGIN IMMEDIATE")
        for seq in range(3):
            device.send_frame(seq, number=seq)
        # A locked file is waited for 5 s.
        for _ in range(3):
            device.beat()
            next(device.events())
        server.wait_for_line("results_not_written")
        assert device.acknowledged == 0
        other.execute("ROLLBACK")
        device.wait_for_acknowledgement(3)
        server.wait_for_line("results_written_again")
    assert len(read_results(tmp_path / "results.db", "s")) == 3


@pytest.mark.slow
def test_a_server_that_is_stopped_says_how_many_frames_it_could_not_write(tmp_path: Path) -> None:
    app = RawApp.of(write_app(tmp_path, "app", NUMBERS), NUMBERS)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="s") as device,
        closing(sqlite3.connect(tmp_path / "results.db", isolation_level=None)) as other,
    ):
        device.open()
        other.execute("BEGIN IMMEDIATE")
        for seq in range(3):
            device.send_frame(seq, number=seq)
        stopped = server.stop()
        refused = device.refusal()
        other.execute("ROLLBACK")
    assert stopped.code == 1
    assert re.search(r"results_not_written frames=3 .*will send them again", stopped.err)
    assert isinstance(refused, SessionLost)
    assert device.acknowledged == 0
    assert read_results(tmp_path / "results.db", "s") == {}

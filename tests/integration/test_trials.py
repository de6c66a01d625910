"""A trial is served like any stream, and the server keeps nothing of it."""

import sqlite3
from pathlib import Path

import pytest

from offload.errors import AuthError
from tests.integration.answers import FIRST, Cloud, welcoming
from tests.integration.programs import (
    cloud_server,
    read_results,
    read_summary,
    run_client,
    write_app,
)
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice

pytestmark = pytest.mark.integration

STREAM = "porch"


def streams(database: Path) -> list[str]:
    connection = sqlite3.connect(database)
    try:
        return [row[0] for row in connection.execute("SELECT stream FROM streams")]
    finally:
        connection.close()


def test_trial_gives_its_results_and_the_store_never_hears_of_it(tmp_path: Path) -> None:
    app = write_app(tmp_path, "numbers_app", NUMBERS)
    with cloud_server(tmp_path, "--app", app) as server:
        ended = run_client(
            tmp_path, "1", *server.address, "--app", app, "--trial", "--summary", "trial.json"
        )
    assert ended.code == 0, ended.err
    assert "results_not_durable" not in ended.err
    assert read_summary(tmp_path / "trial.json")["frames"]["completed"] == 10
    assert streams(tmp_path / "results.db") == []


@pytest.mark.parametrize(("options", "is_told"), [(["--trial"], True), ([], False)])
def test_log_of_the_server_tells_trials_from_the_work_of_devices(
    tmp_path: Path, options: list[str], is_told: bool
) -> None:
    app = write_app(tmp_path, "numbers_app", NUMBERS)
    with cloud_server(tmp_path, "--app", app) as server:
        assert run_client(tmp_path, "1", *server.address, "--app", app, *options).code == 0
        for name in ("session_opened", "stream_ended"):
            assert ("trial=True" in server.wait_for_line(name)) is is_told


def test_trial_and_stream_of_one_name_do_not_meet(tmp_path: Path) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with cloud_server(tmp_path, "--app", name, "--insecure") as server:
        with (
            RawDevice(server.port, app, stream=STREAM) as kept,
            RawDevice(server.port, app, stream=STREAM, trial=True) as trial,
        ):
            assert kept.open().durable
            kept.send_frame(0, number=1)
            welcome = trial.open()
            assert (welcome.next_seq, welcome.durable) == (0, False)
            trial.send_frames(range(3), number=50)
            trial.wait_for_acknowledgement(3)
            kept.send_frame(1, number=2)
            kept.wait_for_acknowledgement(2)
            trial.end()
        assert server.stop().code == 0
    assert len(read_results(tmp_path / "results.db", STREAM)) == 2
    assert streams(tmp_path / "results.db") == [STREAM]


def test_trial_goes_on_where_it_was_while_its_server_lives(tmp_path: Path) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with cloud_server(tmp_path, "--app", name, "--insecure") as server:
        with RawDevice(server.port, app, stream=STREAM, trial=True) as trial:
            trial.open()
            trial.send_frames(range(3), number=1)
            trial.wait_for_acknowledgement(3)
        with RawDevice(server.port, app, stream=STREAM, trial=True, position=3) as trial:
            assert trial.open().next_seq == 3


def test_server_without_results_file_serves_trials_too(tmp_path: Path) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with (
        cloud_server(tmp_path, "--app", name, "--insecure", "--results", "none") as server,
        RawDevice(server.port, app, stream=STREAM, trial=True) as trial,
    ):
        trial.open()
        trial.send_frame(0, number=1)
        trial.wait_for_acknowledgement(1)


@pytest.mark.parametrize(
    ("stream", "trial", "why"),
    [
        ("porch (trial)", False, "is called like a trial"),
        ("p" * 121, True, "has too long a name for a trial"),
    ],
)
def test_names_that_would_meet_those_of_trials_are_refused(
    tmp_path: Path, stream: str, trial: bool, why: str
) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with (
        cloud_server(tmp_path, "--app", name, "--insecure") as server,
        RawDevice(server.port, app, stream=stream, trial=trial) as device,
    ):
        error = device.refusal()
    assert isinstance(error, AuthError)
    assert why in str(error)


def test_device_says_if_a_server_does_not_know_trials(tmp_path: Path) -> None:
    app = write_app(tmp_path, "numbers_app", NUMBERS)
    # As an older one does, it takes no notice of the field.
    with Cloud(FIRST, answer=welcoming) as older:
        at = ("--host", FIRST, "--port", str(older.port))
        ended = run_client(tmp_path, "1", *at, "--app", app, "--trial")
    assert ended.code == 0, ended.err
    assert "trial_is_kept" in ended.err


@pytest.mark.parametrize("others", [["--trial"], ["1", "--trial", "--spool", "spool"]])
def test_trial_goes_with_a_server_and_without_a_spool(tmp_path: Path, others: list[str]) -> None:
    app = write_app(tmp_path, "numbers_app", NUMBERS)
    ended = run_client(tmp_path, *others, "--app", app)
    assert ended.code == 2
    assert "--trial" in ended.error

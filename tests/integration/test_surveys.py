"""A survey on the real programs: what it says of each split is what a run there gives."""

from pathlib import Path
from typing import Any

import pytest

from tests.integration.programs import cloud_server, read_summary, run_client, write_app

pytestmark = pytest.mark.integration

# Tasks that take the same on every machine, however busy it is.
SLEEPING = """
import time

def number():
    return True, 1

def first(number):
    time.sleep(0.02)
    return True, number

def second(number):
    time.sleep(0.04)
    return True, number

def last(number):
    time.sleep(0.004)
    return True, number

tasks = [number, first, second, last]
"""

# What was asked of a forecast.
NEAR = 0.15


def survey(folder: Path, *options: str) -> list[dict[str, Any]]:
    ended = run_client(folder, "3", "1000", *options, "--survey", "--trial", "--summary", "s.json")
    assert ended.code == 0, ended.err
    found = read_summary(folder / "s.json")["forecasts"]
    assert isinstance(found, list)
    return found


@pytest.mark.slow
def test_survey_forecasts_what_each_split_gives(tmp_path: Path) -> None:
    app = write_app(tmp_path, "sleeping_app", SLEEPING)
    with cloud_server(tmp_path, "--app", app, "--results", "none") as server:
        options = (*server.address, "--app", app)
        found = survey(tmp_path, *options)
        assert [each["split"] for each in found] == [1, 2, 3]
        for each in found:
            split = str(each["split"])
            ended = run_client(tmp_path, split, *options, "--duration", "2", "--summary", "m.json")
            assert ended.code == 0, ended.err
            reached = read_summary(tmp_path / "m.json")["fps"]
            assert each["fps"] == pytest.approx(reached, rel=NEAR), each
    assert [each["limit"] for each in found] == ["cloud", "cloud", "device"]


@pytest.mark.slow
def test_automatic_run_says_what_splits_would_give_and_others_do_not(tmp_path: Path) -> None:
    app = write_app(tmp_path, "sleeping_app", SLEEPING)
    with cloud_server(tmp_path, "--app", app, "--results", "none") as server:
        options = (*server.address, "--app", app, "--duration", "2", "--summary", "s.json")
        assert run_client(tmp_path, "3", "10", *options).code == 0
        found = read_summary(tmp_path / "s.json")["forecasts"]
        assert found[2]["fps"] == pytest.approx(16, rel=NEAR)
        assert run_client(tmp_path, "3", *options).code == 0
        assert read_summary(tmp_path / "s.json")["forecasts"] == []


def test_survey_needs_splits_that_can_move(tmp_path: Path) -> None:
    app = write_app(tmp_path, "sleeping_app", SLEEPING)
    ended = run_client(tmp_path, "3", "--survey", "--app", app)
    assert ended.code == 2
    assert "--survey goes with FPS" in ended.error

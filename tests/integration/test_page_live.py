"""What a server's page shows of running devices, and how it steers them."""

import csv
import io
import json
import signal
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from offload.dashboard.downloads import MAX_DOWNLOADS
from offload.dashboard.pictures import PICTURE_FPS
from offload.dashboard.watching import MAX_WATCHERS
from tests.integration.page_site import VIEWER, Site, site_in, write_tokens
from tests.integration.programs import (
    Program,
    client,
    read_results,
    wait_for_results,
    write_app,
)
from tests.integration.visitor import Visitor, of_device, wait_until
from tests.session_pair import OPERATOR, TOKEN

pytestmark = [pytest.mark.integration, pytest.mark.slow]

STREAM: Final = "porch"

# At split 6 a frame takes some 100 bytes, and a watched one with its picture some thousand.
PLAIN_BYTES_PER_S: Final = 6_000
PICTURED_BYTES_PER_S: Final = 20_000

ODD_APP: Final = """
import itertools
import numpy as np
from task_interface import Pipeline, source, task

@source(gives="number")
def count():
    yield from itertools.count()

@task()
def show(number, context):
    context.show(np.zeros((2, 3)))
    return number

pipeline = Pipeline([count, show])
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with site_in(tmp_path) as site:
        yield site


def device(
    site: Site, *arguments: str, stream: str = STREAM, mode: tuple[str, ...] = ("3", "20")
) -> AbstractContextManager[Program]:
    """Run a device of 30 frames a second while the block lasts."""
    options = ("--stream", stream, "--rate", "30", "--token-file", "tokens", *arguments)
    return client(site.tokens.parent, *mode, *site.server.address, *options)


def row_of(visitor: Visitor, stream: str = STREAM) -> dict[str, Any]:
    rows = visitor.json("/api/devices")["devices"]
    found = [row for row in rows if row["stream"] == stream]
    return found[0] if found else {}


def wait_for_row(visitor: Visitor, **expected: object) -> dict[str, Any]:
    """Wait until a stream's row has some values."""
    return wait_until(
        lambda: row_of(visitor),
        lambda row: all(row.get(name) == value for name, value in expected.items()),
    )


def columns(visitor: Visitor) -> dict[str, Any]:
    found: dict[str, Any] = visitor.json(of_device(STREAM))["samples"]
    return found


# What is shown.


def test_the_list_tells_of_devices_that_come_and_go(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with visitor.watching("/api/events") as events:
        name, first = events.next()
        assert (name, first["rows"], first["gone"]) == ("devices", [], [])
        with device(site) as program:
            said = events.until("devices", lambda data: data["rows"] and data["rows"][0]["fps"])
            (row,) = said["rows"]
            assert (row["stream"], row["mode"], row["tasks"]) == (STREAM, "automatic", 7)
            assert row["connected"]
            program.kill()
            away = events.until("devices", lambda data: not data["rows"][0]["connected"])
            # How it stood last.
            assert away["rows"][0]["fps"] > 0
            assert away["rows"][0]["target_met"] is None


def test_a_watcher_hears_that_the_server_is_there_though_nothing_changes(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with device(site, "--frames", "5", stream="short") as short:
        assert short.wait().code == 0
    with (
        visitor.watching("/api/events") as of_list,
        visitor.watching(of_device("short", "/events")) as of_stream,
    ):
        for events in (of_list, of_stream):
            assert events.until("alive", lambda _: True) == {}


def test_only_rows_that_changed_are_said_again(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with device(site, "--frames", "5", stream="short") as short:
        assert short.wait().code == 0
    with device(site), visitor.watching("/api/events") as events:
        first = events.until("devices", lambda data: data["rows"])
        assert "short" in {row["stream"] for row in first["rows"]}
        for _ in range(3):
            data = events.until("devices", lambda _: True)
            assert {row["stream"] for row in data["rows"]} <= {STREAM}


def test_a_device_is_shown_with_what_it_did_since_it_came(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with device(site):
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        wait_until(lambda: columns(visitor)["fps"], lambda fps: len(fps) >= 2)
        found = visitor.json(of_device(STREAM))
        assert found["info"]["tasks"][0] == "get_frame"
        assert found["info"]["splits"] == [1, 2, 3, 4, 5, 6]
        samples = found["samples"]
        lengths = {name: len(column) for name, column in samples.items()}
        assert len(set(lengths.values())) == 1, lengths
        assert all(len(parts) == 7 for parts in samples["task_device_part"])
        assert 5 < samples["captured_per_s"][-1] < 40
        assert found["row"]["stream"] == STREAM
        assert found["notices"][0]["kind"] == "session_opened"
        assert found["tasks"][-1]["name"] == "show_frame"


def test_a_watcher_of_a_device_gets_its_samples_and_notices(site: Site) -> None:
    visitor = site.visitor(OPERATOR)
    with device(site):
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        noticed = visitor.json(of_device(STREAM))["noticed"]
        path = of_device(STREAM, f"/events?noticed={noticed}")
        with visitor.watching(path) as events:
            first = events.until("sample", lambda data: data["sample"])
            second = events.until(
                "sample", lambda data: data["sample"]["at_s"] > first["sample"]["at_s"]
            )
            assert len(second["tasks"]) == 7
            assert len(second["sample"]["task_device_part"]) == 7
            assert visitor.post(of_device(STREAM, "/pin"), {"split": 4}).status == 200
            notice = events.until("notice", lambda data: data["kind"] == "steered")
            assert (notice["text"], notice["by"]) == ("split pinned to 4", "boss")
            events.until("sample", lambda data: data["row"]["pinned"] == 4)
        # Who comes back gets what happened meanwhile.
        with visitor.watching(path, Last_Event_ID=str(noticed)) as events:
            events.until("notice", lambda data: data["text"] == "split pinned to 4")


def test_a_device_that_is_lost_and_comes_back_leaves_a_gap(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with device(site) as first:
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        first.kill()
        wait_for_row(visitor, connected=False, ended=False)
    with device(site):
        wait_for_row(visitor, connected=True)
        wait_until(lambda: columns(visitor)["connected"], lambda column: column[-1] == 1.0)
        assert 0.0 in columns(visitor)["connected"]
        kinds = [each["kind"] for each in visitor.json(of_device(STREAM))["notices"]]
        assert kinds.count("session_opened") == 2
        assert "session_lost" in kinds


def test_a_stream_of_any_name_is_shown_and_written_into_no_header(site: Site) -> None:
    name = 'a/"b" #?%2F ü'
    visitor = site.visitor(OPERATOR)
    with device(site, stream=name):
        wait_until(lambda: row_of(visitor, name), lambda row: bool(row and row["fps"]))
        assert visitor.json(of_device(name))["info"]["stream"] == name
        assert visitor.post(of_device(name, "/release")).status == 200
        answered = visitor.get(of_device(name, "/results.csv"))
        file = 'attachment; filename="results-a_b_2F_.csv"'
        assert answered.headers["content-disposition"] == file


# Steering.


def test_a_device_is_steered_from_the_page_and_the_log_says_by_whom(site: Site) -> None:
    visitor = site.visitor(OPERATOR)
    with device(site):
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        for what, body, text, expected in (
            ("target", {"fps": 12.5}, "target 12.5 FPS", {"target_fps": 12.5}),
            ("pin", {"split": 5}, "split pinned to 5", {"pinned": 5}),
            ("release", {}, "split released", {"pinned": None}),
        ):
            began_s = time.monotonic()
            answered = visitor.post(of_device(STREAM, f"/{what}"), body)
            assert answered.status == 200, answered
            said = answered.json()
            assert said["text"] == text
            assert {name: said["row"][name] for name in expected} == expected
            assert time.monotonic() - began_s < 1.0
            line = site.server.wait_for_line(f"change={what}")
            assert f"token=boss stream={STREAM}" in line


def test_what_a_device_does_not_do_is_said_in_its_words(site: Site) -> None:
    visitor = site.visitor(OPERATOR)
    with device(site, mode=("3",)):
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        refused = visitor.post(of_device(STREAM, "/target"), {"fps": 5})
        assert refused.status == 409
        assert "manual mode" in refused.json()["error"]
        beyond = visitor.post(of_device(STREAM, "/pin"), {"split": 7})
        assert beyond.json() == {"error": "split is 7, expected 1 to 6"}


def test_a_device_that_is_away_cannot_be_steered(site: Site) -> None:
    visitor = site.visitor(OPERATOR)
    with device(site) as program:
        wait_for_row(visitor, connected=True)
        program.kill()
        wait_for_row(visitor, connected=False)
    answered = visitor.post(of_device(STREAM, "/target"), {"fps": 5})
    assert answered.status == 409
    assert "is not connected" in answered.json()["error"]


@pytest.mark.parametrize("mode", [("3", "20"), ("3",)], ids=["automatic", "manual"])
def test_a_drained_device_finishes_what_is_in_flight_and_ends_well(
    site: Site, mode: tuple[str, ...]
) -> None:
    visitor = site.visitor(OPERATOR)
    with device(site, "--summary", "device.json", mode=mode) as program:
        wait_for_results(site.tokens.parent / "results.db", STREAM, at_least=5)
        answered = visitor.post(of_device(STREAM, "/drain"))
        assert answered.status == 200, answered
        assert answered.json()["text"] == "told to finish"
        ended = program.wait()
    assert ended.code == 0, ended.err
    frames = json.loads((site.tokens.parent / "device.json").read_text())["frames"]
    assert frames["captured"] == frames["completed"] + frames["filtered"]
    assert frames["abandoned"] == 0
    row = wait_for_row(visitor, ended=True)
    assert not row["connected"]
    assert len(read_results(site.tokens.parent / "results.db", STREAM)) == frames["completed"]


# Pictures.


def test_pictures_are_made_while_somebody_looks_and_no_longer(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    # Nearly all of what it sends are pictures, if there are any.
    with device(site, mode=("6",)):
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        path = of_device(STREAM, "/picture")
        first = wait_until(lambda: visitor.get(path), lambda answered: answered.status == 200)
        assert first.headers["content-type"] == "image/jpeg"
        assert first.body[:2] == b"\xff\xd8"
        number, seen, began_s = int(first.headers["x-picture"]), 0, time.monotonic()
        while time.monotonic() - began_s < 3.0:
            answered = visitor.get(f"{path}?after={number}")
            assert answered.status == 200
            assert int(answered.headers["x-picture"]) > number
            number, seen = int(answered.headers["x-picture"]), seen + 1
        assert 5 <= seen <= 3 * PICTURE_FPS + 1
        assert max(sent_bytes_per_s(visitor)) > PICTURED_BYTES_PER_S
        wait_until(lambda: sent_bytes_per_s(visitor)[-1], lambda sent: sent < PLAIN_BYTES_PER_S)


def test_a_browser_gets_no_more_pictures_though_a_device_makes_more(tmp_path: Path) -> None:
    with site_in(tmp_path, "--results", "none", "--watch", "all") as site, device(site):
        visitor, path = site.visitor(VIEWER), of_device(STREAM, "/picture")
        wait_for_row(visitor, connected=True)
        numbers = [-1]
        until_s = time.monotonic() + 3.0
        while time.monotonic() < until_s:
            answered = visitor.get(f"{path}?after={max(0, numbers[-1])}")
            assert answered.status == 200
            numbers.append(int(answered.headers["x-picture"]))
        assert len(numbers) <= 3 * PICTURE_FPS + 2
        # Between two of them the device made others.
        assert numbers[-1] > 2 * len(numbers)


def sent_bytes_per_s(visitor: Visitor) -> list[float]:
    return [each for each in columns(visitor)["sent_bytes_per_s"] if each is not None]


def test_a_picture_that_is_none_is_said_in_words(tmp_path: Path) -> None:
    write_app(tmp_path, "odd_app", ODD_APP)
    with site_in(tmp_path, "--app", "odd_app", "--results", "none") as site:
        visitor = site.visitor(VIEWER)
        with device(site, "--app", "odd_app", mode=("1",)):
            wait_for_row(visitor, connected=True)
            path = of_device(STREAM, "/picture")
            answered = wait_until(lambda: visitor.get(path), lambda found: found.status != 204)
    assert answered.status == 422
    assert "the app's picture is float64[2, 3], expected uint8" in answered.json()["error"]


def test_a_stream_without_pictures_has_none_in_time(tmp_path: Path) -> None:
    write_app(tmp_path, "odd_app", ODD_APP.replace("context.show", "str"))
    with site_in(tmp_path, "--app", "odd_app", "--results", "none") as site:
        visitor = site.visitor(VIEWER)
        with device(site, "--app", "odd_app", mode=("1",)):
            wait_for_row(visitor, connected=True)
            assert visitor.get(of_device(STREAM, "/picture?after=7")).status == 204


# Results.


def test_results_are_shown_by_pages_the_newest_first(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with device(site, "--frames", "60") as program:
        assert program.wait().code == 0
    stored = read_results(site.tokens.parent / "results.db", STREAM)
    path = of_device(STREAM, "/results?limit=25")
    page = visitor.json(path)
    seqs = [row["seq"] for row in page["rows"]]
    while page["next"] is not None:
        page = visitor.json(f"{path}&before={page['next']}")
        assert len(page["rows"]) <= 25
        seqs += [row["seq"] for row in page["rows"]]
    assert seqs == sorted(stored, reverse=True)
    assert set(page["rows"][0]) == {"seq", "captured_at", "received_at", "split", "value"}
    assert page["kept"]


@pytest.mark.parametrize("query", ["limit=0", "limit=1", "before=0", f"before={2**62}"])
def test_any_page_may_be_asked_for(site: Site, query: str) -> None:
    visitor = site.visitor(VIEWER)
    with device(site, "--frames", "5") as program:
        assert program.wait().code == 0
    assert visitor.get(of_device(STREAM, f"/results?{query}")).status == 200


@pytest.mark.parametrize("query", ["limit=501", "limit=-1", "limit=x", "before=" + "9" * 30])
def test_a_page_that_is_none_is_refused(site: Site, query: str) -> None:
    visitor = site.visitor(VIEWER)
    with device(site, "--frames", "5") as program:
        assert program.wait().code == 0
    assert visitor.get(of_device(STREAM, f"/results?{query}")).status == 400


def test_all_results_can_be_downloaded(site: Site) -> None:
    visitor = site.visitor(TOKEN)
    with device(site, "--frames", "150") as program:
        assert program.wait().code == 0
    stored = read_results(site.tokens.parent / "results.db", STREAM)
    lines = visitor.get(of_device(STREAM, "/results.jsonl"))
    assert lines.headers["content-disposition"] == 'attachment; filename="results-porch.jsonl"'
    found = [json.loads(line) for line in lines.body.decode().splitlines()]
    assert [each["seq"] for each in found] == sorted(stored)
    assert {each["stream"] for each in found} == {STREAM}
    table = visitor.get(of_device(STREAM, "/results.csv"))
    rows = list(csv.DictReader(io.StringIO(table.body.decode())))
    assert [int(row["seq"]) for row in rows] == sorted(stored)
    assert json.loads(rows[0]["value"]) == found[0]["value"]


def test_a_server_that_keeps_no_results_says_so(tmp_path: Path) -> None:
    with site_in(tmp_path, "--results", "none") as site, device(site):
        visitor = site.visitor(VIEWER)
        wait_for_row(visitor, connected=True)
        found = visitor.json(of_device(STREAM, "/results"))
        assert found == {"kept": False, "rows": [], "next": None}
        answered = visitor.get(of_device(STREAM, "/results.csv"))
        assert answered.status == 404
        assert "keeps no results" in answered.json()["error"]


# Browsers that are slow, or many.


def test_a_browser_that_does_not_read_holds_up_nothing(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    keep_many_results(site)
    server = psutil.Process(site.server.pid)
    with device(site), ExitStack() as stack:
        wait_until(lambda: row_of(visitor), lambda row: bool(row and row["fps"]))
        before_bytes = server.memory_info().rss
        for path in ("/results.csv", "/results.jsonl", "/events", "/picture"):
            stack.enter_context(visitor.asking_only(of_device(STREAM, path)))
        stack.enter_context(visitor.asking_only("/api/events"))
        count = len(columns(visitor)["fps"])
        captured = wait_until(
            lambda: columns(visitor)["captured_per_s"], lambda found: len(found) >= count + 4
        )
        # Of 30; a busy machine may take some of them.
        assert min(captured[-3:]) > 10
        assert row_of(visitor)["dropped"] == 0
        # The files would be over 20 MB each.
        assert server.memory_info().rss - before_bytes < 15_000_000
        assert visitor.get(of_device(STREAM, "/results?limit=1")).status == 200
        assert len(server.children()) == 2
    # Those that were broken off have given their places back.
    wait_until(lambda: downloads_at_once(visitor), lambda found: found == MAX_DOWNLOADS)
    wait_until(server.children, lambda found: not found)


def downloads_at_once(visitor: Visitor) -> int:
    """Return how many downloads the server serves side by side."""
    path = of_device(STREAM, "/results.csv")
    with ExitStack() as stack:
        asked = [stack.enter_context(visitor.asking_only(path)) for _ in range(MAX_DOWNLOADS + 1)]
        return sum(each.recv(15) == b"HTTP/1.1 200 OK" for each in asked)


def add_results(database: Path, number: int) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        (value,) = connection.execute("SELECT value FROM results LIMIT 1").fetchone()
        connection.executemany(
            "INSERT INTO results VALUES (?, ?, 0.0, 0.0, 3, ?)",
            ((STREAM, 10**6 + seq, value) for seq in range(number)),
        )


def test_there_are_only_so_many_watchers_at_a_time(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with ExitStack() as stack:
        watching = [
            stack.enter_context(visitor.watching("/api/events")) for _ in range(MAX_WATCHERS)
        ]
        for each in watching:
            each.next()
        answered = visitor.get("/api/events")
        assert answered.status == 503
        assert "too many" in answered.json()["error"]
        assert visitor.get("/api/devices").status == 200
    wait_until(lambda: watches(visitor), bool)


def watches(visitor: Visitor) -> bool:
    with visitor.asking_only("/api/events") as connection:
        return connection.recv(15) == b"HTTP/1.1 200 OK"


def test_a_server_with_watchers_ends_at_once_when_it_is_told_to(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    with visitor.watching("/api/events") as events:
        events.next()
        with visitor.asking_only("/api/events"):
            began_s = time.monotonic()
            assert site.server.stop().code == 0
            assert time.monotonic() - began_s < 5.0
        events.run_out()


def test_a_server_ends_quietly_though_a_browser_waits_or_does_not_read(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    keep_many_results(site)
    with ExitStack() as stack:
        for path in ("/results.csv", "/picture"):
            asked = stack.enter_context(visitor.asking_only(of_device(STREAM, path)))
            if path == "/results.csv":
                assert asked.recv(15) == b"HTTP/1.1 200 OK"
        (export,) = wait_until(psutil.Process(site.server.pid).children, bool)
        began_s = time.monotonic()
        ended = site.server.stop()
        assert time.monotonic() - began_s < 5.0
    assert ended.code == 0
    assert " ERROR " not in ended.err
    wait_until(export.is_running, lambda found: not found)


def test_a_download_ends_when_its_token_is_withdrawn(site: Site) -> None:
    visitor = site.visitor(VIEWER)
    keep_many_results(site)
    with visitor.asking_only(of_device(STREAM, "/results.csv")) as connection:
        found = connection.recv(15)
        assert found == b"HTTP/1.1 200 OK"
        write_tokens(site.tokens, TOKEN, OPERATOR)
        site.server.send(signal.SIGHUP)
        site.server.wait_for_line("tokens_reloaded")
        while part := connection.recv(1 << 20):
            found += part
    # The rest would be over 15 MB, and end with an empty chunk.
    assert len(found) < 8_000_000
    assert not found.endswith(b"0\r\n\r\n")
    wait_until(psutil.Process(site.server.pid).children, lambda found: not found)
    assert "Traceback" not in site.server.stop().err


def keep_many_results(site: Site) -> None:
    """Store more results of a stream than the buffers between two programs hold."""
    folder = site.tokens.parent
    with device(site) as program:
        wait_for_results(folder / "results.db", STREAM, at_least=1)
        program.kill()
    add_results(folder / "results.db", 200_000)


def test_connections_that_ask_for_nothing_are_ended(site: Site) -> None:
    silent = [socket.create_connection(("localhost", site.port)) for _ in range(3)]
    try:
        silent[1].sendall(b"GET / HT")
        silent[2].sendall(
            b"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\ntoken"
        )
        for each in silent:
            each.settimeout(40)
            while each.recv(4096):
                pass
    finally:
        for each in silent:
            each.close()

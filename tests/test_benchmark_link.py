import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from benchmarks.netns import PREFIX, LinkedNamespaces, LinkError, remove_stale

ROOT: Final = Path(__file__).parent.parent
COMMAND: Final = (sys.executable, "-m", "benchmarks.link")

# Only ends a test that has failed already.
WAIT_S: Final = 60.0


def namespaces() -> list[str]:
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    return [line.split()[0] for line in listed.stdout.splitlines() if line.startswith(PREFIX)]


@contextmanager
def namespace(name: str) -> Iterator[str]:
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        yield name
    finally:
        if name in namespaces():
            subprocess.run(["ip", "netns", "delete", name], check=True)


@contextmanager
def benchmark(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def running_in(name: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program in a namespace that says when it is there, and then waits for ever."""
    with subprocess.Popen(
        ["ip", "netns", "exec", name, "sh", "-c", "echo ready; exec sleep infinity"],
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"ready\n"
            yield process
        finally:
            process.kill()


def dead_process() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait(WAIT_S)
        return process.pid


def test_without_root_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LinkError, match="need root"), LinkedNamespaces():
        pass


def test_where_it_cannot_run_the_benchmark_says_why_in_one_line() -> None:
    ended = subprocess.run(
        COMMAND, cwd=ROOT, env={"PATH": ""}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.root
def test_the_namespaces_last_as_long_as_the_block() -> None:
    with LinkedNamespaces() as link:
        inside = {link.in_device[-1], link.in_cloud[-1]}
        assert inside <= set(namespaces())
    assert not inside & set(namespaces())


@pytest.mark.root
def test_the_namespaces_are_removed_when_the_link_cannot_be_limited() -> None:
    def limit_to_nothing() -> None:
        with LinkedNamespaces() as link:
            link.limit(0.0)

    with pytest.raises(LinkError, match="tbf"):
        limit_to_nothing()
    assert [each for each in namespaces() if str(os.getpid()) in each] == []


@pytest.mark.root
def test_what_a_killed_run_left_is_removed_with_its_processes() -> None:
    stale = f"{PREFIX}{dead_process()}-cloud"
    with namespace(stale), running_in(stale) as process:
        remove_stale()
        assert stale not in namespaces()
        assert process.wait(WAIT_S) == -signal.SIGKILL


@pytest.mark.root
def test_the_namespaces_of_a_living_run_are_left_alone() -> None:
    with namespace(f"{PREFIX}{os.getpid()}-cloud") as living:
        remove_stale()
        assert living in namespaces()


@pytest.mark.root
def test_a_benchmark_that_is_told_to_end_leaves_no_namespace() -> None:
    with benchmark("--quick", "--rate", "20", "--split", "5") as process:
        assert process.stderr is not None
        # The second line names the first case: the namespaces are there.
        assert [process.stderr.readline() for _ in range(2)][1].startswith("20 Mbit/s")
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 128 + signal.SIGTERM
        assert [each for each in namespaces() if f"{PREFIX}{process.pid}-" in each] == []


@pytest.mark.root
def test_raw_pictures_go_through_at_the_rate_of_the_link(tmp_path: Path) -> None:
    report = tmp_path / "link.json"
    with benchmark("--quick", "--rate", "100", "--split", "1", "--json", str(report)) as process:
        _, said = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0, said
    figures = json.loads(report.read_text(encoding="utf-8"))["contenders"]
    for watched in ("watched", "unwatched"):
        raw = figures[f"100 Mbit/s, K = 1, {watched}, raw"]
        rate_mbit = raw["fps"]["median"] * raw["frame_bytes"]["median"] * 8 / 1e6
        assert 70 < rate_mbit < 105
        assert f"100 Mbit/s, K = 1, {watched}, auto" in figures

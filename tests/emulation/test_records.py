"""What a run writes down, and what it says while it goes on."""

import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

from offload.emulation.local.collecting import DirectionNow, MachineNow, Now
from offload.emulation.local.events import EventKind, EventLog
from offload.emulation.local.progress import Progress

NOW = Now(
    machines=[
        MachineNow(machine="cloud", cpu_cores=None, memory_bytes=None),
        MachineNow(machine="pi", cpu_cores=0.1504, memory_bytes=41 * 1024**2),
    ],
    directions=[
        DirectionNow(link="wifi", to="cloud", bit_s=3.7e6),
        DirectionNow(link="wifi", to="pi", bit_s=0.2e6),
    ],
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def events_in(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_what_happens_before_all_machines_have_started_is_at_a_negative_time(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    with closing(EventLog(tmp_path / "events.jsonl", said.append)) as events:
        events.record(EventKind.STARTED, "server", machine="cloud")
        events.begin()
        events.record(EventKind.CHANGE, "at 0s: link wifi down")
        events.record(EventKind.ENDED, "exit code 3", machine="cloud", exit_code=3)
        # Each is in the file at once.
        started, change, ended = events_in(tmp_path / "events.jsonl")
    assert started["t"] < 0 <= change["t"] <= ended["t"]
    assert (started["kind"], started["machine"], started["text"]) == ("started", "cloud", "server")
    assert (change["kind"], change["machine"]) == ("change", None)
    assert (ended["kind"], ended["exit_code"]) == ("ended", 3)
    assert started["at"] <= change["at"] <= ended["at"]
    assert said[0] == "cloud started: server"
    assert said[1].endswith(" s: change: at 0s: link wifi down")


def test_the_events_of_a_run_that_never_began_are_written_at_its_end(tmp_path: Path) -> None:
    with closing(EventLog(tmp_path / "events.jsonl", lambda _: None)) as events:
        events.record(EventKind.STARTED, "server", machine="cloud")
        assert events_in(tmp_path / "events.jsonl") == []
    (started,) = events_in(tmp_path / "events.jsonl")
    assert started["t"] < 0


def test_a_terminal_gets_a_line_every_second_and_a_file_every_five() -> None:
    terminal, file = Terminal(), io.StringIO()
    for output in (terminal, file):
        progress = Progress(60.0, output)
        for tenths in range(121):
            progress.watch(tenths / 10, NOW)
    assert len(terminal.getvalue().splitlines()) == 12
    assert [line.split(" s of ")[0] for line in file.getvalue().splitlines()] == ["5", "10"]


def test_a_line_says_what_machines_and_links_do() -> None:
    output = Terminal()
    Progress(60.0, output).watch(12.0, NOW)
    assert output.getvalue() == ("12 s of 60: cloud, pi 0.15 core 41 MiB; wifi 3.9 Mbit/s\n")


def test_a_line_of_many_machines_shows_the_first_ones() -> None:
    output = Terminal()
    many = [MachineNow(machine=f"m{n}", cpu_cores=None, memory_bytes=None) for n in range(20)]
    Progress(60.0, output).watch(1.0, Now(machines=many, directions=[]))
    assert output.getvalue() == "1 s of 60: m0, m1, m2, m3, and 16 more\n"


def test_what_a_program_says_cannot_steer_the_terminal() -> None:
    output = Terminal()
    Progress(60.0, output).say("pi | \x1b[2J")
    assert output.getvalue() == "pi | ?[2J\n"

"""Whole runs on this machine, with real namespaces, cgroups and programs; they need root.

Each is started as a user does. What a run leaves behind is looked for on the machine itself, so
none of them may be tried while somebody else's run is going on.
"""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import CLIENT, SERVER, Ended, write_app

pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")

from offload.emulation.local.cgroups import find_cgroups, read_mounts
from offload.emulation.local.cleaning import RUN_VARIABLE
from offload.emulation.local.network import our_namespaces
from offload.emulation.local.planning import look_at_machine

ROOT: Final = Path(__file__).parents[2]

WAIT_S: Final = 40.0

APP: Final = """
from task_interface import Pipeline, source, task

@source(gives="number")
def numbers():
    yield from range(10**9)

@task(gives="square")
def square(number: int) -> int:
    return number * number

@task()
def finish(square: int) -> int:
    return square

pipeline = Pipeline([numbers, square, finish])
"""

# Prints that it runs, and then uses all the processor that it gets.
SPIN: Final = "print('spins', flush=True)\nwhile True: pass"
WAIT: Final = "print('waits', flush=True)\nimport time\ntime.sleep(1000)"


def _what_is_missing() -> str:
    abilities = look_at_machine()
    if not abilities.is_root:
        return "root"
    if not abilities.has_tun:
        return "/dev/net/tun"
    return "" if {"cpu", "memory"} <= abilities.controllers else "cgroups"


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(_what_is_missing() != "", reason=f"{_what_is_missing()} is missing"),
]


class Run:
    """A run of an experiment, by the command line."""

    def __init__(self, folder: Path, experiment: str, *options: str) -> None:
        self.folder = folder / "run"
        file = folder / "experiment.toml"
        file.write_text(textwrap.dedent(experiment), encoding="utf-8")
        self._said = folder / "said.txt"
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                command("run", str(file), "--folder", str(self.folder), *options),
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                start_new_session=True,
            )

    def wait(self, *, within_s: float = WAIT_S) -> Ended:
        """Wait until it has ended by itself."""
        out, _ = self._process.communicate(timeout=within_s)
        return Ended(code=self._process.returncode, out=out, err=self.said())

    def wait_until_said(self, text: str) -> None:
        """Wait until it has said something."""
        wait_until(lambda: text in self.said() or self._process.poll() is not None)
        assert text in self.said(), self.said()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; a Ctrl-C goes to all of its process group, as from a terminal."""
        if number == signal.SIGINT:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)

    def release(self) -> None:
        """Make sure that nothing of it is left."""
        self._process.kill()
        self._process.communicate()
        clean()

    def said(self) -> str:
        """Return what it has said on standard error."""
        return self._said.read_text(encoding="utf-8")

    def log(self, machine: str, name: str = "stdout.log") -> str:
        """Return what a machine's program has printed."""
        return (self.folder / machine / name).read_text(encoding="utf-8")

    def rows(self, name: str) -> list[dict[str, str]]:
        """Return a table's rows."""
        with (self.folder / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def events(self) -> list[dict[str, Any]]:
        """Return its events."""
        lines = (self.folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def running(folder: Path, experiment: str, *options: str) -> Iterator[Run]:
    run = Run(folder, experiment, *options)
    try:
        yield run
    finally:
        run.release()


def run_to_end(folder: Path, experiment: str, *options: str) -> tuple[Run, Ended]:
    with running(folder, experiment, *options) as run:
        return run, run.wait()


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "offload.emulation", *words]


def clean(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("clean", *options), cwd=ROOT, capture_output=True, text=True, check=False
    )


def wait_until(holds: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < give_up_s
        time.sleep(0.02)


def marked_processes() -> list[str]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if f"{RUN_VARIABLE}=".encode() in (each / "environ").read_bytes():
                found.append((each / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def left_behind() -> list[str]:
    """Return the names of whatever a run has made and not removed."""
    groups = [str(root) for root in find_cgroups(read_mounts()).roots()]
    return [*marked_processes(), *groups, *our_namespaces()]


def python(code: str) -> str:
    """Return the command of a machine that runs some Python, as TOML."""
    return json.dumps(["{python}", "-c", code])


def alone(code: str, more: str = "", *, duration: str = "3s") -> str:
    """Return an experiment with one machine, pi."""
    return f"""
version = 1
name = "alone"
duration = "{duration}"
[[machines]]
name = "pi"
role = "device"
command = {python(code)}
{more}
"""


def small_experiment(folder: Path) -> str:
    app = write_app(folder, "squares", APP)
    options = f"--app {app} --summary {{folder}}/summary.json --log-format json"
    return f"""
        version = 1
        name = "small"
        duration = "5s"
        schedule = [
            "at 2s: link wifi rate 1Mbit delay 30ms",
            "at 3s: link wifi down",
            "at 4s: link wifi up",
            "at 4s: machine pi cpu 0.9",
        ]
        [[machines]]
        name = "cloud"
        role = "cloud"
        command = "{{python}} {SERVER} --port 8089 --results none {options}"
        environment = {{ OFFLOAD_TOKEN = "test:known-to-everybody" }}
        ready = {{ port = 8089, within = "30s" }}
        [[machines]]
        name = "pi"
        role = "device"
        command = "{{python}} {CLIENT} 1 --host {{cloud}} --port 8089 --rate 100 {options}"
        environment = {{ OFFLOAD_TOKEN = "test:known-to-everybody" }}
        cpu = 0.6
        memory = "256MiB"
        [[links]]
        name = "wifi"
        between = ["pi", "cloud"]
        rate = "8Mbit"
        delay = "10ms"
        to = {{ pi = {{ delay = "20ms" }} }}
    """


def test_a_device_and_a_cloud_run_over_a_link_and_everything_is_written_down(
    tmp_path: Path,
) -> None:
    run, ended = run_to_end(tmp_path, small_experiment(tmp_path))
    assert ended.code == 0, ended.err
    assert ended.out == f"{run.folder / 'report.html'}\n"
    assert (run.folder / "report.html").exists()
    assert left_behind() == []

    events = [(each["kind"], each["machine"]) for each in run.events()]
    assert events[:4] == [
        ("started", "cloud"),
        ("ready", "cloud"),
        ("started", "pi"),
        ("ready", "pi"),
    ]
    assert [kind for kind, _ in events[4:]] == [*["change"] * 4, "stopped", "ended", "ended"]
    assert [machine for _, machine in events[-2:]] == ["pi", "cloud"]
    changes = [each["t"] for each in run.events() if each["kind"] == "change"]
    assert changes == pytest.approx([2.0, 3.0, 4.0, 4.0], abs=0.2)

    probes = json.loads((run.folder / "probes.json").read_text(encoding="utf-8"))
    assert [(each["link"], each["to"]) for each in probes] == [("wifi", "cloud"), ("wifi", "pi")]
    for each, delay_s in zip(probes, (0.010, 0.020), strict=True):
        assert each["requested"]["delay_s"] == delay_s
        assert each["achieved"]["delay_s"] == pytest.approx(delay_s, abs=0.002)
        assert each["achieved"]["rate_bit_s"] == pytest.approx(8e6, rel=0.05)
        assert each["achieved"]["loss"] == 0
        assert each["packets"] > 500

    summary = json.loads((run.folder / "pi" / "summary.json").read_text(encoding="utf-8"))
    assert summary["frames"]["completed"] > 100
    assert '"event": "progress"' in run.log("pi", "stderr.log")
    assert "listening on" in run.log("cloud")
    machines = run.rows("machines.csv")
    assert {each["machine"] for each in machines} == {"cloud", "pi"}
    assert all(float(each["memory_bytes"]) > 0 for each in machines[:4])
    links = run.rows("links.csv")
    assert {(each["link"], each["to"]) for each in links} == {("wifi", "cloud"), ("wifi", "pi")}
    # What was measured before the start is not counted; what was sent while it was down is.
    assert int(links[0]["bytes_in"]) < 500_000
    assert int(links[-2]["bytes_out"]) > 50 * summary["frames"]["completed"]
    assert int(links[-2]["dropped"]) > 0
    assert json.loads((run.folder / "experiment.json").read_text())["name"] == "small"
    assert json.loads((run.folder / "host.json").read_text())["cores"] == os.cpu_count()


def test_links_of_all_kinds_are_measured_as_they_are(tmp_path: Path) -> None:
    experiment = """
        version = 1
        name = "kinds"
        duration = "100ms"
        seed = 7
        machines = [
            { name = "a", role = "cloud", command = "sleep 9" },
            { name = "b", role = "cloud", command = "sleep 9" },
            { name = "c", role = "cloud", command = "sleep 9" },
        ]
        links = [
            { name = "slow", between = ["a", "b"], rate = "200kbit", delay = "50ms" },
            { name = "lossy", between = ["b", "c"], rate = "50Mbit", LOSSY },
            { name = "fast", between = ["c", "a"] },
        ]
    """.replace("LOSSY", 'delay = "20ms", jitter = "5ms", loss = "5%", loss_burst = 3')
    run, ended = run_to_end(tmp_path, experiment, "--no-report")
    assert ended.code == 0, ended.err
    probes = json.loads((run.folder / "probes.json").read_text(encoding="utf-8"))
    slow, lossy, fast = (
        [each["achieved"] for each in probes if each["link"] == name]
        for name in ("slow", "lossy", "fast")
    )
    for each in slow:
        assert each["rate_bit_s"] == pytest.approx(200e3, rel=0.05)
        assert each["delay_s"] == pytest.approx(0.05, abs=0.002)
        assert each["loss"] == 0
    for each in lossy:
        # Its queue and its losses do not count against its rate.
        assert each["rate_bit_s"] == pytest.approx(50e6, rel=0.05)
        assert each["delay_s"] == pytest.approx(0.02, abs=0.002)
        assert each["jitter_s"] == pytest.approx(0.005, abs=0.002)
        assert each["loss"] == pytest.approx(0.05, abs=0.03)
    for each in fast:
        assert each["rate_bit_s"] > 200e6
        assert each["delay_s"] < 0.002


def test_machines_without_a_link_between_them_meet_by_way_of_a_third(tmp_path: Path) -> None:
    serve = "import socket; s = socket.create_server(('', 7)); s.accept()[0].sendall(b'hello')"
    fetch = "import socket; print(socket.create_connection(('{cloud}', 7), 9).recv(9))"
    experiment = f"""
        version = 1
        name = "chain"
        duration = "10s"
        probes = false
        machines = [
            {{ name = "cloud", role = "cloud", command = {python(serve)}, ready = {{ port = 7 }} }},
            {{ name = "hub", role = "cloud", command = {python(WAIT)} }},
            {{ name = "pi", role = "device", command = {python(fetch)} }},
        ]
        links = [
            {{ name = "radio", between = ["pi", "hub"], delay = "5ms" }},
            {{ name = "cable", between = ["cloud", "hub"], delay = "5ms" }},
        ]
    """
    run, ended = run_to_end(tmp_path, experiment, "--no-report")
    assert (ended.code, ended.out) == (0, f"{run.folder}\n"), ended.err
    assert run.log("pi") == "b'hello'\n"
    assert not (run.folder / "probes.json").exists()
    assert run.events()[-2]["text"] == "all devices have ended" or (
        "all devices have ended" in ended.err
    )


@pytest.mark.parametrize("cpu", [0.15, 0.3])
def test_a_machine_gets_its_share_of_the_processor(tmp_path: Path, cpu: float) -> None:
    run, ended = run_to_end(tmp_path, alone(SPIN, f"cpu = {cpu}", duration="5s"), "--no-report")
    assert ended.code == 0, ended.err
    cores = [float(each["cpu_cores"]) for each in run.rows("machines.csv")]
    assert len(cores) >= 5
    # Never more; less only while others keep this machine busy.
    assert max(cores) == pytest.approx(cpu, rel=0.1)


def test_a_program_that_wants_more_than_its_memory_is_killed_and_the_run_says_so(
    tmp_path: Path,
) -> None:
    greedy = "print('wants more', flush=True); x = b'x' * (256 * 1024 * 1024); print('got it')"
    run, ended = run_to_end(tmp_path, alone(greedy, 'memory = "64MiB"'), "--no-report")
    assert ended.code == 1
    assert run.log("pi") == "wants more\n"
    assert "failed: machine pi ended with signal SIGKILL: it wanted more than its memory\n" in (
        ended.err
    )
    (end,) = [each for each in run.events() if each["kind"] == "ended"]
    assert end["exit_code"] == -signal.SIGKILL


def test_more_memory_later_is_enough_for_the_same_program(tmp_path: Path) -> None:
    patient = (
        "import time; time.sleep(1.5); x = b'x' * (256 * 1024 * 1024); print('got it', flush=True)"
    )
    experiment = 'schedule = ["at 0.5s: machine pi memory 512MiB"]\n' + alone(
        patient, 'memory = "64MiB"'
    )
    run, ended = run_to_end(tmp_path, experiment, "--no-report")
    assert ended.code == 0, ended.err
    assert run.log("pi") == "got it\n"


def test_a_killed_run_leaves_what_clean_removes_and_the_next_one_works(tmp_path: Path) -> None:
    # A child of its own session that does not know whose it is.
    forgetful = (
        "import subprocess, time\n"
        "subprocess.Popen(['sleep', '1000'], env={}, start_new_session=True)\n"
        "print('has a child', flush=True); time.sleep(1000)"
    )
    ready = 'ready = { line = "has a child" }'
    experiment = f"""
        version = 1
        name = "killed"
        duration = "60s"
        probes = false
        machines = [
            {{ name = "cloud", role = "cloud", command = {python(WAIT)} }},
            {{ name = "pi", role = "device", command = {python(forgetful)}, {ready} }},
        ]
        links = [{{ name = "wifi", between = ["pi", "cloud"] }}]
    """
    with running(tmp_path, experiment) as run:
        run.wait_until_said("pi ready")
        assert len(marked_processes()) == 3
        run.send(signal.SIGKILL)
        run.wait()
        # The programs and the relay die with it, the child does not.
        wait_until(lambda: not marked_processes())
        assert len(our_namespaces()) == 2
        cleaned = clean()
        assert (cleaned.returncode, cleaned.stderr) == (0, "")
        assert cleaned.stdout.startswith("removed 1 processes, ")
        assert cleaned.stdout.endswith(" cgroups, 2 network namespaces\n")
    assert left_behind() == []
    (tmp_path / "next").mkdir()
    _, ended = run_to_end(tmp_path / "next", alone("print('works')"), "--no-report")
    assert ended.code == 0, ended.err


def test_clean_finds_a_process_by_its_environment_alone() -> None:
    with subprocess.Popen(["sleep", "1000"], env={RUN_VARIABLE: "1a2b3c"}) as process:
        assert clean().stdout == "removed 1 processes, 0 cgroups, 0 network namespaces\n"
        assert process.wait() == -signal.SIGKILL


def test_a_run_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    with running(tmp_path, alone(WAIT, duration="60s")) as run:
        run.wait_until_said("pi ready")
        run.send(signal.SIGKILL)
        run.wait()
        (tmp_path / "next").mkdir()
        _, ended = run_to_end(tmp_path / "next", alone("print('works')"), "--no-report")
    assert ended.code == 0
    assert "removed what an earlier run had left: " in ended.err
    assert left_behind() == []


def test_only_one_run_goes_on_at_a_time_and_clean_ends_it_only_by_force(tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with running(tmp_path, alone(WAIT, duration="60s"), "--no-report") as first:
        wait_until(lambda: (first.folder / "pi" / "stdout.log").exists())
        _, second = run_to_end_beside(tmp_path / "second", alone("print('works')"))
        assert second.code == 1
        assert second.error.startswith("error: a run is going on (process ")
        assert not (tmp_path / "second" / "run").exists()
        refused = clean()
        assert refused.returncode == 1
        assert "clean --force" in refused.stderr
        assert "pi ended" not in first.said()
        assert clean("--force").returncode == 0
        assert "pi ended: signal SIGTERM" in first.said()
    assert left_behind() == []


def run_to_end_beside(folder: Path, experiment: str) -> tuple[Run, Ended]:
    """Run beside another one, which is left alone."""
    run = Run(folder, experiment, "--no-report")
    return run, run.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_like_the_end_of_its_time(
    tmp_path: Path, number: signal.Signals
) -> None:
    polite = (
        "import signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('goodbye', flush=True)))\n"
        "print('ready', flush=True); signal.pause()"
    )
    experiment = 'schedule = ["at 0.1s: machine pi cpu 0.9"]\n' + alone(
        polite, 'ready = { line = "ready" }', duration="60s"
    )
    with running(tmp_path, experiment) as run:
        run.wait_until_said("pi change")
        run.send(number)
        ended = run.wait()
    assert ended.code == 0, ended.err
    assert run.log("pi") == "ready\ngoodbye\n"
    assert "interrupted" in [each["text"] for each in run.events()]
    assert (run.folder / "report.html").exists()
    assert left_behind() == []


def test_a_signal_while_the_links_are_measured_ends_the_run_at_once(tmp_path: Path) -> None:
    experiment = f"""
        version = 1
        name = "early"
        duration = "60s"
        machines = [
            {{ name = "cloud", role = "cloud", command = {python(WAIT)} }},
            {{ name = "pi", role = "device", command = {python(WAIT)} }},
        ]
        links = [{{ name = "wifi", between = ["pi", "cloud"] }}]
    """
    with running(tmp_path, experiment) as run:
        run.wait_until_said("measuring link wifi")
        run.send(signal.SIGINT)
        ended = run.wait()
    assert ended.code == 1
    assert ended.error == "error: interrupted before all machines had started"
    assert left_behind() == []


def test_a_machine_that_is_not_ready_in_time_is_an_error_with_its_last_lines(
    tmp_path: Path,
) -> None:
    silent = "print('cannot find my port', flush=True)\nimport time; time.sleep(1000)"
    experiment = alone(silent, 'ready = { port = 8089, within = "1s" }')
    _, ended = run_to_end(tmp_path, experiment)
    assert ended.code == 1
    assert "pi | cannot find my port\n" in ended.err
    assert ended.error == "error: machine pi never listened on port 8089: not ready within 1 s"
    assert left_behind() == []


def test_a_machine_that_ends_before_it_is_ready_is_an_error_with_its_last_lines(
    tmp_path: Path,
) -> None:
    experiment = alone("raise SystemExit('no camera')", 'ready = { line = "ready" }')
    _, ended = run_to_end(tmp_path, experiment)
    assert ended.code == 1
    assert "pi | no camera\n" in ended.err
    assert ended.error == (
        "error: machine pi ended with exit code 1, before all machines were started"
    )
    assert left_behind() == []


def test_a_program_that_fails_later_makes_the_run_fail(tmp_path: Path) -> None:
    failing = "import time, sys; time.sleep(0.5); print('lost it', file=sys.stderr); sys.exit(3)"
    run, ended = run_to_end(tmp_path, alone(failing, duration="30s"))
    assert ended.code == 1
    assert "pi | lost it\n" in ended.err
    assert ended.err.endswith("failed: machine pi ended with exit code 3\n")
    # It was the only device, so there was nothing to wait for.
    assert run.events()[-1]["t"] < 5
    assert (run.folder / "report.html").exists()


def test_a_program_that_does_not_end_is_killed_and_counts_as_failed(tmp_path: Path) -> None:
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SPIN
    experiment = alone(deaf, 'cpu = 0.1\nready = { line = "spins" }', duration="1s")
    _, ended = run_to_end(tmp_path, experiment, "--no-report")
    assert ended.code == 1
    assert "its program had not ended 15 s after SIGTERM, and was killed" in ended.err
    assert left_behind() == []


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    experiment = alone("").replace(python(""), '"no-such-program"')
    _, ended = run_to_end(tmp_path, experiment)
    assert ended.code == 1
    assert "the program 'no-such-program' of machine pi" in ended.error
    assert not (tmp_path / "run").exists()


def test_a_folder_that_has_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("keep me", encoding="utf-8")
    _, ended = run_to_end(tmp_path, alone("print('works')"))
    assert ended.code == 2
    assert "run is not empty, expected a new one" in ended.error


def test_the_time_of_the_command_line_takes_the_place_of_the_files(tmp_path: Path) -> None:
    experiment = 'schedule = ["at 50s: machine pi cpu 0.5"]\n' + alone(WAIT, duration="60s")
    run, ended = run_to_end(tmp_path, experiment, "--duration", "0.5", "--no-report")
    assert ended.code == 0, ended.err
    assert json.loads((run.folder / "experiment.json").read_text())["duration_s"] == 0.5
    assert [each["text"] for each in run.events() if each["kind"] == "stopped"] == [
        "the time is over"
    ]

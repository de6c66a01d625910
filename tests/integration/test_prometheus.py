"""A real Prometheus scrapes both programs, with the configuration and dashboard that we ship."""

import json
import re
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.programs import (
    ROOT,
    WAIT_S,
    Program,
    client,
    cloud_server,
    read_summary,
    write_app,
)

pytestmark = pytest.mark.prometheus

MONITORING: Final = ROOT / "deploy" / "monitoring"

needs_promtool: Final = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed"
)
needs_prometheus: Final = pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed"
)

# Gives frames until it is told to pause, so that all counts stand still, and then to end.
APP: Final = """
import time
from pathlib import Path
from task_interface import FILTER, Pipeline, source, task

@source(gives="number")
class Numbers:
    live = True

    def open(self, start_seq):
        number = start_seq
        while not Path("pause").exists():
            time.sleep(0.02)
            yield number
            number += 1
        while not Path("end").exists():
            time.sleep(0.02)

@task(gives="kept")
def choose(number: int) -> int:
    return FILTER if number % 10 == 3 else number

@task(gives="checked")
def check(kept: int) -> int:
    if kept % 20 == 5:
        raise ValueError("five is not liked")
    return kept

@task()
def finish(checked: int) -> int:
    return checked

pipeline = Pipeline([Numbers, choose, check, finish])
"""

# These are there only where there is a sensor, an operator, or a message that is large enough to
# tell what the link carries.
MAY_BE_EMPTY: Final = ("temperature", "pinned_split", "link_bytes")

TARGET_FPS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """A server and a device that runs, and the Prometheus that scrapes them."""

    folder: Path
    server: Program
    device: Program
    pages: dict[str, str]
    url: str

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data that Prometheus' API answers."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=WAIT_S) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and value of each series that an expression gives now."""
        found = self.ask("query", query=expression)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def value(self, expression: str) -> float | None:
        """Return the only value of an expression; None if there is none."""
        found = self.query(expression)
        assert len(found) <= 1, found
        return found[0][1] if found else None

    def by(self, label: str, expression: str) -> dict[str, float]:
        """Return the values of an expression by one of their labels."""
        return {labels[label]: value for labels, value in self.query(expression)}


def wait_for(what: str, found: Callable[[], bool]) -> None:
    give_up_s = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < give_up_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def metrics_url(program: Program) -> str:
    said = re.search(r"url=(http\S+)", program.wait_for_line("metrics_served"))
    assert said is not None
    return said[1]


def read_page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
        text: str = answer.read().decode()
        return text


def configure(folder: Path, *, server: str, device: str) -> Path:
    """Copy what we ship, with these addresses, and scrapes once a second."""
    copy = folder / "monitoring"
    shutil.copytree(MONITORING, copy)
    for name, url in (("servers.yml", server), ("devices.yml", device)):
        target = urllib.parse.urlsplit(url).netloc
        text = (copy / name).read_text(encoding="utf-8")
        changed = re.sub(r"(?m)^    - \S+$", f"    - {target}", text)
        assert changed != text
        (copy / name).write_text(changed, encoding="utf-8")
    configuration = copy / "prometheus.yml"
    text = configuration.read_text(encoding="utf-8")
    assert text.count("interval: 15s") == 2
    configuration.write_text(text.replace("interval: 15s", "interval: 1s"), encoding="utf-8")
    return configuration


def start_prometheus(configuration: Path, port: int) -> subprocess.Popen[bytes]:
    log = configuration.with_name("prometheus.log").open("wb")
    with log:
        return subprocess.Popen(
            [
                "prometheus",
                f"--config.file={configuration}",
                f"--storage.tsdb.path={configuration.parent / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        read_page(f"{url}/-/ready")
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    folder = tmp_path_factory.mktemp("scraped")
    with pytest.MonkeyPatch.context() as environment, ExitStack() as stack:
        # Those for each test come too late for what a module's tests share.
        environment.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        app = write_app(folder, "numbers_app", APP)
        common = ("--app", app, "--metrics-port", "0")
        server = stack.enter_context(cloud_server(folder, *common, "--summary", "server.json"))
        device = stack.enter_context(
            client(
                folder,
                *("1", str(TARGET_FPS), *server.address, *common, "--stream", "porch"),
                *("--frames", "100000", "--spool", "spool", "--summary", "device.json"),
            )
        )
        urls = {"server": metrics_url(server), "device": metrics_url(device)}
        configuration = configure(folder, **urls)
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        process = start_prometheus(configuration, port)
        stack.callback(end, process)
        wait_for("Prometheus is ready", lambda: answers(url))
        device.wait_for_line("progress")
        pages = {name: read_page(each) for name, each in urls.items()}
        found = Scraped(folder=folder, server=server, device=device, pages=pages, url=url)
        wait_for(
            "both are scraped, and twice",
            lambda: (
                len(found.query("up == 1")) == 2
                and found.value("rate(offload_captured_frames_total[5s])") is not None
                and found.value("sum(rate(offload_stream_frames_total[5s]))") is not None
            ),
        )
        yield found


def promtool(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["promtool", *arguments],
        cwd=MONITORING,
        input=text,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


@needs_promtool
def test_promtool_accepts_configuration_and_rules() -> None:
    for arguments in (("config", "prometheus.yml"), ("rules", "rules.yml")):
        checked = promtool("check", *arguments)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "FAILED" not in checked.stdout + checked.stderr
        assert "WARNING" not in checked.stdout + checked.stderr


@needs_promtool
def test_every_alert_is_raised_when_it_should_be_and_at_no_other_time() -> None:
    tested = promtool("test", "rules", "rules_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "SUCCESS" in tested.stdout


@needs_promtool
@needs_prometheus
@pytest.mark.parametrize("program", ["server", "device"])
def test_promtool_has_nothing_to_say_about_what_a_program_serves(
    scraped: Scraped, program: str
) -> None:
    page = scraped.pages[program]
    assert page.count("# TYPE") > 15
    checked = promtool("check", "metrics", text=page)
    assert checked.returncode == 0
    assert checked.stdout + checked.stderr == ""


@needs_prometheus
def test_prometheus_says_what_runs_where_and_how_fast(scraped: Scraped) -> None:
    ((run, _),) = scraped.query("offload_run_info")
    assert run["job"] == "offload-device"
    assert (run["stream"], run["app"], run["mode"]) == ("porch", "numbers_app", "automatic")
    ((stream, _),) = scraped.query("offload_stream_info")
    assert stream["job"] == "offload-server"
    assert (stream["stream"], stream["device"]) == ("porch", run["device"])
    assert scraped.value("offload_target_frames_per_second") == TARGET_FPS
    assert scraped.value("offload_connected") == 1
    assert scraped.value("offload_server_sessions") == 1
    assert scraped.value("sum(offload_reason)") == 1
    assert scraped.value("offload_expected_frames") == 100000

    def rates_agree() -> bool:
        said = scraped.value("offload_throughput_frames_per_second") or 0.0
        counted = scraped.value('sum(rate(offload_frames_total{outcome=~"result|filtered"}[5s]))')
        # Two seconds against five, on a machine that may have other things to do.
        return said > TARGET_FPS and counted == pytest.approx(said, rel=0.3)

    wait_for("what the device says is what Prometheus counts", rates_agree)


def panels() -> list[Any]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text(encoding="utf-8"))
    return [
        pytest.param(target["expr"], id=f"{panel['id']}-{panel['title']}-{target['refId']}")
        for panel in dashboard["panels"]
        for target in panel.get("targets", ())
    ]


@needs_prometheus
@pytest.mark.parametrize("expression", panels())
def test_each_query_of_the_dashboard_finds_something(scraped: Scraped, expression: str) -> None:
    chosen = re.sub(r"\$(device|server)\b", ".*", expression).replace("$__rate_interval", "5s")
    assert "$" not in chosen
    if any(each in expression for each in MAY_BE_EMPTY):
        scraped.query(chosen)
    else:
        wait_for(chosen, lambda: bool(scraped.query(chosen)))


@needs_prometheus
def test_every_rule_can_be_evaluated_and_raises_nothing_while_all_is_well(scraped: Scraped) -> None:
    def rules() -> list[dict[str, Any]]:
        return [rule for group in scraped.ask("rules")["groups"] for rule in group["rules"]]

    wait_for("rules are evaluated", lambda: all(each["health"] == "ok" for each in rules()))
    raised = {each["name"] for each in rules() if each["alerts"]}
    # A task of this app fails.
    assert raised <= {"OffloadFramesLost"}


# The last one: it ends the programs.
@needs_prometheus
def test_what_prometheus_counted_is_what_both_programs_report(scraped: Scraped) -> None:
    (scraped.folder / "pause").touch()

    def all_are_over() -> bool:
        captured = scraped.value("offload_captured_frames_total")
        over = scraped.value("sum(offload_frames_total)")
        return captured == over == scraped.value("sum(offload_stream_frames_total)")

    wait_for("every frame is over", all_are_over)
    device = scraped.by("outcome", "offload_frames_total")
    server = scraped.by("outcome", "offload_stream_frames_total")
    runs = scraped.by("task", "sum by (task) (offload_task_runs_total)")
    seconds = scraped.by("side", "sum by (side) (offload_task_seconds_total)")
    sent_bytes = scraped.value("offload_sent_bytes_total")

    (scraped.folder / "end").touch()
    ended = scraped.device.wait()
    assert ended.code == 0, ended.err
    wait_for(
        "the device's silence is noticed",
        lambda: (
            "OffloadDeviceSilent"
            in {each["labels"]["alertname"] for each in scraped.ask("alerts")["alerts"]}
        ),
    )
    assert scraped.server.stop().code == 0

    report = read_summary(scraped.folder / "device.json")
    (stream,) = read_summary(scraped.folder / "server.json")["streams"]
    assert device == {
        "result": report["frames"]["completed"],
        "filtered": report["frames"]["filtered"],
        "failed": report["frames"]["failed"],
        "dropped": report["frames"]["dropped"],
    }
    assert device["failed"] > 0
    assert device["filtered"] > 0
    assert server == {
        "result": stream["results"],
        "filtered": stream["filtered"],
        "failed": stream["failed"],
        "dropped": stream["dropped"],
    }
    assert server == device
    assert runs == {
        each["name"]: each["runs_device"] + each["runs_cloud"] for each in report["tasks"]
    }
    assert seconds["device"] == pytest.approx(report["device_task_s"])
    assert seconds["cloud"] == pytest.approx(report["cloud_task_s"])
    assert sent_bytes is not None
    # Heartbeats, samples and the end of the stream come on top.
    assert 0.8 * report["sent_bytes"] < sent_bytes <= report["sent_bytes"]

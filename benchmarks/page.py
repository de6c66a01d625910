"""Measure what the web page costs: many devices in its list, and one that runs at 60 FPS.

    python3 -m benchmarks.page

First many devices that only say how they are: the server's processor time without a page, with one
that nobody looks at, and with the list, or one device, open. Then one real device that is paced at
60 FPS: its rate, and the processor time of both programs, without a page, and with its part of the
page open, pictures and all. Whoever looks takes all that a browser would, and draws nothing.
"""

import http.client
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode

import psutil

from benchmarks.measure import (
    Contender,
    Figures,
    Options,
    Samples,
    cell,
    exit_code,
    format_table,
    machine_line,
    parse_options,
    run_rounds,
    say,
    write_json,
)
from benchmarks.programs import (
    ROOT,
    CloudServer,
    ProgramError,
    cloud_server,
    environment,
    run_device,
    work_folder,
)
from offload.auth import default_token_path, parse_tokens

APP: Final = "ball_tracking_example"
DEVICES: Final = 200
RATE: Final = 60
STREAM: Final = "paced"

MANY: Final = "many devices, "
PACED: Final = "one at 60 FPS, "
NO_PAGE: Final = "no page"
NOBODY: Final = "nobody looks"
LIST: Final = "the list is open"
DEVICE: Final = "one device is open"

PAGE: Final = ("--dashboard", "0")
TIMEOUT_S: Final = 30.0
POLL_S: Final = 0.02


class Visitor:
    """Somebody who looks at the page; what comes is read and thrown away.

    Args:
        port: Where the page is, on loopback.
        token: The line of a token.
    """

    def __init__(self, port: int, token: str) -> None:
        """Sign in."""
        self._port = port
        answer = self._connect().getresponse_of("POST", "/sign-in", urlencode({"token": token}))
        cookie = answer.getheader("Set-Cookie")
        if cookie is None:
            raise ProgramError(f"the page lets nobody in: {answer.status}")
        self._headers = {"Cookie": cookie.partition(";")[0]}
        self._is_gone = False
        self.events = 0
        self.pictures = 0

    @contextmanager
    def looking(self, *paths: str, picture: str | None = None) -> Iterator[None]:
        """Take events of ``paths``, and pictures, while the block lasts."""
        self._is_gone = False
        works: list[Callable[[], None]] = [partial(self._take_events, each) for each in paths]
        if picture is not None:
            works.append(partial(self._take_pictures, picture))
        threads = [threading.Thread(target=each, daemon=True) for each in works]
        for each in threads:
            each.start()
        try:
            yield
        finally:
            self._is_gone = True
            for each in threads:
                each.join(TIMEOUT_S)

    def _connect(self) -> "_Connection":
        return _Connection("127.0.0.1", self._port, timeout=TIMEOUT_S)

    def _take_events(self, path: str) -> None:
        connection = self._connect()
        answer = connection.getresponse_of("GET", path, headers=self._headers)
        while not self._is_gone and (line := answer.readline()):
            self.events += line.startswith(b"event:")
        connection.close()

    def _take_pictures(self, path: str) -> None:
        after = 0
        connection = self._connect()
        while not self._is_gone:
            answer = connection.getresponse_of(
                "GET", f"{path}?after={after}", headers=self._headers
            )
            answer.read()
            if answer.status == http.client.OK:
                self.pictures += 1
                after = int(answer.headers["X-Picture"])
        connection.close()


class _Connection(http.client.HTTPConnection):
    def getresponse_of(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> http.client.HTTPResponse:
        form = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        origin = {"Origin": f"http://127.0.0.1:{self.port}"} if body else {}
        self.request(method, path, body, {**form, **origin, **(headers or {})})
        return self.getresponse()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    description = "What the web page costs a server with many devices, and one at 60 FPS."
    options = parse_options(description, sys.argv[1:] if arguments is None else arguments)
    many = _measure_many(options)
    say(machine_line())
    say("")
    count = options.count(DEVICES, quick=5)
    say(f"{count} devices that say how they are; milliseconds of the server in a second")
    _report(many, [("server_ms", "server, ms/s", 1)])
    paced = _measure_paced(options)
    say("")
    say(f"one device, paced at {RATE} FPS; milliseconds in a second")
    shown = [("fps", "FPS", 1), ("server_ms", "server, ms/s", 1), ("device_ms", "device, ms/s", 1)]
    _report(paced, [*shown, ("pictures", "pictures/s", 1)])
    together = zip(many.rounds, paced.rounds, strict=True)
    figures = Samples([{**one, **other} for one, other in together])
    write_json(options.json, benchmark="page", options=options, samples=figures)
    return 0


# Many devices.


def _measure_many(options: Options) -> Samples:
    count, period_s = options.count(DEVICES, quick=5), options.count(10, quick=2)
    with ExitStack() as stack:
        contenders: dict[str, Contender] = {}
        for name, arguments in ((NO_PAGE, ()), (NOBODY, PAGE)):
            folder = stack.enter_context(work_folder())
            server = stack.enter_context(cloud_server(folder, *arguments, app=APP))
            stack.enter_context(_devices(folder, server, count))
            contenders[MANY + name] = partial(_idle_cost, server, period_s)
        visitor = _visitor(folder)
        looks = {LIST: "/api/events", DEVICE: "/api/devices/device-0000/events"}
        for name, path in looks.items():
            contenders[MANY + name] = partial(_watched_cost, server, period_s, visitor, path)
        return run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)


def _idle_cost(server: CloudServer, period_s: int) -> Figures:
    process = psutil.Process(server.pid)
    began_s, busy_s = time.monotonic(), _busy_s(process)
    time.sleep(period_s)
    passed_s = time.monotonic() - began_s
    return {"server_ms": 1000 * (_busy_s(process) - busy_s) / passed_s}


def _watched_cost(server: CloudServer, period_s: int, visitor: Visitor, path: str) -> Figures:
    with visitor.looking(path):
        before = visitor.events
        found = _idle_cost(server, period_s)
        if visitor.events < before + period_s // 2:
            raise ProgramError(f"{path} told its visitor next to nothing")
    return found


@contextmanager
def _devices(folder: Path, server: CloudServer, count: int) -> Iterator[None]:
    port = server.address[-1]
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.page_devices", port, str(count)],
        cwd=ROOT,
        env=environment(folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if process.stdout.readline() != "ready\n":
            raise ProgramError("the devices could not connect")
        yield
    finally:
        process.stdin.close()
        process.wait(TIMEOUT_S)
        process.stdout.close()


# One device.


def _measure_paced(options: Options) -> Samples:
    period_s = options.count(10, quick=2)
    contenders: dict[str, Contender] = {
        PACED + NO_PAGE: partial(_paced, period_s, ()),
        PACED + NOBODY: partial(_paced, period_s, PAGE),
        PACED + DEVICE: partial(_paced, period_s, PAGE, looks=True),
    }
    return run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)


def _paced(period_s: int, arguments: Sequence[str], *, looks: bool = False) -> Figures:
    with work_folder() as folder, cloud_server(folder, *arguments, app=APP) as server:
        process = psutil.Process(server.pid)
        visitor = _visitor(folder) if looks else None
        paced = ("--rate", str(RATE), "--duration", str(period_s), "--stream", STREAM)
        run = partial(run_device, folder, "3", "--app", APP, *server.address, *paced)
        busy_s = _busy_s(process)
        if visitor is None:
            report = run()
        else:
            path = f"/api/devices/{quote(STREAM)}"
            # The page has this device from its second second on, like somebody who clicks on it.
            with visitor.looking("/api/events", f"{path}/events", picture=f"{path}/picture"):
                report = run()
        found = {
            "fps": float(report["fps"]),
            "server_ms": 1000 * (_busy_s(process) - busy_s) / float(report["duration_s"]),
            "device_ms": 10 * float(report["cpu_percent"]),
        }
        if visitor is not None:
            found["pictures"] = visitor.pictures / float(report["duration_s"])
        return found


# Both.


def _visitor(folder: Path) -> Visitor:
    """Return a visitor who may do everything, of the server in ``folder``."""
    port = _page_port(folder / "server.log")
    path = default_token_path(environment(folder))
    (line,) = parse_tokens(path.read_text("utf-8"), str(path)).values()
    return Visitor(port, line.line())


def _page_port(log: Path) -> int:
    # It is said after the line on standard output that the server was waited for by.
    by_s = time.monotonic() + TIMEOUT_S
    while time.monotonic() < by_s:
        said = log.read_text(encoding="utf-8")
        if found := re.search(r"dashboard_served url=http://localhost:(\d+)/", said):
            return int(found[1])
        time.sleep(POLL_S)
    raise ProgramError("the server does not say where its page is")


def _busy_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _report(samples: Samples, figures: Sequence[tuple[str, str, int]]) -> None:
    rows = [
        [
            name,
            *(cell(samples.spread(name, figure), digits=digits) for figure, _, digits in figures),
        ]
        for name in samples.contenders
    ]
    say(format_table(["", *(heading for _, heading, _ in figures)], rows))


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""A camera's stream through outages: real programs, a fault proxy between them, and what they did.

A `Site` is one device behind its own proxy, with a camera that gives a picture 30 times a second
whether or not it is taken. `go_through` takes it through one outage and measures what a user would
notice. Times are seconds of the wall clock, which the programs write into logs and results.

    with measured_server(folder) as server, site(folder, server, stream="s") as place:
        outage = go_through(place, server, FaultProxy.cut, for_s=5.0)
"""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.proxy import FaultProxy
from tests.integration.programs import (
    CLIENT,
    CloudServer,
    Program,
    read_position,
    read_results,
    read_summary,
    write_app,
)

FPS: Final = 30
WINDOW: Final = 32
PICTURE_BYTES: Final = 320 * 240 * 3

# Pictures cross with one task on the device; with all that may run there, three numbers do.
SPLIT: Final = "1"
LAST_SPLIT: Final = 3

# Adds up the numbers of all frames, so that each result shows which frames came before it.
TOTAL: Final = """@task(placement=Placement.CLOUD)
class Total:
    def __init__(self):
        self.total = 0

    def __call__(self, number, brightness):
        assert brightness == number % 251
        self.total += number
        return [number, self.total]

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = state
"""

CAMERA: Final = f"""
import itertools
import time

import numpy as np

from task_interface import Pipeline, Placement, source, task


class Camera:
    live = True

    def __init__(self, spec):
        fps, self.side = (1.0, 1) if spec is None else map(float, spec.split("@"))
        self.interval_s = 1 / fps

    def open(self, start_seq):
        due_s = time.monotonic()
        for number in itertools.count(start_seq):
            # A picture that nobody waited for is gone.
            due_s = max(due_s + self.interval_s, time.monotonic() - self.interval_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
            yield number, np.full((240, 320, int(self.side)), number % 251, np.uint8)


@task(gives="small")
def shrink(picture):
    return picture[::8, ::8].copy()


@task(gives="brightness")
def measure(small):
    return int(small[0, 0, 0])


{TOTAL}

def make_pipeline(spec):
    camera = source(gives=("number", "picture"), name="camera")(Camera(spec))
    return Pipeline([camera, shrink, measure, Total])
"""

# A device that goes on after an outage does so within 10 s, and then may have ten minutes to catch
# up with. This only ends a test that has failed already.
WAIT_S: Final = 60.0
POLL_S: Final = 0.05

# A frame that is stored this soon after its capture did not wait for others.
UP_TO_DATE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One line of a program's log."""

    at: float
    name: str
    fields: dict[str, Any]


class MeasuredProgram(Program):
    """A program whose log is JSON, and whose memory is looked at."""

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self._process.pid

    def events(self, name: str, *, since: float = 0.0) -> list[LogEvent]:
        """Return the log lines of that name that are not older than ``since``."""
        with self._changed:
            lines = [json.loads(each) for each in self._err if each.startswith("{")]
        return [
            LogEvent(at=each["at"], name=name, fields=each)
            for each in lines
            if each["event"] == name and each["at"] >= since
        ]

    def wait_for_event(self, name: str, *, since: float, **fields: object) -> LogEvent:
        """Wait for a log line of that name with these fields that is not older than ``since``."""

        def found() -> list[LogEvent]:
            return [
                each
                for each in self.events(name, since=since)
                if fields.items() <= each.fields.items()
            ]

        wait_until(found, f"{name} {fields}")
        return found()[0]

    def resident_bytes(self) -> int:
        """Return how much memory it has now."""
        return self._status_bytes("VmRSS")

    def forget_peak(self) -> None:
        """Let `peak_bytes` count from now on."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", encoding="ascii")

    def peak_bytes(self) -> int:
        """Return the most memory that it had since `forget_peak`."""
        return self._status_bytes("VmHWM")

    def _status_bytes(self, name: str) -> int:
        lines = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines()
        (found,) = [line for line in lines if line.startswith(f"{name}:")]
        return int(found.split()[1]) * 1024


class MeasuredServer(MeasuredProgram, CloudServer):
    """A cloud server with a JSON log."""


@contextmanager
def measured_server(folder: Path, *arguments: str, port: int = 0) -> Iterator[MeasuredServer]:
    """Run a server for the camera while the block lasts."""
    app = write_app(folder, "camera", CAMERA)
    server = MeasuredServer(
        ("--app", app, "--log-format", "json", *arguments), folder=folder, port=port
    )
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.release()


class Site:
    """A device with a camera, and the link that it has."""

    def __init__(
        self, folder: Path, proxy: FaultProxy, device: MeasuredProgram, *, stream: str, split: str
    ) -> None:
        self.folder = folder
        self.proxy = proxy
        self.device = device
        self.stream = stream
        self.split = int(split)
        self.database = folder / "results.db"

    def wait_until_flowing(self) -> None:
        """Wait until the device's frames are stored as they come."""
        self.wait_until_up_to_date(since=time.time())

    def wait_until_up_to_date(self, *, since: float) -> None:
        """Wait until a frame captured after ``since``, and split as usual, is stored at once."""
        wait_until(lambda: self._is_up_to_date(since), f"{self.stream}: no frame of now")

    def stored(self) -> "list[StoredFrame]":
        """Return what the server has stored of each result, in order."""
        return self._select("ORDER BY seq")

    def finish(self) -> dict[str, Any]:
        """Tell the device to end, check that it could, and return its report."""
        self.device.send(signal.SIGTERM)
        return self.wait()

    def wait(self) -> dict[str, Any]:
        """Wait until the device has ended well, and return its report."""
        ended = self.device.wait()
        assert ended.code == 0, ended.err
        assert "Traceback" not in ended.err
        return read_summary(self.folder / f"{self.stream}.json")

    def _is_up_to_date(self, since: float) -> bool:
        return any(
            each.captured_at > since and each.delay_s < UP_TO_DATE_S and each.split == self.split
            for each in self._select("ORDER BY seq DESC LIMIT 1")
        )

    def _select(self, order: str) -> "list[StoredFrame]":
        with closing(sqlite3.connect(self.database, timeout=WAIT_S)) as connection:
            rows = connection.execute(
                "SELECT seq, captured_at, received_at, split FROM results WHERE stream = ? "
                + order,
                (self.stream,),
            )
            return [
                StoredFrame(seq=seq, captured_at=captured, received_at=received, split=split)
                for seq, captured, received, split in rows
            ]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFrame:
    """One row of the server's results."""

    seq: int
    captured_at: float
    received_at: float
    split: int

    @property
    def delay_s(self) -> float:
        """How long after its capture it was received."""
        return self.received_at - self.captured_at


@contextmanager
def site(
    folder: Path, server: MeasuredServer, *options: str, stream: str, split: str = SPLIT
) -> Iterator[Site]:
    """Run a device behind a proxy while the block lasts."""
    with (
        FaultProxy(target=("127.0.0.1", server.port), seed=7) as proxy,
        camera_device(
            folder, proxy.host, proxy.port, *options, stream=stream, split=split
        ) as device,
    ):
        yield Site(folder, proxy, device, stream=stream, split=split)


@contextmanager
def camera_device(
    folder: Path, hosts: str, port: int, *options: str, stream: str, split: str = SPLIT
) -> Iterator[MeasuredProgram]:
    """Run a device while the block lasts; its report goes to a file of the stream's name."""
    arguments = (
        *(split, "--host", hosts, "--port", str(port), "--app", "camera"),
        *("--source", f"{FPS}@3", "--encoding", "raw", "--window", str(WINDOW)),
        *("--stream", stream, "--log-format", "json", "--summary", f"{stream}.json", *options),
    )
    device = MeasuredProgram(CLIENT, arguments, folder=folder)
    try:
        yield device
    finally:
        device.release()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """What one outage did to one stream.

    Attributes:
        seconds: How long it lasted.
        device_noticed_s, server_noticed_s: From its beginning to the log line.
        resumed_s: From its end to the first frame that the server received and stored.
        caught_up_s: From its end to the first frame that did not wait for others.
        frames: The counts of its report.
        stored: The server's results.
        wrong: Sequence numbers whose result is another frame's, or has another total.
        next_seq, dropped_there: Where the stream stands in the server's store.
        begun_at, healed_at: Wall clock.
        base_bytes: The device's memory before the outage.
        peak_bytes: The most it was during the outage, and until it had caught up.
    """

    seconds: float
    device_noticed_s: float
    server_noticed_s: float
    resumed_s: float
    caught_up_s: float
    frames: dict[str, int]
    stored: list[StoredFrame]
    wrong: list[int]
    next_seq: int
    dropped_there: int
    begun_at: float
    healed_at: float
    base_bytes: int
    peak_bytes: int

    @property
    def captured_meanwhile(self) -> list[StoredFrame]:
        """The stored frames that were captured once the device knew of the outage."""
        known_at = self.begun_at + self.device_noticed_s
        return [each for each in self.stored if known_at < each.captured_at < self.healed_at]

    @property
    def line(self) -> str:
        """All figures in a line."""
        return (
            f"{self.seconds:.0f} s: noticed by device {self.device_noticed_s:.2f} s, by server "
            f"{self.server_noticed_s:.2f} s; resumed {self.resumed_s:.2f} s, caught up "
            f"{self.caught_up_s:.2f} s; captured {self.frames['captured']}, completed "
            f"{self.frames['completed']}, dropped {self.frames['dropped']}, meanwhile "
            f"{len(self.captured_meanwhile)}; memory {self.base_bytes / 2**20:.1f} MiB, peak "
            f"{self.peak_bytes / 2**20:.1f} MiB"
        )


def go_through(
    place: Site, server: MeasuredServer, harm: Callable[[FaultProxy], None], *, for_s: float
) -> Outage:
    """Harm the link, heal it after so long, wait until the device has caught up, and end it."""
    place.wait_until_flowing()
    base_bytes = place.device.resident_bytes()
    place.device.forget_peak()
    begun_at = time.time()
    harm(place.proxy)
    # How long it lasts is what is tested.
    time.sleep(for_s)
    healed_at = time.time()
    place.proxy.heal()
    this = {"stream": place.stream}
    device_lost = place.device.wait_for_event("session_lost", since=begun_at)
    server_lost = server.wait_for_event("session_lost", since=begun_at, **this)
    opened = server.wait_for_event("session_opened", since=begun_at, **this)
    place.wait_until_up_to_date(since=max(opened.at, healed_at))
    peak_bytes = place.device.peak_bytes()
    report = place.finish()
    stored = place.stored()
    next_seq, _, dropped = read_position(place.database, place.stream)
    afterwards = [each for each in stored if each.received_at > opened.at]
    up_to_date = [each for each in afterwards if each.delay_s < UP_TO_DATE_S]
    return Outage(
        seconds=for_s,
        device_noticed_s=device_lost.at - begun_at,
        server_noticed_s=server_lost.at - begun_at,
        resumed_s=min(each.received_at for each in afterwards) - healed_at,
        caught_up_s=min(each.received_at for each in up_to_date) - healed_at,
        frames=report["frames"],
        stored=stored,
        wrong=wrong_results(read_results(place.database, place.stream)),
        next_seq=next_seq,
        dropped_there=dropped,
        begun_at=begun_at,
        healed_at=healed_at,
        base_bytes=base_bytes,
        peak_bytes=peak_bytes,
    )


def wrong_results(results: dict[int, object]) -> list[int]:
    """Return the frames whose result is not the one of an undisturbed run without the dropped."""
    total, wrong = 0, []
    for seq, result in results.items():
        total += seq
        if result != [seq, total]:
            wrong.append(seq)
    return wrong


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Look at ``condition`` until it holds."""
    give_up_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < give_up_s, what
        time.sleep(POLL_S)

"""A stream outlives any outage of its link, loses nothing that it does not count, and stays small.

The first tests look at the same outages, which run at the same time, one device each: 5 s in the
default run, and then

    python -m pytest -m slow tests/faults/test_outages.py       # 60 s, and rarer faults
    python -m pytest -m soak tests/faults/test_outages.py       # 10 min; prints the figures
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from offload.device.dialer import ANSWER_S, QUICK_RETRY_BOUND_S
from tests.faults.outages import (
    FPS,
    LAST_SPLIT,
    PICTURE_BYTES,
    SPLIT,
    WINDOW,
    MeasuredProgram,
    MeasuredServer,
    Outage,
    camera_device,
    go_through,
    measured_server,
    site,
    wait_until,
    wrong_results,
)
from tests.faults.proxy import Direction, End, FaultProxy, Faults
from tests.integration.programs import read_results, read_summary, wait_for_results

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SOAK_S: Final = 600.0

# What the issue asks for, on both sides.
NOTICED_WITHIN_S: Final = 6.0
# An end that is told, by a reset or an end of file, notices at once.
TOLD_WITHIN_S: Final = 1.0

# The longest pause after an attempt that was refused.
LONGEST_PAUSE_S: Final = QUICK_RETRY_BOUND_S
# An attempt that went into a black hole is never answered, and then the next one begins beside it.
LONGEST_ATTEMPT_S: Final = ANSWER_S
# A handshake, and the first frame.
OPENING_S: Final = 1.0

# The device's own noise: buffers, log lines, the spool's pages.
SPARE_BYTES: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fault, and the device that suffers it."""

    harm: Callable[[FaultProxy], None]
    options: tuple[str, ...] = ()
    lasts: bool = True


BLOCK: Final = ("--overload", "block")
SPOOL: Final = ("--spool", "spool")

CASES: Final = {
    "cut": Case(harm=FaultProxy.cut),
    "cut_block": Case(harm=FaultProxy.cut, options=BLOCK),
    "cut_spool": Case(harm=FaultProxy.cut, options=SPOOL),
    "hole": Case(harm=FaultProxy.black_hole),
    "hole_block": Case(harm=FaultProxy.black_hole, options=BLOCK),
    "hole_spool": Case(harm=FaultProxy.black_hole, options=SPOOL),
    "half_open_device": Case(
        harm=partial(FaultProxy.half_open, closed=End.SERVER), options=BLOCK, lasts=False
    ),
    "slow_close": Case(
        harm=partial(FaultProxy.slow_close, towards=End.SERVER, linger_s=2.0),
        options=BLOCK,
        lasts=False,
    ),
    "half_open_server": Case(
        harm=partial(FaultProxy.half_open, closed=End.CLIENT), options=BLOCK, lasts=False
    ),
}
BLOCKING: Final = [name for name, case in CASES.items() if case.options == BLOCK]
SPOOLING: Final = [name for name, case in CASES.items() if case.options == SPOOL]

# Who is told nothing, and must find out.
DEVICE_IN_THE_DARK: Final = ("hole", "hole_block", "hole_spool", "half_open_device")
SERVER_IN_THE_DARK: Final = ("hole", "hole_block", "hole_spool")

# A picture that takes over 8 s on such a link.
LARGE: Final = (*BLOCK, "--source", "1@28")
LARGE_BYTES: Final = 320 * 240 * 28
SLOW_BYTES_S: Final = 250_000
SLOW: Final = Faults(rate_bytes_s=SLOW_BYTES_S)

# A program needs half a second to start, and more on a busy machine.
START_S: Final = 3.0

Outages = dict[str, Future[Outage]]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(5.0, id="5s"),
        pytest.param(60.0, id="60s", marks=[pytest.mark.slow, pytest.mark.timeout(200)]),
        pytest.param(SOAK_S, id="600s", marks=[pytest.mark.soak, pytest.mark.timeout(1000)]),
    ],
)
def outages(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outages]:
    folder = tmp_path_factory.mktemp("outages")
    with pytest.MonkeyPatch.context() as environment:
        # The clean environment of each test comes too late for this.
        for name in [each for each in os.environ if each.startswith("OFFLOAD_")]:
            environment.delenv(name)
        environment.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        with measured_server(folder) as server, ThreadPoolExecutor(len(CASES)) as threads:
            found = {
                name: threads.submit(suffer, folder, server, name, for_s=request.param)
                for name in CASES
            }
            # All have ended then, well or not.
            for each in found.values():
                each.exception()
            assert server.stop().code == 0
        yield found


def suffer(folder: Path, server: MeasuredServer, name: str, *, for_s: float) -> Outage:
    case = CASES[name]
    with site(folder, server, *case.options, stream=name) as place:
        return go_through(place, server, case.harm, for_s=for_s if case.lasts else 0.0)


@pytest.mark.parametrize("name", CASES)
def test_both_ends_notice_an_outage_within_6_s(
    outages: Outages, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    outage = outages[name].result()
    with capfd.disabled() if outage.seconds == SOAK_S else nullcontext():
        sys.stdout.write(f"\n{name}, {outage.line}\n")
    in_the_dark = name in DEVICE_IN_THE_DARK
    assert outage.device_noticed_s < (NOTICED_WITHIN_S if in_the_dark else TOLD_WITHIN_S)
    in_the_dark = name in SERVER_IN_THE_DARK
    assert outage.server_noticed_s < (NOTICED_WITHIN_S if in_the_dark else TOLD_WITHIN_S)


@pytest.mark.parametrize("name", CASES)
def test_frames_are_stored_again_soon_after_an_outage(outages: Outages, name: str) -> None:
    outage = outages[name].result()
    noticed_late_s = max(0.0, outage.device_noticed_s - outage.seconds)
    most_s = noticed_late_s + LONGEST_PAUSE_S + OPENING_S
    if name in SERVER_IN_THE_DARK:
        most_s += LONGEST_ATTEMPT_S
    assert outage.resumed_s < most_s


@pytest.mark.parametrize("name", CASES)
def test_each_frame_of_an_outage_is_stored_once_or_counted_as_dropped(
    outages: Outages, name: str
) -> None:
    outage = outages[name].result()
    frames = outage.frames
    assert frames["captured"] == frames["completed"] + frames["dropped"] == outage.next_seq
    assert (len(outage.stored), outage.dropped_there) == (frames["completed"], frames["dropped"])
    assert outage.wrong == []


@pytest.mark.parametrize("name", BLOCKING)
def test_a_device_that_blocks_drops_nothing(outages: Outages, name: str) -> None:
    assert outages[name].result().frames["dropped"] == 0


@pytest.mark.parametrize("name", ["cut", "hole"])
def test_a_camera_without_a_spool_loses_only_what_the_window_does_not_hold(
    outages: Outages, name: str
) -> None:
    outage = outages[name].result()
    away_s = outage.seconds + outage.resumed_s
    assert outage.frames["dropped"] < FPS * away_s
    assert outage.frames["dropped"] > FPS * outage.seconds / 2 - WINDOW


@pytest.mark.parametrize("name", CASES)
def test_a_device_holds_no_more_than_a_window_of_pictures(outages: Outages, name: str) -> None:
    outage = outages[name].result()
    assert outage.peak_bytes - outage.base_bytes < WINDOW * PICTURE_BYTES + SPARE_BYTES


@pytest.mark.parametrize("name", SPOOLING)
def test_with_a_spool_the_device_goes_on_with_all_tasks_that_it_may_run(
    outages: Outages, name: str
) -> None:
    outage = outages[name].result()
    meanwhile = outage.captured_meanwhile
    away_s = outage.seconds - outage.device_noticed_s
    # The device itself may be late on a busy machine, and then its camera does not wait.
    assert len(meanwhile) >= 0.8 * FPS * away_s - 1
    assert {each.split for each in meanwhile[1:]} <= {LAST_SPLIT}
    assert outage.stored[-1].split == int(SPLIT)


@pytest.mark.parametrize("name", SPOOLING)
def test_what_was_spooled_is_caught_up_with_ten_times_as_quickly(
    outages: Outages, name: str
) -> None:
    outage = outages[name].result()
    assert outage.caught_up_s - outage.resumed_s < 1.0 + outage.seconds / 10


def test_a_large_picture_on_a_slow_link_is_no_dead_peer(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *LARGE, "--frames", "2", stream="s") as place,
    ):
        place.proxy.set_faults(SLOW, direction=Direction.UP)
        report = place.wait()
    assert report["duration_s"] > 2 * LARGE_BYTES / SLOW_BYTES_S
    assert report["frames"]["completed"] == len(place.stored()) == 2
    assert report["reconnects"] == 0
    assert server.events("session_lost") == place.device.events("session_lost") == []


@pytest.mark.parametrize("harm", [FaultProxy.cut, FaultProxy.black_hole, FaultProxy.stall])
def test_an_outage_in_the_middle_of_a_large_picture_costs_only_time(
    harm: Callable[[FaultProxy], None], tmp_path: Path
) -> None:
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *LARGE, "--frames", "1", stream="s") as place,
    ):
        place.proxy.set_faults(SLOW, direction=Direction.UP)
        wait_until(lambda: place.proxy.bytes_up > LARGE_BYTES / 4, "no picture on its way")
        begun_at = time.time()
        harm(place.proxy)
        for each in (place.device, server):
            lost = each.wait_for_event("session_lost", since=begun_at)
            assert lost.at - begun_at < NOTICED_WITHIN_S
        place.proxy.set_faults(Faults())
        place.proxy.heal()
        report = place.wait()
    assert report["frames"]["completed"] == len(place.stored()) == 1
    assert report["resent"] == 1


def test_a_server_that_pauses_for_4_s_loses_no_session(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *BLOCK, stream="s") as place,
    ):
        place.wait_until_flowing()
        pause(server, for_s=4.0)
        place.wait_until_up_to_date(since=time.time())
        report = place.finish()
    assert report["reconnects"] == 0
    assert server.events("session_lost") == place.device.events("session_lost") == []
    assert report["frames"]["completed"] == report["frames"]["captured"] == len(place.stored())


def test_a_server_that_pauses_for_10_s_is_noticed_and_loses_nothing(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *BLOCK, stream="s") as place,
    ):
        place.wait_until_flowing()
        paused_at = time.time()
        pause(server, for_s=10.0)
        goes_on_at = time.time()
        place.wait_until_up_to_date(since=goes_on_at)
        report = place.finish()
    lost = place.device.events("session_lost", since=paused_at)
    assert len(lost) == report["reconnects"] == 1
    assert lost[0].at - paused_at < NOTICED_WITHIN_S
    opened = place.device.events("session_opened", since=goes_on_at)
    assert opened[0].at - goes_on_at < LONGEST_PAUSE_S + OPENING_S
    frames = report["frames"]
    assert frames["completed"] == frames["captured"] == len(place.stored())
    assert wrong_results(read_results(place.database, "s")) == []


def test_a_device_that_pauses_for_10_s_is_noticed_and_loses_nothing(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *BLOCK, stream="s") as place,
    ):
        place.wait_until_flowing()
        paused_at = time.time()
        pause(place.device, for_s=10.0)
        goes_on_at = time.time()
        opened = server.wait_for_event("session_opened", since=goes_on_at)
        place.wait_until_up_to_date(since=opened.at)
        report = place.finish()
    lost = server.events("session_lost", since=paused_at)
    assert len(lost) == report["reconnects"] == 1
    assert lost[0].at - paused_at < NOTICED_WITHIN_S
    assert opened.at - goes_on_at < OPENING_S
    frames = report["frames"]
    assert frames["completed"] == frames["captured"] == len(place.stored())
    assert wrong_results(read_results(place.database, "s")) == []


def pause(program: MeasuredProgram, *, for_s: float) -> None:
    program.send(signal.SIGSTOP)
    # How long it pauses is what is tested.
    time.sleep(for_s)
    program.send(signal.SIGCONT)


@pytest.mark.parametrize(
    ("faults", "frames"),
    [
        pytest.param(Faults(latency_s=1.0, jitter_s=0.2), 60, id="1000_ms"),
        pytest.param(Faults(slice_bytes=1), 150, id="single_bytes"),
    ],
)
def test_a_link_that_is_only_bad_loses_no_session(
    faults: Faults, frames: int, tmp_path: Path
) -> None:
    options = (*BLOCK, "--frames", str(frames))
    with (
        measured_server(tmp_path) as server,
        site(tmp_path, server, *options, stream="s", split=str(LAST_SPLIT)) as place,
    ):
        place.proxy.set_faults(faults)
        report = place.wait()
    assert report["frames"]["completed"] == len(place.stored()) == frames
    assert report["latency_s"]["p50"] > 2 * faults.latency_s
    assert report["reconnects"] == 0
    assert server.events("session_lost") == place.device.events("session_lost") == []


# Both hosts of a list have the same port.
HOSTS: Final = "127.0.0.1,127.0.0.2"
SECOND: Final = ("--bind", "127.0.0.2")


@pytest.mark.parametrize(
    ("harm", "within_s"),
    [
        pytest.param(FaultProxy.cut, OPENING_S, id="dead"),
        pytest.param(FaultProxy.black_hole, LONGEST_ATTEMPT_S + OPENING_S, id="black_hole"),
    ],
)
def test_the_second_server_is_used_if_the_first_does_not_answer(
    harm: Callable[[FaultProxy], None], within_s: float, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        first = stack.enter_context(FaultProxy(target=("127.0.0.1", 1), seed=7))
        harm(first)
        stack.enter_context(measured_server(tmp_path, *SECOND, port=first.port))
        started_at = time.time()
        device = stack.enter_context(
            camera_device(tmp_path, HOSTS, first.port, "--frames", "10", *BLOCK, stream="s")
        )
        opened = device.wait_for_event("session_opened", since=started_at)
        ended = device.wait()
    assert ended.code == 0, ended.err
    assert opened.at - started_at < START_S + within_s
    assert list(read_results(tmp_path / "results.db", "s")) == list(range(10))


def test_the_second_server_takes_over_when_the_first_falls_silent(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as first,
        site(tmp_path, first, "--host", HOSTS, *BLOCK, stream="s") as place,
        measured_server(tmp_path, *SECOND, port=place.proxy.port) as second,
    ):
        place.wait_until_flowing()
        begun_at = time.time()
        place.proxy.black_hole()
        opened = second.wait_for_event("session_opened", since=begun_at, stream="s")
        place.wait_until_up_to_date(since=opened.at)
        report = place.finish()
    assert opened.at - begun_at < NOTICED_WITHIN_S + LONGEST_ATTEMPT_S + OPENING_S
    assert report["frames"]["completed"] == report["frames"]["captured"] == len(place.stored())
    assert wrong_results(read_results(place.database, "s")) == []


def test_a_server_that_drains_sends_its_devices_to_the_second_one(tmp_path: Path) -> None:
    with (
        measured_server(tmp_path) as first,
        measured_server(tmp_path, *SECOND, port=first.port) as second,
        camera_device(tmp_path, HOSTS, first.port, *BLOCK, stream="s") as device,
    ):
        first.wait_for_event("session_opened", since=0.0, stream="s")
        wait_for_results(tmp_path / "results.db", "s", at_least=10)
        told_at = time.time()
        assert first.stop().code == 0
        opened = second.wait_for_event("session_opened", since=told_at, stream="s")
        stored = len(read_results(tmp_path / "results.db", "s"))
        wait_for_results(tmp_path / "results.db", "s", at_least=stored + 10)
        assert device.stop().code == 0
    assert opened.at - told_at < OPENING_S
    frames = read_summary(tmp_path / "s.json")["frames"]
    results = read_results(tmp_path / "results.db", "s")
    assert frames["captured"] == frames["completed"] == len(results)
    assert wrong_results(results) == []

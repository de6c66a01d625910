"""The benchmarks run: how they count, that peers carry what they should, and one short run each."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from benchmarks.apps import make_ball
from benchmarks.ball_work import Ships, make_ball_work
from benchmarks.measure import Figures, Samples, Spread, cell, exit_code, format_table, run_rounds
from benchmarks.peer_work import Message, Work
from benchmarks.peers import Peer, PeerError, PeerRun, missing, run_peer
from benchmarks.programs import ProgramError, cloud_server, run_device
from task_interface import Context

ROOT: Final = Path(__file__).parent.parent

# A peer carries them in this order; their sizes differ, so that a mistake shows.
SHAPES: Final = [(3, 5), (2, 2, 3)]

installed_peers = pytest.mark.parametrize("peer", [each for each in Peer if missing(each) is None])


def samples(**figures: list[float]) -> Samples:
    """Return samples of one figure, ``fps``: for each contender its value in every round."""
    rounds = len(next(iter(figures.values())))
    return Samples(
        [{name: {"fps": values[i]} for name, values in figures.items()} for i in range(rounds)]
    )


def run_benchmark(name: str, folder: Path, *, shows: str = "ours") -> dict[str, Any]:
    """Run a benchmark as a user does, as short as it can be, and return its JSON."""
    report = folder / "report.json"
    finished = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--quick", "--json", str(report)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert shows in finished.stdout
    read = json.loads(report.read_text(encoding="utf-8"))
    assert isinstance(read, dict)
    return read


def numbered_messages(shapes: list[tuple[int, ...]]) -> Iterator[Message]:
    """Yield messages whose arrays hold what follows from their media time, 0, 1, 2 ..."""
    for number in count():
        arrays = [
            np.full(shape, (number + place) % 256, np.uint8) for place, shape in enumerate(shapes)
        ]
        yield Message(time_s=float(number), arrays=arrays)


def make_checking_work(shapes: list[tuple[int, ...]]) -> Work:
    """Return work whose cloud end fails at the first message that is not the one expected."""
    expected = numbered_messages(shapes)

    def cloud(message: Message) -> None:
        wanted = next(expected)
        assert message.time_s == wanted.time_s
        for found, sent in zip(message.arrays, wanted.arrays, strict=True):
            np.testing.assert_array_equal(found, sent)

    return Work(shapes=shapes, device=partial(numbered_messages, shapes), cloud=cloud)


def make_failing_work() -> Work:
    """Return work whose cloud end raises."""

    def cloud(_message: Message) -> None:
        raise RuntimeError("as the test wants")

    shapes = SHAPES[1:]
    return Work(shapes=shapes, device=partial(numbered_messages, shapes), cloud=cloud)


def test_a_ratio_is_that_of_the_medians_with_the_spread_of_the_rounds() -> None:
    ratio = samples(ours=[1.0, 4.0, 9.0], theirs=[2.0, 2.0, 3.0]).ratio("ours", "fps", to="theirs")
    assert ratio == Spread(median=2.0, low=0.5, high=3.0)


def test_there_is_no_ratio_to_what_was_not_measured_or_was_zero() -> None:
    measured = samples(ours=[1.0], theirs=[0.0])
    assert measured.ratio("ours", "fps", to="theirs") is None
    assert measured.ratio("ours", "cpu_s", to="theirs") is None


def test_every_round_runs_every_contender_once_and_begins_with_another() -> None:
    ran: list[str] = []

    def contender(name: str) -> Callable[[], Figures]:
        def run() -> Figures:
            ran.append(name)
            return {"runs": float(len(ran))}

        return run

    names = ["a", "b", "c"]
    measured = run_rounds({name: contender(name) for name in names}, rounds=2)
    assert ran == ["a", "b", "c", "b", "c", "a", "c", "a", "b"]
    assert measured.contenders == names
    assert measured.figures("a", "runs") == [6.0, 8.0], "the warm-up does not count"


def test_a_table_has_columns_and_a_figure_its_spread() -> None:
    spread = cell(Spread(median=2.0, low=1.25, high=3.0), digits=1)
    assert format_table(["", "fps"], [["ours", spread], ["theirs", cell(None)]]).splitlines() == [
        "                   fps",
        "------  --------------",
        "ours    2.0 (1.2..3.0)",
        "theirs               -",
    ]


def test_a_benchmark_that_fails_says_why_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> int:
        raise ProgramError("the server does not listen")

    assert exit_code(fail) == 1
    assert capsys.readouterr().err == "error: the server does not listen\n"


def test_a_percentile_is_a_round_trip_that_happened() -> None:
    run = PeerRun(frames=4, fps=1.0, cpu_s=0.5, round_trips_s=[0.4, 0.1, 0.3, 0.2])
    assert run.round_trip_s(0.50) == 0.2
    assert run.round_trip_s(0.99) == 0.4
    assert run.cpu_s_per_1000 == 125.0


@pytest.mark.parametrize("ships", Ships)
def test_what_a_peer_computes_is_what_the_app_computes(ships: Ships) -> None:
    pipeline = make_ball("")
    bound = pipeline.bind()
    context = Context(stream="test", seq=0, captured_at=0.0)
    work = make_ball_work(ships)
    source = pipeline.source.bind()
    values = source.frame_values(next(source.open(0)))
    run = bound.run(values, start=1, stop=3, context=context, clock=float)
    message = next(work.device())
    names = {Ships.FRAME: ["frame"], Ships.MASK: ["mask"], Ships.MASK_AND_FRAME: ["mask", "frame"]}
    for array, shape, name in zip(message.arrays, work.shapes, names[ships], strict=True):
        assert array.shape == shape
        np.testing.assert_array_equal(array, run.values[name])
    work.cloud(message)


@pytest.mark.integration
@installed_peers
def test_a_peer_carries_every_message_as_it_was_sent(peer: Peer) -> None:
    # imagezmq knows one picture at a time, and no second one before the answer.
    shapes, window = (SHAPES[1:], 1) if peer is Peer.IMAGEZMQ else (SHAPES, 4)
    work = partial(make_checking_work, shapes)
    run = run_peer(peer, work, frames=20, window=window, round_trips=5)
    assert len(run.round_trips_s) == 5
    assert run.fps > 0
    assert run.cpu_s > 0


@pytest.mark.integration
def test_a_peer_whose_end_fails_is_an_error_and_not_a_figure() -> None:
    # ZeroMQ does not tell the device end that the other one is gone.
    peer = Peer.FLOOR if missing(Peer.PYZMQ) else Peer.PYZMQ
    with pytest.raises(PeerError, match="exit code 1"):
        run_peer(peer, make_failing_work, frames=5, window=2)


@pytest.mark.integration
def test_a_program_that_does_not_start_is_an_error_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(ProgramError, match="'no_such_app' not found"):
        run_device(tmp_path, "--app", "no_such_app")
    with (
        pytest.raises(ProgramError, match="'no_such_app' not found"),
        cloud_server(tmp_path, app="no_such_app"),
    ):
        pass


@pytest.mark.slow
def test_the_transport_benchmark_measures_ours_and_whoever_is_installed(tmp_path: Path) -> None:
    report = run_benchmark("transport", tmp_path)
    peers = [str(each) for each in Peer if missing(each) is None]
    assert list(report["contenders"]) == [*peers, "ours"]
    for figures in report["contenders"].values():
        assert figures["w1_fps"]["median"] > 0
        assert figures["w1b_fps"]["median"] > 0
        assert 0 < figures["round_trip_p50_ms"]["median"] <= figures["round_trip_p99_ms"]["median"]
    assert report["ratios"]["ours / floor, fresh buffer, w1_fps"]["median"] > 0
    assert report["machine"]["cores"] >= 1


@pytest.mark.slow
def test_the_pipeline_benchmark_measures_loops_ours_and_peers(tmp_path: Path) -> None:
    report = run_benchmark("pipeline", tmp_path)
    contenders = report["contenders"]
    wanted = {"one loop, 1 OpenCV thread", "ours, client only", "ours, K=3", "floor, K=3, mask"}
    assert wanted <= set(contenders)
    assert all(figures["fps"]["median"] > 0 for figures in contenders.values())
    # At most the mask of 500x375 as it is, and little else.
    assert 0 < contenders["ours, K=3"]["bytes_per_frame"]["median"] < 189000
    assert contenders["floor, K=3, mask"]["bytes_per_frame"]["median"] == 187500


@pytest.mark.slow
def test_page_benchmark_measures_many_devices_and_a_paced_one(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="uvicorn is missing: ./run setup dashboard")
    found = run_benchmark("page", tmp_path, shows="one device is open")["contenders"]
    assert found["many devices, the list is open"]["server_ms"]["median"] > 0
    assert found["one at 60 FPS, one device is open"]["pictures"]["median"] > 0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_doctor_benchmark_holds_each_forecast_against_what_is_reached(tmp_path: Path) -> None:
    report = run_benchmark("doctor", tmp_path, shows="this machine, K = 6")
    figures = report["contenders"]["this machine, alone"]
    ratio = figures["forecast"]["median"] / figures["reached"]["median"]
    assert report["ratios"]["this machine, alone"]["median"] == pytest.approx(ratio)

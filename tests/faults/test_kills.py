"""Whichever program is killed, and whenever: each frame ends exactly once, with the same result.

Every kill falls into the stream, since its last frame waits until all of them are done. The long
form is ``-m soak``; it prints a line for each stream.
"""

import sys
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.faults.kills import run, undisturbed
from tests.faults.trials import Stored, Trial, Verdict, Victim

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SHORT_FRAMES: Final = 300
# Its few kills come at moments of all three kinds.
SHORT_SEED: Final = 40
SLOW_FRAMES: Final = 2_000
SOAK_FRAMES: Final = 20_000

# Without a pace, a device with a spool would have captured the whole stream in the first outages.
PACE_FPS: Final = 300


def server_trial(*, frames: int, kills: int, seed: int) -> Trial:
    """The server dies; the device has its frames in memory only."""
    return Trial(frames=frames, kills=kills, victims=(Victim.SERVER,), seed=seed)


def client_trial(*, frames: int, kills: int, seed: int) -> Trial:
    """The client dies. The link is slow, so that there is something in its spool."""
    return Trial(
        frames=frames,
        kills=kills,
        victims=(Victim.CLIENT,),
        seed=seed,
        spool=True,
        is_far=True,
        window=256,
    )


def mixed_trial(*, frames: int, kills: int, seed: int) -> Trial:
    """Both die, and the connection between them is cut in between."""
    return Trial(
        frames=frames,
        kills=kills,
        victims=(Victim.SERVER, Victim.CLIENT),
        seed=seed,
        cuts=kills // 4,
        spool=True,
        is_far=True,
        rate_fps=PACE_FPS,
    )


class MakeTrial(Protocol):
    def __call__(self, *, frames: int, kills: int, seed: int) -> Trial: ...


TRIALS: Final = pytest.mark.parametrize("make_trial", [server_trial, client_trial, mixed_trial])


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return undisturbed(tmp_path_factory.mktemp("short") / "undisturbed", frames=SHORT_FRAMES)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    return undisturbed(tmp_path_factory.mktemp("long") / "undisturbed", frames=SOAK_FRAMES)


def assert_nothing_shows(verdict: Verdict) -> None:
    assert verdict.kills == verdict.trial.kills
    assert (verdict.lost, verdict.doubled, verdict.wrong) == (0, 0, 0), verdict.line()
    assert verdict.is_equal, verdict.line()
    assert verdict.is_booked, verdict.device


def test_undisturbed_stream_ends_its_frames_in_every_way(short: Stored) -> None:
    assert (short.next_seq, short.dropped) == (SHORT_FRAMES, 0)
    assert len(short.results) + len(short.failures) + short.filtered == SHORT_FRAMES
    assert {task for task, _ in short.failures.values()} == {"measure", "tell"}
    assert short.filtered > SHORT_FRAMES // 7


def test_each_frame_ends_once_though_programs_are_killed(short: Stored, tmp_path: Path) -> None:
    trial = mixed_trial(frames=SHORT_FRAMES, kills=4, seed=SHORT_SEED)
    assert_nothing_shows(run(tmp_path / "trial", trial, short))


@TRIALS
def test_each_frame_ends_once_though_programs_are_killed_often(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    expected = undisturbed(tmp_path / "undisturbed", frames=SLOW_FRAMES)
    trial = make_trial(frames=SLOW_FRAMES, kills=20, seed=1)
    verdict = run(tmp_path / "trial", trial, expected)
    assert_nothing_shows(verdict)
    assert verdict.resumed + verdict.resent > 0


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [1, 2, 3])
@TRIALS
def test_each_frame_ends_once_though_programs_are_killed_a_hundred_times(
    make_trial: MakeTrial,
    seed: int,
    long: Stored,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    verdict = run(tmp_path / "trial", make_trial(frames=SOAK_FRAMES, kills=100, seed=seed), long)
    with capfd.disabled():
        sys.stdout.write(f"\n{verdict.line()}\n")
    assert_nothing_shows(verdict)

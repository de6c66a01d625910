"""Whatever bytes come, the cores answer with events or with the errors that they document.

The streams are damaged recordings of real sessions; `fuzzing` says how. The long form runs a
million of them, and looks at time and memory as well:

    python -m pytest -m soak tests/faults/test_fuzz_core.py
"""

import ctypes
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offload.messages import PROTOCOL_VERSION, Ended, Hello, MessageType, Outcome
from tests.faults.fuzzing import case_of, run_numbers
from tests.faults.parts import written
from tests.faults.recordings import CORPUS, decoded
from tests.faults.targets import (
    DEVICE_ERRORS,
    HANDSHAKE_TO_CLOUD,
    HANDSHAKE_TO_DEVICE,
    Case,
    Session,
    Tally,
    Target,
    joined,
    run,
    sessions,
)

SHORT_CASES: Final = 4_000
LONG_CASES: Final = 1_000_000

# By then every module is loaded, and every table has its size.
WARM_UP_CASES: Final = 50_000
CASES_PER_SAMPLE: Final = 10_000

MAX_CASE_S: Final = 1.0
MAX_GROWTH_BYTES: Final = 16 * 1024 * 1024

# It is in the repository, and grows with every recording anew.
MAX_CORPUS_BYTES: Final = 300_000

# What the device was told at the end of these recordings.
ENDS_IN: Final = {"drain": "TurnedAway", "taken_over_1": "Refused"}


def untouched(session: Session, target: Target) -> Case:
    """Return a recorded session as it was recorded, from the end of the handshake on."""
    stream = (
        session.to_cloud[HANDSHAKE_TO_CLOUD:]
        if target.is_cloud
        else session.to_device[HANDSHAKE_TO_DEVICE:]
    )
    return Case(target=target, session=session, chunks=(joined(stream),))


def opened_sessions() -> list[Session]:
    return [each for each in sessions() if each.welcome is not None]


def tags(tree: object) -> Iterator[object]:
    """Yield the first item of each list in a frame's tree."""
    if isinstance(tree, list):
        yield from tree[:1]
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    for each in inner:
        yield from tags(each)


def named(session: Session) -> str:
    return session.recording.name


@pytest.mark.parametrize("session", sessions(), ids=named)
def test_the_corpus_speaks_todays_protocol(session: Session) -> None:
    hello = decoded(session.recording.to_cloud)[0]
    assert isinstance(hello, Hello)
    assert hello.protocol == PROTOCOL_VERSION, "run: python -m tests.faults.record_corpus"


def test_the_corpus_is_small() -> None:
    assert 0 < sum(each.stat().st_size for each in CORPUS.iterdir()) <= MAX_CORPUS_BYTES


def test_the_corpus_has_every_message_every_outcome_and_every_form_of_a_value() -> None:
    parts = [part for each in sessions() for part in (*each.to_cloud, *each.to_device)]
    assert {each.kind for each in parts} == set(MessageType)
    said = [message for each in sessions() for message in decoded(each.recording.to_cloud)]
    ended = [each for message in said if isinstance(message, Ended) for each in message.ranges]
    assert {each.outcome for each in ended} == set(Outcome) - {Outcome.RESULT}
    assert {tag for part in parts for tag in tags(part.fields.get("values"))} == set(range(11))
    assert any(each.welcome.exceptions for each in sessions() if each.welcome is not None)


@pytest.mark.parametrize("session", opened_sessions(), ids=named)
def test_a_recorded_session_can_be_played_again_on_either_side(session: Session) -> None:
    tally = Tally()
    run(untouched(session, Target.CLOUD_OPEN), tally)
    assert tally.errors == {"none": 1}
    run(untouched(session, Target.DEVICE_ENDING), tally)
    assert tally.errors == Counter(["none", ENDS_IN.get(named(session), "none")])
    assert tally.opened == 2
    assert tally.unreadable == 0


@pytest.mark.parametrize("session", sessions(), ids=named)
def test_a_message_that_is_taken_apart_is_put_together_as_it_was(session: Session) -> None:
    for each in (*session.to_cloud, *session.to_device):
        assert written(replace(each, raw=None)) == each.raw


def test_a_number_is_always_the_same_case() -> None:
    assert [case_of(Random(each)) for each in range(50)] == [
        case_of(Random(each)) for each in range(50)
    ]


@pytest.fixture(scope="module")
def short_run() -> Tally:
    """Run the first cases; that they end at all says that no error is one of ours."""
    tally = Tally()
    run_numbers(range(SHORT_CASES), tally)
    return tally


def test_damaged_sessions_end_in_nothing_but_the_protocols_own_errors(short_run: Tally) -> None:
    assert short_run.cases == SHORT_CASES
    assert sum(short_run.errors.values()) == SHORT_CASES


def test_no_damaged_session_takes_a_second(short_run: Tally) -> None:
    assert short_run.slowest_s < MAX_CASE_S, f"case {short_run.slowest}"


def test_most_damage_is_done_behind_the_handshake(short_run: Tally) -> None:
    assert short_run.opened > 0.6 * SHORT_CASES
    assert short_run.read > SHORT_CASES
    assert short_run.unreadable > 0.1 * SHORT_CASES


def test_damage_brings_every_error_that_the_cores_document(short_run: Tally) -> None:
    documented = {each.__name__ for each in DEVICE_ERRORS}
    assert documented <= short_run.errors.keys()


@settings(max_examples=500)
@given(st.randoms(use_true_random=False))
def test_any_damage_that_hypothesis_finds_ends_in_the_protocols_own_errors(rng: Random) -> None:
    run(case_of(rng), Tally())


def resident_bytes() -> int:
    """Return the memory that this process has now, without what malloc keeps for later."""
    # That goes up and down by 20 MB, as the last large inputs happen to be. It is no growth.
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (found,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(found.split()[1]) * 1024


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_damaged_sessions_take_no_second_each_and_no_memory(
    capfd: pytest.CaptureFixture[str],
) -> None:
    tally = Tally()
    run_numbers(range(WARM_UP_CASES), tally)
    begun_bytes = most_bytes = resident_bytes()
    for start in range(WARM_UP_CASES, LONG_CASES, CASES_PER_SAMPLE):
        run_numbers(range(start, start + CASES_PER_SAMPLE), tally)
        most_bytes = max(most_bytes, resident_bytes())
        # The JPEG library writes a line about each damaged picture.
        capfd.readouterr()
    growth_bytes = most_bytes - begun_bytes
    with capfd.disabled():
        sys.stdout.write(
            f"\n{tally.cases} damaged sessions, slowest {tally.slowest_s:.3f} s (case "
            f"{tally.slowest}), memory grew by {growth_bytes / 2**20:.1f} MiB, "
            f"{dict(tally.errors)}\n"
        )
    assert tally.cases == LONG_CASES
    assert tally.slowest_s < MAX_CASE_S, f"case {tally.slowest}"
    assert growth_bytes < MAX_GROWTH_BYTES

"""Damaged sessions, each made by its number, and given to what has to bear them.

The same number is the same case for as long as the corpus and the mutations stay as they are. To
look into one:

    python -m tests.faults.fuzzing 4711
"""

import sys
import time
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from offload.messages import MessageType
from tests.faults.mutations import cut, damage
from tests.faults.targets import (
    HANDSHAKE_TO_CLOUD,
    HANDSHAKE_TO_DEVICE,
    Case,
    Tally,
    Target,
    joined,
    run,
    sessions,
)

# How often each is drawn: most of what can go wrong lies behind the handshake.
WEIGHTS: Final = {
    Target.DECODER: 8,
    Target.CLOUD_NEW: 10,
    Target.CLOUD_DECIDING: 2,
    Target.CLOUD_OPEN: 42,
    Target.CLOUD_STARVED: 6,
    Target.CLOUD_REFUSING: 2,
    Target.DEVICE_NEW: 8,
    Target.DEVICE_OPEN: 16,
    Target.DEVICE_ENDING: 6,
}


def case_of(rng: Random) -> Case:
    """Draw a target, a session and its damage."""
    (target,) = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))
    fitting = sessions()
    if not target.is_new:
        fitting = tuple(each for each in fitting if each.welcome is not None)
    session, other = rng.choice(fitting), rng.choice(fitting)
    stream, others = (
        (session.to_cloud, other.to_cloud)
        if target.is_cloud
        else (session.to_device, other.to_device)
    )
    if target is Target.DEVICE_OPEN:
        # It has not said the end yet, so nobody confirms it.
        stream = tuple(each for each in stream if each.kind != MessageType.END_CONFIRMED)
    shaken = HANDSHAKE_TO_CLOUD if target.is_cloud else HANDSHAKE_TO_DEVICE
    if not target.is_new:
        chunks = cut(damage(stream[shaken:], others[shaken:], rng), rng)
    elif target is Target.DECODER:
        chunks = cut(damage(stream, others, rng), rng)
    else:
        # What follows goes behind it as it was, for a damage that a handshake survives.
        chunks = cut(damage(stream[:shaken], others[:shaken], rng), rng)
        chunks.append(joined(stream[shaken:]))
    return Case(target=target, session=session, chunks=tuple(chunks))


def run_numbers(numbers: Iterable[int], tally: Tally) -> None:
    """Run the cases of these numbers, and add them to ``tally``.

    Raises:
        Exception: As of `run`, with a note that says which case it was.
    """
    for number in numbers:
        case = case_of(Random(number))
        # Of this thread: what other programs take meanwhile is not the case's.
        began_s = time.thread_time()
        try:
            run(case, tally)
        except Exception as error:
            error.add_note(f"case {number}: {described(case)}")
            raise
        took_s = time.thread_time() - began_s
        if took_s > tally.slowest_s:
            tally.slowest_s, tally.slowest = took_s, number


def described(case: Case) -> str:
    """Say what a case is, with its bytes if they are few."""
    sent = b" ".join(each.hex().encode() for each in case.chunks).decode()
    where = f"{case.target.name} of {case.session.recording.name}"
    return f"{where}, {sum(map(len, case.chunks))} bytes: {sent[:4000]}"


def main(arguments: Sequence[str]) -> None:
    """Run the cases with these numbers one by one, and show each."""
    for each in arguments:
        tally = Tally()
        sys.stdout.write(f"{described(case_of(Random(int(each))))}\n")
        run_numbers([int(each)], tally)
        sys.stdout.write(f"{tally}\n")


if __name__ == "__main__":
    main(sys.argv[1:])

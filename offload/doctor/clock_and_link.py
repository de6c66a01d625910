"""Compare clocks with a server, and measure round trip and rate of the link, in a second or two.

    measured = measure(conversation)
    clock_finding(measured), link_finding(measured)

A small probe tells the round trip, and the clock as exactly as half of it. Then messages of
padding are sent, more and more of them at once, until they take long enough to tell a rate.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import Final, Protocol

from offload.console import figures
from offload.doctor.findings import Finding, failed, ok, warning
from offload.errors import SessionLost
from offload.messages import MAX_PROBE_BYTES, PROBED, Control, Message, Probe, Probed
from offload.session import DeviceSession

# Small probes for round trip and clock; the quickest one counts.
SMALL_PROBES: Final = 5

# A server that answers no small probe in this time is an older one: the greeting before took two
# round trips, and less than 5 s. What all large probes may take beside their round trips, and how
# long a batch has to take until its rate is believed.
ANSWER_S: Final = 3.0
LARGE_S: Final = 6.0
LONG_ENOUGH_S: Final = 0.25

# The first batches are small, since a thin link takes seconds for the largest message. Of those
# that come back no more are under way than a connection may hold unread.
UP_BYTES: Final = (4096, 16384, *(MAX_PROBE_BYTES * (1 << step) for step in range(7)))
DOWN_BYTES: Final = (4096, 16384, *(MAX_PROBE_BYTES * (1 << step) for step in range(4)))

# Clocks that are further apart mislead whoever compares `captured_at` with anything.
CLOCK_OFF_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What probes told; None each if the server does not answer them, or not in time.

    Attributes:
        round_trip_s: The shortest.
        clock_ahead_s: By how much the server's wall clock is ahead of this machine's.
        up_bytes_per_s: What the link carries to the server.
        down_bytes_per_s: What it carries back.
    """

    round_trip_s: float | None = None
    clock_ahead_s: float | None = None
    up_bytes_per_s: float | None = None
    down_bytes_per_s: float | None = None


class Conversation(Protocol):
    """What is measured with: an open session."""

    session: DeviceSession

    def extend(self, seconds: float) -> None:
        """Let it last so much longer than now."""

    def flush(self) -> None:
        """Send what is queued."""

    def events(self) -> Iterator[Message]:
        """Yield what the server says, or raise `SessionLost` when the time is over."""


def measure(conversation: Conversation) -> Measured:
    """Probe the link of an open session.

    Raises:
        OffloadError: The server ended the session.
    """
    prober = _Prober(conversation)
    small: list[tuple[float, float]] = []
    with suppress(SessionLost):
        # One that gets lost in a bad moment does not undo those that were answered.
        for _ in range(SMALL_PROBES):
            conversation.extend(ANSWER_S)
            small.append(prober.ask_small())
    if not small:
        return Measured()
    round_trip_s, ahead_s = min(small)
    # A batch takes a round trip, whatever the rate.
    conversation.extend(LARGE_S + round_trip_s * len((*UP_BYTES, *DOWN_BYTES)))
    up = down = None
    with suppress(SessionLost):
        # Too slow a link for more: what was measured stays.
        up = prober.rate(UP_BYTES, prober.up, round_trip_s)
        down = prober.rate(DOWN_BYTES, prober.down, round_trip_s)
    return Measured(
        round_trip_s=round_trip_s, clock_ahead_s=ahead_s, up_bytes_per_s=up, down_bytes_per_s=down
    )


def clock_finding(measured: Measured) -> Finding:
    """Say whether the clocks agree."""
    ahead_s = measured.clock_ahead_s
    if ahead_s is None:
        advice = "upgrade it; until then compare the clocks by hand"
        return warning("clock", "the server is too old to be asked", advice=advice)
    which = "ahead of" if ahead_s > 0 else "behind"
    found = f"the server's is {_seconds(abs(ahead_s))} {which} this machine's"
    if abs(ahead_s) > CLOCK_OFF_S:
        advice = (
            "set both by NTP (timedatectl set-ntp true); frames run all the same, but captured_at "
            "in the results is as wrong as the clock"
        )
        return warning("clock", found, advice=advice)
    return ok("clock", found)


def link_finding(measured: Measured) -> Finding:
    """Say what the link is like."""
    if measured.round_trip_s is None:
        advice = "upgrade it; what splits give is measured all the same"
        return warning("link", "the server is too old to be asked", advice=advice)
    up, down = measured.up_bytes_per_s, measured.down_bytes_per_s
    if up is None:
        return failed(
            "link",
            f"{figures.size(UP_BYTES[0])} did not cross within {LARGE_S:.0f} s",
            advice="look at the network: nothing but client only would work",
            exit_code=SessionLost.exit_code,
        )
    found = f"{figures.rate(up)} up"
    if down is not None:
        found = f"{found}, {figures.rate(down)} down"
    return ok("link", f"{found}, round trip {_seconds(measured.round_trip_s)}")


class _Prober:
    """Sends probes, and reads their answers."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._numbers = count()

    def ask_small(self) -> tuple[float, float]:
        """Return a round trip, and by how much the server's clock is ahead; seconds."""
        sent_at, sent_s = time.time(), time.monotonic()
        answer = self._ask([Probe(number=next(self._numbers))])
        round_trip_s = time.monotonic() - sent_s
        return round_trip_s, answer.at - (sent_at + round_trip_s / 2)

    def rate(
        self, sizes: Sequence[int], probe: Callable[[int], Probe], round_trip_s: float
    ) -> float:
        """Return bytes per second of the first batch that takes long enough, or of the last."""
        rate = 0.0
        for size in sizes:
            whole, rest = divmod(size, MAX_PROBE_BYTES)
            began_s = time.monotonic()
            self._ask([probe(each) for each in [MAX_PROBE_BYTES] * whole + [rest] * (rest > 0)])
            took_s = time.monotonic() - began_s - round_trip_s
            rate = size / max(took_s, 1e-4)
            if took_s >= LONG_ENOUGH_S:
                break
        return rate

    def up(self, size: int) -> Probe:
        """Return a probe that carries so many bytes there."""
        return Probe(number=next(self._numbers), padding=bytes(size))

    def down(self, size: int) -> Probe:
        """Return a probe that is answered by so many bytes."""
        return Probe(number=next(self._numbers), wanted_bytes=size)

    def _ask(self, probes: Sequence[Probe]) -> Probed:
        """Send probes together, and return the answer to the last one."""
        for each in probes:
            self._conversation.session.send_control(each.control())
        for event in self._conversation.events():
            if isinstance(event, Control) and event.name == PROBED:
                answer = Probed.read(event)
                if answer.number == probes[-1].number:
                    return answer
        raise AssertionError("events end in an error")


def _seconds(seconds: float) -> str:
    if seconds >= 100:
        return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.1f} ms"

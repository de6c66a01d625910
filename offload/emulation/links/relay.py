"""The process of one link: it moves packets between two TAP devices, as the link's two models say.

    (cat settings.json; sleep 60; cat change.json; sleep 60) |
        python3 -m offload.emulation.links.relay

`relay_messages` says what the lines look like: the settings first, then changes. Counters come out
once a second, and once after each change; a line that nobody reads is left out, for the link must
not wait. It ends at the end of its input, hence with whoever started it, or on SIGTERM; the devices
go with it. It needs root, and does not hear SIGINT: at a Ctrl-C the programs still want to say
goodbye over their links.

The rate counts the bytes of IP packets; the Ethernet header is left out. A link without loss, and
without a rate or with a high one and a long queue, moves TCP's packets as the kernel makes them, up
to 64 KB long. For the rate, and in the counters of bytes, they count as the packets that they would
be cut into; in the counters of packets as one each.
"""

import contextlib
import ctypes
import gc
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Final, NoReturn

from offload.emulation.experiment import Quality
from offload.emulation.links.link_model import Counters, LinkModel
from offload.emulation.links.relay_messages import (
    Qualities,
    RelaySettings,
    Report,
    ReportKind,
    read_qualities,
    read_settings,
    report_line,
)
from offload.emulation.links.tap import Tap, ip_bytes, open_tap
from offload.errors import ConfigurationError, EmulationError, OffloadError

# At this rate a packet of 64 KB takes 2.6 ms; at less, it would show.
LARGE_FROM_BIT_S: Final = 200e6

# A queue for so many bytes, at the least, holds some of them.
LARGE_QUEUE_BYTES: Final = 1024 * 1024

# The other direction, and what is due, must not wait longer than some 0.2 ms.
_PACKETS_AT_A_TIME: Final = 32

_REPORT_EVERY_S: Final = 1.0

# Far more than any line has: what is longer is no line of ours.
_LONGEST_LINE_BYTES: Final = 64 * 1024

_INPUT: Final = 0
_OUTPUT: Final = 1

# The lowest that goes before all usual programs. Links share alike among themselves.
_REAL_TIME_PRIORITY: Final = 1

# From linux/prctl.h.
_PR_SET_TIMERSLACK: Final = 29


class Relay:
    """A link that runs."""

    def __init__(self, settings: RelaySettings, taps: tuple[Tap, Tap]) -> None:
        """Join the devices of the two ends."""
        first, second = taps
        qualities, seed = settings.qualities, f"{settings.seed}/{settings.link}"
        self._forward = _Direction(first, second, qualities.forward, seed=f"{seed}/forward")
        self._backward = _Direction(second, first, qualities.backward, seed=f"{seed}/backward")
        self._report_at_s = time.monotonic() + _REPORT_EVERY_S

    def run(self, lines: "_Lines", got: Sequence[bytes]) -> None:
        """Move packets, and follow the changes on the input until its end.

        Args:
            lines: The input.
            got: Lines of it that were read already.

        Raises:
            ConfigurationError: The input has a line that is no change.
        """
        clock, wait = time.monotonic, select.select
        forward, backward = self._forward, self._backward
        for line in got:
            self._change(clock(), read_qualities(line))
        sources = [_INPUT, forward.descriptor, backward.descriptor]
        while not lines.have_ended:
            now = clock()
            look_again_s = min(forward.give_out(now), backward.give_out(now), self._report_at_s)
            # Giving out took time, too. Select counts microseconds, poll and epoll milliseconds.
            readable, _, _ = wait(sources, (), (), max(0.0, look_again_s - clock()))
            now = clock()
            if forward.descriptor in readable:
                forward.take_in(now)
            if backward.descriptor in readable:
                backward.take_in(now)
            if now >= self._report_at_s:
                self._report_at_s = now + _REPORT_EVERY_S
                self.report(ReportKind.COUNTERS)
            if _INPUT in readable:
                for line in lines.read():
                    self._change(now, read_qualities(line))

    def report(self, kind: ReportKind) -> None:
        """Say what went through so far, if there is room for it where we say it."""
        # A pipe is writable if it takes 4096 bytes at once; a report has less than 1000.
        if not select.select((), [_OUTPUT], (), 0)[1]:
            return
        report = Report(
            kind=kind,
            at=time.time(),
            forward=self._forward.counters(),
            backward=self._backward.counters(),
        )
        # Whoever has stopped listening without a word ends our input, too.
        with contextlib.suppress(BrokenPipeError):
            os.write(_OUTPUT, report_line(report).encode())

    def _change(self, now: float, qualities: Qualities) -> None:
        self._forward.change(now, qualities.forward)
        self._backward.change(now, qualities.backward)
        self.report(ReportKind.CHANGED)


class _Direction:
    """Packets from one device to the other."""

    __slots__ = ("_model", "_source", "_target", "descriptor")

    def __init__(self, source: Tap, target: Tap, quality: Quality, *, seed: str) -> None:
        self.descriptor = source.descriptor
        self._source, self._target = source, target
        self._model = LinkModel(quality, seed=seed)
        self._choose_size(quality)

    def take_in(self, now: float) -> None:
        """Take in packets that are there, but not all if there are many."""
        read, arrive = self._source.read, self._model.arrive
        for _ in range(_PACKETS_AT_A_TIME):
            packet = read()
            if packet is None:
                return
            arrive(now, packet, ip_bytes(packet))

    def give_out(self, now: float) -> float:
        """Write what is due by now, and return when to look again."""
        model, write = self._model, self._target.write
        if model.next_s <= now:
            for packet in model.due(now):
                write(packet)
        return model.next_s

    def change(self, now: float, quality: Quality) -> None:
        self._model.change(now, quality)
        self._choose_size(quality)

    def counters(self) -> Counters:
        return replace(self._model.counters(), missed=self._source.missed())

    def _choose_size(self, quality: Quality) -> None:
        if _bears_large_packets(quality):
            self._source.keep_large_packets()
        else:
            self._source.cut_large_packets()


def _bears_large_packets(quality: Quality) -> bool:
    if quality.loss:
        return False
    if quality.rate_bit_s is None:
        return True
    return quality.rate_bit_s > LARGE_FROM_BIT_S and quality.queue_limit_bytes >= LARGE_QUEUE_BYTES


class _Lines:
    """The lines of the input.

    Attributes:
        have_ended: There will be no more.
    """

    def __init__(self) -> None:
        self.have_ended = False
        self._rest = b""

    def read(self) -> list[bytes]:
        """Wait for some input, and return the lines that it completes.

        Raises:
            ConfigurationError: A line is too long, or has no end.
        """
        got = os.read(_INPUT, _LONGEST_LINE_BYTES)
        self.have_ended = not got
        *lines, self._rest = (self._rest + got).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            raise ConfigurationError(
                f"a line has more than {_LONGEST_LINE_BYTES} bytes, expected settings of a link"
            )
        if self.have_ended and self._rest:
            raise ConfigurationError("the input ends within a line, expected a whole one")
        return lines


class _TerminatedError(Exception):
    """SIGTERM came."""


def main() -> int:
    """Run the link that the input describes; return the exit code."""
    # The one that starts us may be ended by Ctrl-C, and ends us when it no longer needs the link.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _run_link()
    except _TerminatedError:
        # It came as the link was ending anyway.
        return 0
    except OffloadError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


def _run_link() -> None:
    lines = _Lines()
    got = lines.read()
    while not got and not lines.have_ended:
        got = lines.read()
    if not got:
        return
    settings = read_settings(got[0])
    _avoid_pauses()
    with _open_taps(settings) as taps:
        relay = Relay(settings, taps)
        signal.signal(signal.SIGTERM, _terminate)
        relay.report(ReportKind.STARTED)
        try:
            relay.run(lines, got[1:])
        except _TerminatedError:
            pass
        except OSError as error:
            raise EmulationError(f"link {settings.link!r}: a device went away: {error}") from error
        relay.report(ReportKind.ENDED)


@contextlib.contextmanager
def _open_taps(settings: RelaySettings) -> Iterator[tuple[Tap, Tap]]:
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(contextlib.closing(open_tap(end.namespace, end.device)))
            for end in settings.ends
        )
        yield first, second


def _avoid_pauses() -> None:
    # The kernel may otherwise be 50 us late with every wait, to wake for several at once.
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)
    # Nothing here makes cycles, and to look for some among many packets takes milliseconds.
    gc.disable()
    # A link must not get slower because the programs at its ends keep all cores busy. A container
    # may forbid it; then the link is only as punctual as the machine is idle.
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REAL_TIME_PRIORITY))


def _terminate(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _TerminatedError


if __name__ == "__main__":
    sys.exit(main())

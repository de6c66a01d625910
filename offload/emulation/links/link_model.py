"""One direction of a link, in virtual time: when each packet comes out, or that it does not.

A packet waits in a queue that is bounded in bytes, is sent at the link's rate, gets lost or not,
and is on its way for the delay. Nothing here waits: whoever moves the packets says what time it is,
and is told when to look again. It leaves to `relay` where packets come from and go to.

    model = LinkModel(quality, seed="7/wifi/forward")
    model.arrive(now, packet, size_bytes=1500)
    for packet in model.due(now):
        ...
    wait_until(model.next_s)

This runs for tens of thousands of packets a second: hence the slots, tuples and local names.
"""

from collections import deque
from dataclasses import dataclass
from math import inf
from random import Random

from offload.emulation.experiment import UNLIMITED_QUEUE_BYTES, Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What became of the packets of one direction since the link was made.

    `packets_in` is the sum of `packets_out`, `lost`, `dropped` and of what is still inside. Bytes
    are those that count for the rate.

    Attributes:
        packets_in: Those that arrived, whatever became of them.
        bytes_in: Of these.
        packets_out: Those that came out.
        bytes_out: Of these.
        lost: Packets that were sent and got lost.
        dropped: Packets that found the queue full, or that were in the link or arrived while it was
            down.
        queue_bytes: What is waiting to be sent, or being sent, now.
        missed: Packets that the kernel dropped since whoever moves the packets was too slow. The
            model knows nothing of them, and no other figure counts them.
    """

    packets_in: int
    bytes_in: int
    packets_out: int
    bytes_out: int
    lost: int
    dropped: int
    queue_bytes: int
    missed: int = 0


class LinkModel:
    """One direction of a link.

    Times never go back from call to call. What becomes of the n-th packet that arrives is settled
    by the seed and n alone, while the quality's loss stays as it is.
    """

    __slots__ = (
        "_bytes_in",
        "_bytes_out",
        "_delay_spread_s",
        "_dropped",
        "_is_losing",
        "_jitter_random",
        "_least_delay_s",
        "_loss_after_loss",
        "_loss_after_pass",
        "_loss_random",
        "_lost",
        "_packets_in",
        "_packets_out",
        "_quality",
        "_queue_bytes",
        "_queue_limit_bytes",
        "_s_per_byte",
        "_sent_at_s",
        "_travelling",
        "_travelling_bytes",
        "_travelling_limit_bytes",
        "_waiting",
    )

    def __init__(self, quality: Quality, *, seed: str) -> None:
        """Make a link with nothing in it."""
        # Apart, so that jitter changes nothing about which packets get lost.
        self._loss_random = Random(f"{seed}/loss").random
        self._jitter_random = Random(f"{seed}/jitter").random
        self._is_losing = False
        # (packet, or None if it will get lost; its bytes), the first being sent.
        self._waiting: deque[tuple[bytes | None, int]] = deque()
        self._queue_bytes = 0
        # When the first of those that wait will have been sent.
        self._sent_at_s = inf
        # (when it is due, packet, its bytes). They come out in this order, so that one that is due
        # before those ahead of it waits for them.
        self._travelling: deque[tuple[float, bytes, int]] = deque()
        self._travelling_bytes = 0
        self._packets_in = self._bytes_in = self._packets_out = self._bytes_out = 0
        self._lost = self._dropped = 0
        self._take_over(quality)

    def arrive(self, now: float, packet: bytes, size_bytes: int) -> None:
        """Take a packet in, or drop it.

        Args:
            now: When it arrived, seconds.
            packet: What `due` will return; not looked at.
            size_bytes: What it counts for the rate and for the queue.
        """
        self._packets_in += 1
        self._bytes_in += size_bytes
        # Every packet draws, also one that is dropped: the times must not decide which get lost.
        if self._loss_after_pass:
            self._is_losing = is_lost = self._loss_random() < (
                self._loss_after_loss if self._is_losing else self._loss_after_pass
            )
        else:
            is_lost = False
        if self._sent_at_s <= now:
            self._send(now)
        if (
            self._queue_bytes + size_bytes > self._queue_limit_bytes
            or self._travelling_bytes + size_bytes > self._travelling_limit_bytes
        ):
            self._dropped += 1
            return
        self._waiting.append((None if is_lost else packet, size_bytes))
        self._queue_bytes += size_bytes
        if self._sent_at_s == inf:
            self._sent_at_s = now + size_bytes * self._s_per_byte

    def due(self, now: float) -> list[bytes]:
        """Take out the packets that have come to their end by now, in their order."""
        if self._sent_at_s <= now:
            self._send(now)
        due: list[bytes] = []
        travelling = self._travelling
        while travelling and travelling[0][0] <= now:
            _, packet, size_bytes = travelling.popleft()
            due.append(packet)
            self._travelling_bytes -= size_bytes
            self._bytes_out += size_bytes
        self._packets_out += len(due)
        return due

    @property
    def next_s(self) -> float:
        """When to ask `due` again; infinity if nothing is inside.

        There may be nothing due then: the packet that was sent got lost, or takes longer.
        """
        if self._travelling:
            return self._travelling[0][0]
        return self._sent_at_s + self._least_delay_s

    def change(self, now: float, quality: Quality) -> None:
        """Let the link be another one from now on.

        The packet that is being sent is sent to its end at the old rate, and those on their way
        arrive as they would have; none overtakes another. If the link is down, all are dropped.
        """
        if self._sent_at_s <= now:
            self._send(now)
        self._take_over(quality)
        if not quality.is_up:
            self._drop_all()

    def counters(self) -> Counters:
        """Return what became of the packets so far."""
        return Counters(
            packets_in=self._packets_in,
            bytes_in=self._bytes_in,
            packets_out=self._packets_out,
            bytes_out=self._bytes_out,
            lost=self._lost,
            dropped=self._dropped,
            queue_bytes=self._queue_bytes,
        )

    @property
    def quality(self) -> Quality:
        """What the link is now."""
        return self._quality

    def _send(self, now: float) -> None:
        """Send what has been sent by now."""
        waiting, travelling = self._waiting, self._travelling
        while (sent_at_s := self._sent_at_s) <= now:
            packet, size_bytes = waiting.popleft()
            self._queue_bytes -= size_bytes
            self._sent_at_s = sent_at_s + waiting[0][1] * self._s_per_byte if waiting else inf
            if packet is None:
                self._lost += 1
                continue
            due_s = sent_at_s + self._least_delay_s
            if self._delay_spread_s:
                due_s += self._delay_spread_s * self._jitter_random()
            travelling.append((due_s, packet, size_bytes))
            self._travelling_bytes += size_bytes

    def _take_over(self, quality: Quality) -> None:
        self._quality = quality
        if quality.rate_bit_s is None:
            # Nothing waits here, so what is on its way is what has to be bounded.
            self._s_per_byte = 0.0
            self._queue_limit_bytes: float = inf
            self._travelling_limit_bytes: float = UNLIMITED_QUEUE_BYTES
        else:
            # The rate bounds what is on its way.
            self._s_per_byte = 8 / quality.rate_bit_s
            self._queue_limit_bytes = quality.queue_limit_bytes
            self._travelling_limit_bytes = inf
        if not quality.is_up:
            self._queue_limit_bytes = -inf
        self._least_delay_s = max(0.0, quality.delay_s - quality.jitter_s)
        self._delay_spread_s = quality.delay_s + quality.jitter_s - self._least_delay_s
        self._loss_after_pass, self._loss_after_loss = _loss_chances(quality)

    def _drop_all(self) -> None:
        self._dropped += len(self._waiting) + len(self._travelling)
        self._waiting.clear()
        self._travelling.clear()
        self._queue_bytes = self._travelling_bytes = 0
        self._sent_at_s = inf


def _loss_chances(quality: Quality) -> tuple[float, float]:
    """Return how likely a packet gets lost after one that came through, and after a lost one.

    This is Gilbert's model with a bad state in which all is lost. Losses that do not know of each
    other have a mean burst of 1 / (1 - loss): shorter ones would avoid each other.
    """
    if quality.loss >= 1:
        return 1.0, 1.0
    burst = max(quality.loss_burst, 1 / (1 - quality.loss))
    return quality.loss / (burst * (1 - quality.loss)), 1 - 1 / burst

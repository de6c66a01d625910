"""What the link costs, measured on the frames that cross it.

Nothing is sent for the measurement, and the two clocks need not agree: an acknowledgement says how
long its frame was in the cloud, so the device knows on its own clock when the last byte arrived
there, later by one way back. A large frame is its own train of packets: between the moment at which
its first byte can arrive and that end, the link carried it. Pure.

    link = LinkEstimate()
    link.observe(byte_count=421_600, sent_s=8.1, acknowledged_s=8.3, residence_s=0.05)
    link.seconds_per_byte   # None until a large message was seen
"""

import math
from collections import deque
from typing import Final

# Smaller messages fit into the buffers on the way, so that their time says little of the rate.
MIN_MEASURED_BYTES: Final = 32 * 1024

# A message of one packet takes next to nothing of the link, so that its time is that of the way.
MAX_ROUND_TRIP_BYTES: Final = 1400

# A route changes now and then; a round trip that is older may be that of another one.
ROUND_TRIP_WINDOW_S: Final = 10.0

# The mean forgets with this time constant: a link that became slower must be noticed before the
# window is full of frames that are too large for it.
TIME_CONSTANT_S: Final = 1.0

# So many samples count alike, since the first one alone would be remembered for too long.
PLAIN_MEAN_SAMPLES: Final = 8


class LinkEstimate:
    """Seconds per byte of a link, from the acknowledged messages of one stream in order.

    Attributes:
        seconds_per_byte: None until a message of `MIN_MEASURED_BYTES` was acknowledged.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.seconds_per_byte: float | None = None
        self._samples = 0
        self._sampled_s = 0.0
        self._last_end_s = -math.inf
        # When it was seen, and how long: rising, so that the first one is the smallest.
        self._round_trips: deque[tuple[float, float]] = deque()

    def observe(
        self, *, byte_count: int, sent_s: float, acknowledged_s: float, residence_s: float
    ) -> float | None:
        """Learn from one message: the rate from a large one, the round trip from a small one.

        Returns:
            How long the link took to carry the message, in seconds; None if it does not show.

        Without any small message the round trip is unknown and taken for 0. The estimate is then
        too high by what the way takes, as long as no message has to wait for the one before.

        Args:
            byte_count: All of it, from 0 on.
            sent_s: When the sending began, on the device's monotonic clock.
            acknowledged_s: When the acknowledgement came.
            residence_s: From its last byte in to its acknowledgement out, in the cloud.
        """
        end_s = acknowledged_s - residence_s
        measured_s: float | None = None
        if byte_count <= MAX_ROUND_TRIP_BYTES:
            self._see_round_trip(end_s, end_s - sent_s)
        elif byte_count >= MIN_MEASURED_BYTES:
            round_trip_s = self._round_trips[0][1] if self._round_trips else 0.0
            first_byte_s = sent_s + round_trip_s
            transfer_s = end_s - max(first_byte_s, self._last_end_s)
            # At or below 0 the round trip is another one by now.
            if transfer_s > 0.0:
                measured_s = transfer_s
                self._sample(transfer_s / byte_count, end_s)
        self._last_end_s = max(self._last_end_s, end_s)
        return measured_s

    def _see_round_trip(self, now: float, round_trip_s: float) -> None:
        kept = self._round_trips
        while kept and kept[-1][1] >= round_trip_s:
            kept.pop()
        kept.append((now, round_trip_s))
        # The last one stays, however old: an old round trip is nearer than none.
        while kept[0][0] < now - ROUND_TRIP_WINDOW_S:
            kept.popleft()

    def _sample(self, seconds_per_byte: float, now: float) -> None:
        if self.seconds_per_byte is None:
            self.seconds_per_byte = seconds_per_byte
        else:
            weight = -math.expm1(min(self._sampled_s - now, 0.0) / TIME_CONSTANT_S)
            if self._samples < PLAIN_MEAN_SAMPLES:
                weight = 1 / (self._samples + 1)
            self.seconds_per_byte += weight * (seconds_per_byte - self.seconds_per_byte)
        self._samples += 1
        self._sampled_s = max(self._sampled_s, now)

"""Whether a connection still lives, by what moved on it from one look to the next.

Pure: who looks says how far each count has come. No clock is read for the bytes themselves.

    watch = LinkWatch()
    if watch.is_silent(now, received_bytes, reading=True): ...      # once every LOOK_EVERY_S
"""

from typing import Final

from offload.session import SILENCE_S

# How often one looks. What happens between two looks counts from the second one, so that nothing
# is noticed too early, and at most so much too late.
LOOK_EVERY_S: Final = 0.5

# Each end says something at least so often (PROTOCOL.md, section 2).
HEARTBEAT_S: Final = 2.0

# A message is to be complete by then, or to come at this rate: who never finishes one holds its
# memory. A picture of 0.9 MB takes 10 s at less than what an old mobile link carries.
MESSAGE_S: Final = 10.0
MIN_BYTES_PER_S: Final = 64 * 1024

# A device that takes nothing of what it is sent for so long does not read.
UNREAD_S: Final = 10.0

# After a refusal the device has so long to hang up by itself. To close at once would throw away
# what it has not read yet, the refusal included, if frames of its are still on the way.
LINGER_S: Final = 2.0


class LinkWatch:
    """For how long nothing has moved, on one connection; ``now`` is monotonic seconds."""

    __slots__ = (
        "_closed_s",
        "_looked_s",
        "_message_s",
        "_message_start",
        "_messages",
        "_received",
        "_sent",
        "_taken",
    )

    def __init__(self) -> None:
        """Start all times."""
        self.restart()

    def restart(self) -> None:
        """Start all times anew: nobody could look for a while, so nothing is known."""
        self._received = _Stillness()
        self._sent = _Stillness()
        self._taken = _Stillness()
        self._messages = -1
        self._message_s = 0.0
        self._message_start = 0
        self._looked_s = 0.0
        self._closed_s: float | None = None

    def is_silent(self, now: float, received_bytes: int, *, reading: bool) -> bool:
        """Return whether no byte came for `SILENCE_S`; time without reading does not count."""
        if not reading:
            self._received = _Stillness()
            return False
        return self._received.lasts_s(now, received_bytes) >= SILENCE_S

    def is_quiet(self, now: float, sent_bytes: int) -> bool:
        """Return whether it is time for a sign of life."""
        # What was sent was so up to one look before it was seen, and the next look is too late.
        return self._sent.lasts_s(now, sent_bytes) >= HEARTBEAT_S - 2 * LOOK_EVERY_S

    def is_unread(self, now: float, sent_bytes: int, unsent_bytes: int) -> bool:
        """Return whether the device has taken nothing of what waits for it for `UNREAD_S`."""
        if not unsent_bytes:
            self._taken = _Stillness()
            return False
        return self._taken.lasts_s(now, sent_bytes - unsent_bytes) >= UNREAD_S

    def is_stuck(
        self, now: float, messages: int, received_bytes: int, *, begun: bool, reading: bool
    ) -> bool:
        """Return whether the message that has begun is late; time without reading does not count.

        Args:
            now: Monotonic seconds.
            messages: How many are complete.
            received_bytes: How much has come on the connection.
            begun: Whether a message is on its way.
            reading: Whether the connection is read.
        """
        since_look_s, self._looked_s = now - self._looked_s, now
        if not begun or messages != self._messages:
            self._messages = messages
            self._message_s = 0.0
            self._message_start = received_bytes
            return False
        if reading:
            self._message_s += since_look_s
        # Less than this has no message left to come that is complete in its time.
        expected_bytes = self._message_s * MIN_BYTES_PER_S
        return (
            self._message_s >= MESSAGE_S and received_bytes - self._message_start < expected_bytes
        )

    def has_lingered(self, now: float) -> bool:
        """Return whether an ended session's connection has been there for `LINGER_S`."""
        if self._closed_s is None:
            self._closed_s = now
        return now - self._closed_s >= LINGER_S


class _Stillness:
    """Since when a count has not changed."""

    __slots__ = ("_count", "_since_s")

    def __init__(self) -> None:
        self._count = -1
        self._since_s = 0.0

    def lasts_s(self, now: float, count: int) -> float:
        if count != self._count:
            self._count = count
            self._since_s = now
        return now - self._since_s

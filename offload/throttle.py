"""Say what goes on for long once a minute, not each time.

if self._complaint.is_due(time.monotonic()):
    logger.warning("memory_limit_reached")
"""

import math
from typing import Final

# Enough to be told that it is still so.
COMPLAIN_EVERY_S: Final = 60.0


class Complaint:
    """Remembers when something was said last."""

    def __init__(self) -> None:
        """Start with nothing said."""
        self._said_s = -math.inf

    def is_due(self, now: float) -> bool:
        """Return whether it is time to say it again, and count it as said then."""
        if now - self._said_s < COMPLAIN_EVERY_S:
            return False
        self._said_s = now
        return True

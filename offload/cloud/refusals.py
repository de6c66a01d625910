"""Whom a server refused, and why: each is counted, and said unless there are too many.

refusals = Refusals()
refusals.note("token", "192.0.2.1:40000", "server knows no token with the name 'gate'")
summary["refused"] = refusals.counts
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final

from offload.messages import RefusalCode
from offload.throttle import Complaint

logger = logging.getLogger(__name__)

# A thousand devices that wait for a place ask every five seconds each: one line a minute says how
# many did.
_SAID_TOGETHER: Final = (RefusalCode.BUSY.value,)


class Refusals:
    """Counts and says refusals."""

    def __init__(self) -> None:
        """Start without any."""
        self._counts: Counter[str] = Counter()
        self._unsaid: Counter[str] = Counter()
        self._complaints = {why: Complaint() for why in _SAID_TOGETHER}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were, by reason."""
        return self._counts

    def note(self, why: str, peer: str, reason: str) -> None:
        """Count a refusal, and say it now, or together with the next ones of its kind."""
        self._counts[why] += 1
        fields: dict[str, object] = {"why": why, "peer": peer, "reason": reason}
        if why in self._complaints:
            self._unsaid[why] += 1
            if not self._complaints[why].is_due(time.monotonic()):
                return
            # The peer is that of the last one.
            fields["times"] = self._unsaid.pop(why)
        logger.warning("refused", extra=fields)

"""Whom a server refused, and why: each is counted, and said unless there are too many.

refusals = Refusals(recorder)
refusals.note("token", "192.0.2.1:40000", "server knows no token with the name 'gate'")
refusals.look(time.monotonic())                 # now and then
summary["refused"] = refusals.counts
"""

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from offload.messages import RefusalCode
from offload.telemetry.events import PeerRefused
from offload.telemetry.recorder import Recorder
from offload.throttle import Complaint

logger = logging.getLogger(__name__)

# A thousand devices that wait for a place ask every five seconds each: one line a minute says how
# many did.
_SAID_TOGETHER: Final = (RefusalCode.BUSY.value,)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unsaid:
    """How many refusals of a kind were not said yet, and what is to be said of the last one."""

    times: int
    fields: Mapping[str, object]


class Refusals:
    """Counts and says refusals.

    Args:
        recorder: Is told of each.
    """

    def __init__(self, recorder: Recorder) -> None:
        """Start without any."""
        self._recorder = recorder
        self._counts: Counter[str] = Counter()
        self._unsaid: dict[str, _Unsaid] = {}
        self._complaints = {why: Complaint() for why in _SAID_TOGETHER}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many there were, by reason."""
        return self._counts

    def note(self, why: str, peer: str, reason: str) -> None:
        """Count a refusal, and say it now, or together with others of its kind."""
        self._counts[why] += 1
        at_s = self._recorder.now()
        self._recorder.record(PeerRefused(at_s=at_s, cause=why, peer=peer, reason=reason))
        fields: dict[str, object] = {"why": why, "peer": peer, "reason": reason}
        if why in self._complaints:
            times = self._unsaid[why].times + 1 if why in self._unsaid else 1
            self._unsaid[why] = _Unsaid(times=times, fields=fields)
            self.look(time.monotonic())
        else:
            logger.warning("refused", extra=fields)

    def look(self, now: float) -> None:
        """Say what was kept back and is due now; all of it at the end of all times, infinity."""
        for why, unsaid in list(self._unsaid.items()):
            if self._complaints[why].is_due(now):
                del self._unsaid[why]
                # The peer is that of the last one.
                logger.warning("refused", extra={**unsaid.fields, "times": unsaid.times})

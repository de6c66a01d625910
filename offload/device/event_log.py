"""What the log says of a device's events: one line each, and now and then how the run goes.

recorder.add(EventLog(report_every_s=3.0))
"""

import logging
import math
from typing import Final

from offload.device.report import progress_fields
from offload.telemetry.events import (
    Sampled,
    SessionLost,
    SessionOpened,
    Steered,
    TaskFailed,
    TelemetryEvent,
)

logger = logging.getLogger("device")


class EventLog:
    """Writes log lines of events.

    Args:
        report_every_s: How often at most to say how the run goes; infinity for never.
    """

    def __init__(self, *, report_every_s: float) -> None:
        """Say how it goes for the first time after so long."""
        self._report_every_s = report_every_s
        # A sample is a little late now and then, which is not to double the time between two lines.
        self._next_report_s = report_every_s if math.isinf(report_every_s) else 0.9 * report_every_s

    def note(self, event: TelemetryEvent) -> None:
        """Write a line about what is of interest to who runs the program."""
        match event:
            case Sampled():
                if event.at_s >= self._next_report_s:
                    self._next_report_s = event.at_s + 0.9 * self._report_every_s
                    logger.info("progress", extra=progress_fields(event))
            case SessionOpened():
                logger.info("session_opened", extra={"next_seq": event.next_seq})
            case SessionLost():
                fields: dict[str, object] = {"reason": event.reason, "in_flight": event.in_flight}
                logger.warning("session_lost", extra=fields)
            case Steered():
                _say_steered(event)
            case TaskFailed():
                fields = {"seq": event.seq, "task": event.task, "reason": event.reason}
                logger.warning("frame_failed", extra=fields)
            case _:
                # The others are of interest to machines, or said at the end.
                pass


_VALUES: Final = {"target": "fps", "pin": "split"}


def _say_steered(event: Steered) -> None:
    fields: dict[str, object] = {"change": event.change}
    if event.change in _VALUES:
        fields[_VALUES[event.change]] = event.value
    if event.error is None:
        logger.info("steered", extra=fields)
    else:
        logger.warning("steering_refused", extra={**fields, "reason": event.error})

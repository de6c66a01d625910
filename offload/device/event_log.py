"""What the log says of a device's events: one line each, and now and then how the run goes.

recorder.add(EventLog(report_every_s=3.0))
"""

import logging
from typing import Final

from offload.device.report import progress_fields
from offload.telemetry.events import (
    SAMPLE_PERIOD_S,
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
        report_every_s: How often to say how the run goes, each time at the sample that comes next
            to it; infinity for never.
    """

    def __init__(self, *, report_every_s: float) -> None:
        """Say how it goes for the first time after so long."""
        self._report_every_s = report_every_s
        self._report_s = report_every_s
        # No other sample is closer than one within half of the time between two.
        self._near_s = min(SAMPLE_PERIOD_S, report_every_s) / 2

    def note(self, event: TelemetryEvent) -> None:
        """Write a line about what is of interest to who runs the program."""
        match event:
            case Sampled():
                if event.at_s >= self._report_s - self._near_s:
                    self._look_forward(event.at_s)
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

    def _look_forward(self, at_s: float) -> None:
        # Lines that were held up are not made up for.
        is_late = at_s > self._report_s + self._near_s
        self._report_s = (at_s if is_late else self._report_s) + self._report_every_s


_VALUES: Final = {"target": "fps", "pin": "split"}


def _say_steered(event: Steered) -> None:
    fields: dict[str, object] = {"change": event.change}
    if event.change in _VALUES:
        fields[_VALUES[event.change]] = event.value
    if event.error is None:
        logger.info("steered", extra=fields)
    else:
        logger.warning("steering_refused", extra={**fields, "reason": event.error})

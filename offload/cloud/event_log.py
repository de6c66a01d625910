"""What the log says of a server's events: one line each."""

import logging

from offload.messages import is_trial
from offload.telemetry.events import SessionLost, SessionOpened, Steered, TelemetryEvent

logger = logging.getLogger("cloud")


class EventLog:
    """Writes log lines of events."""

    def note(self, event: TelemetryEvent) -> None:
        """Write a line about what is of interest to who runs the program."""
        match event:
            case SessionOpened():
                fields = {
                    "stream": event.stream,
                    "device": event.device,
                    "app": event.app,
                    "next_seq": event.next_seq,
                    "peer": event.peer,
                    **trial_field(event.stream),
                }
                logger.info("session_opened", extra=fields)
            case SessionLost():
                lost = {
                    "stream": event.stream,
                    "reason": event.reason,
                    **trial_field(event.stream),
                }
                logger.info("session_lost", extra=lost)
            case Steered():
                _say_steered(event)
            case _:
                # The others are of interest to machines, or said at the end.
                pass


def trial_field(stream: str) -> dict[str, object]:
    """Return the field that tells a trial from a device's work; none for a stream that is kept."""
    return {"trial": True} if is_trial(stream) else {}


def _say_steered(event: Steered) -> None:
    fields: dict[str, object] = {
        "token": event.by,
        "stream": event.stream,
        "change": event.change,
        "value": event.value,
    }
    if event.error is None:
        logger.info("steered", extra=fields)
    else:
        logger.warning("steering_refused", extra={**fields, "reason": event.error})

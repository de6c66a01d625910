"""Pass events on to all that look at them, one at a time and in order.

recorder = Recorder([log_view, trace])
recorder.record(SessionLost(at_s=recorder.now(), ...))     # from any thread
"""

import threading
import time
from collections.abc import Iterable
from typing import Protocol

from offload.telemetry.events import TelemetryEvent


class View(Protocol):
    """What looks at events. It is quick, and raises nothing: a run does not end for a view."""

    def note(self, event: TelemetryEvent) -> None:
        """Take in one event."""


class Recorder:
    """Passes events on.

    Args:
        views: Who looks at them.
    """

    def __init__(self, views: Iterable[View] = ()) -> None:
        """Begin the clock of the events."""
        self._began_s = time.monotonic()
        self._views = list(views)
        # Views see one event after the other, whichever threads they come from.
        self._lock = threading.Lock()

    def now(self) -> float:
        """Return the ``at_s`` of an event that happens now."""
        return time.monotonic() - self._began_s

    def add(self, view: View) -> None:
        """Let one more look from now on."""
        with self._lock:
            self._views.append(view)

    def record(self, event: TelemetryEvent) -> None:
        """Show an event to all views."""
        with self._lock:
            for each in self._views:
                each.note(event)

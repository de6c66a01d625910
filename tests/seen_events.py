"""Keep the events that a recorder shows, and make samples that say little."""

from dataclasses import fields
from typing import Any, cast

from offload.telemetry.events import Sampled, TaskTotals, TelemetryEvent
from offload.telemetry.form import event_name

NO_TASK = TaskTotals(device_s=0.0, cloud_s=0.0, device_runs=0, cloud_runs=0)


class SeenEvents:
    """A view that keeps what it is shown."""

    def __init__(self) -> None:
        self.events: list[TelemetryEvent] = []

    def note(self, event: TelemetryEvent) -> None:
        self.events.append(event)

    def names(self) -> list[str]:
        return [event_name(each) for each in self.events]


def sampled(**said: Any) -> Sampled:
    """Return a sample of a run that has done nothing yet, but for what is given."""
    tasks: int = said.pop("task_count", 7)
    nothing: dict[str, Any] = {
        each.name: {int: 0, float: 0.0, str: "", bool: False}.get(cast("Any", each.type))
        for each in fields(Sampled)
    }
    plain = {
        "at_s": 1.0,
        "stream": "s",
        "window": 32,
        "connected": True,
        "split_frames": (0,) * (tasks + 1),
        "tasks": (NO_TASK,) * tasks,
        "forecasts": (),
    }
    return Sampled(**{**nothing, **plain, **said})

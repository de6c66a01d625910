"""What happens in a run, in ``events.jsonl`` and to whoever watches.

    events = EventLog(folder / "events.jsonl", say)
    events.record(EventKind.STARTED, "iot-client 6 25", machine="pi")
    events.begin()                          # all machines have started: from now on t counts
    events.record(EventKind.CHANGE, "at 30s: link wifi rate 4Mbit")

A line is in the file once it was written, so a run that is killed loses none of those after
`EventLog.begin`.
"""

import json
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path


class EventKind(StrEnum):
    """What can happen in a run."""

    STARTED = "started"  # a machine's program was started
    READY = "ready"  # a machine counts as started
    CHANGE = "change"  # a link or a machine is another one from now on
    ENDED = "ended"  # a machine's program has ended
    STOPPED = "stopped"  # the run is over; what still runs is asked to end


class EventLog:
    """The events of a run.

    Args:
        path: The file.
        say: Takes each event as a line of text.

    Attributes:
        say: What came in; for what is to be seen, but is no event.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self.say = say
        self._began_s: float | None = None
        # With when they came: it is not known yet from when on t counts.
        self._early: list[tuple[float, Mapping[str, object]]] = []

    def record(
        self,
        kind: EventKind,
        text: str,
        *,
        machine: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        """Write down that something has happened, now; minus a signal is an exit code, too."""
        event: dict[str, object] = {
            "at": time.time(),
            "kind": kind,
            "machine": machine,
            "text": text,
        }
        if exit_code is not None:
            event["exit_code"] = exit_code
        said = " ".join(filter(None, [machine, f"{kind}: {text}"]))
        if self._began_s is None:
            self._early.append((time.monotonic(), event))
            self.say(said)
        else:
            self._write(self.elapsed_s(), event)
            self.say(f"{self.elapsed_s():.1f} s: {said}")

    def begin(self) -> None:
        """Count from now on; what happened before was at a time below zero."""
        self._began_s = time.monotonic()
        for at_s, event in self._early:
            self._write(at_s - self._began_s, event)

    def elapsed_s(self) -> float:
        """Return the seconds since `begin`."""
        assert self._began_s is not None
        return time.monotonic() - self._began_s

    def close(self) -> None:
        """Close the file; all of a run that never began was before its end."""
        if self._began_s is None:
            self.begin()
        self._file.close()

    def _write(self, elapsed_s: float, event: Mapping[str, object]) -> None:
        self._file.write(json.dumps({"t": round(elapsed_s, 6), **event}) + "\n")
        self._file.flush()

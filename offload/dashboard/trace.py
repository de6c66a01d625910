"""A recorded trace as what the page shows: there is nothing to steer, and no picture."""

from pathlib import Path

from offload.dashboard.sources import Picture
from offload.errors import ConfigurationError, SteeringError
from offload.messages import Change, StreamSteering
from offload.telemetry.history import History
from offload.telemetry.stream_history import TRACE
from offload.telemetry.trace import read_trace


class TraceSource:
    """The streams of a trace file.

    Args:
        path: The file, as ``--trace`` wrote it.

    Raises:
        ConfigurationError: It cannot be read, or is no trace; the message names the line.
    """

    live = False
    results: Path | None = None

    def __init__(self, path: Path) -> None:
        """Read all of it."""
        self.title = path.name
        self.history = History(TRACE)
        for event in read_trace(path):
            self.history.note(event)
        if not self.history.streams():
            raise ConfigurationError(f"trace {path} has no event of any stream")

    def owner(self, stream: str) -> str | None:  # noqa: ARG002  # a trace has no tokens
        """Return that nobody knows."""
        return None

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:  # noqa: ARG002
        """Refuse it.

        Raises:
            SteeringError: Always.
        """
        raise SteeringError(f"stream {stream!r:.140} is a recorded one")

    def look(self, stream: str) -> Picture | None:  # noqa: ARG002  # a trace has no pictures
        """Return that there is none."""
        return None

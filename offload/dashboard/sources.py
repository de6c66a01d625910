"""What the page is fed from: a running server, or the trace of a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from offload.messages import Change, StreamSteering
from offload.telemetry.history import History


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture of a stream: its number, which grows, and the picture as the app gave it."""

    number: int
    content: object


class Source(Protocol):
    """What the page shows.

    Attributes:
        title: What it is, in a few words.
        live: Whether it goes on; else it is a trace, which is only looked at.
        history: The streams.
        results: The SQLite file of the results; None if none are kept.
    """

    title: str
    live: bool
    history: History
    results: Path | None

    def owner(self, stream: str) -> str | None:
        """Return the name of the token to which a stream belongs; None if nobody knows."""

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:
        """Have a device make a change, and return what came of it.

        Raises:
            SteeringError: The stream's device is not connected.
        """

    def look(self, stream: str) -> Picture | None:
        """Return the newest picture, and have the device make more of them for a while."""

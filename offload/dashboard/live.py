"""A running server as what the page shows."""

from pathlib import Path
from typing import Protocol

from offload.dashboard.sources import Picture
from offload.messages import Change, StreamSteering, is_trial
from offload.telemetry.events import ServerSampled, SessionOpened, TelemetryEvent
from offload.telemetry.history import History


class Cloud(Protocol):
    """What the page asks of a server; for its event loop."""

    def owner_of(self, stream: str) -> str | None:
        """Return the name of the token that opened a stream; None if it is not in memory."""

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:
        """Have a device make a change; see `Source.steer`."""

    def look_at(self, stream: str) -> tuple[int, object] | None:
        """Return the newest picture with its number, and ask for more; see `Source.look`."""


class LiveSource:
    """The streams of a server; a view of its events, all of which come on its event loop.

    Args:
        cloud: The server.
        title: What it is, in a few words.
        history: Is filled from its events.
        results: The SQLite file of the results; None if none are kept.
    """

    live = True

    def __init__(self, cloud: Cloud, *, title: str, history: History, results: Path | None):
        """Start without events."""
        self.title = title
        self.history = history
        self.results = results
        self._cloud = cloud
        # The server forgets a stream earlier than the page does.
        self._owners: dict[str, str] = {}

    def note(self, event: TelemetryEvent) -> None:
        """Take in one event."""
        if isinstance(event, SessionOpened):
            self._note_owner(event.stream)
        self.history.note(event)
        if isinstance(event, ServerSampled):
            self._forget_trials()

    def owner(self, stream: str) -> str | None:
        """Return whose stream it is; see `Source.owner`."""
        return self._owners.get(stream)

    async def steer(self, change: Change, *, stream: str, by: str) -> StreamSteering:
        """Have a device make a change; see `Source.steer`."""
        return await self._cloud.steer(change, stream=stream, by=by)

    def look(self, stream: str) -> Picture | None:
        """Return the newest picture; see `Source.look`."""
        found = self._cloud.look_at(stream)
        return None if found is None else Picture(number=found[0], content=found[1])

    def _forget_trials(self) -> None:
        """Forget the trials that the server has forgotten: those that ended, or are away for long.

        Of a trial nothing is kept: else each look of the doctor's would stay in the list.
        """
        for each in self.history.streams():
            name = each.info.stream
            if is_trial(name) and self._cloud.owner_of(name) is None:
                self.history.forget(name)

    def _note_owner(self, stream: str) -> None:
        """Take note of whose stream it is that opens; what was another owner's is forgotten."""
        owner = self._cloud.owner_of(stream)
        if owner is None:
            return
        if self._owners.get(stream, owner) != owner:
            self.history.forget(stream)
        self._owners[stream] = owner
        # Those of streams that the history has forgotten may be too many.
        if len(self._owners) > 2 * len(self.history.streams()) + 1:
            known = {each.info.stream for each in self.history.streams()} | {stream}
            self._owners = {name: each for name, each in self._owners.items() if name in known}

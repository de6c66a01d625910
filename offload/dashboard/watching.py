"""What a browser is told as things change, as server-sent events.

A watcher is a generator that looks at the history when its socket takes more: nothing is kept for
a browser that is slow, and what it gets is always the newest. There is a bound to how many there
are.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Final

from offload.dashboard.doors import Visit
from offload.dashboard.form import (
    forecast_fields,
    notice_fields,
    row_fields,
    sample_fields,
    task_fields,
    to_json,
)
from offload.dashboard.lasting import Places
from offload.dashboard.sources import Source
from offload.telemetry.stream_history import StreamHistory

# Each is a connection and a look at all rows a second.
MAX_WATCHERS: Final = 64

LIST_PERIOD_S: Final = 1.0

# A device's page shows at once what an operator changed; a look that finds nothing costs 2 us.
LOOK_PERIOD_S: Final = 0.2

# So that whoever is between the two ends keeps the connection, a browser that is gone is noticed,
# and the page notices a server that is gone.
ALIVE_S: Final = 5.0

# Not a comment: of those a browser tells its page nothing.
_ALIVE: Final = "event: alive\ndata: {}\n\n"
_RETRY: Final = "retry: 1000\n\n"


class Rows:
    """The rows of all streams as JSON, made anew only where they changed, for all watchers."""

    def __init__(self) -> None:
        """Start without any."""
        self._made: dict[str, tuple[StreamHistory, int, str]] = {}

    def text(self, stream: StreamHistory) -> str:
        """Return a stream's row."""
        name = stream.info.stream
        made = self._made.get(name)
        if made is None or made[0] is not stream or made[1] != stream.version:
            made = (stream, stream.version, to_json(row_fields(stream.row())))
            self._made[name] = made
        return made[2]

    def look(self, source: Source, visit: Visit) -> dict[str, str]:
        """Return the rows that a visitor may see, by the streams' names."""
        streams = source.history.streams()
        if len(self._made) > len(streams):
            self._made = {each.info.stream: made for each in streams if (made := self._of(each))}
        visitor = visit.visitor
        return {
            each.info.stream: self.text(each)
            for each in streams
            if visitor.may_see(source.owner(each.info.stream))
        }

    def _of(self, stream: StreamHistory) -> tuple[StreamHistory, int, str] | None:
        return self._made.get(stream.info.stream)


class Watchers:
    """Those who watch now.

    Args:
        source: What they watch.

    Attributes:
        rows: The rows that they share.
        places: Whoever watches has taken one.
    """

    def __init__(self, source: Source) -> None:
        """Start without any."""
        self.rows = Rows()
        self.places = Places(MAX_WATCHERS)
        self._source = source
        self._closing = asyncio.Event()

    def close(self) -> None:
        """Let all of them end."""
        self._closing.set()

    async def watch_list(self, visit: Visit) -> AsyncGenerator[str, None]:
        """Yield the rows, then those that changed, once a second, until the visit is over."""
        yield _RETRY
        shown: Mapping[str, str] | None = None
        quiet_s = 0.0
        while not (visit.is_over or self._closing.is_set()):
            rows = self.rows.look(self._source, visit)
            said = _list_event(rows, shown, self._source.history.now_s)
            shown, quiet_s = rows, 0.0 if said else quiet_s + LIST_PERIOD_S
            if said:
                yield said
            elif quiet_s >= ALIVE_S:
                quiet_s = 0.0
                yield _ALIVE
            await self._pause(LIST_PERIOD_S)

    async def watch_stream(
        self, visit: Visit, name: str, *, noticed: int | None
    ) -> AsyncGenerator[str, None]:
        """Yield a stream's samples and notices as they come, until the visit is over.

        Args:
            visit: Whose.
            name: The stream.
            noticed: How many notices the watcher has had already; None for all so far.
        """
        yield _RETRY
        seen = _Seen()
        quiet_s = 0.0
        while not (visit.is_over or self._closing.is_set()):
            stream = self._source.history.get(name)
            # Under its name there may be another owner's by now.
            if stream is None or not visit.visitor.may_see(self._source.owner(name)):
                return
            if noticed is None or noticed > stream.noticed:
                noticed = stream.noticed if noticed is None else 0
            # Notices first: the other event's number says that all of them were sent.
            for event, number in _notice_events(stream, noticed):
                noticed = number
                yield event
            said = seen.news(stream)
            if said:
                text = self.rows.text(stream)
                yield _sample_event(stream, text, noticed, self._source.history.now_s)
            quiet_s = 0.0 if said else quiet_s + LOOK_PERIOD_S
            if quiet_s >= ALIVE_S:
                quiet_s = 0.0
                yield _ALIVE
            await self._pause(LOOK_PERIOD_S)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._closing.wait()
        except TimeoutError:
            pass


class _Seen:
    """What a watcher of a stream was shown last."""

    def __init__(self) -> None:
        self._sampled = -1
        self._noticed = -1
        self._version = -1
        self._looks = 0

    def news(self, stream: StreamHistory) -> bool:
        """Return whether there is a new sample; what else changed waits for a second at most."""
        self._looks += 1
        is_new = (
            stream.sampled != self._sampled
            or stream.noticed != self._noticed
            or (stream.version != self._version and self._looks * LOOK_PERIOD_S >= LIST_PERIOD_S)
        )
        if is_new:
            self._sampled, self._noticed = stream.sampled, stream.noticed
            self._version, self._looks = stream.version, 0
        return is_new


def _list_event(rows: Mapping[str, str], shown: Mapping[str, str] | None, now_s: float) -> str:
    """Return what changed since ``shown``; empty if nothing did, all if that is None."""
    before = shown or {}
    changed = [text for name, text in rows.items() if before.get(name) != text]
    gone = [name for name in before if name not in rows]
    if not (changed or gone or shown is None):
        return ""
    data = f'{{"now_s":{now_s:.3f},"rows":[{",".join(changed)}],"gone":{to_json(gone)}}}'
    return f"event: devices\ndata: {data}\n\n"


def _sample_event(stream: StreamHistory, row: str, noticed: int, now_s: float) -> str:
    sample = to_json(sample_fields(stream.samples))
    tasks, forecasts = to_json(task_fields(stream)), to_json(forecast_fields(stream))
    data = (
        f'{{"now_s":{now_s:.3f},"row":{row},"sample":{sample},'
        f'"tasks":{tasks},"forecasts":{forecasts}}}'
    )
    return f"event: sample\nid: {noticed}\ndata: {data}\n\n"


def _notice_events(stream: StreamHistory, noticed: int) -> list[tuple[str, int]]:
    """Return the notices after the first ``noticed``, each with its number."""
    first = stream.noticed - len(stream.notices)
    fresh = list(stream.notices)[max(0, noticed - first) :]
    start = stream.noticed - len(fresh) + 1
    return [
        (f"event: notice\nid: {number}\ndata: {to_json(notice_fields(notice))}\n\n", number)
        for number, notice in enumerate(fresh, start=start)
    ]

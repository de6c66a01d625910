"""The newest events of every stream, for whoever looks later: rows, samples and notices. Pure.

It is filled from events as they happen or from a trace file alike. What it holds is bounded,
whatever devices send: `Keeping` says by what.

    history = History(LIVE)
    history.note(event)
    for stream in history.streams(): stream.row(), stream.version
    history.get("porch").samples.column("fps")
"""

from dataclasses import replace

from offload.telemetry.events import (
    AppShape,
    PeerRefused,
    ReasonChanged,
    RunBegan,
    RunEnded,
    Sampled,
    ServerBegan,
    ServerSampled,
    SessionLost,
    SessionOpened,
    Steered,
    StreamEnded,
    StreamSampled,
    TaskFailed,
    TelemetryEvent,
)
from offload.telemetry.notices import Notice, Teller, notice_of
from offload.telemetry.stream_history import LIVE, Info, Keeping, StreamHistory


class History:
    """What is kept of all streams.

    Not safe for several threads at once: who notes events in one and reads in another has to see
    to it.

    Args:
        keeping: How much.

    Attributes:
        now_s: When the newest event happened.
    """

    def __init__(self, keeping: Keeping = LIVE):
        """Start without streams."""
        self.now_s = 0.0
        self._keeping = keeping
        # By the names of apps; devices do not say what theirs are like.
        self._shapes: dict[str, AppShape] = {}
        self._streams: dict[str, StreamHistory] = {}
        # For how many streams all of them were made to fit.
        self._fits = 0

    def streams(self) -> list[StreamHistory]:
        """Return all streams, those that were first seen first."""
        return list(self._streams.values())

    def get(self, name: str) -> StreamHistory | None:
        """Return a stream; None if there is none of that name, or it is forgotten."""
        return self._streams.get(name)

    def forget(self, name: str) -> None:
        """Forget a stream, if there is one of that name."""
        self._streams.pop(name, None)

    def note(self, event: TelemetryEvent) -> None:
        """Take in one event."""
        self.now_s = max(self.now_s, event.at_s)
        if isinstance(event, ServerBegan):
            self._shapes = {each.name: each for each in event.apps}
        if isinstance(event, ServerSampled):
            self._forget_old()
        if isinstance(event, ServerBegan | PeerRefused | ServerSampled):
            return
        stream = self._streams.get(event.stream)
        if stream is None:
            # A server may have a stream in memory for longer than it is kept here.
            if isinstance(event, StreamSampled) and not event.connected:
                return
            stream = self._enter(event.stream)
        self._apply(stream, event)
        # A device's trace begins with its run, of which servers are not told.
        teller = Teller.SERVER if stream.info.version is None else Teller.DEVICE
        notice = notice_of(event, teller)
        # Between two that say the same was one that says nothing to people.
        if notice is not None and not (
            isinstance(event, ReasonChanged) and stream.has_reason(notice.text)
        ):
            self.add_notice(stream, notice)

    def add_notice(self, stream: StreamHistory, notice: Notice) -> None:
        """Take note of what people are told of a stream."""
        stream.notice(notice, most=self._most_notices)

    def _apply(self, stream: StreamHistory, event: TelemetryEvent) -> None:
        match event:
            case RunBegan():
                stream.begin()
                stream.describe(_info_of(event))
            case SessionOpened():
                stream.connect(event.at_s)
                self._describe(stream, replace(stream.info, device=event.device, app=event.app))
            case SessionLost():
                stream.lose(event.at_s)
            case Steered():
                stream.steer(event)
            case ReasonChanged():
                stream.give_reason(event.reason)
            case Sampled():
                stream.sample(event, most_bytes=self._most_bytes)
                self._describe(stream, replace(stream.info, mode=_mode(event, stream.info)))
            case StreamSampled():
                stream.sample_by_cloud(event, most_bytes=self._most_bytes)
                self._describe(stream, replace(stream.info, device=event.device, app=event.app))
            case RunEnded() | StreamEnded():
                stream.end(event)
            case TaskFailed():
                stream.seen_s = event.at_s

    def _describe(self, stream: StreamHistory, info: Info) -> None:
        if info != stream.info:
            if shape := self._shapes.get(info.app or ""):
                info = replace(info, tasks=shape.tasks, splits=shape.splits)
            stream.describe(info)

    def _enter(self, name: str) -> StreamHistory:
        if len(self._streams) >= self._keeping.streams:
            # Those that are over first, then those whose devices are away, the longest first.
            victim = min(
                self.streams(), key=lambda each: (not each.ended, each.connected, each.seen_s)
            )
            del self._streams[victim.info.stream]
        self._fits = min(self._fits, len(self._streams))
        self._streams[name] = StreamHistory(name, self._keeping)
        self._make_fit()
        return self._streams[name]

    def _forget_old(self) -> None:
        """Forget those that have ended, or whose devices are away, for long."""
        keeping = self._keeping
        for each in self.streams():
            after_s = keeping.forget_ended_s if each.ended else keeping.forget_away_s
            if not each.connected and self.now_s - each.seen_s > after_s:
                self.forget(each.info.stream)

    def _make_fit(self) -> None:
        """Make all streams smaller, now and then: else each new one costs a look at all."""
        if len(self._streams) <= self._fits + self._fits // 8:
            return
        self._fits = len(self._streams)
        for each in self._streams.values():
            each.shrink(most_bytes=self._most_bytes, notices=self._most_notices)

    @property
    def _most_bytes(self) -> int:
        """What the samples of each stream may take."""
        return self._keeping.sample_bytes // len(self._streams)

    @property
    def _most_notices(self) -> int:
        """How many notices of each stream are kept."""
        return min(self._keeping.notices, self._keeping.notices_in_all // len(self._streams))


def _info_of(event: RunBegan) -> Info:
    return Info(
        stream=event.stream,
        device=event.device,
        app=event.app,
        mode=event.mode,
        tasks=event.tasks,
        splits=event.splits,
        version=event.version,
    )


def _mode(event: Sampled, info: Info) -> str:
    """Return the mode: servers are not told it, but only a scheduler has a target."""
    if event.target_fps is not None:
        return "automatic"
    return info.mode if info.mode == "client_only" else "manual"

"""What a server's newest events say, as metrics. Pure, but for a lock.

metrics = ServerMetrics(max_streams=options.max_clients, now=recorder.now)
metrics.note(event)                             # it is a view of the recorder
list(metrics.read())
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from offload.messages import RefusalCode, is_trial
from offload.metrics import server_families as families
from offload.metrics.families import SAID_FOR_S, SAMPLE_AGE, Reading, read_load, still_so
from offload.telemetry.events import (
    MuteRefusal,
    PeerRefused,
    Sampled,
    ServerBegan,
    ServerSampled,
    StreamEnded,
    StreamSampled,
    TelemetryEvent,
)

# A stream that is over, or whose device is away, is shown for as long as Prometheus looks back by
# default: whatever its interval is, it gets the last counts.
FORGET_AFTER_S: Final = 300.0

# A growth from nothing to one is seen only by whom has seen the nothing.
CAUSES: Final = tuple(each.value for each in (*RefusalCode, *MuteRefusal))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stream:
    """A stream as it was last seen.

    Attributes:
        sample: What this server knows of it.
        connected_s: When its device was last seen connected; at first when the stream was seen.
        said: What its device said last, if it ever did.
        is_over: Whether it is complete.
    """

    sample: StreamSampled
    connected_s: float
    said: Sampled | None = None
    is_over: bool = False

    @property
    def is_shown(self) -> bool:
        """Whether its device is here, or was not long ago."""
        return self.sample.at_s - self.connected_s <= FORGET_AFTER_S

    @property
    def says(self) -> Sampled | None:
        """What its device says now."""
        if self.said is None or not self.sample.connected:
            return None
        return self.said if self.sample.at_s - self.said.at_s <= SAID_FOR_S else None


class ServerMetrics:
    """The metrics of a server and of some of its streams.

    Args:
        max_streams: How many streams are shown: one whose device is away makes room for one whose
            device is connected.
        now: Returns the time, as the events have it.
    """

    def __init__(self, *, max_streams: int, now: Callable[[], float]) -> None:
        """Start with nothing to say."""
        self._max_streams = max_streams
        self._now = now
        self._began: ServerBegan | None = None
        self._sample: ServerSampled | None = None
        # Guards the two below, which are read while they change.
        self._lock = threading.Lock()
        self._refusals = Counter[str](dict.fromkeys(CAUSES, 0))
        self._streams: dict[str, _Stream] = {}

    def note(self, event: TelemetryEvent) -> None:
        """Take in one event."""
        with self._lock:
            match event:
                case ServerBegan():
                    self._began = event
                case ServerSampled():
                    self._sample = event
                    self._forget(event.at_s)
                case PeerRefused():
                    self._refusals[event.cause] += 1
                case StreamSampled():
                    self._note_stream(event)
                case Sampled(stream=name) if name in self._streams:
                    self._streams[name] = replace(self._streams[name], said=event)
                case StreamEnded(stream=name) if name in self._streams:
                    self._streams[name] = replace(self._streams[name], is_over=True)

    def read(self) -> Iterator[Reading]:
        """Yield the values that there are now."""
        with self._lock:
            began, sample = self._began, self._sample
            refusals = dict(self._refusals)
            streams = [each for each in self._streams.values() if each.is_shown]
        if began is not None:
            yield families.SERVER_INFO.at(1, began.version)
            yield families.SERVER_START.at(began.began_at)
        for cause, number in refusals.items():
            yield families.REFUSALS.at(number, cause)
        age_s = 0.0
        if sample is not None:
            age_s = self._now() - sample.at_s
            yield SAMPLE_AGE.at(age_s)
            yield from still_so(_read_server(sample), age_s)
        # Streams are sampled together with the server.
        for each in streams:
            yield from still_so(_read_stream(each), age_s)

    def _note_stream(self, sample: StreamSampled) -> None:
        known = self._streams.get(sample.stream)
        if known is not None:
            # Whoever comes back after the end goes on.
            is_over = known.is_over and not sample.connected
            connected_s = sample.at_s if sample.connected else known.connected_s
            self._streams[sample.stream] = replace(
                known, sample=sample, connected_s=connected_s, is_over=is_over
            )
            return
        if len(self._streams) >= self._max_streams:
            if not sample.connected:
                return
            del self._streams[self._least_of_interest()]
        self._streams[sample.stream] = _Stream(sample=sample, connected_s=sample.at_s)

    def _least_of_interest(self) -> str:
        """Return a stream whose device is away, if there is one; else the one seen longest ago."""
        return min(
            self._streams,
            key=lambda name: (
                self._streams[name].sample.connected,
                self._streams[name].sample.at_s,
            ),
        )

    def _forget(self, now: float) -> None:
        """Forget streams of which nothing was heard for long."""
        for name, stream in list(self._streams.items()):
            if now - stream.sample.at_s > FORGET_AFTER_S:
                del self._streams[name]


def _read_server(sample: ServerSampled) -> Iterator[Reading]:
    yield families.SESSIONS.at(sample.sessions)
    yield families.OPERATORS.at(sample.operators)
    yield families.FRAME_MEMORY.at(sample.frame_bytes)
    yield families.FRAME_MEMORY_LIMIT.at(sample.frame_limit_bytes)
    yield from read_load(sample)


def _read_stream(stream: _Stream) -> Iterator[Reading]:
    sample = stream.sample
    name = sample.stream
    yield families.STREAM_INFO.at(1, name, sample.device, sample.app)
    # A trial that its device has left is of no use to anybody.
    if not stream.is_over and (sample.connected or not is_trial(name)):
        yield families.STREAM_CONNECTED.at(sample.connected, name)
    yield families.STREAM_FRAMES.at(sample.results, name, "result")
    yield families.STREAM_FRAMES.at(sample.filtered, name, "filtered")
    yield families.STREAM_FRAMES.at(sample.failed, name, "failed")
    yield families.STREAM_FRAMES.at(sample.dropped, name, "dropped")
    yield families.STREAM_DUPLICATES.at(sample.duplicates_ignored, name)
    yield families.STREAM_NEXT_SEQ.at(sample.next_seq, name)
    yield families.STREAM_TASK_SECONDS.at(sample.cloud_task_s, name)
    yield families.STREAM_RECEIVED.at(sample.received_bytes, name)
    yield families.STREAM_WAITING.at(sample.waiting, name)
    if (says := stream.says) is not None:
        yield families.STREAM_THROUGHPUT.at(says.fps, name)
        yield from families.STREAM_TARGET.if_known(says.target_fps, name)
        yield from families.STREAM_SPLIT.if_known(says.split, name)

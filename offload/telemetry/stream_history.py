"""What is kept of one stream: how it stands now, its newest samples and notices. Pure.

stream = StreamHistory("porch", LIVE)
stream.sample(sampled, most_bytes=100_000)
stream.row(), stream.version
stream.samples.column("fps")
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from offload.telemetry.events import (
    Forecast,
    RunEnded,
    Sampled,
    Steered,
    StreamEnded,
    StreamSampled,
    TaskTotals,
)
from offload.telemetry.notices import Notice
from offload.telemetry.samples import (
    MAX_TASKS,
    Measured,
    Samples,
    gap,
    measure,
    measure_from_cloud,
)

# As the scheduler has it: off the target by less is on it.
ON_TARGET: Final = 0.05

# A device that has said nothing for longer is seen by its server only, until it speaks again.
_FRESH_S: Final = 2.5

# Forecasts of one second are too restless to read: the median of so many is shown.
FORECASTS: Final = 5


# Who looks in the morning still sees what was lost in the evening. A device that was killed has
# another stream next time, unless that has a name, so what was lost would only grow: it takes room
# from what is connected.
FORGET_AWAY_S: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How much is kept.

    Attributes:
        streams: At most so many.
        samples: The newest of each stream.
        sample_bytes: What the samples of all streams may take together.
        notices: The newest of each stream.
        notices_in_all: Of all streams together.
        forget_ended_s: After which time a stream that has ended is forgotten.
        forget_away_s: After which time one is that has not, and whose device is away.
        is_thinned: Whether, past ``samples``, every second one is forgotten instead of the oldest.
    """

    streams: int
    samples: int
    sample_bytes: int
    notices: int
    notices_in_all: int
    forget_ended_s: float
    forget_away_s: float
    is_thinned: bool


# Ten minutes of each device; with more than 400 devices less, so that a server spends no more than
# 32 MiB on what nobody may ever look at. Notices take about 400 bytes.
LIVE: Final = Keeping(
    streams=1280,
    samples=600,
    sample_bytes=32 * 1024 * 1024,
    notices=200,
    notices_in_all=20_000,
    forget_ended_s=3600.0,
    forget_away_s=FORGET_AWAY_S,
    is_thinned=False,
)

# A whole run: two hours by the second, longer ones in longer steps.
TRACE: Final = Keeping(
    streams=1280,
    samples=7200,
    sample_bytes=256 * 1024 * 1024,
    notices=1000,
    notices_in_all=100_000,
    forget_ended_s=math.inf,
    forget_away_s=math.inf,
    is_thinned=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What does not change while a stream runs; None or empty where it is not known."""

    stream: str
    device: str | None = None
    app: str | None = None
    mode: str | None = None
    tasks: tuple[str, ...] = ()
    splits: tuple[int, ...] = ()
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A stream in one line; None where it is not known. ``tasks`` is their number."""

    stream: str
    device: str | None
    app: str | None
    mode: str | None
    connected: bool
    ended: bool
    fps: float | None
    target_fps: float | None
    pinned: int | None
    split: float | None
    tasks: int
    reason: str | None
    latency_p95_s: float | None
    link_bytes_per_s: float | None
    in_flight: int | None
    dropped: int | None
    failed: int | None
    completed: int | None
    cloud_s_per_frame: float | None
    device_s_per_frame: float | None
    seen_s: float
    target_met: bool | None


class StreamHistory:
    """What is kept of one stream.

    Attributes:
        version: Grows with whatever changes.
        notices: The newest ones, the oldest of them first.
        noticed: How many notices there were in all.
        samples: The newest ones.
        sampled: How many samples there were in all.
    """

    def __init__(self, name: str, keeping: Keeping) -> None:
        """Start without a word."""
        self.info = Info(stream=name)
        self.version = 0
        self.notices: deque[Notice] = deque()
        self.noticed = 0
        self.samples = Samples(tasks=0)
        self.sampled = 0
        self.connected = False
        self.ended = False
        self.seen_s = 0.0
        self._keeping = keeping
        self._stride = 1
        self._skipped = 0
        self._last: Sampled | None = None
        # The one that rates are against; not the last one where samples are thinned.
        self._before: Sampled | None = None
        self._by_cloud: StreamSampled | None = None
        # What became of all of a run's frames, once it is over.
        self._ended_run: RunEnded | None = None
        self._forecasts: deque[Sequence[Forecast]] = deque(maxlen=FORECASTS)
        # What was known when it was heard last.
        self._heard: Measured | None = None
        # How it is steered, and why, by whoever said so last.
        self._target_fps: float | None = None
        self._pinned: int | None = None
        self._reason: str | None = None
        self._told_reason = ""

    @property
    def tasks(self) -> tuple[TaskTotals, ...]:
        """What each task took since the run began; empty if that is not known."""
        return () if self._last is None else self._last.tasks

    @property
    def forecasts(self) -> tuple[Forecast, ...]:
        """What each split would give, as far as that is known: medians of the newest ones."""
        newest = self._forecasts[-1] if self._forecasts else ()
        return tuple(_steady(each, self._forecasts) for each in newest)

    def task_name(self, index: int) -> str:
        """Return the name of a task, by its index."""
        names = self.info.tasks
        return names[index] if index < len(names) else f"task {index + 1}"

    def row(self) -> Row:
        """Return how it stands; of a device that is away, or has ended, how it stood last."""
        info, counted = self.info, self._ended_run or self._last
        current = self.samples.last if self.connected else self._heard
        fps = _value(current, "fps")
        in_flight = _value(current, "in_flight")
        return Row(
            stream=info.stream,
            device=info.device,
            app=info.app,
            mode=info.mode,
            connected=self.connected,
            ended=self.ended,
            fps=fps,
            target_fps=self._target_fps,
            pinned=self._pinned,
            split=_value(current, "split"),
            tasks=len(info.tasks) or len(self.tasks),
            reason=self._reason if current is not None else None,
            latency_p95_s=_value(current, "latency_p95_s"),
            link_bytes_per_s=_value(current, "link_bytes_per_s"),
            in_flight=None if in_flight is None else int(in_flight),
            dropped=self._count("dropped"),
            failed=self._count("failed"),
            completed=counted.completed if counted is not None else self._count("results"),
            cloud_s_per_frame=_value(current, "cloud_s_per_frame"),
            device_s_per_frame=_value(current, "device_s_per_frame"),
            seen_s=round(self.seen_s, 3),
            target_met=_is_met(fps, self._target_fps) if self.connected else None,
        )

    def describe(self, info: Info) -> None:
        """Take note of what does not change."""
        self.info = info
        self.version += 1

    def has_reason(self, told: str) -> bool:
        """Return whether this is what people were told last of its reason, and note it."""
        before, self._told_reason = self._told_reason, told
        return before == told

    def notice(self, notice: Notice, *, most: int) -> None:
        """Take note of what people are told; at most ``most`` are kept."""
        self.notices.append(notice)
        self.noticed += 1
        self.version += 1
        while len(self.notices) > most:
            self.notices.popleft()

    def shrink(self, *, most_bytes: int, notices: int) -> None:
        """Forget what is too much now that there are more streams."""
        if not self._keeping.is_thinned:
            self.samples.keep_newest(self._most_samples(most_bytes))
        while len(self.notices) > notices:
            self.notices.popleft()

    def begin(self) -> None:
        """Take note of a run that begins: what was counted before is another one's."""
        self._last = self._before = self._heard = self._ended_run = None
        self._forecasts.clear()
        self.connected, self.ended = False, False

    def connect(self, at_s: float) -> None:
        """Take note of a session."""
        self.seen_s, self.connected, self.ended = at_s, True, False

    def lose(self, at_s: float) -> None:
        """Take note that the device is away."""
        self.connected = False
        self._add_gap(at_s)

    def end(self, event: RunEnded | StreamEnded) -> None:
        """Take note that nothing more comes."""
        self.seen_s, self.ended, self.connected = event.at_s, True, False
        if isinstance(event, RunEnded):
            self._ended_run = event

    def steer(self, event: Steered) -> None:
        """Take note of how it is steered now."""
        self._target_fps, self._pinned = event.target_fps, event.pinned

    def give_reason(self, reason: str) -> None:
        """Take note of why the split is where it is."""
        self._reason = reason

    def sample(self, event: Sampled, *, most_bytes: int) -> None:
        """Take in what a device says once a second."""
        self.seen_s, self.connected = event.at_s, event.connected
        self._target_fps, self._pinned = event.target_fps, event.pinned
        self._reason = event.reason
        self._last = event
        self._forecasts.append(event.forecasts)
        self.version += 1
        if min(len(event.tasks), MAX_TASKS) != self.samples.tasks:
            self.samples = Samples(tasks=min(len(event.tasks), MAX_TASKS))
        self._skipped += 1
        if self._skipped < self._stride:
            return
        self._skipped = 0
        self._heard = measure(event, self._before)
        self._append(event.at_s, self._heard, most_bytes=most_bytes)
        self._before = event

    def sample_by_cloud(self, event: StreamSampled, *, most_bytes: int) -> None:
        """Take in what a server knows of it, once a second."""
        before, self._by_cloud = self._by_cloud, event
        if self.ended:
            return
        self.version += 1
        if not event.connected:
            self.connected = False
            self._add_gap(event.at_s)
            return
        self.connected = True
        # A session may have been silent for seconds before it is given up.
        is_heard = before is None or event.received_bytes > before.received_bytes
        if is_heard:
            self.seen_s = event.at_s
        if self._last is None or event.at_s - self._last.at_s > _FRESH_S:
            measured = measure_from_cloud(event, before)
            if is_heard:
                self._heard = measured
            self._append(event.at_s, measured, most_bytes=most_bytes)

    def _add_gap(self, at_s: float) -> None:
        """Part what was before from what comes later, once."""
        last = self.samples.last
        if last is not None and last.value("connected"):
            self.samples.append(max(at_s, self.samples.last_at_s or 0.0), gap())
            self.sampled += 1
            self.version += 1

    def _append(self, at_s: float, measured: Measured, *, most_bytes: int) -> None:
        samples = self.samples
        most = self._most_samples(most_bytes)
        samples.append(at_s, measured)
        self.sampled += 1
        if not self._keeping.is_thinned:
            samples.keep_newest(most)
        elif len(samples) > most:
            samples.keep_every_second()
            self._stride *= 2

    def _most_samples(self, most_bytes: int) -> int:
        return max(2, min(self._keeping.samples, most_bytes // self.samples.bytes_each))

    def _count(self, name: str) -> int | None:
        counted = self._ended_run or self._last or self._by_cloud
        found: int | None = getattr(counted, name, None)
        return found


def _steady(newest: Forecast, forecasts: Sequence[Sequence[Forecast]]) -> Forecast:
    same = [each for together in forecasts for each in together if each.split == newest.split]
    return replace(
        newest,
        fps=median(each.fps for each in same),
        device_s=median(each.device_s for each in same),
        link_s=median(each.link_s for each in same),
        cloud_s=median(each.cloud_s for each in same),
    )


def _value(measured: Measured | None, name: str) -> float | None:
    return None if measured is None else measured.value(name)


def _is_met(fps: float | None, target_fps: float | None) -> bool | None:
    if fps is None or target_fps is None:
        return None
    return fps >= (1 - ON_TARGET) * target_fps

"""The events of a run: what began, changed, was measured and ended. Pure.

``at_s`` is always seconds since the program began, on its monotonic clock; of what a device tells a
server, since the server began. Counts and sums are those since the run began, so that whoever
missed some events still gets the next differences right; what is measured over the last moments
says so.

    recorder.record(Sampled(at_s=12.0, stream="porch", fps=25.1, ...))
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

# What one sample says is measured over so many seconds: often enough to be live, and seldom enough
# to cost a small device nothing.
SAMPLE_PERIOD_S: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunBegan:
    """A device program began a run.

    Attributes:
        at_s: When.
        began_at: The wall clock then, in seconds since 1970: a label.
        stream: Name of the stream.
        device: Name of the machine.
        app: Name of the app.
        mode: ``client_only``, ``manual`` or ``automatic``.
        tasks: The names of all tasks, in order.
        splits: The splits that the app permits, rising; empty in client-only mode.
        target_fps: What was asked for; None unless automatic.
        version: Version of the program.
    """

    at_s: float
    began_at: float
    stream: str
    device: str
    app: str
    mode: str
    tasks: tuple[str, ...]
    splits: tuple[int, ...]
    target_fps: float | None
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionOpened:
    """A device and a server understand each other; ``next_seq`` is where the stream goes on.

    ``peer`` is the other end's address, ``device`` and ``app`` are the stream's.
    """

    at_s: float
    stream: str
    device: str
    app: str
    next_seq: int
    peer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLost:
    """A connection ended before its stream did; ``in_flight`` frames are not acknowledged."""

    at_s: float
    stream: str
    reason: str
    in_flight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered:
    """A device was told to change, and did, or says in ``error`` why not.

    ``change`` is ``target``, ``pin``, ``release`` or ``drain``; ``value`` is the target in frames
    per second or the split, None for the others. ``target_fps`` and ``pinned`` are how it is
    steered afterwards. ``by`` is the name of the operator's token, which only the server knows.
    """

    at_s: float
    stream: str
    change: str
    value: float | None
    error: str | None
    target_fps: float | None
    pinned: int | None
    by: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonChanged:
    """The scheduler has another reason for its split, see `scheduler.Reason`."""

    at_s: float
    stream: str
    reason: str
    fps: float
    target_fps: float
    split: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFailed:
    """A task raised for the first time in this run; the counts follow in samples."""

    at_s: float
    stream: str
    seq: int
    task: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskTotals:
    """What one task took on each side since the run began, in seconds and runs."""

    device_s: float
    cloud_s: float
    device_runs: int
    cloud_runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the scheduler expects of one split with its best encoding.

    Attributes:
        split: The device runs tasks 1 to this.
        encoding: How values would travel: ``raw``, ``lossless`` or ``lossy``.
        fps: Frames per second that it would reach at most.
        limit: What would keep it from more: ``device``, ``link`` or ``cloud``.
        device_s: Seconds of the device for each frame.
        link_s: Seconds of the link.
        cloud_s: Seconds of the cloud's processors.
    """

    split: int
    encoding: str
    fps: float
    limit: str
    device_s: float
    link_s: float
    cloud_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """How a device's run goes, once a second.

    Attributes:
        at_s: When.
        stream: Name of the stream.
        running_s: Seconds since the run's first frame could be captured.
        fps: Finished frames per second, over the last two seconds.
        target_fps: The target; None unless automatic.
        pinned: The split of all frames, if an operator or the mode fixed it.
        split: The mean split of the last moments; None if no frame was taken yet.
        reason: Why it is there (`scheduler.Reason`); None unless automatic.
        latency_p50_s: Capture to acknowledgement, of the frames that were finished since the last
            sample; None if there were none. So are the next two.
        latency_p95_s: The 95th percentile.
        latency_p99_s: The 99th percentile.
        in_flight: Frames that are sent, or wait to be, and are not acknowledged.
        window: How many messages may be in flight now; 0 in client-only mode.
        connected: Whether a session is open; True in client-only mode.
        link_bytes_per_s: What the link carries; None if that is not known.
        sent_bytes: Bytes sent.
        reconnects: Sessions opened after the first.
        resent: Frames sent again.
        captured: Frames captured.
        resumed: Frames taken over from an earlier run's spool.
        completed: Frames with a result.
        filtered: Frames that a task ended.
        dropped: Frames shed by choice.
        failed: Frames whose task raised.
        spooled: Frames that are on disk, and nowhere else while the run goes on.
        spool_bytes: What the spool takes on disk; None without one. ``spool_limit_bytes`` is the
            most that it may take.
        spool_limit_bytes: See there.
        expected_frames: How many frames the run will capture; None if nobody knows.
        split_frames: How many frames took each split, from 0 (never) to the number of tasks.
        tasks: What each task took, in order.
        cpu_percent: Processor time of the program since the last sample; 100 is one core.
        machine_part: Part of the machine's processors in use; None if not known yet.
        memory_bytes: What the program holds in memory.
        temperature_c: Of the hottest sensor, in degrees Celsius; None if the machine has none.
        missed: Frames that a live source gave and nobody took in time; None of other sources.
        newest_age_s: How old its newest frame is; None if it never gave one, and of other sources.
        cloud_load: Part of the cloud's processors in use, as it said last; None without a cloud.
        forecasts: What each split would give; empty unless automatic, and until it is known.
    """

    at_s: float
    stream: str
    running_s: float
    fps: float
    target_fps: float | None
    pinned: int | None
    split: float | None
    reason: str | None
    latency_p50_s: float | None
    latency_p95_s: float | None
    latency_p99_s: float | None
    in_flight: int
    window: int
    connected: bool
    link_bytes_per_s: float | None
    sent_bytes: int
    reconnects: int
    resent: int
    captured: int
    resumed: int
    completed: int
    filtered: int
    dropped: int
    failed: int
    spooled: int
    spool_bytes: int | None
    spool_limit_bytes: int | None
    expected_frames: int | None
    split_frames: tuple[int, ...]
    tasks: tuple[TaskTotals, ...]
    cpu_percent: float
    machine_part: float | None
    memory_bytes: int
    temperature_c: float | None
    missed: int | None
    newest_age_s: float | None
    cloud_load: float | None
    forecasts: tuple[Forecast, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEnded:
    """A run is over: what became of its frames; ``abandoned`` are lost to it."""

    at_s: float
    stream: str
    duration_s: float
    captured: int
    resumed: int
    completed: int
    filtered: int
    dropped: int
    failed: int
    spooled: int
    abandoned: int
    fps: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AppShape:
    """An app's name, the names of its tasks in order, and the splits that it permits, rising."""

    name: str
    tasks: tuple[str, ...]
    splits: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerBegan:
    """A server began to listen; ``began_at`` is the wall clock then, a label."""

    at_s: float
    began_at: float
    listening: tuple[str, ...]
    apps: tuple[AppShape, ...]
    version: str


class MuteRefusal(StrEnum):
    """Why a server refuses a peer that it cannot tell so; the others are `messages.RefusalCode`."""

    TLS = "tls"
    SLOW_READER = "slow_reader"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRefused:
    """A server refused a connection; ``cause`` is a `messages.RefusalCode` or a `MuteRefusal`."""

    at_s: float
    cause: str
    peer: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSampled:
    """How a stream goes as its server sees it, once a second; counts are since the server began.

    Attributes:
        at_s: When.
        stream: Name of the stream.
        device: Name of its machine.
        app: Name of its app.
        connected: Whether its device is.
        results: Frames with a result.
        filtered: Frames that a task ended.
        failed: Frames whose task raised.
        dropped: Frames shed by the device.
        duplicates_ignored: Frames that came again.
        next_seq: Up to where it is stored.
        cloud_task_s: Seconds of its tasks here.
        received_bytes: Bytes that came from it.
        waiting: Its frames that are here and not stored yet.
    """

    at_s: float
    stream: str
    device: str
    app: str
    connected: bool
    results: int
    filtered: int
    failed: int
    dropped: int
    duplicates_ignored: int
    next_seq: int
    cloud_task_s: float
    received_bytes: int
    waiting: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSampled:
    """How a server goes, once a second.

    Attributes:
        at_s: When.
        sessions: Devices that are connected.
        operators: Operators that are.
        frame_bytes: Memory that frames of all devices take.
        frame_limit_bytes: The most that they may.
        cpu_percent: Processor time of the program since the last sample; 100 is one core.
        machine_part: Part of the machine's processors in use.
        memory_bytes: What the program holds in memory.
    """

    at_s: float
    sessions: int
    operators: int
    frame_bytes: int
    frame_limit_bytes: int
    cpu_percent: float
    machine_part: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """A stream is complete: all of its frames are stored."""

    at_s: float
    stream: str


TelemetryEvent: TypeAlias = (
    RunBegan
    | SessionOpened
    | SessionLost
    | Steered
    | ReasonChanged
    | TaskFailed
    | Sampled
    | RunEnded
    | ServerBegan
    | PeerRefused
    | StreamSampled
    | ServerSampled
    | StreamEnded
)

"""The metrics of a server, see docs/metrics.md. Pure."""

from typing import Final

from offload.metrics.families import SHARED_FAMILIES, Family, Kind

SERVER_INFO: Final = Family(
    name="offload_server_info",
    kind=Kind.INFO,
    labels=("version",),
    help="The server's version: 1, with it in the label.",
)
SERVER_START: Final = Family(
    name="offload_server_start_time_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    help="When the server began to listen, since 1970, by its wall clock.",
)
SESSIONS: Final = Family(
    name="offload_server_sessions",
    kind=Kind.GAUGE,
    unit="sessions",
    help="Devices that are connected.",
)
OPERATORS: Final = Family(
    name="offload_server_operators",
    kind=Kind.GAUGE,
    unit="sessions",
    help="Operators that are connected.",
)
REFUSALS: Final = Family(
    name="offload_server_refusals_total",
    kind=Kind.COUNTER,
    unit="connections",
    labels=("cause",),
    help="Connections that were refused.",
)
FRAME_MEMORY: Final = Family(
    name="offload_server_frame_memory_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    help="Memory that frames of all devices take.",
)
FRAME_MEMORY_LIMIT: Final = Family(
    name="offload_server_frame_memory_limit_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    help="The most that they may take; near it, devices wait.",
)

# Of each stream.

STREAM_INFO: Final = Family(
    name="offload_stream_info",
    kind=Kind.INFO,
    labels=("stream", "device", "app"),
    help="Whose stream it is: 1, with names in its labels.",
)
STREAM_CONNECTED: Final = Family(
    name="offload_stream_connected",
    kind=Kind.GAUGE,
    labels=("stream",),
    help="1 while its device is connected; else 0, or nothing where it is complete or a trial.",
)
STREAM_FRAMES: Final = Family(
    name="offload_stream_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    labels=("stream", "outcome"),
    help="Its frames that are stored: result, filtered, failed, dropped.",
)
STREAM_DUPLICATES: Final = Family(
    name="offload_stream_duplicate_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    labels=("stream",),
    help="Its frames that came again, and were ignored.",
)
STREAM_NEXT_SEQ: Final = Family(
    name="offload_stream_next_seq",
    kind=Kind.GAUGE,
    unit="frames",
    labels=("stream",),
    help="Up to which sequence number it is stored.",
)
STREAM_TASK_SECONDS: Final = Family(
    name="offload_stream_task_seconds_total",
    kind=Kind.COUNTER,
    unit="seconds",
    labels=("stream",),
    help="What its tasks took here.",
)
STREAM_RECEIVED: Final = Family(
    name="offload_stream_received_bytes_total",
    kind=Kind.COUNTER,
    unit="bytes",
    labels=("stream",),
    help="Bytes that came from its device.",
)
STREAM_WAITING: Final = Family(
    name="offload_stream_waiting_frames",
    kind=Kind.GAUGE,
    unit="frames",
    labels=("stream",),
    help="Its frames that are here and not stored yet.",
)

# What its device says of itself, to a server that is asked for metrics.

STREAM_THROUGHPUT: Final = Family(
    name="offload_stream_throughput_frames_per_second",
    kind=Kind.GAUGE,
    unit="frames per second",
    labels=("stream",),
    help="Frames with a result, or ended by a task, over two seconds, as its device says.",
)
STREAM_TARGET: Final = Family(
    name="offload_stream_target_frames_per_second",
    kind=Kind.GAUGE,
    unit="frames per second",
    labels=("stream",),
    help="What its device is asked for; only in automatic mode.",
)
STREAM_SPLIT: Final = Family(
    name="offload_stream_split",
    kind=Kind.GAUGE,
    unit="tasks",
    labels=("stream",),
    help="How many tasks its device runs: the mean of the last moments, as it says.",
)

SERVER_FAMILIES: Final = (
    *(SERVER_INFO, SERVER_START, SESSIONS, OPERATORS, REFUSALS),
    *(FRAME_MEMORY, FRAME_MEMORY_LIMIT, *SHARED_FAMILIES),
    *(STREAM_INFO, STREAM_CONNECTED, STREAM_FRAMES, STREAM_DUPLICATES, STREAM_NEXT_SEQ),
    *(STREAM_TASK_SECONDS, STREAM_RECEIVED, STREAM_WAITING),
    *(STREAM_THROUGHPUT, STREAM_TARGET, STREAM_SPLIT),
)

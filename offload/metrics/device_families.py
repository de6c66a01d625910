"""The metrics of a device program, see docs/metrics.md. Pure."""

from typing import Final

from offload.metrics.families import SHARED_FAMILIES, Family, Kind

RUN_INFO: Final = Family(
    name="offload_run_info",
    kind=Kind.INFO,
    labels=("stream", "device", "app", "mode", "version"),
    help="What runs here: 1, with names in its labels.",
)
RUN_START: Final = Family(
    name="offload_run_start_time_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    help="When the run began, since 1970, by the device's wall clock.",
)

# The rate, and what is done for it.

THROUGHPUT: Final = Family(
    name="offload_throughput_frames_per_second",
    kind=Kind.GAUGE,
    unit="frames per second",
    help="Frames with a result, or ended by a task, over the last two seconds.",
)
TARGET: Final = Family(
    name="offload_target_frames_per_second",
    kind=Kind.GAUGE,
    unit="frames per second",
    help="What was asked for; only in automatic mode.",
)
FORECAST: Final = Family(
    name="offload_forecast_frames_per_second",
    kind=Kind.GAUGE,
    unit="frames per second",
    labels=("split",),
    help="What the scheduler expects of each split at most; only in automatic mode.",
)
SPLIT: Final = Family(
    name="offload_split",
    kind=Kind.GAUGE,
    unit="tasks",
    help="How many tasks run on the device: the mean of the last moments.",
)
PINNED_SPLIT: Final = Family(
    name="offload_pinned_split",
    kind=Kind.GAUGE,
    unit="tasks",
    help="The split of all frames, if an operator or the mode fixed it.",
)
REASON: Final = Family(
    name="offload_reason",
    kind=Kind.GAUGE,
    labels=("reason",),
    help="Why the split is where it is: 1 for that reason, 0 for all others.",
)
LATENCY: Final = Family(
    name="offload_latency_seconds",
    kind=Kind.SUMMARY,
    unit="seconds",
    labels=("quantile",),
    help="Capture to acknowledgement, of the frames that were finished in the last second.",
)

# Frames.

CAPTURED: Final = Family(
    name="offload_captured_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    help="Frames captured.",
)
MISSED: Final = Family(
    name="offload_missed_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    help="Frames that a live source gave and nobody took in time; only of live sources.",
)
NEWEST_AGE: Final = Family(
    name="offload_newest_frame_age_seconds",
    kind=Kind.GAUGE,
    unit="seconds",
    help="How old the newest frame of a live source is; only of live sources.",
)
RESUMED: Final = Family(
    name="offload_resumed_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    help="Frames taken over from an earlier run's spool.",
)
FRAMES: Final = Family(
    name="offload_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    labels=("outcome",),
    help="Frames that are over: result, filtered, failed (a task raised), dropped (shed).",
)
EXPECTED: Final = Family(
    name="offload_expected_frames",
    kind=Kind.GAUGE,
    unit="frames",
    help="How many frames the run will capture, where that is known.",
)
SPLIT_FRAMES: Final = Family(
    name="offload_split_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    labels=("split",),
    help="Frames that took each split.",
)
IN_FLIGHT: Final = Family(
    name="offload_in_flight_frames",
    kind=Kind.GAUGE,
    unit="frames",
    help="Frames that are sent, or wait to be, and are not acknowledged.",
)
WINDOW: Final = Family(
    name="offload_window_messages",
    kind=Kind.GAUGE,
    unit="messages",
    help="How many messages may be in flight now.",
)

# What tasks take.

TASK_SECONDS: Final = Family(
    name="offload_task_seconds_total",
    kind=Kind.COUNTER,
    unit="seconds",
    labels=("task", "side"),
    help="What each task took on each side: device or cloud.",
)
TASK_RUNS: Final = Family(
    name="offload_task_runs_total",
    kind=Kind.COUNTER,
    unit="runs",
    labels=("task", "side"),
    help="How often each task ran on each side: device or cloud.",
)

# The link and the spool.

CONNECTED: Final = Family(
    name="offload_connected",
    kind=Kind.GAUGE,
    help="1 while a session with the server is open, and in client-only mode; else 0.",
)
RECONNECTS: Final = Family(
    name="offload_reconnects_total",
    kind=Kind.COUNTER,
    unit="sessions",
    help="Sessions opened after the first.",
)
RESENT: Final = Family(
    name="offload_resent_frames_total",
    kind=Kind.COUNTER,
    unit="frames",
    help="Frames sent again after a lost connection.",
)
SENT_BYTES: Final = Family(
    name="offload_sent_bytes_total",
    kind=Kind.COUNTER,
    unit="bytes",
    help="Bytes sent to the server.",
)
LINK_RATE: Final = Family(
    name="offload_link_bytes_per_second",
    kind=Kind.GAUGE,
    unit="bytes per second",
    help="What the link carries, as far as it is known.",
)
CLOUD_CPU: Final = Family(
    name="offload_cloud_cpu_ratio",
    kind=Kind.GAUGE,
    unit="ratio",
    help="Part of the cloud's processors in use, as the server said last.",
)
SPOOLED: Final = Family(
    name="offload_spooled_frames",
    kind=Kind.GAUGE,
    unit="frames",
    help="Frames that are on disk, and nowhere else.",
)
SPOOL_BYTES: Final = Family(
    name="offload_spool_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    help="What the spool takes on disk; only with a spool.",
)
SPOOL_LIMIT: Final = Family(
    name="offload_spool_limit_bytes",
    kind=Kind.GAUGE,
    unit="bytes",
    help="The most that the spool may take; only with a spool.",
)

# The machine.

TEMPERATURE: Final = Family(
    name="offload_machine_temperature_celsius",
    kind=Kind.GAUGE,
    unit="celsius",
    help="Of the hottest sensor; only where there is one.",
)

DEVICE_FAMILIES: Final = (
    *(RUN_INFO, RUN_START),
    *(THROUGHPUT, TARGET, FORECAST, SPLIT, PINNED_SPLIT, REASON, LATENCY),
    *(
        CAPTURED,
        MISSED,
        NEWEST_AGE,
        RESUMED,
        FRAMES,
        EXPECTED,
        SPLIT_FRAMES,
        IN_FLIGHT,
        WINDOW,
    ),
    *(TASK_SECONDS, TASK_RUNS),
    *(CONNECTED, RECONNECTS, RESENT, SENT_BYTES, LINK_RATE, CLOUD_CPU),
    *(SPOOLED, SPOOL_BYTES, SPOOL_LIMIT),
    *(*SHARED_FAMILIES, TEMPERATURE),
)

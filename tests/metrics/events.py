"""Events for tests: each with every field known, and those that a test is about as it says."""

from dataclasses import replace
from typing import Any, Final

from offload.telemetry.events import (
    AppShape,
    Forecast,
    RunBegan,
    RunEnded,
    Sampled,
    ServerBegan,
    ServerSampled,
    StreamSampled,
    TaskTotals,
)

BEGAN: Final = RunBegan(
    at_s=0.0,
    began_at=1.7e9,
    stream="porch",
    device="pi-4",
    app="ball",
    mode="automatic",
    tasks=("grab", "find", "show"),
    splits=(1, 2),
    target_fps=20.0,
    version="1.0.0",
)

_SAMPLED: Final = Sampled(
    at_s=12.0,
    stream="porch",
    running_s=11.5,
    fps=19.5,
    target_fps=20.0,
    pinned=2,
    split=1.75,
    reason="settled",
    latency_p50_s=0.02,
    latency_p95_s=0.05,
    latency_p99_s=0.09,
    in_flight=4,
    window=32,
    connected=True,
    link_bytes_per_s=2.5e6,
    sent_bytes=1_000_000,
    reconnects=1,
    resent=7,
    captured=240,
    resumed=3,
    completed=200,
    filtered=20,
    dropped=11,
    failed=2,
    spooled=6,
    spool_bytes=8192,
    spool_limit_bytes=1_048_576,
    expected_frames=1000,
    split_frames=(0, 60, 180, 0),
    tasks=(
        TaskTotals(device_s=1.5, cloud_s=0.0, device_runs=240, cloud_runs=0),
        TaskTotals(device_s=2.5, cloud_s=0.5, device_runs=180, cloud_runs=60),
        TaskTotals(device_s=0.0, cloud_s=0.75, device_runs=0, cloud_runs=220),
    ),
    cpu_percent=150.0,
    machine_part=0.5,
    memory_bytes=80_000_000,
    temperature_c=61.5,
    missed=9,
    newest_age_s=0.04,
    cloud_load=0.25,
    forecasts=(
        Forecast(
            split=1,
            encoding="raw",
            fps=15.0,
            limit="link",
            device_s=0.01,
            link_s=0.066,
            cloud_s=0.01,
        ),
        Forecast(
            split=2,
            encoding="lossless",
            fps=30.0,
            limit="device",
            device_s=0.033,
            link_s=0.01,
            cloud_s=0.005,
        ),
    ),
)

ENDED: Final = RunEnded(
    at_s=13.0,
    stream="porch",
    duration_s=12.5,
    captured=250,
    resumed=3,
    completed=210,
    filtered=21,
    dropped=12,
    failed=2,
    spooled=5,
    abandoned=3,
    fps=18.5,
)

SERVER_BEGAN: Final = ServerBegan(
    at_s=0.0,
    began_at=1.7e9,
    listening=("127.0.0.1:8089",),
    apps=(AppShape(name="ball", tasks=("get", "see"), splits=(1,)),),
    version="1.0.0",
)

_SERVER_SAMPLED: Final = ServerSampled(
    at_s=12.0,
    sessions=2,
    operators=1,
    frame_bytes=4096,
    frame_limit_bytes=1_073_741_824,
    cpu_percent=50.0,
    machine_part=0.25,
    memory_bytes=120_000_000,
)

_STREAM_SAMPLED: Final = StreamSampled(
    at_s=12.0,
    stream="porch",
    device="pi-4",
    app="ball",
    connected=True,
    results=200,
    filtered=20,
    failed=2,
    dropped=11,
    duplicates_ignored=5,
    next_seq=233,
    cloud_task_s=1.25,
    received_bytes=1_000_000,
    waiting=3,
)


def sampled(**fields: Any) -> Sampled:
    """Return a sample of a device."""
    return replace(_SAMPLED, **fields)


def server_sampled(**fields: Any) -> ServerSampled:
    """Return a sample of a server."""
    return replace(_SERVER_SAMPLED, **fields)


def stream_sampled(**fields: Any) -> StreamSampled:
    """Return a server's sample of a stream."""
    return replace(_STREAM_SAMPLED, **fields)

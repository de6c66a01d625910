"""Events of a run of seven tasks that meets its target, for tests to change."""

from typing import Any, Final

from offload.console.text import Look, look_of
from offload.telemetry.events import (
    RunBegan,
    Sampled,
    ServerSampled,
    SessionLost,
    SessionOpened,
    StreamSampled,
    TaskTotals,
)

TASKS: Final = tuple(f"task_{number}" for number in range(1, 8))

UNICODE: Final = look_of("utf-8", {})
ASCII: Final = look_of("ascii", {})
NO_COLOUR: Final = look_of("utf-8", {"NO_COLOR": "1"})
LOOKS: Final[tuple[Look, ...]] = (UNICODE, ASCII, NO_COLOUR)


def ran(tasks: int) -> tuple[TaskTotals, ...]:
    """Return the costs of so many tasks."""
    return (TaskTotals(device_s=1.0, cloud_s=0.5, device_runs=100, cloud_runs=50),) * tasks


def began(*, mode: str = "automatic", app: str = "ball_tracking") -> RunBegan:
    return RunBegan(
        at_s=0.0,
        began_at=1.7e9,
        stream="porch",
        device="pi",
        app=app,
        mode=mode,
        tasks=TASKS,
        splits=() if mode == "client_only" else (1, 2, 3, 4, 5, 6),
        target_fps=25.0 if mode == "automatic" else None,
        version="1.0",
    )


def sampled(**changes: Any) -> Sampled:
    """Return a sample after half a minute of 60 seconds at 25 frames per second."""
    fields: dict[str, Any] = {
        "at_s": 31.0,
        "stream": "porch",
        "running_s": 30.0,
        "fps": 25.1,
        "target_fps": 25.0,
        "pinned": None,
        "split": 3.4,
        "reason": "settled",
        "latency_p50_s": 0.04,
        "latency_p95_s": 0.084,
        "latency_p99_s": 0.1,
        "in_flight": 4,
        "window": 8,
        "connected": True,
        "link_bytes_per_s": 2.275e6,
        "sent_bytes": 20_000_000,
        "reconnects": 0,
        "resent": 0,
        "captured": 754,
        "resumed": 0,
        "completed": 740,
        "filtered": 10,
        "dropped": 0,
        "failed": 0,
        "spooled": 0,
        "spool_bytes": None,
        "spool_limit_bytes": None,
        "expected_frames": 1500,
        "split_frames": (0, 0, 0, 450, 300, 0, 0, 0),
        "tasks": ran(7),
        "cpu_percent": 40.0,
        "machine_part": 0.2,
        "memory_bytes": 80_000_000,
        "temperature_c": None,
        "missed": None,
        "newest_age_s": None,
        "cloud_load": 0.1,
        "forecasts": (),
    }
    return Sampled(**(fields | changes))


def opened(stream: str = "porch", *, device: str = "pi") -> SessionOpened:
    return SessionOpened(
        at_s=1.0, stream=stream, device=device, app="ball_tracking", next_seq=0, peer="::1:40000"
    )


def lost(stream: str = "porch") -> SessionLost:
    return SessionLost(at_s=2.0, stream=stream, reason="timeout", in_flight=4)


def seen(stream: str = "porch", *, device: str = "pi", **changes: Any) -> StreamSampled:
    """Return how a server sees a stream."""
    fields: dict[str, Any] = {
        "at_s": 31.0,
        "stream": stream,
        "device": device,
        "app": "ball_tracking",
        "connected": True,
        "results": 740,
        "filtered": 10,
        "failed": 0,
        "dropped": 5,
        "duplicates_ignored": 0,
        "next_seq": 755,
        "cloud_task_s": 3.0,
        "received_bytes": 20_000_000,
        "waiting": 2,
    }
    return StreamSampled(**(fields | changes))


def server_sampled(*, sessions: int = 1) -> ServerSampled:
    return ServerSampled(
        at_s=31.0,
        sessions=sessions,
        operators=0,
        frame_bytes=12_100_000,
        frame_limit_bytes=1_073_741_824,
        cpu_percent=42.0,
        machine_part=0.3,
        memory_bytes=90_000_000,
    )

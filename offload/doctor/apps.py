"""Look whether an app loads, and whether its source gives pictures.

seen = look_at_app("ball_tracking_example", source="camera:0")
seen.finding, seen.source_finding, seen.tasks
"""

import json
from dataclasses import dataclass
from typing import Any, Final

from offload.doctor.children import Ran, run_child
from offload.doctor.findings import Finding, failed, ok, warning
from offload.doctor.reading import READ_S
from offload.errors import LoadingError

# What loading OpenCV takes on a small device, what a camera takes until its first picture, and as
# much again. Past it something hangs.
TIMEOUT_S: Final = 10.0 + READ_S

# A source that is slower is no video.
SLOW_FPS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedApp:
    """What is known of an app that loads.

    Attributes:
        name: Its name.
        tasks: The names of its tasks, in order.
        splits: The splits that it permits.
        fingerprint: What both ends compare.
        on_demand: The names of the tasks that run only when somebody watches.
    """

    name: str
    tasks: tuple[str, ...]
    splits: tuple[int, ...]
    fingerprint: list[object]
    on_demand: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenApp:
    """What came of looking.

    Attributes:
        finding: Whether the app loads.
        app: The app; None if it does not.
        source_finding: Whether its source gives frames; None if the app does not load, or if that
            was not asked.
        source_fps: What the source gives by itself; None if that is not known.
        pace_fps: The rate that the source sets; None if it gives frames as fast as they are taken,
            or none.
    """

    finding: Finding
    app: LoadedApp | None = None
    source_finding: Finding | None = None
    source_fps: float | None = None
    pace_fps: float | None = None


def look_at_app(spec: str, *, source: str, timeout_s: float = TIMEOUT_S) -> SeenApp:
    """Load an app in a process of its own, and read its source for a while.

    Args:
        spec: Names the app.
        source: As `reading` takes it.
        timeout_s: How long both may take.
    """
    ran = run_child(["-m", "offload.doctor.reading", spec, source], timeout_s=timeout_s)
    lines = [json.loads(each) for each in ran.out.splitlines()]
    if not lines:
        return SeenApp(finding=_not_loaded(spec, ran, timeout_s))
    app = _app(lines[0])
    finding = ok("app", f"{spec}: {len(app.tasks)} tasks ({', '.join(app.tasks)})")
    if len(lines) > 1:
        fps = _fps(lines[1])
        return SeenApp(
            finding=finding,
            app=app,
            source_finding=_source(fps, lines[1]),
            source_fps=fps,
            pace_fps=_pace(lines[1], fps),
        )
    if ran.code == 0:
        return SeenApp(finding=finding, app=app)
    return SeenApp(finding=finding, app=app, source_finding=_not_read(ran, timeout_s))


def _app(said: dict[str, Any]) -> LoadedApp:
    return LoadedApp(
        name=said["name"],
        tasks=tuple(said["tasks"]),
        splits=tuple(said["splits"]),
        fingerprint=said["fingerprint"],
        on_demand=tuple(said["on_demand"]),
    )


def _not_loaded(spec: str, ran: Ran, timeout_s: float) -> Finding:
    if ran.code is None:
        found = f"{spec} hangs while it is loaded: nothing came within {timeout_s:.0f} s"
        advice = "an app opens nothing and runs nothing on import"
        return failed("app", found, advice=advice, exit_code=LoadingError.exit_code)
    return failed("app", ran.reason, exit_code=LoadingError.exit_code)


def _not_read(ran: Ran, timeout_s: float) -> Finding:
    if ran.code is None:
        found = f"it hangs: too few frames within {timeout_s:.0f} s"
        advice = "is the camera plugged in, and used by no other program?"
        return failed("source", found, advice=advice, exit_code=LoadingError.exit_code)
    return failed("source", ran.reason, exit_code=ran.exit_code)


def _fps(said: dict[str, Any]) -> float | None:
    return (said["frames"] - 1) / said["seconds"] if said["seconds"] > 0 else None


def _source(fps: float | None, said: dict[str, Any]) -> Finding:
    if fps is None:
        return warning(
            "source", "it gave a single frame and ended", advice="is that the whole stream?"
        )
    kind = "live, " if said["live"] else ""
    found = f"{kind}gives {fps:.1f} FPS by itself"
    if said["rate_fps"] is not None:
        found = f"{found}, and is paced to {said['rate_fps']:.1f}"
    if fps < SLOW_FPS:
        return warning("source", found, advice="no split can be faster")
    return ok("source", found)


def _pace(said: dict[str, Any], fps: float | None) -> float | None:
    """Return the rate that frames come at, where they do not wait to be taken."""
    if said["rate_fps"] is not None:
        return float(said["rate_fps"])
    return fps if said["live"] else None

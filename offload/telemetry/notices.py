"""What people want to know of a run, each event in one line. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from offload.telemetry.events import (
    ReasonChanged,
    RunBegan,
    RunEnded,
    SessionLost,
    SessionOpened,
    Steered,
    StreamEnded,
    TaskFailed,
    TelemetryEvent,
)
from offload.telemetry.form import event_name


class Level(StrEnum):
    """How much a notice asks for attention."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One line for people; ``by`` is the name of the token that asked for it, if one did."""

    at_s: float
    kind: str
    level: Level
    text: str
    by: str | None = None


_INFEASIBLE: Final = "infeasible_"

# Whoever reads them has never seen the scheduler; its own words are in `scheduler.Reason`.
# All but these come and go many times a minute while the target is met.
_REASONS: Final = {
    "settled": "the target of {target:g} FPS is met",
    "held_latency": "the cheapest split is left out: frames would take too long",
    "source_limited": "the source gives fewer frames than {target:g} FPS",
    "infeasible_device": "{target:g} FPS are out of reach: the device limits it",
    "infeasible_link": "{target:g} FPS are out of reach: the link limits it",
    "infeasible_cloud": "{target:g} FPS are out of reach: the cloud limits it",
    "stalled": "no frame has been finished for long",
}


class Teller(StrEnum):
    """Which of the two programs an event comes from."""

    DEVICE = "device"
    SERVER = "server"


_CONNECTED: Final = {Teller.DEVICE: "connected to", Teller.SERVER: "connected from"}


def notice_of(event: TelemetryEvent, teller: Teller) -> Notice | None:
    """Return what people are told of an event, if they are.

    Of samples, and of what is of no stream, they are told nothing, and of the scheduler's reasons
    only those that say whether the target is met.
    """
    match event:
        case RunBegan():
            return _notice(event, Level.INFO, _run_began(event))
        case SessionOpened():
            text = f"{_CONNECTED[teller]} {event.peer}, goes on at frame {event.next_seq}"
            return _notice(event, Level.INFO, text)
        case SessionLost():
            text = f"connection lost: {event.reason}"
            if event.in_flight:
                text += f"; {event.in_flight} frames in flight"
            return _notice(event, Level.WARNING, text)
        case Steered():
            return _steered(event)
        case ReasonChanged() if event.reason in _REASONS:
            return _notice(event, _level_of(event.reason), _reason(event))
        case TaskFailed():
            text = f"task {event.task} failed at frame {event.seq}: {event.reason}"
            return _notice(event, Level.ERROR, text)
        case RunEnded():
            level = Level.WARNING if event.abandoned or event.failed else Level.INFO
            return _notice(event, level, _run_ended(event))
        case StreamEnded():
            return _notice(event, Level.INFO, "the stream is complete: all frames are stored")
    return None


def change_in_words(change: str, value: float | None) -> str:
    """Return what was asked for, such as ``target 25 FPS``."""
    if change == "target" and value is not None:
        return f"target {value:g} FPS"
    if change == "pin" and value is not None:
        return f"split pinned to {value:g}"
    return {"release": "split released", "drain": "told to finish"}.get(change, change)


def _notice(event: TelemetryEvent, level: Level, text: str) -> Notice:
    return Notice(at_s=event.at_s, kind=event_name(event), level=level, text=text)


def _run_began(event: RunBegan) -> str:
    target = "" if event.target_fps is None else f", target {event.target_fps:g} FPS"
    mode = event.mode.replace("_", " ")
    return f"run began: {event.app} on {event.device}, {mode}{target}, version {event.version}"


def _steered(event: Steered) -> Notice:
    asked = change_in_words(event.change, event.value)
    is_made = event.error is None
    return Notice(
        at_s=event.at_s,
        kind=event_name(event) if is_made else "steering_refused",
        level=Level.INFO if is_made else Level.WARNING,
        text=asked if is_made else f"{asked}: refused: {event.error}",
        by=event.by,
    )


def _level_of(reason: str) -> Level:
    # Work goes on, at less than what was asked for.
    return Level.WARNING if reason.startswith(_INFEASIBLE) or reason == "stalled" else Level.INFO


def _reason(event: ReasonChanged) -> str:
    return _REASONS[event.reason].format(target=event.target_fps)


def _run_ended(event: RunEnded) -> str:
    parts = [f"{event.captured} frames in {event.duration_s:.1f} s, {event.fps:.1f} FPS"]
    for name in ("dropped", "failed", "spooled", "abandoned"):
        if number := getattr(event, name):
            parts.append(f"{number} {name}")
    return f"run ended: {', '.join(parts)}"

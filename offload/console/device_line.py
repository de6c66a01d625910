"""The live line of a device: how its run goes, in as much as a terminal is wide. Pure.

device_line(DeviceState(began=began, sample=sample, is_connected=True), width=80, look=look)
"""

from dataclasses import dataclass
from typing import Final

from offload.console.figures import (
    clock,
    duration,
    rate,
    reason_in_words,
    split_bar,
    target_in_figures,
    verdict,
)
from offload.console.text import MARGIN, Line, Look, Span, Tone, cut_line, line_cells, printable
from offload.telemetry.events import RunBegan, Sampled

GAP: Final = Span(text="  ")

# Before this there is no telling when a run will end.
MIN_RUNNING_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """What is known of a device's run.

    Attributes:
        began: What it is.
        sample: How it goes; None before the first one.
        is_connected: Whether a session is open.
        duration_s: How long it will run; None if nobody knows.
    """

    began: RunBegan
    sample: Sampled | None
    is_connected: bool
    duration_s: float | None = None

    @property
    def has_cloud(self) -> bool:
        """Whether there is one to be connected to."""
        return self.began.mode != "client_only"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A part of the line; the greatest ``rank`` is left out first where there is no room."""

    rank: int
    spans: Line


def device_line(state: DeviceState, *, width: int, look: Look) -> Line:
    """Return the line, of at most ``width`` cells."""
    if state.sample is None:
        return cut_line((MARGIN, *_name(state, look), GAP, _waiting(state)), width, look.signs)
    fields = _fields(state, state.sample, look)
    while line_cells(_joined(fields)) > width and len(fields) > 1:
        fields.remove(max(fields, key=lambda each: each.rank))
    return cut_line(_joined(fields), width, look.signs)


def _joined(fields: list[Field]) -> Line:
    first, *others = fields
    return (MARGIN, *first.spans, *(span for each in others for span in (GAP, *each.spans)))


def _name(state: DeviceState, look: Look) -> Line:
    return (Span(text=printable(state.began.app, look.encoding)),)


def _waiting(state: DeviceState) -> Span:
    if state.has_cloud and not state.is_connected:
        return Span(text="connecting to the server", tone=Tone.WARNING)
    return Span(text="waiting for the first frame", tone=Tone.QUIET)


def _fields(state: DeviceState, sample: Sampled, look: Look) -> list[Field]:
    """Return the line's parts from left to right: what one looks at first comes first."""
    p95_s = sample.latency_p95_s
    p95 = look.signs.unknown if p95_s is None else duration(p95_s)
    return [
        Field(rank=0, spans=_rate(sample, look)),
        Field(rank=1, spans=(Span(text=split_bar(sample.split, len(sample.tasks), look.signs)),)),
        *_progress(state, sample),
        *(_link_fields(sample, look) if state.has_cloud else ()),
        _labelled(7, "p95", f"{p95:<6}"),
        Field(rank=9, spans=(Span(text=f"{sample.dropped} dropped"),)),
        *_mishaps(sample),
        *_reason(state, sample, look),
    ]


def _rate(sample: Sampled, look: Look) -> Line:
    """Return the frames per second, and whether they are enough."""
    if sample.target_fps is None:
        return (Span(text=f"{sample.fps:.1f} FPS"),)
    sign = verdict(sample.fps, sample.target_fps, sample.reason, look.signs)
    target = target_in_figures(sample.target_fps)
    figures = f"{sample.fps:{len(target.partition('.')[0]) + 2}.1f}/{target} FPS"
    return (Span(text=f"{sign.text} {figures}", tone=sign.tone),)


def _link_fields(sample: Sampled, look: Look) -> list[Field]:
    known = sample.link_bytes_per_s
    carried = look.signs.unknown if known is None else f"{rate(known):<11}"
    return [
        _labelled(8, "link", carried),
        Field(rank=10, spans=(Span(text=f"{sample.in_flight:>2} in flight"),)),
    ]


def _labelled(rank: int, label: str, text: str) -> Field:
    return Field(rank=rank, spans=(Span(text=f"{label} ", tone=Tone.QUIET), Span(text=text)))


def _mishaps(sample: Sampled) -> list[Field]:
    """Return what is hoped not to be there: it takes room only if it is."""
    fields = []
    if sample.failed:
        text = f"{sample.failed} failed"
        fields.append(Field(rank=2, spans=(Span(text=text, tone=Tone.BAD),)))
    if sample.spooled:
        fields.append(Field(rank=6, spans=(Span(text=f"{sample.spooled} on disk"),)))
    return fields


def _reason(state: DeviceState, sample: Sampled, look: Look) -> list[Field]:
    if state.has_cloud and not state.is_connected:
        return [Field(rank=2, spans=(Span(text="not connected", tone=Tone.BAD),))]
    if sample.reason is None:
        return []
    words = printable(reason_in_words(sample.reason), look.encoding)
    return [Field(rank=4, spans=(Span(text=words),))]


def _progress(state: DeviceState, sample: Sampled) -> list[Field]:
    if sample.expected_frames is not None:
        part = _part_of_frames(sample, sample.expected_frames)
        is_known = sample.fps > 0 and sample.running_s >= MIN_RUNNING_S
    elif state.duration_s is not None:
        part = min(1.0, sample.running_s / state.duration_s)
        is_known = True
    else:
        return []
    fields = [Field(rank=3, spans=(Span(text=f"{int(100 * part):>3} %"),))]
    if 0 < part < 1 and is_known:
        left_s = sample.running_s * (1 - part) / part
        fields.append(Field(rank=5, spans=(Span(text=f"{clock(left_s)} left"),)))
    return fields


def _part_of_frames(sample: Sampled, expected_frames: int) -> float:
    expected = expected_frames + sample.resumed
    ended = sample.completed + sample.filtered + sample.dropped + sample.failed
    return min(1.0, ended / expected) if expected else 1.0

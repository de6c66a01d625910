"""What the page is told, as JSON. The fields are part of the interface with ``static``."""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any, Final

from offload.telemetry.events import TaskTotals
from offload.telemetry.notices import Notice
from offload.telemetry.samples import MEASURED, Samples, known
from offload.telemetry.stream_history import Info, Row, StreamHistory

_ROW: Final = tuple(each.name for each in fields(Row))
_TASK: Final = tuple(each.name for each in fields(TaskTotals))


def to_json(value: object) -> str:
    """Return a value as compact JSON."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def row_fields(row: Row) -> dict[str, Any]:
    """Return a row as a map."""
    return {name: getattr(row, name) for name in _ROW}


def notice_fields(notice: Notice) -> dict[str, Any]:
    """Return a notice as a map."""
    return asdict(notice)


def task_fields(stream: StreamHistory) -> list[dict[str, Any]]:
    """Return what each task took, with its name."""
    return [
        {"name": stream.task_name(index), **{name: getattr(each, name) for name in _TASK}}
        for index, each in enumerate(stream.tasks)
    ]


def forecast_fields(stream: StreamHistory) -> list[dict[str, Any]]:
    """Return what each split would give."""
    return [asdict(each) for each in stream.forecasts]


def sample_fields(samples: Samples) -> dict[str, Any] | None:
    """Return the newest sample as a map; None if there is none."""
    last, at_s = samples.last, samples.last_at_s
    if last is None or at_s is None:
        return None
    values = {name: last.value(name) for name in MEASURED}
    parts = [known(each) for each in last.device_part]
    return {"at_s": round(at_s, 3), **values, "task_device_part": parts}


def column_fields(samples: Samples) -> dict[str, Any]:
    """Return all samples, a list for each column; of a thousand of them, some milliseconds."""
    parts = [samples.device_part(task) for task in range(samples.tasks)]
    by_sample: Sequence[Sequence[float | None]] = list(zip(*parts, strict=True))
    return {
        "at_s": samples.times(),
        **{name: samples.column(name) for name in MEASURED},
        "task_device_part": by_sample or [[] for _ in range(len(samples))],
    }


def info_fields(info: Info) -> dict[str, Any]:
    """Return what does not change of a stream as a map."""
    return asdict(info)

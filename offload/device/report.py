"""What the device program says of its run: now and then how it goes, and at the end what it did.

logger.info("progress", extra=progress_fields(sampled))
report = RunReport(mode="manual", app="my_app", stream="porch", ...)
write_summary(path, report.summary())
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter
from offload.messages import Outcome
from offload.telemetry.events import Sampled


class Decision(Protocol):
    """A decision of the scheduler, as the report shows it."""

    @property
    def at_s(self) -> float:
        """Monotonic seconds."""

    @property
    def fps(self) -> float:
        """The throughput then."""

    @property
    def target_fps(self) -> float:
        """The target then."""

    @property
    def split(self) -> float:
        """The mean split that it led to."""

    @property
    def reason(self) -> str:
        """Why."""


class Forecast(Protocol):
    """What one split would give, as the report shows it; see `scheduler.Forecast`."""

    @property
    def split(self) -> int:
        """The split."""

    @property
    def encoding(self) -> str:
        """How values would travel."""

    @property
    def fps(self) -> float:
        """Frames per second."""

    @property
    def limit(self) -> str:
        """What would keep it from more."""

    @property
    def device_s(self) -> float:
        """Seconds of the device for each frame."""

    @property
    def link_s(self) -> float:
        """Seconds of the link."""

    @property
    def cloud_s(self) -> float:
        """Seconds of the cloud's processors."""

    @property
    def link_bytes(self) -> float:
        """Bytes that cross."""


def progress_fields(sampled: Sampled) -> dict[str, object]:
    """Return what a progress line says; what there is not in this mode is left out."""
    p95_s = sampled.latency_p95_s
    return {
        "fps": round(sampled.fps, 1),
        **_split_fields(sampled),
        "latency_p95_ms": None if p95_s is None else round(1000 * p95_s),
        "in_flight": sampled.in_flight,
        "dropped": sampled.dropped,
        **_machine_fields(sampled),
        **_source_fields(sampled),
        **({"spooled": sampled.spooled} if sampled.spooled else {}),
        **_cloud_fields(sampled),
    }


def _split_fields(sampled: Sampled) -> dict[str, object]:
    # Without a cloud there is none.
    if sampled.cloud_load is None or sampled.split is None:
        return {}
    if sampled.reason is None:
        return {"split": round(sampled.split)}
    return {
        "target": sampled.target_fps,
        "split": round(sampled.split, 2),
        # What held while the server was there says nothing of now.
        "reason": sampled.reason if sampled.connected else None,
    }


def _machine_fields(sampled: Sampled) -> dict[str, object]:
    fields: dict[str, object] = {"cpu_percent": round(sampled.cpu_percent)}
    if sampled.machine_part is not None:
        fields["machine_percent"] = round(100 * sampled.machine_part)
    return fields


def _source_fields(sampled: Sampled) -> dict[str, object]:
    if sampled.missed is None:
        return {}
    age_s = sampled.newest_age_s
    return {
        "missed": sampled.missed,
        "newest_age_ms": None if age_s is None else round(1000 * age_s),
    }


def _cloud_fields(sampled: Sampled) -> dict[str, object]:
    if sampled.cloud_load is None:
        return {}
    if not sampled.connected:
        # What was said last is of no use any more.
        return {"connected": False}
    fields: dict[str, object] = {"cloud_percent": round(100 * sampled.cloud_load)}
    if sampled.link_bytes_per_s is not None:
        fields["link_mbit"] = round(8e-6 * sampled.link_bytes_per_s, 1)
    return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The final report of one run.

    Attributes:
        mode: Client only, manual or automatic.
        app: Name of the app.
        stream: Name of the stream.
        target_fps: What the user asked for; None unless automatic.
        began_s: Monotonic seconds at the beginning.
        duration_s: Seconds from the first frame to the last outcome.
        captured: Frames captured.
        totals: What became of them, and what they cost.
        link: The state of the link at the end.
        load: What the program took of its machine.
        decisions: The scheduler's; empty unless automatic.
        forecasts: What each split would give; empty unless automatic, or if nothing is known.
    """

    mode: str
    app: str
    stream: str
    target_fps: float | None
    began_s: float
    duration_s: float
    captured: int
    totals: RunTotals
    link: LinkState
    load: LoadMeter
    decisions: Sequence[Decision] = ()
    forecasts: Sequence[Forecast] = ()

    @property
    def frames(self) -> dict[str, int]:
        """How many frames were captured or taken over, and what became of them."""
        outcomes = self.totals.outcomes
        began = self.captured + self.link.resumed
        return {
            "captured": self.captured,
            "resumed": self.link.resumed,
            "completed": outcomes[Outcome.RESULT],
            "filtered": outcomes[Outcome.FILTERED],
            "dropped": outcomes[Outcome.DROPPED],
            "failed": outcomes[Outcome.FAILED],
            "spooled": self.link.spooled,
            "abandoned": began - outcomes.total() - self.link.spooled,
        }

    @property
    def fps(self) -> float:
        """Finished frames per second."""
        return self.totals.throughput_frames / self.duration_s if self.duration_s > 0 else 0.0

    def summary(self) -> dict[str, object]:
        """Return what ``--summary`` writes."""
        totals = self.totals
        return {
            "mode": self.mode,
            "app": self.app,
            "stream": self.stream,
            "target_fps": self.target_fps,
            "duration_s": self.duration_s,
            "frames": self.frames,
            "fps": self.fps,
            "latency_s": totals.latency_summary(),
            "split": totals.split_summary(),
            "sent_bytes": self.link.sent_bytes,
            "device_task_s": totals.device_task_s(),
            "cloud_task_s": totals.cloud_task_s(),
            "cloud_s_saved": totals.cloud_s_saved(),
            "tasks": totals.task_summary(),
            "reconnects": self.link.reconnects,
            "resent": self.link.resent,
            "cpu_s": self.load.cpu_s,
            "cpu_percent": self.load.cpu_percent,
            "peak_rss_bytes": self.load.peak_rss_bytes(),
            "scheduler": [
                {
                    "t": each.at_s - self.began_s,
                    "fps": each.fps,
                    "target": each.target_fps,
                    "split": each.split,
                    "reason": str(each.reason),
                }
                for each in self.decisions
            ],
            "forecasts": [
                {
                    "split": each.split,
                    "encoding": each.encoding,
                    "fps": each.fps,
                    "limit": each.limit,
                    "device_s": each.device_s,
                    "link_s": each.link_s,
                    "cloud_s": each.cloud_s,
                    "link_bytes": each.link_bytes,
                }
                for each in self.forecasts
            ],
        }

    def closing_line(self) -> dict[str, object]:
        """Return the fields of the last log line: what is zero is left out."""
        return {
            **{
                name: number for name, number in self.frames.items() if number or name == "captured"
            },
            "fps": self.fps,
            "duration_s": round(self.duration_s, 1),
        }

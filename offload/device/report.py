"""What the device program says of its run: now and then how it goes, and at the end what it did.

logger.info("progress", extra=Progress(now=now, split=3, ...).line())
report = RunReport(mode="manual", app="my_app", stream="porch", ...)
write_summary(path, report.summary())
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from offload.device.capture import Capture
from offload.device.link import LinkEstimate
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter
from offload.messages import Outcome


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


class Steering(Protocol):
    """Where the scheduler stands, as a progress line shows it."""

    @property
    def target_fps(self) -> float:
        """The target."""

    @property
    def position(self) -> float:
        """The mean split."""

    @property
    def reason(self) -> str:
        """Why it is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How a run goes.

    Attributes:
        now: Monotonic seconds.
        split: The split if it is fixed, else None.
        steering: The scheduler's state; None unless automatic.
        totals: What became of the frames so far.
        link: The state of the link.
        load: What the program takes of its machine.
        live: The capture of a live source; None for others.
        rate: What the link carries; None if there is none.
    """

    now: float
    split: int | None
    steering: Steering | None
    totals: RunTotals
    link: LinkState
    load: LoadMeter
    live: Capture | None
    rate: LinkEstimate | None

    def line(self) -> dict[str, object]:
        """Return the fields of a progress line; what there is not in this mode is left out.

        Its latency is that of the frames since the last line.
        """
        p95_s = self.totals.take_recent_latency().percentile(0.95)
        return {
            "fps": round(self.totals.rate.per_second(self.now), 1),
            **self._split(),
            "latency_p95_ms": None if p95_s is None else round(1000 * p95_s),
            "in_flight": self.link.in_flight,
            "dropped": self.totals.outcomes[Outcome.DROPPED],
            **self._machine(),
            **self._source(),
            **({"spooled": self.link.spooled} if self.link.spooled else {}),
            **self._cloud(),
        }

    def _split(self) -> dict[str, object]:
        if self.steering is not None:
            return {
                "target": self.steering.target_fps,
                "split": round(self.steering.position, 2),
                "reason": str(self.steering.reason),
            }
        return {} if self.split is None else {"split": self.split}

    def _machine(self) -> dict[str, object]:
        fields: dict[str, object] = {"cpu_percent": round(self.load.cpu_percent)}
        if (share := self.load.machine_share()) is not None:
            fields["machine_percent"] = round(100 * share)
        return fields

    def _source(self) -> dict[str, object]:
        if self.live is None:
            return {}
        age_s = self.live.age_s(self.now)
        return {
            "missed": self.live.missed,
            # One may have come since ``now``.
            "newest_age_ms": None if age_s is None else round(1000 * max(0.0, age_s)),
        }

    def _cloud(self) -> dict[str, object]:
        if self.rate is None:
            return {}
        fields: dict[str, object] = {"cloud_percent": round(100 * self.link.cloud_load)}
        if self.rate.seconds_per_byte:
            fields["link_mbit"] = round(8e-6 / self.rate.seconds_per_byte, 1)
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

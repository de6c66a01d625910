"""What the device program says of its run at the end: the summary, and the last log line.

report = RunReport(mode="manual", app="my_app", stream="porch", ...)
write_summary(path, report.summary())
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from offload.device.telemetry import RunTotals
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


def count_frames(totals: RunTotals, link: LinkState, *, captured: int) -> dict[str, int]:
    """Return how many frames were captured, and what became of them."""
    outcomes = totals.outcomes
    return {
        "captured": captured,
        "resumed": link.resumed,
        "completed": outcomes[Outcome.RESULT],
        "filtered": outcomes[Outcome.FILTERED],
        "dropped": outcomes[Outcome.DROPPED],
        "failed": outcomes[Outcome.FAILED],
        "spooled": link.spooled,
        "abandoned": captured + link.resumed - outcomes.total() - link.spooled,
    }


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
            "frames": count_frames(totals, self.link, captured=self.captured),
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
        frames = count_frames(self.totals, self.link, captured=self.captured)
        return {
            **{name: number for name, number in frames.items() if number or name == "captured"},
            "fps": self.fps,
            "duration_s": round(self.duration_s, 1),
        }

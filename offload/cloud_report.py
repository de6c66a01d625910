"""What the cloud program says of its run: counts per stream, and the summary.

counts = StreamCounts(stream="porch", device="pi", app="my_app", next_seq=0)
counts.add(finished, now)
summary = summarise([counts], refused={}, load=meter)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from offload.load import LoadMeter
from offload.messages import Outcome
from offload.results_writer import Finished

# What adds up over streams.
_SUMMED: Final = (
    "results",
    "filtered",
    "failed",
    "dropped",
    "duplicates_ignored",
    "cloud_task_s",
)


@dataclass(slots=True, kw_only=True)
class StreamCounts:
    """What the final report says of one stream."""

    stream: str
    device: str
    app: str
    next_seq: int
    outcomes: Counter[Outcome] = field(default_factory=Counter)
    duplicates_ignored: int = 0
    pictures: int = 0
    cloud_task_s: float = 0.0
    first_s: float | None = None
    last_s: float = 0.0

    def add(self, finished: Finished, now: float) -> None:
        """Count a stored frame, or run of frames."""
        self.outcomes[finished.outcome.outcome] += finished.outcome.count
        self.next_seq = max(self.next_seq, finished.outcome.stop)
        self.cloud_task_s += sum(finished.task_seconds.values())
        self.first_s = now if self.first_s is None else self.first_s
        self.last_s = now

    def report(self) -> dict[str, object]:
        """Return the stream's part of the summary."""
        finished = self.outcomes[Outcome.RESULT] + self.outcomes[Outcome.FILTERED]
        lasted_s = self.last_s - self.first_s if self.first_s is not None else 0.0
        return {
            "stream": self.stream,
            "device": self.device,
            "app": self.app,
            "results": self.outcomes[Outcome.RESULT],
            "filtered": self.outcomes[Outcome.FILTERED],
            "failed": self.outcomes[Outcome.FAILED],
            "dropped": self.outcomes[Outcome.DROPPED],
            "duplicates_ignored": self.duplicates_ignored,
            "next_seq": self.next_seq,
            "pictures": self.pictures,
            "cloud_task_s": self.cloud_task_s,
            "fps": finished / lasted_s if lasted_s > 0 else 0.0,
        }


def summarise(
    counts: Sequence[StreamCounts], *, refused: Mapping[str, int], load: LoadMeter
) -> dict[str, object]:
    """Return what ``--summary`` writes.

    Args:
        counts: Of every stream since the start, open or not.
        refused: How many connections were refused, by reason.
        load: What the program took of its machine.
    """
    streams = [each.report() for each in counts]
    totals: dict[str, object] = {
        name: sum(cast("float", each[name]) for each in streams) for name in _SUMMED
    }
    return {
        "streams": streams,
        "refused": dict(refused),
        "totals": {"streams": len(streams), **totals},
        "cpu_s": load.cpu_s,
        "peak_rss_bytes": load.peak_rss_bytes(),
    }

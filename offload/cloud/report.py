"""What the cloud program says of its run: counts per stream, and the summary.

tally = Tally()
counts = tally.of(stream="porch", device="pi", app="my_app", next_seq=0)
counts.add(finished, now)
tally.close("porch")
summary = summarise(tally, refused={}, load=meter)
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, cast

from offload.load import LoadMeter
from offload.messages import Outcome
from offload.results.writer import Finished

# Streams that the summary lists by name. Of those that are over, the ones that were over first are
# only in its totals past it: a server may run for years.
MAX_LISTED_STREAMS: Final = 10_000

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
    received_bytes: int = 0
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

    @property
    def fps(self) -> float:
        """Frames with a result, or filtered, per second from the first to the last."""
        finished = self.outcomes[Outcome.RESULT] + self.outcomes[Outcome.FILTERED]
        lasted_s = self.last_s - self.first_s if self.first_s is not None else 0.0
        return finished / lasted_s if lasted_s > 0 else 0.0

    def report(self) -> dict[str, object]:
        """Return the stream's part of the summary."""
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
            "fps": self.fps,
        }


class Tally:
    """The counts of every stream since the start.

    Args:
        max_listed: How many are kept by name; those that are not over are kept in any case.
    """

    def __init__(self, *, max_listed: int = MAX_LISTED_STREAMS) -> None:
        """Start without streams."""
        self._max_listed = max_listed
        self._counts: dict[str, StreamCounts] = {}
        # In the order in which they were over.
        self._over: dict[str, None] = {}
        self._unlisted: Counter[str] = Counter()

    def of(self, *, stream: str, device: str, app: str, next_seq: int) -> StreamCounts:
        """Return the counts of a stream that begins or goes on."""
        self._over.pop(stream, None)
        if stream not in self._counts:
            self._counts[stream] = StreamCounts(
                stream=stream, device=device, app=app, next_seq=next_seq
            )
        return self._counts[stream]

    def close(self, stream: str) -> None:
        """Note that a stream is over, as far as one can know."""
        self._over[stream] = None
        if len(self._counts) > self._max_listed:
            oldest = next(iter(self._over))
            del self._over[oldest]
            report = self._counts.pop(oldest).report()
            self._unlisted += Counter(
                {"streams": 1, **{name: cast("int", report[name]) for name in _SUMMED}}
            )

    def listed(self) -> list[StreamCounts]:
        """Return the counts of each stream that is listed."""
        return list(self._counts.values())

    def streams(self) -> list[dict[str, object]]:
        """Return the part of each stream that is listed."""
        return [each.report() for each in self.listed()]

    def totals(self) -> dict[str, object]:
        """Return what all streams add up to, listed or not; one that came back counts twice."""
        streams = self.streams()
        return {
            "streams": len(streams) + self._unlisted["streams"],
            **{
                name: self._unlisted[name] + sum(cast("float", each[name]) for each in streams)
                for name in _SUMMED
            },
        }

    @property
    def unlisted(self) -> int:
        """How many streams are in the totals only."""
        return self._unlisted["streams"]


def summarise(tally: Tally, *, refused: Mapping[str, int], load: LoadMeter) -> dict[str, object]:
    """Return what ``--summary`` writes.

    Args:
        tally: What became of the frames.
        refused: How many connections were refused, by reason.
        load: What the program took of its machine.
    """
    return {
        "streams": tally.streams(),
        "streams_not_listed": tally.unlisted,
        "refused": dict(refused),
        "totals": tally.totals(),
        "cpu_s": load.cpu_s,
        "peak_rss_bytes": load.peak_rss_bytes(),
    }

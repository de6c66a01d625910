"""Look once a second at how a device's run goes: the `Sampled` event.

sampler = Sampler(stream="porch", totals=totals, load=load, choosing=choosing)
if sampler.is_due(now):
recorder.record(sampler.sample(Moment(now=now, at_s=recorder.now(), ...)))
"""

import math
from dataclasses import dataclass
from typing import Final

from offload.device.capture import Capture
from offload.device.choosing import Choosing
from offload.device.totals import RunTotals
from offload.device.uplink import LinkState
from offload.load import LoadMeter
from offload.messages import Outcome
from offload.telemetry.events import SAMPLE_PERIOD_S, Forecast, Sampled, TaskTotals

# An app may be split anywhere; past so many, what each split would give is no help to anybody, and
# would not fit a message.
MAX_FORECASTS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What a sample says of the parts of a run.

    Attributes:
        now: Monotonic seconds.
        at_s: The same as events have it.
        began_s: When the run began, monotonic seconds.
        link: The state of the link.
        has_cloud: Whether frames go to a cloud.
        is_behind: Whether they go to disk first, so that no scheduler chooses their split.
        capture: Where frames come from.
        is_live: Whether they come unasked.
        expected_frames: How many will be captured; None if nobody knows.
        split: The split if it is fixed by the mode, else None.
        pinned: The split of all frames; None if a scheduler chooses it, and without a cloud.
    """

    now: float
    at_s: float
    began_s: float
    link: LinkState
    has_cloud: bool
    is_behind: bool
    capture: Capture
    is_live: bool
    expected_frames: int | None
    split: int | None
    pinned: int | None


class Sampler:
    """Makes samples of one run.

    Args:
        stream: Name of the stream.
        totals: What became of its frames.
        load: What the program takes of its machine.
        choosing: Chooses how frames are run.
        period_s: How far apart samples are at least.
    """

    def __init__(
        self,
        *,
        stream: str,
        totals: RunTotals,
        load: LoadMeter,
        choosing: Choosing,
        period_s: float = SAMPLE_PERIOD_S,
    ) -> None:
        """Let the first sample be due when a period has passed since the first question."""
        self._stream = stream
        self._totals = totals
        self._load = load
        self._choosing = choosing
        self._period_s = period_s
        self._due_s = math.inf

    def is_due(self, now: float) -> bool:
        """Return whether it is time for a sample, and look forward to the next one if so."""
        if self._due_s == math.inf:
            self._due_s = now + self._period_s
        if now < self._due_s:
            return False
        # Whoever was held up does not catch up.
        self._due_s = max(self._due_s, now - self._period_s) + self._period_s
        return True

    def sample(self, moment: Moment) -> Sampled:
        """Return how the run goes; what it says of latencies is of the time since the last one."""
        totals, link, now = self._totals, moment.link, moment.now
        scheduler = self._choosing.scheduler
        state = None if scheduler is None else scheduler.state(now)
        recent = totals.take_recent_latency()
        outcomes = totals.outcomes
        age_s = moment.capture.age_s(now) if moment.is_live else None
        seconds_per_byte = self._choosing.link.seconds_per_byte
        return Sampled(
            at_s=moment.at_s,
            stream=self._stream,
            running_s=now - moment.began_s,
            fps=totals.rate.per_second(now),
            target_fps=None if state is None else state.target_fps,
            pinned=moment.pinned,
            split=_split(totals, moment) if state is None or moment.is_behind else state.position,
            reason=None if state is None else str(state.reason),
            latency_p50_s=recent.percentile(0.5),
            latency_p95_s=recent.percentile(0.95),
            latency_p99_s=recent.percentile(0.99),
            in_flight=link.in_flight,
            window=self._choosing.window if moment.has_cloud else 0,
            connected=link.connected or not moment.has_cloud,
            link_bytes_per_s=1 / seconds_per_byte if seconds_per_byte else None,
            sent_bytes=link.sent_bytes,
            reconnects=link.reconnects,
            resent=link.resent,
            captured=moment.capture.captured,
            resumed=link.resumed,
            completed=outcomes[Outcome.RESULT],
            filtered=outcomes[Outcome.FILTERED],
            dropped=outcomes[Outcome.DROPPED],
            failed=outcomes[Outcome.FAILED],
            spooled=link.spooled,
            spool_bytes=link.spool_bytes,
            spool_limit_bytes=link.spool_limit_bytes,
            expected_frames=moment.expected_frames,
            split_frames=tuple([totals.splits[split] for split in range(len(totals.costs) + 1)]),
            tasks=tuple(
                TaskTotals(
                    device_s=each.device_s,
                    cloud_s=each.cloud_s,
                    device_runs=each.runs_device,
                    cloud_runs=each.runs_cloud,
                )
                for each in totals.costs
            ),
            cpu_percent=self._load.take_cpu_percent(),
            machine_part=self._load.machine_share(),
            memory_bytes=self._load.memory_bytes(),
            temperature_c=self._load.temperature_c(),
            missed=moment.capture.missed if moment.is_live else None,
            # One may have come since ``now``.
            newest_age_s=None if age_s is None else max(0.0, age_s),
            cloud_load=link.cloud_load if moment.has_cloud else None,
            forecasts=self._forecasts(),
        )

    def _forecasts(self) -> tuple[Forecast, ...]:
        scheduler = self._choosing.scheduler
        found = () if scheduler is None else scheduler.forecasts()
        if len(found) > MAX_FORECASTS:
            return ()
        return tuple(
            Forecast(
                split=each.split,
                encoding=each.encoding,
                fps=each.fps,
                limit=each.limit,
                device_s=each.device_s,
                link_s=each.link_s,
                cloud_s=each.cloud_s,
            )
            for each in found
        )


def _split(totals: RunTotals, moment: Moment) -> float | None:
    return moment.split if totals.last_split is None else totals.last_split

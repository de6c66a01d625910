"""A device, a link and a cloud in virtual time, driven by a scheduler: the closed loop.

They overlap, so throughput is that of the slowest. The device waits for the source, for the window
and for its workers; frames cross the link one after the other; the cloud acknowledges in order.
"""

import math
import random
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from scheduler import Choice, DeviceCosts, Ending, Observation, OperatingPoint, Reason
from tests.simulation.world import MBIT, Scenario, World, receiving_s_per_byte

# What a message takes beside its values.
HEADER_BYTES = 200

# How often the bytes at each split are counted.
SAMPLED_EVERY_S = 0.1


class Chooser(Protocol):
    """What drives the plant."""

    target_fps: float

    @property
    def window(self) -> int: ...

    def choose(self, now: float, *, watched: bool = False) -> Choice: ...

    def observe_device(self, costs: DeviceCosts) -> None: ...

    def observe(self, observation: Observation) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSeconds:
    """The cloud's report about one task."""

    task: int
    runs: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A frame as it was chosen."""

    at_s: float
    split: int
    encoding: str
    padding_bytes: int
    reason: Reason


@dataclass(slots=True, kw_only=True)
class Trace:
    """What came of a run, for questions about it afterwards."""

    finished_s: list[float] = field(default_factory=list)
    cloud_s: list[float] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    dropped: int = 0
    failed: int = 0

    def count(self, begin_s: float, end_s: float) -> int:
        return bisect_left(self.finished_s, end_s) - bisect_left(self.finished_s, begin_s)

    def fps(self, begin_s: float, end_s: float) -> float:
        """Return the rate of the frames in between, to a part of a frame."""
        low, high = bisect_left(self.finished_s, begin_s), bisect_left(self.finished_s, end_s)
        return (self._part(end_s, high) - self._part(begin_s, low)) / (end_s - begin_s)

    def _part(self, at_s: float, index: int) -> float:
        """Count the frame that is under way at ``at_s`` by the part of its time that is over."""
        times = self.finished_s
        before = times[index - 1] if index else 0.0
        if index == len(times):
            return float(index)
        return index + min(1.0, (at_s - before) / max(times[index] - before, 1e-9))

    def cloud_s_per_frame(self, begin_s: float, end_s: float) -> float:
        low, high = bisect_left(self.finished_s, begin_s), bisect_left(self.finished_s, end_s)
        return sum(self.cloud_s[low:high]) / max(1, high - low)

    def latency_s(self, begin_s: float, end_s: float, share: float = 0.95) -> float:
        low, high = bisect_left(self.finished_s, begin_s), bisect_left(self.finished_s, end_s)
        sorted_s = sorted(self.latencies_s[low:high])
        return sorted_s[int(share * (len(sorted_s) - 1))]


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A frame whose acknowledgement is under way, and what it cost the cloud."""

    seen: Observation
    captured_s: float
    cloud_s: float


class Link:
    """Carries one message after the other, at the rate of the time."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self._begins = [phase.begin_s for phase in scenario.phases]
        self.free_s = 0.0

    def carry(self, ready_s: float, size: float) -> float:
        """Return when the last byte has left the link."""
        now = max(self.free_s, ready_s)
        while True:
            place = bisect_right(self._begins, now)
            rate = self._scenario.phases[max(0, place - 1)].world.link_mbit * MBIT
            end_s = now + size / rate if rate else float("inf")
            if place == len(self._begins) or end_s <= self._begins[place]:
                self.free_s = end_s
                return end_s
            size -= (self._begins[place] - now) * rate
            now = self._begins[place]


class Plant:
    """A pipeline on a device and in a cloud; ``run`` closes the loop around a scheduler."""

    def __init__(self, scenario: Scenario, *, seed: int = 1) -> None:
        self._scenario = scenario
        self._random = random.Random(seed)
        self._link = Link(scenario)
        self._in_flight: deque[InFlight] = deque()
        self._workers = [0.0] * scenario.device_workers
        self._cloud_workers = [0.0] * scenario.cloud_workers
        self._ordered_s = 0.0
        self._acknowledged_s = 0.0
        self._watched_due = 0.0
        self._camera_frame = -1
        self._waited_for_room_s = 0.0
        self._answered_s = 0.0
        # When the last ones were done, and what they took.
        self._served: deque[tuple[float, float]] = deque(maxlen=20)
        self._sampled_s = -math.inf
        self._here: deque[tuple[float, DeviceCosts]] = deque()
        self.trace = Trace()

    def run(self, scheduler: Chooser) -> Trace:
        """Let frames through from time 0 on until the scenario is over."""
        now, world = 0.0, self._scenario.world(0.0)
        while True:
            now = self._make_room(now, scheduler.window)
            captured_s, now, waited_s = self._capture(now, world)
            if now >= self._scenario.duration_s:
                return self.trace
            self._deliver(now, scheduler)
            world = self._scenario.world(now)
            if scheduler.target_fps != world.target_fps:
                scheduler.target_fps = world.target_fps
            self._watched_due += world.watched_part
            watched = self._watched_due >= 1
            self._watched_due -= watched
            choice = scheduler.choose(now, watched=watched)
            point = choice.point
            self.trace.taken.append(
                Taken(
                    at_s=now,
                    split=point.split,
                    encoding=point.encoding,
                    padding_bytes=choice.padding_bytes,
                    reason=choice.reason,
                )
            )
            now = self._process(now, captured_s, waited_s, choice, world, watched=watched)

    def _make_room(self, now: float, window: int) -> float:
        window = max(1, min(window, self._scenario.window))
        began_s = now = max(now, min(self._workers))
        if len(self._in_flight) >= window:
            now = max(now, self._in_flight[len(self._in_flight) - window].seen.at_s)
        self._waited_for_room_s = now - began_s
        return now

    def _capture(self, now: float, world: World) -> tuple[float, float, float]:
        """Return when the frame was captured and is taken, and how long that was waited for."""
        scenario = self._scenario
        period_s = 1 / scenario.camera_fps
        if period_s == 0:
            self._camera_frame += 1
            return now, now, 0.0
        frame = self._camera_frame + 1
        if scenario.keeps_newest:
            frame = max(frame, int(now / period_s + 1e-9))
            self.trace.dropped += frame - self._camera_frame - 1
        self._camera_frame = frame
        captured_s = frame * period_s
        taken_s = max(now, captured_s)
        waited_s = taken_s - now
        if scenario.hidden_looks_like_waiting:
            waited_s += world.hidden_s
        return captured_s, taken_s, waited_s

    def _deliver(self, now: float, scheduler: Chooser) -> None:
        while self._here and self._here[0][0] <= now:
            scheduler.observe_device(self._here.popleft()[1])
        while self._in_flight and self._in_flight[0].seen.at_s <= now:
            at_s = self._in_flight[0].seen.at_s
            together = [each for each in self._in_flight if each.seen.at_s == at_s]
            self._acknowledge(together, scheduler)

    def _acknowledge(self, together: Sequence[InFlight], scheduler: Chooser) -> None:
        """Report frames of one acknowledgement; it says what tasks took in all of them."""
        sums = _in_all([each.seen for each in together])
        for ended in together:
            self._in_flight.popleft()
            scheduler.observe(replace(ended.seen, cloud_times=sums))
            sums = []
            if ended.seen.ending is Ending.FINISHED:
                self.trace.finished_s.append(ended.seen.at_s)
                self.trace.cloud_s.append(ended.cloud_s)
                self.trace.latencies_s.append(ended.seen.at_s - ended.captured_s)
            else:
                self.trace.failed += 1

    def _noisy(self, seconds: float) -> float:
        return seconds * max(0.3, self._random.gauss(1, self._scenario.noise)) if seconds else 0.0

    def _process(
        self,
        now: float,
        captured_s: float,
        waited_s: float,
        choice: Choice,
        world: World,
        *,
        watched: bool,
    ) -> float:
        """Run one frame to its acknowledgement; return when the main thread is free again."""
        work = self._work(choice.point, world, watched=watched)
        ready_s = self._run_here(now, choice.point.split, work, world.hidden_s)
        free = self._scenario.costs.ordered_from if self._scenario.device_workers > 1 else 0
        is_sampled = choice.reason is Reason.PROBING or now >= self._sampled_s + SAMPLED_EVERY_S
        if is_sampled:
            self._sampled_s = now
        here = DeviceCosts(
            seq=self._camera_frame,
            captured_s=captured_s,
            point=choice.point,
            watched=watched,
            waited_for_source_s=waited_s,
            waited_for_room_s=self._waited_for_room_s,
            task_s=work.device_s,
            raw_bytes=work.raw_bytes if is_sampled else {},
            message_bytes=work.message_bytes,
            encode_s=work.encode_s,
        )
        self._here.append((ready_s, here))
        seen = self._send(ready_s, choice, work, world, watched=watched)
        # What it took to decode is reported of some frames only.
        seen = replace(seen, decode_s=work.decode_s if is_sampled else 0.0)
        cloud_s = work.all_cloud_s + seen.transfer_bytes * receiving_s_per_byte(world)
        self._in_flight.append(InFlight(seen=seen, captured_s=captured_s, cloud_s=cloud_s))
        return now if free else ready_s

    def _work(self, point: OperatingPoint, world: World, *, watched: bool) -> "Work":
        """Return what a frame takes, as far as it gets."""
        costs = self._scenario.costs
        work = Work()
        for task in range(costs.tasks):
            if 0 < task <= point.split:
                work.raw_bytes[task] = costs.bytes_raw(task, watched=watched)
            if task in costs.on_demand and not watched:
                continue
            if task < point.split:
                work.device_s[task] = self._noisy(costs.device_s[task] * world.device_factor)
            else:
                work.cloud_s[task] = self._noisy(costs.cloud_s[task] * world.cloud_factor)
            part = world.ends.get(task, 0.0)
            if part and self._random.random() < part:
                work.ended_by = task
                break
        if work.ended_by is None or work.ended_by >= point.split:
            raw, encoding = work.raw_bytes[point.split], costs.encodings[point.encoding]
            work.encode_s = self._noisy(raw * encoding.encode_s_per_byte * world.device_factor)
            work.decode_s = self._noisy(raw * encoding.decode_s_per_byte * world.cloud_factor)
            work.message_bytes = HEADER_BYTES + int(self._noisy(raw * costs.part(point)))
        return work

    def _run_here(self, now: float, split: int, work: "Work", hidden_s: float) -> float:
        """Return when the device's part is done: free tasks side by side, the others in order."""
        free = self._scenario.costs.ordered_from if self._scenario.device_workers > 1 else 0
        parallel_s = sum(seconds for task, seconds in work.device_s.items() if task < free)
        serial_s = sum(seconds for task, seconds in work.device_s.items() if task >= free)
        if split <= free:
            parallel_s += work.encode_s
        else:
            serial_s += work.encode_s
        worker = self._workers.index(min(self._workers))
        done_s = max(now, self._workers[worker]) + parallel_s
        self._ordered_s = max(self._ordered_s, done_s) + serial_s + hidden_s
        self._workers[worker] = done_s if free else self._ordered_s
        return self._ordered_s

    def _send(
        self, ready_s: float, choice: Choice, work: "Work", world: World, *, watched: bool
    ) -> Observation:
        """Let the message cross and the cloud do its part; return what the device hears of it."""
        scenario = self._scenario
        is_too_large = work.message_bytes > scenario.max_message_bytes
        if is_too_large:
            work.cloud_s, work.decode_s = {}, 0.0
        crosses = work.message_bytes > 0 and not is_too_large
        # A frame that ended here is a few bytes beside another one.
        sent = work.message_bytes + choice.padding_bytes if crosses else HEADER_BYTES
        began_s = max(self._link.free_s, ready_s)
        left_s = self._link.carry(ready_s, sent)
        arrived_s = left_s + scenario.round_trip_s / 2
        served_s = self._serve(arrived_s, work, world.busy_part) if crosses else arrived_s
        answered_s = max(self._answered_s, served_s)
        every_s = scenario.acknowledged_every_s
        if every_s:
            answered_s = math.ceil(answered_s / every_s) * every_s
        self._answered_s = answered_s
        back_s = scenario.round_trip_s / 2
        back_s = back_s if every_s else self._noisy(back_s)
        at_s = self._acknowledged_s = max(self._acknowledged_s, answered_s + back_s)
        return Observation(
            at_s=at_s,
            point=choice.point,
            watched=watched,
            ending=Ending.TOO_LARGE if is_too_large else Ending.FINISHED,
            ended_by=work.ended_by,
            message_bytes=work.message_bytes,
            transfer_s=self._noisy(left_s - began_s) if sent >= 32 * 1024 else None,
            transfer_bytes=sent,
            round_trip_s=at_s - ready_s if crosses else None,
            residence_s=answered_s - arrived_s if crosses else None,
            cloud_times=[
                TaskSeconds(task=task, runs=1, seconds=seconds)
                for task, seconds in work.cloud_s.items()
            ],
            cloud_load=min(1.0, world.busy_part + self._own_part()),
        )

    def _serve(self, arrived_s: float, work: "Work", busy_part: float) -> float:
        """Return when the cloud has done its part; others hold it up."""
        place = self._cloud_workers.index(min(self._cloud_workers))
        began_s = max(arrived_s, self._cloud_workers[place])
        served_s = self._cloud_workers[place] = began_s + work.all_cloud_s / (1 - busy_part)
        self._served.append((served_s, work.all_cloud_s))
        return served_s

    def _own_part(self) -> float:
        """Return how busy the cloud was with the last frames."""
        seconds = sum(cloud_s for _, cloud_s in self._served)
        span_s = self._served[-1][0] - self._served[0][0] if self._served else 0.0
        return seconds / span_s / self._scenario.cloud_workers if span_s > 0 else 0.0


@dataclass(slots=True, kw_only=True)
class Work:
    """What one frame takes."""

    device_s: dict[int, float] = field(default_factory=dict)
    cloud_s: dict[int, float] = field(default_factory=dict)
    raw_bytes: dict[int, int] = field(default_factory=dict)
    message_bytes: int = 0
    encode_s: float = 0.0
    decode_s: float = 0.0
    ended_by: int | None = None

    @property
    def all_cloud_s(self) -> float:
        return sum(self.cloud_s.values()) + self.decode_s


def _in_all(seen: Sequence[Observation]) -> list[TaskSeconds]:
    """Return what tasks took in the cloud, for all of these frames."""
    runs: Counter[int] = Counter()
    seconds: dict[int, float] = {}
    for each in seen:
        for times in each.cloud_times:
            runs[times.task] += times.runs
            seconds[times.task] = seconds.get(times.task, 0.0) + times.seconds
    return [TaskSeconds(task=task, runs=runs[task], seconds=seconds[task]) for task in runs]

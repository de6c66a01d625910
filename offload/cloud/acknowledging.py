"""What the cloud says of frames that are stored: few messages for many frames. Pure.

for each in acknowledgements(finished, now=time.monotonic(), load=0.4):
    session.acknowledge(each)
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from offload.messages import Acknowledgement, Outcome, OutcomeRange, TaskTime, extend_ranges
from offload.results.writer import Finished

# An acknowledgement fits its envelope of 64 KiB: an exception has two texts of 300 characters.
MAX_EXCEPTIONS: Final = 20
MAX_RESIDENCES: Final = 512


def acknowledgements(
    finished: Sequence[Finished], *, now: float, load: float
) -> Iterator[Acknowledgement]:
    """Yield the acknowledgements of one stream's frames, in order, as few as they fit.

    Args:
        finished: Frames that are stored, in order.
        now: Monotonic seconds.
        load: How busy the machine is, 0 to 1.
    """
    exceptions: list[OutcomeRange] = []
    residences_s: list[float] = []
    decodes_s: list[float] = []
    times: dict[int, TaskTime] = {}
    for index, each in enumerate(finished, start=1):
        if each.received_s is not None:
            residences_s.append(now - each.received_s)
            decodes_s.append(each.decode_s)
            if each.outcome.outcome is not Outcome.RESULT:
                extend_ranges(exceptions, each.outcome)
        _add_times(times, each.task_seconds)
        is_full = len(exceptions) >= MAX_EXCEPTIONS or len(residences_s) >= MAX_RESIDENCES
        if is_full or index == len(finished):
            yield Acknowledgement(
                next_seq=each.outcome.stop,
                exceptions=tuple(exceptions),
                residences_s=tuple(residences_s),
                decodes_s=tuple(decodes_s) if any(decodes_s) else (),
                task_times=tuple(times.values()),
                load=load,
            )
            exceptions, residences_s, decodes_s, times = [], [], [], {}


def _add_times(times: dict[int, TaskTime], seconds: Mapping[int, float]) -> None:
    for task, spent_s in seconds.items():
        before = times.get(task)
        times[task] = TaskTime(
            task=task,
            runs=1 + (before.runs if before else 0),
            seconds=spent_s + (before.seconds if before else 0.0),
        )

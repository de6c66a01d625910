"""One frame on its way through the cloud's tasks: the unit of work that an executor runs.

It imports `task_interface`, as only few modules of ``offload`` do: tasks are what it runs.

    work = CloudFrame(stream, frame)
    lane.submit(free=work.run_free, ordered=work.run_ordered)
"""

import time
from collections.abc import Callable, Mapping
from typing import Protocol

from offload import values as wire_values
from offload.errors import PayloadError, TaskError
from offload.logs import Mishaps
from offload.messages import Frame, Outcome, OutcomeRange
from offload.results.writer import Finished, Snapshot, settle
from task_interface import BoundPipeline, Context, Pipeline, PipelineRun

Values = Mapping[str, wire_values.Value]


class FrameStream(Protocol):
    """What a frame asks of its stream.

    Attributes:
        name: The stream's name.
        epoch: That of the record with which the stream was opened.
        pipeline: Its tasks.
        bound: The same with their state.
        mishaps: Warns of tasks on demand that raised.
        snapshot: Returns what is to be stored of the tasks' state.
        put: Takes the frame's outcome.
    """

    name: str
    epoch: int
    pipeline: Pipeline
    bound: BoundPipeline
    mishaps: Mishaps
    snapshot: Snapshot
    put: Callable[[Finished], None]

    @property
    def is_stale(self) -> bool:
        """Whether nothing of it can be stored any more; once it is so, it stays so."""

    def show(self, picture: object) -> None:
        """Take a picture for whoever watches; called in any thread."""

    def book_cost(self, split: int, seconds: float) -> None:
        """Learn what the work on a frame with this split took."""


class CloudFrame:
    """A frame between its coming and its outcome: a free part, then one in order.

    Args:
        stream: The frame's stream.
        frame: As it came.

    Attributes:
        held_bytes: What it holds in memory until it is stored.
    """

    __slots__ = (
        "_context",
        "_decode_s",
        "_frame",
        "_middle",
        "_received_at",
        "_received_s",
        "_spent_s",
        "_stream",
        "held_bytes",
    )

    def __init__(self, stream: FrameStream, frame: Frame) -> None:
        """Note when it came; no task has run yet."""
        self._stream = stream
        self._frame = frame
        self._context = Context(
            stream=stream.name,
            seq=frame.seq,
            captured_at=frame.captured_at,
            watched=frame.watched,
            show=stream.show,
        )
        self._middle = stream.pipeline.first_in_order(frame.split)
        self._received_s = time.monotonic()
        self._received_at = time.time()
        self._spent_s = 0.0
        self._decode_s = 0.0
        self.held_bytes = frame.held_bytes

    def run_free(self) -> PipelineRun:
        """Decode the frame, and run the tasks that need nothing of other frames."""
        if self._stream.is_stale:
            return PipelineRun(values={})
        began_s = time.perf_counter()
        try:
            values = self._values()
            self._decode_s = time.perf_counter() - began_s
            run = self._run(values, self._frame.split, self._middle)
        except PayloadError as error:
            first = self._stream.pipeline.names[self._frame.split]
            run = PipelineRun(values={}, error=TaskError(first, f"cannot read its values: {error}"))
        self._spent_s = time.perf_counter() - began_s
        return run

    def run_ordered(self, run: PipelineRun) -> None:
        """Run the tasks that see frames in order, and hand the outcome to the writer."""
        began_s = time.perf_counter()
        stream, frame, pipeline = self._stream, self._frame, self._stream.pipeline
        if stream.is_stale:
            self._end_without_tasks()
            return
        seconds, mishaps = run.seconds, run.mishaps
        if not run.ended and self._middle < len(pipeline):
            run = self._run(run.values, self._middle, len(pipeline))
            seconds |= run.seconds
            mishaps = mishaps + run.mishaps
        stream.mishaps.warn_of(mishaps)
        settled = settle(
            frame.seq,
            filtered_by=run.filtered_by,
            error=run.error,
            result=run.result,
            last_task=pipeline.names[-1],
            snapshot=stream.snapshot,
        )
        stream.put(
            Finished(
                stream=stream.name,
                epoch=stream.epoch,
                outcome=settled.outcome,
                split=frame.split,
                captured_at=frame.captured_at,
                received_at=self._received_at,
                value=settled.value,
                state=settled.state,
                received_s=self._received_s,
                decode_s=self._decode_s,
                task_seconds=seconds,
                held_bytes=self.held_bytes,
            )
        )
        stream.book_cost(frame.split, self._spent_s + time.perf_counter() - began_s)

    def _end_without_tasks(self) -> None:
        # The writer finds it stale, as all of its stream: whatever it says, nobody hears it.
        stream = self._stream
        ended = OutcomeRange(first=self._frame.seq, count=1, outcome=Outcome.DROPPED)
        stream.put(
            Finished(
                stream=stream.name,
                epoch=stream.epoch,
                outcome=ended,
                held_bytes=self.held_bytes,
            )
        )

    def _values(self) -> Values:
        frame = self._frame
        values = wire_values.unpack(
            frame.tree, frame.buffers, max_decoded_bytes=frame.decoded_bytes
        )
        live = self._stream.pipeline.live_values(frame.split, watched=frame.watched)
        if not isinstance(values, dict) or not set(live) <= values.keys():
            raise PayloadError(f"expected {', '.join(live) or 'a dict'}")
        return values

    def _run(self, values: Values, start: int, stop: int) -> PipelineRun:
        return self._stream.bound.run(
            values, start=start, stop=stop, context=self._context, clock=time.perf_counter
        )

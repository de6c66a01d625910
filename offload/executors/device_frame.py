"""One frame on its way through the device's tasks: the unit of work that a device worker runs.

It imports `task_interface`, as only few modules of ``offload`` do: tasks are what it runs.

    frame = DeviceFrame(raw, read_s=0.001, captured_s=now, split=3, context=context, encodings={})
    seconds = frame.run_free(pipeline, source, bound)      # in any thread, beside other frames
    frame.run_ordered(pipeline, bound)                     # in the order of the stream
    frame.ended() if frame.run.ended else frame.message()
"""

import time
from collections.abc import Mapping

from offload.errors import PayloadError, TaskError
from offload.messages import MAX_PADDING_BYTES, Frame, Outcome, OutcomeRange
from offload.values import Packed, Value, pack, raw_bytes
from offload.values.encodings import Encoding
from task_interface import BoundPipeline, BoundSource, Context, Pipeline, PipelineRun


class DeviceFrame:
    """A frame between its capture and its way to where its outcome is stored.

    Its tasks run in two parts: a free one, and from the first stateful task on one in order.

    Args:
        raw: What the source gave, not yet prepared.
        read_s: Seconds of work to read it.
        captured_s: Monotonic seconds when the source had it.
        split: How many tasks run here; all of them in client-only mode.
        context: What its tasks may know of it.
        encodings: How its values travel; None if they do not.
        padding_bytes: What is sent along so as to measure the link.

    Attributes:
        encode_s: Seconds that it took to bring the live values into that form.
        run: What its tasks gave so far.
        packed: The live values as they travel, once the last task here has run; None for a frame
            that ended, or that does not travel.
    """

    __slots__ = (
        "_encodings",
        "_padding_bytes",
        "_raw",
        "_read_s",
        "captured_s",
        "context",
        "encode_s",
        "packed",
        "run",
        "split",
    )

    def __init__(
        self,
        raw: object,
        *,
        read_s: float,
        captured_s: float,
        split: int,
        context: Context,
        encodings: Mapping[str, Encoding] | None,
        padding_bytes: int = 0,
    ) -> None:
        """Prepare; no task has run yet."""
        self._raw = raw
        self._read_s = read_s
        self.captured_s = captured_s
        self.split = split
        self.context = context
        self.run = PipelineRun(values={})
        self.packed: Packed | None = None
        self.encode_s = 0.0
        self._encodings = encodings
        self._padding_bytes = min(padding_bytes, MAX_PADDING_BYTES)

    @property
    def seq(self) -> int:
        """The frame's sequence number."""
        return self.context.seq

    def run_free(self, pipeline: Pipeline, source: BoundSource, bound: BoundPipeline) -> float:
        """Run what needs nothing of other frames, in any thread; return the seconds it took."""
        began_s = time.perf_counter()
        try:
            values = source.frame_values(self._raw)
        except TaskError as error:
            self.run = PipelineRun(values={}, error=error.released())
        else:
            prepared_s = time.perf_counter()
            stop = min(pipeline.first_in_order(1), self.split)
            self.run = self._run(bound, values, start=1, stop=stop)
            self.run.seconds[0] = self._read_s + prepared_s - began_s
            if stop == self.split:
                self._pack(pipeline)
        return time.perf_counter() - began_s

    def run_ordered(self, pipeline: Pipeline, bound: BoundPipeline) -> None:
        """Run the tasks that see frames in order, if the split lies behind any."""
        start = pipeline.first_in_order(1)
        if start < self.split and not self.run.ended:
            seconds, mishaps = self.run.seconds, self.run.mishaps
            self.run = self._run(bound, self.run.values, start=start, stop=self.split)
            self.run.seconds.update(seconds)
            self.run.mishaps.extend(mishaps)
            self._pack(pipeline)

    def ended(self) -> OutcomeRange:
        """Return the outcome of a frame that a task filtered or failed."""
        if (error := self.run.error) is not None:
            outcome, task, reason = Outcome.FAILED, error.task, error.reason
        else:
            outcome, task, reason = Outcome.FILTERED, self.run.filtered_by or "", ""
        return OutcomeRange(first=self.seq, count=1, outcome=outcome, task=task, reason=reason)

    def message(self) -> Frame:
        """Return what goes to the cloud, once ``packed`` is there."""
        assert self.packed is not None, "all of its tasks have run, and its values travel"
        return Frame(
            seq=self.seq,
            split=self.split,
            captured_at=self.context.captured_at,
            tree=self.packed.tree,
            buffers=self.packed.buffers,
            watched=self.context.watched,
            decoded_bytes=self.packed.decoded_bytes,
            padding_bytes=self._padding_bytes,
        )

    @property
    def payload_bytes(self) -> int:
        """What its values take on their way, without what stands in the envelope."""
        return sum(map(len, self.packed.buffers)) if self.packed is not None else 0

    @property
    def saved_bytes(self) -> int:
        """How many bytes less than unencoded its values take on their way."""
        trials = self.packed.trials if self.packed is not None else ()
        return sum(each.raw_bytes - each.travelled_bytes for each in trials)

    def boundary_bytes(self, pipeline: Pipeline) -> dict[int, dict[str, int]]:
        """Return what would travel, unencoded, at each split that the frame passed, by value."""
        passed = max(self.run.seconds, default=0) if self.run.ended else self.split
        watched, values = self.context.watched, self.run.values
        return {
            split: {
                name: raw_bytes(values[name])
                for name in pipeline.live_values(split, watched=watched)
            }
            for split in pipeline.splits
            if split <= passed
        }

    def _run(
        self, bound: BoundPipeline, values: Mapping[str, Value], *, start: int, stop: int
    ) -> PipelineRun:
        return bound.run(
            values, start=start, stop=stop, context=self.context, clock=time.perf_counter
        )

    def _pack(self, pipeline: Pipeline) -> None:
        """Turn the live values into the form in which they travel."""
        run = self.run
        if self._encodings is None or run.ended:
            return
        names = pipeline.live_values(self.split, watched=self.context.watched)
        live = {name: run.values[name] for name in names}
        began_s = time.perf_counter()
        try:
            self.packed = pack(live, encodings=self._encodings, clock=time.perf_counter)
        except PayloadError as error:
            task = _giver_of_what_cannot_cross(pipeline, self.split, live)
            failure = TaskError(task, f"gave a value: {error}")
            self.run = PipelineRun(values=run.values, seconds=run.seconds, error=failure)
        self.encode_s = time.perf_counter() - began_s


def _giver_of_what_cannot_cross(pipeline: Pipeline, split: int, live: Mapping[str, Value]) -> str:
    """Return the name of the task that gave the first value that cannot be packed."""
    for name, value in live.items():
        try:
            pack(value)
        except PayloadError:
            for each in reversed(pipeline.tasks[:split]):
                if name in each.gives:
                    return each.name
    return pipeline.names[split - 1]

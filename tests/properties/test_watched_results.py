"""Whether somebody looks, where the split is and how values travel: no result depends on it.

The pipelines are drawn at random: what their tasks give is computed from all that they take, so
that a single changed byte changes the results of this frame and of all later ones.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from inspect import Parameter, Signature
from typing import Any, Final
from zlib import crc32

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offload.results import pack_result
from offload.values import Value, pack, unpack
from offload.values.encodings import Encoding
from task_interface import (
    FILTER,
    BoundPipeline,
    Context,
    Pipeline,
    PipelineRun,
    Placement,
    source,
    task,
)

FRAMES: Final = 4


class Kind(Enum):
    """What sort of value a task gives."""

    NUMBER = auto()
    NAMED = auto()
    MASK = auto()
    PICTURE = auto()
    CONTOURS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A task of a pipeline that was drawn.

    Attributes:
        kind: Of the value that it gives.
        takes: Names of the values that it takes.
        ignores: Those of them from which it computes nothing: their givers are on demand.
        on_demand: Whether it runs only on frames that somebody watches.
    """

    kind: Kind
    takes: tuple[str, ...]
    ignores: frozenset[str]
    on_demand: bool

    def digest(self, values: Mapping[str, Any]) -> int:
        """Return a number that depends on each byte of what counts."""
        counts = [values[name] for name in self.takes if name not in self.ignores]
        return crc32(pack_result(counts))


@st.composite
def steps(draw: st.DrawFn) -> list[Step]:
    """Draw a source's kind, and some tasks with parameters that tasks before them give."""
    names = ["frame"]
    on_demand_names: set[str] = set()
    drawn = [Step(kind=draw(st.sampled_from(Kind)), takes=(), ignores=frozenset(), on_demand=False)]
    middle = draw(st.integers(1, 4))
    for index in range(middle + 1):
        is_last = index == middle
        on_demand = not is_last and draw(st.booleans())
        drawn.append(
            Step(
                kind=draw(st.sampled_from(Kind)),
                takes=tuple(draw(st.lists(st.sampled_from(names), min_size=1, unique=True))),
                # A task that nobody needs for a result may look at everything.
                ignores=frozenset() if on_demand else frozenset(on_demand_names),
                on_demand=on_demand,
            )
        )
        names.append(f"value_{index}")
        on_demand_names |= {names[-1]} if on_demand else set()
    return drawn


def value_of(kind: Kind, digest: int) -> Value:
    """Return a value of a kind; arrays are too large to travel inside the message's tree."""
    random = np.random.default_rng(digest)
    match kind:
        case Kind.NUMBER:
            return digest
        case Kind.NAMED:
            return {"number": digest, "half": digest / 2, "text": str(digest), "pair": (digest, -1)}
        case Kind.MASK:
            return random.integers(0, 2, (20, 30), np.uint8) * 255
        case Kind.PICTURE:
            return random.integers(0, 256, (16, 24, 3), np.uint8)
        case Kind.CONTOURS:
            return tuple(random.integers(0, 99, (n, 1, 2), np.int32) for n in (3, 70, digest % 5))


def pipeline_of(drawn: Sequence[Step]) -> Pipeline:
    """Build the pipeline; every encoding is permitted to every value."""
    first, *middle, last = drawn

    def frames() -> Iterator[Value]:
        return (value_of(first.kind, seq) for seq in range(FRAMES))

    encodings = ("raw", "packed", "jpeg:30")
    origin = source(gives="frame", encodings=encodings, name="source")(frames)
    tasks = [
        task(
            gives=f"value_{index}",
            encodings=encodings,
            on_demand=each.on_demand,
            name=f"task_{index}",
        )(function_of(each))
        for index, each in enumerate(middle)
    ]
    return Pipeline([origin, *tasks, task(placement=Placement.CLOUD, name="last")(class_of(last))])


def function_of(step: Step) -> Callable[..., object]:
    """Return a task's function; one that counts for results ends some of the frames."""
    signature = Signature([Parameter(each, Parameter.POSITIONAL_OR_KEYWORD) for each in step.takes])

    def function(*arguments: Value, **named: Value) -> object:
        digest = step.digest(signature.bind(*arguments, **named).arguments)
        if not step.on_demand and digest % 11 == 3:
            raise ValueError(f"digest is {digest}")
        if not step.on_demand and digest % 7 == 5:
            return FILTER
        return value_of(step.kind, digest)

    function.__signature__ = signature  # type: ignore[attr-defined]  # as inspect looks for it
    return function


def class_of(step: Step) -> type:
    """Return the last task, whose results depend on all frames before."""
    names = ["self", *step.takes, "context"]
    signature = Signature([Parameter(each, Parameter.POSITIONAL_OR_KEYWORD) for each in names])

    class Last:
        def __init__(self) -> None:
            self.total = 0

        def __call__(self, *arguments: Value, **named: Any) -> Value:
            values = signature.bind(self, *arguments, **named).arguments
            self.total += step.digest(values)
            for name in sorted(step.ignores & set(step.takes)):
                values["context"].show(values[name])
            return {"total": self.total, "value": value_of(step.kind, self.total)}

    Last.__call__.__signature__ = signature  # type: ignore[attr-defined]  # as above
    return Last


def outcome_of(run: PipelineRun) -> tuple[str, bytes]:
    """Return how a frame ended, with its result's bytes as they are stored."""
    if run.error is not None:
        return f"failed: {run.error}", b""
    if run.filtered_by is not None:
        return f"filtered: {run.filtered_by}", b""
    return "result", pack_result(run.result)


def run_part(
    bound: BoundPipeline, values: Mapping[str, Value], start: int, stop: int, context: Context
) -> PipelineRun:
    return bound.run(values, start=start, stop=stop, context=context, clock=lambda: 0.0)


def run_here(pipeline: Pipeline) -> list[tuple[str, bytes]]:
    """Run all frames without a split, while nobody watches."""
    bound, stop = pipeline.bind(), len(pipeline)
    return [
        outcome_of(run_part(bound, values, 1, stop, context_of(seq, watched=False)))
        for seq, values in enumerate(captured(pipeline))
    ]


def run_split(
    pipeline: Pipeline, split: int, *, watched: Sequence[bool], choice: int
) -> list[tuple[str, bytes]]:
    """Run all frames with a device and a cloud; ``choice`` picks among permitted encodings."""
    device, cloud = pipeline.bind(), pipeline.bind()
    outcomes = []
    for seq, values in enumerate(captured(pipeline)):
        context = context_of(seq, watched=watched[seq])
        run = run_part(device, values, 1, split, context)
        if not run.ended:
            live = pipeline.live_values(split, watched=watched[seq])
            permitted = pipeline.encodings(split, watched=watched[seq])
            chosen = {name: permitted[name][choice % len(permitted[name])] for name in live}
            received = travelled({name: run.values[name] for name in live}, chosen)
            run = run_part(cloud, received, split, len(pipeline), context)
        outcomes.append(outcome_of(run))
    return outcomes


def captured(pipeline: Pipeline) -> Iterator[dict[str, Value]]:
    bound = pipeline.source.bind()
    return map(bound.frame_values, bound.open(0))


def travelled(values: dict[str, Value], encodings: Mapping[str, Encoding]) -> dict[str, Value]:
    packed = pack(values, encodings=encodings)
    received = unpack(packed.tree, [memoryview(bytearray(each)) for each in packed.buffers])
    assert isinstance(received, dict)
    return received


def context_of(seq: int, *, watched: bool) -> Context:
    return Context(stream="s", seq=seq, captured_at=0.0, watched=watched)


@given(steps(), st.lists(st.booleans(), min_size=FRAMES, max_size=FRAMES))
def test_results_are_the_same_watched_and_unwatched_at_every_split_in_every_encoding(
    drawn: list[Step], sometimes: list[bool]
) -> None:
    pipeline = pipeline_of(drawn)
    expected = run_here(pipeline)
    for watched in ([False] * FRAMES, [True] * FRAMES, sometimes):
        for split in pipeline.splits:
            for choice in range(3):
                found = run_split(pipeline, split, watched=watched, choice=choice)
                assert found == expected, f"watched {watched}, split {split}, choice {choice}"

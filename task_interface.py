"""What an app author writes: tasks, and the pipeline that they form.

A pipeline is a chain of tasks with named values. The device runs the first *k*, the cloud the rest,
so the pipeline says where each task may run, which values are still needed after any split, and
whether the two ends really hold the same tasks. Pure: no sockets, threads, files or clocks of its
own.

    @source(gives="frame")
    def get_frame(): ...                    # yields frames

    @task(gives="area")
    def measure(frame): ...                 # returns the area, or FILTER to end the frame

    @task(placement=Placement.CLOUD)
    class Total: ...                        # keeps state: one instance per stream, frames in order

    pipeline = Pipeline([get_frame, measure, Total])

The plain form is a list of functions that return ``(to_continue, next_args)``: `Pipeline.plain`.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from typing import Final, cast

from offload.errors import ConfigurationError, LoadingError, TaskError
from offload.values import Value
from offload.values.encodings import PACKED, RAW, Encoding, parse

__all__ = [
    "FILTER",
    "BoundPipeline",
    "BoundSource",
    "Context",
    "LoadingError",
    "Pipeline",
    "PipelineRun",
    "Placement",
    "Source",
    "Task",
    "first_difference",
    "nobody_looks",
    "source",
    "task",
]

Clock = Callable[[], float]
Values = dict[str, Value]

# A task that has a parameter of this name gets the frame's context, not a value.
CONTEXT: Final = "context"

# The one value of a plain pipeline: what the task before returned for the next.
NEXT_ARGS: Final = "next_args"


class Placement(StrEnum):
    """Where a task is allowed to run."""

    DEVICE = "device"
    CLOUD = "cloud"
    ANYWHERE = "anywhere"


class _Filter(Enum):
    FILTER = "filter"


FILTER: Final = _Filter.FILTER
"""What a task returns to end its frame without a result."""


def nobody_looks(picture: object) -> None:
    """Take a picture that nobody asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a task may know of the frame that it works on.

    Attributes:
        stream: Name of the stream.
        seq: The frame's position in its stream, from 0.
        captured_at: Wall clock of the device at capture, in seconds since 1970: a label, never a
            basis for durations.
        watched: Whether somebody looks at this frame; tasks on demand run only then.
        show: Hands a picture (uint8[height, width, 3], BGR) to whoever watches.
    """

    stream: str
    seq: int
    captured_at: float
    watched: bool = False
    show: Callable[[object], None] = nobody_looks


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One step of a pipeline, as declared by `task` or `source`.

    Attributes:
        name: Unique in its pipeline.
        function: The function, or for a stateful task the class whose instances are called.
        parameters: Names of the function's parameters, as the other end must have them too.
        takes: Names of the values that it is called with.
        optional: Those that have a default, which holds where no earlier task gives the value.
        gives: Names of the values that it adds.
        placement: Where it may run.
        stateful: Whether it keeps state, so that it has one instance per stream.
        encodings: How the values that it gives may travel; raw is always possible.
        lossy_results: Whether later tasks may compute results from what a lossy encoding left.
        on_demand: Whether it runs only on frames that somebody watches.
        plain: Whether it returns ``(to_continue, next_args)`` instead of named values.
    """

    name: str
    function: Callable[..., object]
    parameters: tuple[str, ...]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    optional: tuple[str, ...] = ()
    placement: Placement = Placement.ANYWHERE
    stateful: bool = False
    encodings: tuple[Encoding, ...] = (RAW,)
    lossy_results: bool = False
    on_demand: bool = False
    plain: bool = False

    @property
    def survives_restart(self) -> bool:
        """Whether its state, if it keeps any, can be saved and brought back."""
        return not self.stateful or all(
            callable(getattr(self.function, each, None)) for each in ("snapshot", "restore")
        )

    def description(self) -> dict[str, object]:
        """Return what both ends must agree on, as plain values."""
        return {
            "name": self.name,
            "parameters": list(self.parameters),
            "gives": list(self.gives),
            "placement": str(self.placement),
            "stateful": self.stateful,
            "encodings": [str(each) for each in self.encodings],
            "on_demand": self.on_demand,
        }

    def name_values(self, returned: object) -> Values:
        """Return what the task returned under the names that it gives.

        Raises:
            TaskError: It gives several values and returned something else than so many.
        """
        if len(self.gives) == 1:
            return {self.gives[0]: cast("Value", returned)}
        if not self.gives:
            return {}
        if not isinstance(returned, tuple) or len(returned) != len(self.gives):
            found = _type(returned)
            if isinstance(returned, tuple):
                found = f"a tuple of {len(returned)}"
            raise TaskError(self.name, f"returned {found}, expected {', '.join(self.gives)}")
        return dict(zip(self.gives, returned, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source(Task):
    """The first task: it gives the frames.

    ``opener`` is a generator function, or a class or an object with ``open(start_seq)``; see
    `source`.
    """

    opener: object

    def bind(self) -> "BoundSource":
        """Return the source with its instance, if it is a class: what one device reads.

        Raises:
            LoadingError: The instance cannot be made; a user's class may raise anything else, too.
        """
        return BoundSource(self, self.opener() if inspect.isclass(self.opener) else self.opener)


class BoundSource:
    """A source that can be read: the one instance of a class, or an object or function as it is."""

    def __init__(self, declared: Source, opener: object) -> None:
        """Keep the instance; nothing is opened yet."""
        self._declared = declared
        self._opener = opener
        self._prepare = cast("Callable[..., object] | None", getattr(opener, "prepare", None))

    @property
    def live(self) -> bool:
        """Whether frames come whether or not anyone takes them, as from a camera."""
        return bool(getattr(self._opener, "live", False))

    @property
    def rate_fps(self) -> float | None:
        """The rate at which the source wants to be read; None as fast as it is asked."""
        return cast("float | None", getattr(self._opener, "rate_fps", None))

    @property
    def frame_count(self) -> int | None:
        """How many frames the source has in all; None if nobody knows."""
        return cast("int | None", getattr(self._opener, "frame_count", None))

    def open(self, start_seq: int) -> Iterator[object]:
        """Yield the frames as the source gives them, from frame ``start_seq`` on if it can seek.

        A source without ``open`` starts anew; its frames are then numbered from ``start_seq``. It
        may be opened again, even while an earlier iterator hangs in another thread.

        Raises:
            LoadingError: The source cannot be opened, or never gave a frame.
            TaskError: A plain source returned what it may not.
        """
        if self._declared.plain:
            return self._plain_frames()
        seekable = getattr(self._opener, "open", None)
        if seekable is not None:
            return iter(seekable(start_seq))
        return iter(cast("Callable[[], Iterator[object]]", self._opener)())

    def frame_values(self, raw: object) -> Values:
        """Prepare one frame that `open` gave, and return its values by name.

        Several threads may do so at once, for frames in any order.

        Raises:
            TaskError: ``prepare`` raised, in which case that is its ``__cause__``; or the values
                are not as many as the source gives.
        """
        if self._prepare is None:
            return self._declared.name_values(raw)
        try:
            prepared = self._prepare(*raw) if isinstance(raw, tuple) else self._prepare(raw)
        # An app's source may raise anything at all; it fails its frame, never the stream.
        except (Exception, SystemExit) as error:
            raise _task_error(self._declared.name, error) from error
        return self._declared.name_values(prepared)

    def _plain_frames(self) -> Iterator[object]:
        name, function = self._declared.name, self._declared.function
        while (next_args := _read_plain(name, function())) is not FILTER:
            yield next_args


def task(
    *,
    gives: str | Sequence[str] = (),
    placement: Placement = Placement.ANYWHERE,
    encodings: Sequence[str] = ("raw",),
    lossy_results: bool = False,
    on_demand: bool = False,
    name: str | None = None,
) -> Callable[[Callable[..., object]], Task]:
    """Declare a function, or a class whose instances are called, as a task.

    The parameters name the values that it takes; one with a default may name a value that no
    earlier task gives. It returns the value that it gives (a tuple if it
    gives several), or `FILTER` to end the frame; what the last task returns is the frame's result.
    A class keeps state: one instance per stream sees the frames in order, so it needs a placement.
    With ``snapshot()``, which returns a value that later frames do not change, and
    ``restore(state)`` its state survives a restart of the server.

    Args:
        gives: Name or names of the values that it adds.
        placement: Where it may run.
        encodings: How these values may travel: ``"raw"``; ``"packed"``, masks as bits, nothing is
            lost; ``"jpeg"`` or, with a quality from 1 to 100, ``"jpeg:90"``, for pictures. JPEG is
            used only where no result is computed from what arrives.
        lossy_results: Use it for these values even if results are computed from them.
        on_demand: Run it only on frames that somebody watches; elsewhere its values are None, as
            they are where it raises or returns `FILTER`: a frame's outcome never depends on it.
        name: Its name, if not the function's.

    Raises:
        ConfigurationError: The declaration contradicts itself.
    """

    def declare(function: Callable[..., object]) -> Task:
        called = name or function.__name__
        parameters = _parameters(called, function)
        takes = [each for each in parameters if each.name != CONTEXT]
        return Task(
            name=called,
            function=function,
            parameters=tuple(each.name for each in parameters),
            takes=tuple(each.name for each in takes),
            gives=_names(gives),
            optional=tuple(each.name for each in takes if each.default is not each.empty),
            placement=placement,
            stateful=inspect.isclass(function),
            encodings=_encodings(called, encodings),
            lossy_results=lossy_results,
            on_demand=on_demand,
        )

    return declare


def source(
    *,
    gives: str | Sequence[str],
    encodings: Sequence[str] = ("raw",),
    lossy_results: bool = False,
    name: str | None = None,
) -> Callable[[object], Source]:
    """Declare the first task: a generator function, or a class or object with ``open(start_seq)``.

    ``open`` returns an iterator over frames that starts at frame ``start_seq``, so that a stream
    can be resumed. Several frames are held at a time, so each needs memory of its own. A live
    source that hangs is opened again on the same object. Two attributes are optional: ``live``,
    true where frames come unasked (a camera), and ``rate_fps``, the rate at which it wants to be
    read.

    Work on each frame that needs nothing of the others (a resize) belongs into an optional method
    ``prepare``: the device runs it for several frames at once, on threads of its own. It is called
    with what ``open`` yields, a tuple spread over its parameters, and returns what ``gives``
    names. Without it ``open`` itself yields that::

        def open(self, start_seq):
            yield picture, time_s

        def prepare(self, picture, time_s):             # gives=("frame", "time_s")
            return cv2.resize(picture, (500, 281)), time_s

    Args:
        gives: Name or names of the values that a frame starts with.
        encodings: How these values may travel, as in `task`.
        lossy_results: As in `task`.
        name: Its name, if not the function's or the class's.

    Raises:
        ConfigurationError: An encoding is none that there is.
    """

    def declare(opener: object) -> Source:
        called = name or cast("str", getattr(opener, "__name__", type(opener).__name__))
        return Source(
            name=called,
            function=_never_called,
            opener=opener,
            parameters=(),
            takes=(),
            gives=_names(gives),
            placement=Placement.DEVICE,
            encodings=_encodings(called, encodings),
            lossy_results=lossy_results,
        )

    return declare


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineRun:
    """What running some tasks on one frame brought.

    Attributes:
        values: All named values so far; if the last task ran, unchanged by it.
        result: What the last task returned; None unless it ran.
        filtered_by: Name of the task that ended the frame, if one did.
        error: The task that raised, if one did; the original exception is its ``__cause__``.
        seconds: Index of each task that ran, from 0, and its seconds.
        mishaps: What tasks on demand raised. It costs the frame nothing: whether somebody looks
            must not change its outcome.
    """

    values: Values
    result: Value = None
    filtered_by: str | None = None
    error: TaskError | None = None
    seconds: dict[int, float] = field(default_factory=dict)
    mishaps: list[TaskError] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether a task filtered or failed the frame."""
        return self.filtered_by is not None or self.error is not None


class Pipeline:
    """An ordered chain of tasks that has checked itself.

    Args:
        tasks: First a `Source`, then at least one `Task`.
        one_at_a_time: Whether the tasks may share globals, so that a server must run them one frame
            at a time over all its streams.

    Raises:
        ConfigurationError: Fewer than two tasks, a name twice, a value that no earlier task gives,
            a stateful task that is not pinned, a last task on demand, or placements that leave no
            split.
    """

    # A type checker takes a class under @task or @source for that class, though it is a `Task`.
    def __init__(self, tasks: Sequence[Task | type], *, one_at_a_time: bool = False) -> None:
        """Check the tasks and keep them."""
        self.tasks = _linked(_with_ends_pinned(tasks))
        self.names = tuple(each.name for each in self.tasks)
        self.one_at_a_time = one_at_a_time
        self.splits = _movable_range(self.tasks)
        self._first_in_order = _first_in_order(self.tasks, one_at_a_time=one_at_a_time)
        # Both are asked for every frame; keys are a split and whether the frame is watched.
        self._live: dict[tuple[int, bool], tuple[str, ...]] = {}
        self._encodings: dict[tuple[int, bool], Mapping[str, tuple[Encoding, ...]]] = {}

    @classmethod
    def plain(cls, functions: Sequence[Callable[..., object]], *, stateless: bool) -> "Pipeline":
        """Make a pipeline of functions that return ``(to_continue, next_args)``.

        Args:
            functions: The first gives the frames: it is called without arguments until it returns
                ``(False, _)`` or False. Each other is called with the ``next_args`` of the one
                before: a tuple is spread over its parameters.
            stateless: Whether frames may run at the same time and in any order.
        """
        tasks = [_plain_task(function) for function in functions]
        if functions:
            tasks[0] = _plain_source(functions[0])
        return cls(tasks, one_at_a_time=not stateless)

    def __len__(self) -> int:
        """Return the number of tasks."""
        return len(self.tasks)

    @property
    def source(self) -> Source:
        """The first task."""
        return cast("Source", self.tasks[0])

    @property
    def forgetful(self) -> tuple[str, ...]:
        """Names of the cloud's stateful tasks whose state does not survive a restart."""
        return tuple(
            each.name
            for each in self.tasks
            if each.placement is Placement.CLOUD and not each.survives_restart
        )

    def fingerprint(self) -> list[object]:
        """Return one plain description per task, for `first_difference`."""
        return [each.description() for each in self.tasks]

    def live_values(self, split: int, *, watched: bool = False) -> tuple[str, ...]:
        """Return the names of the values that any task after ``split`` still takes, sorted.

        On unwatched frames the tasks on demand do not run, so what only they take is not live.
        """
        known = self._live.get((split, watched))
        if known is None:
            live: set[str] = set()
            for each in reversed(_running(self.tasks[split:], watched=watched)):
                live = (live - set(each.gives)) | set(each.takes)
            before = _running(self.tasks[:split], watched=watched)
            given = {name for each in before for name in each.gives}
            known = self._live[split, watched] = tuple(sorted(live & given))
        return known

    def encodings(self, split: int, *, watched: bool = False) -> Mapping[str, tuple[Encoding, ...]]:
        """Return how each live value may travel at ``split``, by its name.

        A lossy encoding is among them only if no result can come to depend on it: all later tasks
        that take the value run on demand, or its giver does; or its giver permits it all the same.
        """
        permitted = self._encodings.get((split, watched))
        if permitted is None:
            before = _running(self.tasks[:split], watched=watched)
            after = _running(self.tasks[split:], watched=watched)
            permitted = {
                name: _permitted(name, before, after)
                for name in self.live_values(split, watched=watched)
            }
            self._encodings[split, watched] = permitted
        return permitted

    @property
    def permits_lossy(self) -> bool:
        """Whether any value at any split may travel in a lossy encoding."""
        return any(
            each.is_lossy
            for split in self.splits
            for watched in (False, True)
            for permitted in self.encodings(split, watched=watched).values()
            for each in permitted
        )

    def first_in_order(self, start: int) -> int:
        """Return the first task from ``start`` on that must see its frames in order."""
        return self._first_in_order[start]

    def bind(self) -> "BoundPipeline":
        """Return the pipeline with an instance of each stateful task, for one stream."""
        return BoundPipeline(self)


class BoundPipeline:
    """A pipeline with its own instance of each stateful task: what one stream runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Make the instances lazily: a side never makes those of the other."""
        self._pipeline = pipeline
        self._steps = tuple(_Step(index, each) for index, each in enumerate(pipeline.tasks))
        self._absent_on_demand: Values = {
            name: None for each in pipeline.tasks if each.on_demand for name in each.gives
        }

    def run(
        self, values: Mapping[str, Value], *, start: int, stop: int, context: Context, clock: Clock
    ) -> PipelineRun:
        """Run ``tasks[start:stop]`` on one frame and time each task.

        Args:
            values: The named values that are live after task ``start - 1``. Not modified.
            start: First task to run, ``1 <= start <= stop``: the source runs by `BoundSource`.
            stop: One past the last task, ``stop <= len(pipeline)``. If equal to ``start``, nothing
                runs.
            context: The frame's stream, sequence number and capture time.
            clock: Monotonic seconds. Only differences are used.

        Raises:
            ValueError: ``start`` or ``stop`` is out of range.
        """
        if not 1 <= start <= stop <= len(self._pipeline):
            raise ValueError(f"tasks {start} to {stop}, expected 1 to {len(self._pipeline)}")
        known: Values = {**self._absent_on_demand, **values}
        seconds: dict[int, float] = {}
        mishaps: list[TaskError] = []
        result: object = None
        began = clock()
        for step in self._steps[start:stop]:
            if step.on_demand and not context.watched:
                continue
            try:
                result = step.run(known, context)
            # An app's task may raise anything at all; it fails its frame, never the stream.
            except (Exception, SystemExit) as error:  # noqa: BLE001
                seconds[step.index] = clock() - began
                failure = _task_error(step.task.name, error)
                if not step.on_demand:
                    return PipelineRun(
                        values=known, seconds=seconds, mishaps=mishaps, error=failure
                    )
                mishaps.append(failure)
                began = clock()
                continue
            # The end of one task is the beginning of the next: half as many looks at the clock.
            now = clock()
            seconds[step.index] = now - began
            began = now
            if result is FILTER and not step.on_demand:
                return PipelineRun(
                    values=known, seconds=seconds, mishaps=mishaps, filtered_by=step.task.name
                )
        if stop < len(self._pipeline):
            result = None
        return PipelineRun(
            values=known, seconds=seconds, mishaps=mishaps, result=cast("Value", result)
        )

    def snapshot(self) -> dict[str, Value] | None:
        """Return the state of all stateful cloud tasks that offer it, or None if none does.

        Raises:
            TaskError: A task's ``snapshot`` raised.
        """
        states: dict[str, Value] = {}
        for step in self._steps:
            each = step.task
            # What never ran has no state.
            if step.keeps_state and step.has_instance and each.placement is Placement.CLOUD:
                try:
                    states[each.name] = step.instance.snapshot()  # type: ignore[attr-defined]  # checked
                except Exception as error:
                    raise _task_error(each.name, error) from error
        return states or None

    def restore(self, states: Mapping[str, Value]) -> None:
        """Bring back what `snapshot` returned; tasks that are no more are ignored.

        Raises:
            TaskError: A task's ``restore`` raised.
        """
        for step in self._steps:
            each = step.task
            if step.keeps_state and each.name in states:
                try:
                    step.instance.restore(states[each.name])  # type: ignore[attr-defined]  # checked
                except Exception as error:
                    raise _task_error(each.name, error) from error


class _Step:
    """One task made ready to be called, frame after frame, for one stream."""

    __slots__ = (
        "_arguments",
        "_function",
        "_gives",
        "index",
        "keeps_state",
        "on_demand",
        "task",
    )

    def __init__(self, index: int, task: Task) -> None:
        self.index = index
        self.task = task
        self.on_demand = task.on_demand
        self.keeps_state = task.stateful and task.survives_restart
        self._function = None if task.stateful else task.function
        # Arguments by position cost half of those by name, where the two are the same.
        same = task.parameters == task.takes and not _has_keyword_only(task.function)
        self._arguments = task.takes if same and not task.plain else None
        self._gives = task.gives[0] if len(task.gives) == 1 else None

    def run(self, known: Values, context: Context) -> object:
        """Call the task with what it takes of ``known``, add what it gives, return its answer."""
        function = self._function or self.instance
        returned: object
        if self._arguments is not None:
            returned = function(*[known[name] for name in self._arguments])
        else:
            returned = self._call_by_name(function, known, context)
        if returned is FILTER:
            return returned
        if self._gives is not None:
            known[self._gives] = cast("Value", returned)
        else:
            known.update(self.task.name_values(returned))
        return returned

    def _call_by_name(
        self, function: Callable[..., object], known: Values, context: Context
    ) -> object:
        task = self.task
        if task.plain:
            return _read_plain(task.name, _call_plain(task, known[NEXT_ARGS]))
        arguments: dict[str, object] = {name: known[name] for name in task.takes}
        if CONTEXT in task.parameters:
            arguments[CONTEXT] = context
        return function(**arguments)

    @property
    def has_instance(self) -> bool:
        """Whether a stateful task has its instance already."""
        return self._function is not None

    @property
    def instance(self) -> Callable[..., object]:
        """The stateful task's instance, made when it is needed: a side never makes the other's."""
        if self._function is None:
            self._function = cast("Callable[..., object]", self.task.function())
        return self._function


def first_difference(device: Sequence[object], cloud: Sequence[object]) -> str | None:
    """Say where two fingerprints differ first, in words for the user, or None if they agree.

    Both may come from a peer, so nothing about their shape is trusted.
    """
    for number, (ours, theirs) in enumerate(zip(device, cloud, strict=False), start=1):
        if ours == theirs:
            continue
        if not (isinstance(ours, dict) and isinstance(theirs, dict)):
            return f"task {number} is not described as expected"
        for key in ("name", *sorted(theirs.keys() | ours.keys(), key=str)):
            if ours.get(key) != theirs.get(key):
                of = "" if key == "name" else f" {theirs.get('name')!r}"
                return (
                    f"task {number}{of} has {key} {ours.get(key)!r} on the device "
                    f"and {theirs.get(key)!r} in the cloud"
                )
    if len(device) != len(cloud):
        return f"the device has {len(device)} tasks and the cloud {len(cloud)}"
    return None


def _plain_task(function: Callable[..., object]) -> Task:
    return Task(
        name=_plain_name(function),
        function=function,
        parameters=tuple(inspect.signature(function).parameters),
        takes=(NEXT_ARGS,),
        gives=(NEXT_ARGS,),
        encodings=(RAW, PACKED),
        plain=True,
    )


def _plain_source(function: Callable[..., object]) -> Source:
    return Source(
        name=_plain_name(function),
        function=function,
        opener=function,
        parameters=(),
        takes=(),
        gives=(NEXT_ARGS,),
        encodings=(RAW, PACKED),
        plain=True,
    )


def _plain_name(function: object) -> str:
    if not callable(function):
        raise ConfigurationError(f"list of tasks holds {_type(function)}, expected functions")
    return cast("str", getattr(function, "__name__", type(function).__name__))


def _call_plain(each: Task, next_args: Value) -> object:
    if isinstance(next_args, tuple):
        return each.function(*next_args)
    # None says "nothing to hand on", so a function without parameters may follow; one that has a
    # parameter gets the None.
    if next_args is None and not each.parameters:
        return each.function()
    return each.function(next_args)


def _read_plain(name: str, returned: object) -> Value | _Filter:
    if returned is False:
        return FILTER
    if isinstance(returned, tuple) and len(returned) == 2:
        to_continue, next_args = returned
        return cast("Value", next_args) if to_continue else FILTER
    raise TaskError(name, f"returned {_type(returned)}, expected (to_continue, next_args)")


def _task_error(name: str, error: BaseException) -> TaskError:
    if isinstance(error, TaskError):
        return error.released()
    wrapped = TaskError(name, f"raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped.released()


def _with_ends_pinned(declared: Sequence[Task | type]) -> tuple[Task, ...]:
    """Return the tasks with the first one pinned to the device and the last one to the cloud."""
    tasks: list[Task] = []
    for each in declared:
        if not isinstance(each, Task):
            raise ConfigurationError(
                f"pipeline holds {_type(each)}, expected tasks made by @source and @task"
            )
        tasks.append(each)
    if len(tasks) < 2:
        raise ConfigurationError(f"pipeline has {len(tasks)} tasks, expected at least two")
    if not isinstance(tasks[0], Source):
        raise ConfigurationError(
            f"first task {tasks[0].name!r} is no source: declare it by @source"
        )
    names = [each.name for each in tasks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"pipeline has two tasks with the name {name!r}")
    for each in tasks[1:-1]:
        if each.stateful and each.placement is Placement.ANYWHERE:
            raise ConfigurationError(
                f"task {each.name!r} keeps state, expected placement DEVICE or CLOUD"
            )
    if tasks[-1].on_demand:
        raise ConfigurationError(
            f"last task {tasks[-1].name!r} gives the result, so it cannot run on demand"
        )
    return (_pin(tasks[0], Placement.DEVICE), *tasks[1:-1], _pin(tasks[-1], Placement.CLOUD))


def _pin(each: Task, placement: Placement) -> Task:
    if each.placement not in (placement, Placement.ANYWHERE):
        which = "first" if placement is Placement.DEVICE else "last"
        raise ConfigurationError(
            f"{which} task {each.name!r} has placement {each.placement}, expected {placement}"
        )
    return replace(each, placement=placement)


def _linked(tasks: Sequence[Task]) -> tuple[Task, ...]:
    """Return the tasks without those optional values that nobody gives."""
    given: set[str] = set()
    linked: list[Task] = []
    for each in tasks:
        for name in each.takes:
            if name not in given and name not in each.optional:
                raise ConfigurationError(
                    f"task {each.name!r} takes {name!r}, which no task before it gives"
                )
        linked.append(replace(each, takes=tuple(name for name in each.takes if name in given)))
        given |= set(each.gives)
    return tuple(linked)


def _movable_range(tasks: Sequence[Task]) -> range:
    """Return the splits that no placement forbids."""
    lowest = max(i for i, each in enumerate(tasks) if each.placement is Placement.DEVICE) + 1
    highest = min(i for i, each in enumerate(tasks) if each.placement is Placement.CLOUD)
    if lowest > highest:
        raise ConfigurationError(
            f"task {tasks[lowest - 1].name!r} must run on the device, but {tasks[highest].name!r} "
            "before it must run in the cloud"
        )
    return range(lowest, highest + 1)


def _first_in_order(tasks: Sequence[Task], *, one_at_a_time: bool) -> tuple[int, ...]:
    """Return for every start, the end of the pipeline among them, the first task in order."""
    first = len(tasks)
    firsts = [first]
    for index in reversed(range(len(tasks))):
        if one_at_a_time or tasks[index].stateful:
            first = index
        firsts.append(first)
    return tuple(reversed(firsts))


def _running(tasks: Sequence[Task], *, watched: bool) -> list[Task]:
    return [each for each in tasks if watched or not each.on_demand]


def _permitted(name: str, before: Sequence[Task], after: Sequence[Task]) -> tuple[Encoding, ...]:
    """Return how the value may travel between two parts of the tasks that run."""
    giver = next(each for each in reversed(before) if name in each.gives)
    takers: list[Task] = []
    for each in after:
        if name in each.takes:
            takers.append(each)
        if name in each.gives:
            break
    lossy = giver.lossy_results or giver.on_demand or all(each.on_demand for each in takers)
    return tuple(each for each in giver.encodings if lossy or not each.is_lossy)


def _parameters(name: str, function: Callable[..., object]) -> list[inspect.Parameter]:
    called, first = function, 0
    if inspect.isclass(function):
        # Every class can be called, to make an instance; what counts is whether those can be.
        if not any("__call__" in vars(each) for each in inspect.getmro(function)):
            raise ConfigurationError(f"task {name!r} is a class without __call__")
        called, first = function.__call__, 1
    parameters = list(inspect.signature(called).parameters.values())[first:]
    for each in parameters:
        if each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD, each.POSITIONAL_ONLY):
            raise ConfigurationError(f"task {name!r} has parameter {each}, expected named ones")
    return parameters


def _has_keyword_only(function: Callable[..., object]) -> bool:
    called = function.__call__ if inspect.isclass(function) else function
    kinds = [each.kind for each in inspect.signature(called).parameters.values()]
    return inspect.Parameter.KEYWORD_ONLY in kinds


def _names(gives: str | Sequence[str]) -> tuple[str, ...]:
    return (gives,) if isinstance(gives, str) else tuple(gives)


def _encodings(name: str, encodings: Sequence[str]) -> tuple[Encoding, ...]:
    if isinstance(encodings, str):
        raise ConfigurationError(f"task {name!r} has encodings {encodings!r}, expected a tuple")
    try:
        return tuple(parse(each) for each in encodings)
    except ConfigurationError as error:
        raise ConfigurationError(f"task {name!r} permits an {error}") from error


def _never_called() -> None:
    raise AssertionError("a source is opened, not called")


def _type(value: object) -> str:
    return type(value).__name__

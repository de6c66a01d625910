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

__all__ = [
    "FILTER",
    "BoundPipeline",
    "Context",
    "LoadingError",
    "Pipeline",
    "PipelineRun",
    "Placement",
    "Source",
    "Task",
    "first_difference",
    "source",
    "task",
]

Clock = Callable[[], float]
Values = dict[str, Value]

# The ways a value may travel that an app can permit; raw is always possible.
ENCODINGS: Final = ("raw", "packed", "jpeg")

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


def _nobody_looks(picture: object) -> None:
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
    show: Callable[[object], None] = _nobody_looks


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
        encodings: How the values that it gives may travel.
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
    encodings: tuple[str, ...] = ("raw",)
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
            "encodings": list(self.encodings),
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

    ``opener`` is a generator function, or a class or an object with ``open(start_seq)``.
    """

    opener: object

    @property
    def live(self) -> bool:
        """Whether frames come whether or not anyone takes them, as from a camera."""
        return bool(getattr(self.opener, "live", False))

    @property
    def rate_fps(self) -> float | None:
        """The rate at which the source wants to be read; None as fast as it is asked."""
        return cast("float | None", getattr(self.opener, "rate_fps", None))

    def open(self, start_seq: int) -> Iterator[Values]:
        """Yield each frame's values, from frame ``start_seq`` on if the source can seek.

        A source without ``open`` starts anew; its frames are then numbered from ``start_seq``.

        Raises:
            LoadingError: The source cannot be opened, or never gave a frame.
            TaskError: It returned what a source may not.
        """
        if self.plain:
            return self._plain_frames()
        return map(self.name_values, self._open(start_seq))

    def _open(self, start_seq: int) -> Iterator[object]:
        opener = self.opener() if inspect.isclass(self.opener) else self.opener
        seekable = getattr(opener, "open", None)
        if seekable is not None:
            return iter(seekable(start_seq))
        return iter(cast("Callable[[], Iterator[object]]", opener)())

    def _plain_frames(self) -> Iterator[Values]:
        while (next_args := _read_plain(self.name, self.function())) is not FILTER:
            yield {NEXT_ARGS: next_args}


def task(
    *,
    gives: str | Sequence[str] = (),
    placement: Placement = Placement.ANYWHERE,
    encodings: Sequence[str] = ("raw",),
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
        encodings: How these values may travel, of `ENCODINGS`.
        on_demand: Run it only on frames that somebody watches; elsewhere its values are None.
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
            on_demand=on_demand,
        )

    return declare


def source(
    *,
    gives: str | Sequence[str],
    encodings: Sequence[str] = ("raw",),
    name: str | None = None,
) -> Callable[[object], Source]:
    """Declare the first task: a generator function, or a class or object with ``open(start_seq)``.

    ``open`` returns an iterator over frames that starts at frame ``start_seq``, so that a stream
    can be resumed. Two attributes are optional: ``live``, true where frames come unasked (a
    camera), and ``rate_fps``, the rate at which it wants to be read.
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
    """

    values: Values
    result: Value = None
    filtered_by: str | None = None
    error: TaskError | None = None
    seconds: dict[int, float] = field(default_factory=dict)

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
        self.one_at_a_time = one_at_a_time
        self.splits = _movable_range(self.tasks)

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
    def names(self) -> tuple[str, ...]:
        """The tasks' names in order."""
        return tuple(each.name for each in self.tasks)

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

        def running(tasks: Sequence[Task]) -> list[Task]:
            return [each for each in tasks if watched or not each.on_demand]

        live: set[str] = set()
        for each in reversed(running(self.tasks[split:])):
            live = (live - set(each.gives)) | set(each.takes)
        given = {name for each in running(self.tasks[:split]) for name in each.gives}
        return tuple(sorted(live & given))

    def first_in_order(self, start: int) -> int:
        """Return the first task from ``start`` on that must see its frames in order."""
        if self.one_at_a_time:
            return start
        later = range(start, len(self))
        return next((index for index in later if self.tasks[index].stateful), len(self))

    def bind(self) -> "BoundPipeline":
        """Return the pipeline with an instance of each stateful task, for one stream."""
        return BoundPipeline(self)


class BoundPipeline:
    """A pipeline with its own instance of each stateful task: what one stream runs."""

    def __init__(self, pipeline: Pipeline) -> None:
        """Make the instances lazily: a side never makes those of the other."""
        self._pipeline = pipeline
        self._instances: dict[int, Callable[..., object]] = {}
        self._absent_on_demand: Values = {
            name: None for each in pipeline.tasks if each.on_demand for name in each.gives
        }

    def run(
        self, values: Mapping[str, Value], *, start: int, stop: int, context: Context, clock: Clock
    ) -> PipelineRun:
        """Run ``tasks[start:stop]`` on one frame and time each task.

        Args:
            values: The named values that are live after task ``start - 1``. Not modified.
            start: First task to run, ``1 <= start <= stop``: the source runs by `Source.open`.
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
        result: Value = None
        for index in range(start, stop):
            each = self._pipeline.tasks[index]
            if each.on_demand and not context.watched:
                continue
            began = clock()
            try:
                returned = self._call(index, each, known, context)
                given = {} if returned is FILTER else each.name_values(returned)
            # An app's task may raise anything at all; it fails its frame, never the stream.
            except (Exception, SystemExit) as error:  # noqa: BLE001
                seconds[index] = clock() - began
                return PipelineRun(
                    values=known, seconds=seconds, error=_task_error(each.name, error)
                )
            seconds[index] = clock() - began
            if returned is FILTER:
                return PipelineRun(values=known, seconds=seconds, filtered_by=each.name)
            known.update(given)
            result = cast("Value", returned)
        finished = stop == len(self._pipeline)
        return PipelineRun(values=known, seconds=seconds, result=result if finished else None)

    def snapshot(self) -> dict[str, Value] | None:
        """Return the state of all stateful cloud tasks that offer it, or None if none does.

        Raises:
            TaskError: A task's ``snapshot`` raised.
        """
        states: dict[str, Value] = {}
        for index, instance in self._instances.items():
            each = self._pipeline.tasks[index]
            if each.placement is Placement.CLOUD and each.survives_restart:
                try:
                    states[each.name] = instance.snapshot()  # type: ignore[attr-defined]  # checked
                except Exception as error:
                    raise _task_error(each.name, error) from error
        return states or None

    def restore(self, states: Mapping[str, Value]) -> None:
        """Bring back what `snapshot` returned; tasks that are no more are ignored.

        Raises:
            TaskError: A task's ``restore`` raised.
        """
        for index, each in enumerate(self._pipeline.tasks):
            if each.stateful and each.survives_restart and each.name in states:
                try:
                    self._instance(index, each).restore(states[each.name])  # type: ignore[attr-defined]  # checked
                except Exception as error:
                    raise _task_error(each.name, error) from error

    def _call(self, index: int, each: Task, values: Values, context: Context) -> object:
        if each.plain:
            return _read_plain(each.name, _call_plain(each, values[NEXT_ARGS]))
        arguments: dict[str, object] = {name: values[name] for name in each.takes}
        if CONTEXT in each.parameters:
            arguments[CONTEXT] = context
        function = self._instance(index, each) if each.stateful else each.function
        return function(**arguments)

    def _instance(self, index: int, each: Task) -> Callable[..., object]:
        if index not in self._instances:
            self._instances[index] = cast("Callable[..., object]", each.function())
        return self._instances[index]


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
        return error
    wrapped = TaskError(name, f"raised {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped


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


def _names(gives: str | Sequence[str]) -> tuple[str, ...]:
    return (gives,) if isinstance(gives, str) else tuple(gives)


def _encodings(name: str, encodings: Sequence[str]) -> tuple[str, ...]:
    for each in encodings:
        if each not in ENCODINGS:
            raise ConfigurationError(
                f"task {name!r} permits encoding {each!r}, expected some of {', '.join(ENCODINGS)}"
            )
    return tuple(encodings)


def _never_called() -> None:
    raise AssertionError("a source is opened, not called")


def _type(value: object) -> str:
    return type(value).__name__

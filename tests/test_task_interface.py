"""The app author's side: declaring tasks, checking a pipeline, running a part of it."""

import gc
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from offload.errors import ConfigurationError, TaskError
from offload.values import Value
from offload.values.encodings import PACKED, RAW, parse
from task_interface import (
    FILTER,
    Context,
    Pipeline,
    PipelineRun,
    Placement,
    Source,
    Task,
    first_difference,
    source,
    task,
)


@source(gives="number")
def count() -> Iterator[int]:
    yield from range(3)


@task(gives="double")
def twice(number: int) -> int:
    return 2 * number


@task(gives=("low", "high"))
def spread(double: int) -> tuple[int, int]:
    return double - 1, double + 1


@task()
def finish(low: int, high: int) -> dict[str, int]:
    return {"low": low, "high": high}


@task()
def pass_on(number: int) -> int:
    return number


class Total:
    def __init__(self) -> None:
        self.total = 0

    def __call__(self, number: int) -> int:
        self.total += number
        return self.total


class KeptTotal(Total):
    def snapshot(self) -> int:
        return self.total

    def restore(self, state: int) -> None:
        self.total = state


class Ticks:
    """A clock that is one second later each time it is read."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def context(*, watched: bool = False, seq: int = 0) -> Context:
    return Context(stream="s", seq=seq, captured_at=1.5, watched=watched)


def run(
    pipeline: Pipeline,
    values: dict[str, Value],
    *,
    start: int = 1,
    stop: int | None = None,
    frame: Context | None = None,
) -> PipelineRun:
    return pipeline.bind().run(
        values,
        start=start,
        stop=len(pipeline) if stop is None else stop,
        context=frame or context(),
        clock=Ticks(),
    )


def chain(*tasks: Task) -> Pipeline:
    return Pipeline([count, *tasks])


@pytest.fixture
def pipeline() -> Pipeline:
    return chain(twice, spread, finish)


# A pipeline checks itself


@pytest.mark.parametrize("tasks", [[], [count]])
def test_a_pipeline_has_at_least_two_tasks(tasks: list[Task]) -> None:
    with pytest.raises(ConfigurationError, match=f"has {len(tasks)} tasks, expected at least two"):
        Pipeline(tasks)


def test_a_name_is_given_to_one_task_only() -> None:
    with pytest.raises(ConfigurationError, match="two tasks with the name 'twice'"):
        chain(twice, twice, pass_on)


def test_a_function_without_declaration_is_no_task() -> None:
    with pytest.raises(ConfigurationError, match="holds function, expected tasks made by @source"):
        Pipeline([count, lambda: 1])  # type: ignore[list-item]  # what the test is about


def test_the_first_task_is_a_source() -> None:
    with pytest.raises(ConfigurationError, match="first task 'twice' is no source"):
        Pipeline([twice, pass_on])


def test_the_ends_are_pinned_to_the_device_and_the_cloud(pipeline: Pipeline) -> None:
    placements = [each.placement for each in pipeline.tasks]
    anywhere = Placement.ANYWHERE
    assert placements == [Placement.DEVICE, anywhere, anywhere, Placement.CLOUD]


def test_the_last_task_cannot_be_placed_on_the_device() -> None:
    last = task(placement=Placement.DEVICE)(lambda number: number)
    with pytest.raises(ConfigurationError, match="last task '<lambda>' has placement device"):
        chain(last)


def test_the_last_task_cannot_run_on_demand() -> None:
    with pytest.raises(ConfigurationError, match="gives the result, so it cannot run on demand"):
        chain(twice, task(on_demand=True, name="last")(lambda number: number))


def test_a_task_in_the_middle_that_keeps_state_is_pinned_by_its_author() -> None:
    with pytest.raises(ConfigurationError, match="'Total' keeps state, expected placement"):
        chain(task()(Total), pass_on)


def test_a_task_at_the_end_that_keeps_state_is_pinned_by_its_place() -> None:
    assert chain(twice, task()(Total)).tasks[-1].placement is Placement.CLOUD


def test_a_value_must_come_from_an_earlier_task() -> None:
    with pytest.raises(ConfigurationError, match="'spread' takes 'double', which no task before"):
        chain(spread, twice, finish)


def test_a_parameter_that_stands_for_many_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"has parameter \*everything"):
        task(name="t")(lambda *everything: everything)


def test_a_class_whose_instances_cannot_be_called_is_no_task() -> None:
    class Still:
        pass

    with pytest.raises(ConfigurationError, match="'Still' is a class without __call__"):
        task()(Still)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'<lambda>' permits an unknown encoding 'zip'"):
        task(encodings=("raw", "zip"))(lambda number: number)


def test_encodings_are_a_tuple_even_if_there_is_one() -> None:
    with pytest.raises(ConfigurationError, match="has encodings 'packed', expected a tuple"):
        task(encodings="packed")(lambda number: number)


# Where the split may move


def test_without_placements_the_split_is_anywhere_between_the_ends(pipeline: Pipeline) -> None:
    assert pipeline.splits == range(1, 4)


def test_placements_narrow_the_movable_range() -> None:
    here = task(name="here", placement=Placement.DEVICE)(lambda number: number)
    there = task(name="there", placement=Placement.CLOUD)(lambda number: number)
    assert chain(here, twice, there, pass_on).splits == range(2, 4)
    assert chain(here, there, pass_on).splits == range(2, 3)


def test_a_device_task_behind_a_cloud_task_leaves_no_split() -> None:
    here = task(name="here", placement=Placement.DEVICE)(lambda number: number)
    there = task(name="there", placement=Placement.CLOUD)(lambda number: number)
    with pytest.raises(ConfigurationError, match="'here' must run on the device, but 'there'"):
        chain(there, here, pass_on)


# What both ends compare


def test_equal_pipelines_have_no_difference(pipeline: Pipeline) -> None:
    other = chain(twice, spread, finish)
    assert first_difference(pipeline.fingerprint(), other.fingerprint()) is None


def test_the_first_task_that_differs_is_named() -> None:
    triple = task(gives="double", name="triple")(lambda number: 3 * number)
    device, cloud = chain(twice, spread, finish), chain(triple, finish_of_double())
    assert first_difference(device.fingerprint(), cloud.fingerprint()) == (
        "task 2 has name 'twice' on the device and 'triple' in the cloud"
    )


def finish_of_double() -> Task:
    return task(name="finish")(lambda double: double)


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        (task(gives="double", name="twice")(lambda number, extra=1: number * extra), "parameters"),
        (task(gives=("double", "more"), name="twice")(lambda number: (number, 1)), "gives"),
        (
            task(gives="double", name="twice", placement=Placement.DEVICE)(
                abs_of := (lambda number: abs(number))
            ),
            "placement",
        ),
        (task(gives="double", name="twice", encodings=("packed",))(abs_of), "encodings"),
        (task(gives="double", name="twice", on_demand=True)(abs_of), "on_demand"),
    ],
)
def test_a_difference_within_a_task_is_named(changed: Task, key: str) -> None:
    device, cloud = chain(twice, finish_of_double()), chain(changed, finish_of_double())
    difference = first_difference(device.fingerprint(), cloud.fingerprint())
    assert difference is not None
    assert difference.startswith(f"task 2 'twice' has {key} ")


def test_a_missing_task_at_the_end_is_a_difference(pipeline: Pipeline) -> None:
    whole = pipeline.fingerprint()
    assert first_difference(whole, whole[:-1]) == "the device has 4 tasks and the cloud 3"


@pytest.mark.parametrize("nonsense", [None, 7, "name", ["name"], {}, {3: 4, "x": 1}])
def test_nonsense_from_a_peer_is_a_difference_and_no_error(
    pipeline: Pipeline, nonsense: object
) -> None:
    whole = pipeline.fingerprint()
    assert first_difference(whole, [nonsense] * 4)
    assert first_difference([nonsense] * 4, whole)


# Running some tasks


def test_each_task_that_runs_is_timed_and_no_other(pipeline: Pipeline) -> None:
    assert run(pipeline, {"number": 4}, stop=3).seconds == {1: 1.0, 2: 1.0}


def test_the_result_is_what_the_last_task_returned(pipeline: Pipeline) -> None:
    assert run(pipeline, {"number": 4}).result == {"low": 7, "high": 9}


def test_there_is_no_result_before_the_last_task(pipeline: Pipeline) -> None:
    assert run(pipeline, {"number": 4}, stop=3).result is None


def test_nothing_runs_between_equal_ends(pipeline: Pipeline) -> None:
    nothing = run(pipeline, {"number": 4}, start=2, stop=2)
    assert (nothing.values, nothing.seconds, nothing.ended) == ({"number": 4}, {}, False)


@pytest.mark.parametrize(("start", "stop"), [(0, 2), (3, 2), (1, 5)])
def test_tasks_out_of_range_are_refused(pipeline: Pipeline, start: int, stop: int) -> None:
    with pytest.raises(ValueError, match=f"tasks {start} to {stop}, expected 1 to 4"):
        run(pipeline, {"number": 4}, start=start, stop=stop)


def test_the_given_values_are_not_modified(pipeline: Pipeline) -> None:
    values: dict[str, Value] = {"number": 4}
    run(pipeline, values)
    assert values == {"number": 4}


@pytest.mark.parametrize("split", [1, 2, 3])
def test_the_live_values_are_all_that_the_rest_needs(pipeline: Pipeline, split: int) -> None:
    here = run(pipeline, {"number": 4}, stop=split)
    sent = {name: here.values[name] for name in pipeline.live_values(split)}
    assert run(pipeline, sent, start=split).result == {"low": 7, "high": 9}


def test_only_what_a_later_task_takes_is_live(pipeline: Pipeline) -> None:
    live = [pipeline.live_values(split) for split in pipeline.splits]
    assert live == [("number",), ("double",), ("high", "low")]


def test_a_value_that_is_given_anew_is_not_live_before() -> None:
    again = task(gives="number", name="again")(lambda double: double + 1)
    assert chain(twice, again, pass_on).live_values(2) == ("double",)


def test_a_filtering_task_ends_the_frame_and_is_named() -> None:
    reject = task(gives="double", name="reject")(lambda number: FILTER)  # noqa: ARG005  # its name
    ended = run(chain(reject, finish_of_double()), {"number": 4})
    assert (ended.filtered_by, ended.ended, ended.result) == ("reject", True, None)
    assert set(ended.seconds) == {1}


def test_a_task_that_raises_fails_the_frame_with_its_cause() -> None:
    broken = task(gives="double", name="broken")(lambda number: number / 0)
    failed = run(chain(broken, finish_of_double()), {"number": 4})
    assert failed.error is not None
    assert str(failed.error) == "task 'broken' raised ZeroDivisionError: division by zero"
    assert isinstance(failed.error.__cause__, ZeroDivisionError)
    assert set(failed.seconds) == {1}


@pytest.mark.parametrize(
    ("returned", "found"), [(7, "int"), ((1, 2, 3), "a tuple of 3"), ([1, 2], "list")]
)
def test_a_task_that_gives_two_values_must_return_two(returned: object, found: str) -> None:
    pair = task(gives=("low", "high"), name="pair")(lambda number: returned)  # noqa: ARG005
    failed = run(chain(pair, finish), {"number": 4})
    assert str(failed.error) == f"task 'pair' returned {found}, expected low, high"


def test_a_tuple_is_one_value_where_one_is_given() -> None:
    pair = task(gives="double", name="pair")(lambda number: (number, number))
    assert run(chain(pair, finish_of_double()), {"number": 4}).result == (4, 4)


def test_the_context_goes_to_whoever_asks_for_it_and_is_no_value() -> None:
    tell = task(name="tell")(lambda number, context: [number, context.stream, context.seq])
    asking = chain(tell)
    assert asking.live_values(1) == ("number",)
    assert run(asking, {"number": 4}, frame=context(seq=9)).result == [4, "s", 9]


def test_a_default_holds_where_nobody_gives_the_value() -> None:
    scale = task(name="scale")(lambda number, factor=10: number * factor)
    scaled = chain(twice, scale)
    assert scaled.live_values(1) == ("number",)
    assert run(scaled, {"number": 4}).result == 40


def test_a_given_value_goes_before_the_default() -> None:
    scale = task(name="scale")(lambda number, double=10: number * double)
    assert run(chain(twice, scale), {"number": 4}).result == 32


def test_a_value_given_later_does_not_reach_back_to_a_default() -> None:
    early = task(gives="early", name="early")(lambda double=10: double)
    last = task(name="last")(lambda early, double: [early, double])
    assert run(chain(early, twice, last), {"number": 4}).result == [10, 8]


# Tasks on demand


@pytest.fixture
def viewed() -> Pipeline:
    draw = task(gives="picture", on_demand=True, name="draw")(lambda number: f"<{number}>")

    @task()
    def show(double: int, picture: str | None, context: Context) -> Value:
        if picture is not None:
            context.show(picture)
        return [double, picture]

    return chain(twice, draw, show)


def test_a_task_on_demand_is_skipped_on_unwatched_frames(viewed: Pipeline) -> None:
    skipped = run(viewed, {"number": 4})
    assert skipped.result == [8, None]
    assert set(skipped.seconds) == {1, 3}


def test_a_task_on_demand_runs_on_watched_frames_and_shows_its_picture(viewed: Pipeline) -> None:
    shown: list[object] = []
    watched = Context(stream="s", seq=0, captured_at=0.0, watched=True, show=shown.append)
    assert run(viewed, {"number": 4}, frame=watched).result == [8, "<4>"]
    assert shown == ["<4>"]


def test_what_only_a_task_on_demand_takes_is_live_on_watched_frames_alone(viewed: Pipeline) -> None:
    assert viewed.live_values(2) == ("double",)
    assert viewed.live_values(2, watched=True) == ("double", "number")
    assert viewed.live_values(3) == ("double",)
    assert viewed.live_values(3, watched=True) == ("double", "picture")


@pytest.mark.parametrize("watched", [True, False])
def test_a_value_that_a_task_on_demand_changes_arrives_at_every_split(*, watched: bool) -> None:
    mark = task(gives="number", on_demand=True, name="mark")(lambda number: -number)
    marking = chain(mark, twice, pass_on)
    for split in marking.splits:
        frame = context(watched=watched)
        here = run(marking, {"number": 4}, stop=split, frame=frame)
        live = marking.live_values(split, watched=watched)
        sent = {name: here.values[name] for name in live}
        assert run(marking, sent, start=split, frame=frame).result == (-4 if watched else 4)


# How values may travel


JPEG = parse("jpeg:80")


@pytest.fixture
def seen() -> Pipeline:
    """A mask is computed from the frame, and the frame is drawn on for whoever watches."""

    @source(gives=("frame", "time_s"), encodings=("raw", "jpeg:80"))
    def look() -> Iterator[tuple[int, float]]:
        yield 1, 0.0

    @task(gives="mask", encodings=("raw", "packed"))
    def find(frame: int) -> int:
        return frame

    @task(gives="picture", on_demand=True, encodings=("raw", "jpeg:90"))
    def draw(frame: int, mask: int) -> int:
        return frame + mask

    @task()
    def show(mask: int, time_s: float, picture: int | None) -> Value:
        return [mask, time_s, picture]

    return Pipeline([look, find, draw, show])


def test_each_live_value_may_travel_as_its_giver_permits(seen: Pipeline) -> None:
    assert seen.encodings(2) == {"mask": (RAW, PACKED), "time_s": (RAW,)}
    for split in seen.splits:
        for watched in (False, True):
            live = seen.live_values(split, watched=watched)
            assert tuple(seen.encodings(split, watched=watched)) == live


def test_a_value_that_results_are_computed_from_may_not_lose_anything(seen: Pipeline) -> None:
    assert seen.encodings(1)["frame"] == (RAW,)
    assert seen.encodings(1, watched=True)["frame"] == (RAW,)


def test_a_value_that_only_a_task_on_demand_takes_may_lose_something(seen: Pipeline) -> None:
    assert seen.encodings(2, watched=True)["frame"] == (RAW, JPEG)


def test_a_value_that_a_task_on_demand_gave_may_lose_something(seen: Pipeline) -> None:
    assert seen.encodings(3, watched=True)["picture"] == (RAW, parse("jpeg:90"))


def test_an_app_may_compute_results_from_what_lost_something() -> None:
    @task(gives="double", encodings=("raw", "jpeg:80"), lossy_results=True)
    def lossy(number: int) -> int:
        return number

    assert chain(lossy, finish_of_double()).encodings(2) == {"double": (RAW, JPEG)}
    origin = source(gives="number", encodings=("jpeg:80",), lossy_results=True, name="origin")
    assert Pipeline([origin(count), pass_on]).encodings(1) == {"number": (JPEG,)}


def test_a_taker_of_the_value_that_is_given_anew_does_not_count() -> None:
    origin = source(gives="number", encodings=("raw", "jpeg:80"), name="origin")(count)
    draw = task(on_demand=True, gives="drawn", name="draw")(lambda number: number)
    anew = task(gives="number", name="anew")(lambda: 1)
    assert Pipeline([origin, draw, anew, pass_on]).encodings(1, watched=True) == {
        "number": (RAW, JPEG)
    }


def test_the_giver_is_the_last_one_that_runs() -> None:
    origin = source(gives="number", encodings=("raw", "packed"), name="origin")(count)
    mark = task(gives="number", on_demand=True, encodings=("jpeg:80",), name="mark")
    marking = Pipeline([origin, mark(lambda number: number), pass_on])
    assert marking.encodings(2) == {"number": (RAW, PACKED)}
    assert marking.encodings(2, watched=True) == {"number": (JPEG,)}


def test_a_pipeline_knows_whether_anything_may_lose_something(
    seen: Pipeline, pipeline: Pipeline
) -> None:
    assert seen.permits_lossy
    assert not pipeline.permits_lossy
    computed = task(gives="double", encodings=("raw", "jpeg"), name="computed")
    assert not chain(computed(lambda number: number), finish_of_double()).permits_lossy


def test_what_is_permitted_is_worked_out_once(seen: Pipeline) -> None:
    assert seen.encodings(2, watched=True) is seen.encodings(2, watched=True)


def test_both_ends_agree_on_encodings_with_their_quality() -> None:
    def of(quality: str) -> Pipeline:
        lossy = task(gives="double", encodings=("raw", quality), name="lossy")
        return chain(lossy(lambda number: number), finish_of_double())

    assert first_difference(of("jpeg").fingerprint(), of("jpeg:80").fingerprint()) is None
    assert first_difference(of("jpeg:70").fingerprint(), of("jpeg").fingerprint()) == (
        "task 2 'lossy' has encodings ['raw', 'jpeg:70'] on the device "
        "and ['raw', 'jpeg:80'] in the cloud"
    )


def test_what_a_plain_task_returned_may_travel_packed() -> None:
    assert plain(read, middle_of_two, finish_plain).encodings(1) == {"next_args": (RAW, PACKED)}


# State


def stateful(cls: type) -> Pipeline:
    return chain(task(name="total")(cls))


def add(bound: Any, number: int) -> object:
    values = {"number": number}
    return bound.run(values, start=1, stop=2, context=context(), clock=Ticks()).result


def test_each_stream_has_its_own_instance() -> None:
    pipeline = stateful(Total)
    first, second = pipeline.bind(), pipeline.bind()
    assert [add(first, 1), add(first, 2), add(second, 10), add(first, 3)] == [1, 3, 10, 6]


def test_an_instance_is_made_only_where_it_runs() -> None:
    class Refusing(Total):
        def __init__(self) -> None:
            raise RuntimeError("no model file here")

    bound = stateful(Refusing).bind()
    nothing = bound.run({"number": 1}, start=1, stop=1, context=context(), clock=Ticks())
    assert nothing.error is None
    tried = bound.run({"number": 1}, start=1, stop=2, context=context(), clock=Ticks())
    assert str(tried.error) == "task 'total' raised RuntimeError: no model file here"


def test_a_restored_stream_goes_on_from_its_snapshot() -> None:
    pipeline = stateful(KeptTotal)
    before, after = pipeline.bind(), pipeline.bind()
    add(before, 5)
    state = before.snapshot()
    assert state == {"total": 5}
    after.restore(state)
    assert add(after, 1) == 6


def test_state_of_a_task_that_is_no_more_is_ignored() -> None:
    bound = stateful(KeptTotal).bind()
    bound.restore({"old": 5})
    assert bound.snapshot() is None


def test_a_task_without_snapshot_has_none_and_is_forgetful() -> None:
    bound = stateful(Total).bind()
    add(bound, 5)
    assert bound.snapshot() is None
    assert stateful(Total).forgetful == ("total",)
    assert stateful(KeptTotal).forgetful == ()


def test_a_device_task_is_not_part_of_the_clouds_snapshot() -> None:
    here = task(gives="sum", placement=Placement.DEVICE, name="here")(KeptTotal)
    bound = chain(here, task(name="last")(lambda sum: sum)).bind()
    run_here = bound.run({"number": 5}, start=1, stop=2, context=context(), clock=Ticks())
    assert run_here.values["sum"] == 5
    assert bound.snapshot() is None


def test_errors_of_snapshot_and_restore_name_the_task() -> None:
    class Broken(Total):
        def snapshot(self) -> int:
            raise OSError("disk")

        def restore(self, state: dict[str, int]) -> None:
            self.total = state["total"]

    bound = stateful(Broken).bind()
    add(bound, 1)
    with pytest.raises(TaskError, match="task 'total' raised OSError: disk"):
        bound.snapshot()
    with pytest.raises(TaskError, match="task 'total' raised KeyError: 'total'"):
        bound.restore({"total": {}})


def test_tasks_in_order_start_at_the_first_that_keeps_state() -> None:
    pipeline = chain(twice, task(placement=Placement.CLOUD)(Total), pass_on)
    assert [pipeline.first_in_order(start) for start in (1, 2, 3, 4)] == [2, 2, 4, 4]


# Sources


def frames_of(declared: Source, start_seq: int = 0) -> Iterator[dict[str, Value]]:
    bound = declared.bind()
    return map(bound.frame_values, bound.open(start_seq))


def test_a_generator_function_gives_its_frames_from_the_start() -> None:
    assert list(frames_of(count, 7)) == [{"number": 0}, {"number": 1}, {"number": 2}]


class Seekable:
    live = True
    rate_fps = 25.0

    def open(self, start_seq: int) -> Iterator[tuple[int, float]]:
        yield start_seq, start_seq / 25


@pytest.mark.parametrize("opener", [Seekable, Seekable()])
def test_a_source_with_open_goes_on_where_the_stream_stopped(opener: object) -> None:
    seekable = source(gives=("frame", "time_s"))(opener)
    assert seekable.name == "Seekable"
    assert list(frames_of(seekable, 50)) == [{"frame": 50, "time_s": 2.0}]


def test_a_source_says_whether_it_is_live_and_how_fast() -> None:
    camera, plainest = source(gives="frame")(Seekable()).bind(), count.bind()
    assert (camera.live, camera.rate_fps) == (True, 25.0)
    assert (plainest.live, plainest.rate_fps) == (False, None)


def test_what_a_source_says_of_itself_may_be_a_property() -> None:
    class Camera(Seekable):
        @property
        def live(self) -> bool:  # type: ignore[override]  # what the test is about
            return False

        @property
        def rate_fps(self) -> None:  # type: ignore[override]  # what the test is about
            return None

    bound = source(gives=("frame", "time_s"))(Camera).bind()
    assert (bound.live, bound.rate_fps) == (False, None)


class Resizing:
    """Counts its instances, so that a test sees which one is asked."""

    made = 0

    def __init__(self) -> None:
        Resizing.made += 1
        self.number = Resizing.made

    def open(self, start_seq: int) -> Iterator[tuple[int, float]]:
        yield self.number, start_seq / 25

    def prepare(self, number: int, time_s: float) -> tuple[list[int], float]:
        return [number, self.number], time_s


def test_a_class_is_made_once_per_bind_and_prepares_its_own_frames() -> None:
    declared = source(gives=("frame", "time_s"))(Resizing)
    before = Resizing.made
    bound = declared.bind()
    assert [bound.frame_values(next(bound.open(seq))) for seq in (0, 50)] == [
        {"frame": [before + 1, before + 1], "time_s": 0.0},
        {"frame": [before + 1, before + 1], "time_s": 2.0},
    ]
    assert Resizing.made == before + 1


class Doubling:
    def open(self, start_seq: int) -> Iterator[object]:
        yield start_seq

    def prepare(self, number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return 2 * number


def test_one_value_is_prepared_as_it_is() -> None:
    bound = source(gives="number")(Doubling()).bind()
    assert bound.frame_values(4) == {"number": 8}


def test_what_prepare_raises_names_the_source_and_keeps_the_cause() -> None:
    bound = source(gives="number", name="camera")(Doubling()).bind()
    with pytest.raises(TaskError, match="task 'camera' raised ValueError: negative") as caught:
        bound.frame_values(-1)
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_frame_that_prepare_gives_too_few_values_of_is_named() -> None:
    bound = source(gives=("number", "time_s"))(Doubling).bind()
    with pytest.raises(TaskError, match="task 'Doubling' returned int, expected number, time_s"):
        bound.frame_values(4)


def test_what_a_source_raises_comes_out_when_that_frame_is_asked_for() -> None:
    @source(gives="frame")
    def unplugged() -> Iterator[int]:
        yield 1
        raise OSError("unplugged")

    frames = frames_of(unplugged)
    assert next(frames) == {"frame": 1}
    with pytest.raises(OSError, match="unplugged"):
        next(frames)


def test_a_source_that_gives_too_few_values_is_named() -> None:
    lone = source(gives=("frame", "time_s"), name="lone")(lambda: iter([1]))
    with pytest.raises(TaskError, match="task 'lone' returned int, expected frame, time_s"):
        next(frames_of(lone))


# The plain form


def plain(*functions: Callable[..., object], stateless: bool = False) -> Pipeline:
    return Pipeline.plain(functions, stateless=stateless)


def read() -> tuple[bool, object]:
    return True, 1


def finish_plain(value: object) -> tuple[bool, object]:
    return True, value


def run_plain(next_args: Value, *functions: Callable[..., object]) -> PipelineRun:
    return run(plain(read, *functions), {"next_args": next_args})


@pytest.mark.parametrize("end", [False, (False, None), (False, 9)])
def test_a_plain_source_ends_its_stream(end: object) -> None:
    answers = iter([(True, 1), (True, None), end])
    pipeline = plain(lambda: next(answers), finish_plain)
    assert list(frames_of(pipeline.source)) == [{"next_args": 1}, {"next_args": None}]


@pytest.mark.parametrize("end", [False, (False, None)])
def test_a_later_plain_task_ends_its_frame(end: object) -> None:
    def drop(value: object) -> object:
        return (True, value) if value == 1 else end

    assert run_plain(1, drop, finish_plain).result == 1
    assert run_plain(2, drop, finish_plain).filtered_by == "drop"


def test_one_value_is_handed_on_as_it_is() -> None:
    assert run_plain([1, 2], finish_plain).result == [1, 2]


def test_a_tuple_is_spread_over_the_parameters() -> None:
    assert run_plain((2, 3), lambda a, b: (True, a * b)).result == 6


def test_none_calls_a_function_without_parameters_and_reaches_one_that_has_one() -> None:
    assert run_plain(None, lambda: (True, "called")).result == "called"
    assert run_plain(None, lambda value: (True, [value])).result == [None]


def test_the_last_plain_task_may_return_no_result() -> None:
    ended = run_plain(1, lambda value: (True, None))  # noqa: ARG005  # takes what it is given
    assert (ended.result, ended.ended) == (None, False)


@pytest.mark.parametrize(
    ("returned", "found"), [(None, "NoneType"), (True, "bool"), (5, "int"), ((True,), "tuple")]
)
def test_another_return_of_a_plain_task_is_named(returned: object, found: str) -> None:
    def odd(value: object) -> object:
        del value
        return returned

    expected = f"task 'odd' returned {found}, expected (to_continue, next_args)"
    assert str(run_plain(1, odd).error) == expected


def test_a_plain_source_that_returns_something_else_is_named() -> None:
    def odd() -> object:
        return 5

    with pytest.raises(TaskError, match="task 'odd' returned int"):
        next(frames_of(plain(odd, finish_plain).source))


def test_plain_tasks_run_one_at_a_time_unless_they_are_stateless() -> None:
    def middle(value: object) -> tuple[bool, object]:
        return True, value

    functions = (read, middle, finish_plain)
    ordered, free = plain(*functions), plain(*functions, stateless=True)
    assert (ordered.one_at_a_time, ordered.first_in_order(2)) == (True, 2)
    assert (free.one_at_a_time, free.first_in_order(2)) == (False, 3)
    assert ordered.splits == free.splits == range(1, 3)


@pytest.mark.parametrize("split", [1, 2])
def test_what_a_plain_task_returned_is_what_travels(split: int) -> None:
    assert plain(read, middle_of_two, finish_plain).live_values(split) == ("next_args",)


def middle_of_two(value: object) -> tuple[bool, object]:
    return True, value


@pytest.mark.parametrize("functions", [[], [read]])
def test_a_plain_pipeline_has_at_least_two_tasks(functions: Sequence[Any]) -> None:
    with pytest.raises(ConfigurationError, match="expected at least two"):
        plain(*functions)


def test_a_plain_list_holds_functions() -> None:
    with pytest.raises(ConfigurationError, match="holds int, expected functions"):
        plain(read, 5)  # type: ignore[arg-type]  # what the test is about


def test_a_task_with_parameters_by_keyword_only_is_called_by_keyword() -> None:
    def double(*, number: int) -> int:
        return 2 * number

    assert run(chain(task(name="double")(double)), {"number": 5}).result == 10


@pytest.mark.parametrize("answer", ["raise ValueError('cannot draw')", "return FILTER"])
def test_a_task_on_demand_that_raises_or_filters_costs_no_result(answer: str) -> None:
    def draw(number: int) -> object:
        if answer == "return FILTER":
            return FILTER
        raise ValueError(f"cannot draw {number}")

    def finish(number: int, picture: object) -> int:
        assert picture is None
        return number

    origin = source(gives="number", name="origin")(lambda: iter(range(3)))
    drawing = task(gives="picture", on_demand=True)(draw)
    bound = Pipeline([origin, drawing, task()(finish)]).bind()
    watched = Context(stream="s", seq=0, captured_at=0.0, watched=True)
    run = bound.run({"number": 2}, start=1, stop=3, context=watched, clock=lambda: 0.0)
    assert (run.ended, run.result) == (False, 2)
    assert [each.task for each in run.mishaps] == ([] if answer == "return FILTER" else ["draw"])


def test_a_failed_frame_leaves_nothing_to_the_garbage_collector() -> None:
    class Picture:
        """Stands for what a frame holds."""

        number: int

    seen: list[weakref.ref[Picture]] = []

    @source(gives="number")
    def numbers() -> Iterator[int]:
        yield 0

    @task(gives="picture")
    def paint(number: int) -> Any:
        picture = Picture()
        picture.number = number
        seen.append(weakref.ref(picture))
        return picture

    @task()
    def fail(picture: Any) -> Any:
        raise ValueError(f"no ball in {picture.number}")

    bound = Pipeline([numbers, paint, fail]).bind()

    def run_one() -> str:
        run = bound.run({"number": 0}, start=1, stop=3, context=context(), clock=time.perf_counter)
        assert run.error is not None
        return run.error.where

    gc.disable()
    try:
        where = run_one()
        assert seen[0]() is None
    finally:
        gc.enable()
    assert where.endswith(" in fail")
    assert "test_task_interface.py:" in where

"""One frame's tasks in the cloud: first beside other frames, then in order, then to the writer."""

from collections.abc import Callable

from offload.executors.cloud_frame import CloudFrame
from offload.logs import Mishaps
from offload.messages import Frame, Outcome, OutcomeRange
from offload.results.writer import Finished, Snapshot, no_state
from task_interface import Pipeline, Placement, source, task


@source(gives="number")
def numbers() -> object:
    yield from range(10)


class Cloud:
    """What a cloud program has of a stream."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.finished: list[Finished] = []
        self.name = "s"
        self.epoch = 7
        self.is_stale = False
        self.snapshot: Snapshot = no_state
        self.put: Callable[[Finished], None] = self.finished.append
        self.mishaps = Mishaps()
        ran = self.ran

        @task(gives="doubled")
        def double(number: int) -> int:
            ran.append("double")
            return 2 * number

        @task(placement=Placement.CLOUD)
        class Total:
            def __call__(self, doubled: int) -> int:
                ran.append("total")
                return doubled

        self.pipeline = Pipeline([numbers, double, Total])
        self.bound = self.pipeline.bind()

    def show(self, picture: object) -> None:
        raise AssertionError(f"nobody watches, and yet there is {picture}")

    def book_cost(self, split: int, seconds: float) -> None:
        assert split == 1
        assert seconds > 0


def frame_of(stream: Cloud) -> CloudFrame:
    frame = Frame(seq=3, split=1, captured_at=0.0, tree={"number": 4}, held_bytes=100)
    return CloudFrame(stream, frame)


def test_a_frame_comes_to_its_result_in_the_epoch_of_its_stream() -> None:
    stream = Cloud()
    frame = frame_of(stream)
    frame.run_ordered(frame.run_free())
    assert stream.ran == ["double", "total"]
    (finished,) = stream.finished
    assert finished.outcome == OutcomeRange(first=3, count=1, outcome=Outcome.RESULT)
    assert (finished.epoch, finished.held_bytes) == (7, 100)


def test_a_frame_of_a_stream_that_was_opened_elsewhere_runs_no_more_tasks_and_ends() -> None:
    before, between = Cloud(), Cloud()
    before.is_stale = True
    for stream in (before, between):
        frame = frame_of(stream)
        run = frame.run_free()
        stream.is_stale = True
        frame.run_ordered(run)
        (finished,) = stream.finished
        assert (finished.value, finished.outcome.first, finished.held_bytes) == (None, 3, 100)
    assert before.ran == []
    assert between.ran == ["double"]

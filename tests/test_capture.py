"""Reading a source: numbers, limits, pace, and what happens to frames that nobody takes."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from queue import SimpleQueue

import pytest

from offload.device.capture import (
    FIRST_HANG_S,
    HANG_S,
    MAX_HUNG_READERS,
    MAX_REOPEN_WAIT_S,
    Capture,
    Captured,
    Limit,
    Overload,
    Reopen,
)

# Far longer than anything here takes; a test that waits for it has failed.
LONG_S = 30.0


def numbers(stop: int) -> Iterator[object]:
    for number in range(stop):
        yield {"number": number}


def capture(
    frames: Iterator[object],
    *,
    overload: Overload = Overload.BLOCK,
    limit: Limit | None = None,
    rate_fps: float | None = None,
    start_seq: int = 0,
    reopen: Reopen | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Capture:
    return Capture(
        frames,
        start_seq=start_seq,
        overload=overload,
        limit=limit or Limit(),
        rate_fps=rate_fps,
        reopen=reopen,
        clock=clock,
    )


def taken(captured: Capture) -> list[int]:
    """Take frames to the end and return their sequence numbers."""
    seqs = []
    while not captured.is_over:
        frame = captured.next(timeout_s=LONG_S)
        if frame is not None:
            seqs.append(frame.seq)
    return seqs


def capture_thread() -> threading.Thread:
    return next(each for each in threading.enumerate() if each.name == "capture")


class Gated:
    """A source that gives some frames at once, and then waits until it is let go on."""

    def __init__(self, frames: int, *, error: Exception | None = None) -> None:
        self.is_waiting = threading.Event()
        self.gate = threading.Event()
        self._frames = frames
        self._error = error

    def __iter__(self) -> Iterator[object]:
        yield from numbers(self._frames)
        self.is_waiting.set()
        assert self.gate.wait(LONG_S)
        if self._error is not None:
            raise self._error


def test_frames_are_numbered_from_the_start_of_the_stream() -> None:
    captured = capture(numbers(3), start_seq=40)
    assert taken(captured) == [40, 41, 42]
    assert captured.next_seq == 43


def test_blocking_reads_only_when_asked_and_loses_none() -> None:
    source = numbers(3)
    captured = capture(source)
    first = captured.next(timeout_s=LONG_S)
    assert first is not None
    assert first.values == {"number": 0}
    assert next(source) == {"number": 1}


def test_a_limit_of_frames_ends_the_capture() -> None:
    assert taken(capture(numbers(9), limit=Limit(frames=2), start_seq=5)) == [5, 6]


@pytest.mark.parametrize("overload", Overload)
def test_a_duration_that_has_passed_ends_the_capture(overload: Overload) -> None:
    assert taken(capture(numbers(9), limit=Limit(duration_s=0.0), overload=overload)) == []


def test_reading_keeps_the_pace() -> None:
    began_s = time.monotonic()
    captured = capture(numbers(5), rate_fps=50.0)
    frames = [captured.next(timeout_s=LONG_S) for _ in range(5)]
    assert frames[-1] is not None
    assert frames[-1].captured_s - began_s >= 4 / 50
    assert sum(each.waited_s for each in frames if each) > 0


def test_stopping_ends_a_wait_for_the_pace() -> None:
    captured = capture(numbers(9), rate_fps=0.001, overload=Overload.NEWEST)
    assert captured.next(timeout_s=LONG_S) is not None
    captured.stop()
    assert captured.next(timeout_s=LONG_S) is None
    assert captured.is_over


def test_a_stopped_capture_gives_no_further_frame() -> None:
    captured = capture(numbers(9))
    captured.next(timeout_s=LONG_S)
    captured.stop()
    assert taken(captured) == []


def test_the_newest_frame_overwrites_older_ones_and_leaves_a_gap() -> None:
    source = Gated(5)
    captured = capture(iter(source), overload=Overload.NEWEST)
    assert source.is_waiting.wait(LONG_S)
    frame = captured.next(timeout_s=LONG_S)
    assert frame is not None
    assert (frame.seq, frame.values) == (4, {"number": 4})
    source.gate.set()
    assert taken(captured) == []
    assert captured.next_seq == 5


def test_a_frame_captured_before_the_stop_is_still_given() -> None:
    source = Gated(1)
    captured = capture(iter(source), overload=Overload.NEWEST)
    assert source.is_waiting.wait(LONG_S)
    captured.stop()
    source.gate.set()
    assert taken(captured) == [0]


def test_a_live_source_without_a_frame_in_time_is_not_over() -> None:
    source = Gated(0)
    captured = capture(iter(source), overload=Overload.NEWEST)
    assert captured.next(timeout_s=0.0) is None
    assert not captured.is_over
    source.gate.set()
    assert taken(captured) == []


def test_what_the_source_raises_comes_out_of_next() -> None:
    source = Gated(1, error=OSError("unplugged"))
    source.gate.set()
    captured = capture(iter(source))
    assert captured.next(timeout_s=LONG_S) is not None
    with pytest.raises(OSError, match="unplugged"):
        captured.next(timeout_s=LONG_S)


def test_an_error_of_a_live_source_comes_after_its_last_frame_and_is_never_lost() -> None:
    source = Gated(1, error=OSError("unplugged"))
    captured = capture(iter(source), overload=Overload.NEWEST)
    thread = capture_thread()
    assert source.is_waiting.wait(LONG_S)
    assert captured.next(timeout_s=LONG_S) is not None
    source.gate.set()
    thread.join(LONG_S)
    # Whoever asks now has not seen the error yet, so that it must not look like the end.
    assert not captured.is_over
    with pytest.raises(OSError, match="unplugged"):
        captured.next(timeout_s=LONG_S)
    assert captured.is_over


def test_a_source_that_never_answers_again_is_not_waited_for_once_it_is_enough() -> None:
    answers = threading.Event()

    def hangs_after_one() -> Iterator[object]:
        yield {"frame": 0}
        answers.wait()
        yield {"frame": 1}

    captured = capture(hangs_after_one(), overload=Overload.NEWEST)
    first = captured.next(timeout_s=5.0)
    assert first is not None
    assert not captured.is_over
    captured.stop()
    assert captured.is_over
    answers.set()
    assert captured.next(timeout_s=5.0) is None
    assert captured.next_seq == 1


def test_a_frame_may_be_anything_even_none() -> None:
    captured = capture(iter([None, 5]))
    assert [frame.values for frame in next_frames(captured, 2)] == [None, 5]


def next_frames(captured: Capture, number: int) -> list[Captured]:
    frames = [captured.next(timeout_s=LONG_S) for _ in range(number)]
    return [frame for frame in frames if frame is not None]


# Being woken


@pytest.mark.parametrize("overload", Overload)
def test_a_thread_that_waits_is_woken_and_gets_none(overload: Overload) -> None:
    captured = capture(numbers(9), overload=overload, rate_fps=0.001)
    assert next_frames(captured, 1)
    answers: SimpleQueue[Captured | None] = SimpleQueue()
    asking = threading.Thread(
        target=lambda: answers.put(captured.next(timeout_s=LONG_S)), daemon=True
    )
    asking.start()
    captured.wake()
    assert answers.get(timeout=LONG_S / 2) is None
    assert not captured.is_over
    captured.stop()


@pytest.mark.parametrize("overload", Overload)
def test_a_wake_that_nobody_waits_for_counts_for_the_next_wait_and_no_other(
    overload: Overload,
) -> None:
    captured = capture(numbers(9), overload=overload, rate_fps=0.001)
    assert next_frames(captured, 1)
    captured.wake()
    captured.wake()
    began_s = time.monotonic()
    assert captured.next(timeout_s=LONG_S) is None
    assert time.monotonic() - began_s < LONG_S / 2
    began_s = time.monotonic()
    assert captured.next(timeout_s=0.01) is None
    assert time.monotonic() - began_s >= 0.01
    captured.stop()


@pytest.mark.parametrize("overload", Overload)
def test_a_frame_that_is_there_is_given_in_spite_of_a_wake(overload: Overload) -> None:
    source = Gated(1)
    captured = capture(iter(source), overload=overload)
    if overload is Overload.NEWEST:
        assert source.is_waiting.wait(LONG_S)
    captured.wake()
    assert [frame.seq for frame in next_frames(captured, 1)] == [0]
    captured.stop()
    source.gate.set()


# The pace


class ManualClock:
    """A clock that stands until it is told to go on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_frame_that_is_held_back_beyond_the_time_comes_when_it_is_due() -> None:
    clock = ManualClock()
    captured = capture(numbers(9), rate_fps=10.0, clock=clock)
    assert [frame.seq for frame in next_frames(captured, 1)] == [0]
    for clock.now in (0.0, 0.09):
        assert captured.next(timeout_s=0.0) is None
        assert not captured.is_over
    clock.now = 0.1
    assert [frame.seq for frame in next_frames(captured, 1)] == [1]
    # The one after is due a tenth later, however often somebody asked in between.
    clock.now = 0.19
    assert captured.next(timeout_s=0.0) is None
    clock.now = 0.2
    assert [frame.seq for frame in next_frames(captured, 1)] == [2]


def test_who_comes_late_gets_no_burst_of_frames() -> None:
    clock = ManualClock()
    captured = capture(numbers(9), rate_fps=10.0, clock=clock)
    clock.now = 5.0
    assert [frame.seq for frame in next_frames(captured, 2)] == [0, 1]
    assert captured.next(timeout_s=0.0) is None


@pytest.mark.parametrize("overload", Overload)
def test_a_wait_for_a_frame_is_counted_over_all_calls(overload: Overload) -> None:
    captured = capture(numbers(9), overload=overload, rate_fps=10.0)
    first = next_frames(captured, 1)[0]
    waits = 0
    while (second := captured.next(timeout_s=0.01)) is None:
        waits += 1
    # A machine that is busy may leave time between the calls, which was not waited.
    assert waits > 0
    assert 0.01 * waits <= second.waited_s <= second.captured_s - first.captured_s


# What is known of a live source


def test_frames_that_were_overwritten_are_counted() -> None:
    source = Gated(5)
    captured = capture(iter(source), overload=Overload.NEWEST)
    assert source.is_waiting.wait(LONG_S)
    assert captured.missed == 4
    assert next_frames(captured, 1)
    source.gate.set()
    assert taken(captured) == []
    assert captured.missed == 4


def test_the_age_of_the_newest_frame_is_known() -> None:
    clock = ManualClock()
    captured = capture(numbers(2), clock=clock)
    assert captured.age_s(0.0) is None
    clock.now = 3.0
    assert next_frames(captured, 1)
    assert captured.age_s(3.5) == 0.5


# A camera that hangs


class Opening:
    """One opening of a camera: it gives what it is told, and hangs until then."""

    def __init__(self, start_seq: int) -> None:
        self.start_seq = start_seq
        self.touched_by: set[int] = set()
        self.is_closed = threading.Event()
        self._asked = threading.Semaphore(0)
        self._told: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def __iter__(self) -> Iterator[object]:
        try:
            while True:
                self.touched_by.add(threading.get_ident())
                self._asked.release()
                yield self._told.get()()
        finally:
            self.touched_by.add(threading.get_ident())
            self.is_closed.set()

    def give(self, frame: object) -> None:
        self._told.put(lambda: frame)

    def fail(self, reason: str) -> None:
        def fail() -> object:
            raise OSError(reason)

        self._told.put(fail)

    def wait_until_asked(self) -> None:
        assert self._asked.acquire(timeout=LONG_S)


def capture_threads() -> set[threading.Thread]:
    """Return the threads that read live sources; other tests of this process may have left more."""
    return {each for each in threading.enumerate() if each.name == "capture"}


class Camera:
    """A live source and its capture; no time passes but by `tick`."""

    def __init__(self, *, rate_fps: float | None = None) -> None:
        self.clock = ManualClock()
        self.openings = [Opening(0)]
        self._opened: SimpleQueue[Opening] = SimpleQueue()
        before = capture_threads()
        self.capture = capture(
            iter(self.openings[0]),
            overload=Overload.NEWEST,
            rate_fps=rate_fps,
            reopen=self._reopen,
            clock=self.clock,
        )
        self.readers = list(capture_threads() - before)
        self.openings[0].wait_until_asked()

    def _reopen(self, start_seq: int) -> Iterator[object]:
        opening = Opening(start_seq)
        self._opened.put(opening)
        return iter(opening)

    def give(self, frame: object) -> Captured:
        """Let the camera give a frame and ask for the next, and take it."""
        self.openings[-1].give(frame)
        taken = self.capture.next(timeout_s=LONG_S)
        assert taken is not None
        return taken

    def hang_after(self, frame: object) -> None:
        self.give(frame)
        self.openings[-1].wait_until_asked()

    def tick(self, seconds: float) -> bool:
        """Let time pass; True if the camera is opened again then."""
        self.clock.now += seconds
        before = capture_threads()
        assert self.capture.next(timeout_s=0.0) is None
        started = capture_threads() - before
        if started:
            self.readers += started
            self.openings.append(self._opened.get(timeout=LONG_S))
            self.openings[-1].wait_until_asked()
        return bool(started)

    def reader_ends(self, number: int) -> None:
        self.readers[number].join(LONG_S)
        assert self.openings[number].is_closed.is_set()

    def end(self) -> None:
        self.capture.stop()
        for each in self.openings:
            each.fail("unplugged")
        # What they still log would be taken for the next test's.
        for reader in self.readers:
            reader.join(LONG_S)


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.end()


def events(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_a_camera_that_hangs_is_opened_again_and_the_numbers_go_on(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    camera.hang_after("a")
    assert not camera.tick(HANG_S)
    assert events(caplog) == []
    assert camera.tick(0.1)
    assert events(caplog) == ["source_hung"]
    assert camera.openings[1].start_seq == 1
    again = camera.give("b")
    assert (again.seq, again.values) == (1, "b")
    assert not camera.tick(HANG_S)
    assert events(caplog) == ["source_hung"]


def test_opening_a_camera_may_take_longer_than_a_frame(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    assert not camera.tick(FIRST_HANG_S)
    assert events(caplog) == []
    assert not camera.tick(0.1)
    assert events(caplog) == ["source_hung"]
    assert camera.tick(1.0)


def test_a_camera_that_cannot_be_opened_at_first_ends_the_stream(camera: Camera) -> None:
    camera.openings[0].fail("no such camera")
    with pytest.raises(OSError, match="no such camera"):
        camera.capture.next(timeout_s=LONG_S)
    assert camera.capture.is_over


def test_what_a_hung_camera_gives_in_the_end_is_thrown_away_by_its_own_thread(
    camera: Camera,
) -> None:
    camera.hang_after("a")
    assert camera.tick(HANG_S + 0.1)
    camera.openings[0].give("late")
    camera.reader_ends(0)
    assert len(camera.openings[0].touched_by) == 1
    assert not camera.tick(0.0)
    assert camera.give("b").seq == 1


def test_an_error_of_a_camera_that_was_left_behind_is_nobodys(camera: Camera) -> None:
    camera.hang_after("a")
    assert camera.tick(HANG_S + 0.1)
    camera.openings[0].fail("unplugged")
    camera.reader_ends(0)
    assert camera.give("b").seq == 1
    assert not camera.capture.is_over


def test_attempts_that_bring_no_frame_come_ever_later_up_to_a_minute(camera: Camera) -> None:
    for wait_s in (1.0, 2.0, 4.0):
        assert not camera.tick(FIRST_HANG_S + 0.1)
        assert not camera.tick(wait_s - 0.1)
        assert camera.tick(0.2)
    # A frame ends the row: what hangs after it is opened again at once.
    camera.hang_after("a")
    assert camera.tick(HANG_S + 0.1)
    assert not camera.tick(FIRST_HANG_S + 0.1)
    assert camera.tick(1.1)


def test_nothing_is_said_of_a_camera_that_fails_once_its_stream_has_ended(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    assert not camera.tick(FIRST_HANG_S + 0.1)
    assert camera.tick(1.1)
    camera.end()
    assert events(caplog) == ["source_hung"]


def test_a_camera_that_cannot_be_opened_again_yet_is_tried_again(
    camera: Camera, caplog: pytest.LogCaptureFixture
) -> None:
    camera.hang_after("a")
    assert camera.tick(HANG_S + 0.1)
    waits_s = []
    for _ in range(9):
        camera.openings[-1].fail("device or resource busy")
        camera.reader_ends(-1)
        waits_s.append(seconds_to_reopening(camera))
    assert waits_s == [1, 2, 4, 8, 16, 32, MAX_REOPEN_WAIT_S, MAX_REOPEN_WAIT_S, MAX_REOPEN_WAIT_S]
    assert events(caplog) == ["source_hung", *["source_not_reopened"] * 9]
    assert camera.give("b").seq == 1


def seconds_to_reopening(camera: Camera) -> int:
    return next(seconds for seconds in count(1) if camera.tick(1.0))


def test_a_camera_whose_reads_never_return_is_given_up_at_last(camera: Camera) -> None:
    camera.hang_after(0)
    for frame in range(1, MAX_HUNG_READERS):
        assert camera.tick(HANG_S + 0.1)
        camera.hang_after(frame)
    camera.clock.now += HANG_S + 0.1
    with pytest.raises(TimeoutError, match="hung 8 times"):
        camera.capture.next(timeout_s=LONG_S)
    assert camera.capture.is_over


def test_what_a_camera_that_was_opened_again_raises_later_ends_the_stream(camera: Camera) -> None:
    camera.hang_after("a")
    assert camera.tick(HANG_S + 0.1)
    camera.hang_after("b")
    camera.openings[1].fail("unplugged")
    with pytest.raises(OSError, match="unplugged"):
        camera.capture.next(timeout_s=LONG_S)
    assert camera.capture.is_over


def test_a_camera_that_hangs_once_it_is_enough_is_left_alone(camera: Camera) -> None:
    camera.hang_after("a")
    camera.capture.stop()
    assert not camera.tick(10 * HANG_S)
    assert camera.capture.is_over


def test_keeping_the_pace_is_not_hanging() -> None:
    camera = Camera(rate_fps=0.01)
    camera.give("a")
    assert not camera.tick(10 * HANG_S)
    camera.end()


def test_a_source_that_cannot_be_opened_again_is_waited_for() -> None:
    clock = ManualClock()
    source = Opening(0)
    captured = capture(iter(source), overload=Overload.NEWEST, clock=clock)
    source.wait_until_asked()
    clock.now = 100 * FIRST_HANG_S
    assert captured.next(timeout_s=0.0) is None
    source.give("a")
    assert [frame.seq for frame in next_frames(captured, 1)] == [0]
    captured.stop()
    source.fail("unplugged")

"""Reading a source: numbers, limits, pace, and what happens to frames that nobody takes."""

import threading
import time
from collections.abc import Iterator

import pytest

from offload.capture import Capture, Limit, Overload, Values

# Far longer than anything here takes; a test that waits for it has failed.
LONG_S = 30.0


def numbers(stop: int) -> Iterator[Values]:
    for number in range(stop):
        yield {"number": number}


def capture(
    frames: Iterator[Values],
    *,
    overload: Overload = Overload.BLOCK,
    limit: Limit | None = None,
    rate_fps: float | None = None,
    start_seq: int = 0,
) -> Capture:
    return Capture(
        frames,
        start_seq=start_seq,
        overload=overload,
        limit=limit or Limit(),
        rate_fps=rate_fps,
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

    def __iter__(self) -> Iterator[Values]:
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

    def hangs_after_one() -> Iterator[Values]:
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

"""A buffer comes back when its last view has died, and idle memory is bounded."""

import threading

import numpy as np
import pytest

from offload.cloud.buffers import MIN_POOLED_BYTES, BufferPool

PICTURE_BYTES = 480 * 640 * 3


def pool(max_idle_bytes: int = 100 * PICTURE_BYTES) -> BufferPool:
    return BufferPool(max_idle_bytes=max_idle_bytes)


@pytest.mark.parametrize("size", [0, 1, MIN_POOLED_BYTES - 1, MIN_POOLED_BYTES, PICTURE_BYTES])
def test_a_view_is_writable_and_as_long_as_was_asked_for(size: int) -> None:
    view = pool().take(size)
    assert (view.format, view.ndim, view.nbytes, view.readonly) == ("B", 1, size, False)


def test_memory_is_lent_again_once_its_view_is_gone() -> None:
    buffers = pool()
    view = buffers.take(PICTURE_BYTES)
    view[:4] = b"ball"
    del view
    assert (buffers.lent, buffers.idle_bytes) == (0, PICTURE_BYTES)
    again = buffers.take(PICTURE_BYTES)
    assert bytes(again[:4]) == b"ball"
    assert buffers.idle_bytes == 0


def test_an_array_on_a_slice_keeps_its_memory_lent() -> None:
    buffers = pool()
    view = buffers.take(PICTURE_BYTES)
    array = np.frombuffer(view[8:5008], np.uint8)[::2].reshape(50, 50)
    del view
    assert buffers.lent == 1
    other = buffers.take(PICTURE_BYTES)
    array[:] = 7
    other[:] = bytes(PICTURE_BYTES)
    assert (array == 7).all()
    del array
    assert buffers.lent == 1


def test_eight_frames_held_at_a_time_take_eight_buffers_and_no_more() -> None:
    buffers = pool()
    held = [buffers.take(PICTURE_BYTES) for _ in range(8)]
    for _ in range(100):
        held.pop(0)
        held.append(buffers.take(PICTURE_BYTES))
    assert (buffers.lent, buffers.idle_bytes) == (8, 0)
    held.clear()
    assert buffers.idle_bytes == 8 * PICTURE_BYTES


def test_idle_memory_past_the_limit_is_freed() -> None:
    buffers = pool(max_idle_bytes=3 * PICTURE_BYTES)
    held = [buffers.take(PICTURE_BYTES) for _ in range(10)]
    held.clear()
    assert buffers.idle_bytes == 3 * PICTURE_BYTES


def test_a_small_payload_does_not_take_a_large_buffer() -> None:
    buffers = pool()
    buffers.take(PICTURE_BYTES)
    small = buffers.take(PICTURE_BYTES // 4)
    assert buffers.idle_bytes == PICTURE_BYTES
    assert small.nbytes == PICTURE_BYTES // 4


def test_sizes_that_vary_share_buffers() -> None:
    buffers = pool()
    buffers.take(PICTURE_BYTES)
    view = buffers.take(PICTURE_BYTES - 1000)
    assert (view.nbytes, buffers.idle_bytes) == (PICTURE_BYTES - 1000, 0)


def test_views_may_die_in_any_thread() -> None:
    buffers = pool()
    held = [[buffers.take(PICTURE_BYTES)] for _ in range(8)]
    threads = [threading.Thread(target=each.clear) for each in held]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (buffers.lent, buffers.idle_bytes) == (0, 8 * PICTURE_BYTES)

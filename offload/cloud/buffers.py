"""Memory for received payloads: lent out as views, and lent again when the last view has died.

A fresh buffer of a megabyte costs more than receiving a picture into it, because the kernel clears
its pages one by one. That shows as soon as several frames are held at a time, as they are while
tasks work on them.

    pool = BufferPool(max_idle_bytes=64 * 1024 * 1024)
    view = pool.take(921_600)       # writable; arrays made on it keep it lent
"""

import weakref
from collections import deque
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Below this the allocator recycles memory by itself (its threshold for fresh pages is 128 KiB).
MIN_POOLED_BYTES: Final = 64 * 1024

# A buffer may serve a payload of down to half its size, so that contents which vary in size, as
# JPEG does, share buffers, and little memory is lost to that.
MAX_SPARE_FACTOR: Final = 2


class _Loan(weakref.ref[NDArray[Any]]):
    """Watches the array that stands for a loan, and knows the memory behind it."""

    __slots__ = ("memory",)

    memory: NDArray[Any]


class BufferPool:
    """Recycles large buffers.

    One thread takes; the views may die in any thread.

    Args:
        max_idle_bytes: Most memory that is kept while nobody uses it. What is lent out is not
            bounded here: whoever takes decides how many payloads may live at a time.
    """

    def __init__(self, *, max_idle_bytes: int) -> None:
        """Start without memory."""
        self._max_idle_bytes = max_idle_bytes
        self._idle: list[NDArray[Any]] = []
        self._idle_bytes = 0
        # By identity, since a weak reference hashes as what it refers to.
        self._loans: dict[int, _Loan] = {}
        # A view may die anywhere, even inside `take`, so coming back must need no lock.
        self._returned: deque[_Loan] = deque()

    @property
    def idle_bytes(self) -> int:
        """Memory that is kept for later, in bytes."""
        self._collect()
        return self._idle_bytes

    @property
    def lent(self) -> int:
        """How many buffers are in use."""
        self._collect()
        return len(self._loans)

    def take(self, size: int) -> memoryview:
        """Return ``size`` writable bytes of any content, format ``B``.

        They come back by themselves when the view, and everything made on it, is gone.
        """
        if size < MIN_POOLED_BYTES:
            return memoryview(bytearray(size))
        self._collect()
        memory = self._take_idle(size)
        if memory is None:
            memory = np.empty(size, np.uint8)
        # Exports of a view of the array hold the view, not the array: its death is the signal.
        lent = memory[:size]
        loan = _Loan(lent, self._returned.append)
        loan.memory = memory
        self._loans[id(loan)] = loan
        return lent.data

    def _take_idle(self, size: int) -> NDArray[Any] | None:
        # The one that came back last is most likely still in the processor's cache.
        for index in range(len(self._idle) - 1, -1, -1):
            if size <= self._idle[index].nbytes <= size * MAX_SPARE_FACTOR:
                memory = self._idle.pop(index)
                self._idle_bytes -= memory.nbytes
                return memory
        return None

    def _collect(self) -> None:
        """Take back what has died, and free what is too much: that idle for longest first."""
        while self._returned:
            loan = self._returned.popleft()
            del self._loans[id(loan)]
            self._idle.append(loan.memory)
            self._idle_bytes += loan.memory.nbytes
        while self._idle_bytes > self._max_idle_bytes:
            self._idle_bytes -= self._idle.pop(0).nbytes

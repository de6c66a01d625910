"""The frames of one stream that a server has and has not stored yet: how many, how large.

waiting = WaitingFrames(memory)
waiting.enter(frame.held_bytes)
waiting.leave(frame.held_bytes)                 # once it is stored, or never will be
await waiting.are_over.wait()
"""

import asyncio
from typing import Final

from offload.cloud.frame_memory import FrameMemory

# So many may wait for tasks and disk before the stream's connection is no longer read: the window
# of a device is smaller, so this stops only those that ignore theirs, or whose frames are large.
MAX_WAITING_FRAMES: Final = 1100
MAX_WAITING_BYTES: Final = 256 * 1024 * 1024

# A waiting frame, or run of ended frames, has objects beside its payload: message, job, outcome.
FRAME_OBJECTS_BYTES: Final = 4096


class WaitingFrames:
    """Counts one stream's frames from their coming to their end; for the event loop.

    Args:
        memory: Where they are counted over all streams.

    Attributes:
        are_over: Set while there are none.
        frames: How many there are.
    """

    def __init__(self, memory: FrameMemory) -> None:
        """Start with none."""
        self.are_over = asyncio.Event()
        self.are_over.set()
        self._memory = memory
        self.frames = 0
        self._bytes = 0

    @property
    def are_too_many(self) -> bool:
        """Whether the stream's connection should not be read."""
        return self.frames > MAX_WAITING_FRAMES or self._bytes > MAX_WAITING_BYTES

    def enter(self, held_bytes: int) -> None:
        """Count one more; the bytes of its payload are reserved already."""
        self.frames += 1
        self._bytes += held_bytes
        self._memory.hold(FRAME_OBJECTS_BYTES)
        self.are_over.clear()

    def leave(self, held_bytes: int) -> None:
        """Count one less, and release its memory."""
        self.frames -= 1
        self._bytes -= held_bytes
        self._memory.release(held_bytes + FRAME_OBJECTS_BYTES)
        if self.frames == 0:
            self.are_over.set()

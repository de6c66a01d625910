"""What a peer does: the work of its two ends, and the ends themselves.

work = Work(shapes=[(480, 640, 3)], device=frames, cloud=look)
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

Array = NDArray[Any]
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What travels for one frame.

    Attributes:
        time_s: Media time.
        arrays: All uint8, and contiguous.
    """

    time_s: float
    arrays: list[Array]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the two ends do beside sending and receiving.

    Attributes:
        shapes: Of the arrays of every message.
        device: Gives messages without an end.
        cloud: Takes each message that arrived.
    """

    shapes: list[Shape]
    device: Callable[[], Iterator[Message]]
    cloud: Callable[[Message], None]


class DeviceEnd(Protocol):
    """The sending end of a peer; answers may be received on another thread."""

    def send(self, message: Message) -> None:
        """Send a message."""

    def receive_answer(self) -> None:
        """Wait for one answer."""

    def close(self) -> None:
        """Say that this was all."""


class CloudEnd(Protocol):
    """The receiving end of a peer."""

    @property
    def port(self) -> int:
        """Where it listens on the loopback address."""

    def receive(self) -> Message | None:
        """Wait for one message; None when there are no more."""

    def answer(self) -> None:
        """Answer a message."""

    def close(self) -> None:
        """Release what it holds."""

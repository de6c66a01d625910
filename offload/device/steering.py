"""Make the changes that operators ask for, and say what came of each; for the main thread.

steering = DeviceSteering(uplink, scheduler, split=3, drain=drain, ...)  # says how it is steered
steering.follow()                                                        # now and then
"""

from typing import Protocol

from offload.messages import (
    Change,
    DrainDevice,
    PinSplit,
    Release,
    SetTarget,
    SteeringMode,
    SteeringRequest,
    change_name,
    change_value,
)
from offload.telemetry.events import Steered
from offload.telemetry.recorder import Recorder


class Steerable(Protocol):
    """What is steered: a scheduler."""

    target_fps: float

    def pin(self, split: int) -> None:
        """Run all frames at ``split``, or raise `ValueError`."""

    def release(self) -> None:
        """Choose freely again."""


class Ending(Protocol):
    """What ends the run."""

    def begin(self, *, why: str = "") -> None:
        """Capture no more, and finish what is in flight."""


class Asker(Protocol):
    """Who asks for changes: an uplink."""

    def take_requests(self) -> list[SteeringRequest]:
        """Return the changes that were asked for since the last call."""

    def say_steering(
        self,
        *,
        mode: SteeringMode,
        target: float | None,
        pinned: int | None,
        error: str | None = None,
        answers: SteeringRequest | None = None,
    ) -> None:
        """Say how this device is steered."""


class DeviceSteering:
    """How one device is steered.

    Args:
        asker: Asks for changes, and is told what came of them.
        scheduler: What is steered; None in manual mode, where nothing is.
        split: The split of all frames in manual mode.
        drain: Ends the run.
        recorder: Is told of every change.
        stream: Whose changes they are.

    Attributes:
        pinned: The split of all frames, if it is fixed.
    """

    def __init__(
        self,
        asker: Asker,
        scheduler: Steerable | None,
        *,
        split: int,
        drain: Ending,
        recorder: Recorder,
        stream: str,
    ) -> None:
        """Say how it is steered."""
        self._asker = asker
        self._drain = drain
        self._recorder = recorder
        self._stream = stream
        self._scheduler = scheduler
        self.pinned = split if scheduler is None else None
        self._say()

    def follow(self) -> None:
        """Make the changes that were asked for, in order."""
        for request in self._asker.take_requests():
            error = self._make(request.change)
            self._record(request, error)
            self._say(error=error, answers=request)

    def _make(self, change: Change) -> str | None:
        """Make a change; return why it cannot be made, None if it was."""
        if isinstance(change, DrainDevice):
            # The answer, which comes next, goes out before the end of the stream does.
            self._drain.begin(why="an operator asked for it")
            return None
        if self._scheduler is None:
            return (
                f"its device runs tasks 1 to {self.pinned} by hand (manual mode): start it with K "
                "and FPS to steer it"
            )
        try:
            match change:
                case SetTarget(fps=fps):
                    self._scheduler.target_fps = fps
                case PinSplit(split=split):
                    self._scheduler.pin(split)
                    self.pinned = split
                case Release():
                    self._scheduler.release()
                    self.pinned = None
        except ValueError as error:
            return str(error)
        return None

    def _record(self, request: SteeringRequest, error: str | None) -> None:
        self._recorder.record(
            Steered(
                at_s=self._recorder.now(),
                stream=self._stream,
                change=change_name(request.change),
                value=change_value(request.change),
                error=error,
                target_fps=None if self._scheduler is None else self._scheduler.target_fps,
                pinned=self.pinned,
                by=None,
            )
        )

    def _say(self, *, error: str | None = None, answers: SteeringRequest | None = None) -> None:
        scheduler = self._scheduler
        self._asker.say_steering(
            mode=SteeringMode.MANUAL if scheduler is None else SteeringMode.AUTOMATIC,
            target=None if scheduler is None else scheduler.target_fps,
            pinned=self.pinned,
            error=error,
            answers=answers,
        )

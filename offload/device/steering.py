"""Make the changes that operators ask for, and say what came of each; for the main thread.

steering = DeviceSteering(uplink, scheduler, split=3)   # says how this device is steered
steering.follow()                                       # now and then
"""

import logging
from dataclasses import asdict
from typing import Protocol

from offload.messages import Change, PinSplit, Release, SetTarget, SteeringMode, SteeringRequest

logger = logging.getLogger("device")


class Steerable(Protocol):
    """What is steered: a scheduler."""

    target_fps: float

    def pin(self, split: int) -> None:
        """Run all frames at ``split``, or raise `ValueError`."""

    def release(self) -> None:
        """Choose freely again."""


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
    """

    def __init__(self, asker: Asker, scheduler: Steerable | None, *, split: int) -> None:
        """Say how it is steered."""
        self._asker = asker
        self._scheduler = scheduler
        self._pinned = split if scheduler is None else None
        self._say()

    def follow(self) -> None:
        """Make the changes that were asked for, in order."""
        for request in self._asker.take_requests():
            error = self._make(request.change)
            fields = {"change": request.control().name, **asdict(request.change)}
            if error is None:
                logger.info("steered", extra=fields)
            else:
                logger.warning("steering_refused", extra={**fields, "reason": error})
            self._say(error=error, answers=request)

    def _make(self, change: Change) -> str | None:
        """Make a change; return why it cannot be made, None if it was."""
        if self._scheduler is None:
            return (
                f"its device runs tasks 1 to {self._pinned} by hand (manual mode): start it with K "
                "and FPS to steer it"
            )
        try:
            match change:
                case SetTarget(fps=fps):
                    self._scheduler.target_fps = fps
                case PinSplit(split=split):
                    self._scheduler.pin(split)
                    self._pinned = split
                case Release():
                    self._scheduler.release()
                    self._pinned = None
        except ValueError as error:
            return str(error)
        return None

    def _say(self, *, error: str | None = None, answers: SteeringRequest | None = None) -> None:
        scheduler = self._scheduler
        self._asker.say_steering(
            mode=SteeringMode.MANUAL if scheduler is None else SteeringMode.AUTOMATIC,
            target=None if scheduler is None else scheduler.target_fps,
            pinned=self._pinned,
            error=error,
            answers=answers,
        )

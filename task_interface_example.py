"""An app that explains the interface: it follows a bright disc through noise. It runs as it is.

A source gives frames, tasks follow, a `Pipeline` joins them. A task's parameters name the values
that it takes, ``gives`` names what it adds; so any split knows which values are still needed.

    python3 iot_client_coordinator.py --app task_interface_example
"""

from typing import Any

import cv2
import numpy as np

from task_interface import FILTER, Context, Pipeline, Placement, source, task


@source(gives="frame")
def get_frame() -> Any:
    """Yield 100 pictures, uint8[120, 160]; the disc goes to the left, back, and is gone."""
    for seq in range(100):
        frame = np.random.default_rng(seq).integers(0, 100, (120, 160), np.uint8)
        yield cv2.circle(frame, (20 + abs(seq - 40), 20), 15, 255, -1) if seq < 80 else frame


@task(gives="mask", encodings=("raw", "packed"))  # how this value may travel
def find_bright(frame: Any) -> Any:
    """A function keeps no state: it may run on either side."""
    return cv2.inRange(cv2.blur(frame, (5, 5)), np.array(150), np.array(255))


@task(gives=("x", "area"))
def measure(mask: Any) -> Any:
    """Give two values, or end a frame that shows nothing: it has no result then."""
    area = int(np.count_nonzero(mask))
    return (float(np.nonzero(mask)[1].mean()), area) if area else FILTER


@task(placement=Placement.CLOUD)
class Path:
    """A class keeps state: one instance per stream, frames in order; it survives a restart."""

    def __init__(self) -> None:
        self.seen = self.length = 0.0

    def __call__(self, x: float, area: int, context: Context) -> dict[str, Any]:
        """Return the frame's result; ``context`` is what is known of the frame itself."""
        self.length, self.seen = self.length + abs(x - self.seen), x
        return {"number": context.seq, "x": x, "area": area, "length": self.length}

    def snapshot(self) -> Any:
        """Return the state; it is stored together with the results that it covers."""
        return [self.length, self.seen]

    def restore(self, state: Any) -> None:
        """Go on from what ``snapshot`` returned."""
        self.length, self.seen = state


pipeline = Pipeline([get_frame, find_bright, measure, Path])

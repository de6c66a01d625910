"""Which frames somebody looks at: all of them, so many a second, or none. Pure.

pictures = PictureRate()
pictures.fps = 5.0
watched = pictures.takes(now)
"""

import math
from typing import Final

# Less than one frame a day is as good as none, and its interval still a finite number.
MIN_FPS: Final = 1e-5


class PictureRate:
    """Picks the frames that are watched.

    Attributes:
        fps: At most so many a second; `math.inf` for all frames, 0 for none.
    """

    def __init__(self, fps: float = 0.0) -> None:
        """Begin with the next frame, if any."""
        self.fps = fps
        self._due_s = -math.inf

    def takes(self, now: float) -> bool:
        """Return whether the frame of ``now`` (monotonic seconds) is watched."""
        if self.fps == 0.0 or now < self._due_s:
            return False
        # From when it was due, so that the rate is met though frames come at other times; but
        # after a pause there is nothing to make up for.
        interval_s = 1 / max(self.fps, MIN_FPS)
        self._due_s = max(self._due_s, now - interval_s) + interval_s
        return True

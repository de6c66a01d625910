"""Ask the plan for a little more or less than the goal: what no estimate explains."""

from typing import Final

# The plant's gain is -1 whatever the workload, so these need no tuning per pipeline. The integral
# is in seconds of missing frames: a part of the goal for each, and more than 0.15 s in a period is
# no fine error, but a step that the estimates will see.
KI: Final = 0.5
KP: Final = 0.15
LOWEST: Final = -0.1
HIGHEST: Final = 1.0
MOST_STEP_S: Final = 0.15

# A device that waits for its source could do less in the cloud: it is asked for so much less each
# time.
RELAX: Final = 0.01


class Trim:
    """The part of the goal to ask for beyond it."""

    def __init__(self) -> None:
        self.value = 0.0
        self._integral = 0.0

    def add(self, deficit_s: float) -> None:
        """Take in how many seconds' worth of frames are missing; negative if there were more."""
        change = KI * max(-MOST_STEP_S, min(MOST_STEP_S, deficit_s))
        self._integral = max(LOWEST, min(HIGHEST, self._integral + change))

    def relax(self) -> None:
        """Ask for a little less: the device had time to wait."""
        self._integral = max(LOWEST, self._integral - RELAX)

    def update(self, error: float) -> None:
        """Add what answers the present error, a part of the goal."""
        self.value = max(LOWEST, min(HIGHEST, self._integral + KP * error))

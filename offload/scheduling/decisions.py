"""Keep what was decided, for a summary at the end of the run."""

from typing import Final

from offload.scheduling.terms import Decision, SchedulerState

# One decision a second for almost three hours. Past it every second one goes, so that a run of
# days still ends with a summary that covers all of it and can be read.
MAX_DECISIONS: Final = 10_000

# One without a change is kept so often.
RECORDED_EVERY_S: Final = 1.0


class Decisions:
    """The decisions of a run, as many as can be read."""

    def __init__(self) -> None:
        self._decisions: list[Decision] = []

    def add(self, state: SchedulerState) -> None:
        """Keep where the loop stands if the reason is new, or if the last one is a second old."""
        last = self._decisions[-1] if self._decisions else None
        is_same = last is not None and last.reason is state.reason
        if last and is_same and state.at_s < last.at_s + RECORDED_EVERY_S:
            return
        self._decisions.append(
            Decision(
                at_s=state.at_s,
                fps=state.fps,
                target_fps=state.target_fps,
                split=state.position,
                reason=state.reason,
            )
        )
        if len(self._decisions) > MAX_DECISIONS:
            del self._decisions[1::2]

    def all(self) -> tuple[Decision, ...]:
        """Return them, oldest first."""
        return tuple(self._decisions)

"""Notice in samples that a scheduler has another reason for its split. Pure."""

from offload.telemetry.events import ReasonChanged, Sampled


class ReasonWatch:
    """Watches one stream; a reason that comes and goes between two samples is not seen."""

    def __init__(self) -> None:
        """Know no reason yet."""
        self._reason: str | None = None

    def note(self, sampled: Sampled) -> ReasonChanged | None:
        """Return the change that this sample shows, if it shows one."""
        before, self._reason = self._reason, sampled.reason
        if sampled.reason is None or sampled.target_fps is None or sampled.reason == before:
            return None
        return ReasonChanged(
            at_s=sampled.at_s,
            stream=sampled.stream,
            reason=sampled.reason,
            fps=sampled.fps,
            target_fps=sampled.target_fps,
            split=sampled.split or 0.0,
        )

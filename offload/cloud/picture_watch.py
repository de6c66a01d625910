"""Which streams' pictures somebody looks at, and how many a second their devices are asked for.

Pure: times are monotonic seconds.

    watch = PictureWatch(always_fps=0.0, ask=ask)
    watch.fps_of("porch")                       # for a device that has just come
    watch.look("porch", now)                    # somebody does
    watch.forget(now)                           # now and then
"""

from collections.abc import Callable
from typing import Final

# Enough to see that something moves, and what a page shows at most.
LOOK_FPS: Final = 5.0

# Whoever looks asks again at least every two seconds.
LOOK_S: Final = 3.0

# Asks a stream's device for so many pictures a second.
Ask = Callable[[str, float], None]


class PictureWatch:
    """Asks devices for pictures while somebody looks at them.

    Args:
        always_fps: What they are asked for in any case; infinity for all frames.
        ask: Asks the device of a stream, if it is connected.
    """

    def __init__(self, *, always_fps: float, ask: Ask) -> None:
        """Nobody looks yet."""
        self._always_fps = always_fps
        self._ask = ask
        self._looked_s: dict[str, float] = {}

    def fps_of(self, stream: str) -> float:
        """Return how many pictures a second are wanted of a stream; infinity for all frames."""
        looked = LOOK_FPS if stream in self._looked_s else 0.0
        return max(self._always_fps, looked)

    def look(self, stream: str, now: float) -> None:
        """Take note that somebody looks at a stream."""
        before = self.fps_of(stream)
        self._looked_s[stream] = now
        self._ask_anew(stream, before)

    def forget(self, now: float) -> list[str]:
        """Return the streams that nobody looks at any more; their devices are told."""
        over = [name for name, at_s in self._looked_s.items() if now - at_s > LOOK_S]
        for name in over:
            before = self.fps_of(name)
            del self._looked_s[name]
            self._ask_anew(name, before)
        return over

    def _ask_anew(self, stream: str, before: float) -> None:
        wanted = self.fps_of(stream)
        if wanted != before:
            self._ask(stream, wanted)

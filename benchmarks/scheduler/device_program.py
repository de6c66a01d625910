"""Run the device program as it is, and write down when each frame was split and finished.

    python3 -m benchmarks.scheduler.device_program FRAMES ours|rule K [FPS] OPTIONS...

Everything after the second word is the device program's own command line. FRAMES gets one JSON
object at the end: what `FrameLog.as_plain` says. With ``rule`` the plain rule of `plain_rule` is in
the place of the scheduler; nothing else of the program is another.
"""

import json
import runpy
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import scheduler
from benchmarks.scheduler.plain_rule import PlainRule
from offload.device import totals
from offload.device.outbox import Delivered
from offload.messages import Outcome

PROGRAM: Final = Path(__file__).parents[2] / "iot_client_coordinator.py"

RULE: Final = "rule"


class FrameLog:
    """What became of the frames of a run, one by one."""

    def __init__(self) -> None:
        """Begin empty, now."""
        # The emulation's log has the wall clock; both are read once, so that it cannot jump.
        self._wall_minus_monotonic_s = time.time() - time.monotonic()
        self.chosen: list[tuple[float, int]] = []
        self.finished: list[tuple[float, float]] = []

    def as_plain(self) -> dict[str, object]:
        """Return what is written: wall clock seconds, each with a split or with a latency.

        ``chosen`` has the frames that were taken, ``finished`` those that ended with a result or
        filtered, which is what counts as throughput.
        """
        shift_s = self._wall_minus_monotonic_s
        return {
            "chosen": [[at_s + shift_s, split] for at_s, split in self.chosen],
            "finished": [[at_s + shift_s, latency_s] for at_s, latency_s in self.finished],
        }


def main(arguments: Sequence[str]) -> None:
    """Run the program; it ends by SystemExit, as it does by itself."""
    path, chooser, *own = arguments
    log = FrameLog()
    totals.RunTotals = logging_totals(log)  # type: ignore[misc]  # a subclass of it
    if chooser == RULE:
        scheduler.ThroughputScheduler = PlainRule  # type: ignore[misc,assignment]  # what is used of it
    sys.argv = [str(PROGRAM), *own]
    try:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    finally:
        Path(path).write_text(json.dumps(log.as_plain()), encoding="utf-8")


def logging_totals(log: FrameLog) -> type[totals.RunTotals]:
    """Return the class of the device's totals, which also writes into ``log``."""

    class LoggingTotals(totals.RunTotals):
        def chose(self, split: int) -> None:
            super().chose(split)
            log.chosen.append((time.monotonic(), split))

        def finished(self, delivered: Delivered) -> None:
            super().finished(delivered)
            if delivered.outcome.outcome in (Outcome.RESULT, Outcome.FILTERED):
                at_s = delivered.finished_s
                log.finished.extend((at_s, at_s - each) for each in delivered.captured_s)

    return LoggingTotals


if __name__ == "__main__":
    main(sys.argv[1:])

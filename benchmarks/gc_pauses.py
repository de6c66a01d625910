"""Run a Python program in this process, and record how long garbage collections held it up.

    python3 -m benchmarks.gc_pauses REPORT PYTHON SCRIPT [ARGUMENT...]

What follows REPORT is the program's usual command line; PYTHON is ignored, so that these words can
be put in front of a command. REPORT is written when the program ends: a JSON object with the
longest pause in seconds, of wall time and of the collecting thread's own processor time (the
difference is what other programs took), and the number of collections. They count from the first
thread that the program starts; before that it loads its modules.
"""

import gc
import json
import runpy
import sys
import threading
import time
from pathlib import Path
from types import FrameType


class PauseRecorder:
    """Hooks of the interpreter that measure each collection."""

    def __init__(self) -> None:
        """Begin to listen."""
        self._counts = False
        self._collections = 0
        self._longest_s = 0.0
        self._longest_cpu_s = 0.0
        self._began_s = 0.0
        self._began_cpu_s = 0.0
        gc.callbacks.append(self._collecting)
        # The one hook that is called in every thread as it starts.
        threading.setprofile(self._thread_started)

    def report(self) -> dict[str, float]:
        """Return what was recorded up to now."""
        return {
            "longest_s": self._longest_s,
            "longest_cpu_s": self._longest_cpu_s,
            "collections": self._collections,
        }

    def _thread_started(self, _frame: FrameType, _event: str, _argument: object) -> None:
        sys.setprofile(None)
        self._counts = True

    # The interpreter runs one collection at a time, from start to stop in one thread.
    def _collecting(self, phase: str, _facts: dict[str, int]) -> None:
        if phase == "start":
            self._began_s, self._began_cpu_s = time.perf_counter(), time.thread_time()
        elif self._counts:
            self._collections += 1
            self._longest_s = max(self._longest_s, time.perf_counter() - self._began_s)
            cpu_s = time.thread_time() - self._began_cpu_s
            self._longest_cpu_s = max(self._longest_cpu_s, cpu_s)


def main() -> None:
    """Run the program; its exit code is ours."""
    report, _, script, *arguments = sys.argv[1:]
    sys.argv = [script, *arguments]
    sys.path[0] = str(Path(script).parent)
    recorder = PauseRecorder()
    try:
        runpy.run_path(script, run_name="__main__")
    finally:
        Path(report).write_text(json.dumps(recorder.report()), encoding="utf-8")


if __name__ == "__main__":
    main()

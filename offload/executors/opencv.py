"""Share the processors between the threads that run tasks and those that OpenCV starts itself."""

import os
import sys


def share_processors(workers: int) -> None:
    """Let OpenCV use as many threads of its own as ``workers`` threads of ours leave it.

    By default each call of OpenCV uses all processors. With several calls at a time the threads
    then wait for each other, and each frame costs up to twice the processor time.
    """
    # An app without OpenCV should not load it for this.
    opencv = sys.modules.get("cv2")
    if opencv is not None and workers > 1:
        opencv.setNumThreads(max(1, (os.cpu_count() or 1) // workers))

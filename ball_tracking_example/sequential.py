"""Ball tracking as one plain loop: what one has before anything is split.

It knows nothing of tasks. ``taskified.py`` does the same work in seven tasks, and a test holds the
two against each other frame by frame. Nothing is drawn, as nobody watches.

    python3 -m ball_tracking_example.sequential synthetic --frames 300
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

import cv2
import numpy as np

from ball_tracking_example.sources import WIDTH, Image, LoadingError, make_source

__all__ = ["BLUR", "GREEN_FROM", "GREEN_TO", "MIN_RADIUS", "SQUARE", "track"]

# Wide enough to wipe out sensor noise, which would tear the mask into specks.
BLUR: Final = (11, 11)

# Hue, saturation and value, in OpenCV's ranges, of a green ball from shadow to full light.
GREEN_FROM: Final = (29, 86, 6)
GREEN_TO: Final = (64, 255, 255)

# What erosion and dilation look at around a pixel; two rounds wipe out specks under 5 pixels.
SQUARE: Final = np.ones((3, 3), np.uint8)

# Pixels; what is this small is a speck and no ball.
MIN_RADIUS: Final = 5.0

# One line for each result, and flushed no more often than a reader can follow.
_FLUSH_EVERY: Final = 32


def track(frames: Iterable[tuple[Image, float]]) -> Iterator[dict[str, float | None] | None]:
    """Follow the ball through ``frames``.

    Args:
        frames: Pictures of any size, uint8[height, width, 3], BGR, each with its media time in
            seconds. They are not modified.

    Yields:
        For each frame None if no ball was found, else ``x`` and ``y`` (centroid) and ``radius`` in
        pixels, ``detections`` so far including this one, and ``speed_px_s`` since the last
        detection, which is None for the first one and where media time did not advance.
    """
    # Here, because whoever needs but a constant of this module should not pay for it with 8 MB.
    import imutils

    detections = 0
    last = None
    for picture, time_s in frames:
        frame = imutils.resize(picture, width=WIDTH)
        blurred = cv2.GaussianBlur(frame, BLUR, 0)
        hsv = cv2.cvtColor(blurred, cv2.COLOR_BGR2HSV)
        mask = cv2.inRange(hsv, GREEN_FROM, GREEN_TO)
        mask = cv2.erode(mask, SQUARE, iterations=2)
        mask = cv2.dilate(mask, SQUARE, iterations=2)
        found = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        contours = imutils.grab_contours(found)
        if not contours:
            yield None
            continue

        largest = max(contours, key=cv2.contourArea)
        (x, y), radius = cv2.minEnclosingCircle(largest)
        if radius <= MIN_RADIUS:
            yield None
            continue
        moments = cv2.moments(largest)
        if moments["m00"] > 0:
            x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]

        speed_px_s = None
        if last is not None and time_s > last[2]:
            speed_px_s = math.hypot(x - last[0], y - last[1]) / (time_s - last[2])
        last = (x, y, time_s)
        detections += 1
        yield {
            "x": x,
            "y": y,
            "radius": radius,
            "detections": detections,
            "speed_px_s": speed_px_s,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Track one source; results go to standard output as JSON lines, the rate to standard error.

    Returns:
        0, or 2 if the source cannot be loaded.
    """
    parser = argparse.ArgumentParser(prog="python3 -m ball_tracking_example.sequential")
    parser.add_argument("source", nargs="?", default="synthetic", metavar="SPEC")
    parser.add_argument("--frames", type=int, metavar="N", help="stop after N frames")
    options = parser.parse_args(arguments)
    seq = -1
    started_at = time.monotonic()
    try:
        frames = islice(make_source(options.source).open(0), options.frames)
        for seq, result in enumerate(track(frames)):
            if result is not None:
                sys.stdout.write(json.dumps({"seq": seq} | result) + "\n")
            if seq % _FLUSH_EVERY == 0:
                sys.stdout.flush()
        sys.stdout.flush()
    except LoadingError as error:
        sys.stderr.write(f"{error}\n")
        return LoadingError.exit_code
    except KeyboardInterrupt:
        # The way to end a source without an end; the rate below is still worth having.
        pass
    elapsed_s = time.monotonic() - started_at
    sys.stderr.write(f"{seq + 1} frames in {elapsed_s:.2f} s, {(seq + 1) / elapsed_s:.1f} FPS\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BrokenPipeError:
        # The reader left (`| head`). Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)

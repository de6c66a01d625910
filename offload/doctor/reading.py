"""Load an app and read its source for a while, in a process of its own: both may do anything.

    python3 -m offload.doctor.reading MODULE[:ATTR] [SOURCE]

It writes JSON: a line when the app is loaded, another one when the source was read. An app and a
source that hang are ended by the doctor; one that fails ends this with its error. What they print
goes to standard error.
"""

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from offload.arguments import report_error
from offload.errors import LoadingError, OffloadError, TaskError
from offload.loading import App, load_app

# How long a source is read after its first frame: some frames of the slowest cameras.
READ_S: Final = 1.5

# What the server makes of an app: it opens no source.
NO_SOURCE: Final = "-"

# Handed on as given by default, so that an app that takes none is not refused for it.
DEFAULT_MARK: Final = "default:"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    spec, source = sys.argv[1:] if arguments is None else arguments
    try:
        with _own_output() as output:
            # First as the server does: what fails after it is the source's fault, not the app's.
            _write(output, _described(load_app(spec, source=None)))
            if source != NO_SOURCE:
                _write(output, _read(_load(spec, source)))
    except OffloadError as error:
        return report_error(error)
    return 0


@contextmanager
def _own_output() -> Iterator[TextIO]:
    """Yield standard output; whatever else is written there goes to standard error from now on."""
    with open(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as output:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        # By the same buffer, so that lines stay in order.
        sys.stdout = sys.stderr
        yield output


def _write(output: TextIO, said: Mapping[str, object]) -> None:
    output.write(f"{json.dumps(said)}\n")
    output.flush()


def _load(spec: str, source: str) -> App:
    is_default = source.startswith(DEFAULT_MARK)
    return load_app(spec, source=source.removeprefix(DEFAULT_MARK), source_is_default=is_default)


def _described(app: App) -> dict[str, object]:
    pipeline = app.pipeline
    return {
        "name": app.name,
        "tasks": list(pipeline.names),
        "splits": list(pipeline.splits),
        "fingerprint": pipeline.fingerprint(),
        "on_demand": [each.name for each in pipeline.tasks if each.on_demand],
    }


def _read(app: App) -> dict[str, object]:
    """Read for a while, and say how many frames came after the first one.

    Raises:
        OffloadError: The source cannot be opened, or raised.
    """
    declared = app.pipeline.source
    try:
        source = declared.bind()
        frames = 0
        first_s = end_s = time.monotonic()
        given = source.open(0)
        for raw in given:
            end_s = time.monotonic()
            newest = raw
            if frames == 0:
                first_s = end_s
            frames += 1
            if end_s >= first_s + READ_S:
                break
        if frames:
            # One is enough, and is not timed: a run prepares several frames at once. The source is
            # still open, whose memory a frame may lie in.
            source.frame_values(newest)
    except OffloadError:
        raise
    # A user's source may raise anything.
    except Exception as error:
        raise TaskError(declared.name, f"raised {type(error).__name__}: {error}") from error
    if not frames:
        raise LoadingError(f"source {declared.name!r} gave no frame")
    return {
        "frames": frames,
        "seconds": end_s - first_s,
        "live": source.live,
        "rate_fps": source.rate_fps,
    }


if __name__ == "__main__":
    sys.exit(main())

"""Downloads of a stream's results, each written by a process of its own.

Results may hold pictures, which take long to become text, and keep the interpreter meanwhile from
whoever waits for it. So ``python3 -m offload.results export`` does that beside the server, and what
it writes is passed on as the browser takes it.
"""

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from offload.dashboard.doors import Visit
from offload.dashboard.lasting import Places
from offload.errors import ResultsError

logger = logging.getLogger("dashboard")

# Each is a process, and a thread that waits for what it writes.
MAX_DOWNLOADS: Final = 4

# What a pipe holds.
PART_BYTES: Final = 64 * 1024

# Where there is not enough for both, the server goes first.
NICENESS: Final = 10

MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}

# Where this package is, which need not be the folder in which the server was started.
_FOLDER: Final = Path(__file__).parents[2]


class Downloads:
    """The downloads under way.

    Attributes:
        places: Each has taken one.
    """

    def __init__(self) -> None:
        """Start without any."""
        self.places = Places(MAX_DOWNLOADS)
        self._waiting = ThreadPoolExecutor(MAX_DOWNLOADS, thread_name_prefix="download")

    async def read(
        self, visit: Visit, path: Path, stream: str, kind: str
    ) -> AsyncGenerator[bytes, None]:
        """Yield all results of a stream as text, a part at a time, until the visit is over.

        Raises:
            ResultsError: They cannot be read, or the visit is over: what was sent is not all.
        """
        loop = asyncio.get_running_loop()
        try:
            export = _Export(path, stream, kind)
            try:
                while part := await loop.run_in_executor(self._waiting, export.next_part):
                    yield part
                    if visit.is_over:
                        raise ResultsError("whoever reads them has signed out, or may not any more")
            finally:
                export.kill()
                # A part may be under way that nobody waits for any more.
                self._waiting.submit(export.release)
        except (OSError, ResultsError) as error:
            # What was sent is an answer that stops in the middle, which the browser says.
            logger.error("download_failed", extra={"stream": stream, "reason": str(error)})
            raise ResultsError(f"results cannot be read: {error}") from error

    def close(self) -> None:
        """Give back its threads, without waiting for them."""
        self._waiting.shutdown(wait=False)


class _Export:
    """The process of one download; threads wait for it, so that the event loop need not."""

    def __init__(self, path: Path, stream: str, kind: str) -> None:
        command = (sys.executable, "-X", "utf8", "-m", "offload.results", "export")
        self._process = subprocess.Popen(
            # The stream's name is in one word with its option: it may begin as an option does. In
            # UTF-8 it can be said whatever the locale.
            [*command, "--format", kind, f"--stream={stream}".encode(), path.absolute()],
            cwd=_FOLDER,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # An interrupt at the terminal is for the server, which may have to finish first.
            start_new_session=True,
        )
        os.setpriority(os.PRIO_PROCESS, self._process.pid, NICENESS)

    def next_part(self) -> bytes:
        """Return what it writes next; empty at its end.

        Raises:
            ResultsError: It has failed.
        """
        assert isinstance(self._process.stdout, io.BufferedReader)
        assert self._process.stderr is not None
        if part := self._process.stdout.read1(PART_BYTES):
            return part
        said = self._process.stderr.read().decode(errors="replace").splitlines()
        if code := self._process.wait():
            reason = said[-1].removeprefix("error: ") if said else f"export ended with code {code}"
            raise ResultsError(reason)
        return b""

    def kill(self) -> None:
        """End it, if it has not ended."""
        self._process.kill()

    def release(self) -> None:
        """Give everything back, once a part that is under way is read."""
        with self._process:
            pass

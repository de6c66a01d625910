"""Read a device's command line as the program does, and leave the tests' own logging as it was."""

import logging
from collections.abc import Mapping, Sequence

from offload.device.options import Options, parse


def read_options(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Options:
    """Return what ``arguments`` ask for; see `parse`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers = []
    try:
        return parse(arguments, environment or {})
    finally:
        root.handlers = handlers
        root.setLevel(level)

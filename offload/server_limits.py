"""Limits of a server, for its own command line and for the doctor's, which looks before. Pure.

memory_bytes(parsed.memory_limit, max_frame_bytes=MAX_MESSAGE_BYTES)
"""

from typing import Final

from offload.errors import ConfigurationError
from offload.sizes import size_in_words
from offload.values import MAX_DECODED_BYTES

# Each client is a connection and a stream with its tasks; more of them need a larger machine.
DEFAULT_MAX_CLIENTS: Final = 1024

# Frames of all devices, as they came and decoded: some windows of raw pictures.
DEFAULT_MEMORY_BYTES: Final = 1024**3


def memory_bytes(given: int | None, *, max_frame_bytes: int) -> int:
    """Return what the frames of all devices may take in memory.

    Args:
        given: What ``--memory-limit`` says; None for the default, or more if frames need it.
        max_frame_bytes: What ``--max-frame`` says.

    Raises:
        ConfigurationError: The largest frame could never come in.
    """
    # As it came, and decoded.
    least_bytes = max_frame_bytes + MAX_DECODED_BYTES
    if given is None:
        return max(DEFAULT_MEMORY_BYTES, least_bytes)
    if given < least_bytes:
        raise ConfigurationError(
            f"--memory-limit is {size_in_words(given)}, expected at least "
            f"{size_in_words(least_bytes)}: --max-frame, and 64MiB for what is in it decoded"
        )
    return given

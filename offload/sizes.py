"""Sizes in words: exact, and so that one sees how large they are. Pure.

size_in_words(123_456_789)                      # "123456789 bytes (117.7 MiB)"
"""

from typing import Final

_MIB: Final = 1024 * 1024


def size_in_words(byte_count: int) -> str:
    """Return the number of bytes, and from 1 MiB on also how many MiB that is."""
    exact = f"{byte_count} bytes"
    return f"{exact} ({byte_count / _MIB:.1f} MiB)" if byte_count >= _MIB else exact

"""Sizes in words."""

import pytest

from offload.sizes import size_in_words


@pytest.mark.parametrize(
    ("byte_count", "words"),
    [
        (0, "0 bytes"),
        (1024 * 1024 - 1, "1048575 bytes"),
        (1024 * 1024, "1048576 bytes (1.0 MiB)"),
        (123_456_789, "123456789 bytes (117.7 MiB)"),
    ],
)
def test_a_size_is_exact_and_from_a_mebibyte_on_also_readable(byte_count: int, words: str) -> None:
    assert size_in_words(byte_count) == words

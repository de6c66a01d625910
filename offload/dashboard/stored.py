"""A page of the stored results of a stream, for a table; ``downloads`` has all of them."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from offload.errors import OffloadError, ResultsError
from offload.results.reading import COLUMNS, SizedRow, finite, newest, value_of
from offload.results.sqlite import connect_reader

# Of each value that a table shows; what is longer is a picture or the like.
MAX_SHOWN_BYTES: Final = 4096

# Rows on one page of the table.
MAX_ROWS: Final = 500
DEFAULT_ROWS: Final = 100


def read_page(path: Path, stream: str, *, before: int | None, limit: int) -> dict[str, Any]:
    """Return the newest results of a stream before a sequence number, for a table.

    Raises:
        ResultsError: They cannot be read now.
    """
    try:
        with closing(connect_reader(path)) as connection:
            found = newest(
                connection, stream, before=before, limit=limit + 1, value_bytes=MAX_SHOWN_BYTES
            )
    except (OffloadError, sqlite3.Error) as error:
        raise ResultsError(f"results cannot be read: {error}") from error
    shown = found[:limit]
    following = shown[-1].row[1] if len(found) > limit else None
    return {"kept": True, "rows": [_fields(each) for each in shown], "next": following}


def _fields(found: SizedRow) -> dict[str, Any]:
    value: object
    if found.value_bytes > MAX_SHOWN_BYTES:
        value = f"({found.value_bytes} bytes: see the download)"
    else:
        try:
            value = value_of(found.row)
        except ResultsError as error:
            value = f"({error})"
    return dict(zip(COLUMNS[1:], (*map(finite, found.row[1:-1]), value), strict=True))

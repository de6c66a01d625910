"""The page's files, read once: some hundred kilobytes that all visitors share."""

import hashlib
import mimetypes
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

PAGE: Final = "index.html"
SIGN_IN: Final = "sign-in.html"

# What a file's name ends in says what it is, whatever the machine's own tables say.
_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file: its bytes, its type, and what tells a changed one."""

    content: bytes
    media_type: str
    tag: str


class Assets:
    """The files of a folder, by their names.

    Args:
        folder: Where they are; the page's own by default.
    """

    def __init__(self, folder: Traversable | None = None) -> None:
        """Read them."""
        folder = folder or files("offload.dashboard") / "static"
        self._assets = {each.name: _read(each) for each in folder.iterdir() if each.is_file()}

    def get(self, name: str) -> Asset | None:
        """Return a file; None if there is none of that name."""
        return self._assets.get(name)


def _read(file: Traversable) -> Asset:
    content = file.read_bytes()
    suffix = file.name[file.name.rfind(".") :]
    media_type = _TYPES.get(suffix) or mimetypes.guess_type(file.name)[0]
    return Asset(
        content=content,
        media_type=media_type or "application/octet-stream",
        tag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
    )

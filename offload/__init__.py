"""Move bytes and numbers between a device and the cloud; it knows no tasks and no splits."""

from typing import Final

__version__: Final = "0.1.0"

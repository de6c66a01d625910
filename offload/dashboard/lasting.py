"""Answers that last: as many at a time as there are places, each given back when its answer ends.

places = Places(64)
if not places.take(): ...                   # there are too many
return LastingResponse(events, places, media_type="text/event-stream")
"""

from collections.abc import AsyncGenerator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from offload.errors import ResultsError


class Places:
    """Counts what is under way.

    Args:
        most: How many there may be.
    """

    def __init__(self, most: int) -> None:
        """Start with all of them free."""
        self._free = most

    def take(self) -> bool:
        """Take a place; False if there is none."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """Give a place back."""
        self._free += 1


class LastingResponse(StreamingResponse):
    """An answer in parts, which has a place until it ends, whoever ends it.

    Args:
        parts: Are asked for one after the other, as the browser takes them.
        places: Where its place was taken.
        response: What `StreamingResponse` takes.
    """

    def __init__(
        self, parts: AsyncGenerator[str | bytes, None], places: Places, **response: Any
    ) -> None:
        """Answer with these parts."""
        super().__init__(parts, **response)
        self._parts = parts
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the parts."""
        try:
            await super().__call__(scope, receive, send)
        # Said where it came up; an answer that is not complete is all that is left to say.
        except ResultsError:
            pass
        finally:
            self._places.give_back()
            # Else what they hold is held until somebody looks for what nobody uses.
            await self._parts.aclose()

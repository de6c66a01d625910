"""What control messages say to measure a link, and to compare clocks: a probe and its answer."""

from dataclasses import dataclass
from typing import Final, Self

from offload.errors import RemoteProtocolError
from offload.messages.control import Control
from offload.messages.envelope import read_bytes, read_integer, read_number, read_seq

PROBE: Final = "probe"
PROBED: Final = "probed"

# Of one message: it has to fit an envelope, and what is not read yet of several has to fit what a
# connection may hold. A rate takes several messages.
MAX_PROBE_BYTES: Final = 48 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Device to cloud: answer at once, with so many bytes.

    Attributes:
        number: The answer has it, too.
        padding: Bytes that mean nothing.
        wanted_bytes: How many of them the answer shall have.
    """

    number: int
    padding: bytes = b""
    wanted_bytes: int = 0

    def control(self) -> Control:
        """Return it as a control message."""
        return Control(
            name=PROBE,
            body={"request": self.number, "padding": self.padding, "wanted": self.wanted_bytes},
        )

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: A field is missing, of the wrong type, or out of range.
        """
        wanted = read_integer(control.body, "wanted")
        if not 0 <= wanted <= MAX_PROBE_BYTES:
            raise RemoteProtocolError(
                f"probe wants {wanted} bytes, expected at most {MAX_PROBE_BYTES}"
            )
        return cls(
            number=read_seq(control.body, "request"),
            padding=read_bytes(control.body, "padding"),
            wanted_bytes=wanted,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """Cloud to device: answers a probe. ``at`` is its wall clock, in seconds since 1970."""

    number: int
    at: float
    padding: bytes = b""

    def control(self) -> Control:
        """Return it as a control message."""
        return Control(
            name=PROBED, body={"request": self.number, "at": self.at, "padding": self.padding}
        )

    @classmethod
    def read(cls, control: Control) -> Self:
        """Read what `control` wrote.

        Raises:
            RemoteProtocolError: A field is missing, or of the wrong type.
        """
        return cls(
            number=read_seq(control.body, "request"),
            at=read_number(control.body, "at"),
            padding=read_bytes(control.body, "padding"),
        )

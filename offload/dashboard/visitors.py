"""Who looks at the page, and what they may do there. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class VisitorRole(StrEnum):
    """What a visitor may do."""

    OPERATOR = "operator"
    """See all, and steer."""
    VIEWER = "viewer"
    """See all."""
    DEVICE = "device"
    """See the streams that belong to the same token."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody who looks at the page; ``name`` is that of the token, empty without one."""

    name: str
    role: VisitorRole

    def may_see(self, owner: str | None) -> bool:
        """Return whether the visitor may see a stream of this owner's, None if nobody knows it."""
        return self.role is not VisitorRole.DEVICE or self.name == owner

    @property
    def may_steer(self) -> bool:
        """Whether the visitor may change how devices are steered."""
        return self.role is VisitorRole.OPERATOR

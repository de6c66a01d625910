"""Who may come in to the page. `OpenDoors` let everybody look; ``signing_in`` has the others."""

from typing import Final, Protocol

from offload.dashboard.sign_in_limits import Wait
from offload.dashboard.visitors import Visitor, VisitorRole


class Visit(Protocol):
    """A visitor who is in."""

    @property
    def visitor(self) -> Visitor:
        """Who it is."""

    @property
    def is_over(self) -> bool:
        """Whether the visitor has to sign in again."""


class Doors(Protocol):
    """Lets visitors in.

    Attributes:
        are_open: Whether nobody has to sign in.
    """

    are_open: bool

    def visit(self, cookie: str | None) -> Visit | None:
        """Return who has this cookie; None if they have to sign in."""

    def sign_in(self, line: str, *, address: str) -> str:
        """Return a new cookie for who knows a token, given as its line.

        Raises:
            AuthError: There is no such token.
            TooManyTries: There were too many tries; this one does not count.
        """

    def sign_out(self, cookie: str | None) -> None:
        """Forget a cookie."""


class TooManyTries(Exception):  # noqa: N818  # it says what happened, to a visitor and not to a user
    """There were too many tries to sign in lately; ``wait`` says of whom, and for how long."""

    def __init__(self, wait: Wait) -> None:
        super().__init__(f"{wait.limited} tried too often, wait {wait.seconds:.0f} s")
        self.wait = wait


class _Open:
    visitor: Final = Visitor(name="", role=VisitorRole.VIEWER)
    is_over: Final = False


class OpenDoors:
    """Everybody may look, and nobody may change anything."""

    are_open = True

    def visit(self, cookie: str | None) -> Visit | None:  # noqa: ARG002  # all are let in
        """Let them in."""
        return _Open()

    def sign_in(self, line: str, *, address: str) -> str:  # noqa: ARG002  # there is nothing to check
        """Give a cookie that says nothing."""
        return ""

    def sign_out(self, cookie: str | None) -> None:
        """Do nothing."""

"""Who may come in, as long as the server runs: tokens that may be withdrawn meanwhile.

access = Access(load_tokens(options.token_file, insecure=False, environment=os.environ))
credential = access.new_credential()            # one for each connection
session = CloudSession(
    secret_for=credential.secret_for, is_operator=credential.is_operator, ...
)
access.reload()
credential.is_withdrawn
"""

import logging

from offload.auth import ServerTokens
from offload.errors import ConfigurationError

logger = logging.getLogger(__name__)


class Access:
    """The tokens that the server accepts now.

    Args:
        tokens: Those that it starts with.
    """

    def __init__(self, tokens: ServerTokens) -> None:
        """Accept these."""
        self._tokens = tokens

    def new_credential(self) -> "Credential":
        """Return what notes whose secret a connection is asked for."""
        return Credential(self)

    def secret_for(self, name: str) -> bytes | None:
        """Return the secret of the token called ``name``, None if there is no such token now."""
        return self._tokens.secret_for(name)

    def is_operator(self, name: str) -> bool:
        """Return whether the token called ``name`` is an operator's now."""
        return self._tokens.is_operator(name)

    def reload(self) -> None:
        """Read the tokens again, and say so; if they cannot be read, those from before stay."""
        if self._tokens.path is None:
            self._say_unchanged("they do not come from a file: this needs a restart")
            return
        try:
            self._tokens = self._tokens.reloaded()
        except ConfigurationError as error:
            self._say_unchanged(str(error))
            return
        logger.info("tokens_reloaded", extra={"tokens": len(self._tokens.tokens)})

    def _say_unchanged(self, reason: str) -> None:
        logger.error(
            "tokens_not_reloaded", extra={"reason": reason, "in_force": "the tokens from before"}
        )


class Credential:
    """What one connection was asked for: a token's name, and what that token was then."""

    def __init__(self, access: Access) -> None:
        """Start before the question."""
        self.token = ""
        self._access = access
        self._secret: bytes | None = None
        self._is_operator = False

    def secret_for(self, name: str) -> bytes | None:
        """Return the secret of the token called ``name``, and remember what it is."""
        self.token = name
        self._secret = self._access.secret_for(name)
        self._is_operator = self._access.is_operator(name)
        return self._secret

    def is_operator(self, name: str) -> bool:
        """Return whether the token called ``name``, which was asked for, was an operator's."""
        return name == self.token and self._is_operator

    @property
    def is_withdrawn(self) -> bool:
        """Whether the token is gone, or has another secret or role than when it was asked for."""
        if self._secret is None:
            return False
        access, name = self._access, self.token
        now = (access.secret_for(name), access.is_operator(name))
        return now != (self._secret, self._is_operator)

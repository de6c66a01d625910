"""Who may come in, as long as the server runs: tokens that may be withdrawn meanwhile.

access = Access(load_tokens(options.token_file, insecure=False, environment=os.environ))
credential = access.new_credential()            # one for each connection
session = CloudSession(secret_for=credential.secret_for, role_of=credential.role_of, ...)
credential = access.check("boss:its-secret")    # of who gives a token's whole line
access.reload()
credential.is_withdrawn
"""

import hmac
import logging
from typing import Final

from offload.auth import ServerTokens, TokenRole
from offload.errors import AuthError, ConfigurationError

logger = logging.getLogger(__name__)

_NO_SECRET: Final = b"no token has as short a secret"


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

    def role_of(self, name: str) -> TokenRole | None:
        """Return what the token called ``name`` is for, None if there is no such token now."""
        return self._tokens.role_of(name)

    @property
    def has_tokens(self) -> bool:
        """Whether there are any."""
        return bool(self._tokens.tokens)

    def check(self, line: str) -> "Credential":
        """Return the credential of who gives a token's line, with or without its role.

        Raises:
            AuthError: There is no such token.
        """
        name, _, rest = line.partition(":")
        secret, colon, role = rest.partition(":")
        credential = self.new_credential()
        # A secret of the same kind, so that an unknown name takes as long.
        expected = credential.secret_for(name) or _NO_SECRET
        is_known = hmac.compare_digest(secret.encode("utf-8", "surrogateescape"), expected)
        if expected is _NO_SECRET or not is_known or (colon and role != credential.role):
            raise AuthError("there is no such token")
        return credential

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
        self._role: TokenRole | None = None

    def secret_for(self, name: str) -> bytes | None:
        """Return the secret of the token called ``name``, and remember what it is."""
        self.token = name
        self._secret = self._access.secret_for(name)
        self._role = self._access.role_of(name)
        return self._secret

    def role_of(self, name: str) -> TokenRole | None:
        """Return what the token called ``name``, if that was asked for, was for then."""
        return self._role if name == self.token else None

    @property
    def role(self) -> TokenRole:
        """What the token was for; that of a device without one."""
        return self._role or TokenRole.DEVICE

    @property
    def is_withdrawn(self) -> bool:
        """Whether the token is gone, or has another secret or role than when it was asked for."""
        if self._secret is None:
            return False
        access, name = self._access, self.token
        now = (access.secret_for(name), access.role_of(name))
        return now != (self._secret, self._role)

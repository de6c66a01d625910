"""Shared tokens: where they are kept, and how each end proves that it knows one.

A token is a line ``name:secret``, which may have what it is for behind it (``:operator`` or
``:viewer``), in a file that only its owner can read. The secret never crosses the wire but for
signing in to the web page. The device sends the token's name and a nonce; the server answers with a
nonce of its own and its proof; only if that holds, the device sends its proof::

    device: name, device_nonce = new_nonce()
    server: server_nonce = new_nonce(), prove(secret, Role.SERVER, device_nonce, server_nonce)
    device: prove(secret, Role.DEVICE, device_nonce, server_nonce)
    each:   proves(secret, the other's role, device_nonce, server_nonce, the other's proof)

A proof says who is there, not that nobody relays or reads along: that is what TLS is for. Messages
and sockets, and telling the user about a new token, are left to the callers; ``cli`` changes
token files for the user (``python3 -m offload.auth``).
"""

import enum
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from offload.errors import AuthError, ConfigurationError

FILE_VARIABLE: Final = "OFFLOAD_TOKEN_FILE"
TOKEN_VARIABLE: Final = "OFFLOAD_TOKEN"

# As many bytes as the hash gives: a nonce is then never the weaker part of a proof.
NONCE_BYTES: Final = 32

# Who sees one proof can try secrets at leisure, so a secret that a person typed must not be short.
MIN_SECRET_CHARACTERS: Final = 16
# Four times what we make ourselves is past any use: the hash has 32 bytes.
MAX_SECRET_CHARACTERS: Final = 256
# Several thousand tokens. Anything past it is not a token file but, say, a video named by mistake.
MAX_TOKEN_FILE_BYTES: Final = 1024 * 1024

_NEW_SECRET_BYTES: Final = 32
_NEW_TOKEN_NAME: Final = "default"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BAD_NAME: Final = "bad name, expected 1 to 64 of A-Z a-z 0-9 . _ -"
# Printable ASCII without blank and colon: it survives editors, shells and the line's own format.
_SECRET: Final = re.compile(rf"[!-9;-~]{{{MIN_SECRET_CHARACTERS},{MAX_SECRET_CHARACTERS}}}")
_FORM: Final = "name:secret, name:secret:operator or name:secret:viewer"

# Keeps our proofs apart from whatever else a user may compute with the same secret.
_LABEL: Final = b"task-offload handshake 1"


class TokenRole(enum.StrEnum):
    """What a token is for; each is used for nothing else."""

    DEVICE = "device"
    """Opening streams."""
    OPERATOR = "operator"
    """Steering streams of others, by command or in the web page."""
    VIEWER = "viewer"
    """Looking at the web page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A name and the secret that both ends share under it; ``repr`` leaves the secret out.

    ``secret`` is the bytes of the text in the file.
    """

    name: str
    secret: bytes = field(repr=False)
    role: TokenRole = TokenRole.DEVICE

    def line(self) -> str:
        """Return the token as a line of a token file. It shows the secret."""
        line = f"{self.name}:{self.secret.decode('ascii')}"
        return line if self.role is TokenRole.DEVICE else f"{line}:{self.role}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTokens:
    """The tokens that a server accepts, or a peer of it has, by name, and where they come from.

    ``path`` is the file, None if they come from the variable OFFLOAD_TOKEN. ``created`` says that
    this very call made the file, so that the program can tell the user how a device gets it.
    """

    tokens: dict[str, Token]
    path: Path | None
    created: bool

    def secret_for(self, name: str) -> bytes | None:
        """Return the secret of the token called ``name``, None if there is no such token."""
        token = self.tokens.get(name)
        return None if token is None else token.secret

    @property
    def origin(self) -> str:
        """What they come from, in words."""
        return str(self.path or TOKEN_VARIABLE)

    def role_of(self, name: str) -> TokenRole | None:
        """Return what the token called ``name`` is for, None if there is no such token."""
        token = self.tokens.get(name)
        return None if token is None else token.role

    def reloaded(self) -> "ServerTokens":
        """Read the tokens again from their file; without a file they are the same.

        Raises:
            ConfigurationError: The file is gone or bad now; these tokens stay as they are.
        """
        if self.path is None:
            return self
        return ServerTokens(tokens=_read_named_tokens(self.path), path=self.path, created=False)


class Role(enum.Enum):
    """Whose proof it is; in the proof, so that one end's cannot be sent back as the other's."""

    DEVICE = b"device"
    SERVER = b"server"


def load_server_tokens(path: Path | None, environ: Mapping[str, str]) -> ServerTokens:
    """Load the tokens that a server accepts, and make one if the user has none yet.

    The first of these counts: ``path``, the file that OFFLOAD_TOKEN_FILE names, the token in
    OFFLOAD_TOKEN, the user's own token file (`default_token_path`). Only the last is created.
    An empty variable counts as unset.

    Args:
        path: What ``--token-file`` says, None if it was not given.
        environ: The environment variables.

    Raises:
        ConfigurationError: A file that was named does not exist; a file cannot be read or made, is
            open to other users, or has a bad line or no token at all.
    """
    given = _given_tokens(path, environ)
    if given is not None:
        return given
    default = default_token_path(environ)
    tokens = _read_tokens(default)
    if tokens is not None:
        return ServerTokens(tokens=tokens, path=default, created=False)
    created = _create_token_file(default)
    return ServerTokens(tokens=_read_named_tokens(default), path=default, created=created)


def load_device_token(path: Path | None, environ: Mapping[str, str]) -> Token | None:
    """Load the token that a device shows, from the same places as `load_server_tokens`.

    Of several tokens it is the first that is a device's. Nothing is created: without a
    token file of the user's own, and nothing named, there is None.

    Args:
        path: What ``--token-file`` says, None if it was not given.
        environ: The environment variables.

    Raises:
        ConfigurationError: As for `load_server_tokens`; also if none of the tokens is a device's.
            Going on without a token would mean trusting any server.
    """
    own = _own_tokens(path, environ)
    if own is None:
        return None
    for token in own.tokens.values():
        if token.role is TokenRole.DEVICE:
            return token
    raise ConfigurationError(
        f"{own.origin} holds no token for a device, expected one: "
        "python3 -m offload.auth new NAME makes it"
    )


def load_operator_token(path: Path | None, environ: Mapping[str, str]) -> Token:
    """Load the first operator's token from the same places as `load_server_tokens`.

    Args:
        path: What ``--token-file`` says, None if it was not given.
        environ: The environment variables.

    Raises:
        ConfigurationError: As for `load_server_tokens`; nothing is created.
        AuthError: There is no operator's token.
    """
    own = _own_tokens(path, environ)
    if own is not None:
        for token in own.tokens.values():
            if token.role is TokenRole.OPERATOR:
                return token
    origin = "this user has no token file" if own is None else f"{own.origin} holds none"
    raise AuthError(
        f"no operator's token: {origin}; python3 -m offload.auth new NAME --operator makes one "
        "where the server is"
    )


def default_token_path(environ: Mapping[str, str]) -> Path:
    """Return where the user's own token file is, whether it exists or not.

    It is ``$XDG_CONFIG_HOME/task-offload/tokens``, or ``~/.config/task-offload/tokens`` if that
    variable is unset, empty or, as its specification wants it, not an absolute path.

    Raises:
        ConfigurationError: The user has no home folder either.
    """
    folder = Path(environ.get("XDG_CONFIG_HOME", ""))
    if not folder.is_absolute():
        folder = _home(environ) / ".config"
    return folder / "task-offload" / "tokens"


def new_token(name: str, *, role: TokenRole = TokenRole.DEVICE) -> Token:
    """Return a token with a fresh secret; no file is touched.

    Raises:
        ConfigurationError: ``name`` cannot stand in a token file.
    """
    # Here, because only a server and its user make tokens, and seldom.
    import secrets

    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(_BAD_NAME)
    secret = secrets.token_urlsafe(_NEW_SECRET_BYTES).encode("ascii")
    return Token(name=name, secret=secret, role=role)


def read_token_file(path: Path) -> bytes | None:
    """Read the bytes of a token file that must be its owner's alone; None if there is no file.

    Raises:
        ConfigurationError: It cannot be read, is open to other users or too long.
    """
    try:
        with path.open("rb") as file:
            # The open file, not the path: nobody can swap it between this look and the reading.
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_TOKEN_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"token file {path} cannot be read: {error.strerror}") from error
    # Writing counts as well: whoever can write the file can put a token of their own into it.
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(
            f"token file {path} is open to other users (mode {mode:04o}), expected it to be its "
            f"owner's alone: chmod 600 {shlex.quote(str(path))}"
        )
    if len(content) > MAX_TOKEN_FILE_BYTES:
        raise ConfigurationError(
            f"token file {path} is too long, expected at most {MAX_TOKEN_FILE_BYTES} bytes"
        )
    return content


def parse_tokens(text: str, origin: str) -> dict[str, Token]:
    """Read the lines of a token file; blank lines and those that start with ``#`` are skipped.

    Args:
        text: The lines: ``name:secret``, with ``:operator`` or ``:viewer`` behind it or without. A
            name has 1 to 64 of ``A-Z a-z 0-9 . _ -``, a secret 16 to 256 printable ASCII characters
            but ``:``.
        origin: What the text is called in errors: a file or a variable.

    Returns:
        The tokens by name, in the order of their lines; empty if there are none.

    Raises:
        ConfigurationError: A line is none of these, or a name comes twice. The message has the
            line's number and nothing of its content, which may be a secret.
    """
    tokens: dict[str, Token] = {}
    # Not `splitlines`, which also cuts at characters that no editor counts as the end of a line.
    for number, line in enumerate(text.split("\n"), start=1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        place = f"{origin}, line {number}"
        token = _parse_line(content, place)
        if token.name in tokens:
            raise ConfigurationError(f"{place}: a second token of that name, expected one")
        tokens[token.name] = token
    return tokens


def new_nonce() -> bytes:
    """Return `NONCE_BYTES` fresh random bytes, for one handshake."""
    return os.urandom(NONCE_BYTES)


def prove(secret: bytes, role: Role, device_nonce: bytes, server_nonce: bytes) -> bytes:
    """Compute the proof that ``role`` knows ``secret``, good for these two nonces only.

    It is HMAC-SHA256, keyed with the secret, over a fixed label, the role and the nonces of the
    device and the server, each preceded by its length in four bytes, most significant first.

    Raises:
        ValueError: A nonce is not `NONCE_BYTES` long.
    """
    # Here, because it loads OpenSSL, 4 MB that a device without a server does without.
    import hmac

    for nonce in (device_nonce, server_nonce):
        if len(nonce) != NONCE_BYTES:
            raise ValueError(f"nonce is {len(nonce)} bytes, expected {NONCE_BYTES}")
    parts = (_LABEL, role.value, device_nonce, server_nonce)
    text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return hmac.digest(secret, text, "sha256")


def proves(
    secret: bytes, role: Role, device_nonce: bytes, server_nonce: bytes, proof: bytes
) -> bool:
    """Tell, in constant time, whether ``proof`` is what `prove` gives for the same arguments.

    A nonce or a proof of a wrong length, as a peer may send, proves nothing: False.
    """
    if len(device_nonce) != NONCE_BYTES or len(server_nonce) != NONCE_BYTES:
        return False
    import hmac

    return hmac.compare_digest(prove(secret, role, device_nonce, server_nonce), proof)


def _parse_line(content: str, place: str) -> Token:
    name, *rest = content.split(":")
    if len(rest) not in (1, 2):
        found = f"{len(rest)} colons" if rest else "no colon"
        raise ConfigurationError(f"{place}: {found}, expected {_FORM}")
    if _NAME.fullmatch(name) is None:
        raise ConfigurationError(f"{place}: {_BAD_NAME}")
    if _SECRET.fullmatch(rest[0]) is None:
        raise ConfigurationError(
            f"{place}: bad secret, expected {MIN_SECRET_CHARACTERS} to {MAX_SECRET_CHARACTERS} "
            "printable ASCII characters without blank and colon"
        )
    if rest[1:] not in ([], [TokenRole.OPERATOR], [TokenRole.VIEWER]):
        raise ConfigurationError(f"{place}: bad third field, expected 'operator', 'viewer' or none")
    role = TokenRole(rest[1]) if rest[1:] else TokenRole.DEVICE
    return Token(name=name, secret=rest[0].encode("ascii"), role=role)


def _own_tokens(path: Path | None, environ: Mapping[str, str]) -> ServerTokens | None:
    """Load the tokens that a device or an operator has; None if the user has none."""
    given = _given_tokens(path, environ)
    if given is not None:
        return given
    default = default_token_path(environ)
    own = _read_tokens(default)
    return None if own is None else ServerTokens(tokens=own, path=default, created=False)


def _given_tokens(path: Path | None, environ: Mapping[str, str]) -> ServerTokens | None:
    """Load what the user named, by argument or variable; None if the user named nothing."""
    named_file, named_token = environ.get(FILE_VARIABLE), environ.get(TOKEN_VARIABLE)
    if path is None and named_file:
        path = Path(named_file)
    if path is not None:
        return ServerTokens(tokens=_read_named_tokens(path), path=path, created=False)
    if named_token:
        tokens = _parse_some_tokens(named_token, TOKEN_VARIABLE)
        return ServerTokens(tokens=tokens, path=None, created=False)
    return None


def _read_named_tokens(path: Path) -> dict[str, Token]:
    tokens = _read_tokens(path)
    if tokens is None:
        raise ConfigurationError(
            f"token file {path} does not exist: a server's is made by python3 -m offload.auth new "
            f"NAME --token-file {shlex.quote(str(path))}, a device's is a copy"
        )
    return tokens


def _read_tokens(path: Path) -> dict[str, Token] | None:
    content = read_token_file(path)
    if content is None:
        return None
    # What is not UTF-8 may stand in a comment; anywhere else the replacement is a bad character.
    return _parse_some_tokens(content.decode("utf-8", errors="replace"), str(path))


def _parse_some_tokens(text: str, origin: str) -> dict[str, Token]:
    tokens = parse_tokens(text, origin)
    if not tokens:
        raise ConfigurationError(f"{origin} holds no token, expected {_FORM}")
    return tokens


def _create_token_file(path: Path) -> bool:
    """Make a file with one new token; False if another server's file came to be there first."""
    token = new_token(_NEW_TOKEN_NAME)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _publish(path, f"{token.line()}\n".encode("ascii"))
    except OSError as error:
        raise ConfigurationError(
            f"token file {path} cannot be made: {error.strerror}, expected a folder to write to, "
            f"--token-file, {FILE_VARIABLE} or {TOKEN_VARIABLE}"
        ) from error


def _publish(path: Path, content: bytes) -> bool:
    """Give ``content`` the name ``path`` unless that is taken; readers see all of it or nothing."""
    import tempfile

    # mkstemp opens with O_EXCL and mode 0600. The link is as exclusive as O_EXCL on the path
    # itself, and comes after the content: a server that loses the race finds a file to read, not
    # an empty one. Hence also the fsync: a power cut must not leave the name without the content.
    descriptor, temporary = tempfile.mkstemp(prefix=".tokens-", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(temporary)
    return True


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    if home:
        return Path(home)
    try:
        return Path.home()
    except RuntimeError as error:
        raise ConfigurationError(
            f"no home folder for a token file, expected HOME, XDG_CONFIG_HOME or {FILE_VARIABLE}"
        ) from error

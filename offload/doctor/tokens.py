"""Look where a token comes from. Whoever loads it refuses one that others can read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offload.auth import (
    FILE_VARIABLE,
    TOKEN_VARIABLE,
    Token,
    TokenRole,
    default_token_path,
    load_device_token,
    load_server_tokens,
)
from offload.doctor.findings import Finding, failure, ok, warning
from offload.errors import OffloadError


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenToken:
    """What came of looking for a device's token; None if there is none that can be used."""

    finding: Finding
    token: Token | None = None


def look_for_token(path: Path | None, environment: Mapping[str, str]) -> SeenToken:
    """Load a device's token as the device program does."""
    try:
        token = load_device_token(path, environment)
        place = _place(path, environment)
    except OffloadError as error:
        return SeenToken(finding=failure("token", error))
    if token is None:
        advice = f"copy the server's file to {place}, or give --token-file"
        found = "none: only a server that accepts anybody takes this device"
        return SeenToken(finding=warning("token", found, advice=advice))
    found = f"{token.name!r} from {place or TOKEN_VARIABLE}"
    return SeenToken(finding=ok("token", found), token=token)


def check_server_tokens(path: Path | None, environment: Mapping[str, str]) -> Finding:
    """Look at the tokens as the server does; make none."""
    try:
        place = _place(path, environment)
        is_named = path is not None or bool(environment.get(FILE_VARIABLE))
        if place is not None and not is_named and not place.exists():
            return ok("token", f"none yet: the server makes one in {place} on its first start")
        tokens = load_server_tokens(path, environment)
    except OffloadError as error:
        return failure("token", error)
    operators = sum(each.role is TokenRole.OPERATOR for each in tokens.tokens.values())
    found = f"{len(tokens.tokens)} ({operators} of operators) from {tokens.origin}"
    return ok("token", found)


def _place(path: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the file that is read; None if a variable has the token itself."""
    if path is None and (named := environment.get(FILE_VARIABLE)):
        return Path(named)
    if path is None and environment.get(TOKEN_VARIABLE):
        return None
    return path or default_token_path(environment)

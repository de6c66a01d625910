"""What requests carry, read with suspicion: cookies, short bodies, numbers in the query."""

import json
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from offload.dashboard.doors import Visit
from offload.dashboard.form import to_json
from offload.messages import Change, DrainDevice, PinSplit, Release, SetTarget

# A token's line has at most 400 characters, and a change is far shorter.
MAX_BODY_BYTES: Final = 4096

# What a sequence number can be, and what SQLite can hold.
MAX_SEQ: Final = 2**62

# Far above any camera.
MAX_TARGET_FPS: Final = 1_000_000

Fields: TypeAlias = Mapping[str, Any]


class BadRequest(Exception):  # noqa: N818  # it says what was found, to a browser
    """A request that the page would not send; ``status`` is that of the answer."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.status = status


def visit_of(request: Request) -> Visit | None:
    """Return the visit that this request is part of; None if the visitor has to sign in."""
    state = request.app.state
    visit: Visit | None = state.doors.visit(request.cookies.get(state.cookie))
    return visit


def json_response(value: object, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return Response(to_json(value), status, media_type="application/json")


def error_response(reason: str, status: int) -> Response:
    """Return an answer that says in one line what is wrong."""
    return json_response({"error": reason}, status)


async def read_body(request: Request, media_type: str) -> bytes:
    """Read a body of `MAX_BODY_BYTES` at most.

    Raises:
        BadRequest: It is longer, or of another type, or the browser went before its end.
    """
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != media_type:
        raise BadRequest(f"body is {given or 'of no type'}, expected {media_type}", 415)
    body = b""
    try:
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise BadRequest(f"body is over {MAX_BODY_BYTES} bytes", 413)
    # Nobody is left to read the answer.
    except ClientDisconnect:
        raise BadRequest("body ends too early") from None
    return body


async def read_fields(request: Request) -> Fields:
    """Read a body that is a JSON object.

    Raises:
        BadRequest: It is none.
    """
    body = await read_body(request, "application/json")
    try:
        found = json.loads(body)
    # Deep nesting ends in the other one.
    except (ValueError, RecursionError):
        raise BadRequest("body is no JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("body is no JSON object")
    return found


def read_change(name: str, fields: Fields) -> Change:
    """Read what an operator asks for: ``target``, ``pin``, ``release`` or ``drain``.

    Raises:
        BadRequest: A field is missing, or of the wrong type or out of range.
    """
    if name == "target":
        return SetTarget(fps=_read_fps(fields.get("fps")))
    if name == "pin":
        return PinSplit(split=_read_split(fields.get("split")))
    return Release() if name == "release" else DrainDevice()


def read_number(request: Request, name: str, *, default: int, most: int) -> int:
    """Read a whole number from 0 on from the query.

    Raises:
        BadRequest: It is none, or over ``most``.
    """
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= most):
        raise BadRequest(f"{name} is {text[:40]!r}, expected a whole number up to {most}")
    return int(text)


def _read_fps(found: object) -> float:
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise BadRequest("fps is no number")
    if not 0 < found <= MAX_TARGET_FPS:
        # An integer may have thousands of digits, and be no float.
        shown = f"{found!s:.20}"
        raise BadRequest(f"fps is {shown}, expected over 0 and at most {MAX_TARGET_FPS}")
    return float(found)


def _read_split(found: object) -> int:
    if isinstance(found, bool) or not isinstance(found, int):
        raise BadRequest("split is no whole number")
    if not 1 <= found <= 1_000_000:
        raise BadRequest("split is out of range")
    return found

"""The page, its files, and signing in and out."""

from math import ceil
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from offload.dashboard.assets import PAGE, SIGN_IN, Asset
from offload.dashboard.doors import TooManyTries
from offload.dashboard.requests import BadRequest, error_response, read_body, visit_of
from offload.dashboard.signing_in import VISIT_S
from offload.errors import AuthError


async def page(request: Request) -> Response:
    """Give the page to who is in; lead the others to the sign-in, and say why who was in before."""
    if visit_of(request) is None:
        was_in = request.app.state.cookie in request.cookies
        return RedirectResponse("/sign-in?ended" if was_in else "/sign-in", 303)
    return _asset(request, PAGE)


async def static(request: Request) -> Response:
    """Give one of the page's files: they are the same for everybody, and no secret."""
    return _asset(request, request.path_params["name"])


async def sign_in_page(request: Request) -> Response:
    """Give the page on which visitors sign in; whoever is in goes on."""
    if visit_of(request) is not None:
        return RedirectResponse("/", 303)
    return _asset(request, SIGN_IN)


async def sign_in(request: Request) -> Response:
    """Let in who knows a token."""
    state = request.app.state
    if state.doors.are_open:
        return RedirectResponse("/", 303)
    try:
        line = await _read_token(request)
        address = request.client.host if request.client else ""
        cookie = state.doors.sign_in(line, address=address)
    except BadRequest as error:
        return error_response(str(error), error.status)
    except TooManyTries as error:
        wait = error.wait
        place = f"/sign-in?limited={wait.limited}&wait_s={ceil(wait.seconds)}"
        return RedirectResponse(place, 303)
    except AuthError:
        return RedirectResponse("/sign-in?refused", 303)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        state.cookie,
        cookie,
        max_age=int(VISIT_S),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


async def sign_out(request: Request) -> Response:
    """End a visit."""
    state = request.app.state
    state.doors.sign_out(request.cookies.get(state.cookie))
    response = RedirectResponse("/sign-in", 303)
    response.delete_cookie(
        state.cookie,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


ROUTES = (
    Route("/", page),
    Route("/sign-in", sign_in_page, methods=["GET"]),
    Route("/sign-in", sign_in, methods=["POST"]),
    Route("/sign-out", sign_out, methods=["POST"]),
    Route("/static/{name}", static),
)


async def _read_token(request: Request) -> str:
    body = await read_body(request, "application/x-www-form-urlencoded")
    try:
        found = parse_qs(body.decode("ascii"), max_num_fields=4, errors="strict")
    except ValueError:
        raise BadRequest("body is no form") from None
    return found.get("token", [""])[0].strip()


def _asset(request: Request, name: str) -> Response:
    asset: Asset | None = request.app.state.assets.get(name)
    if asset is None:
        return error_response("there is no such page", 404)
    headers = {"ETag": asset.tag, "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == asset.tag:
        return Response(status_code=304, headers=headers)
    return Response(asset.content, headers=headers, media_type=asset.media_type)

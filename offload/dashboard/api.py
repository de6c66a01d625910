"""What the page asks for: devices, pictures, results, changes. The interface with ``static``."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from offload import __version__
from offload.dashboard.doors import Visit
from offload.dashboard.downloads import MEDIA_TYPES
from offload.dashboard.form import (
    column_fields,
    forecast_fields,
    info_fields,
    notice_fields,
    row_fields,
    task_fields,
    to_json,
)
from offload.dashboard.lasting import LastingResponse
from offload.dashboard.pictures import PICTURE_FPS, NoPicture
from offload.dashboard.requests import (
    MAX_SEQ,
    BadRequest,
    error_response,
    json_response,
    read_change,
    read_fields,
    read_number,
    visit_of,
)
from offload.dashboard.stored import DEFAULT_ROWS, MAX_ROWS, read_page
from offload.errors import ResultsError, SteeringError
from offload.messages import change_name, change_value
from offload.telemetry.notices import change_in_words
from offload.telemetry.samples import Samples
from offload.telemetry.stream_history import StreamHistory

Answer = Callable[[Request, Visit], Awaitable[Response]]
StreamAnswer = Callable[[Request, Visit, StreamHistory], Awaitable[Response]]

_BUSY: Final = "too many others are looking: try again later"

# What may stand in the name of a file that is saved, on every system.
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9._-]+")


async def session(request: Request, visit: Visit) -> Response:
    """Say who is in, and what is shown."""
    state, visitor = request.app.state, visit.visitor
    source = state.source
    return json_response(
        {
            "name": visitor.name,
            "role": str(visitor.role),
            "live": source.live,
            "title": source.title,
            "can_control": source.live and visitor.may_steer,
            "signs_in": not state.doors.are_open,
            "version": __version__,
            "picture_fps": PICTURE_FPS,
        }
    )


async def devices(request: Request, visit: Visit) -> Response:
    """List the streams."""
    state = request.app.state
    rows = state.watchers.rows.look(state.source, visit).values()
    now_s = state.source.history.now_s
    text = f'{{"now_s":{now_s:.3f},"devices":[{",".join(rows)}]}}'
    return Response(text, media_type="application/json")


async def list_events(request: Request, visit: Visit) -> Response:
    """Say what changes in the list."""
    watchers = request.app.state.watchers
    if not watchers.places.take():
        return error_response(_BUSY, 503)
    events = watchers.watch_list(visit)
    return LastingResponse(events, watchers.places, media_type="text/event-stream")


async def device(request: Request, _visit: Visit, stream: StreamHistory) -> Response:
    """Say all that is known of a stream."""
    state = request.app.state
    parts = {
        "info": info_fields(stream.info),
        "row": row_fields(stream.row()),
        "notices": [notice_fields(each) for each in stream.notices],
        "noticed": stream.noticed,
        "tasks": task_fields(stream),
        "forecasts": forecast_fields(stream),
        "now_s": round(state.source.history.now_s, 3),
    }
    # In a thread: a run's samples are some hundred kilobytes of text.
    loop = asyncio.get_running_loop()
    text = await loop.run_in_executor(state.work, _device_text, parts, stream.samples.copy())
    return Response(text, media_type="application/json")


async def device_events(request: Request, visit: Visit, stream: StreamHistory) -> Response:
    """Say what changes of a stream."""
    watchers, noticed = request.app.state.watchers, _noticed(request)
    if not watchers.places.take():
        return error_response(_BUSY, 503)
    events = watchers.watch_stream(visit, stream.info.stream, noticed=noticed)
    return LastingResponse(events, watchers.places, media_type="text/event-stream")


async def picture(request: Request, _visit: Visit, stream: StreamHistory) -> Response:
    """Give the newest picture once it is newer than the one that the browser has."""
    after = read_number(request, "after", default=-1, most=MAX_SEQ)
    try:
        found = await request.app.state.pictures.newer_than(stream.info.stream, after)
    except NoPicture as error:
        return error_response(str(error), 422)
    if found is None:
        return Response(status_code=204)
    headers = {"X-Picture": str(found.number)}
    return Response(found.content, headers=headers, media_type="image/jpeg")


async def results(request: Request, _visit: Visit, stream: StreamHistory) -> Response:
    """Give a page of results."""
    state = request.app.state
    limit = max(1, read_number(request, "limit", default=DEFAULT_ROWS, most=MAX_ROWS))
    before = read_number(request, "before", default=MAX_SEQ, most=MAX_SEQ)
    if state.source.results is None:
        return json_response({"kept": False, "rows": [], "next": None})
    name = stream.info.stream
    read = partial(_results_text, state.source.results, name, before=before, limit=limit)
    try:
        text = await asyncio.get_running_loop().run_in_executor(state.work, read)
    except ResultsError as error:
        return error_response(str(error), 500)
    return Response(text, media_type="application/json")


async def download(request: Request, visit: Visit, stream: StreamHistory, *, kind: str) -> Response:
    """Give all results of a stream as a file, ``csv`` or ``jsonl``."""
    state = request.app.state
    if state.source.results is None:
        return error_response("this server keeps no results (--results none)", 404)
    if not state.downloads.places.take():
        return error_response(_BUSY, 503)
    name = stream.info.stream
    file = f"results-{_NOT_IN_NAMES.sub('_', name)[:80]}.{kind}"
    return LastingResponse(
        state.downloads.read(visit, state.source.results, name, kind),
        state.downloads.places,
        headers={"Content-Disposition": f'attachment; filename="{file}"'},
        media_type=MEDIA_TYPES[kind],
    )


async def steer(request: Request, visit: Visit, stream: StreamHistory, *, what: str) -> Response:
    """Change how a device is steered, and say what came of it."""
    source, name = request.app.state.source, stream.info.stream
    if not (source.live and visit.visitor.may_steer):
        return error_response("this needs an operator's token", 403)
    change = read_change(what, await read_fields(request))
    try:
        steered = await source.steer(change, stream=name, by=visit.visitor.name)
    except SteeringError as error:
        return error_response(str(error), 409)
    if steered.error is not None:
        return error_response(steered.error, 409)
    text = change_in_words(change_name(change), change_value(change))
    return json_response({"text": text, "row": row_fields(stream.row())})


def for_visitors(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint for those who are in; the others are told to sign in."""

    async def endpoint(request: Request) -> Response:
        visit = visit_of(request)
        if visit is None:
            return error_response("sign in first", 401)
        try:
            return await answer(request, visit)
        except BadRequest as error:
            return error_response(str(error), error.status)

    return endpoint


def for_stream(answer: StreamAnswer) -> Callable[[Request], Awaitable[Response]]:
    """Return an endpoint for a stream that the visitor may see."""

    async def of_stream(request: Request, visit: Visit) -> Response:
        source, name = request.app.state.source, unquote(request.path_params["stream"])
        stream = source.history.get(name)
        # Of a stream of somebody else's nobody learns whether there is one.
        if stream is None or not visit.visitor.may_see(source.owner(name)):
            return error_response("there is no such stream", 404)
        return await answer(request, visit, stream)

    return for_visitors(of_stream)


def _device_text(parts: dict[str, object], samples: Samples) -> str:
    columns = []
    for name, values in column_fields(samples).items():
        columns.append(f"{to_json(name)}:{to_json(values)}")
        # All at once would keep the interpreter for milliseconds from whoever waits for it.
        time.sleep(0)
    return f'{to_json(parts)[:-1]},"samples":{{{",".join(columns)}}}}}'


def _results_text(path: Path, stream: str, *, before: int, limit: int) -> str:
    found = read_page(path, stream, before=before, limit=limit)
    # Row by row: all at once would hold up the server's other threads for as long.
    rows = ",".join(map(to_json, found["rows"]))
    return f'{{"kept":true,"rows":[{rows}],"next":{to_json(found["next"])}}}'


def _noticed(request: Request) -> int | None:
    """Return how many notices a browser has had, as it says when it comes back."""
    last = request.headers.get("last-event-id", "")
    if last.isascii() and last.isdigit() and len(last) < 20:
        return int(last)
    given = read_number(request, "noticed", default=-1, most=MAX_SEQ)
    return None if given < 0 else given


_STREAM: Final = "/api/devices/{stream}"

ROUTES: Final = (
    Route("/api/session", for_visitors(session)),
    Route("/api/devices", for_visitors(devices)),
    Route("/api/events", for_visitors(list_events)),
    Route(_STREAM, for_stream(device)),
    Route(f"{_STREAM}/events", for_stream(device_events)),
    Route(f"{_STREAM}/picture", for_stream(picture)),
    Route(f"{_STREAM}/results", for_stream(results)),
    *(
        Route(f"{_STREAM}/results.{kind}", for_stream(partial(download, kind=kind)))
        for kind in MEDIA_TYPES
    ),
    *(
        Route(f"{_STREAM}/{what}", for_stream(partial(steer, what=what)), methods=["POST"])
        for what in ("target", "pin", "release", "drain")
    ),
)

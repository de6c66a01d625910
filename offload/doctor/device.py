"""Look at a device: one thing after the other, and then what comes of them together."""

import shlex
from collections.abc import Mapping, Sequence

from offload.doctor import machine
from offload.doctor.apps import LoadedApp, SeenApp, look_at_app
from offload.doctor.clock_and_link import clock_finding, link_finding
from offload.doctor.findings import (
    Finding,
    as_warning,
    exit_code,
    failed,
    failure,
    ok,
    warning,
)
from offload.doctor.forecasting import Recommendation, disagreement, recommend, table, target
from offload.doctor.options import Options
from offload.doctor.reaching import reach
from offload.doctor.report import Report
from offload.doctor.tokens import SeenToken, look_for_token
from offload.doctor.trying import Alone, Forecast, ProgramError, run_alone, run_survey
from offload.errors import OffloadError
from offload.servers import Secure, Server, security


def examine_device(options: Options, environment: Mapping[str, str], report: Report) -> None:
    """Look at a device, and at the servers that it is to use."""
    report.add(*machine.check_device_machine())
    report.looks_at("the app and its source")
    seen = look_at_app(options.app, source=options.readable_source)
    report.add(seen.finding)
    gives = seen.source_finding is not None and report.add(seen.source_finding)
    alone = _alone(options, report, seen.app) if gives and seen.app is not None else None
    server = _servers(options, environment, report, seen.app)
    if alone is not None and seen.app is not None:
        _expect(options, report, seen, alone, server)


def _alone(options: Options, report: Report, app: LoadedApp) -> Alone | None:
    report.looks_at("each task's time")
    try:
        alone = run_alone(options.local_options())
    except OffloadError as error:
        report.add(_of_program("tasks", error))
        return None
    times = ", ".join(f"{each.name} {1000 * each.seconds:.1f}" for each in alone.tasks)
    watched = f"; only when somebody watches: {', '.join(app.on_demand)}" if app.on_demand else ""
    report.add(ok("tasks", f"ms on this device: {times}{watched}"))
    report.add(ok("alone", f"{alone.fps:.1f} FPS with all tasks here (client only)"))
    report.note_alone(alone.fps)
    return alone


def _servers(
    options: Options, environment: Mapping[str, str], report: Report, app: LoadedApp | None
) -> Server | None:
    """Look at token and servers, and return the first one that takes this device."""
    if not options.servers:
        report.add(ok("server", "none named (--host): nothing but client only is measured"))
        return None
    token = look_for_token(options.token_file, environment)
    if not report.add(token.finding):
        return None
    try:
        secure = security(options)
    except OffloadError as error:
        report.add(failure("tls", error))
        return None
    if app is None:
        return None
    seen = {}
    for each in options.servers:
        report.looks_at(f"server {each.host}, clock and link")
        seen[each] = _look_at(each, secure, token, app)
    well = [each for each in seen if exit_code(seen[each]) == 0]
    for found in seen.values():
        # A device goes on to the next server of its list, whatever one of them says.
        report.add(*(as_warning(each) if well else each for each in found))
    return well[0] if well else None


def _look_at(server: Server, secure: Secure, token: SeenToken, app: LoadedApp) -> Sequence[Finding]:
    reached = reach(server, secure=secure, token=token.token, app=app)
    measured = reached.measured
    if measured is None:
        return [reached.finding]
    return [reached.finding, clock_finding(measured), link_finding(measured)]


def _expect(
    options: Options, report: Report, seen: SeenApp, alone: Alone, server: Server | None
) -> None:
    """Say what to expect, and how to begin."""
    forecasts: Sequence[Forecast] | None = ()
    if options.servers:
        forecasts = _survey(options, report, seen, server) if server is not None else None
    if forecasts is None:
        # What is missing is said; to begin without it is no advice.
        return
    assert seen.app is not None, "it runs"
    if differ := disagreement(alone, forecasts, seen.app.tasks, pace_fps=seen.pace_fps):
        found = f"the same work differs by {100 * differ:.0f} % from one try to the next"
        report.add(warning("figures", found, advice="the machine is busy: run this again"))
    recommended = recommend(
        forecasts, alone_fps=alone.fps, pace_fps=seen.pace_fps, source_fps=seen.source_fps
    )
    report.note_recommendation(recommended, _command(options, recommended))


def _survey(
    options: Options, report: Report, seen: SeenApp, server: Server
) -> tuple[Forecast, ...] | None:
    assert seen.app is not None, "it runs"
    report.looks_at(f"what each of {len(seen.app.splits)} splits gives, for some seconds")
    try:
        given = [*options.local_options(), *options.server_options([server])]
        forecasts = run_survey(given, splits=seen.app.splits)
    except OffloadError as error:
        report.add(_of_program("splits", error))
        return None
    report.add(ok("splits", f"{len(forecasts)} tried, each for a moment, as a trial"))
    report.note_forecasts(forecasts)
    lines = table(forecasts, seen.app.tasks, pace_fps=seen.pace_fps)
    report.say(["", *(f"  {each}" for each in lines)])
    return forecasts


def _of_program(check: str, error: OffloadError) -> Finding:
    code = error.code if isinstance(error, ProgramError) else error.exit_code
    return failed(check, str(error), exit_code=code)


def _command(options: Options, recommended: Recommendation) -> str:
    parts = ["python3", "iot_client_coordinator.py"]
    if recommended.split is not None:
        parts += [str(recommended.split), target(recommended.fps)]
        parts += options.server_options(options.servers)
    return shlex.join([*parts, *options.local_options()])

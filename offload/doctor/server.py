"""Look at a server's machine: whether it could start there, and how quickly it stores results."""

import shlex
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from offload.doctor import machine
from offload.doctor.apps import look_at_app
from offload.doctor.findings import Finding, failed, failure, ok, warning
from offload.doctor.options import Options
from offload.doctor.reading import NO_SOURCE
from offload.doctor.report import Report
from offload.doctor.tokens import check_server_tokens
from offload.errors import ConfigurationError, OffloadError
from offload.loading import check_names
from offload.results import Result, ResultsStore, StreamCommit, open_results, pack_result
from offload.transport import bound_endpoint, listening_sockets

COMMITS: Final = 10

# Each acknowledgement waits for a commit: with more, a window of 32 frames gives less than 160 FPS.
SLOW_COMMIT_S: Final = 0.2

_SQLITE: Final = "sqlite:"


def examine_server(options: Options, environment: Mapping[str, str], report: Report) -> None:
    """Look at the machine of a server."""
    report.add(
        *machine.check_server_machine(
            memory_bytes=options.memory_bytes, max_clients=options.max_clients
        )
    )
    _look_at_apps(options, report)
    report.add(check_server_tokens(options.token_file, environment))
    report.add(check_port(options.bind, options.port))
    report.looks_at("the disk")
    report.add(check_results(options.results))
    if report.exit_code == 0:
        command = shlex.join(options.server_command())
        report.note_command(command, why="--dashboard PORT adds the web page")


def _look_at_apps(options: Options, report: Report) -> None:
    names = []
    for each in options.apps:
        report.looks_at(f"app {each}")
        seen = look_at_app(each, source=NO_SOURCE)
        report.add(seen.finding)
        if seen.app is not None:
            names.append(seen.app.name)
    try:
        check_names(names)
    except OffloadError as error:
        report.add(failure("app", error))


def check_port(bind: str | None, port: int) -> Finding:
    """Look whether the server could listen."""
    try:
        sockets = listening_sockets(bind, port)
    except OffloadError as error:
        return failure("port", error, advice="what has it? ss -ltnp shows it")
    places = ", ".join(bound_endpoint(each) for each in sockets)
    for each in sockets:
        each.close()
    return ok("port", f"free: {places}")


def check_results(url: str) -> Finding:
    """Look whether results can be stored, and how long it takes until they are on disk."""
    try:
        if not url.startswith(_SQLITE):
            open_results(url).close()
            advice = "exactly once holds only while the server lives; sqlite:FILE keeps results"
            return warning("results", f"{url}: nothing is kept", advice=advice)
        file = Path(url.removeprefix(_SQLITE))
        if file.exists():
            open_results(url).close()
        took_s = _commit_s(file.parent)
    except OffloadError as error:
        return failure("results", error)
    except OSError as error:
        return failed(
            "results",
            f"{url}: {error.strerror or error}",
            advice="give --results a file in a folder that this user may write to",
            exit_code=ConfigurationError.exit_code,
        )
    found = f"{url}: a commit is on disk after {1000 * took_s:.1f} ms"
    if took_s > SLOW_COMMIT_S:
        return warning("results", found, advice="put the file on a quicker disk")
    return ok("results", found)


def _commit_s(folder: Path) -> float:
    """Return the median seconds of a commit in a folder; nothing stays there."""
    # Beside the results: their disk is what counts, and what is in them stays as it is.
    with (
        TemporaryDirectory(prefix=".offload-doctor-", dir=folder) as scratch,
        closing(open_results(f"{_SQLITE}{scratch}/try.db")) as store,
    ):
        return statistics.median(_commits(store))


def _commits(store: ResultsStore) -> Iterator[float]:
    """Commit some results, and yield the seconds that each took."""
    record = store.open_stream(stream="doctor", device="", app="", owner="", now=0.0)
    value = pack_result({"radius": 7.5, "center": (320, 240)})
    for seq in range(COMMITS):
        result = Result(seq=seq, captured_at=0.0, received_at=0.0, split=1, value=value)
        commit = StreamCommit(
            stream="doctor",
            epoch=record.epoch,
            first_seq=seq,
            results=(result,),
            next_seq=seq + 1,
            at=0.0,
        )
        began_s = time.monotonic()
        store.commit([commit])
        yield time.monotonic() - began_s

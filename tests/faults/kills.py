"""Run one stream while its programs are killed at seeded moments, and say what became of it.

A `Trial` says what is done to the stream, `undisturbed` what it should come to, `run` does it. The
stream is that of ``counting_app.py``; its results go to ``results.db`` in the trial's folder, and
what each program said to a file of its own beside it.

    trial = Trial(frames=400, kills=5, victims=(Victim.SERVER,), seed=1)
    expected = undisturbed(tmp_path / "undisturbed", frames=trial.frames)
    verdict = run(tmp_path / "trial", trial, expected)
    verdict.lost, verdict.doubled, verdict.line()
"""

import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tests.faults.proxy import FaultProxy, Faults
from tests.faults.trials import Blow, Moment, Stored, Trial, Verdict, Victim
from tests.integration.programs import (
    CLIENT,
    CloudServer,
    Ended,
    Program,
    read_failures,
    read_position,
    read_results,
    read_summary,
    write_app,
)

APP: Final = "counting_app"
STREAM: Final = "s"

# The source and `filter_early` run on the device, so that pictures travel; in an outage with a
# spool the device runs `measure`, too.
SPLIT: Final = "2"

# A kill in the middle of the work is due when the stream has come to its place. Without any
# progress for so long it hangs: the longest pauses are 5 s, between two attempts to connect.
HANG_S: Final = 60.0

# Of a link that is far away: frames of 3 kB in the mean wait for their turn, too.
FAR: Final = Faults(latency_s=0.015, jitter_s=0.015, rate_bytes_s=1_500_000)

POLL_S: Final = 0.001


def undisturbed(folder: Path, *, frames: int) -> Stored:
    """Return what the stream of so many frames comes to if nobody disturbs it."""
    trial = Trial(frames=frames, kills=0, victims=(), seed=0)
    with _stage(folder, trial) as stage:
        stage.finish()
    return _read_stored(folder)


def run(folder: Path, trial: Trial, expected: Stored) -> Verdict:
    """Run the stream of a trial, and compare what it came to with what was expected.

    Raises:
        AssertionError: A program hung, ended before its time, or said a traceback.
    """
    began_s = time.monotonic()
    with _stage(folder, trial) as stage:
        for blow in trial.blows():
            stage.strike(blow)
        stage.finish()
    device = read_summary(folder / "device.json")
    server = read_summary(folder / "server.json")
    return Verdict(
        trial=trial,
        expected=expected,
        found=_read_stored(folder),
        kills=stage.kills,
        resumed=stage.resumed,
        resent=device["resent"],
        duplicates_ignored=server["totals"]["duplicates_ignored"],
        seconds=time.monotonic() - began_s,
        device=device["frames"],
    )


def _read_stored(folder: Path) -> Stored:
    database = folder / "results.db"
    next_seq, filtered, dropped = read_position(database, STREAM)
    return Stored(
        results=read_results(database, STREAM),
        failures=read_failures(database, STREAM),
        next_seq=next_seq,
        filtered=filtered,
        dropped=dropped,
    )


class _Stage:
    """The two programs and what is between them; one of them may be dead for a moment.

    Attributes:
        kills: How many programs were killed.
        resumed: Frames taken over from the spool, over all runs of the client that are over.
    """

    def __init__(self, folder: Path, trial: Trial, opened: ExitStack) -> None:
        self.kills = self.resumed = 0
        self._folder = folder
        self._trial = trial
        self._opened = opened
        self._port = opened.enter_context(_reserved_port())
        self._proxy: FaultProxy | None = None
        if trial.has_proxy:
            target = ("127.0.0.1", self._port)
            self._proxy = opened.enter_context(FaultProxy(target=target, seed=trial.seed))
            self._proxy.set_faults(FAR if trial.is_far else Faults())
        (folder / "starts").touch()
        self._runs = self._opened_before = self._starts = 0
        self._server = self._start_server()
        self._server.wait_until_ready()
        self._client = self._start_client()

    def strike(self, blow: Blow) -> None:
        """Wait for the moment of a blow, deal it, and start again what it killed."""
        self._wait_for_moment(blow)
        time.sleep(blow.delay_s)
        if blow.victim is Victim.CONNECTION:
            assert self._proxy is not None
            self._proxy.cut()
            time.sleep(blow.outage_s)
            self._proxy.heal()
            return
        assert self._client.is_running, self._said()
        assert self._server.is_running, self._said()
        self.kills += 1
        if blow.victim is Victim.SERVER:
            self._keep("server", self._server.kill())
            self._server = self._start_server()
        else:
            ended = self._client.kill()
            self._keep("client", ended)
            self._learn_resumed(ended)
            self._client = self._start_client()

    def finish(self) -> None:
        """Let the stream come to its end, and stop the server."""
        (self._folder / "release").touch()
        self._wait(lambda: not self._client.is_running)
        ended = self._client.wait()
        self._keep("client", ended)
        self._learn_resumed(ended)
        assert ended.code == 0, ended.err
        stopped = self._server.stop()
        self._keep("server", stopped)
        assert stopped.code == 0, stopped.err

    def _wait_for_moment(self, blow: Blow) -> None:
        hits_client = blow.victim is Victim.CLIENT
        if blow.moment is Moment.SHAKING_HANDS:
            if hits_client:
                self._wait(self._client_is_connected)
            else:
                self._server.wait_for_line("connection_made")
        elif blow.moment is Moment.WORKING:
            (self._client if hits_client else self._server).wait_for_line("session_opened")
            self._wait(lambda: self._has_come_to(blow.place))

    def _client_is_connected(self) -> bool:
        assert self._proxy is not None
        return self._proxy.opened > self._opened_before

    def _has_come_to(self, place: int) -> bool:
        assert self._client.is_running, self._said()
        return self._place() >= place

    def _wait(self, is_so: Callable[[], bool]) -> None:
        """Wait until it is so, for as long as the stream goes on."""
        place, since_s = self._place(), time.monotonic()
        while not is_so():
            time.sleep(POLL_S)
            if self._place() != place:
                place, since_s = self._place(), time.monotonic()
            assert time.monotonic() - since_s < HANG_S, f"hangs at {place}: {self._said()}"
            assert self._server.is_running, self._said()

    def _place(self) -> int:
        """Return the last frame that the cloud has totalled."""
        try:
            return int((self._folder / "mark").read_bytes() or b"-1")
        except FileNotFoundError:
            return -1

    def _start_server(self) -> CloudServer:
        self._runs += 1
        arguments = ("--app", APP, "--results", "sqlite:results.db", "--summary", "server.json")
        server = CloudServer(
            (*arguments, "--log-level", "debug"), folder=self._folder, port=self._port
        )
        self._opened.callback(server.release)
        return server

    def _start_client(self) -> Program:
        self._runs += 1
        trial, port = self._trial, self._port
        if self._proxy is not None:
            port, self._opened_before = self._proxy.port, self._proxy.opened
        arguments = [SPLIT, "--host", "127.0.0.1", "--port", str(port), "--app", APP]
        arguments += ["--source", str(trial.frames), "--stream", STREAM, "--overload", "block"]
        arguments += ["--window", str(trial.window), "--summary", "device.json"]
        arguments += ["--spool", "spool"] if trial.spool else []
        arguments += ["--rate", str(trial.rate_fps)] if trial.rate_fps else []
        client = Program(CLIENT, arguments, folder=self._folder)
        self._opened.callback(client.release)
        return client

    def _keep(self, who: str, ended: Ended) -> None:
        """Keep what a program said that has ended."""
        (self._folder / f"{self._runs:03}-{who}.log").write_text(ended.err, encoding="utf-8")
        assert "Traceback" not in ended.err, ended.err

    def _learn_resumed(self, ended: Ended) -> None:
        """Learn what a run of the client took over from its spool.

        One that was killed wrote no summary. But what lies between the stream's position in the
        cloud and the first frame that its source was asked for was there before.
        """
        starts = (self._folder / "starts").read_text(encoding="ascii").split()
        opened = re.search(r"session_opened next_seq=(\d+)", ended.err)
        if opened and len(starts) > self._starts:
            self._starts = len(starts)
            self.resumed += int(starts[-1]) - int(opened[1])

    def _said(self) -> str:
        """End both programs, and return the last of what they said."""
        ended = {"client": self._client.kill(), "server": self._server.kill()}
        return "\n".join(f"{who} ({each.code}): {each.err[-2000:]}" for who, each in ended.items())


@contextmanager
def _stage(folder: Path, trial: Trial) -> Iterator[_Stage]:
    folder.mkdir()
    app = Path(__file__).with_name(f"{APP}.py")
    write_app(folder, APP, app.read_text(encoding="utf-8"))
    with ExitStack() as opened:
        yield _Stage(folder, trial, opened)


@contextmanager
def _reserved_port() -> Iterator[int]:
    """Return a port that nobody else gets while the server is dead, not even its own client."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]

"""A live server among hostile peers: a good device beside them, and what the server takes for it.

An `Arena` is a server with a device that gives 30 pictures a second. A `Peer` is a connection that
says what a test wants it to, and shakes hands first if it is to reach the frames.

    with arena(folder) as place:
        with Peer(place.port) as peer:
            peer.prove()
            peer.open(opening)
            peer.send(b"nonsense")
            peer.hang_up()
            answers = peer.rest()
        report = place.finish()
    report.check_server()
    report.check_device()
"""

import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.auth import Role, Token, new_nonce, prove
from offload.messages import (
    HEARTBEAT,
    PROTOCOL_VERSION,
    Challenge,
    Control,
    Hello,
    Proof,
    Welcome,
)
from offload.wire import ENVELOPE_ONLY_BYTES, Decoder, encode
from tests.faults.outages import TOTAL, MeasuredProgram, MeasuredServer, wrong_results
from tests.faults.record_corpus import ENDS_APP, VALUES_APP
from tests.integration.programs import (
    CLIENT,
    Ended,
    read_position,
    read_results,
    read_summary,
    wait_for_results,
    write_app,
)
from tests.session_pair import feed, joined

# Of whoever proves a token here, and does nothing good with it.
EVIL: Final = Token(name="evil", secret=b"somebody-stole-this-token")
GOOD: Final = Token(name="good", secret=b"of-the-device-that-behaves")

GOOD_STREAM: Final = "good"
FPS: Final = 30
LEAST_FPS: Final = 0.95 * FPS
MOST_LATENCY_S: Final = 0.5

# What a peer waits for at most. The server gives a handshake 5 s and a message 10 s.
PEER_WAIT_S: Final = 40.0

# Enough for every module to be loaded, on both ends.
WARM_UP_RESULTS: Final = 30

GOOD_APP: Final = f"""
import itertools

import numpy as np

from task_interface import Pipeline, Placement, source, task


@source(gives=("number", "picture"))
def camera():
    for number in itertools.count():
        yield number, np.full((100, 100, 3), number % 251, np.uint8)


@task(gives="brightness")
def measure(picture):
    return int(picture[99, 99, 2])


{TOTAL}

pipeline = Pipeline([camera, measure, Total])
"""

# The good device's, and all for which there are recordings, so that damaged ones are read.
APPS: Final = {
    "good_app": GOOD_APP,
    "values_app": VALUES_APP,
    "ends_app": ENDS_APP.format(work="pass"),
    "slow_app": ENDS_APP.format(work="time.sleep(0.02)"),
    # Whose frames wait in the cloud.
    "late_app": GOOD_APP.replace("itertools\n", "itertools\nimport time\n").replace(
        "        self.total += number", "        time.sleep(0.05)\n        self.total += number"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What an attack did to the good device and to the server.

    Attributes:
        fps: Results of the good device per second.
        latency_p99_s: From its captures to their acknowledgements.
        frames: The counts of its report.
        wrong: Its frames whose result is another one than without an attack.
        stored: How many results it has in the store.
        next_seq: The position of its stream.
        base_bytes: The server's memory before the attack.
        peak_bytes: The most that it was.
        left_bytes: What it was after the attack.
        server: What the server left.
        refused: Its counts of refusals, by why.
    """

    fps: float
    latency_p99_s: float
    frames: dict[str, int]
    wrong: list[int]
    stored: int
    next_seq: int
    base_bytes: int
    peak_bytes: int
    left_bytes: int
    server: Ended
    refused: dict[str, int]

    @property
    def growth_bytes(self) -> int:
        """How much more memory the server had at most."""
        return self.peak_bytes - self.base_bytes

    @property
    def line(self) -> str:
        """All figures in a line."""
        return (
            f"good device {self.fps:.2f} FPS, p99 {self.latency_p99_s * 1000:.0f} ms, "
            f"{self.frames['captured']} captured, {self.stored} stored; server "
            f"{self.base_bytes / 2**20:.1f} MiB before, {self.peak_bytes / 2**20:.1f} at most, "
            f"{self.left_bytes / 2**20:.1f} after; refused {self.refused}"
        )

    def check_device(self) -> None:
        """Check that the good device lost nothing."""
        assert self.frames["completed"] == self.frames["captured"] == self.stored == self.next_seq
        assert not self.wrong

    def check_pace(self) -> None:
        """Check that the good device was not slowed down, on a machine that has time for it."""
        assert self.fps >= LEAST_FPS, self.line
        assert self.latency_p99_s < MOST_LATENCY_S, self.line

    def check_server(self) -> None:
        """Check that the server ended well, had no problem of its own, and told no secret."""
        assert self.server.code == 0, self.server.err[-4000:]
        for word in ("Traceback", '"level": "error"', '"level": "critical"'):
            assert word not in self.server.err, self.server.err[-4000:]
        for token in (GOOD, EVIL):
            assert token.secret.decode() not in self.server.err


class Arena:
    """A server and a good device, while they are attacked."""

    def __init__(self, folder: Path, server: MeasuredServer, device: MeasuredProgram) -> None:
        self.port = server.port
        self._folder = folder
        self._server = server
        self._device = device
        self._base_bytes = 0

    def begin(self) -> None:
        """Wait until all is warm, and measure from now on."""
        database = self._folder / "results.db"
        wait_for_results(database, GOOD_STREAM, at_least=WARM_UP_RESULTS)
        self._server.forget_peak()
        self._base_bytes = self._server.resident_bytes()

    def resident_bytes(self) -> int:
        """Return how much memory the server has now."""
        return self._server.resident_bytes()

    def finish(self) -> Report:
        """End the device and the server, and say what became of them."""
        peak_bytes, left_bytes = self._server.peak_bytes(), self._server.resident_bytes()
        device = self._device.stop()
        assert device.code == 0, device.err[-4000:]
        server = self._server.stop()
        report = read_summary(self._folder / "good.json")
        database = self._folder / "results.db"
        results = read_results(database, GOOD_STREAM)
        next_seq, _, _ = read_position(database, GOOD_STREAM)
        return Report(
            fps=report["fps"],
            latency_p99_s=report["latency_s"]["p99"],
            frames=report["frames"],
            wrong=wrong_results(results),
            stored=len(results),
            next_seq=next_seq,
            base_bytes=self._base_bytes,
            peak_bytes=peak_bytes,
            left_bytes=left_bytes,
            server=server,
            refused=read_summary(self._folder / "cloud.json")["refused"],
        )


@contextmanager
def arena(folder: Path, *server_arguments: str) -> Iterator[Arena]:
    """Run a server that both tokens open, and the good device, while the block lasts."""
    for name, text in APPS.items():
        write_app(folder, name, text)
    write_tokens(folder / "tokens", GOOD, EVIL)
    write_tokens(folder / "device_token", GOOD)
    apps = [argument for name in APPS for argument in ("--app", name)]
    server = MeasuredServer(
        (
            *(*apps, "--app", "ball_tracking_example", "--token-file", "tokens"),
            *("--log-format", "json", "--summary", "cloud.json", *server_arguments),
        ),
        folder=folder,
        port=0,
    )
    try:
        server.wait_until_ready()
        device = MeasuredProgram(
            CLIENT,
            (
                *("1", *server.address, "--app", "good_app", "--token-file", "device_token"),
                *("--rate", str(FPS), "--encoding", "raw", "--stream", GOOD_STREAM),
                *("--summary", "good.json"),
            ),
            folder=folder,
        )
        try:
            place = Arena(folder, server, device)
            place.begin()
            yield place
        finally:
            device.release()
    finally:
        server.release()


def write_tokens(path: Path, *tokens: Token) -> None:
    """Write a token file."""
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="ascii")
    path.chmod(0o600)


class Peer(AbstractContextManager["Peer"]):
    """A connection to the server, and what it answers."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PEER_WAIT_S)
        self._decoder = Decoder(max_message_bytes=ENVELOPE_ONLY_BYTES)
        self._answers: list[object] = []

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send ``data``, as far as the server lets it."""
        try:
            self._socket.sendall(data)
        except ConnectionError:
            # The server has refused already, and hung up; its answers are still there to read.
            return

    def hang_up(self) -> None:
        """Send nothing more."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def reset(self) -> None:
        """Break the connection off."""
        linger = (1).to_bytes(4, "little") + bytes(4)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._socket.close()

    def prove(self, token: Token = EVIL) -> None:
        """Say who it is, up to the proof."""
        nonce = new_nonce()
        hello = Hello(protocol=PROTOCOL_VERSION, version="0", token_name=token.name, nonce=nonce)
        self.send(joined(encode(hello)))
        challenge = self.answer()
        assert isinstance(challenge, Challenge), challenge
        proof = prove(token.secret, Role.DEVICE, nonce, challenge.nonce)
        self.send(joined(encode(Proof(proof=proof))))

    def open(self, opening: bytes) -> None:
        """Come in after the proof, so that frames may follow."""
        self.send(opening)
        # A server that is busy opening other streams gives signs of life first.
        while isinstance(welcome := self.answer(), Control):
            assert welcome.name == HEARTBEAT
        assert isinstance(welcome, Welcome), welcome

    def answer(self) -> object:
        """Return the next message of the server's; None at the end.

        Raises:
            RemoteProtocolError: The server said what it may not.
            TimeoutError: It said nothing for long.
        """
        while not self._answers:
            try:
                data = self._socket.recv(64 * 1024)
            except ConnectionError:
                return None
            if not data:
                return None
            self._answers += feed(self._decoder, data)
        return self._answers.pop(0)

    def heard(self) -> list[object] | None:
        """Return what the server has said, without waiting; None if it has hung up."""
        try:
            data = self._socket.recv(64 * 1024, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return list(feed(self._decoder, data)) if data else None

    def rest(self) -> list[object]:
        """Return all that the server says until it hangs up."""
        return list(iter(self.answer, None))

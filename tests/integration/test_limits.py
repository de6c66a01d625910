"""The server's limits, each at its edge, with peers that keep to them and peers that do not."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from offload.errors import Refused, SessionLost
from offload.messages import MAX_TEXT_CHARACTERS, Control, Frame
from offload.session import SILENCE_S
from offload.wire import ENVELOPE_ONLY_BYTES, encode
from tests.integration.programs import (
    SERVER,
    cloud_server,
    read_results,
    read_summary,
    run_client,
    started,
    write_app,
)
from tests.integration.programs import (
    Ended as EndedProgram,
)
from tests.integration.raw_device import GATED, NUMBERS, WAIT_S, Gate, RawApp, RawDevice
from tests.session_pair import joined

pytestmark = pytest.mark.integration

# Raises what it is told to.
FAILING: Final = NUMBERS.replace(
    "        self.total += doubled",
    "        if isinstance(doubled, str):\n"
    "            raise ValueError(doubled)\n"
    "        self.total += doubled",
)


def numbers(folder: Path) -> RawApp:
    return RawApp.of(write_app(folder, "raw_numbers", NUMBERS), NUMBERS)


def of_size(seq: int, message_bytes: int) -> Frame:
    """Return a frame whose message has so many bytes."""

    def made(payload_bytes: int, padding: int) -> Frame:
        values = {"doubled": [6, 0], "padding": padding * "x"}
        payload = memoryview(bytes(payload_bytes))
        return Frame(seq=seq, split=2, captured_at=0.0, tree=values, buffers=(payload,))

    # A payload is a multiple of 8 bytes; the envelope makes up for the rest.
    payload_bytes = (message_bytes - 200) // 8 * 8
    padding = message_bytes - len(joined(encode(made(payload_bytes, 0))))
    # From 32 characters on, a text's length takes a byte more.
    frame = made(payload_bytes, padding - 1)
    assert len(joined(encode(frame, max_message_bytes=1 << 31))) == message_bytes
    return frame


# Peers that are slow or gone. Each of them takes seconds; all of them are there at once.


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """How long a peer was left alone, and what the server said then."""

    lasted_s: float
    error: Exception | None
    messages: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """What became of peers that are slow or gone, and what the server said of them."""

    seen: dict[str, Seen]
    server: EndedProgram
    refused: dict[str, int]

    def line(self, text: str) -> str:
        """Return the one line of the server's log that has this text."""
        (line,) = [each for each in self.server.err.splitlines() if text in each]
        return line


def says_nothing(port: int, _: RawApp) -> Seen:
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as peer:
        began_s = time.monotonic()
        said = b"".join(iter(lambda: peer.recv(4096), b""))
        return Seen(lasted_s=time.monotonic() - began_s, error=None, messages=said.count(b"TO"))


def trickles_its_handshake(port: int, app: RawApp) -> Seen:
    with RawDevice(port, app, stream="trickling") as device:
        hello = joined(device.session.take_outgoing())
        began_s = time.monotonic()
        device.socket.settimeout(0.3)
        try:
            for each in range(len(hello) - 1):
                device.socket.sendall(hello[each : each + 1])
                try:
                    if device.socket.recv(4096) == b"":
                        break
                except TimeoutError:
                    continue
        except ConnectionError:
            pass
        return Seen(lasted_s=time.monotonic() - began_s, error=None)


def goes_silent(port: int, app: RawApp) -> Seen:
    with RawDevice(port, app, stream="silent") as device:
        device.open()
        began_s = time.monotonic()
        error = device.refusal()
        beats = [each for each in device.received if isinstance(each, Control)]
        return Seen(lasted_s=time.monotonic() - began_s, error=error, messages=len(beats))


def only_beats(port: int, app: RawApp) -> Seen:
    """Live for longer than silence may last, by signs of life alone."""
    with RawDevice(port, app, stream="beating") as device:
        device.open()
        began_s = time.monotonic()
        device.beat()
        for _ in device.events():
            device.beat()
            if time.monotonic() - began_s > 8.0:
                break
        device.send_frame(0, number=1)
        device.wait_for_acknowledgement(1)
        return Seen(lasted_s=time.monotonic() - began_s, error=None)


def trickles_a_frame(port: int, app: RawApp) -> Seen:
    """Send a large frame byte by byte: no silence, and no end of it."""
    with RawDevice(port, app, stream="stuck") as device:
        device.open()
        message = joined(encode(of_size(0, 500_000)))
        began_s = time.monotonic()
        device.socket.sendall(message[:1000])
        sent = 1000
        device.socket.settimeout(0.5)
        while time.monotonic() - began_s < WAIT_S:
            try:
                list(zip(device.events(), range(1), strict=False))
            except TimeoutError:
                device.socket.sendall(message[sent : sent + 1])
                sent += 1
            except (SessionLost, Refused) as error:
                return Seen(lasted_s=time.monotonic() - began_s, error=error)
        raise AssertionError("it was never refused")


def reads_nothing(port: int, app: RawApp) -> Seen:
    """Cause answers for as long as it goes, and read none of them."""
    with RawDevice(port, app, stream="unread", receive_buffer_bytes=4096) as device:
        device.open()
        began_s = time.monotonic()
        try:
            for seq in range(100_000):
                cause_long_answer(device, seq)
        except ConnectionError as error:
            return Seen(lasted_s=time.monotonic() - began_s, error=error)
        raise AssertionError("it could go on for ever")


def reads_nothing_for_long(port: int, app: RawApp) -> Seen:
    """Cause some answers, read none of them, and live on."""
    with RawDevice(port, app, stream="forgetting", receive_buffer_bytes=4096) as device:
        device.open()
        for seq in range(2_000):
            cause_long_answer(device, seq)
        began_s = time.monotonic()
        pause = threading.Event()
        try:
            while not pause.wait(0.5):
                device.beat()
                assert time.monotonic() - began_s < WAIT_S
        except ConnectionError as error:
            return Seen(lasted_s=time.monotonic() - began_s, error=error)
        raise AssertionError("it could go on for ever")


def cause_long_answer(device: RawDevice, seq: int) -> None:
    """Send a frame that fails with a reason of its own."""
    reason = str(seq).zfill(MAX_TEXT_CHARACTERS - len("ValueError: "))
    device.session.send_frame(Frame(seq=seq, split=2, captured_at=0.0, tree={"doubled": reason}))
    device.flush()


BAD_PEERS: Final[dict[str, Callable[[int, RawApp], Seen]]] = {
    each.__name__: each
    for each in (
        says_nothing,
        trickles_its_handshake,
        goes_silent,
        only_beats,
        trickles_a_frame,
        reads_nothing,
        reads_nothing_for_long,
    )
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Bad:
    folder = tmp_path_factory.mktemp("bad")
    app = RawApp.of(write_app(folder, "failing", FAILING), FAILING)
    arguments = ("--app", app.name, "--insecure", "--results", "none", "--summary", "cloud.json")
    with (
        cloud_server(folder, *arguments) as server,
        ThreadPoolExecutor(len(BAD_PEERS)) as threads,
    ):
        peers = {name: threads.submit(peer, server.port, app) for name, peer in BAD_PEERS.items()}
        seen = {name: each.result(2 * WAIT_S) for name, each in peers.items()}
        stopped = server.stop()
    assert stopped.code == 0, stopped.err
    assert "Traceback" not in stopped.err
    refused = read_summary(folder / "cloud.json")["refused"]
    return Bad(seen=seen, server=stopped, refused=refused)


@pytest.mark.parametrize("name", ["says_nothing", "trickles_its_handshake"])
def test_a_handshake_has_five_seconds(bad: Bad, name: str) -> None:
    assert 4.5 < bad.seen[name].lasted_s < 7.0
    assert bad.seen["says_nothing"].messages == 1
    assert bad.server.err.count("no handshake within 5 s") == 2


def test_a_silent_device_is_noticed_within_six_seconds_and_had_signs_of_life(bad: Bad) -> None:
    assert 5.0 <= bad.seen["goes_silent"].lasted_s < 6.5
    assert bad.seen["goes_silent"].messages >= 2
    assert "session_lost stream=silent" in bad.line("silent for 5 s")


def test_a_device_that_only_shows_that_it_lives_stays(bad: Bad) -> None:
    assert bad.seen["only_beats"].lasted_s > 8.0
    assert "session_lost stream=beating" in bad.line("stream=beating reason=")
    assert "closed by the device" in bad.line("stream=beating reason=")


def test_a_message_that_has_begun_is_to_be_complete_in_time(bad: Bad) -> None:
    seen = bad.seen["trickles_a_frame"]
    assert 10.0 <= seen.lasted_s < 12.0
    assert isinstance(seen.error, SessionLost)
    assert "comes at less than 64 KiB/s: run more tasks on the device" in str(seen.error)
    assert "--encoding" in bad.line("session_lost stream=stuck")


def test_a_device_that_leaves_a_mebibyte_unread_is_cut_off(bad: Bad) -> None:
    assert "has over 1 MiB unread" in bad.line("session_lost stream=unread")


def test_a_device_that_reads_nothing_for_ten_seconds_is_cut_off(bad: Bad) -> None:
    assert 10.0 <= bad.seen["reads_nothing_for_long"].lasted_s < 12.0
    assert "took nothing of what it was sent for 10 s" in bad.line("session_lost stream=forgetting")


def test_all_refusals_are_counted(bad: Bad) -> None:
    assert bad.refused == {"timeout": 3, "slow_reader": 2}
    assert bad.server.err.count("why=slow_reader") == 2


# Clients.


def test_as_many_clients_are_served_as_may_and_one_more_is_told_to_come_again(
    tmp_path: Path,
) -> None:
    app = numbers(tmp_path)
    arguments = ("--app", app.name, "--insecure", "--max-clients", "2", "--summary", "cloud.json")
    with cloud_server(tmp_path, *arguments) as server, ExitStack() as stack:

        def device(stream: str) -> RawDevice:
            return stack.enter_context(RawDevice(server.port, app, stream=stream))

        first, second, third = device("a"), device("b"), device("c")
        first.open()
        second.open()
        with pytest.raises(SessionLost, match=r"server is full \(--max-clients 2\)"):
            third.open()
        again = device("a")
        again.open()
        assert isinstance(first.refusal(), Refused)
        again.send_frame(0, number=1)
        again.wait_for_acknowledgement(1)
        second.session.send_end()
        second.flush()
        server.wait_for_line("stream_ended")
        device("c").open()
        with pytest.raises(SessionLost, match=r"server is full \(--max-clients 2\)"):
            device("d").open()
        server.stop()
    assert read_summary(tmp_path / "cloud.json")["refused"] == {"busy": 2, "taken_over": 1}


def test_a_device_that_is_in_the_middle_of_sending_can_read_why_its_session_ended(
    tmp_path: Path,
) -> None:
    app = numbers(tmp_path)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="a") as older,
        RawDevice(server.port, app, stream="a") as newer,
    ):
        older.open()
        older.send_frame(0, number=1)
        older.wait_for_acknowledgement(1)
        newer.open()
        # It does not know yet that it was sent away.
        for _ in range(50):
            older.send_raw(of_size(0, 100_000))
        error = older.refusal()
        assert isinstance(error, Refused), error
        assert "taken over by a newer connection" in str(error)


def test_who_has_no_token_does_not_learn_how_many_clients_there_are(tmp_path: Path) -> None:
    app = numbers(tmp_path)
    with cloud_server(tmp_path, "--app", app.name, "--max-clients", "1") as server:
        from offload.auth import load_device_token

        token = load_device_token(None, os.environ)
        with (
            RawDevice(server.port, app, stream="a", token=token) as inside,
            RawDevice(server.port, app, stream="b") as outside,
        ):
            inside.open()
            assert "token" in str(outside.refusal())


# Sizes.


def test_a_message_of_the_limits_size_passes_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    app = numbers(tmp_path)
    arguments = ("--app", app.name, "--insecure", "--max-frame", "100kB")
    with cloud_server(tmp_path, *arguments) as server:
        with RawDevice(server.port, app, stream="a") as device:
            assert device.open().max_message_bytes == 100_000
            device.session.send_frame(of_size(0, 100_000))
            device.flush()
            device.wait_for_acknowledgement(1)
            device.send_raw(of_size(1, 100_001))
            error = device.refusal()
        assert isinstance(error, Refused)
        assert "message is 100001 bytes, expected at most 100000" in str(error)
        assert "why=limit" in server.wait_for_line("refused")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--max-frame", str(ENVELOPE_ONLY_BYTES - 1)), "is not 65548 bytes to 1GiB"),
        (("--max-frame", "1073741825"), "is not 65548 bytes to 1GiB"),
        (("--max-frame", "1MB", "--memory-limit", "68108863"), "expected at least 68108864"),
        (("--memory-limit", "100MiB"), "expected at least 134217728"),
        (("--max-clients", "0"), "'0'"),
    ],
)
def test_a_limit_out_of_its_range_is_wrong_usage(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    with started(SERVER, tmp_path, "--port", "0", *arguments) as program:
        ended = program.wait()
    assert ended.code == 2, ended.err
    assert says in ended.error


# Memory.


def test_past_the_memory_limit_devices_wait_and_none_is_refused(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    app = RawApp.of(write_app(tmp_path, "gated", GATED), GATED)
    # Room for four frames of 64 MiB when decoded, and some small ones.
    arguments = ("--app", app.name, "--insecure", "--memory-limit", "257MiB", "--max-frame", "1MB")
    with (
        cloud_server(tmp_path, *arguments, "--summary", "cloud.json") as server,
        ExitStack() as stack,
    ):
        devices = [
            stack.enter_context(RawDevice(server.port, app, stream=f"s{each}")) for each in range(6)
        ]
        for device in devices:
            device.open()
        for device in devices:
            frame = Frame(
                seq=0, split=2, captured_at=0.0, tree={"doubled": 1}, decoded_bytes=64 << 20
            )
            device.session.send_frame(frame)
            device.flush()
        server.wait_for_line("memory_limit_reached")
        gate.open()
        for device in devices:
            device.wait_for_acknowledgement(1)
        stopped = server.stop()
    assert stopped.err.count("memory_limit_reached") == 1
    assert read_summary(tmp_path / "cloud.json")["refused"] == {}
    for each in range(6):
        assert read_results(tmp_path / "results.db", f"s{each}") == {0: 1}


def test_small_frames_count_too(tmp_path: Path) -> None:
    """A thousand of a few bytes are 4 MB of objects; this limit leaves 1 MB for them."""
    Gate(tmp_path)
    app = RawApp.of(write_app(tmp_path, "gated", GATED), GATED)
    least = ENVELOPE_ONLY_BYTES + (64 << 20)
    arguments = ("--app", app.name, "--insecure", "--max-frame", str(ENVELOPE_ONLY_BYTES))
    with (
        cloud_server(tmp_path, *arguments, "--memory-limit", str(least)) as server,
        ExitStack() as stack,
    ):
        devices = [
            stack.enter_context(RawDevice(server.port, app, stream=f"s{each}"))
            for each in range(17)
        ]
        for each in devices:
            each.open()
            for seq in range(1000):
                each.session.send_frame(
                    Frame(seq=seq, split=2, captured_at=0.0, tree={"doubled": seq})
                )
            each.flush()
        server.wait_for_line("memory_limit_reached")
        server.kill()


# A server that was held up itself.


@pytest.mark.slow
def test_a_server_that_was_stopped_counts_no_silence_of_that_time(tmp_path: Path) -> None:
    app = numbers(tmp_path)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="a") as device,
    ):
        device.open()
        # By this sign of life the server has looked at what it has heard so far.
        next(device.events())
        server.send(signal.SIGSTOP)
        # How long it is stopped is what is tested.
        time.sleep(SILENCE_S + 2.0)
        server.send(signal.SIGCONT)
        # Once it says again that it lives, it has looked at all that it has not heard.
        next(device.events())
        device.send_frame(0, number=1)
        device.wait_for_acknowledgement(1)
        assert "session_lost" not in server.kill().err


# The number of open files.

# Starts the program with few open files, as `ulimit -n` does.
FEW_FILES: Final = f"""
import resource, runpy, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64 if sys.argv.pop() == "hard" else hard))
sys.argv[0], sys.path[0] = {str(SERVER)!r}, {str(SERVER.parent)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_server_that_may_open_no_more_files_says_so_and_goes_on_when_it_may(
    tmp_path: Path,
) -> None:
    (tmp_path / "few_files.py").write_text(FEW_FILES, encoding="utf-8")
    arguments = ("--port", "0", "--bind", "127.0.0.1", "--insecure")
    with started(tmp_path / "few_files.py", tmp_path, *arguments, "hard") as server:
        assert "this user may open 64" in server.wait_for_line("few_open_files")
        port = server.wait_for_line("listening on").rsplit(":", 1)[1].strip()
        with ExitStack() as stack:
            for _ in range(80):
                stack.enter_context(socket.create_connection(("127.0.0.1", int(port)), WAIT_S))
            server.wait_for_line("cannot_accept")
        ended = run_client(tmp_path, "3", "--host", "127.0.0.1", "--port", port, "--frames", "5")
        stopped = server.stop()
    assert ended.code == 0, ended.err
    assert stopped.code == 0
    assert stopped.err.count("cannot_accept") == 1
    assert "Traceback" not in stopped.err


def test_a_server_opens_as_many_files_as_its_clients_need_if_it_may(tmp_path: Path) -> None:
    (tmp_path / "few_files.py").write_text(FEW_FILES, encoding="utf-8")
    arguments = ("--port", "0", "--bind", "127.0.0.1", "--insecure")
    with started(tmp_path / "few_files.py", tmp_path, *arguments, "soft") as server:
        port = int(server.wait_for_line("listening on").rsplit(":", 1)[1])
        with ExitStack() as stack:
            peers = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), WAIT_S))
                for _ in range(80)
            ]
            for each in peers:
                each.sendall(b"nonsense")
            server.wait_for_line("refused", times=80)
        stopped = server.stop()
    assert "few_open_files" not in stopped.err
    assert "cannot_accept" not in stopped.err

"""One stream over real sockets: frames of any size arrive whole and in order, whoever sends."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import pytest

from offload.device.attempts import CONNECT_TIMEOUT_S
from offload.device.dialer import Dialer
from offload.device.outbox import Delivered
from offload.device.spooling import open_spool
from offload.device.uplink import MAX_STEERING_REQUESTS, Uplink
from offload.errors import RemoteProtocolError
from offload.messages import (
    HEARTBEAT,
    STEERING,
    WATCH,
    Acknowledgement,
    Control,
    Ended,
    Frame,
    Outcome,
    OutcomeRange,
    PinSplit,
    Release,
    SetTarget,
    SteeringMode,
    SteeringRequest,
    SteeringState,
)
from offload.servers import Server
from offload.session import SILENCE_S, TICK_S, CloudEvent, CloudSession, OpenRequested
from offload.telemetry.recorder import Recorder
from offload.transport import listening_sockets
from tests.integration.answers import FIRST, Cloud, Visit
from tests.integration.programs import client, cloud_server, read_results, write_app
from tests.integration.raw_device import GATED, Gate
from tests.session_pair import frame, joined, opening

pytestmark = pytest.mark.integration

LONG_S = 30.0
PICTURE_BYTES = 3_000_000


class SlowCloud(threading.Thread):
    """A cloud that reads little at a time, and acknowledges what ``may_acknowledge`` permits."""

    def __init__(self, listener: socket.socket, *, read_bytes: int) -> None:
        super().__init__(daemon=True)
        self.frames: list[Frame] = []
        self.ended: list[OutcomeRange] = []
        self.may_read = threading.Event()
        self.sessions = 0
        self.hang_up_after_bytes = 0
        self.is_silent = False
        self.controls: list[Control] = []
        self._listener = listener
        self._read_bytes = read_bytes
        self._next_seq = 0

    def run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.sessions += 1
            with closing(connection):
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        session = CloudSession(secret_for=lambda _: None, insecure=True, nonce=bytes(16))
        received = 0
        while True:
            count = connection.recv_into(session.buffer()[: self._read_bytes])
            received += count
            if not count or (self.sessions == 1 and 0 < self.hang_up_after_bytes < received):
                return
            for event in session.received(count):
                self._handle(session, event)
            if pieces := session.take_outgoing():
                connection.sendall(joined(pieces))

    def _handle(self, session: CloudSession, event: CloudEvent) -> None:
        if isinstance(event, OpenRequested):
            session.accept(next_seq=self._next_seq, durable=True)
            return
        if isinstance(event, Control):
            self.controls.append(event)
            if not self.is_silent:
                session.send_heartbeat()
            return
        assert self.may_read.wait(LONG_S)
        if isinstance(event, Frame):
            self.frames.append(event)
            self._next_seq = event.seq + 1
        elif isinstance(event, Ended):
            self.ended += event.ranges
            self._next_seq = event.ranges[-1].stop
        else:
            session.acknowledge(Acknowledgement(next_seq=self._next_seq))
            session.confirm_end()
            return
        session.acknowledge(Acknowledgement(next_seq=self._next_seq))


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(listening_sockets("127.0.0.1", 0)[0]) as opened:
        opened.setblocking(True)
        yield opened
        opened.shutdown(socket.SHUT_RDWR)


Open = Callable[..., tuple[Uplink, SlowCloud]]


@pytest.fixture
def opened(listener: socket.socket) -> Iterator[Open]:
    uplinks: list[Uplink] = []

    def start(
        *, read_bytes: int = 1 << 20, hang_up_after_bytes: int = 0
    ) -> tuple[Uplink, SlowCloud]:
        cloud = SlowCloud(listener, read_bytes=read_bytes)
        cloud.hang_up_after_bytes = hang_up_after_bytes
        cloud.start()
        server = Server(host="127.0.0.1", port=listener.getsockname()[1])
        dialer = Dialer(servers=(server,), token=None, retry_for_s=None)
        uplink = Uplink(dialer=dialer, opening=opening(), recorder=Recorder(), window=64)
        uplinks.append(uplink)
        uplink.start()
        assert uplink.wait_until_open(timeout_s=LONG_S) is not None
        return uplink, cloud

    yield start
    for each in uplinks:
        each.close()


def finish(uplink: Uplink) -> list[Delivered]:
    delivered: list[Delivered] = []
    by_s = time.monotonic() + LONG_S
    while not uplink.finish(timeout_s=0.05):
        delivered += uplink.take_deliveries()
        assert time.monotonic() < by_s
    return delivered + uplink.take_deliveries()


def wait_until(holds: Callable[[], bool], *, within_s: float) -> None:
    by_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < by_s
        time.sleep(0.02)


def payloads(count: int) -> list[bytes]:
    """Payloads of all sizes, each unlike the others."""
    sizes = random.Random(count)
    return [sizes.randbytes(sizes.choice([1, 40, 5_000, 100_000, 900_000])) for _ in range(count)]


@pytest.mark.parametrize("read_bytes", [3_000, 1 << 20])
def test_frames_of_any_size_arrive_in_order_and_whole(opened: Open, read_bytes: int) -> None:
    uplink, cloud = opened(read_bytes=read_bytes)
    cloud.may_read.set()
    sent = payloads(60)
    for seq, payload in enumerate(sent):
        assert uplink.wait_for_room(timeout_s=LONG_S)
        uplink.put_frame(frame(seq, payload=payload), captured_s=time.monotonic())
    delivered = finish(uplink)
    assert [bytes(each.buffers[0]) for each in cloud.frames] == sent
    assert [each.outcome.first for each in delivered] == list(range(60))
    assert all(each.message_bytes > len(sent[each.outcome.first]) for each in delivered)


def test_putting_never_waits_for_a_cloud_that_does_not_read(opened: Open) -> None:
    uplink, cloud = opened()
    for seq in range(20):
        uplink.put_frame(frame(seq, payload=bytes(PICTURE_BYTES)), captured_s=0.0)
    assert uplink.room == 44
    assert cloud.frames == []
    cloud.may_read.set()
    assert len(finish(uplink)) == 20


def test_ended_frames_keep_their_place_among_frames_that_wait_for_the_socket(opened: Open) -> None:
    uplink, cloud = opened()
    for seq in range(0, 40, 2):
        uplink.put_frame(frame(seq, payload=bytes(PICTURE_BYTES // 4)), captured_s=0.0)
        filtered = OutcomeRange(first=seq + 1, count=1, outcome=Outcome.FILTERED, task="find")
        uplink.put_ended(filtered, captured_s=[0.0])
    cloud.may_read.set()
    delivered = finish(uplink)
    assert [each.outcome.first for each in delivered] == list(range(40))
    assert [each.first for each in cloud.ended] == list(range(1, 40, 2))


def test_what_was_cut_off_in_the_middle_of_a_message_is_sent_again_from_its_beginning(
    opened: Open,
) -> None:
    uplink, cloud = opened(hang_up_after_bytes=5_000_000)
    cloud.may_read.set()
    sent = payloads(40)
    for seq, payload in enumerate(sent):
        assert uplink.wait_for_room(timeout_s=LONG_S)
        uplink.put_frame(frame(seq, payload=payload), captured_s=0.0)
    finish(uplink)
    assert cloud.sessions == 2
    assert uplink.state().reconnects == 1
    assert [bytes(each.buffers[0]) for each in cloud.frames] == sent


@pytest.mark.slow
def test_an_idle_device_gives_signs_of_life_and_notices_when_the_cloud_gives_none(
    opened: Open,
) -> None:
    uplink, cloud = opened()
    began_s = time.monotonic()
    wait_until(lambda: len(cloud.controls) >= 2, within_s=6.0)
    assert {each.name for each in cloud.controls} == {HEARTBEAT}
    assert time.monotonic() - began_s > 1.5
    cloud.is_silent = True
    silent_s = time.monotonic()
    wait_until(lambda: uplink.state().reconnects == 1, within_s=10.0)
    # One tick less than it may be silent, since its last word is not timed here.
    assert SILENCE_S - 2 * TICK_S < time.monotonic() - silent_s < SILENCE_S + 2 * TICK_S


SPOOL_BYTES: Final = 1024 * 1024


@pytest.mark.parametrize(
    ("frames", "fits"),
    [pytest.param(4, True, id="room"), pytest.param(20, False, id="full")],
)
def test_an_uplink_without_a_connection_rests_when_its_spool_has_everything(
    frames: int, fits: bool, tmp_path: Path
) -> None:
    asked = opening()
    with Cloud(FIRST) as cloud:
        dialer = Dialer(
            servers=(Server(host=FIRST, port=cloud.port),), token=None, retry_for_s=None
        )
        spool = open_spool(tmp_path, asked, limit_bytes=SPOOL_BYTES)
        with closing(
            Uplink(dialer=dialer, opening=asked, recorder=Recorder(), window=32, spool=spool)
        ) as uplink:
            uplink.start()
            assert uplink.wait_until_open(timeout_s=LONG_S) is not None
            assert not uplink.is_resting
            cloud.leave()
            wait_until(lambda: not uplink.state().connected, within_s=LONG_S)
            for seq in range(frames):
                uplink.put_frame(frame(seq, payload=bytes(100_000)), captured_s=0.0)
                # What was put in is not on disk at once.
                assert not uplink.is_resting
            if fits:
                wait_until(lambda: uplink.is_resting, within_s=LONG_S)
            else:
                wait_until(lambda: uplink.state().spooled > 4, within_s=LONG_S)
                time.sleep(1.0)
                assert not uplink.is_resting


@pytest.mark.slow
def test_a_device_that_comes_back_waits_for_as_long_as_its_earlier_frames_take(
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path)
    app = ("--app", write_app(tmp_path, "gated", GATED))
    with cloud_server(tmp_path, *app, "--insecure") as server:
        arguments = ("1", *server.address, *app, "--stream", "s", "--spool", "spool")
        with client(tmp_path, *arguments, "--report-every", "0.1") as first:
            first.wait_for_line("in_flight=10")
            first.kill()
        with client(tmp_path, *arguments, "--retry-for", "1") as second:
            second.wait_for_line("welcome_awaited")
            # How long it waits is what is tested.
            time.sleep(CONNECT_TIMEOUT_S + SILENCE_S + 2.0)
            assert second.is_running
            gate.open()
            ended = second.wait()
    assert ended.code == 0, ended.err
    assert "server_unavailable" not in ended.err
    # The second run's own ten frames come after those that it found waiting.
    assert list(read_results(tmp_path / "results.db", "s")) == list(range(20))


# Steering.

# Comes after all else that a cloud says, and can be seen.
ALL_SAID: Final = Control(name=WATCH, body={"fps": 1})


def telling(*controls: Control) -> Callable[[Visit], None]:
    """Return an answer that welcomes, says this at once, and goes on."""

    def answer(visit: Visit) -> None:
        visit.shake_hands()
        visit.welcome()
        for each in controls:
            visit.say(each)
        while not visit.session.is_closed:
            visit.take()

    return answer


@contextmanager
def uplink_to(cloud: Cloud) -> Iterator[Uplink]:
    server = Server(host=FIRST, port=cloud.port)
    dialer = Dialer(servers=(server,), token=None, retry_for_s=None)
    with closing(Uplink(dialer=dialer, opening=opening(), recorder=Recorder(), window=8)) as uplink:
        uplink.start()
        assert uplink.wait_until_open(timeout_s=LONG_S) is not None
        yield uplink


def wait_for_requests(uplink: Uplink, count: int) -> list[SteeringRequest]:
    found: list[SteeringRequest] = []

    def is_complete() -> bool:
        found.extend(uplink.take_requests())
        return len(found) >= count

    wait_until(is_complete, within_s=LONG_S)
    return found


def test_changes_wait_for_the_main_thread_in_order() -> None:
    requests = [
        SteeringRequest(change=SetTarget(fps=25.0), number=7),
        SteeringRequest(change=PinSplit(split=3), number=8),
        SteeringRequest(change=Release()),
    ]
    controls = [each.control() for each in requests]
    with Cloud(FIRST, answer=telling(*controls)) as cloud, uplink_to(cloud) as uplink:
        assert wait_for_requests(uplink, 3) == requests
        assert uplink.take_requests() == []


def test_the_newest_changes_are_kept_for_a_main_thread_that_is_held_up() -> None:
    changes = [PinSplit(split=split) for split in range(1, 101)]
    controls = [SteeringRequest(change=each).control() for each in changes]
    with Cloud(FIRST, answer=telling(*controls, ALL_SAID)) as cloud, uplink_to(cloud) as uplink:
        wait_until(lambda: uplink.watched_fps == 1, within_s=LONG_S)
        kept = [each.change for each in uplink.take_requests()]
    assert kept == changes[-MAX_STEERING_REQUESTS:]


@pytest.mark.parametrize("body", [{"fps": 0}, {"fps": None}, {"fps": 1, "request": "x"}])
def test_a_change_that_makes_no_sense_breaks_the_protocol(body: dict[str, object]) -> None:
    control = Control(name="target", body=body)
    with Cloud(FIRST, answer=telling(control)) as cloud:
        server = Server(host=FIRST, port=cloud.port)
        dialer = Dialer(servers=(server,), token=None, retry_for_s=None)
        with closing(
            Uplink(dialer=dialer, opening=opening(), recorder=Recorder(), window=8)
        ) as uplink:
            uplink.start()
            with pytest.raises(RemoteProtocolError, match=r"field 'fps'|request is"):
                wait_until(lambda: uplink.take_deliveries() != [], within_s=LONG_S)


def test_a_device_says_how_it_is_steered_at_once_and_again_after_each_welcome(
    opened: Open,
) -> None:
    uplink, cloud = opened(hang_up_after_bytes=100_000)
    cloud.may_read.set()
    request = SteeringRequest(change=SetTarget(fps=25.0), number=3)
    uplink.say_steering(
        mode=SteeringMode.AUTOMATIC, target=25.0, pinned=2, error="too fast", answers=request
    )

    def said() -> list[SteeringState]:
        return [SteeringState.read(each) for each in cloud.controls if each.name == STEERING]

    wait_until(lambda: len(said()) == 1, within_s=LONG_S)
    (first,) = said()
    assert (first.target_fps, first.pinned) == (25.0, 2)
    assert (first.error, first.answers) == ("too fast", 3)
    # What ends the first session.
    uplink.put_frame(frame(0, payload=bytes(PICTURE_BYTES)), captured_s=0.0)
    wait_until(lambda: len(said()) == 2, within_s=LONG_S)
    assert cloud.sessions == 2
    # It answers nobody: whoever asked was told that the connection was lost.
    assert said()[1] == first.unprompted()
    finish(uplink)


def test_changes_of_an_older_session_are_forgotten() -> None:
    asked = SteeringRequest(change=Release(), number=1).control()
    with Cloud(FIRST, answer=telling(asked, ALL_SAID)) as cloud, uplink_to(cloud) as uplink:
        wait_until(lambda: uplink.watched_fps == 1, within_s=LONG_S)
        cloud.answer = telling()
        cloud.hang_up()
        wait_until(lambda: uplink.state().reconnects == 1, within_s=LONG_S)
        assert uplink.take_requests() == []

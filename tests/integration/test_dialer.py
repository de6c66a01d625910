"""Which server of a list gets a stream, how soon, and when a device gives up."""

import gc
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import pytest

from offload.device.attempts import MAX_ADDRESSES, Attempt, Terms
from offload.device.dialer import (
    ANSWER_S,
    FIRST_RETRY_BOUND_S,
    Dialer,
    OpenSession,
)
from offload.device.race import MAX_SIDE_BY_SIDE, Failure, Race
from offload.device.uplink import Uplink
from offload.errors import (
    AuthError,
    HandshakeError,
    OffloadError,
    Refused,
    RemoteProtocolError,
    ServerUnavailable,
    SessionLost,
)
from offload.messages import Open, RefusalCode
from offload.servers import Server, leave_plain
from offload.session import SILENCE_S, DeviceSession
from offload.telemetry.recorder import Recorder
from tests.integration.answers import (
    FIRST,
    SECOND,
    WAIT_S,
    Answer,
    Cloud,
    Visit,
    hanging_up,
    refusing,
    refusing_after,
    silent,
    speaking_http,
    welcoming,
)
from tests.seen_events import SeenEvents
from tests.session_pair import frame, opening

pytestmark = pytest.mark.integration

NAME: Final = "cloud.example"

# A session that is opened at once, on a busy machine.
AT_ONCE_S: Final = 0.9


class Site:
    """Clouds on addresses of this machine, all at the same port, and their devices."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.port = 0

    def cloud(self, host: str, answer: Answer = welcoming) -> Cloud:
        cloud = self._stack.enter_context(Cloud(host, self.port, answer=answer))
        self.port = cloud.port
        return cloud

    def swallow(self, host: str) -> None:
        """Have an address that takes no connection, and refuses none."""
        listener = self._stack.enter_context(socket.socket())
        listener.bind((host, self.port))
        # The backlog has one place; who comes then gets no answer.
        listener.listen(0)
        self._stack.enter_context(socket.create_connection((host, self.port)))

    def at_end(self, act: Callable[[], object]) -> None:
        """Do something when the test is over."""
        self._stack.callback(act)

    def dialer(self, *hosts: str, retry_for_s: float | None = WAIT_S) -> Dialer:
        servers = tuple(Server(host=each, port=self.port) for each in hosts)
        dialer = Dialer(servers=servers, token=None, retry_for_s=retry_for_s)
        self._stack.callback(dialer.close)
        return dialer

    def uplink(self, *hosts: str) -> Uplink:
        uplink = Uplink(
            dialer=self.dialer(*hosts), opening=opening(), recorder=Recorder(), window=64
        )
        self._stack.callback(uplink.close)
        uplink.start()
        assert uplink.wait_until_open(timeout_s=WAIT_S) is not None
        return uplink


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(stack)


def dial(dialer: Dialer) -> str:
    """Open a session, end it as an outage does, and return whose it was."""
    opened = dialer.dial(opening())
    opened.connection.close()
    dialer.note_end(SessionLost("connection ended"))
    return opened.server.host


def seconds(act: Callable[[], object]) -> float:
    began_s = time.monotonic()
    act()
    return time.monotonic() - began_s


def wait_until(holds: Callable[[], bool]) -> None:
    by_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < by_s
        time.sleep(0.02)


# A server that refuses for good.


REFUSALS: Final = [
    pytest.param(refusing(RefusalCode.TOKEN), AuthError, id="token"),
    pytest.param(refusing(RefusalCode.OWNER), AuthError, id="owner"),
    pytest.param(refusing(RefusalCode.PIPELINE), HandshakeError, id="pipeline"),
    pytest.param(speaking_http, RemoteProtocolError, id="http"),
]
each_refusal = pytest.mark.parametrize(("answer", "error"), REFUSALS)


@pytest.mark.parametrize("answer", [pytest.param(each.values[0], id=each.id) for each in REFUSALS])
def test_a_server_that_refuses_for_good_is_left_out_and_the_next_one_tried(
    site: Site, answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    def welcoming_the_third(visit: Visit) -> None:
        (hanging_up if second.connections < 3 else welcoming)(visit)

    first, second = site.cloud(FIRST, answer), site.cloud(SECOND, welcoming_the_third)
    assert dial(site.dialer(FIRST, SECOND)) == SECOND
    assert (first.connections, second.connections) == (1, 3)
    (said,) = [each for each in caplog.records if each.message == "server_refused"]
    assert said.__dict__["server"] == FIRST


@each_refusal
def test_when_all_servers_refuse_the_stream_ends_with_the_error_of_the_first_and_all_reasons(
    site: Site, answer: Answer, error: type[OffloadError]
) -> None:
    site.cloud(FIRST, answer)
    site.cloud(SECOND, refusing(RefusalCode.TOKEN, "not I"))
    reasons = rf"^server {FIRST}( refused: because|: .*); server {SECOND} refused: not I$"
    with pytest.raises(error, match=reasons):
        dial(site.dialer(FIRST, SECOND))


@each_refusal
def test_the_only_server_ends_the_stream_by_its_refusal_before_and_after_a_session(
    site: Site, answer: Answer, error: type[OffloadError]
) -> None:
    cloud = site.cloud(FIRST, answer)
    with pytest.raises(error) as raised:
        dial(site.dialer(FIRST))
    assert FIRST not in str(raised.value)
    cloud.answer = welcoming
    dialer = site.dialer(FIRST)
    dial(dialer)
    cloud.answer = answer
    with pytest.raises(error):
        dial(dialer)


def test_a_server_that_refused_is_named_where_the_others_are_only_away(site: Site) -> None:
    site.cloud(FIRST, refusing(RefusalCode.TOKEN, "no such token"))
    with pytest.raises(ServerUnavailable) as raised:
        dial(site.dialer(FIRST, SECOND, retry_for_s=0.5))
    said = str(raised.value)
    reasons = f"server {FIRST} refused: no such token; cannot reach {SECOND}:{site.port}: "
    assert said.startswith(reasons)
    assert said.endswith(" s: is the server running?")


def test_after_a_session_a_server_that_refuses_is_tried_again_as_one_that_is_away(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = site.cloud(FIRST), site.cloud(SECOND)
    dialer = site.dialer(FIRST, SECOND)
    assert dial(dialer) == FIRST
    first.answer = refusing(RefusalCode.TOKEN)
    assert dial(dialer) == SECOND
    second.answer = hanging_up
    came = first.connections

    def welcoming_the_third(visit: Visit) -> None:
        (welcoming if first.connections == came + 3 else refusing(RefusalCode.TOKEN))(visit)

    first.answer = welcoming_the_third
    assert dial(dialer) == FIRST
    assert [each.message for each in caplog.records].count("server_refused") == 1


def test_a_refusal_does_not_count_any_more_once_another_server_had_the_session(site: Site) -> None:
    first, second = site.cloud(FIRST, refusing(RefusalCode.TOKEN)), site.cloud(SECOND)
    dialer = site.dialer(FIRST, SECOND)
    assert dial(dialer) == SECOND
    first.answer, second.answer = welcoming, refusing(RefusalCode.TOKEN)
    assert dial(dialer) == FIRST


def test_after_a_session_servers_that_all_refuse_end_the_stream(site: Site) -> None:
    first, second = site.cloud(FIRST), site.cloud(SECOND)
    dialer = site.dialer(FIRST, SECOND)
    dial(dialer)
    first.answer = refusing(RefusalCode.PIPELINE, "other tasks")
    second.answer = refusing(RefusalCode.TOKEN)
    with pytest.raises(HandshakeError, match=f"^server {FIRST} refused: other tasks; "):
        dial(dialer)


@pytest.mark.parametrize("code", [RefusalCode.TAKEN_OVER, RefusalCode.LIMIT, "of_later"])
def test_a_refusal_of_the_stream_ends_it_though_another_server_would_take_it(
    site: Site, code: str
) -> None:
    site.cloud(FIRST, refusing(code))
    second = site.cloud(SECOND)
    with pytest.raises(Refused, match=f"^server {FIRST} refused: because$"):
        dial(site.dialer(FIRST, SECOND))
    assert second.connections == 0


def test_a_session_that_is_refused_goes_on_at_the_next_server(site: Site) -> None:
    first = site.cloud(FIRST, refusing_after(3, RefusalCode.TOKEN))
    second = site.cloud(SECOND)
    uplink = site.uplink(FIRST, SECOND)
    for seq in range(3):
        uplink.put_frame(frame(seq), captured_s=0.0)
    wait_until(lambda: uplink.state().reconnects == 1)
    for seq in range(3, 5):
        uplink.put_frame(frame(seq), captured_s=0.0)
    assert uplink.finish(timeout_s=WAIT_S)
    assert first.connections == second.connections == 1
    assert [each.outcome.first for each in uplink.take_deliveries()] == list(range(5))


def test_sessions_that_all_servers_refuse_before_any_progress_end_the_stream(site: Site) -> None:
    site.cloud(FIRST, refusing_after(0, RefusalCode.PROTOCOL))
    site.cloud(SECOND, refusing_after(0, RefusalCode.TOKEN))
    with pytest.raises(HandshakeError, match=f"^server {FIRST} refused: because; "):
        site.uplink(FIRST, SECOND).finish(timeout_s=WAIT_S)


def test_a_refusal_does_not_count_any_more_once_another_session_had_progress(site: Site) -> None:
    clouds = [site.cloud(each, refusing_after(1, RefusalCode.TOKEN)) for each in (FIRST, SECOND)]
    uplink = site.uplink(FIRST, SECOND)
    for seq in range(4):
        uplink.put_frame(frame(seq), captured_s=0.0)
        wait_until(lambda stop=seq + 1: uplink.state().reconnects == stop)  # type: ignore[misc]
    for each in clouds:
        each.answer = welcoming
    assert uplink.finish(timeout_s=WAIT_S)
    assert len(uplink.take_deliveries()) == 4


def test_a_stream_that_was_taken_over_ends_though_another_server_would_take_it(site: Site) -> None:
    site.cloud(FIRST, refusing_after(0, RefusalCode.TAKEN_OVER))
    second = site.cloud(SECOND)
    with pytest.raises(Refused, match=f"^server {FIRST} refused: because$"):
        site.uplink(FIRST, SECOND).finish(timeout_s=WAIT_S)
    assert second.connections == 0


# A server that takes its time for a welcome.


def beating(beats: int, *, every_s: float, ending: Answer) -> Answer:
    """Return an answer that gives signs of life for a while before it goes on."""

    def answer(visit: Visit) -> None:
        visit.shake_hands()
        for _ in range(beats):
            time.sleep(every_s)
            visit.beat()
        ending(visit)

    return answer


def welcome(visit: Visit) -> None:
    visit.welcome()


def test_an_attempt_that_was_answered_is_not_ended_by_the_time_for_retries(site: Site) -> None:
    cloud = site.cloud(FIRST, beating(3, every_s=0.5, ending=welcome))
    assert dial(site.dialer(FIRST, retry_for_s=0.1)) == FIRST
    assert cloud.connections == 1


@pytest.mark.slow
def test_signs_of_life_keep_an_attempt_alive_for_longer_than_a_silence(site: Site) -> None:
    cloud = site.cloud(FIRST, beating(4, every_s=2.0, ending=welcome))
    assert seconds(lambda: dial(site.dialer(FIRST, retry_for_s=0.1))) > SILENCE_S
    assert cloud.connections == 1


@pytest.mark.slow
def test_an_attempt_ends_when_the_signs_of_life_do(site: Site) -> None:
    site.cloud(FIRST, beating(1, every_s=2.0, ending=silent))
    site.cloud(SECOND)
    took_s = seconds(lambda: dial(site.dialer(FIRST, SECOND)))
    assert SILENCE_S + 2.0 <= took_s < SILENCE_S + 2.0 + AT_ONCE_S + 1.0


# The addresses of a name.


def give_addresses(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Let `NAME` have these addresses."""
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        hosts = addresses if host == NAME else (host,)
        return [found for each in hosts for found in real(each, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


def test_an_address_that_swallows_connections_costs_a_second_and_only_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = site.cloud(SECOND)
    site.swallow(FIRST)
    give_addresses(monkeypatch, FIRST, SECOND)
    dialer = site.dialer(NAME)
    assert ANSWER_S <= seconds(lambda: dial(dialer)) < ANSWER_S + AT_ONCE_S
    assert seconds(lambda: dial(dialer)) < AT_ONCE_S
    assert good.connections == 2


def test_the_next_address_of_a_name_is_tried_at_once_and_without_a_word(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.cloud("127.0.0.9")
    give_addresses(monkeypatch, *(f"127.0.0.{each}" for each in range(3, 10)))
    assert seconds(lambda: dial(site.dialer(NAME))) < AT_ONCE_S
    assert caplog.records == []


def test_all_addresses_of_a_name_are_tried_before_the_next_server(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(SECOND)
    other = site.cloud("127.0.0.3")
    give_addresses(monkeypatch, FIRST, SECOND)
    assert dial(site.dialer(NAME, "127.0.0.3")) == NAME
    assert other.connections == 0


def test_an_address_that_does_not_answer_is_named_with_its_server(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(SECOND)
    give_addresses(monkeypatch, FIRST)
    with pytest.raises(ServerUnavailable, match=rf"^{NAME}: cannot reach {FIRST}:{site.port}: "):
        dial(site.dialer(NAME, retry_for_s=0.1))


def test_of_very_many_addresses_the_first_ones_are_tried(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(FIRST)
    give_addresses(monkeypatch, *(f"127.0.1.{each}" for each in range(1, 3 * MAX_ADDRESSES)))
    race = Race(Terms(opening=opening(), token=None, secure=leave_plain, favourite=""))
    race.begin(Server(host=NAME, port=site.port))
    tried = 1
    while not isinstance(race.wait(WAIT_S), Failure):
        assert race.begin_other()
        tried += 1
    assert tried == MAX_ADDRESSES
    assert not race.has_others
    race.close()


def test_of_a_name_with_other_services_the_address_of_a_server_is_found(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(FIRST, speaking_http)
    turns: list[Visit] = []

    def busy_at_first(visit: Visit) -> None:
        turns.append(visit)
        (refusing(RefusalCode.BUSY) if len(turns) < 3 else welcoming)(visit)

    site.cloud(SECOND, busy_at_first)
    give_addresses(monkeypatch, FIRST, SECOND)
    assert dial(site.dialer(NAME)) == NAME


@each_refusal
def test_a_name_refuses_by_one_address_where_all_others_are_away_and_the_error_names_it(
    site: Site, answer: Answer, error: type[OffloadError], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(FIRST, answer)
    give_addresses(monkeypatch, SECOND, FIRST, "127.0.0.3")
    named = rf"^server {NAME} \({FIRST}\)( refused: because$|: )"
    with pytest.raises(error, match=named):
        dial(site.dialer(NAME))


def test_after_a_session_a_name_refuses_only_by_the_address_that_had_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(FIRST, speaking_http)
    good = site.cloud(SECOND)
    give_addresses(monkeypatch, FIRST, SECOND)
    dialer = site.dialer(NAME)
    assert dial(dialer) == NAME
    came = good.connections

    def away_at_first(visit: Visit) -> None:
        (welcoming if good.connections >= came + 3 else hanging_up)(visit)

    good.answer = away_at_first
    assert dial(dialer) == NAME
    good.answer = refusing(RefusalCode.TOKEN)
    with pytest.raises(AuthError, match=rf"^server {NAME} \({SECOND}\) refused: because$"):
        dial(dialer)


def test_a_refusal_of_the_stream_by_one_address_ends_it_at_once(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud(FIRST, refusing(RefusalCode.TAKEN_OVER))
    second = site.cloud(SECOND)
    give_addresses(monkeypatch, FIRST, SECOND)
    with pytest.raises(Refused):
        dial(site.dialer(NAME))
    assert second.connections == 0


def test_an_address_that_answered_second_is_asked_again_when_the_first_one_refuses(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    was_beaten = threading.Event()

    def answering_first(visit: Visit) -> None:
        time.sleep(ANSWER_S + 0.3)
        visit.shake_hands()
        assert was_beaten.wait(WAIT_S)
        visit.refuse(RefusalCode.TOKEN, "because")

    def answering_second(visit: Visit) -> None:
        if second.connections > 1:
            welcoming(visit)
            return
        try:
            time.sleep(0.8)
            visit.shake_hands()
        finally:
            was_beaten.set()

    site.cloud(FIRST, answering_first)
    second = site.cloud(SECOND, answering_second)
    give_addresses(monkeypatch, FIRST, SECOND)
    assert dial(site.dialer(NAME)) == NAME
    assert second.connections == 2


def test_the_time_for_retries_ends_also_among_the_addresses_of_a_name(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud("127.0.0.9")
    silent_ones = [f"127.0.0.{each}" for each in range(3, 8)]
    for each in silent_ones:
        site.swallow(each)
    give_addresses(monkeypatch, *silent_ones)

    def dial_in_vain() -> None:
        with pytest.raises(ServerUnavailable) as raised:
            dial(site.dialer(NAME, retry_for_s=0.5))
        said = f"{NAME}: no answer yet from 127.0.0.3:{site.port}; tried for 1 s: "
        assert str(raised.value) == f"{said}is the server running?"

    assert seconds(dial_in_vain) < ANSWER_S + AT_ONCE_S


# Name servers that do not answer.


def silence_name_servers(site: Site, monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """Let nobody say what addresses these have, and return who was asked for."""
    real = socket.getaddrinfo
    asked: list[str] = []
    is_over = threading.Event()

    def look_up(host: str, port: int, *args: Any, **options: Any) -> list[Any]:
        if host in names:
            asked.append(host)
            assert is_over.wait(WAIT_S)
            raise socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution")
        return real(host, port, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    site.at_end(is_over.set)
    return asked


def test_a_name_is_asked_for_once_while_name_servers_are_silent(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = silence_name_servers(site, monkeypatch, NAME)

    def welcoming_the_third(visit: Visit) -> None:
        (hanging_up if cloud.connections < 3 else welcoming)(visit)

    cloud = site.cloud(FIRST, welcoming_the_third)
    assert dial(site.dialer(NAME, FIRST)) == FIRST
    assert asked == [NAME]


def test_names_that_are_looked_up_keep_no_server_from_being_tried(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"cloud{each}.example" for each in range(MAX_SIDE_BY_SIDE + 1)]
    silence_name_servers(site, monkeypatch, *names)
    race = Race(Terms(opening=opening(), token=None, secure=leave_plain, favourite=""))
    for each in names:
        race.begin(Server(host=each, port=1))
    assert race.has_room
    race.close()


def test_a_name_that_no_name_server_has_answered_for_is_named(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    silence_name_servers(site, monkeypatch, NAME)
    with pytest.raises(ServerUnavailable) as raised:
        dial(site.dialer(NAME, retry_for_s=0.5))
    said = f"cannot find {NAME}: no name server has answered yet; tried for 1 s: "
    assert str(raised.value) == f"{said}is the name right, and is this machine connected?"


def test_a_server_whose_name_is_none_does_not_end_a_stream_that_another_one_takes(
    site: Site,
) -> None:
    first = site.cloud(FIRST)
    dialer = site.dialer(FIRST, "a..b")
    assert dial(dialer) == FIRST

    def welcoming_the_third(visit: Visit) -> None:
        (hanging_up if first.connections < 4 else welcoming)(visit)

    first.answer = welcoming_the_third
    assert dial(dialer) == FIRST


# What is left behind.


@contextmanager
def without_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive() -> set[int]:
    """Return which attempts, races and sessions there are."""
    return {
        id(each) for each in gc.get_objects() if isinstance(each, (Attempt, Race, DeviceSession))
    }


def test_neither_sessions_nor_attempts_wait_for_the_garbage_collector(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)

    def welcoming_the_third(visit: Visit) -> None:
        (hanging_up if second.connections % 3 else welcoming)(visit)

    site.cloud(FIRST, refusing(RefusalCode.TOKEN))
    second = site.cloud(SECOND, welcoming_the_third)
    dialer = site.dialer(FIRST, "a..b", SECOND)
    with without_collector():
        before = alive()
        for _ in range(2):
            assert dial(dialer) == SECOND
        wait_until(lambda: alive() <= before)


# Turns, and the end.


def test_a_lost_session_is_opened_again_with_the_server_that_answered_late(site: Site) -> None:
    def late(visit: Visit) -> None:
        time.sleep(ANSWER_S + 0.6)
        welcoming(visit)

    site.cloud(FIRST, late)
    second = site.cloud(SECOND, silent)
    dialer = site.dialer(FIRST, SECOND)
    assert dial(dialer) == FIRST
    assert second.connections == 1
    assert dial(dialer) == FIRST
    assert second.connections == 2


def test_a_lost_session_is_opened_again_with_the_same_server(site: Site) -> None:
    first, _ = site.cloud(FIRST, hanging_up), site.cloud(SECOND)
    dialer = site.dialer(FIRST, SECOND)
    assert dial(dialer) == SECOND
    first.answer = welcoming
    assert dial(dialer) == SECOND
    assert first.connections == 1


def test_only_one_of_several_servers_that_answer_is_asked_for_the_stream(site: Site) -> None:
    asked: list[Visit] = []
    has_ended = threading.Event()

    def late(visit: Visit) -> None:
        time.sleep(ANSWER_S + 0.6)
        try:
            visit.shake_hands()
            asked.append(visit)
        finally:
            has_ended.set()

    site.cloud(FIRST, late)
    site.cloud(SECOND)
    assert dial(site.dialer(FIRST, SECOND)) == SECOND
    assert has_ended.wait(WAIT_S)
    assert asked == []


@pytest.mark.slow
def test_a_session_is_used_at_once_though_it_comes_in_the_pause_before_the_next_attempt(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_s = ANSWER_S + 0.2

    def late_after_three(visit: Visit) -> None:
        if cloud.connections <= 3:
            refusing(RefusalCode.BUSY)(visit)
        else:
            time.sleep(late_s)
            welcoming(visit)

    cloud = site.cloud(FIRST, late_after_three)
    # All pauses are as long as they may be.
    monkeypatch.setattr(random, "uniform", lambda _, bound_s: bound_s)
    pauses_s = [FIRST_RETRY_BOUND_S * 2**each for each in range(4)]
    took_s = seconds(lambda: dial(site.dialer(FIRST)))
    assert took_s < sum(pauses_s[:3]) + late_s + AT_ONCE_S < sum(pauses_s) + ANSWER_S


def test_a_dialer_that_was_closed_connects_to_nobody(site: Site) -> None:
    cloud = site.cloud(FIRST)
    dialer = site.dialer(FIRST)
    dialer.close()
    with pytest.raises(ServerUnavailable, match="the stream was closed"):
        dialer.dial(opening())
    assert cloud.connections == 0


def test_closing_ends_an_attempt_that_was_answered(site: Site) -> None:
    site.cloud(FIRST, beating(1, every_s=0.0, ending=silent))
    dialer = site.dialer(FIRST)
    threading.Timer(0.3, dialer.close).start()

    def dial_in_vain() -> None:
        with pytest.raises(ServerUnavailable, match="the stream was closed"):
            dialer.dial(opening())

    assert seconds(dial_in_vain) < 0.3 + AT_ONCE_S


@pytest.mark.parametrize(
    ("code", "reason"),
    [(RefusalCode.BUSY, "server serves 1 client already"), (RefusalCode.DRAINING, "shutting down")],
)
def test_a_device_that_was_turned_away_is_told_to_come_again(
    site: Site, code: RefusalCode, reason: str
) -> None:
    site.cloud(FIRST, refusing(code, reason))
    with pytest.raises(ServerUnavailable) as raised:
        dial(site.dialer(FIRST, retry_for_s=0.1))
    assert str(raised.value).startswith(f"server refused: {reason}; tried for ")
    assert str(raised.value).endswith(": try again later, or wait for longer with --retry-for")


def test_a_name_that_nobody_knows_is_asked_about(site: Site) -> None:
    with pytest.raises(ServerUnavailable) as raised:
        dial(site.dialer("no-such-host.invalid", retry_for_s=0.1))
    assert str(raised.value).startswith("cannot find no-such-host.invalid: ")
    assert str(raised.value).endswith(": is the name right, and is this machine connected?")


class HeldDialer(Dialer):
    """Says that a session is open, and waits before it gives it away."""

    def __init__(self, server: Server) -> None:
        super().__init__(servers=(server,), token=None, retry_for_s=WAIT_S)
        self.opened = threading.Event()
        self.go_on = threading.Event()

    def dial(self, opening: Open) -> OpenSession:
        """Open a session."""
        opened = super().dial(opening)
        self.opened.set()
        assert self.go_on.wait(WAIT_S)
        return opened


def test_a_session_that_comes_after_the_close_is_not_taken_into_use(
    site: Site,
) -> None:
    seen = SeenEvents()
    cloud = site.cloud(FIRST)
    dialer = HeldDialer(Server(host=FIRST, port=cloud.port))
    uplink = Uplink(dialer=dialer, opening=opening(), recorder=Recorder([seen]), window=4)
    uplink.start()
    assert dialer.opened.wait(WAIT_S)
    uplink.close()
    dialer.go_on.set()
    for each in threading.enumerate():
        if each.name == "uplink-link":
            each.join(WAIT_S)
    assert not uplink.state().connected
    assert seen.events == []

"""Signing in to the page: who may, how often it may be tried, and for how long it holds."""

from pathlib import Path
from typing import Final

import pytest

from offload.auth import ServerTokens, load_server_tokens
from offload.cloud.access import Access
from offload.dashboard.doors import OpenDoors, TooManyTries
from offload.dashboard.sign_in_limits import (
    ADDRESS_REFILL_S,
    ALL_REFILL_S,
    MAX_ADDRESSES,
    TRIES_IN_ALL,
    TRIES_OF_ADDRESS,
    Limited,
    SignInLimits,
    Wait,
)
from offload.dashboard.signing_in import MAX_VISITS, MAX_VISITS_OF_TOKEN, VISIT_S, TokenDoors
from offload.dashboard.visitors import Visitor, VisitorRole
from offload.errors import AuthError
from offload.throttle import COMPLAIN_EVERY_S

SECRET: Final = "0123456789abcdefghij"
OTHER_SECRET: Final = "another-secret-of-20"
LINES: Final = f"porch:{SECRET}\nboss:{SECRET}:operator\nguest:{OTHER_SECRET}:viewer\n"
HOME: Final = "192.0.2.7"


class ManualClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "tokens"
    file.touch(mode=0o600)
    file.write_text(LINES, encoding="ascii")
    return file


@pytest.fixture
def access(file: Path) -> Access:
    return Access(load_server_tokens(file, {}))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def doors(access: Access, clock: ManualClock) -> TokenDoors:
    return TokenDoors(access, clock=clock)


def visitor_of(doors: TokenDoors, cookie: str) -> Visitor | None:
    visit = doors.visit(cookie)
    return None if visit is None else visit.visitor


# Who may come in.


@pytest.mark.parametrize(
    ("line", "name", "role"),
    [
        (f"porch:{SECRET}", "porch", VisitorRole.DEVICE),
        (f"boss:{SECRET}", "boss", VisitorRole.OPERATOR),
        (f"boss:{SECRET}:operator", "boss", VisitorRole.OPERATOR),
        (f"guest:{OTHER_SECRET}:viewer", "guest", VisitorRole.VIEWER),
    ],
)
def test_a_token_is_known_by_its_line_with_or_without_its_role(
    doors: TokenDoors, line: str, name: str, role: VisitorRole
) -> None:
    cookie = doors.sign_in(line, address=HOME)
    assert visitor_of(doors, cookie) == Visitor(name=name, role=role)


@pytest.mark.parametrize(
    "line",
    [
        "",
        ":",
        "porch",
        "porch:",
        f"porch:{OTHER_SECRET}",
        f"porch:{SECRET[:-1]}",
        f"porch:{SECRET}:operator",
        f"guest:{OTHER_SECRET}:operator",
        f"nobody:{SECRET}",
        "nobody:no token has as short a secret",
        f"porch:{SECRET}é",
    ],
)
def test_what_is_no_token_is_refused(doors: TokenDoors, line: str) -> None:
    with pytest.raises(AuthError):
        doors.sign_in(line, address=HOME)


@pytest.mark.parametrize("cookie", [None, "", "x", "x" * 10_000, "\udcff"])
def test_a_cookie_that_nobody_was_given_opens_nothing(
    doors: TokenDoors, cookie: str | None
) -> None:
    doors.sign_in(f"porch:{SECRET}", address=HOME)
    assert doors.visit(cookie) is None


def test_each_visit_has_a_cookie_of_its_own(doors: TokenDoors) -> None:
    cookies = {doors.sign_in(f"porch:{SECRET}", address=HOME) for _ in range(3)}
    assert len(cookies) == 3
    assert all(len(each) >= 43 for each in cookies)


def test_without_tokens_everybody_looks_and_nobody_steers() -> None:
    visit = OpenDoors().visit(None)
    assert visit is not None
    assert visit.visitor.may_see("anybody")
    assert not visit.visitor.may_steer


@pytest.mark.parametrize(
    ("role", "sees_all", "steers"),
    [
        (VisitorRole.OPERATOR, True, True),
        (VisitorRole.VIEWER, True, False),
        (VisitorRole.DEVICE, False, False),
    ],
)
def test_a_role_says_what_a_visitor_may(role: VisitorRole, sees_all: bool, steers: bool) -> None:
    visitor = Visitor(name="porch", role=role)
    assert visitor.may_see("porch")
    assert [visitor.may_see("garden"), visitor.may_see(None)] == [sees_all, sees_all]
    assert visitor.may_steer == steers


# For how long.


def test_a_visit_ends_after_a_working_day(doors: TokenDoors, clock: ManualClock) -> None:
    cookie = doors.sign_in(f"porch:{SECRET}", address=HOME)
    clock.now += VISIT_S - 1
    visit = doors.visit(cookie)
    assert visit is not None
    clock.now += 1
    assert visit.is_over
    assert doors.visit(cookie) is None


def test_signing_out_ends_what_was_opened_with_the_cookie(doors: TokenDoors) -> None:
    cookie = doors.sign_in(f"porch:{SECRET}", address=HOME)
    visit = doors.visit(cookie)
    assert visit is not None
    doors.sign_out(cookie)
    assert visit.is_over
    assert doors.visit(cookie) is None


@pytest.mark.parametrize(
    "lines",
    [
        f"boss:{SECRET}:operator\n",
        f"guest:{SECRET}:viewer\n",
        f"guest:{OTHER_SECRET}\n",
    ],
    ids=["gone", "another secret", "another role"],
)
def test_a_token_that_is_withdrawn_ends_its_visits(
    doors: TokenDoors, access: Access, file: Path, lines: str
) -> None:
    cookie = doors.sign_in(f"guest:{OTHER_SECRET}", address=HOME)
    access.reload()
    visit = doors.visit(cookie)
    assert visit is not None
    file.write_text(lines, encoding="ascii")
    access.reload()
    assert visit.is_over
    assert doors.visit(cookie) is None


def test_the_first_visitor_makes_room_for_one_too_many(tmp_path: Path) -> None:
    lines = [f"device{number}:{SECRET}" for number in range(MAX_VISITS + 1)]
    file = tmp_path / "many"
    file.touch(mode=0o600)
    file.write_text("\n".join(lines), encoding="ascii")
    doors = TokenDoors(Access(load_server_tokens(file, {})))
    cookies = [doors.sign_in(each, address=HOME) for each in lines]
    assert doors.visit(cookies[0]) is None
    assert all(doors.visit(each) is not None for each in cookies[1:])


def test_who_signs_in_again_and_again_signs_out_nobody_else(doors: TokenDoors) -> None:
    boss = doors.sign_in(f"boss:{SECRET}", address=HOME)
    cookies = [doors.sign_in(f"porch:{SECRET}", address=HOME) for _ in range(MAX_VISITS)]
    assert doors.visit(boss) is not None
    assert [doors.visit(each) is not None for each in cookies].count(True) == MAX_VISITS_OF_TOKEN
    assert doors.visit(cookies[-1]) is not None


# How often.


def test_an_address_may_try_some_times_and_then_now_and_then(
    doors: TokenDoors, clock: ManualClock
) -> None:
    for _ in range(TRIES_OF_ADDRESS):
        with pytest.raises(AuthError):
            doors.sign_in("porch:wrong", address=HOME)
    with pytest.raises(TooManyTries) as caught:
        doors.sign_in(f"porch:{SECRET}", address=HOME)
    assert caught.value.wait == Wait(limited=Limited.ADDRESS, seconds=ADDRESS_REFILL_S)
    # Others are not held up by it.
    doors.sign_in(f"porch:{SECRET}", address="192.0.2.8")
    clock.now += ADDRESS_REFILL_S
    doors.sign_in(f"porch:{SECRET}", address=HOME)


def test_that_somebody_tries_too_often_is_said_now_and_then(
    doors: TokenDoors, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    def said_after_many_tries() -> int:
        caplog.clear()
        for _ in range(3 * TRIES_OF_ADDRESS):
            with pytest.raises((AuthError, TooManyTries)):
                doors.sign_in("porch:wrong", address=HOME)
        return caplog.messages.count("sign_in_limited")

    assert [said_after_many_tries() for _ in range(3)] == [1, 0, 0]
    clock.now += COMPLAIN_EVERY_S
    assert said_after_many_tries() == 1


def test_who_knows_a_token_uses_up_no_tries(doors: TokenDoors) -> None:
    for _ in range(3 * TRIES_OF_ADDRESS):
        doors.sign_in(f"porch:{SECRET}", address=HOME)


def test_all_addresses_together_try_no_more_often(clock: ManualClock) -> None:
    limits = SignInLimits()
    tried = [limits.may_try(f"192.0.2.{last}", clock.now) for last in range(TRIES_IN_ALL + 5)]
    assert tried.count(True) == TRIES_IN_ALL
    waited = limits.wait("198.51.100.1", clock.now)
    assert waited == Wait(limited=Limited.ALL, seconds=ALL_REFILL_S)
    clock.now += ALL_REFILL_S
    assert limits.may_try("198.51.100.1", clock.now)
    assert not limits.may_try("198.51.100.2", clock.now)


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("192.0.2.7", "::ffff:192.0.2.7", True),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("no address", "no address", True),
    ],
)
def test_whoever_has_a_network_of_their_own_tries_no_more_often(
    first: str, second: str, is_same: bool, clock: ManualClock
) -> None:
    limits = SignInLimits()
    while limits.may_try(first, clock.now):
        pass
    assert limits.may_try(second, clock.now) is not is_same


def test_only_so_many_addresses_are_remembered(clock: ManualClock) -> None:
    limits = SignInLimits()
    while limits.may_try(HOME, clock.now):
        pass
    for number in range(MAX_ADDRESSES - 1):
        limits.may_try(f"198.51.{number // 256}.{number % 256}", clock.now)
    clock.now += ALL_REFILL_S
    assert not limits.may_try(HOME, clock.now)
    for number in range(MAX_ADDRESSES):
        limits.may_try(f"198.51.{number // 256}.{number % 256}", clock.now)
    # It is forgotten, and tries as one of all.
    clock.now += ALL_REFILL_S
    assert limits.may_try(HOME, clock.now)


def test_a_server_without_tokens_knows_that() -> None:
    assert not Access(ServerTokens(tokens={}, path=None, created=False)).has_tokens

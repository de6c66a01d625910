"""Where a stream stands that a device asks for, by what the store knows of it."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from offload.cloud.opening import find_standing
from offload.errors import AuthError, ResultsError
from offload.messages import Open, Outcome, OutcomeRange
from offload.results import MemoryResults, ResultsStore, StreamCommit
from offload.results.sqlite import SqliteResults
from offload.session import OpenRequested

FILTERED = OutcomeRange(first=1, count=2, outcome=Outcome.FILTERED)


def request(*, position: int = 0, owner: str = "home", app: str = "ball") -> OpenRequested:
    opening = Open(app=app, fingerprint=[], stream="s", device="pi", position=position)
    return OpenRequested(opening=opening, owner=owner)


def store_with(*, next_seq: int, ended: Sequence[OutcomeRange] = ()) -> MemoryResults:
    store = MemoryResults()
    find_standing(store, request())
    commit = StreamCommit(
        stream="s",
        epoch=1,
        first_seq=0,
        ended=tuple(ended),
        next_seq=next_seq,
        state=b"state",
        at=1.0,
    )
    assert store.commit([commit]) == []
    return store


def test_a_new_stream_begins_at_zero() -> None:
    standing = find_standing(MemoryResults(), request())
    assert (standing.next_seq, standing.record.next_seq, standing.exceptions) == (0, 0, ())


def test_a_stream_goes_on_where_it_is_stored_and_what_ended_since_is_told() -> None:
    store = store_with(next_seq=5, ended=[FILTERED])
    standing = find_standing(store, request(position=1))
    assert (standing.next_seq, standing.record.state) == (5, b"state")
    assert standing.exceptions == (FILTERED,)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        (request(owner="other"), "belongs to another token: choose another --stream"),
        (request(app="other"), "belongs to app 'ball': choose another --stream"),
    ],
)
def test_another_token_or_app_does_not_get_the_stream(asked: OpenRequested, what: str) -> None:
    with pytest.raises(AuthError, match=what):
        find_standing(store_with(next_seq=5), asked)


def test_a_device_that_was_promised_more_is_believed_and_the_log_says_what_that_means(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = store_with(next_seq=5)
    standing = find_standing(store, request(position=8))
    assert (standing.next_seq, standing.record.next_seq) == (8, 5)
    assert find_standing(store, request(position=8)).record.next_seq == 8
    (said,) = caplog.records
    assert said.message == "position_adopted"
    why = cast("str", said.__dict__["why"])
    assert "all frames below 8 are stored" in why
    assert "--results" in why


class OpenedMeanwhile(MemoryResults):
    """A store in which another server opens a stream as soon as it was asked for."""

    def commit(self, commits: Sequence[StreamCommit]) -> list[StreamCommit]:
        find_standing(self, request())
        return super().commit(commits)


def test_a_stream_that_is_opened_elsewhere_while_it_is_opened_is_not_opened() -> None:
    with pytest.raises(ResultsError, match="opened at another server meanwhile"):
        find_standing(OpenedMeanwhile(), request(position=8))


def test_two_servers_find_a_stream_at_the_same_place(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with closing(SqliteResults(path)) as one, closing(SqliteResults(path)) as other:
        stores: list[ResultsStore] = [one, other]
        assert [find_standing(each, request()).next_seq for each in stores] == [0, 0]
        epoch = find_standing(one, request()).record.epoch
        one.commit([StreamCommit(stream="s", epoch=epoch, first_seq=0, next_seq=7, at=1.0)])
        assert find_standing(other, request()).next_seq == 7

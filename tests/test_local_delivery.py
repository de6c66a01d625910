"""Client only: a stream that another program goes on with ends here, in words."""

from contextlib import closing
from pathlib import Path

import pytest

from offload.device.local_delivery import LocalDelivery
from offload.errors import Refused
from offload.messages import Outcome, OutcomeRange
from offload.results import ResultsStore, StreamCommit, StreamRecord
from offload.results.sqlite import SqliteResults

LONG_S = 30.0


def record(store: ResultsStore) -> StreamRecord:
    return store.open_stream(stream="s", device="pi", app="app", owner="", now=1.0)


def filtered(seq: int) -> OutcomeRange:
    return OutcomeRange(first=seq, count=1, outcome=Outcome.FILTERED)


def test_what_is_stored_is_delivered_and_the_end_is_confirmed(tmp_path: Path) -> None:
    store = SqliteResults(tmp_path / "results.db")
    with closing(LocalDelivery(store, record(store))) as delivery:
        delivery.put_ended(filtered(0), captured_s=[1.0])
        assert delivery.finish(timeout_s=LONG_S)
        assert [each.outcome for each in delivery.take_deliveries()] == [filtered(0)]


def test_a_stream_that_another_program_goes_on_with_ends_with_the_reason(tmp_path: Path) -> None:
    store = SqliteResults(tmp_path / "results.db")
    with closing(LocalDelivery(store, record(store))) as delivery:
        with closing(SqliteResults(tmp_path / "results.db")) as other:
            epoch = record(other).epoch
            other.commit([StreamCommit(stream="s", epoch=epoch, first_seq=0, next_seq=5, at=2.0)])
        delivery.put_ended(filtered(0), captured_s=[1.0])
        with pytest.raises(Refused, match="'s' was taken over by another program"):
            delivery.finish(timeout_s=LONG_S)
        for ask in (delivery.take_deliveries, lambda: delivery.wait_for_room(timeout_s=0)):
            with pytest.raises(Refused, match="choose another --stream"):
                ask()
    with closing(SqliteResults(tmp_path / "results.db")) as again:
        assert (record(again).next_seq, record(again).filtered) == (5, 0)

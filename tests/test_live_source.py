"""Which streams a server's page shows, and whose, though names are given again."""

from collections.abc import Callable

import pytest

from offload.dashboard.live import LiveSource
from offload.telemetry.events import TelemetryEvent
from offload.telemetry.history import History
from tests.metrics.events import server_sampled
from tests.test_history import ended, lost, opened


class Owners:
    """Tokens' names by streams."""

    def __init__(self, **owners: str) -> None:
        self.of = owners

    def owner_of(self, stream: str) -> str | None:
        return self.of.get(stream)


def test_what_was_another_owners_is_not_shown_to_the_next_one() -> None:
    owners = Owners(s="porch", t="porch")
    source = LiveSource(owners, title="", history=History(), results=None)  # type: ignore[arg-type]
    for event in (opened(), opened(stream="t"), lost(1.0)):
        source.note(event)
    owners.of["s"] = "garden"
    source.note(opened(2.0))
    stream = source.history.get("s")
    assert stream is not None
    assert [each.at_s for each in stream.notices] == [2.0]
    assert (source.owner("s"), source.owner("t")) == ("garden", "porch")


def test_a_stream_that_comes_back_keeps_what_is_known_of_it() -> None:
    owners = Owners(s="porch")
    source = LiveSource(owners, title="", history=History(), results=None)  # type: ignore[arg-type]
    for event in (opened(), lost(1.0), opened(2.0)):
        source.note(event)
    stream = source.history.get("s")
    assert stream is not None
    assert [each.at_s for each in stream.notices] == [0.0, 1.0, 2.0]


def test_the_owners_of_streams_that_are_forgotten_are_forgotten() -> None:
    names = [f"s{number}" for number in range(100)]
    owners = Owners(**dict.fromkeys(names, "porch"))
    source = LiveSource(owners, title="", history=History(), results=None)  # type: ignore[arg-type]
    for name in names:
        source.note(opened(stream=name))
        source.history.forget(name)
    assert [source.owner(each) for each in names].count("porch") <= 2


@pytest.mark.parametrize("last", [lost, ended])
def test_a_trial_is_shown_until_the_server_has_forgotten_it(
    last: Callable[..., TelemetryEvent],
) -> None:
    names = ["s", "s (trial)"]
    owners = Owners(**dict.fromkeys(names, "porch"))
    source = LiveSource(owners, title="", history=History(), results=None)  # type: ignore[arg-type]
    for name in names:
        source.note(opened(stream=name))
        source.note(last(1.0, stream=name))
    source.note(server_sampled(at_s=2.0))
    assert [each.info.stream for each in source.history.streams()] == names
    owners.of.clear()
    source.note(server_sampled(at_s=3.0))
    assert [each.info.stream for each in source.history.streams()] == ["s"]

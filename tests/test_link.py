"""The link's rate comes out of acknowledgements, whatever the clocks, the way and the queue."""

from dataclasses import dataclass, field

import pytest

from offload.device import link
from offload.device.link import LinkEstimate


@dataclass
class Road:
    """A link in virtual time: one message after the other, then some time on the way."""

    seconds_per_byte: float
    way_s: float = 0.0
    estimate: LinkEstimate = field(default_factory=LinkEstimate)
    free_s: float = 0.0

    def send(self, byte_count: int, *, at_s: float, residence_s: float = 0.0) -> None:
        self.free_s = max(self.free_s, at_s) + byte_count * self.seconds_per_byte
        self.estimate.observe(
            byte_count=byte_count,
            sent_s=at_s,
            acknowledged_s=self.free_s + 2 * self.way_s + residence_s,
            residence_s=residence_s,
        )


MBIT_20 = 8 / 20e6


def test_nothing_is_known_before_a_large_message() -> None:
    road = Road(seconds_per_byte=MBIT_20)
    assert road.estimate.seconds_per_byte is None
    road.send(link.MIN_MEASURED_BYTES - 1, at_s=0.0)
    assert road.estimate.seconds_per_byte is None
    road.send(link.MIN_MEASURED_BYTES, at_s=1.0)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20)


@pytest.mark.parametrize("period_s", [0.01, 0.2])
@pytest.mark.parametrize("way_s", [0.0, 0.04])
def test_the_rate_is_found_whether_or_not_messages_queue_and_however_long_the_way_is(
    period_s: float, way_s: float
) -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=way_s)
    for turn in range(100):
        # A frame in three is small, as when the split alternates.
        road.send(100_000 if turn % 3 else 200, at_s=turn * period_s)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20, rel=0.02)


def test_the_time_in_the_cloud_is_not_the_links() -> None:
    road = Road(seconds_per_byte=MBIT_20)
    for turn in range(20):
        road.send(100_000, at_s=turn * 0.1, residence_s=0.3 if turn % 2 else 0.01)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20)


def test_messages_that_queue_show_the_rate_without_any_small_message() -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=0.05)
    for turn in range(100):
        road.send(100_000, at_s=turn * 0.01)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20, rel=0.02)


def test_without_a_small_message_and_a_queue_the_way_counts_as_the_links() -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=0.05)
    for turn in range(20):
        road.send(100_000, at_s=turn * 1.0)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20 + 0.1 / 100_000)


def test_a_change_of_rate_is_followed_within_some_seconds() -> None:
    road = Road(seconds_per_byte=MBIT_20)
    for turn in range(100):
        road.send(100_000, at_s=turn * 0.1)
    road.seconds_per_byte = 4 * MBIT_20
    for turn in range(100, 130):
        road.send(100_000, at_s=turn * 0.1)
    assert road.estimate.seconds_per_byte == pytest.approx(4 * MBIT_20, rel=0.1)


def test_a_message_between_small_and_large_says_nothing_but_holds_up_the_next() -> None:
    road = Road(seconds_per_byte=MBIT_20)
    road.send(20_000, at_s=0.0)
    assert road.estimate.seconds_per_byte is None
    road.send(100_000, at_s=0.0)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20)


def test_the_first_samples_count_alike() -> None:
    estimate = LinkEstimate()
    for turn, transfer_s in enumerate([8.0, 1.0, 1.0, 2.0]):
        sent_s = turn * 100.0
        estimate.observe(
            byte_count=100_000,
            sent_s=sent_s,
            acknowledged_s=sent_s + transfer_s,
            residence_s=0.0,
        )
    assert estimate.seconds_per_byte == pytest.approx(3.0 / 100_000)


def test_a_longer_way_is_believed_once_the_shorter_one_is_ten_seconds_old() -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=0.01)
    road.send(100, at_s=0.0)
    road.way_s = 0.05
    for turn in range(300):
        road.send(100 if turn % 2 else 100_000, at_s=1.0 + turn * 0.1)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20, rel=0.02)


def test_an_old_round_trip_is_nearer_than_none() -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=0.05)
    road.send(100, at_s=0.0)
    for turn in range(30):
        road.send(100_000, at_s=100.0 + turn)
    assert road.estimate.seconds_per_byte == pytest.approx(MBIT_20, rel=0.02)


def test_a_transfer_that_seems_to_take_no_time_is_no_sample() -> None:
    road = Road(seconds_per_byte=MBIT_20, way_s=0.05)
    road.send(100, at_s=0.0)
    road.way_s = 0.0
    road.send(100_000, at_s=1.0)
    assert road.estimate.seconds_per_byte is None

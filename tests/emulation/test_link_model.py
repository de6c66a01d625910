"""One direction of a link, in virtual time."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, groupby, pairwise
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offload.emulation.experiment import UNLIMITED_QUEUE_BYTES, Quality
from offload.emulation.links.link_model import LinkModel

PACKET_BYTES: Final = 1000

# So fast that a packet takes 1 ms.
RATE_BIT_S: Final = 8e6
PACKET_S: Final = 0.001

# What is to be a tenth right is looked at over so many packets.
MANY: Final = 100_000


def link(quality: Quality, seed: str = "7/wifi/forward") -> LinkModel:
    return LinkModel(quality, seed=seed)


def name_of(number: int) -> bytes:
    return b"%d" % number


def arrive(model: LinkModel, now: float, numbers: Iterable[int]) -> None:
    for number in numbers:
        model.arrive(now, name_of(number), PACKET_BYTES)


def all_that_come(model: LinkModel) -> list[tuple[float, int]]:
    """Follow the model's own clock until it is empty: when each packet came, and its number."""
    came = []
    while (now := model.next_s) != float("inf"):
        came += [(now, int(packet)) for packet in model.due(now)]
    return came


def numbers_of(came: Sequence[tuple[float, int]]) -> list[int]:
    return [number for _, number in came]


def lost_numbers(quality: Quality, *, every_s: float, seed: str = "7/wifi/forward") -> list[int]:
    """Let one packet after the other through and return the numbers of those that got lost."""
    model = link(quality, seed)
    came: list[int] = []
    for number in range(MANY):
        arrive(model, number * every_s, [number])
        came += map(int, model.due(number * every_s))
    came += numbers_of(all_that_come(model))
    return sorted(set(range(MANY)) - set(came))


def test_a_link_without_limits_lets_a_packet_through_at_once() -> None:
    model = link(Quality())
    model.arrive(5.0, b"packet", PACKET_BYTES)
    assert model.next_s == 5.0
    assert model.due(5.0) == [b"packet"]
    assert model.next_s == float("inf")


def test_an_empty_link_has_nothing_to_wait_for() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S, delay_s=0.1))
    assert model.next_s == float("inf")
    assert model.due(1e9) == []


def test_packets_are_sent_one_after_the_other_exactly_at_the_rate() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S))
    arrive(model, 0.0, range(50))
    for number, (came_s, came) in enumerate(all_that_come(model)):
        assert came == number
        assert came_s == pytest.approx((number + 1) * PACKET_S, abs=1e-9)


def test_the_rate_counts_every_byte_however_seldom_one_looks() -> None:
    sizes = [40 + (37 * number) % 1461 for number in range(2000)]
    model = link(Quality(rate_bit_s=1e6, queue_bytes=sum(sizes)))
    for size_bytes in sizes:
        model.arrive(3.0, b"", size_bytes)
    sent_by_then = list(accumulate(sizes))
    for after_s in (0.3, 1.7, 5.9, 12.2):
        model.due(3.0 + after_s)
        wanted = max(size_bytes for size_bytes in sent_by_then if size_bytes <= 125_000 * after_s)
        assert model.counters().bytes_out == wanted
    model.due(3.0 + sum(sizes) / 125_000 + 1e-6)
    assert model.counters().bytes_out == sum(sizes)


def test_a_link_that_was_idle_has_saved_nothing_up() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S))
    arrive(model, 0.0, [0])
    arrive(model, 10.0, [1, 2])
    assert [came_s for came_s, _ in all_that_come(model)] == pytest.approx(
        [PACKET_S, 10 + PACKET_S, 10 + 2 * PACKET_S]
    )


def test_the_delay_begins_when_a_packet_has_been_sent() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S, delay_s=0.05))
    arrive(model, 2.0, [0, 1])
    assert model.due(2.0509) == []
    assert model.due(2.0511) == [name_of(0)]
    assert model.due(2.0519) == []
    assert model.due(2.0521) == [name_of(1)]


def test_jitter_is_even_both_ways_where_packets_are_far_apart() -> None:
    model = link(Quality(delay_s=0.05, jitter_s=0.02))
    delays_s = []
    for number in range(5000):
        arrive(model, float(number), [number])
        delays_s += [came_s - number for came_s, _ in all_that_come(model)]
    assert 0.03 <= min(delays_s) < 0.0302
    assert 0.0698 < max(delays_s) <= 0.07
    assert sum(delays_s) / len(delays_s) == pytest.approx(0.05, abs=0.001)
    quarter = sum(delay_s < 0.04 for delay_s in delays_s) / len(delays_s)
    assert quarter == pytest.approx(0.25, abs=0.02)


def test_jitter_keeps_the_order() -> None:
    model = link(Quality(delay_s=0.05, jitter_s=0.05))
    for number in range(1000):
        arrive(model, number * 0.001, [number])
    came = all_that_come(model)
    assert numbers_of(came) == list(range(1000))
    assert all(before <= after for (before, _), (after, _) in pairwise(came))


def test_no_packet_comes_before_it_was_sent_however_large_the_jitter() -> None:
    model = link(Quality(delay_s=0.01, jitter_s=0.05))
    for number in range(1000):
        arrive(model, float(number), [number])
        [(came_s, _)] = all_that_come(model)
        assert number <= came_s <= number + 0.06


@pytest.mark.parametrize("loss", [0.01, 0.05, 0.3])
def test_packets_get_lost_in_their_share(loss: float) -> None:
    lost = lost_numbers(Quality(loss=loss), every_s=0.0)
    assert len(lost) == pytest.approx(loss * MANY, rel=0.1)


@pytest.mark.parametrize(("loss", "burst"), [(0.01, 3.0), (0.05, 8.0), (0.3, 2.0)])
def test_bursts_have_their_mean_length_and_leave_the_share_as_it_is(
    loss: float, burst: float
) -> None:
    lost = lost_numbers(Quality(loss=loss, loss_burst=burst), every_s=0.0)
    bursts = groupby(enumerate(lost), key=lambda each: each[1] - each[0])
    lengths = [len(list(members)) for _, members in bursts]
    assert sum(lengths) / len(lengths) == pytest.approx(burst, rel=0.1)
    assert len(lost) == pytest.approx(loss * MANY, rel=0.15)


def test_losses_without_bursts_do_not_know_of_each_other() -> None:
    lost = set(lost_numbers(Quality(loss=0.3), every_s=0.0))
    after_a_loss = sum(number + 1 in lost for number in lost) / len(lost)
    assert after_a_loss == pytest.approx(0.3, abs=0.01)


def test_the_same_seed_loses_the_same_packets_whatever_the_times() -> None:
    quality = Quality(loss=0.02, loss_burst=3.0)
    slow = replace(quality, rate_bit_s=RATE_BIT_S, delay_s=0.3, jitter_s=0.1, queue_bytes=10**9)
    assert lost_numbers(quality, every_s=0.1) == lost_numbers(slow, every_s=0.0004)


def test_other_seeds_lose_other_packets() -> None:
    quality = Quality(loss=0.02)
    forward = lost_numbers(quality, every_s=0.0)
    assert forward != lost_numbers(quality, every_s=0.0, seed="7/wifi/backward")


def test_the_queue_drops_what_it_has_no_room_for() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S, queue_bytes=3 * PACKET_BYTES))
    arrive(model, 0.0, range(5))
    assert model.counters().queue_bytes == 3 * PACKET_BYTES
    assert model.counters().dropped == 2
    # The first has been sent then.
    arrive(model, PACKET_S, [5, 6])
    assert model.counters().dropped == 3
    assert numbers_of(all_that_come(model)) == [0, 1, 2, 5]


def test_what_is_on_its_way_takes_no_room_in_the_queue() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S, delay_s=10.0, queue_bytes=PACKET_BYTES))
    for number in range(100):
        arrive(model, number * 1.01 * PACKET_S, [number])
    assert model.counters().dropped == 0
    assert numbers_of(all_that_come(model)) == list(range(100))


def test_without_a_rate_memory_bounds_what_is_on_its_way() -> None:
    model = link(Quality(delay_s=1.0))
    for _ in range(3):
        model.arrive(0.0, b"", UNLIMITED_QUEUE_BYTES // 2)
    assert model.counters().dropped == 1
    assert len(model.due(1.0)) == 2
    model.arrive(1.0, b"", UNLIMITED_QUEUE_BYTES // 2)
    assert model.counters().dropped == 1


def test_a_new_rate_counts_from_the_next_packet_on() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S))
    arrive(model, 0.0, range(4))
    # The second one is half sent.
    model.change(1.5 * PACKET_S, Quality(rate_bit_s=RATE_BIT_S / 10))
    assert [came_s for came_s, _ in all_that_come(model)] == pytest.approx(
        [PACKET_S, 2 * PACKET_S, 12 * PACKET_S, 22 * PACKET_S]
    )


def test_without_a_rate_from_now_on_what_waits_follows_the_packet_that_is_being_sent() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S))
    arrive(model, 0.0, range(4))
    model.change(0.5 * PACKET_S, Quality())
    assert all_that_come(model) == [(PACKET_S, number) for number in range(4)]


def test_a_shorter_delay_lets_no_packet_overtake_another() -> None:
    model = link(Quality(delay_s=0.5))
    arrive(model, 0.0, [0])
    model.change(0.1, Quality(delay_s=0.01))
    arrive(model, 0.1, [1])
    arrive(model, 0.6, [2])
    assert all_that_come(model) == [(0.5, 0), (0.5, 1), (0.6 + 0.01, 2)]


def test_a_new_queue_limit_drops_nothing_that_waits() -> None:
    model = link(Quality(rate_bit_s=RATE_BIT_S))
    arrive(model, 0.0, range(10))
    model.change(0.0, Quality(rate_bit_s=RATE_BIT_S, queue_bytes=PACKET_BYTES))
    arrive(model, 0.0, [10])
    assert numbers_of(all_that_come(model)) == list(range(10))


def test_losses_may_begin_and_end_during_a_run() -> None:
    model = link(Quality())
    arrive(model, 0.0, range(10))
    model.change(0.0, Quality(loss=1.0))
    arrive(model, 0.0, range(10, 20))
    model.change(0.0, Quality())
    arrive(model, 0.0, range(20, 30))
    assert numbers_of(all_that_come(model)) == [*range(10), *range(20, 30)]
    assert model.counters().lost == 10


def test_a_link_that_goes_down_drops_what_is_in_it_and_what_arrives() -> None:
    quality = Quality(rate_bit_s=RATE_BIT_S, delay_s=0.05)
    model = link(quality)
    arrive(model, 0.0, range(10))
    # Two have been sent and are on their way.
    model.change(2.5 * PACKET_S, replace(quality, is_up=False))
    arrive(model, 0.1, range(10, 13))
    assert model.next_s == float("inf")
    assert model.due(1.0) == []
    assert model.counters().dropped == 13
    assert model.counters().queue_bytes == 0
    model.change(2.0, quality)
    arrive(model, 2.0, [13])
    assert numbers_of(all_that_come(model)) == [13]


def test_a_link_that_is_down_loses_the_same_packets_afterwards() -> None:
    quality = Quality(loss=0.5)

    def came(*, is_up: bool) -> list[int]:
        model = link(replace(quality, is_up=is_up))
        arrive(model, 0.0, range(100))
        model.due(0.0)
        model.change(0.0, quality)
        arrive(model, 0.0, range(100, 200))
        return numbers_of(all_that_come(model))

    assert came(is_up=False) == came(is_up=True)


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 0.02),
            st.one_of(
                st.integers(1, 1500),
                st.builds(
                    Quality,
                    rate_bit_s=st.one_of(st.none(), st.floats(1e5, 1e8)),
                    delay_s=st.floats(0.0, 0.05),
                    jitter_s=st.floats(0.0, 0.02),
                    loss=st.sampled_from([0.0, 0.1, 1.0]),
                    loss_burst=st.floats(1.0, 5.0),
                    queue_bytes=st.one_of(st.none(), st.integers(0, 10_000)),
                    is_up=st.booleans(),
                ),
            ),
        ),
        max_size=60,
    )
)
def test_every_packet_comes_out_in_order_or_is_counted_whatever_changes(
    events: list[tuple[float, int | Quality]],
) -> None:
    model, now, arrived, bytes_in = link(Quality()), 0.0, 0, 0
    came: list[tuple[float, int]] = []
    for after_s, event in events:
        # As a relay does: look when the model says, then see to what has happened.
        while model.next_s <= now + after_s:
            came += [(model.next_s, int(packet)) for packet in model.due(model.next_s)]
        now += after_s
        if isinstance(event, Quality):
            model.change(now, event)
        else:
            model.arrive(now, name_of(arrived), event)
            arrived, bytes_in = arrived + 1, bytes_in + event
    came += all_that_come(model)
    counters = model.counters()
    assert numbers_of(came) == sorted(numbers_of(came))
    assert counters.packets_out == len(came)
    assert counters.packets_in == arrived == len(came) + counters.lost + counters.dropped
    assert (counters.bytes_in, counters.queue_bytes) == (bytes_in, 0)

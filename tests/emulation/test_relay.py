"""The process of a link: what real packets meet in it, and how it ends."""

import os
import signal
import statistics
import threading
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from offload.emulation.experiment import Quality
from offload.emulation.links.relay_messages import (
    Qualities,
    RelaySettings,
    Report,
    ReportKind,
    read_report,
    settings_line,
)
from tests.emulation.relay_process import WAIT_S, ended, relay, settings, what_is_missing

pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")

from benchmarks.relayed import LINK, RelayedLink
from offload.emulation.links.tap import KERNEL_QUEUE_PACKETS
from offload.emulation.local.network import inside
from offload.emulation.local.probe_traffic import (
    FULL_BYTES,
    Arrival,
    open_flow,
    stream_rate_bit_s,
)

# Far more than a busy machine takes for anything here.
PATIENCE_S: Final = 1.0

ALL_EFFECTS: Final = Quality(
    rate_bit_s=300e6, delay_s=0.010, jitter_s=0.002, loss=0.001, loss_burst=2.0
)


pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(what_is_missing() != "", reason=f"{what_is_missing()} is missing"),
]


def settings_between(link: RelayedLink, *, device: str) -> RelaySettings:
    return settings(link.near.namespace, link.far.namespace, device=device)


def devices_of(namespace: str) -> set[str]:
    with inside(namespace):
        table = Path("/proc/thread-self/net/dev").read_text(encoding="ascii")
    return {line.partition(":")[0].strip() for line in table.splitlines()[2:]}


def lost_numbers(link: RelayedLink, count: int) -> set[int]:
    """Send packets to the far end and return which of them did not arrive."""
    with open_flow(link.near, link.far) as flow:
        arrivals = flow.send_paced(
            count=count, every_s=0.00004, size_bytes=FULL_BYTES, patience_s=PATIENCE_S
        )
    return set(range(count)) - {each.number for each in arrivals}


def flood(link: RelayedLink, duration_s: float) -> list[Arrival]:
    """Keep as much on its way to the far end as fits the queue, and return what arrived."""
    with open_flow(link.near, link.far) as flow:
        return flow.send_steadily(
            in_flight_bytes=link.quality.queue_limit_bytes,
            duration_s=duration_s,
            patience_s=PATIENCE_S,
        )


def stream_mbit(link: RelayedLink, duration_s: float = 1.5) -> float:
    """Return the IP bytes of a stream of TCP, from those that came out at the receiver."""
    rate_bit_s = stream_rate_bit_s(link.near, link.far, warm_up_s=0.7, duration_s=duration_s)
    return rate_bit_s / 1e6


def packet_bytes(before: Report, after: Report) -> float:
    """Return the mean size of what went into the forward direction between two reports."""
    packets = after.forward.packets_in - before.forward.packets_in
    return (after.forward.bytes_in - before.forward.bytes_in) / packets


@pytest.mark.parametrize("end_it", ["stop", "SIGTERM", "SIGKILL"])
def test_the_devices_last_as_long_as_the_process(end_it: str) -> None:
    with RelayedLink(Quality()) as link:
        assert LINK in devices_of(link.near.namespace) & devices_of(link.far.namespace)
        if end_it == "stop":
            link.process.stop()
        else:
            link.relay.send_signal(signal.Signals[end_it])
            link.relay.wait(WAIT_S)
        assert LINK not in devices_of(link.near.namespace) | devices_of(link.far.namespace)


def test_a_relay_that_is_terminated_says_its_counters_before_it_ends() -> None:
    with RelayedLink(Quality()) as link:
        link.round_trips_s(3)
        relay_process = link.relay
        relay_process.terminate()
        while link.next_report().kind is not ReportKind.ENDED:
            pass
        assert link.process.report is not None
        assert link.process.report.forward.packets_out == 3
        assert relay_process.wait(WAIT_S) == 0


def test_a_relay_to_which_nobody_listens_any_more_ends_without_a_word() -> None:
    with RelayedLink(Quality()) as link, relay() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(settings_line(settings_between(link, device="wifi")))
        process.stdin.flush()
        assert read_report(process.stdout.readline()).kind is ReportKind.STARTED
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == ""
        assert process.wait(WAIT_S) == 0


def test_a_relay_does_not_hear_ctrl_c() -> None:
    with RelayedLink(Quality()) as link:
        link.relay.send_signal(signal.SIGINT)
        assert link.next_report().kind is ReportKind.COUNTERS
        assert link.round_trips_s(1)


def test_a_relay_ends_at_a_line_that_it_does_not_know() -> None:
    with RelayedLink(Quality()) as link, relay() as process:
        assert process.stdin is not None
        process.stdin.write(settings_line(settings_between(link, device="wifi")))
        process.stdin.write("faster, please\n")
        code, said, complained = ended(process)
    assert code == 2
    assert read_report(said).kind is ReportKind.STARTED
    assert complained.startswith("error: a line is no qualities of a link")


def test_a_device_that_is_there_already_is_no_end_of_another_link() -> None:
    with RelayedLink(Quality()) as link, relay() as process:
        assert process.stdin is not None
        process.stdin.write(settings_line(settings_between(link, device=LINK)))
        code, said, complained = ended(process)
    assert (code, said) == (1, "")
    assert complained.startswith(f"error: device '{LINK}' cannot be made in namespace")


def test_a_link_goes_before_usual_programs() -> None:
    with RelayedLink(Quality()) as link:
        assert os.sched_getscheduler(link.relay.pid) == os.SCHED_RR


def test_only_what_programs_send_is_on_a_link() -> None:
    with RelayedLink(Quality()) as link:
        link.next_report()
        link.round_trips_s(5)
        report = link.next_report()
    assert report.forward.packets_in == report.backward.packets_in == 5
    # Eight bytes of payload, and headers of 28.
    assert report.forward.bytes_out == report.backward.bytes_out == 5 * 36


def test_a_reader_that_does_not_read_does_not_hold_up_the_link() -> None:
    with RelayedLink(Quality()) as link:
        # Each is answered: the answers are more than a pipe holds, the changes are not.
        for _ in range(200):
            link.process.change(Qualities(forward=Quality(), backward=Quality()))
        assert link.round_trips_s(3)


def test_a_round_trip_takes_both_delays() -> None:
    with RelayedLink(Quality(delay_s=0.010)) as link:
        assert 0.020 < statistics.median(link.round_trips_s(30)) < 0.023


def test_a_stream_gets_the_rate_of_the_link() -> None:
    with RelayedLink(Quality(rate_bit_s=20e6, delay_s=0.010)) as link:
        assert 18 < stream_mbit(link) < 20.5


def test_large_packets_count_as_those_that_they_would_be_cut_into() -> None:
    with RelayedLink(Quality(rate_bit_s=500e6)) as link:
        before = link.next_report()
        reached_mbit = stream_mbit(link)
        assert packet_bytes(before, link.next_report()) > 2 * FULL_BYTES
    # Counted as they are, they would leave 517 Mbit/s room.
    assert 400 < reached_mbit < 508


def test_where_the_queue_is_short_packets_are_small() -> None:
    with RelayedLink(Quality(rate_bit_s=300e6, queue_bytes=40_000)) as link:
        before = link.next_report()
        assert stream_mbit(link) > 50
        assert packet_bytes(before, link.next_report()) <= FULL_BYTES


def test_the_same_seed_loses_the_same_packets() -> None:
    count, lost = 20_000, []
    for seed in (1, 1, 2):
        with RelayedLink(Quality(delay_s=0.005, jitter_s=0.002, loss=0.05), seed=seed) as link:
            lost.append(lost_numbers(link, count))
    assert lost[0] == lost[1] != lost[2]
    assert len(lost[0]) == pytest.approx(0.05 * count, rel=0.1)


def test_a_fast_link_has_all_effects_at_once() -> None:
    with RelayedLink(ALL_EFFECTS) as link:
        arrivals = flood(link, 2.0)
        report = link.next_report()
    counted = [each for each in arrivals if each.arrived_s > arrivals[0].arrived_s + 0.5]
    took_s = counted[-1].arrived_s - counted[0].arrived_s
    assert 8 * FULL_BYTES * (len(counted) - 1) / took_s > 200e6
    # A relay that was held up catches up, so the rate has its limit from the first packet on.
    since_sent_s = arrivals[-1].arrived_s - arrivals[0].sent_s
    assert 8 * FULL_BYTES * (len(arrivals) - 1) / since_sent_s < 306e6
    assert 0.0005 < report.forward.lost / report.forward.packets_in < 0.002
    assert min(each.delay_s for each in arrivals) > 0.008
    assert report.forward.missed == 0


def test_a_link_without_limits_carries_more_than_a_gigabit() -> None:
    with RelayedLink(Quality()) as link:
        assert stream_mbit(link) > 1000


def test_a_link_changes_between_large_packets_and_small_ones_under_a_running_stream() -> None:
    lossy = Quality(loss=0.0005, delay_s=0.001)
    with RelayedLink(Quality()) as link:
        stream = threading.Thread(target=stream_mbit, args=(link, 5.0))
        stream.start()
        try:
            large = packet_bytes(link.next_report(), link.next_report())
            link.change(lossy)
            # What waited to be read when it changed is still large.
            small = packet_bytes(link.next_report(), link.next_report())
            link.change(Quality())
            large_again = packet_bytes(link.next_report(), link.next_report())
        finally:
            stream.join(WAIT_S)
    assert small <= FULL_BYTES
    assert min(large, large_again) > 2 * FULL_BYTES


def test_nothing_gets_through_a_link_while_it_is_down() -> None:
    up = Quality(delay_s=0.001)
    with RelayedLink(up) as link:
        assert lost_numbers(link, 100) == set()
        link.change(replace(up, is_up=False))
        assert lost_numbers(link, 100) == set(range(100))
        link.change(up)
        assert lost_numbers(link, 100) == set()
        assert link.next_report().forward.dropped == 100


def test_what_a_relay_is_too_slow_for_is_counted() -> None:
    count, excess = KERNEL_QUEUE_PACKETS + 700, 700
    with RelayedLink(Quality()) as link, open_flow(link.near, link.far) as flow:
        link.relay.suspend()
        try:
            flow.send_paced(count=count, every_s=0.0, size_bytes=100, patience_s=0.0)
        finally:
            link.relay.resume()
        link.next_report()
        report = link.next_report()
    assert report.forward.missed == pytest.approx(excess, abs=200)
    assert report.forward.packets_out + report.forward.missed == count

"""Hostile peers take neither the server's memory nor a good device's frames.

Beside each attack a device gives 30 pictures a second. The long forms:

    python -m pytest -m soak -s tests/faults/test_hostile.py
"""

import socket
import ssl
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from offload.messages import Acknowledgement, Control
from tests.certificates import make_authority, make_signed
from tests.faults.attacks import Drip, attack
from tests.faults.hostile import PEER_WAIT_S, Peer, Report, arena
from tests.faults.hostile_messages import (
    GREEDY,
    HOSTILE,
    LARGEST,
    Hostile,
    attempt,
    crowded_frame,
    fingerprint,
    opening,
)
from tests.faults.outages import measured_server

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MIB: Final = 1024 * 1024

# Of all hostile peers together.
MAX_GROWTH_BYTES: Final = 64 * MIB

# Thousands of peers that come in leave more: a thousand streams stay in memory for when their
# devices return, and up to 64 MiB of payloads' memory for the next ones.
MAX_GROWTH_OF_STREAMS_BYTES: Final = 128 * MIB

# Among a hundred thousand are masks of 64 MiB, which are permitted, and two may meet. They come and
# go. One that ends between others leaves a hole which the allocator may keep for a while, so that
# the least of a quarter's figures shows what stays: it may not grow from the third to the last.
MAX_GROWTH_OF_MASKS_BYTES: Final = 256 * MIB
MAX_LATE_GROWTH_BYTES: Final = 32 * MIB

# The least that a server may be given: a largest frame, and that decoded. While a mask is decoded
# there are its bits as well, and numpy's arrays on the way.
LITTLE_MEMORY: Final = ("--max-frame", "1MiB", "--memory-limit", "65MiB")
MAX_GROWTH_OF_LITTLE_BYTES: Final = 192 * MIB
WAITING_FRAMES: Final = 200

SHORT_STREAMS: Final = 1_000
LONG_STREAMS: Final = 100_000
STREAMS_PER_SAMPLE: Final = 5_000

# So many damaged streams are under way at a time.
ATTACKERS: Final = 8
PEERS: Final = 100

# asyncio has 256 KiB for each connection with TLS.
WARM_UP_VISITS: Final = 20
TLS_VISITS: Final = 400
MAX_GROWTH_OF_VISITS_BYTES: Final = 16 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """What came of many damaged streams.

    Attributes:
        streams: How many there were.
        answers: How often the server answered how.
        memory_bytes: The server's memory after each part of them.
        report: What they did to the server and the good device.
    """

    streams: int
    answers: Counter[str]
    memory_bytes: list[int]
    report: Report


def attacked_by_damaged_streams(folder: Path, streams: int) -> Damaged:
    answers: Counter[str] = Counter()
    memory_bytes: list[int] = []
    with arena(folder) as place:
        for start in range(0, streams, STREAMS_PER_SAMPLE):
            numbers = range(start, min(start + STREAMS_PER_SAMPLE, streams))
            with ThreadPoolExecutor(ATTACKERS) as threads:
                answers.update(threads.map(partial(attack, place.port), numbers))
            memory_bytes.append(place.resident_bytes())
        report = place.finish()
    sys.stdout.write(f"\n{streams} damaged streams: {dict(answers)}\n{report.line}\n")
    memory = " ".join(f"{each / MIB:.0f}" for each in memory_bytes)
    sys.stdout.write(f"memory after each {STREAMS_PER_SAMPLE}: {memory} MiB\n")
    return Damaged(streams=streams, answers=answers, memory_bytes=memory_bytes, report=report)


def check(report: Report, *, max_growth_bytes: int) -> None:
    report.check_server()
    report.check_device()
    assert report.growth_bytes < max_growth_bytes, report.line


def check_damaged(damaged: Damaged, *, max_growth_bytes: int) -> None:
    check(damaged.report, max_growth_bytes=max_growth_bytes)
    assert damaged.answers.total() == damaged.streams
    for code in ("token", "protocol", "limit"):
        assert damaged.report.refused[code] > 0
    # Some damage changes nothing but values, and some streams break off in good order.
    assert damaged.answers["borne"] > damaged.streams / 10
    assert not damaged.answers["refused: internal"]


def test_a_thousand_damaged_streams_harm_neither_the_server_nor_a_good_device(
    tmp_path: Path,
) -> None:
    damaged = attacked_by_damaged_streams(tmp_path, SHORT_STREAMS)
    damaged.report.check_pace()
    check_damaged(damaged, max_growth_bytes=MAX_GROWTH_OF_STREAMS_BYTES)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_hundred_thousand_damaged_streams_harm_neither_the_server_nor_a_good_device(
    tmp_path: Path,
) -> None:
    damaged = attacked_by_damaged_streams(tmp_path, LONG_STREAMS)
    damaged.report.check_pace()
    check_damaged(damaged, max_growth_bytes=MAX_GROWTH_OF_MASKS_BYTES)
    quarter = len(damaged.memory_bytes) // 4
    third, last = damaged.memory_bytes[-2 * quarter : -quarter], damaged.memory_bytes[-quarter:]
    assert min(last) - min(third) < MAX_LATE_GROWTH_BYTES


def attacked_by(folder: Path, peers: Sequence[Hostile]) -> tuple[Report, list[str]]:
    """Let a hundred of them be there at a time."""
    with arena(folder) as place:
        with ThreadPoolExecutor(PEERS) as threads:
            streams = [f"hostile-{each}" for each in range(len(peers))]
            answers = list(threads.map(partial(attempt, place.port), peers, streams))
        report = place.finish()
    sys.stdout.write(f"\n{len(peers)} hostile peers: {report.line}\n")
    for name, answer in dict(zip((each.name for each in peers), answers, strict=True)).items():
        sys.stdout.write(f"  {name:45} | {answer}\n")
    return report, answers


def check_hostile(
    report: Report,
    answers: Sequence[str],
    peers: Sequence[Hostile],
    *,
    max_growth_bytes: int = MAX_GROWTH_BYTES,
) -> None:
    odd = {
        each.name: answer
        for each, answer in zip(peers, answers, strict=True)
        if not each.is_fit(answer)
    }
    assert not odd
    check(report, max_growth_bytes=max_growth_bytes)


def test_hostile_messages_are_refused_in_words_and_take_no_memory(tmp_path: Path) -> None:
    assert len(HOSTILE) >= PEERS
    assert len({(each.place, each.name) for each in HOSTILE}) == len(HOSTILE)
    report, answers = attacked_by(tmp_path, HOSTILE)
    check_hostile(report, answers, HOSTILE)


def test_messages_of_millions_of_empty_things_take_no_memory(tmp_path: Path) -> None:
    report, answers = attacked_by(tmp_path, GREEDY)
    check_hostile(report, answers, GREEDY)


# Frames that keep to all limits, on a server that has little memory. They take its time as well, so
# that the good device is slowed down.


def grown_by(folder: Path, attack_it: Callable[[int], None]) -> int:
    with arena(folder, *LITTLE_MEMORY) as place:
        attack_it(place.port)
        report = place.finish()
    sys.stdout.write(f"\n{report.line}\n")
    report.check_server()
    assert report.frames["completed"] == report.stored
    assert not report.wrong
    return report.growth_bytes


@pytest.mark.parametrize("largest", LARGEST, ids=["that-give-a-result", "that-fail"])
def test_the_largest_frames_together_take_no_more_memory_than_the_limit(
    tmp_path: Path, largest: Hostile
) -> None:
    def attack_it(port: int) -> None:
        with ThreadPoolExecutor(PEERS) as threads:
            streams = [f"largest-{each}" for each in range(12)]
            for answer in threads.map(partial(attempt, port, largest), streams):
                assert largest.is_fit(answer), answer

    assert grown_by(tmp_path, attack_it) < MAX_GROWTH_OF_LITTLE_BYTES


@pytest.mark.soak
def test_frames_that_wait_take_no_more_memory_than_the_limit(tmp_path: Path) -> None:
    def attack_it(port: int) -> None:
        with Peer(port) as peer:
            peer.prove()
            peer.open(opening("late", app="late_app", fingerprint=fingerprint("late_app")))
            for seq in range(WAITING_FRAMES):
                peer.send(crowded_frame(seq))
            while isinstance(said := peer.answer(), Control | Acknowledgement):
                if isinstance(said, Acknowledgement) and said.next_seq == WAITING_FRAMES:
                    return
            raise AssertionError(f"the server said {said}")

    assert grown_by(tmp_path, attack_it) < MAX_GROWTH_OF_LITTLE_BYTES


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_hostile_messages_take_no_memory_however_often_they_come(tmp_path: Path) -> None:
    peers = HOSTILE * 30
    report, answers = attacked_by(tmp_path, peers)
    check_hostile(report, answers, peers, max_growth_bytes=MAX_GROWTH_OF_STREAMS_BYTES)
    report.check_pace()


def test_peers_that_shake_hands_for_tls_and_go_take_no_memory(tmp_path: Path) -> None:
    own = make_signed(tmp_path, "server", make_authority(tmp_path, "ca"), hosts="IP:127.0.0.1")
    trusting = ssl.create_default_context(cafile=tmp_path / "ca.pem")

    def visit(port: int) -> None:
        peer = socket.create_connection(("127.0.0.1", port), PEER_WAIT_S)
        trusting.wrap_socket(peer, server_hostname="127.0.0.1").close()

    files = ("--tls-cert", str(own.certificate), "--tls-key", str(own.key))
    with measured_server(tmp_path, *files) as server:
        for _ in range(WARM_UP_VISITS):
            visit(server.port)
        base_bytes = server.resident_bytes()
        for _ in range(TLS_VISITS):
            visit(server.port)
        growth_bytes = server.resident_bytes() - base_bytes
        assert server.stop().code == 0
    assert growth_bytes < MAX_GROWTH_OF_VISITS_BYTES


def attacked_by_drips(folder: Path, *, strangers: int, inside: int, for_s: float) -> Report:
    with arena(folder) as place:
        drip = Drip(place.port, strangers=strangers, inside=inside)
        drip.run(for_s)
        report = place.finish()
    sys.stdout.write(
        f"\n{strangers + inside} connections of a byte a second for {for_s:.0f} s: "
        f"{dict(drip.answers)}\n{report.line}\n"
    )
    assert drip.answers["timeout: no handshake within 5 s"] > 0
    return report


def test_two_hundred_connections_of_a_byte_a_second_hold_nobody_up(tmp_path: Path) -> None:
    report = attacked_by_drips(tmp_path, strangers=160, inside=40, for_s=8.0)
    check(report, max_growth_bytes=MAX_GROWTH_BYTES)


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_thousand_connections_of_a_byte_a_second_hold_nobody_up(tmp_path: Path) -> None:
    report = attacked_by_drips(tmp_path, strangers=900, inside=100, for_s=60.0)
    check(report, max_growth_bytes=MAX_GROWTH_BYTES)
    report.check_pace()

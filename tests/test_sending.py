"""Who has the right to send, and what goes out with it, on one connection after the other."""

import threading
import time
from collections.abc import Sequence
from dataclasses import replace

import pytest

from offload.device.outbox import Outbox
from offload.device.sending import GATHERED_BYTES, Sender
from offload.errors import OffloadError, SessionLost, TurnedAway
from offload.messages import (
    HEARTBEAT,
    Control,
    End,
    Ended,
    Frame,
    Message,
    Outcome,
    OutcomeRange,
    RefusalCode,
)
from offload.wire import ENVELOPE_ONLY_BYTES, MAX_MESSAGE_BYTES, Decoder, Piece
from tests.session_pair import SessionPair, feed, frame, joined

LONG_S = 20.0
LARGE = bytes(1_000_000)


class Socket:
    """A connection whose other end takes ``room`` bytes at once.

    Attributes:
        taken: All that was sent.
        sends: How often somebody waited until all was.
    """

    def __init__(self) -> None:
        self.room = 1 << 30
        self.is_lost = False
        self.is_closed = False
        self.taken = b""
        self.sends = 0

    @property
    def sent_bytes(self) -> int:
        return len(self.taken)

    def send(self, pieces: Sequence[Piece]) -> None:
        self._check()
        self.taken += joined(pieces)
        self.sends += 1

    def send_at_once(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        self._check()
        data = joined(pieces)
        self.taken += data[: self.room]
        return [data[self.room :]] if len(data) > self.room else []

    def receive_into(self, view: memoryview) -> int:
        raise AssertionError(f"a sender receives nothing, not {len(view)} bytes")

    def set_timeout(self, timeout_s: float | None) -> None:
        raise AssertionError(f"a sender waits for nothing, not {timeout_s} s")

    def close(self) -> None:
        self.is_closed = True

    def _check(self) -> None:
        if self.is_lost:
            raise SessionLost("connection ended while sending")

    @property
    def messages(self) -> list[Message]:
        """All messages that were sent whole."""
        return feed(Decoder(max_message_bytes=MAX_MESSAGE_BYTES), self.taken)  # type: ignore[return-value]  # of a decoder

    @property
    def frames(self) -> list[int]:
        return [each.seq for each in self.messages if isinstance(each, Frame)]


class Device:
    """A sender, its outbox, and the socket of its newest connection."""

    def __init__(self, *, max_message_bytes: int = MAX_MESSAGE_BYTES) -> None:
        self.lock = threading.Lock()
        self.failures: list[OffloadError] = []
        self.sender = Sender(self.lock, on_failure=self.failures.append)
        self.outbox = Outbox(position=0, max_entries=64)
        self._max_message_bytes = max_message_bytes
        self.connect()

    def connect(self) -> None:
        self.socket = Socket()
        self.pair = SessionPair(max_message_bytes=self._max_message_bytes).open()
        with self.lock:
            self.outbox.rewind()
            self.sender.attach(self.socket, self.pair.device, self.outbox)

    def put(self, *, payload: bytes = b"x") -> None:
        """Put a frame in without sending it."""
        self.outbox.put_frame(frame(self.outbox.next_seq, payload=payload), captured_s=0.0)

    def send(self) -> bool:
        """Send what can be sent; False if nothing can."""
        with self.lock:
            work = self.sender.take()
        self.sender.send_at_once(work)
        return work is not None


def test_frames_are_sent_in_order_by_whoever_puts_them_in() -> None:
    device = Device()
    for _ in range(3):
        device.put()
        assert device.send()
    assert not device.send()
    assert device.socket.frames == [0, 1, 2]


def test_small_frames_that_waited_go_out_together_and_large_ones_alone() -> None:
    device = Device()
    for payload in (b"x", b"x", LARGE, LARGE):
        device.put(payload=payload)
    device.send()
    assert device.socket.frames == [0, 1, 2]
    device.send()
    assert device.socket.frames == [0, 1, 2, 3]
    for _ in range(3):
        device.put(payload=bytes(GATHERED_BYTES // 2))
    device.send()
    assert device.socket.frames == [0, 1, 2, 3, 4, 5]


def test_only_one_at_a_time_has_the_right_to_send() -> None:
    device = Device()
    device.put()
    work = device.sender.take()
    device.put()
    assert device.sender.take() is None
    device.sender.beat(device.pair.device)
    device.sender.send_at_once(work)
    assert device.send()
    assert device.socket.frames == [0, 1]
    assert len(device.socket.messages) == 2


def test_what_the_socket_does_not_take_is_sent_before_anything_else() -> None:
    device = Device()
    device.socket.room = 1000
    device.put(payload=LARGE)
    device.put()
    device.send()
    device.sender.beat(device.pair.device)
    assert device.socket.messages == []
    device.socket.room = len(LARGE)
    while device.send():
        pass
    assert device.socket.frames == [0, 1]


def test_what_is_left_of_a_message_is_not_sent_on_another_connection() -> None:
    device = Device()
    device.socket.room = 1000
    device.put(payload=LARGE)
    work = device.sender.take()
    # The connection is found lost, and another one opened, while a thread is at the first socket.
    device.connect()
    device.sender.send_at_once(work)
    assert device.send()
    assert device.socket.frames == [0]
    assert device.send() is False


def test_what_waits_of_a_message_is_forgotten_with_its_connection() -> None:
    device = Device()
    device.socket.room = 1000
    device.put(payload=LARGE)
    device.send()
    device.connect()
    assert device.send()
    assert device.socket.frames == [0]


def test_a_connection_that_is_lost_while_sending_is_closed_and_sent_on_no_more() -> None:
    device = Device()
    device.socket.is_lost = True
    device.put()
    device.send()
    assert device.socket.is_closed
    assert not device.sender.is_attached
    assert not device.send()
    device.connect()
    assert device.send()
    assert device.socket.frames == [0]
    assert device.failures == []


def test_after_drain_nothing_is_begun_but_what_was_begun_is_finished() -> None:
    device = Device()
    device.socket.room = 1000
    device.put(payload=LARGE)
    device.send()
    device.put()
    device.sender.drain()
    device.socket.room = 1 << 30
    assert device.send()
    assert not device.send()
    assert device.socket.frames == [0]
    device.connect()
    assert device.send()
    assert not device.sender.is_draining


def test_the_end_is_sent_once_and_after_all_frames() -> None:
    device = Device()
    device.put()
    with device.lock:
        device.sender.end()
    assert device.send()
    assert not device.send()
    assert device.socket.messages[1:] == [End(next_seq=1)]


def test_a_sign_of_life_is_sent_while_nobody_sends_and_only_on_its_own_session() -> None:
    device = Device()
    older = device.pair.device
    device.sender.beat(older)
    assert device.socket.messages == [Control(name=HEARTBEAT)]
    device.connect()
    device.sender.beat(older)
    assert device.socket.messages == []


def test_a_frame_that_is_too_large_for_the_server_is_sent_as_failed() -> None:
    device = Device(max_message_bytes=ENVELOPE_ONLY_BYTES)
    device.put(payload=LARGE)
    device.put()
    while device.send():
        pass
    failed, small = device.socket.messages
    assert isinstance(failed, Ended)
    (outcome,) = failed.ranges
    assert isinstance(outcome, OutcomeRange)
    assert (outcome.first, outcome.outcome) == (0, Outcome.FAILED)
    assert "expected at most" in outcome.reason
    assert isinstance(small, Frame)


def test_a_session_that_the_server_has_ended_meanwhile_is_lost() -> None:
    device = Device()
    device.put()
    work = device.sender.take()
    device.pair.cloud.refuse(RefusalCode.DRAINING, "so it is")
    with pytest.raises(TurnedAway):
        device.pair.send_to_device()
    device.sender.send_at_once(work)
    assert device.failures == []
    assert device.socket.is_closed


def test_the_thread_sends_what_the_socket_did_not_take_and_ends_when_told_to() -> None:
    device = Device()
    device.socket.room = 1000
    thread = threading.Thread(target=device.sender.run, daemon=True)
    with device.lock:
        device.put(payload=LARGE)
        device.put()
        work = device.sender.take()
        device.sender.end()
        thread.start()
    device.sender.send_at_once(work)
    by_s = time.monotonic() + LONG_S
    while device.socket.sends < 2:
        assert time.monotonic() < by_s
        time.sleep(0.01)
    with device.lock:
        device.sender.stop()
    thread.join(LONG_S)
    assert not thread.is_alive()
    assert device.socket.frames == [0, 1]
    assert device.socket.messages[-1] == End(next_seq=2)


# What the device says of itself.


def test_what_is_said_goes_out_before_the_frames_that_wait() -> None:
    device = Device()
    device.put()
    with device.lock:
        device.sender.say(Control(name="steering"))
    assert device.send()
    assert not device.send()
    said, sent = device.socket.messages
    assert said == Control(name="steering")
    assert isinstance(sent, Frame)


def test_of_each_name_only_the_newest_is_sent_and_none_of_it_twice() -> None:
    device = Device()
    older, newer = (Control(name="sampled", body={"fps": fps}) for fps in (1.0, 2.0))
    for control in (older, Control(name="steering"), newer):
        with device.lock:
            device.sender.say(control)
    assert device.send()
    assert not device.send()
    assert device.socket.messages == [newer, Control(name="steering")]


def test_what_is_said_while_somebody_sends_waits_for_the_right_to_send() -> None:
    device = Device()
    device.socket.room = 1000
    device.put(payload=LARGE)
    work = device.sender.take()
    with device.lock:
        device.sender.say(Control(name="steering"))
    assert device.sender.take() is None
    device.sender.send_at_once(work)
    device.socket.room = 1 << 30
    while device.send():
        pass
    assert [type(each) for each in device.socket.messages] == [Frame, Control]


def test_what_is_said_is_forgotten_with_its_connection() -> None:
    device = Device()
    with device.lock:
        device.sender.say(Control(name="steering"))
    device.connect()
    assert not device.send()


def test_after_drain_a_device_still_says_how_it_is_steered_but_sends_no_frame() -> None:
    device = Device()
    device.put()
    device.sender.drain()
    with device.lock:
        device.sender.say(Control(name="steering"))
    assert device.send()
    assert not device.send()
    assert device.socket.messages == [Control(name="steering")]


def test_what_is_said_after_the_end_does_not_repeat_the_end() -> None:
    device = Device()
    with device.lock:
        device.sender.end()
    assert device.send()
    with device.lock:
        device.sender.say(Control(name="steering"))
    assert device.send()
    assert not device.send()
    assert device.socket.messages == [End(next_seq=0), Control(name="steering")]


def test_a_frame_is_not_too_large_for_what_was_only_to_measure_the_link() -> None:
    device = Device(max_message_bytes=70_000)
    padded = replace(frame(0, payload=bytes(30_000)), padding_bytes=48 * 1024)
    device.outbox.put_frame(padded, captured_s=0.0)
    device.send()
    assert device.socket.frames == [0]
    assert len(device.socket.taken) < 31_000

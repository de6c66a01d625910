"""The parts of what a frame costs, each measured alone and in this process.

They are the methods that a frame passes on its way, called as the two programs call them. Without
the waiting, the locks and the system calls of the programs their sum is less than a frame's cost.

    for name, measure in parts(frames=20_000).items():
        name, measure()["us"]
"""

import time
import timeit
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count

from benchmarks import empty_app
from benchmarks.measure import Contender
from offload import values as wire_values
from offload.auth import NONCE_BYTES
from offload.cloud.buffers import BufferPool
from offload.device.outbox import Delivered, Outbox
from offload.device.totals import RunTotals
from offload.messages import Acknowledgement, Frame, Open, Outcome, OutcomeRange, TaskTime
from offload.session import CloudSession, DeviceSession
from offload.wire import Piece, TakeMemory, fresh_memory
from scheduler import DeviceCosts, Observation, OperatingPoint, ThroughputScheduler
from task_interface import Context

SPLIT = 1
TASKS = len(empty_app.pipeline)

# Raw pictures of 640x480, and as many as a server with some workers holds of one device.
FRAME_BYTES = 640 * 480 * 3
HELD_FRAMES = 8


def parts(*, frames: int) -> Mapping[str, Contender]:
    """Return each part's measurement, in microseconds a frame, by the part's name.

    Args:
        frames: How many frames each measurement takes.
    """
    makers: Mapping[str, Callable[[], Callable[[], object]]] = {
        "bare calls of the 6 tasks": lambda: run_bare,
        "dispatch: BoundPipeline.run, with the tasks": _dispatch,
        "scheduling: choose, observe both ends": _scheduling,
        "totals: RunTotals": _totals,
        "values: pack, unpack": _values,
        "window: put, take, acknowledge": _window,
        "device session: send_frame": _sending,
        "both sessions: a frame and its acknowledgement": _round_trip,
        "0.9 MB into a buffer of the pool, 8 held": _pooled,
        "0.9 MB into a fresh buffer, 8 held": _fresh,
    }
    return {name: partial(_measure, make, frames) for name, make in makers.items()}


def run_bare() -> object:
    """Call the six tasks behind the source as plain Python does."""
    value: object = 1
    for function in empty_app.FUNCTIONS:
        value = function(value)
    return value


def _measure(make: Callable[[], Callable[[], object]], frames: int) -> dict[str, float]:
    return {"us": 1e6 * timeit.timeit(make(), number=frames, timer=time.process_time) / frames}


def _pooled() -> Callable[[], object]:
    return _filling(BufferPool(max_idle_bytes=2 * HELD_FRAMES * FRAME_BYTES).take)


def _fresh() -> Callable[[], object]:
    return _filling(fresh_memory)


def _filling(take: TakeMemory) -> Callable[[], object]:
    """Return what fills one buffer, as a frame does that is received while others are held."""
    held = deque[memoryview](maxlen=HELD_FRAMES)
    frame = bytes(FRAME_BYTES)

    def fill() -> None:
        memory = take(FRAME_BYTES)
        memory[:] = frame
        held.append(memory)

    return fill


def _dispatch() -> Callable[[], object]:
    context = Context(stream="s", seq=0, captured_at=0.0)
    return partial(
        empty_app.pipeline.bind().run,
        {"value_1": 1},
        start=1,
        stop=TASKS,
        context=context,
        clock=time.perf_counter,
    )


def _scheduling() -> Callable[[], object]:
    scheduler = ThroughputScheduler(
        [OperatingPoint(split=split) for split in empty_app.pipeline.splits],
        target_fps=1000.0,
        start=OperatingPoint(split=SPLIT),
    )
    seqs = count()

    def step() -> None:
        now = time.monotonic()
        point = scheduler.choose(now).point
        scheduler.observe_device(DeviceCosts(seq=next(seqs), captured_s=now, point=point))
        scheduler.observe(Observation(at_s=now, point=point))

    return step


def _totals() -> Callable[[], object]:
    totals = RunTotals(empty_app.pipeline.names)
    seconds = dict.fromkeys(range(TASKS), 1e-6)

    def step() -> None:
        totals.chose(SPLIT)
        totals.ran_on_device(seconds)
        now = time.monotonic()
        outcome = OutcomeRange(first=0, count=1, outcome=Outcome.RESULT)
        delivered = Delivered(
            outcome=outcome, split=SPLIT, captured_s=(now - 0.01,), finished_s=now
        )
        totals.finished(delivered)
        totals.rate.per_second(now)

    return step


def _values() -> Callable[[], object]:
    def step() -> object:
        packed = wire_values.pack({"value_1": 1})
        return wire_values.unpack(packed.tree, packed.buffers)

    return step


def _window() -> Callable[[], object]:
    outbox = Outbox(position=0, max_entries=32)
    seqs = count()

    def step() -> object:
        seq = next(seqs)
        now = time.monotonic()
        outbox.put_frame(_frame(seq), captured_s=now)
        outbox.take(now)
        return outbox.acknowledge(seq + 1, (), (0.001,), now)

    return step


def _sending() -> Callable[[], object]:
    device, _ = _open_sessions()
    seqs = count()

    def step() -> object:
        device.send_frame(_frame(next(seqs)))
        return device.take_outgoing()

    return step


def _round_trip() -> Callable[[], object]:
    device, cloud = _open_sessions()
    seqs = count()
    times = tuple(TaskTime(task=index, runs=1, seconds=1e-6) for index in range(SPLIT, TASKS))

    def step() -> None:
        seq = next(seqs)
        device.send_frame(_frame(seq))
        _pass(device, cloud)
        cloud.acknowledge(
            Acknowledgement(next_seq=seq + 1, residences_s=(0.001,), task_times=times)
        )
        _pass(cloud, device)

    return step


def _frame(seq: int) -> Frame:
    return Frame(seq=seq, split=SPLIT, captured_at=1.5, tree={"value_1": 1})


def _open_sessions() -> tuple[DeviceSession, CloudSession]:
    """Return the two ends of a session after their handshake."""
    opening = Open(app="a", fingerprint=[], stream="s", device="d")
    device = DeviceSession(opening=opening, token=None, nonce=bytes(NONCE_BYTES))
    cloud = CloudSession(secret_for=_no_secret, insecure=True, nonce=bytes(NONCE_BYTES))
    for sender, receiver in ((device, cloud), (cloud, device), (device, cloud)):
        _pass(sender, receiver)
    cloud.accept(next_seq=0, durable=False)
    _pass(cloud, device)
    return device, cloud


def _no_secret(_name: str) -> None:
    """Know no token."""


def _pass(sender: DeviceSession | CloudSession, receiver: DeviceSession | CloudSession) -> None:
    """Give the receiver what the sender has queued, as a socket would."""
    data = _joined(sender.take_outgoing())
    while data:
        buffer = receiver.buffer()
        byte_count = min(len(buffer), len(data))
        buffer[:byte_count] = data[:byte_count]
        # A device's session says what bytes mean only as it is asked for it.
        deque(receiver.received(byte_count), maxlen=0)
        data = data[byte_count:]


def _joined(pieces: list[Piece]) -> bytes:
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)

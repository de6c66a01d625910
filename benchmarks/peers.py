"""Run what the project is compared with: two processes, one sends what the other works on.

    run = run_peer(Peer.PYZMQ, partial(make_work, "640x480"), frames=5000, window=8)
    run.fps, run.cpu_s_per_1000, run.round_trip_s(0.99)

The device end computes, sends, and counts the answers on a thread of its own, so that computing and
sending overlap with everything else; at most a window of messages is without an answer. Each end
says what it used of its processor, without its start: both begin to count after some frames.
"""

import importlib.util
import math
import multiprocessing
import resource
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from benchmarks.measure import BenchmarkError
from benchmarks.peer_work import CloudEnd, DeviceEnd, Message, Shape, Work

# Frames before anything is counted: connections and memory that both are used for the first time.
WARM_FRAMES: Final = 16

# No measurement lasts that long; whatever does hangs.
RUN_LIMIT_S: Final = 300.0
STOP_LIMIT_S: Final = 10.0
POLL_S: Final = 0.2


class Peer(StrEnum):
    """What the project is compared with."""

    FLOOR = "floor, fresh buffer"
    FLOOR_REUSED = "floor, buffer reused"
    PYZMQ = "pyzmq"
    IMAGEZMQ = "imagezmq"


# What each needs beside the standard library and numpy.
_NEEDS: Final[Mapping[Peer, tuple[str, ...]]] = {
    Peer.PYZMQ: ("zmq",),
    Peer.IMAGEZMQ: ("zmq", "imagezmq"),
}


def missing(peer: Peer) -> str | None:
    """Return the name of the first module that a peer needs and that is not installed."""
    for module in _NEEDS.get(peer, ()):
        if importlib.util.find_spec(module) is None:
            return module
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRun:
    """What one run measured.

    Attributes:
        frames: How many were counted.
        fps: Answered frames per second.
        cpu_s: Processor seconds of both processes.
        round_trips_s: Of the frames that were then sent one by one, from before each is sent until
            its answer is here.
    """

    frames: int
    fps: float
    cpu_s: float
    round_trips_s: list[float]

    @property
    def cpu_s_per_1000(self) -> float:
        """Processor seconds of both processes for 1000 frames."""
        return 1000 * self.cpu_s / self.frames

    def round_trip_s(self, share: float) -> float:
        """Return what ``share`` (0 to 1) of the round trips do not exceed."""
        ordered = sorted(self.round_trips_s)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def run_peer(
    peer: Peer,
    make_work: Callable[[], Work],
    *,
    frames: int,
    window: int,
    round_trips: int = 0,
    opencv_threads: int = 0,
) -> PeerRun:
    """Run both ends in processes of their own.

    Args:
        peer: How messages travel.
        make_work: Makes what the two ends do; called in both, so that it can be pickled.
        frames: How many are counted; `WARM_FRAMES` go before them.
        window: Most messages without an answer. With 1, one thread sends and receives.
        round_trips: How many frames go one by one after these, each with its time taken.
        opencv_threads: Threads of OpenCV in each process; 0 leaves its own choice.

    Raises:
        PeerError: An end failed or does not end; what it said is on standard error.
    """
    processes = multiprocessing.get_context("spawn")
    port_here, port_there = processes.Pipe()
    device_here, device_there = processes.Pipe()
    plan = _Plan(
        peer=peer,
        make_work=make_work,
        frames=frames,
        window=window,
        round_trips=round_trips,
        opencv_threads=opencv_threads,
    )
    cloud = processes.Process(target=_run_cloud, args=(plan, port_there), daemon=True)
    device = processes.Process(target=_run_device, args=(plan, device_there), daemon=True)
    try:
        cloud.start()
        device.start()
        device_here.send(_receive(port_here, [cloud, device]))
        device_run: PeerRun = _receive(device_here, [cloud, device])
        cloud_cpu_s: float = _receive(port_here, [cloud, device])
        device.join(STOP_LIMIT_S)
        cloud.join(STOP_LIMIT_S)
    finally:
        for each in (device, cloud):
            each.kill()
            each.join(STOP_LIMIT_S)
    return replace(device_run, cpu_s=device_run.cpu_s + cloud_cpu_s)


class PeerError(BenchmarkError):
    """An end of a peer failed or does not end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What both processes are told."""

    peer: Peer
    make_work: Callable[[], Work]
    frames: int
    window: int
    round_trips: int
    opencv_threads: int


def _receive(pipe: Connection, processes: Sequence[BaseProcess]) -> Any:
    """Wait for what an end says; if one of the two fails, the other may wait for ever."""
    give_up_s = time.monotonic() + RUN_LIMIT_S
    while not pipe.poll(POLL_S):
        for each in processes:
            if each.exitcode:
                raise PeerError(f"an end stopped with exit code {each.exitcode}")
        if time.monotonic() > give_up_s:
            raise PeerError(f"no end after {RUN_LIMIT_S:g} s")
    return pipe.recv()


def _run_cloud(plan: _Plan, pipe: Connection) -> None:
    """Be the process that receives: say the port, work to the end, say the processor seconds."""
    limit_opencv(plan.opencv_threads)
    work = plan.make_work()
    end = _cloud_end(plan.peer, work.shapes)
    pipe.send(end.port)
    received = 0
    cpu_s: dict[int, float] = {}
    while (message := end.receive()) is not None:
        work.cloud(message)
        end.answer()
        received += 1
        if received in (WARM_FRAMES, WARM_FRAMES + plan.frames):
            cpu_s[received] = process_cpu_s()
    pipe.send(cpu_s[WARM_FRAMES + plan.frames] - cpu_s[WARM_FRAMES])
    end.close()


def _run_device(plan: _Plan, pipe: Connection) -> None:
    """Be the process that sends, and say what was measured."""
    limit_opencv(plan.opencv_threads)
    messages = plan.make_work().device()
    end = _device_end(plan.peer, pipe.recv())
    _one_by_one(end, islice(messages, WARM_FRAMES))
    cpu_began_s = process_cpu_s()
    began_s = time.perf_counter()
    counted = islice(messages, plan.frames)
    if plan.window == 1:
        _one_by_one(end, counted)
    else:
        _overlapped(end, counted, plan)
    passed_s = time.perf_counter() - began_s
    cpu_s = process_cpu_s() - cpu_began_s
    round_trips_s = _one_by_one(end, islice(messages, plan.round_trips))
    end.close()
    pipe.send(
        PeerRun(
            frames=plan.frames,
            fps=plan.frames / passed_s,
            cpu_s=cpu_s,
            round_trips_s=round_trips_s,
        )
    )


def _one_by_one(end: DeviceEnd, messages: Iterator[Message]) -> list[float]:
    """Send each message when the one before is answered, and return the round trips."""
    round_trips_s = []
    for message in messages:
        sent_s = time.perf_counter()
        end.send(message)
        end.receive_answer()
        round_trips_s.append(time.perf_counter() - sent_s)
    return round_trips_s


def _overlapped(end: DeviceEnd, messages: Iterator[Message], plan: _Plan) -> None:
    """Send while answers are received on another thread."""
    room = threading.Semaphore(plan.window)

    def receive_answers() -> None:
        for _ in range(plan.frames):
            end.receive_answer()
            room.release()

    receiver = threading.Thread(target=receive_answers)
    receiver.start()
    for message in messages:
        room.acquire()
        end.send(message)
    receiver.join()


# The ends are imported where they are used: an extra may be missing, and each imports this module.
def _device_end(peer: Peer, port: int) -> DeviceEnd:
    if peer in (Peer.FLOOR, Peer.FLOOR_REUSED):
        from benchmarks.peer_sockets import SocketDevice

        return SocketDevice(port)
    from benchmarks.peer_zmq import ImageZmqDevice, ZmqDevice

    return ZmqDevice(port) if peer is Peer.PYZMQ else ImageZmqDevice(port)


def _cloud_end(peer: Peer, shapes: Sequence[Shape]) -> CloudEnd:
    if peer in (Peer.FLOOR, Peer.FLOOR_REUSED):
        from benchmarks.peer_sockets import SocketCloud

        return SocketCloud(shapes, reuse=peer is Peer.FLOOR_REUSED)
    from benchmarks.peer_zmq import ImageZmqCloud, ZmqCloud

    return ZmqCloud(shapes) if peer is Peer.PYZMQ else ImageZmqCloud(shapes)


def limit_opencv(threads: int) -> None:
    """Let OpenCV use so many threads in this process; 0 leaves its own choice."""
    if threads:
        # Most runs need no OpenCV, and start in a third of the time without it.
        import cv2

        cv2.setNumThreads(threads)


def process_cpu_s() -> float:
    """Return the processor seconds of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

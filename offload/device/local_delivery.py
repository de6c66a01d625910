"""Finish frames on this machine: the results store in the place of the cloud.

A `LocalDelivery` is to client-only mode what an `Uplink` is to the other two: frames go in, and
come back as delivered once their outcome is stored.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from offload.device.outbox import Delivered
from offload.device.uplink import LinkState
from offload.errors import Refused
from offload.messages import Outcome, OutcomeRange
from offload.results import ResultsStore, StreamRecord
from offload.results.writer import Finished, ResultsWriter

# Results that wait for the disk. A slow card is waited for, rather than filling the memory.
MAX_WAITING: Final = 1024

# What is left to commit at the end; a disk that takes longer has failed.
CLOSE_TIMEOUT_S: Final = 10.0


class LocalDelivery:
    """Delivers one stream to a results store.

    Args:
        store: Where results are kept.
        record: The stream as the store knows it.

    Attributes:
        record: The stream as the store knew it at the start.
    """

    def __init__(self, store: ResultsStore, record: StreamRecord) -> None:
        """Start the writer."""
        self._store = store
        self.record = record
        self._next_seq = record.next_seq
        self._changed = threading.Condition()
        self._waiting: deque[Sequence[float]] = deque()
        self._deliveries: list[Delivered] = []
        self._closed = False
        self._was_taken_over = False
        self._writer = ResultsWriter(
            store, on_committed=self._committed, on_stale=self._be_taken_over
        )

    @property
    def is_durable(self) -> bool:
        """Whether what it stores outlives the program."""
        return self._store.durable

    @property
    def room(self) -> int:
        """How many more frames may be put in now."""
        return MAX_WAITING - len(self._waiting)

    def wait_for_room(self, *, timeout_s: float) -> bool:
        """Wait until another frame may be put in; False if it may not by then.

        Raises:
            Refused: Another program goes on with the stream.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._was_taken_over or len(self._waiting) < MAX_WAITING, timeout_s
            )
            self._check_owner()
            return len(self._waiting) < MAX_WAITING

    def put_finished(self, finished: Finished, *, captured_s: Sequence[float]) -> None:
        """Hand over a frame's result, or frames that ended without one."""
        with self._changed:
            self._waiting.append(captured_s)
            self._next_seq = finished.outcome.stop
        self._writer.put(finished)

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended without a result."""
        finished = Finished(stream=self.record.stream, epoch=self.record.epoch, outcome=ended)
        self.put_finished(finished, captured_s=captured_s)

    def take_deliveries(self) -> list[Delivered]:
        """Return the frames that were stored since the last call.

        Raises:
            Refused: Another program goes on with the stream, and there are no such frames.
        """
        with self._changed:
            if not self._deliveries:
                self._check_owner()
            deliveries, self._deliveries = self._deliveries, []
            return deliveries

    def finish(self, *, timeout_s: float | None) -> bool:
        """Mark the stream as complete and wait until all of it is stored; False if that fails.

        Raises:
            Refused: Another program goes on with the stream.
        """
        if not self._closed:
            self._closed = True
            nothing = OutcomeRange(first=self._next_seq, count=0, outcome=Outcome.DROPPED)
            stream, epoch = self.record.stream, self.record.epoch
            self._writer.put(Finished(stream=stream, epoch=epoch, outcome=nothing, closes=True))
        with self._changed:
            self._changed.wait_for(lambda: self._was_taken_over or not self._waiting, timeout_s)
            self._check_owner()
            return not self._waiting

    def close(self) -> None:
        """Release the store."""
        self._writer.close(timeout_s=CLOSE_TIMEOUT_S)
        self._store.close()

    def state(self) -> LinkState:
        """Return the state of a link that is not there."""
        with self._changed:
            in_flight = sum(len(each) for each in self._waiting)
        return LinkState(in_flight=in_flight)

    def _committed(self, batch: list[Finished]) -> None:
        now = time.monotonic()
        with self._changed:
            for finished in batch:
                if finished.closes:
                    continue
                self._deliveries.append(
                    Delivered(
                        outcome=finished.outcome,
                        split=finished.split,
                        captured_s=tuple(self._waiting.popleft()),
                        finished_s=now,
                    )
                )
            self._changed.notify_all()

    def _be_taken_over(self, _: list[Finished]) -> None:
        with self._changed:
            self._was_taken_over = True
            self._changed.notify_all()

    def _check_owner(self) -> None:
        if self._was_taken_over:
            raise Refused(
                f"stream {self.record.stream!r} was taken over by another program that writes to"
                " the same results file: choose another --stream"
            )

"""One stream in the cloud: its tasks run on a lane, and its outcomes go to the writer in order.

stream = Stream(app=app, lane=pool.lane(), counts=counts, put=writer.put, ...)
stream.go_on_at(record.next_seq, epoch=record.epoch)
stream.submit_frame(frame)
stream.submit_ended(ranges)
stream.submit_end(next_seq)
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from offload.cloud.device_link import DeviceLink
from offload.cloud.frame_memory import FrameMemory
from offload.cloud.report import StreamCounts
from offload.cloud.waiting import WaitingFrames
from offload.errors import TaskError
from offload.executors.cloud_frame import CloudFrame
from offload.executors.threads import Lane, Quickness
from offload.loading import App
from offload.logs import Mishaps
from offload.messages import Frame, Outcome, OutcomeRange, is_trial
from offload.results.writer import Finished, no_state

logger = logging.getLogger("cloud")

# Frames whose tasks take less are worked on by the event loop itself: to wake another thread, and
# to be woken by it, costs as much. They have to have been so quick for a while, since whatever they
# take, all other devices wait for it.
QUICK_S: Final = 200e-6
QUICK_IN_A_ROW: Final = 32


class Stream:
    """One stream while it is open: its tasks' state, its lane, its place in the summary.

    Args:
        app: The pipeline that it runs.
        lane: Where its tasks run in order.
        counts: Its place in the summary.
        owner: Name of the token that opened it.
        put: Hands a finished frame to the writer.
        memory: Where its frames are counted while they wait.
        keeps_results: Whether the state of its tasks is to be stored with every result; else it is
            only when the stream ends, since it lives here until then.

    Attributes:
        stored_seq: Where the store has it, with the state that its tasks have once it is at rest.
            None if that is not so any more: another server has opened the stream since.
        epoch: That of the record with which it was opened.
        is_kept: Whether its results survive this program.
    """

    def __init__(
        self,
        *,
        app: App,
        lane: Lane,
        counts: StreamCounts,
        owner: str,
        put: Callable[[Finished], None],
        memory: FrameMemory,
        keeps_results: bool,
    ) -> None:
        """Start at rest, with fresh tasks."""
        self.counts = counts
        self.owner = owner
        self.name = counts.stream
        self.pipeline = app.pipeline
        self.bound = app.pipeline.bind()
        self.link: DeviceLink | None = None
        self.waiting = WaitingFrames(memory)
        self.stored_seq: int | None = None
        self.epoch = 0
        self.put = put
        self.picture: object = None
        self._picture_lock = threading.Lock()
        self.mishaps = Mishaps()
        self.is_kept = keeps_results
        self.snapshot = self.bound.snapshot if keeps_results else no_state
        # Whether the store can bring the tasks' state back; that of a trial nobody misses.
        self.may_be_forgotten = is_trial(self.name) or (
            keeps_results and not app.pipeline.forgetful
        )
        self._lane = lane
        self._quick = {
            split: Quickness(limit_s=QUICK_S, in_a_row=QUICK_IN_A_ROW)
            for split in app.pipeline.splits
        }

    def go_on_at(self, next_seq: int, *, epoch: int) -> None:
        """Take note of where the device goes on, while nothing of the stream is under way."""
        self.stored_seq = self.counts.next_seq = next_seq
        self.epoch = epoch

    def submit_frame(self, frame: Frame) -> None:
        """Run the frame's tasks on the lane; its outcome goes to the writer in order.

        Its bytes are reserved already.
        """
        work = CloudFrame(self, frame)
        self.waiting.enter(work.held_bytes)
        if not (
            self._quick[frame.split]
            and self._lane.run_inline(free=work.run_free, ordered=work.run_ordered)
        ):
            self._lane.submit(free=work.run_free, ordered=work.run_ordered)

    @property
    def is_at_rest(self) -> bool:
        """Whether all of its frames are stored."""
        return self.waiting.are_over.is_set()

    @property
    def is_stale(self) -> bool:
        """Whether what it holds is of no use any more."""
        return self.stored_seq is None

    @property
    def is_connected(self) -> bool:
        """Whether its device is."""
        return self.link is not None

    @property
    def received_bytes(self) -> int:
        """What came from its device, over all connections."""
        now = 0 if self.link is None else self.link.received_bytes
        return self.counts.received_bytes + now

    @property
    def duplicates_ignored(self) -> int:
        """How many frames came again, over all connections."""
        now = 0 if self.link is None else self.link.session.duplicates_ignored
        return self.counts.duplicates_ignored + now

    @property
    def waiting_frames(self) -> int:
        """Its frames that are here and not stored yet."""
        return self.waiting.frames

    def let_go(self) -> DeviceLink | None:
        """Forget the connection of its device, and return it; what came over it stays counted."""
        link, self.link = self.link, None
        if link is not None:
            self.counts.duplicates_ignored += link.session.duplicates_ignored
            self.counts.received_bytes += link.received_bytes
        return link

    def drop_picture(self) -> None:
        """Forget the newest picture."""
        self.picture = None

    def newest_picture(self) -> tuple[int, object] | None:
        """Return the newest picture, and how many there were; None if there is none."""
        with self._picture_lock:
            return None if self.picture is None else (self.counts.pictures, self.picture)

    def show(self, picture: object) -> None:
        """Keep the newest picture of the stream for whoever watches."""
        # Several of its tasks may run at once.
        with self._picture_lock:
            self.picture = picture
            self.counts.pictures += 1

    def book_cost(self, split: int, seconds: float) -> None:
        """Learn what the work on a frame with this split took."""
        self._quick[split].book(seconds)

    def submit_ended(self, ranges: Sequence[OutcomeRange]) -> None:
        """Hand frames that ended on the device to the writer, in order with the others."""
        for each in ranges:
            self.waiting.enter(0)
            finished = Finished(stream=self.name, epoch=self.epoch, outcome=each)
            self._lane.submit(free=_nothing, ordered=partial(self._pass_on, finished))

    def submit_end(self, next_seq: int) -> None:
        """Mark the stream as complete, after all of its frames."""
        self.waiting.enter(0)
        nothing = OutcomeRange(first=next_seq, count=0, outcome=Outcome.DROPPED)
        self._lane.submit(free=_nothing, ordered=partial(self._close, nothing))

    def _close(self, nothing: OutcomeRange, _: object) -> None:
        state = None
        try:
            state = self.bound.snapshot()
        except TaskError as error:
            logger.error("state_not_kept", extra={"stream": self.name, "reason": str(error)})
        end = Finished(
            stream=self.name, epoch=self.epoch, outcome=nothing, state=state, closes=True
        )
        self.put(end)

    def _pass_on(self, finished: Finished, _: object) -> None:
        self.put(finished)


def _nothing() -> None:
    """Do nothing: the job has an ordered part only."""

"""What a server's views are told: its own events, and what its devices say of theirs.

telemetry = ServerTelemetry(recorder)
telemetry.is_wanted                     # whether anybody looks: else devices are not asked
telemetry.note_device("porch", pipeline, control.body)
telemetry.look(streams, ...)            # once every `SAMPLE_PERIOD_S`
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Protocol

from offload.cloud.report import StreamCounts
from offload.errors import RemoteProtocolError
from offload.load import LoadMeter
from offload.messages import Outcome
from offload.messages.envelope import Fields
from offload.telemetry.events import SAMPLE_PERIOD_S, Sampled, ServerSampled, StreamSampled
from offload.telemetry.form import from_fields
from offload.telemetry.reasons import ReasonWatch
from offload.telemetry.recorder import Recorder, View

# A device says how its run goes once a second; clocks are no better than this, and a device that
# says it more often is not listened to more often.
LEAST_PERIOD_S: Final = 0.5 * SAMPLE_PERIOD_S


class SampledStream(Protocol):
    """What is asked of a stream."""

    counts: StreamCounts

    @property
    def is_connected(self) -> bool:
        """Whether its device is."""

    @property
    def received_bytes(self) -> int:
        """What came from its device."""

    @property
    def duplicates_ignored(self) -> int:
        """How many frames came again."""

    @property
    def waiting_frames(self) -> int:
        """Its frames that are here and not stored yet."""


class DeviceTelemetry:
    """What one connected device says of its run.

    Args:
        recorder: Is told what it says.
        stream: Its stream.
        tasks: How many tasks its app has.
    """

    def __init__(self, recorder: Recorder, *, stream: str, tasks: int) -> None:
        """Hear nothing yet."""
        self._recorder = recorder
        self._stream = stream
        self._tasks = tasks
        self._reasons = ReasonWatch()
        self._heard_s = -LEAST_PERIOD_S

    def note(self, said: Fields) -> None:
        """Record what the device says, at the time of this server.

        Raises:
            RemoteProtocolError: It is no sample of this app.
        """
        now = self._recorder.now()
        if now - self._heard_s < LEAST_PERIOD_S:
            return
        self._heard_s = now
        try:
            sampled = from_fields(said)
        except ValueError as error:
            raise RemoteProtocolError(f"device says {error}") from error
        if not isinstance(sampled, Sampled):
            raise RemoteProtocolError("device says something else than how its run goes")
        if len(sampled.tasks) != self._tasks or len(sampled.split_frames) != self._tasks + 1:
            raise RemoteProtocolError(
                f"device says what {len(sampled.tasks)} tasks took, expected {self._tasks}"
            )
        # They are kept for as long as the stream is, which may be long after the device has gone.
        if len(sampled.forecasts) > self._tasks:
            raise RemoteProtocolError(
                f"device says {len(sampled.forecasts)} forecasts, expected one for each split"
            )
        sampled = replace(sampled, at_s=now, stream=self._stream)
        self._recorder.record(sampled)
        if (changed := self._reasons.note(sampled)) is not None:
            self._recorder.record(changed)


class ServerTelemetry:
    """Samples a server for its views.

    Args:
        recorder: Is told.
        load: What the program takes of its machine.

    Attributes:
        is_wanted: Whether any view wants samples. Without one, nothing is sampled, and no device is
            asked.
    """

    def __init__(self, recorder: Recorder, *, load: LoadMeter) -> None:
        """Sample for nobody yet."""
        self.is_wanted = False
        self._recorder = recorder
        self._load = load

    def add_view(self, view: View) -> None:
        """Let one more look, with samples."""
        self.is_wanted = True
        self._recorder.add(view)

    def now(self) -> float:
        """Return the time, as its events have it."""
        return self._recorder.now()

    def look(
        self,
        streams: Iterable[SampledStream],
        *,
        sessions: int,
        operators: int,
        frame_bytes: int,
        frame_limit_bytes: int,
        machine_part: float,
    ) -> None:
        """Record how the server and its streams go.

        Args:
            streams: Those in memory.
            sessions: Devices that are connected.
            operators: Operators that are.
            frame_bytes: Memory that frames take.
            frame_limit_bytes: The most that they may.
            machine_part: Part of the machine's processors in use.
        """
        at_s = self._recorder.now()
        for each in streams:
            self._recorder.record(_stream_sampled(each, at_s))
        self._recorder.record(
            ServerSampled(
                at_s=at_s,
                sessions=sessions,
                operators=operators,
                frame_bytes=frame_bytes,
                frame_limit_bytes=frame_limit_bytes,
                cpu_percent=self._load.take_cpu_percent(),
                machine_part=machine_part,
                memory_bytes=self._load.memory_bytes(),
            )
        )

    def look_last(self, stream: SampledStream) -> None:
        """Record how a stream went that is complete: it may have been shorter than a period."""
        if self.is_wanted:
            self._recorder.record(_stream_sampled(stream, self._recorder.now()))


def _stream_sampled(stream: SampledStream, at_s: float) -> StreamSampled:
    counts = stream.counts
    return StreamSampled(
        at_s=at_s,
        stream=counts.stream,
        device=counts.device,
        app=counts.app,
        connected=stream.is_connected,
        results=counts.outcomes[Outcome.RESULT],
        filtered=counts.outcomes[Outcome.FILTERED],
        failed=counts.outcomes[Outcome.FAILED],
        dropped=counts.outcomes[Outcome.DROPPED],
        duplicates_ignored=stream.duplicates_ignored,
        next_seq=counts.next_seq,
        cloud_task_s=counts.cloud_task_s,
        received_bytes=stream.received_bytes,
        waiting=stream.waiting_frames,
    )

"""Which encoding each value of a frame takes.

Learns from what every encoding cost on earlier frames, and weighs the seconds of encoding against
the seconds that its bytes take on the link. Pure; time is counted in frames.

    choice = EncodingChoice(EncodingMode.AUTO)
    chosen = choice.choose(pipeline.encodings(split, watched=False), link.seconds_per_byte)
    packed = pack(live, encodings=chosen, clock=time.perf_counter)
    choice.learn(packed.trials)
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from offload.values.encodings import Encoding, Kind, Trial

# An encoding that lost is tried again once it was passed over so often, since what is in front of
# the camera changes: 5 to 10 s of most streams.
RETRY_AFTER_FRAMES: Final = 300

# So many frames are sent small before one goes raw, to measure a link that nothing large has
# crossed: on a fast one that may be the cheapest way.
MEASURE_AFTER_FRAMES: Final = 32

# A trial is so many frames in a row: one alone might have been held up by something else. The first
# one is not counted, as soon as there is a second: it loads libraries and finds no cache warm.
TRIAL_FRAMES: Final = 4

# The mean follows as if it were over so many frames; what is in a picture changes in seconds.
MEAN_FRAMES: Final = 16


class EncodingMode(StrEnum):
    """What the user permits."""

    AUTO = "auto"
    RAW = "raw"
    LOSSLESS = "lossless"
    LOSSY = "lossy"


class EncodingChoice:
    """Chooses the encodings of one device's frames, by what they cost on earlier ones."""

    def __init__(self, mode: EncodingMode) -> None:
        """Know no costs yet."""
        self._mode = mode
        self._values: dict[str, _Value] = {}
        self._frames_to_measuring = MEASURE_AFTER_FRAMES

    def choose(
        self, permitted: Mapping[str, Sequence[Encoding]], seconds_per_byte: float | None
    ) -> dict[str, Encoding]:
        """Return the encodings for one frame's values; those that are not named travel raw.

        Args:
            permitted: For each value, how it may travel. It is faster if the sequences are the same
                objects from frame to frame.
            seconds_per_byte: Of the link; None if nobody knows, and then only bytes count.
        """
        chosen: dict[str, Encoding] = {}
        if self._mode is EncodingMode.RAW:
            return chosen
        if self._mode is EncodingMode.LOSSLESS:
            seconds_per_byte = None
        for name, encodings in permitted.items():
            value = self._values.get(name)
            if value is None:
                value = self._values[name] = _Value()
            if value.permitted is not encodings:
                value.permit(encodings, self._mode)
            if value.candidates:
                best = value.cheapest(seconds_per_byte)
                if best is not None:
                    chosen[name] = best.encoding
        if chosen and seconds_per_byte is None and self._mode is EncodingMode.AUTO:
            self._frames_to_measuring -= 1
            if self._frames_to_measuring == 0:
                return {}
        return chosen

    def learn(self, trials: Sequence[Trial]) -> None:
        """Learn from the values that were packed as `choose` said."""
        for trial in trials:
            value = self._values.get(trial.name)
            if value is not None:
                value.raw_bytes = trial.raw_bytes
                value.costs_of(trial.encoding).learn(trial)


class _Costs:
    """What one encoding of one value is known to cost, and for how long it was not tried."""

    __slots__ = ("encode_s", "encoding", "frames", "passed_over", "travelled_bytes")

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding
        self.frames = 0
        self.passed_over = 0
        self.encode_s = 0.0
        self.travelled_bytes = 0.0

    def learn(self, trial: Trial) -> None:
        self.frames += 1
        weight = 1 / min(max(self.frames - 1, 1), MEAN_FRAMES)
        self.encode_s += weight * (trial.encode_s - self.encode_s)
        self.travelled_bytes += weight * (trial.travelled_bytes - self.travelled_bytes)


class _Value:
    """What is known of one value."""

    __slots__ = ("_costs", "_raw_is_permitted", "candidates", "permitted", "raw_bytes")

    def __init__(self) -> None:
        self.raw_bytes = 0
        self.permitted: Sequence[Encoding] = ()
        self.candidates: list[_Costs] = []
        self._costs: list[_Costs] = []
        self._raw_is_permitted = True

    def permit(self, encodings: Sequence[Encoding], mode: EncodingMode) -> None:
        """Weigh only what ``mode`` leaves of ``encodings`` from now on."""
        others = [each for each in encodings if each.kind is not Kind.RAW]
        lossy = [each for each in others if each.is_lossy]
        self._raw_is_permitted = mode is not EncodingMode.LOSSY or not lossy
        if not self._raw_is_permitted:
            others = lossy
        elif mode is EncodingMode.LOSSLESS:
            others = [each for each in others if not each.is_lossy]
        self.permitted = encodings
        self.candidates = [self.costs_of(each) for each in others]

    def costs_of(self, encoding: Encoding) -> _Costs:
        for each in self._costs:
            if each.encoding is encoding or each.encoding == encoding:
                return each
        self._costs.append(_Costs(encoding))
        return self._costs[-1]

    def cheapest(self, seconds_per_byte: float | None) -> _Costs | None:
        """Return the cheapest candidate, or one whose turn it is to be tried; None for raw."""
        byte_weight, second_weight = 1.0, 0.0
        if seconds_per_byte is not None:
            byte_weight, second_weight = seconds_per_byte, 1.0
        lowest = self.raw_bytes * byte_weight if self._raw_is_permitted else math.inf
        best: _Costs | None = None
        for each in self.candidates:
            each.passed_over += 1
            if each.passed_over > RETRY_AFTER_FRAMES:
                each.frames = 0
            if each.frames < TRIAL_FRAMES:
                best = each
                break
            cost = each.encode_s * second_weight + each.travelled_bytes * byte_weight
            if cost < lowest:
                best, lowest = each, cost
        if best is not None:
            best.passed_over = 0
        return best

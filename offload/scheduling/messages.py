"""Estimate what crosses at each point: bytes, and the seconds to encode and to decode them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from offload.scheduling.means import HopefulMean, Mean
from offload.scheduling.terms import RAW, DeviceCosts, Observation, OperatingPoint

# What frames contain changes slowly.
SIZES_S: Final = 5.0

# What an encoding that was never tried is taken to leave of the bytes: so little that it is tried
# wherever it might pay. What was not tried for so long may take half of what it did, and half of
# that after as long again.
UNTRIED_PART: Final = 0.02
STALE_S: Final = 30.0
STALE_PART: Final = 0.5

# What takes longer than so many times the mean was held up by something else, or is the first sign
# of a step: the second one may be three times as high again.
OUTLIER: Final = 3.0

# Kinds of frames that are rarer do not count.
RARE: Final = 0.05


@dataclass(frozen=True, slots=True)
class Message:
    """What crosses at a point, as the mean of all frames; ``most_bytes`` of watched or others."""

    mean_bytes: float
    most_bytes: float
    encode_s: float
    decode_s: float


class Messages:
    """What crosses at each point, of frames that are watched and of those that are not."""

    def __init__(self, points: Sequence[OperatingPoint]) -> None:
        self._kinds = (_Kind(points), _Kind(points))
        self._weights = [(self._kinds[0], 1.0)]

    def add(self, index: int, costs: DeviceCosts) -> None:
        """Take in what would cross at each split, and what crossed at this point."""
        self._kinds[costs.watched].add(index, costs)

    def add_decoding(self, index: int, seen: Observation) -> None:
        """Take in how long it took to decode a message, if that is known."""
        if seen.decode_s:
            _add_without_outliers(self._kinds[seen.watched].decode_s[index], seen.decode_s)

    def fold(self, now: float, watched_part: float) -> None:
        """Take what was added into the means; ``watched_part`` is the share of watched frames."""
        plain, watched = self._kinds
        weights = [(plain, 1 - watched_part), (watched, watched_part)]
        self._weights = [each for each in weights if each[1] > RARE]
        for kind, other in ((plain, watched), (watched, plain)):
            kind.fold(now, other)

    def hoped(self, index: int) -> Message:
        """Return what may cross at a point, as of the last `fold`: less than when it was tried."""
        mean_bytes = most_bytes = encode_s = decode_s = 0.0
        for kind, weight in self._weights:
            size = kind.hoped_bytes[index]
            mean_bytes += weight * size
            most_bytes = max(most_bytes, size)
            encode_s += weight * kind.encode_s[index].value
            decode_s += weight * kind.decode_s[index].value
        return Message(mean_bytes, most_bytes, encode_s, decode_s)

    def measured(self, index: int) -> Message:
        """Return what crosses at a point if it is as when it was tried; untried it saves nothing.

        Of a split that no frame has got to, nothing is known, and nothing crosses there.
        """
        mean_bytes = most_bytes = encode_s = decode_s = 0.0
        for kind, weight in self._weights:
            size = kind.measured_bytes[index]
            mean_bytes += weight * size
            most_bytes = max(most_bytes, size)
            encode_s += weight * kind.encode_s[index].measured.value
            decode_s += weight * kind.decode_s[index].measured.value
        return Message(mean_bytes, most_bytes, encode_s, decode_s)


class _Kind:
    """What crosses at each point, of one kind of frames."""

    def __init__(self, points: Sequence[OperatingPoint]) -> None:
        self._points = points
        self._raw_bytes = {point.split: Mean(SIZES_S) for point in points}
        # Of the raw bytes, those that each point does not encode, and what is left of the others.
        self._unencoded_bytes = [Mean(SIZES_S) for _ in points]
        self._parts = [HopefulMean(SIZES_S) for _ in points]
        self.encode_s = [HopefulMean(SIZES_S) for _ in points]
        self.decode_s = [HopefulMean(SIZES_S) for _ in points]
        self.hoped_bytes = [0.0] * len(points)
        self.measured_bytes = [0.0] * len(points)

    def add(self, index: int, costs: DeviceCosts) -> None:
        for split, size in costs.raw_bytes.items():
            if split in self._raw_bytes:
                self._raw_bytes[split].add(size)
        if costs.raw_bytes:
            self._add_unencoded(costs)
        if not costs.message_bytes:
            return
        point = self._points[index]
        mean = self._raw_bytes[point.split]
        # The first time a library may be loaded for it.
        if self._parts[index].is_known:
            _add_without_outliers(self.encode_s[index], costs.encode_s)
        # Raw sizes are told of some frames only; their mean does for the others.
        raw = costs.raw_bytes.get(point.split) or mean.value
        unencoded = costs.unencoded_bytes.get(point) or self._unencoded_bytes[index].value
        if raw > unencoded:
            self._parts[index].add((costs.message_bytes - unencoded) / (raw - unencoded))

    def _add_unencoded(self, costs: DeviceCosts) -> None:
        for mean, point in zip(self._unencoded_bytes, self._points, strict=True):
            if point.split in costs.raw_bytes:
                mean.add(costs.unencoded_bytes.get(point, 0))

    def fold(self, now: float, other: "_Kind") -> None:
        """Settle the bytes at each point; sizes that were never seen are those of ``other``."""
        for mean in (*self._raw_bytes.values(), *self._unencoded_bytes):
            mean.fold(now)
        for hopeful in (*self._parts, *self.encode_s, *self.decode_s):
            hopeful.fold(now)
            hopeful.fade(now, after_s=STALE_S, part=STALE_PART)
        for index in range(len(self._points)):
            self._settle(index, other)

    def _settle(self, index: int, other: "_Kind") -> None:
        """Work out what crosses at a point: as one may hope, and as it was when it was tried."""
        point, part = self._points[index], self._parts[index]
        kind = self if self._raw_bytes[point.split].is_known else other
        raw = kind._raw_bytes[point.split].value
        unencoded = min(raw, kind._unencoded_bytes[index].value)
        hoped = measured = 1.0
        if point.encoding != RAW:
            hoped = part.value if part.is_known else UNTRIED_PART
            measured = part.measured.value if part.is_known else 1.0
        self.hoped_bytes[index] = unencoded + (raw - unencoded) * hoped
        self.measured_bytes[index] = unencoded + (raw - unencoded) * measured


def _add_without_outliers(mean: Mean, seconds: float) -> None:
    # One encoder that was held up would rule its encoding out, and nothing would prove it wrong.
    mean.add(min(seconds, OUTLIER * mean.value) if mean.is_known else seconds)

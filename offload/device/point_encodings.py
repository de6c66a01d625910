"""How the values of a frame travel at each operating point: what its split's encoding means.

An operating point names one of three ways, for all values of a frame alike: ``raw``, ``lossless``
and ``lossy``. Which a split has depends on what its app permits and on what the user does. Pure.

    encodings = PointEncodings(pipeline.encodings, pipeline.splits, EncodingMode.AUTO)
    encodings.names(3)                          # ("raw", "lossless", "lossy")
    encodings.of(3, "lossless", watched=True)   # {"mask": Encoding(kind=Kind.PACKED)}
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from offload.device.encoding_choice import EncodingMode
from offload.values.encodings import Encoding, Kind


class Way(StrEnum):
    """How all values of a frame travel."""

    RAW = "raw"
    """As they are in memory."""
    LOSSLESS = "lossless"
    """In what their givers permit and nothing is lost by."""
    LOSSY = "lossy"
    """In what loses a little, where that is permitted; else lossless."""


class Permitted(Protocol):
    """Says how each live value may travel; see `Pipeline.encodings`."""

    def __call__(self, split: int, *, watched: bool) -> Mapping[str, Sequence[Encoding]]:
        """Return the permitted encodings by value."""


class PointEncodings:
    """The encodings of each value, by split, way, and whether the frame is watched.

    Args:
        permitted: What the app permits.
        splits: Those that frames may take.
        mode: What the user permits.
    """

    def __init__(self, permitted: Permitted, splits: Iterable[int], mode: EncodingMode) -> None:
        """Work all of them out."""
        self._of: dict[tuple[int, str, bool], Mapping[str, Encoding]] = {}
        self._names: dict[int, tuple[Way, ...]] = {}
        for split in splits:
            ways = {way: self._both(permitted, split, way) for way in _ways(mode)}
            self._names[split] = tuple(_different(ways, mode))
            for way in self._names[split]:
                for watched, chosen in ways[way].items():
                    self._of[split, way, watched] = chosen

    def names(self, split: int) -> tuple[Way, ...]:
        """Return the ways that frames may travel at ``split``, each different from the others."""
        return self._names[split]

    def of(self, split: int, way: str, *, watched: bool) -> Mapping[str, Encoding]:
        """Return the encodings by value; those that are not named travel raw."""
        return self._of[split, way, watched]

    def _both(
        self, permitted: Permitted, split: int, way: Way
    ) -> dict[bool, Mapping[str, Encoding]]:
        choose = _CHOOSE[way]
        return {
            watched: {
                name: chosen
                for name, encodings in permitted(split, watched=watched).items()
                if (chosen := choose(encodings)) is not None
            }
            for watched in (False, True)
        }


def _ways(mode: EncodingMode) -> tuple[Way, ...]:
    match mode:
        case EncodingMode.RAW:
            return (Way.RAW,)
        case EncodingMode.LOSSLESS:
            return (Way.RAW, Way.LOSSLESS)
        case _:
            return tuple(Way)


def _different(
    ways: Mapping[Way, Mapping[bool, Mapping[str, Encoding]]], mode: EncodingMode
) -> list[Way]:
    """Return the ways that are not as another one before; only the last if the user wants lossy."""
    found: list[Way] = []
    for way, encodings in ways.items():
        if all(encodings != ways[other] for other in found):
            found.append(way)
    has_lossy = Way.LOSSY in found
    return [Way.LOSSY] if mode is EncodingMode.LOSSY and has_lossy else found


def _lossless(encodings: Sequence[Encoding]) -> Encoding | None:
    return next(
        (each for each in encodings if each.kind is not Kind.RAW and not each.is_lossy), None
    )


def _lossy(encodings: Sequence[Encoding]) -> Encoding | None:
    return next((each for each in encodings if each.is_lossy), None) or _lossless(encodings)


def _raw(_encodings: Sequence[Encoding]) -> None:
    return None


_CHOOSE: Mapping[Way, Callable[[Sequence[Encoding]], Encoding | None]] = {
    Way.RAW: _raw,
    Way.LOSSLESS: _lossless,
    Way.LOSSY: _lossy,
}

"""What an operating point's encoding means for each value of a frame."""

from collections.abc import Mapping, Sequence

import pytest

from ball_tracking_example.taskified import make_pipeline
from offload.device.encoding_choice import EncodingMode
from offload.device.point_encodings import PointEncodings, Way
from offload.values.encodings import PACKED, RAW, Encoding, parse

JPEG = parse("jpeg:80")


def permitted(split: int, *, watched: bool) -> Mapping[str, Sequence[Encoding]]:
    """Return what an app permits that packs its mask, and shows its picture as JPEG."""
    if split == 1:
        return {"picture": (RAW,)}
    if split == 2:
        return {"mask": (RAW, PACKED)} | ({"picture": (RAW, JPEG)} if watched else {})
    return {"picture": (RAW, JPEG)} if watched else {"circle": (RAW,)}


def of(mode: EncodingMode) -> PointEncodings:
    return PointEncodings(permitted, (1, 2, 3), mode)


@pytest.mark.parametrize(
    ("mode", "names"),
    [
        (EncodingMode.AUTO, [["raw"], ["raw", "lossless", "lossy"], ["raw", "lossy"]]),
        (EncodingMode.RAW, [["raw"], ["raw"], ["raw"]]),
        (EncodingMode.LOSSLESS, [["raw"], ["raw", "lossless"], ["raw"]]),
        (EncodingMode.LOSSY, [["raw"], ["lossy"], ["lossy"]]),
    ],
)
def test_a_split_has_the_ways_that_differ_there_and_that_the_user_permits(
    mode: EncodingMode, names: list[list[str]]
) -> None:
    assert [list(map(str, of(mode).names(split))) for split in (1, 2, 3)] == names


def test_a_lossy_point_loses_nothing_where_only_lossless_is_permitted() -> None:
    encodings = of(EncodingMode.AUTO)
    assert encodings.of(2, Way.LOSSY, watched=True) == {"mask": PACKED, "picture": JPEG}
    assert encodings.of(2, Way.LOSSY, watched=False) == {"mask": PACKED}
    assert encodings.of(2, Way.LOSSLESS, watched=True) == {"mask": PACKED}
    assert encodings.of(2, Way.RAW, watched=True) == {}


def test_what_the_detection_is_computed_from_never_travels_lossy() -> None:
    pipeline = make_pipeline(None)
    encodings = PointEncodings(pipeline.encodings, pipeline.splits, EncodingMode.AUTO)
    lossy = {
        (split, watched): {
            name
            for name, each in encodings.of(split, Way.LOSSY, watched=watched).items()
            if each.is_lossy
        }
        for split in pipeline.splits
        if Way.LOSSY in encodings.names(split)
        for watched in (False, True)
    }
    assert lossy == {
        **{(split, False): set() for split in (2, 3, 4, 5, 6)},
        **{(split, True): {"frame"} for split in (2, 3, 4, 5)},
        (6, True): {"picture"},
    }

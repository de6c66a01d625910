"""The encoding that costs least on this link is taken, and what was given up is tried again."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from offload.device.encoding_choice import (
    MEASURE_AFTER_FRAMES,
    RETRY_AFTER_FRAMES,
    TRIAL_FRAMES,
    EncodingChoice,
    EncodingMode,
)
from offload.values import pack
from offload.values.encodings import PACKED, RAW, Encoding, Trial, parse

JPEG = parse("jpeg:80")
JPEG_90 = parse("jpeg:90")
MBIT_20 = 8 / 20e6
LOOPBACK = 1 / 5e9


@dataclass
class Costs:
    """Seconds and bytes of an encoding of one value."""

    encode_s: float
    travelled_bytes: int


@dataclass
class Stream:
    """Chooses and learns frame by frame, as the device does, with costs that are given."""

    mode: EncodingMode
    permitted: dict[str, tuple[Encoding, ...]]
    costs: dict[Encoding, Costs]
    raw_bytes: int = 400_000
    seconds_per_byte: float | None = None
    choice: EncodingChoice = field(init=False)

    def __post_init__(self) -> None:
        self.choice = EncodingChoice(self.mode)

    def frame(self) -> dict[str, Encoding]:
        chosen = self.choice.choose(self.permitted, self.seconds_per_byte)
        self.choice.learn(
            [
                Trial(
                    name=name,
                    encoding=encoding,
                    raw_bytes=self.raw_bytes,
                    travelled_bytes=self.costs[encoding].travelled_bytes,
                    encode_s=self.costs[encoding].encode_s,
                )
                for name, encoding in chosen.items()
            ]
        )
        return chosen

    def frames(self, count: int) -> list[Encoding | None]:
        return [self.frame().get("frame") for _ in range(count)]

    def settled(self) -> dict[str, Encoding]:
        self.frames(5 * TRIAL_FRAMES)
        return self.frame()


def stream(
    mode: EncodingMode = EncodingMode.AUTO,
    *,
    permitted: Sequence[Encoding] = (RAW, JPEG),
    encode_s: float = 0.001,
    seconds_per_byte: float | None = None,
) -> Stream:
    return Stream(
        mode=mode,
        permitted={"frame": tuple(permitted)},
        costs={
            PACKED: Costs(encode_s, 50_000),
            JPEG: Costs(encode_s, 13_000),
            JPEG_90: Costs(encode_s, 20_000),
        },
        seconds_per_byte=seconds_per_byte,
    )


def test_what_is_permitted_raw_only_is_never_named() -> None:
    assert stream(permitted=(RAW,)).settled() == {}
    assert stream(permitted=()).settled() == {}


def test_an_encoding_that_was_never_tried_is_tried_for_some_frames() -> None:
    slow = stream(encode_s=1.0, seconds_per_byte=LOOPBACK)
    assert slow.frames(TRIAL_FRAMES + 2) == [JPEG] * TRIAL_FRAMES + [None] * 2


def test_the_first_frame_of_a_trial_does_not_count() -> None:
    loading = stream(encode_s=10.0, seconds_per_byte=MBIT_20)
    assert loading.frames(1) == [JPEG]
    loading.costs[JPEG].encode_s = 0.001
    assert loading.frames(50) == [JPEG] * 50


def test_each_encoding_has_its_trial() -> None:
    tried = stream(permitted=(RAW, PACKED, JPEG)).frames(2 * TRIAL_FRAMES)
    assert tried == [PACKED] * TRIAL_FRAMES + [JPEG] * TRIAL_FRAMES


def test_auto_encodes_where_the_link_is_slower_than_the_encoder() -> None:
    assert stream(seconds_per_byte=MBIT_20).settled() == {"frame": JPEG}
    assert stream(seconds_per_byte=LOOPBACK).settled() == {}


def test_auto_follows_the_link_without_another_trial() -> None:
    moving = stream(seconds_per_byte=LOOPBACK)
    assert moving.settled() == {}
    moving.seconds_per_byte = MBIT_20
    assert moving.frame() == {"frame": JPEG}
    moving.seconds_per_byte = LOOPBACK
    assert moving.frame() == {}


def test_auto_takes_the_fewest_bytes_while_the_link_is_unknown() -> None:
    slow = stream(permitted=(JPEG_90, RAW, JPEG, PACKED), encode_s=10.0)
    assert slow.settled() == {"frame": JPEG}


def test_raw_wins_where_an_encoding_fits_no_value() -> None:
    unfit = stream(permitted=(RAW, PACKED))
    unfit.costs[PACKED] = Costs(0.0, unfit.raw_bytes)
    assert unfit.settled() == {}


def test_each_value_has_costs_of_its_own() -> None:
    both = stream(seconds_per_byte=MBIT_20)
    both.permitted["picture"] = (RAW, JPEG)
    both.frames(10)
    both.choice.learn(
        [Trial(name="picture", encoding=JPEG, raw_bytes=9, travelled_bytes=10**9, encode_s=0.0)]
    )
    assert both.frame() == {"frame": JPEG}


def test_an_encoding_that_lost_is_tried_again_and_taken_if_the_content_changed() -> None:
    changing = stream(encode_s=1.0, seconds_per_byte=MBIT_20)
    assert changing.settled() == {}
    changing.costs[JPEG].encode_s = 0.001
    until_retried = changing.frames(RETRY_AFTER_FRAMES + 1)
    assert set(until_retried[: RETRY_AFTER_FRAMES - 20]) == {None}
    assert until_retried[-1] is JPEG
    assert changing.frames(20) == [JPEG] * 20


def test_an_encoding_that_lost_again_is_left_for_as_long() -> None:
    losing = stream(encode_s=1.0, seconds_per_byte=MBIT_20)
    count = 10 * (RETRY_AFTER_FRAMES + TRIAL_FRAMES)
    assert losing.frames(count).count(JPEG) == 10 * TRIAL_FRAMES


def test_one_frame_that_was_held_up_does_not_end_an_encoding() -> None:
    steady = stream(seconds_per_byte=MBIT_20)
    steady.frames(20)
    steady.costs[JPEG].encode_s = 0.5
    steady.frames(1)
    steady.costs[JPEG].encode_s = 0.001
    assert steady.frames(5) == [JPEG] * 5


def test_a_content_that_grows_dear_is_given_up_soon_even_after_a_long_time() -> None:
    growing = stream(seconds_per_byte=MBIT_20)
    assert growing.frames(2000)[-1] is JPEG
    growing.costs[JPEG] = Costs(0.5, 500_000)
    growing.frames(30)
    assert growing.frame() == {}


def test_raw_encodes_nothing() -> None:
    assert stream(EncodingMode.RAW, seconds_per_byte=MBIT_20).settled() == {}


def test_lossless_takes_the_fewest_bytes_of_what_loses_nothing() -> None:
    careful = stream(
        EncodingMode.LOSSLESS,
        permitted=(RAW, JPEG, PACKED),
        encode_s=9.0,
        seconds_per_byte=LOOPBACK,
    )
    assert JPEG not in careful.frames(2 * RETRY_AFTER_FRAMES)
    assert careful.frame() == {"frame": PACKED}


def test_lossy_takes_the_lossy_one_whatever_it_costs() -> None:
    lossy = stream(
        EncodingMode.LOSSY,
        permitted=(RAW, PACKED, JPEG),
        encode_s=9.0,
        seconds_per_byte=LOOPBACK,
    )
    assert set(lossy.frames(2 * RETRY_AFTER_FRAMES)) == {JPEG}


def test_lossy_is_like_auto_where_nothing_lossy_is_permitted() -> None:
    lossy = stream(EncodingMode.LOSSY, permitted=(RAW, PACKED), seconds_per_byte=MBIT_20)
    assert lossy.settled() == {"frame": PACKED}
    lossy.seconds_per_byte = LOOPBACK
    assert lossy.frame() == {}


def test_what_a_split_permits_is_all_that_is_chosen_there() -> None:
    moving = stream(seconds_per_byte=MBIT_20)
    assert moving.settled() == {"frame": JPEG}
    moving.permitted = {"frame": (RAW,)}
    assert moving.frame() == {}
    moving.permitted = {"frame": (RAW, JPEG)}
    assert moving.frame() == {"frame": JPEG}


@pytest.mark.parametrize("is_mask", [True, False])
def test_the_choice_learns_from_what_was_packed(*, is_mask: bool) -> None:
    values = {"mask": np.tile(np.array([0, 255 if is_mask else 1, 2 * is_mask], np.uint8), 999)}
    values["mask"][2::3] = 0 if is_mask else 7
    choice = EncodingChoice(EncodingMode.AUTO)
    for _ in range(2 * TRIAL_FRAMES):
        chosen = choice.choose({"mask": (RAW, PACKED)}, MBIT_20)
        choice.learn(pack(values, encodings=chosen, clock=lambda: 0.0).trials)
    assert chosen == ({"mask": PACKED} if is_mask else {})


def test_a_link_that_nothing_large_has_crossed_is_measured_by_one_raw_frame() -> None:
    choice = EncodingChoice(EncodingMode.AUTO)
    chosen = [choice.choose({"mask": (RAW, PACKED)}, None) for _ in range(200)]
    assert [number for number, each in enumerate(chosen) if not each] == [MEASURE_AFTER_FRAMES - 1]


@pytest.mark.parametrize("mode", [EncodingMode.LOSSLESS, EncodingMode.LOSSY])
def test_nothing_goes_raw_for_a_measurement_where_the_user_chose_the_encoding(
    mode: EncodingMode,
) -> None:
    choice = EncodingChoice(mode)
    assert all(choice.choose({"mask": (RAW, PACKED)}, None) for _ in range(100))

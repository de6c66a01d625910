"""Figures in words, as short as people say them. Pure.

rate(2_275_000.0)       # "18.2 Mbit/s"
"""

from collections.abc import Mapping
from typing import Final

from offload.console.text import Signs, Span, Tone

# Off the target by less, it is met: frames come one by one, and are counted over two seconds.
MET_PART: Final = 0.95

# Under this part of the target something is badly wrong.
FAR_OFF_PART: Final = 0.5

# A bar of more tasks has as many cells, each of which stands for several.
MAX_BAR_CELLS: Final = 12

# The reason of the first frames, of which nobody knows yet how many there will be each second.
FIRST_FRAMES: Final = "cold_start"

# The scheduler's reasons for a split. One that is not listed is shown as it is.
REASONS: Final[Mapping[str, str]] = {
    FIRST_FRAMES: "getting started",
    "settled": "settled",
    "moved_more_device": "moved to the device",
    "moved_more_cloud": "moved to the cloud",
    "held_hysteresis": "no better split",
    "held_latency": "held by the latency limit",
    "source_limited": "source gives no more",
    "infeasible_device": "device is too slow",
    "infeasible_link": "link is too slow",
    "infeasible_cloud": "cloud is too slow",
    "stalled": "no frame comes back",
    "probing": "trying a split",
    "pinned": "split is pinned",
}


def reason_in_words(reason: str) -> str:
    """Return why the split is where it is."""
    return REASONS.get(reason) or reason.replace("_", " ")


def rate(bytes_per_s: float) -> str:
    """Return what a link carries, in bits."""
    bits = 8 * bytes_per_s
    for unit, scale in (("Gbit/s", 1e9), ("Mbit/s", 1e6)):
        if bits >= 0.9995 * scale:
            return f"{_three_digits(bits / scale)} {unit}"
    return f"{bits / 1e3:.0f} kbit/s"


def size(byte_count: float) -> str:
    """Return a number of bytes, in thousands, millions or thousands of millions."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if byte_count >= 0.9995 * scale:
            return f"{_three_digits(byte_count / scale)} {unit}"
    return f"{byte_count:.0f} B"


def memory(byte_count: float) -> str:
    """Return a number of bytes of memory, in the units in which its limit is given."""
    for unit, scale in (("GiB", 2.0**30), ("MiB", 2.0**20)):
        if byte_count >= 0.9995 * scale:
            return f"{_three_digits(byte_count / scale)} {unit}"
    return f"{byte_count / 2**10:.0f} KiB"


def duration(taken_s: float) -> str:
    """Return how long something takes that takes milliseconds or seconds."""
    return f"{1000 * taken_s:.0f} ms" if taken_s < 0.9995 else f"{_three_digits(taken_s)} s"


def seconds(spent_s: float) -> str:
    """Return a sum of seconds as a column has it: with two digits behind the point."""
    return f"{spent_s:.2f}"


def clock(left_s: float) -> str:
    """Return minutes and seconds, and hours if there are any: ``1:05``, ``2:00:05``."""
    minutes, left = divmod(round(left_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _three_digits(number: float) -> str:
    """Return at least three digits, of which one at most is behind the point."""
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"


def verdict(measured: float, target: float | None, reason: str | None, signs: Signs) -> Span:
    """Return the sign that says whether a target is met, in its colour.

    Args:
        measured: Finished frames per second.
        target: What was asked for; a blank for None.
        reason: The scheduler's; with its first frames there is no telling, and a blank for it.
        signs: What stands for met and missed.
    """
    if target is None or reason == FIRST_FRAMES:
        return Span(text=" ")
    if measured >= MET_PART * target:
        return Span(text=signs.met, tone=Tone.GOOD)
    if measured >= FAR_OFF_PART * target:
        return Span(text=signs.missed, tone=Tone.WARNING)
    return Span(text=signs.far_off, tone=Tone.BAD)


def target_in_figures(target: float) -> str:
    """Return a target as people give it: without digits that say nothing."""
    return f"{target:.4g}"


def split_bar(split: float | None, tasks: int, signs: Signs) -> str:
    """Return one sign for each task, and the split in figures: ``●●●◐○○○ 3.4/7``.

    A mean split between two is that of frames which run a task here, and frames which do not: that
    task gets a sign of its own. More than `MAX_BAR_CELLS` tasks share cells.
    """
    if split is None:
        return f"{signs.unknown}/{tasks}"
    shown = round(split, 1)
    width = min(tasks, MAX_BAR_CELLS)
    on_device = shown * width / tasks if tasks else 0.0
    bar = "".join(
        signs.on_device
        if on_device >= each + 1
        else signs.in_cloud
        if on_device <= each
        else signs.on_both
        for each in range(width)
    )
    figure = f"{split:.0f}" if split == int(split) else f"{shown:.1f}"
    # What is to the right of it stays where it is.
    return f"{bar} {f'{figure}/{tasks}':<{len(f'{tasks}.0') + len(f'/{tasks}')}}"

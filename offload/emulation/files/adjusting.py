"""Links and machines with what a file says put over them: a kind first, then single settings.

    link = adjusted_link(link, {"kind": "lte", "delay": "80ms"}, device="pi", place="links[0]")
    link = adjusted_link(link, {"rate": "5Mbit"}, device="pi", to=["cloud"], place="links[0].to")
    machine = adjusted_machine(machine, {"cpu": 0.3}, place="schedule[1]")

The same for a machine's or a link's table and for a line of the schedule.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from offload.emulation.experiment import Link, Machine
from offload.emulation.files.catalogue import link_kind, machine_kind
from offload.emulation.files.settings import Limits, limits_with, quality_with, read_at


def adjusted_link(
    link: Link,
    settings: Mapping[str, object],
    *,
    device: str,
    place: str,
    to: Sequence[str] | None = None,
) -> Link:
    """Return the link with the settings put over the directions to some of its ends.

    Args:
        link: As it was before.
        settings: As in a link's table; ``up`` says whether anything gets through. A kind leaves
            alone whether the link is up.
        device: The end that a kind takes for the device.
        place: Where the settings stand, for errors.
        to: The ends whose directions are meant; None for both.

    Raises:
        ConfigurationError: A value is wrong.
    """
    kind = None
    if "kind" in settings:
        kind = read_at(f"{place}.kind", link_kind, settings["kind"])
    for end in link.ends if to is None else to:
        quality = link.quality_to(end)
        if kind is not None:
            from_kind = kind.to_device if end == device else kind.to_cloud
            quality = replace(from_kind, is_up=quality.is_up)
        quality = quality_with(quality, settings, place=place)
        if end == link.ends[1]:
            link = replace(link, forward=quality)
        else:
            link = replace(link, backward=quality)
    return link


def adjusted_machine(machine: Machine, settings: Mapping[str, object], *, place: str) -> Machine:
    """Return the machine with the settings put over its limits.

    Args:
        machine: As it was before.
        settings: As in a machine's table.
        place: Where the settings stand, for errors.

    Raises:
        ConfigurationError: A value is wrong.
    """
    limits = Limits(cpu=machine.cpu, memory_bytes=machine.memory_bytes)
    if "kind" in settings:
        limits = read_at(f"{place}.kind", machine_kind, settings["kind"]).limits
    limits = limits_with(limits, settings, place=place)
    return replace(machine, cpu=limits.cpu, memory_bytes=limits.memory_bytes)

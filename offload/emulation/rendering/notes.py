"""What of an experiment Kubernetes and Chaos Mesh cannot do, in words.

    notes_on(experiment)    # ["left out: 'at 60s: machine pi cpu 0.3' (...)", ...]

Each is a line for the heading of the YAML and for standard error.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from offload.emulation.experiment import Experiment, MachineChange, Quality
from offload.emulation.rendering.links import Action, Direction, action_of, directions
from offload.emulation.rendering.machines import FOLDER, machines_named_by, uses_folder

# tc's qdisc prio has 16 bands, of which Chaos Mesh keeps 3 for what it leaves alone.
MAX_SHAPED_TARGETS: Final = 13

# What tc's netem holds if it is not told otherwise; Chaos Mesh does not tell it.
NETEM_PACKETS: Final = 1000


def notes_on(experiment: Experiment) -> list[str]:
    """Return what of an experiment is not in its manifests, one line each."""
    ways = directions(experiment)
    return [
        *_notes_on_running(experiment, ways),
        *_notes_on_machines(experiment),
        *_notes_on_links(ways),
        *_notes_on_paths(experiment, ways),
    ]


def _notes_on_running(experiment: Experiment, ways: Sequence[Direction]) -> Iterator[str]:
    yield "a program that ends is started again, and none is stopped when the time is over"
    yield "links are not probed, nothing is collected, and there is no report"
    if any(way.actions for way in ways):
        yield (
            "links do nothing to packets before they are applied, while the programs run already, "
            f"and after {experiment.duration_s:g} s"
        )
    if any(len(way.phases) > 1 for way in ways):
        yield (
            "changes of links come up to some seconds late, and for a moment a link that changes "
            "does nothing to packets"
        )


def _notes_on_machines(experiment: Experiment) -> Iterator[str]:
    for machine in experiment.machines:
        if machine.ready.line is not None:
            yield (
                f"machine {machine.name}: is ready as soon as it runs, not with its line "
                f"{machine.ready.line!r}"
            )
    if names := ", ".join(each.name for each in experiment.machines if each.mounts):
        yield f"mounts of {names}: folders of the node that the pod runs on"
    if names := ", ".join(each.name for each in experiment.machines if uses_folder(each)):
        yield f"files of {names}: what is written to {FOLDER} is gone with the pod"
    for change in experiment.changes:
        if isinstance(change, MachineChange):
            yield (
                f"left out: {change.text!r} (Chaos Mesh changes no limits; its StressChaos makes "
                "a machine busy, which is something else)"
            )


def _notes_on_links(ways: Sequence[Direction]) -> Iterator[str]:
    def links_with(is_so: Callable[[Quality], object]) -> str:
        names = dict.fromkeys(
            way.link
            for way in ways
            for phase in way.phases
            if action_of(phase.quality) is Action.NETEM and is_so(phase.quality)
        )
        return ", ".join(names)

    if names := links_with(lambda quality: quality.loss and quality.loss_burst > 1):
        yield f"loss of {names}: packets get lost one by one, not in bursts; the share is the same"
    if names := links_with(lambda quality: quality.loss):
        yield f"loss of {names}: other packets get lost each time, the seed means nothing"
    if names := links_with(lambda quality: quality.rate_bit_s is not None):
        yield (
            f"queue of {names}: {NETEM_PACKETS} packets, those on their way among them; Chaos Mesh "
            "takes the length of a queue only of links that limit the rate and do nothing else"
        )
    if names := links_with(lambda quality: quality.jitter_s and quality.rate_bit_s is None):
        yield f"jitter of {names}: packets may overtake each other, since there is no rate"


def _notes_on_paths(experiment: Experiment, ways: Sequence[Direction]) -> Iterator[str]:
    shaped = Counter(way.source for way in ways if way.actions & {Action.NETEM, Action.BANDWIDTH})
    for source, targets in shaped.items():
        if targets > MAX_SHAPED_TARGETS:
            yield (
                f"machine {source}: has {targets} links that do something to what it sends, and "
                f"Chaos Mesh can only do {MAX_SHAPED_TARGETS}: expect it to fail"
            )
    joined = {(way.source, way.target) for way in ways}
    for machine in experiment.machines:
        for name in machines_named_by(machine):
            if name != machine.name and (machine.name, name) not in joined:
                yield (
                    f"machine {machine.name}: reaches {name} without any link, not over the "
                    "machines in between"
                )

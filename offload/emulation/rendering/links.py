"""Links to manifests: a NetworkChaos for each direction, a Workflow for those that change.

    link_documents(experiment)

A direction is egress of its source, filtered by the address of its target. Of two NetworkChaos
for the same packets only one has an effect, so all that holds for a direction is in one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from offload.emulation.experiment import Experiment, Link, LinkChange, Quality
from offload.emulation.rendering.labels import (
    COMPONENT_LABEL,
    LINK_STEP,
    NAME_LABEL,
    STEP_LABEL,
    Document,
    namespace_of,
)

# The Workflow of the schedule's changes, and its template that runs all others.
WORKFLOW: Final = "changes"

_API: Final = "chaos-mesh.org/v1alpha1"

# Units of a rate, the largest first. Chaos Mesh takes whole numbers of them, and thousands for k.
_RATES: Final = {"gbit": 10**9, "mbit": 10**6, "kbit": 10**3, "bit": 1}

# Units of a time, the largest first, which Go and tc both know. Nothing starts with 0 but 0 itself:
# Chaos Mesh 2.8 compares the text with "0ms", and takes 0.5s for less.
_TIMES_US: Final = {"s": 10**6, "ms": 10**3, "us": 1}

# What may pass at once through a token bucket: what comes in during one tick of the slowest usual
# kernel clock, or the rate is not reached, and at least two packets with their headers.
_TICK_S: Final = 0.01
_LEAST_BUCKET_BYTES: Final = 3200


class Action(StrEnum):
    """What a NetworkChaos does; the other actions that there are do parts of what netem does."""

    NETEM = "netem"
    BANDWIDTH = "bandwidth"
    PARTITION = "partition"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """So long a direction stays the same.

    Attributes:
        length_s: Seconds.
        quality: What it does to packets.
    """

    length_s: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Direction:
    """One direction of a link over the whole experiment.

    Attributes:
        link: The link's name.
        source: Name of the machine that sends.
        target: Name of the machine that receives.
        phases: One after another, at least one.
    """

    link: str
    source: str
    target: str
    phases: Sequence[Phase]

    @property
    def name(self) -> str:
        """What its manifest is called."""
        return f"{self.link}-to-{self.target}"

    @property
    def actions(self) -> frozenset[Action]:
        """What is ever done to its packets; empty for a direction that needs no manifest."""
        actions = (action_of(phase.quality) for phase in self.phases)
        return frozenset(action for action in actions if action is not None)


def directions(experiment: Experiment) -> list[Direction]:
    """Return both directions of every link."""
    return [
        Direction(
            link=link.name,
            source=source,
            target=target,
            phases=_phases(experiment, link, target),
        )
        for link in experiment.links
        for source, target in (link.ends, link.ends[::-1])
    ]


def link_documents(experiment: Experiment) -> list[Document]:
    """Return a NetworkChaos for each direction that stays the same, and a Workflow for the rest.

    A direction that does nothing to packets has no manifest.
    """
    documents = []
    changing = []
    for direction in directions(experiment):
        if len(direction.phases) > 1:
            changing.append(direction)
        elif action_of(direction.phases[0].quality) is not None:
            chaos = _network_chaos(experiment, direction, direction.phases[0].quality)
            chaos["duration"] = time_text(experiment.duration_s)
            documents.append(_document(experiment, "NetworkChaos", direction.name, chaos))
    if changing:
        documents.append(_workflow(experiment, changing))
    return documents


def action_of(quality: Quality) -> Action | None:
    """Return what makes a direction so; None if nothing has to."""
    if not quality.is_up:
        return Action.PARTITION
    if quality.delay_s or quality.loss:
        return Action.NETEM
    # The one action that takes the length of a queue; it takes nothing else.
    return None if quality.rate_bit_s is None else Action.BANDWIDTH


def time_text(seconds: float) -> str:
    """Return a time as Chaos Mesh takes it, such as 90s, 1500ms or 250us."""
    microseconds = round(seconds * 10**6)
    unit, size = next(each for each in _TIMES_US.items() if microseconds % each[1] == 0)
    return f"{microseconds // size}{unit}"


def _network_chaos(experiment: Experiment, direction: Direction, quality: Quality) -> Document:
    return {
        "action": str(action_of(quality)),
        "mode": "all",
        "selector": _selector(experiment, direction.source),
        "direction": "to",
        "target": {"mode": "all", "selector": _selector(experiment, direction.target)},
        **_figures(quality),
    }


def _figures(quality: Quality) -> Document:
    """Return what an action needs to be told; the same for qualities that cannot be told apart."""
    match action_of(quality):
        case Action.NETEM:
            return _netem(quality)
        case Action.BANDWIDTH:
            assert quality.rate_bit_s is not None
            bucket_bytes = max(_LEAST_BUCKET_BYTES, round(quality.rate_bit_s / 8 * _TICK_S))
            bandwidth = {
                "rate": _rate(quality.rate_bit_s),
                "limit": quality.queue_limit_bytes,
                "buffer": bucket_bytes,
            }
            return {"bandwidth": bandwidth}
        case _:
            return {}


def _netem(quality: Quality) -> Document:
    figures: Document = {}
    if quality.delay_s:
        figures["delay"] = {"latency": time_text(quality.delay_s)}
        if quality.jitter_s:
            figures["delay"]["jitter"] = time_text(quality.jitter_s)
    if quality.loss:
        figures["loss"] = {"loss": _percent(quality.loss)}
    if quality.rate_bit_s is not None:
        figures["rate"] = {"rate": _rate(quality.rate_bit_s)}
    return figures


def _rate(rate_bit_s: float) -> str:
    bits = max(1, round(rate_bit_s))
    unit, size = next(each for each in _RATES.items() if bits % each[1] == 0)
    return f"{bits // size}{unit}"


def _percent(share: float) -> str:
    # tc gets six digits after the point, whatever it is told.
    return f"{100 * share:.6f}".rstrip("0").rstrip(".")


def _phases(experiment: Experiment, link: Link, target: str) -> list[Phase]:
    """Return the phases of the direction to a target; neighbours can be told apart."""
    starts = {0.0: link.quality_to(target)}
    for change in experiment.changes:
        if isinstance(change, LinkChange) and change.link == link.name:
            starts[change.at_s] = change.forward if target == link.ends[1] else change.backward
    phases: list[Phase] = []
    ends = [*starts, experiment.duration_s][1:]
    for (start_s, quality), end_s in zip(starts.items(), ends, strict=True):
        length_s = end_s - start_s
        if phases and _is_the_same(quality, phases[-1].quality):
            phases[-1] = replace(phases[-1], length_s=phases[-1].length_s + length_s)
        else:
            phases.append(Phase(length_s=length_s, quality=quality))
    return phases


def _is_the_same(one: Quality, other: Quality) -> bool:
    return action_of(one) == action_of(other) and _figures(one) == _figures(other)


def _workflow(experiment: Experiment, changing: Sequence[Direction]) -> Document:
    templates: list[Document] = [
        {
            "name": WORKFLOW,
            "templateType": "Parallel",
            "deadline": time_text(experiment.duration_s),
            "children": [direction.name for direction in changing],
        }
    ]
    for direction in changing:
        phases = list(_phase_templates(experiment, direction))
        children = [phase["name"] for phase in phases]
        serial = {"name": direction.name, "templateType": "Serial", "children": children}
        templates += [serial, *phases]
    spec = {"entry": WORKFLOW, "templates": templates}
    return _document(experiment, "Workflow", WORKFLOW, spec)


def _phase_templates(experiment: Experiment, direction: Direction) -> Iterator[Document]:
    for number, phase in enumerate(direction.phases, start=1):
        # A name of a machine or a link has no dot, so this is no name of another direction.
        name, deadline = f"{direction.name}.{number}", time_text(phase.length_s)
        if action_of(phase.quality) is None:
            yield {"name": name, "templateType": "Suspend", "deadline": deadline}
            continue
        chaos = _network_chaos(experiment, direction, phase.quality)
        yield {
            "name": name,
            "templateType": "NetworkChaos",
            "deadline": deadline,
            "networkChaos": chaos,
        }


def _document(experiment: Experiment, kind: str, name: str, spec: Document) -> Document:
    return {
        "apiVersion": _API,
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace_of(experiment),
            "labels": {COMPONENT_LABEL: "link", STEP_LABEL: LINK_STEP},
        },
        "spec": spec,
    }


def _selector(experiment: Experiment, machine: str) -> Document:
    return {
        "namespaces": [namespace_of(experiment)],
        "labelSelectors": {NAME_LABEL: machine},
    }

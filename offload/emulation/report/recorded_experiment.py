"""An experiment as a run's folder keeps it: its values, by name, as JSON.

path.write_text(json.dumps(asdict(experiment)))
experiment_from(json.loads(path.read_text()))  # the same experiment
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

from offload.emulation.experiment import (
    Change,
    Experiment,
    Link,
    LinkChange,
    Machine,
    MachineChange,
    Quality,
    Readiness,
    Role,
)

Made = TypeVar("Made", Experiment, Link, LinkChange, Machine, MachineChange, Quality, Readiness)


def experiment_from(document: Any) -> Experiment:
    """Return the experiment of which ``asdict`` made the document; unknown keys are ignored.

    Raises:
        ValueError: The document is none of an experiment.
    """
    try:
        return _made(
            Experiment,
            document,
            machines=tuple(_machine(each) for each in document["machines"]),
            links=tuple(_link(each) for each in document["links"]),
            changes=tuple(_change(each) for each in document["changes"]),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no experiment: {error!r}") from error


def _machine(document: Mapping[str, Any]) -> Machine:
    return _made(
        Machine,
        document,
        role=Role(document["role"]),
        command=tuple(document["command"]),
        ready=_made(Readiness, document["ready"]),
        ports=tuple(document["ports"]),
    )


def _link(document: Mapping[str, Any]) -> Link:
    first, second = document["ends"]
    return _made(Link, document, ends=(first, second), **_qualities(document))


def _change(document: Mapping[str, Any]) -> Change:
    if "link" in document:
        return _made(LinkChange, document, **_qualities(document))
    return _made(MachineChange, document)


def _qualities(document: Mapping[str, Any]) -> dict[str, Quality]:
    return {name: _made(Quality, document[name]) for name in ("forward", "backward")}


def _made(kind: type[Made], document: Mapping[str, Any], **given: object) -> Made:
    known = {each.name for each in fields(kind)}
    return kind(**{name: value for name, value in document.items() if name in known} | given)

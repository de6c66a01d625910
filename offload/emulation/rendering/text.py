"""Manifests as one YAML file, below a heading of comments that says how to apply them.

as_yaml(heading(experiment, notes), documents)
"""

import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from math import ceil
from typing import TYPE_CHECKING, Final

from offload.emulation.experiment import Experiment
from offload.emulation.rendering.labels import (
    LINK_STEP,
    STEP_LABEL,
    Document,
    namespace_of,
    start_orders,
)
from offload.emulation.rendering.links import WORKFLOW
from offload.errors import ConfigurationError

if TYPE_CHECKING:
    from yaml import SafeDumper, ScalarNode

_WIDTH: Final = 100

# Texts that every reader of YAML takes for texts. All others are quoted: YAML 1.1 and 1.2, and
# the libraries of Python and Go, do not agree on what is a number or a truth value.
_PLAIN: Final = re.compile("[A-Za-z/][A-Za-z0-9._/-]*")
_WORDS_WITH_MEANING: Final = frozenset(
    {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
)


def heading(
    experiment: Experiment, documents: Sequence[Document], notes: Sequence[str]
) -> list[str]:
    """Return the lines that say what this is, how to apply it, and what is not in it."""
    about = " ".join("".join(_printable(experiment.description)).split())
    return [
        f"Experiment {experiment.name} for Kubernetes and Chaos Mesh 2.7 or later.",
        *textwrap.wrap(about, _WIDTH - 2),
        "It was rendered from an experiment file and checked against schemas, not run.",
        "",
        "How to apply it. Chaos Mesh finds only machines that run, so they come first:",
        *(f"  {command}" for command in _commands(experiment, documents)),
        "",
        "What is not as on one machine:",
        *(line for note in notes for line in _item(note)),
    ]


def as_yaml(comments: Iterable[str], documents: Iterable[Document]) -> str:
    """Return the comments and the documents as one YAML file.

    Raises:
        ConfigurationError: The package that writes YAML is missing.
    """
    try:
        import yaml
    except ImportError as error:
        raise ConfigurationError(
            "manifests are written by the package PyYAML, which is missing: "
            "`./run setup emulation` installs it"
        ) from error
    top = "".join(f"# {line}".rstrip() + "\n" for line in comments)
    return top + yaml.dump_all(
        documents,
        Dumper=_dumper(),
        explicit_start=True,
        sort_keys=False,
        allow_unicode=True,
        # A long text stays on its line.
        width=float("inf"),
    )


def _commands(experiment: Experiment, documents: Sequence[Document]) -> Iterator[str]:
    namespace = namespace_of(experiment)
    kinds = {document["kind"] for document in documents}
    for step, order in enumerate(start_orders(experiment), start=1):
        machines = [each for each in experiment.machines if each.start_order == order]
        within_s = ceil(max(machine.ready.within_s for machine in machines))
        yield f"kubectl apply -f FILE -l {STEP_LABEL}={step}"
        yield (
            f"kubectl -n {namespace} wait deployment -l {STEP_LABEL}={step} "
            f"--for=condition=Available --timeout={within_s}s"
        )
    if kinds & {"NetworkChaos", "Workflow"}:
        yield f"kubectl apply -f FILE -l {STEP_LABEL}={LINK_STEP}"
    if "Workflow" in kinds:
        yield (
            f"kubectl -n {namespace} wait workflow/{WORKFLOW} --for=condition=Accomplished "
            f"--timeout={ceil(2 * experiment.duration_s)}s"
        )
    else:
        yield f"sleep {ceil(experiment.duration_s)}"
    yield f"kubectl -n {namespace} logs deployment/{experiment.machines[0].name}"
    if kinds & {"NetworkChaos", "Workflow"}:
        yield f"kubectl -n {namespace} delete networkchaos,workflow --all"
    yield f"kubectl delete namespace {namespace}"


def _item(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH - 2, initial_indent="- ", subsequent_indent="  ")


def _printable(text: str) -> Iterator[str]:
    return (character if character.isprintable() else " " for character in text)


@cache
def _dumper() -> "type[SafeDumper]":
    from yaml import SafeDumper

    class Dumper(SafeDumper):
        """Quotes every text that some reader might take for something else."""

        def ignore_aliases(self, _data: object) -> bool:
            """Write a value that appears twice, twice."""
            return True

    def represent(dumper: SafeDumper, text: str) -> "ScalarNode":
        is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS_WITH_MEANING
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, None if is_plain else '"')

    Dumper.add_representer(str, represent)
    return Dumper

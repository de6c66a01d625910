"""An experiment as manifests for Kubernetes and Chaos Mesh, from the same file as a local run.

    rendering = render(read_experiment(path), image="registry.example/offload:1")
    rendering.text     # YAML: a heading that says how to apply it, then one document after another
    rendering.notes    # what Kubernetes and Chaos Mesh cannot do of it, one line each

A machine becomes a Deployment (`machines`), its address the name of a Service. A direction of a
link becomes a NetworkChaos, and the schedule's changes of links a Workflow (`links`). What has no
such form is a note (`notes`), which stands in the heading, too (`text`). Nothing here talks to a
cluster: what is rendered is checked against a schema (`checking`), not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from offload.emulation.experiment import Experiment
from offload.emulation.rendering.checking import check
from offload.emulation.rendering.labels import Document
from offload.emulation.rendering.links import link_documents
from offload.emulation.rendering.machines import machine_documents
from offload.emulation.rendering.notes import notes_on
from offload.emulation.rendering.text import as_yaml, heading


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """An experiment as manifests.

    Attributes:
        documents: The manifests, in the order in which they are applied.
        notes: What of the experiment is not in them, one line each; also in the text.
        text: All of it, as one YAML file.
    """

    documents: Sequence[Document]
    notes: Sequence[str]
    text: str


def render(experiment: Experiment, *, image: str | None = None) -> Rendering:
    """Return the manifests of an experiment.

    Args:
        experiment: What to render.
        image: Container image of every machine that names none.

    Raises:
        ConfigurationError: A machine has no image, or something in the experiment has no place
            in a manifest; or the package that writes YAML is missing.
    """
    documents = [*machine_documents(experiment, image), *link_documents(experiment)]
    check(documents)
    notes = notes_on(experiment)
    text = as_yaml(heading(experiment, documents, notes), documents)
    return Rendering(documents=documents, notes=notes, text=text)

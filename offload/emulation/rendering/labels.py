"""How manifests are named and found: the namespace, labels, and the steps of applying them."""

import re
from collections.abc import Sequence
from typing import Any, Final

from offload.emulation.experiment import Experiment

# A manifest: tables, lists and plain values, as a YAML document holds them.
Document = dict[str, Any]

# Which machine a pod is. Pods have no other label that something here selects them by.
NAME_LABEL: Final = "app.kubernetes.io/name"

# Cloud, device or link; for whoever looks at the cluster.
COMPONENT_LABEL: Final = "app.kubernetes.io/component"

# When to apply a document: `kubectl apply -f FILE -l task-offload/step=1`.
STEP_LABEL: Final = "task-offload/step"

# The step of what Chaos Mesh does; those of machines are numbers.
LINK_STEP: Final = "links"

# An experiment may be called like a namespace of the cluster, and this one is deleted in the end.
_NAMESPACE_PREFIX: Final = "experiment-"

# Of an object's name in DNS.
_MAX_NAME_CHARACTERS: Final = 63


def namespace_of(experiment: Experiment) -> str:
    """Return the namespace that holds all of an experiment, and nothing else."""
    name = re.sub("[^a-z0-9]+", "-", experiment.name.lower()).strip("-")
    return f"{_NAMESPACE_PREFIX}{name}"[:_MAX_NAME_CHARACTERS].rstrip("-")


def start_orders(experiment: Experiment) -> Sequence[int]:
    """Return the machines' start orders, each once; the first is step 1, the next step 2."""
    return sorted({machine.start_order for machine in experiment.machines})

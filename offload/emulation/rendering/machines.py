"""Machines to manifests: a Namespace, and a Deployment and perhaps a Service for each.

    machine_documents(experiment, image=None)

Services are headless: their names stand for the address of the pod itself. Chaos Mesh knows a
target by that address, and would miss packets that are sent to the address of a usual Service.
"""

from collections.abc import Mapping
from math import ceil
from pathlib import PurePosixPath
from typing import Final

from offload.emulation.experiment import Experiment, Machine
from offload.emulation.files import placeholders
from offload.emulation.rendering.labels import (
    COMPONENT_LABEL,
    NAME_LABEL,
    STEP_LABEL,
    Document,
    namespace_of,
    start_orders,
)
from offload.errors import ConfigurationError

# Where {folder} is in a container. What is written there stays as long as the pod does.
FOLDER: Final = "/experiment"

# Images bring a Python of this name.
PYTHON: Final = "python3"

_FOLDER_VOLUME: Final = "folder"

# The others wait for a machine that is not ready yet, so it is asked as often as can be.
_PROBE_PERIOD_S: Final = 1

# Units of a number of bytes, the largest first.
_SIZES: Final = {"Gi": 1024**3, "Mi": 1024**2, "Ki": 1024}


def machine_documents(experiment: Experiment, image: str | None) -> list[Document]:
    """Return the namespace, then each machine's Service, if it has one, and Deployment.

    Args:
        experiment: Whose machines.
        image: Container image of every machine that names none.

    Raises:
        ConfigurationError: A machine has no image, or a folder that no pod can mount.
    """
    documents = [_namespace(experiment)]
    named = {name for machine in experiment.machines for name in machines_named_by(machine)}
    for machine in experiment.machines:
        if ports_of(machine) or machine.name in named:
            documents.append(_service(experiment, machine))
        documents.append(_deployment(experiment, machine, image))
    return documents


def ports_of(machine: Machine) -> tuple[int, ...]:
    """Return the TCP ports that others may connect to, each once."""
    ready = () if machine.ready.port is None else (machine.ready.port,)
    return tuple(dict.fromkeys((*machine.ports, *ready)))


def uses_folder(machine: Machine) -> bool:
    """Return whether a machine's program is told where to leave files."""
    return placeholders.FOLDER in _placeholders_of(machine)


def machines_named_by(machine: Machine) -> list[str]:
    """Return the names of the machines whose addresses a machine's program is told, each once."""
    return [name for name in _placeholders_of(machine) if name not in placeholders.RESERVED]


def _namespace(experiment: Experiment) -> Document:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": namespace_of(experiment),
            "labels": {STEP_LABEL: "1"},
            # Where Chaos Mesh is set up to leave alone what does not ask for it.
            "annotations": {"chaos-mesh.org/inject": "enabled"},
        },
    }


def _service(experiment: Experiment, machine: Machine) -> Document:
    spec: Document = {"clusterIP": "None", "selector": {NAME_LABEL: machine.name}}
    if ports_of(machine):
        spec["ports"] = [
            {"name": f"tcp-{port}", "port": port, "protocol": "TCP"} for port in ports_of(machine)
        ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(experiment, machine),
        "spec": spec,
    }


def _deployment(experiment: Experiment, machine: Machine, image: str | None) -> Document:
    pod: Document = {"containers": [_container(machine, image)]}
    if volumes := _volumes(machine):
        pod["volumes"] = volumes
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(experiment, machine),
        "spec": {
            "replicas": 1,
            # Two of a machine at a time are not that machine.
            "strategy": {"type": "Recreate"},
            "progressDeadlineSeconds": max(1, ceil(machine.ready.within_s)),
            "selector": {"matchLabels": {NAME_LABEL: machine.name}},
            "template": {
                "metadata": {
                    "labels": {NAME_LABEL: machine.name, COMPONENT_LABEL: machine.role.value}
                },
                "spec": pod,
            },
        },
    }


def _metadata(experiment: Experiment, machine: Machine) -> Document:
    step = start_orders(experiment).index(machine.start_order) + 1
    return {
        "name": machine.name,
        "namespace": namespace_of(experiment),
        "labels": {
            NAME_LABEL: machine.name,
            COMPONENT_LABEL: machine.role.value,
            STEP_LABEL: str(step),
        },
    }


def _container(machine: Machine, image: str | None) -> Document:
    program, *arguments = machine.command
    container: Document = {
        "name": "program",
        "image": _image(machine, image),
        "command": [_filled_in(program)],
    }
    if arguments:
        container["args"] = [_filled_in(word) for word in arguments]
    if machine.environment:
        container["env"] = [
            {"name": name, "value": _filled_in(text)} for name, text in machine.environment.items()
        ]
    if ports_of(machine):
        container["ports"] = [{"containerPort": port} for port in ports_of(machine)]
    if limits := _limits(machine):
        # As much as it may, neither less nor more: a machine does not lend what it leaves idle.
        container["resources"] = {"requests": dict(limits), "limits": limits}
    if machine.ready.port is not None:
        container["readinessProbe"] = {
            "tcpSocket": {"port": machine.ready.port},
            "periodSeconds": _PROBE_PERIOD_S,
        }
    if mounts := _volume_mounts(machine):
        container["volumeMounts"] = mounts
    return container


def _image(machine: Machine, image: str | None) -> str:
    found = machine.image or image
    if not found:
        raise ConfigurationError(
            f'machine {machine.name!r} has no image, expected image = "NAME" in its table, or '
            "--image NAME for all machines without one"
        )
    return found


def _filled_in(text: str) -> str:
    values: Mapping[str, str] = {
        # The name of a machine is the name of its Service.
        **{name: name for name in placeholders.names_in(text)},
        placeholders.FOLDER: FOLDER,
        placeholders.PYTHON: PYTHON,
    }
    # Kubernetes puts a variable's value in the place of $(NAME), and $$ is how to write $.
    return placeholders.fill_in(text, values).replace("$", "$$")


def _placeholders_of(machine: Machine) -> list[str]:
    texts = (*machine.command, *machine.environment.values())
    return list(dict.fromkeys(name for text in texts for name in placeholders.names_in(text)))


def _limits(machine: Machine) -> dict[str, str]:
    limits = {}
    if machine.cpu is not None:
        # Kubernetes counts in thousandths, and takes 0 for no limit.
        limits["cpu"] = f"{max(1, round(1000 * machine.cpu))}m"
    if machine.memory_bytes is not None:
        limits["memory"] = _size(machine.memory_bytes)
    return limits


def _size(number: int) -> str:
    for unit, unit_bytes in _SIZES.items():
        if number % unit_bytes == 0:
            return f"{number // unit_bytes}{unit}"
    return str(number)


def _volume_mounts(machine: Machine) -> list[Document]:
    mounts = [
        {"name": f"mount-{index}", "mountPath": _absolute(inside, machine)}
        for index, inside in enumerate(machine.mounts.values(), start=1)
    ]
    if uses_folder(machine):
        mounts.append({"name": _FOLDER_VOLUME, "mountPath": FOLDER})
    return mounts


def _volumes(machine: Machine) -> list[Document]:
    volumes: list[Document] = [
        {"name": f"mount-{index}", "hostPath": {"path": _absolute(folder, machine)}}
        for index, folder in enumerate(machine.mounts, start=1)
    ]
    if uses_folder(machine):
        volumes.append({"name": _FOLDER_VOLUME, "emptyDir": {}})
    return volumes


def _absolute(folder: str, machine: Machine) -> str:
    path = PurePosixPath(folder)
    if not path.is_absolute() or ".." in path.parts:
        raise ConfigurationError(
            f"machine {machine.name!r} mounts {folder!r}, expected a folder that starts with '/' "
            "and has no '..'"
        )
    return folder

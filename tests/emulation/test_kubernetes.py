"""Experiments as manifests for Kubernetes and Chaos Mesh: what is in them, and what they say.

No cluster runs them here. Kubernetes' own kinds are checked against its published schemas, Chaos
Mesh's against a schema of ours. After a change on purpose, make the golden files anew:

    python3 -m offload.emulation render examples/experiments/NAME.toml \\
        --image registry.example/task-offload:1 --output tests/golden/kubernetes/NAME.yaml

that of the older format from what `import --mbps-means mbit` makes of its file, and everything.yaml
from what is everything here.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from offload.emulation.cli import main
from offload.emulation.experiment import Experiment, Link, Machine, Quality, Readiness, Role
from offload.emulation.files.importing import import_file
from offload.emulation.files.older_units import Mbps
from offload.emulation.files.reading import experiment_of, read_experiment
from offload.emulation.rendering import Rendering, render
from offload.emulation.rendering.checking import check, schema
from offload.emulation.rendering.text import as_yaml
from offload.errors import ConfigurationError

ROOT: Final = Path(__file__).parent.parent.parent
EXAMPLES: Final = ROOT / "examples" / "experiments"
GOLDEN: Final = ROOT / "tests" / "golden" / "kubernetes"

# What the golden files were made with.
IMAGE: Final = "registry.example/task-offload:1"

# An old one that is still in use, and the newest that the package knows.
VERSIONS: Final = ("1.25", kubernetes_validate.latest_version())

# Something of everything that a file can say.
EVERYTHING: Final[Mapping[str, Any]] = {
    "version": 1,
    "name": "Everything.1",
    "description": "Two devices and a cloud;\nall that can be said is said.",
    "duration": "90s",
    "seed": 7,
    "machines": [
        {
            "name": "cloud",
            "role": "cloud",
            "command": ["{python}", "server.py", "--results", "sqlite:{folder}/results.db"],
            "environment": {"TOKEN": "1e3", "PRICE": "$(COST)"},
            "ready": {"port": 8089, "within": "20.5s"},
            "ports": [9090, 8089],
            "memory": "512MiB",
        },
        {
            "name": "edge",
            "role": "device",
            "command": "{python} relay.py --to {cloud} --on off",
            "ready": {"line": "ready: yes"},
            "image": "registry.example/edge:2",
            "cpu": 2,
        },
        {
            "name": "pi",
            "role": "device",
            "command": "{python} client.py --host {cloud}",
            "cpu": 0.15,
            "memory": "100000001B",
            "start_order": 5,
            "mounts": {"/data/videos": "/videos"},
        },
    ],
    "links": [
        {"name": "fibre", "between": ["cloud", "edge"]},
        {
            "name": "wifi",
            "between": ["pi", "edge"],
            "rate": "20Mbit",
            "delay": "1.5ms",
            "jitter": "250us",
            "loss": "0.5%",
            "loss_burst": 3,
            "to": {"pi": {"rate": "unlimited"}},
        },
        {"name": "cable", "between": ["pi", "cloud"], "rate": "1500kbit", "queue": "32KiB"},
    ],
    "schedule": [
        "at 30s: link wifi to edge rate 4Mbit",
        "at 40.5s: link wifi down",
        "at 50s: link wifi up rate unlimited delay 0ms jitter 0ms loss 0%",
        "at 60s: machine pi cpu 0.3",
    ],
}


def example_files() -> list[Path]:
    return sorted({*EXAMPLES.glob("*.toml"), *EXAMPLES.glob("*/user_config.json")})


def read_example(path: Path) -> Experiment:
    if path.suffix == ".toml":
        return read_experiment(path)
    return experiment_of(import_file(path, mbps_means=Mbps.MBIT).document)


def golden_name(path: Path) -> str:
    return f"{path.stem if path.suffix == '.toml' else path.parent.name}.yaml"


def all_renderings() -> Iterator[Rendering]:
    yield render(experiment_of(EVERYTHING), image=IMAGE)
    for path in example_files():
        yield render(read_example(path), image=IMAGE)


def device(name: str = "pi", *command: str, **changes: Any) -> Machine:
    machine = Machine(
        name=name,
        role=Role.DEVICE,
        command=command or ("run",),
        start_order=1,
        image=IMAGE,
    )
    return replace(machine, **changes)


def experiment(*machines: Machine, links: Sequence[Link] = (), **changes: Any) -> Experiment:
    made = Experiment(name="test", machines=machines, links=links, duration_s=60.0)
    return replace(made, **changes)


def two_machines(forward: Quality, backward: Quality | None = None) -> Experiment:
    link = Link(name="wifi", ends=("pi", "hub"), forward=forward, backward=backward or Quality())
    return experiment(device("pi"), device("hub"), links=[link])


def scheduled(*lines: str, **link: str) -> Experiment:
    machines = [{"name": name, "role": "device", "command": "run"} for name in ("pi", "hub")]
    links = [{"name": "wifi", "between": ["pi", "hub"], **link}]
    settings = {"version": 1, "name": "test", "duration": "60s"}
    return experiment_of(
        {**settings, "machines": machines, "links": links, "schedule": list(lines)}
    )


def of_kind(rendering: Rendering, kind: str) -> list[dict[str, Any]]:
    return [each for each in rendering.documents if each["kind"] == kind]


def container(machine: Machine) -> dict[str, Any]:
    (deployment,) = of_kind(render(experiment(machine)), "Deployment")
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def workflow(rendering: Rendering) -> dict[str, dict[str, Any]]:
    """Return the templates of the only Workflow, by their names."""
    (found,) = of_kind(rendering, "Workflow")
    return {template["name"]: template for template in found["spec"]["templates"]}


# The examples and everything at once


@pytest.mark.parametrize("path", example_files(), ids=golden_name)
def test_an_example_is_rendered_as_its_golden_file(path: Path) -> None:
    golden = GOLDEN / golden_name(path)
    assert render(read_example(path), image=IMAGE).text == golden.read_text(encoding="utf-8")


def test_everything_that_a_file_can_say_is_rendered_as_its_golden_file() -> None:
    golden = GOLDEN / "everything.yaml"
    rendering = render(experiment_of(EVERYTHING), image=IMAGE)
    assert rendering.text == golden.read_text(encoding="utf-8")


def test_there_is_no_golden_file_without_its_example() -> None:
    names = {"everything.yaml", *map(golden_name, example_files())}
    assert {path.name for path in GOLDEN.iterdir()} == names


@pytest.mark.parametrize("version", VERSIONS)
def test_kinds_of_kubernetes_itself_fit_its_schemas(version: str) -> None:
    for rendering in all_renderings():
        for document in rendering.documents:
            if document["kind"] in ("NetworkChaos", "Workflow"):
                continue
            kubernetes_validate.validate(document, version, strict=True)


def test_what_is_left_is_of_the_two_kinds_of_chaos_mesh_and_fits_our_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    validator = jsonschema.Draft202012Validator(schema())
    checked = 0
    for rendering in all_renderings():
        for document in rendering.documents:
            if document["kind"] not in ("Namespace", "Service", "Deployment"):
                validator.validate(document)
                checked += 1
    assert checked > 0


def test_each_end_of_a_network_chaos_is_exactly_one_machine() -> None:
    for rendering in all_renderings():
        pods = [
            (each["metadata"]["namespace"], each["spec"]["template"]["metadata"]["labels"])
            for each in of_kind(rendering, "Deployment")
        ]
        for chaos in network_chaos_specs(rendering):
            for selector in (chaos["selector"], chaos["target"]["selector"]):
                labels = selector["labelSelectors"].items()
                found = [pod for space, pod in pods if labels <= pod.items()]
                assert len(found) == 1
                assert selector["namespaces"] == [pods[0][0]]


def network_chaos_specs(rendering: Rendering) -> list[dict[str, Any]]:
    alone = [each["spec"] for each in of_kind(rendering, "NetworkChaos")]
    workflows = of_kind(rendering, "Workflow")
    templates = [each for found in workflows for each in found["spec"]["templates"]]
    return alone + [each["networkChaos"] for each in templates if "networkChaos" in each]


def test_each_document_belongs_to_one_step_that_the_heading_names() -> None:
    for rendering in all_renderings():
        steps = {each["metadata"]["labels"]["task-offload/step"] for each in rendering.documents}
        applied = [line for line in heading_lines(rendering) if "kubectl apply" in line]
        assert {line.rpartition("=")[2] for line in applied} == steps


def heading_lines(rendering: Rendering) -> list[str]:
    return [line for line in rendering.text.splitlines() if line.startswith("#")]


# Machines


def test_a_program_keeps_its_words_and_gets_the_names_of_services_for_addresses() -> None:
    machine = device("pi", "{python}", "client.py", "--host", "{pi}", "{folder}/a b", "{x y}")
    found = container(machine)
    assert found["command"] == ["python3"]
    assert found["args"] == ["client.py", "--host", "pi", "/experiment/a b", "{x y}"]


def test_the_environment_is_filled_in_alike() -> None:
    machine = device(environment={"HOST": "{pi}", "FILE": "{folder}/x"})
    assert container(machine)["env"] == [
        {"name": "HOST", "value": "pi"},
        {"name": "FILE", "value": "/experiment/x"},
    ]


def test_kubernetes_gives_back_dollars_as_they_were() -> None:
    machine = device("pi", "run", "$(HOST)", "$$", "5$", environment={"PRICE": "$(COST)"})
    found = container(machine)
    assert found["args"] == ["$$(HOST)", "$$$$", "5$$"]
    assert found["env"] == [{"name": "PRICE", "value": "$$(COST)"}]


@pytest.mark.parametrize(
    ("cpu", "memory_bytes", "limits"),
    [
        (0.15, None, {"cpu": "150m"}),
        (2.0, 512 * 1024**2, {"cpu": "2000m", "memory": "512Mi"}),
        (0.0001, 100_000_001, {"cpu": "1m", "memory": "100000001"}),
        (None, 2 * 1024**3, {"memory": "2Gi"}),
    ],
)
def test_limits_are_requested_and_not_passed(
    cpu: float | None, memory_bytes: int | None, limits: Mapping[str, str]
) -> None:
    found = container(device(cpu=cpu, memory_bytes=memory_bytes))
    assert found["resources"] == {"requests": limits, "limits": limits}


def test_a_machine_without_limits_has_no_resources() -> None:
    assert "resources" not in container(device())


def test_a_machine_is_ready_once_it_listens_on_its_port() -> None:
    machine = device(ready=Readiness(port=8089, within_s=20.5))
    assert container(machine)["readinessProbe"]["tcpSocket"] == {"port": 8089}
    (deployment,) = of_kind(render(experiment(machine)), "Deployment")
    assert deployment["spec"]["progressDeadlineSeconds"] == 21


def test_a_machine_without_image_is_named_with_what_to_add() -> None:
    with pytest.raises(ConfigurationError, match=r"machine 'pi' has no image, .*--image NAME"):
        render(experiment(device(image=None)))


def test_one_image_serves_all_machines_that_name_none() -> None:
    rendering = render(experiment(device(image=None), device("hub", image="other")), image="one")
    pods = [each["spec"]["template"]["spec"] for each in of_kind(rendering, "Deployment")]
    assert [pod["containers"][0]["image"] for pod in pods] == ["one", "other"]


def test_mounts_are_folders_of_the_node_and_files_live_as_long_as_the_pod() -> None:
    machine = device("pi", "run", "{folder}/x", mounts={"/data": "/videos"})
    (deployment,) = of_kind(render(experiment(machine)), "Deployment")
    assert deployment["spec"]["template"]["spec"]["volumes"] == [
        {"name": "mount-1", "hostPath": {"path": "/data"}},
        {"name": "folder", "emptyDir": {}},
    ]
    assert container(machine)["volumeMounts"] == [
        {"name": "mount-1", "mountPath": "/videos"},
        {"name": "folder", "mountPath": "/experiment"},
    ]


@pytest.mark.parametrize("mounts", [{"data": "/data"}, {"/a/../b": "/b"}, {"/data": "data"}])
def test_a_mount_that_kubernetes_refuses_is_an_error(mounts: Mapping[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"machine 'pi' mounts '.*expected a folder"):
        render(experiment(device(mounts=mounts)))


def test_a_machine_with_ports_has_a_service_that_stands_for_its_own_address() -> None:
    machine = device(ports=(9090,), ready=Readiness(port=8089))
    (service,) = of_kind(render(experiment(machine)), "Service")
    assert service["metadata"]["name"] == "pi"
    assert service["spec"]["clusterIP"] == "None"
    assert [port["port"] for port in service["spec"]["ports"]] == [9090, 8089]


def test_a_machine_that_another_names_has_a_service_even_without_a_port() -> None:
    rendering = render(experiment(device("pi", "run", "{hub}"), device("hub")))
    (service,) = of_kind(rendering, "Service")
    assert service["metadata"]["name"] == "hub"
    assert "ports" not in service["spec"]


def test_machines_are_applied_in_the_order_in_which_they_start() -> None:
    machines = [device("c", start_order=7), device("a", start_order=0), device("b", start_order=7)]
    found = of_kind(render(experiment(*machines)), "Deployment")
    steps = {
        each["metadata"]["name"]: each["metadata"]["labels"]["task-offload/step"] for each in found
    }
    assert steps == {"a": "1", "b": "2", "c": "2"}


@pytest.mark.parametrize(
    ("name", "namespace"),
    [
        ("wifi-drop", "experiment-wifi-drop"),
        ("Wifi_Drop.2", "experiment-wifi-drop-2"),
        ("a-", "experiment-a"),
        ("x" * 64, "experiment-" + "x" * 52),
        ("x" * 51 + ".cut", "experiment-" + "x" * 51),
        ("kube-system", "experiment-kube-system"),
    ],
)
def test_an_experiment_has_a_namespace_of_its_own(name: str, namespace: str) -> None:
    rendering = render(experiment(device(), name=name))
    (found,) = of_kind(rendering, "Namespace")
    assert found["metadata"]["name"] == namespace
    assert f"kubectl delete namespace {namespace}" in rendering.text


# Links


@pytest.mark.parametrize(
    ("quality", "figures"),
    [
        (
            Quality(delay_s=0.04, jitter_s=0.00025),
            {"action": "netem", "delay": {"latency": "40ms", "jitter": "250us"}},
        ),
        (Quality(loss=0.005), {"action": "netem", "loss": {"loss": "0.5"}}),
        (Quality(loss=1.0), {"action": "netem", "loss": {"loss": "100"}}),
        (
            Quality(rate_bit_s=2.5e6, delay_s=2.0),
            {"action": "netem", "delay": {"latency": "2s"}, "rate": {"rate": "2500kbit"}},
        ),
        (
            Quality(rate_bit_s=20e6, queue_bytes=32768),
            {
                "action": "bandwidth",
                "bandwidth": {"rate": "20mbit", "limit": 32768, "buffer": 25000},
            },
        ),
        (
            Quality(rate_bit_s=33_333.3),
            {
                "action": "bandwidth",
                "bandwidth": {"rate": "33333bit", "limit": 65536, "buffer": 3200},
            },
        ),
        (Quality(rate_bit_s=1e6, delay_s=1.0, loss=0.1, is_up=False), {"action": "partition"}),
    ],
)
def test_a_direction_becomes_one_network_chaos(
    quality: Quality, figures: Mapping[str, Any]
) -> None:
    (chaos,) = of_kind(render(two_machines(quality)), "NetworkChaos")
    ends = ("selector", "target", "mode", "direction", "duration")
    assert {key: value for key, value in chaos["spec"].items() if key not in ends} == figures
    assert chaos["spec"]["duration"] == "60s"


def test_each_direction_goes_from_its_source_to_its_target() -> None:
    rendering = render(two_machines(Quality(delay_s=0.1), Quality(delay_s=0.2)))
    found = {
        each["metadata"]["name"]: (
            each["spec"]["selector"]["labelSelectors"]["app.kubernetes.io/name"],
            each["spec"]["direction"],
            each["spec"]["target"]["selector"]["labelSelectors"]["app.kubernetes.io/name"],
            each["spec"]["delay"]["latency"],
        )
        for each in of_kind(rendering, "NetworkChaos")
    }
    assert found == {
        "wifi-to-hub": ("pi", "to", "hub", "100ms"),
        "wifi-to-pi": ("hub", "to", "pi", "200ms"),
    }


def test_a_link_that_does_nothing_needs_no_chaos_and_no_step() -> None:
    rendering = render(two_machines(Quality(loss_burst=2.0, queue_bytes=1000)))
    assert network_chaos_specs(rendering) == []
    assert "step=links" not in rendering.text


def test_the_phases_of_a_direction_that_changes_follow_each_other_in_a_workflow() -> None:
    lines = ["at 10s: link wifi to hub rate 4Mbit", "at 25.5s: link wifi up rate unlimited"]
    rendering = render(scheduled(*lines, rate="20Mbit"), image=IMAGE)
    templates = workflow(rendering)
    assert templates["wifi-to-hub"]["templateType"] == "Serial"
    phases = [templates[name] for name in templates["wifi-to-hub"]["children"]]
    assert [phase["templateType"] for phase in phases] == [
        "NetworkChaos",
        "NetworkChaos",
        "Suspend",
    ]
    assert [phase["deadline"] for phase in phases] == ["10s", "15500ms", "34500ms"]
    rates = [phase["networkChaos"]["bandwidth"]["rate"] for phase in phases[:2]]
    assert rates == ["20mbit", "4mbit"]


def test_all_directions_that_change_do_so_at_the_same_time() -> None:
    templates = workflow(render(scheduled("at 10s: link wifi down"), image=IMAGE))
    assert templates["changes"] == {
        "name": "changes",
        "templateType": "Parallel",
        "deadline": "60s",
        "children": ["wifi-to-hub", "wifi-to-pi"],
    }
    assert templates["wifi-to-pi.2"]["networkChaos"]["action"] == "partition"


def test_a_direction_that_does_not_change_is_in_no_workflow() -> None:
    lines = ["at 10s: link wifi to hub rate 4Mbit"]
    rendering = render(scheduled(*lines, rate="20Mbit"), image=IMAGE)
    assert workflow(rendering)["changes"]["children"] == ["wifi-to-hub"]
    assert [each["metadata"]["name"] for each in of_kind(rendering, "NetworkChaos")] == [
        "wifi-to-pi"
    ]


@pytest.mark.parametrize(
    "lines",
    [
        # What netem does not take makes no difference.
        ["at 10s: link wifi queue 64kB loss_burst 4"],
        ["at 10s: link wifi down", "at 10s: link wifi up"],
    ],
)
def test_a_change_that_makes_no_difference_makes_no_workflow(lines: Sequence[str]) -> None:
    rendering = render(scheduled(*lines, rate="20Mbit", loss="1%"), image=IMAGE)
    assert of_kind(rendering, "Workflow") == []
    assert len(of_kind(rendering, "NetworkChaos")) == 2


def test_a_change_at_the_very_start_leaves_no_phase_without_length() -> None:
    rendering = render(scheduled("at 0s: link wifi rate 4Mbit", rate="20Mbit"), image=IMAGE)
    rates = [each["bandwidth"]["rate"] for each in network_chaos_specs(rendering)]
    assert rates == ["4mbit", "4mbit"]


def test_two_directions_of_one_name_are_an_error() -> None:
    links = [
        Link(name=name, ends=ends, forward=Quality(loss=0.1), backward=Quality())
        for name, ends in (("x", ("a", "y-to-z")), ("x-to-y", ("a", "z")))
    ]
    machines = [device(name) for name in ("a", "z", "y-to-z")]
    with pytest.raises(ConfigurationError, match="two of the name NetworkChaos x-to-y-to-z"):
        render(experiment(*machines, links=links))


def test_a_figure_that_chaos_mesh_cannot_take_is_an_error_that_names_it() -> None:
    quality = Quality(rate_bit_s=1e9, queue_bytes=2**31)
    with pytest.raises(ConfigurationError, match=r"NetworkChaos wifi-to-hub: .*bandwidth\.limit"):
        render(two_machines(quality))


@pytest.mark.parametrize(
    "change",
    [
        {"action": "delay"},
        {"action": "bandwidth"},
        {"direction": "forth"},
        {"delay": {"latency": "0.5s"}},
        {"delay": {"latency": 40}},
        {"delay": {"jitter": "1ms"}},
        {"loss": {"loss": 0.5}},
        {"loss": {"loss": "0.5%"}},
        {"rate": {"rate": "20mbps"}},
        {"bandwidth": {"rate": "20mbit", "limit": 1, "buffer": 1}},
        {"latency": "40ms"},
        {"duration": 60},
    ],
)
def test_our_schema_refuses_what_chaos_mesh_would_not_take_as_meant(
    change: Mapping[str, Any],
) -> None:
    (chaos,) = of_kind(render(two_machines(Quality(delay_s=0.1))), "NetworkChaos")
    check([chaos])
    with pytest.raises(ConfigurationError, match="NetworkChaos wifi-to-hub: "):
        check([{**chaos, "spec": {**chaos["spec"], **change}}])


@pytest.mark.parametrize(
    "template",
    [
        {"name": "x", "templateType": "Suspend"},
        {"name": "X", "templateType": "Suspend", "deadline": "1s"},
        {"name": "x", "templateType": "Serial", "children": []},
        {"name": "x", "templateType": "NetworkChaos", "deadline": "1s"},
        {"name": "x", "templateType": "Wait", "deadline": "1s"},
    ],
)
def test_our_schema_refuses_a_template_that_chaos_mesh_would_refuse(
    template: Mapping[str, Any],
) -> None:
    rendering = render(scheduled("at 10s: link wifi down"), image=IMAGE)
    (found,) = of_kind(rendering, "Workflow")
    templates = [*found["spec"]["templates"], template]
    with pytest.raises(ConfigurationError, match="Workflow changes: "):
        check([{**found, "spec": {**found["spec"], "templates": templates}}])


def test_a_chaos_in_a_workflow_must_not_say_how_long() -> None:
    rendering = render(scheduled("at 10s: link wifi down", rate="1Mbit"), image=IMAGE)
    (found,) = of_kind(rendering, "Workflow")
    check([found])
    template = next(each for each in found["spec"]["templates"] if "networkChaos" in each)
    template["networkChaos"]["duration"] = "10s"
    with pytest.raises(ConfigurationError, match="Workflow changes: "):
        check([found])


# What cannot be said


@pytest.mark.parametrize(
    ("made", "note"),
    [
        (
            scheduled("at 20s: machine pi cpu 0.3"),
            r"left out: 'at 20s: machine pi cpu 0\.3' \(Chaos Mesh changes no limits",
        ),
        (
            two_machines(Quality(loss=0.01, loss_burst=4)),
            "loss of wifi: packets get lost one by one, not in bursts",
        ),
        (two_machines(Quality(loss=0.01)), "loss of wifi: other packets get lost each time"),
        (
            two_machines(Quality(rate_bit_s=1e6, delay_s=0.1)),
            "queue of wifi: 1000 packets, those on their way among them",
        ),
        (
            two_machines(Quality(delay_s=0.1, jitter_s=0.1)),
            "jitter of wifi: packets may overtake each other",
        ),
        (
            experiment(device(ready=Readiness(line="it's up"))),
            'machine pi: is ready as soon as it runs, not with its line "it\'s up"',
        ),
        (experiment(device(mounts={"/a": "/b"})), "mounts of pi: folders of the node"),
        (experiment(device("pi", "run", "{folder}")), "files of pi: what is written to /experi"),
        (
            experiment(device("pi", "run", "{hub}"), device("hub")),
            "machine pi: reaches hub without any link",
        ),
        (scheduled("at 20s: link wifi down"), "changes of links come up to some seconds late"),
        (two_machines(Quality(delay_s=0.1)), "links do nothing to packets before they are applied"),
    ],
)
def test_what_cannot_be_said_is_noted(made: Experiment, note: str) -> None:
    rendering = render(made, image=IMAGE)
    assert [line for line in rendering.notes if re.match(note, line)] != []


@pytest.mark.parametrize(
    ("quality", "topics"),
    [
        (Quality(), []),
        (Quality(delay_s=0.1), []),
        (Quality(rate_bit_s=1e6, queue_bytes=9000), []),
        (Quality(loss=0.1), ["loss"]),
        (Quality(rate_bit_s=1e6, delay_s=0.1, jitter_s=0.1), ["queue"]),
    ],
)
def test_nothing_is_noted_of_what_can_be_said(quality: Quality, topics: Sequence[str]) -> None:
    noted = [re.match("([a-z]+) of wifi:", note) for note in render(two_machines(quality)).notes]
    assert [found[1] for found in noted if found] == topics


@pytest.mark.parametrize(("devices", "is_too_many"), [(13, False), (14, True)])
def test_more_links_than_chaos_mesh_can_do_for_one_machine_are_noted(
    devices: int, is_too_many: bool
) -> None:
    names = [f"pi-{number}" for number in range(devices)]
    links = [
        Link(
            name=f"wifi-{number}",
            ends=(name, "hub"),
            forward=Quality(),
            backward=Quality(delay_s=0.1),
        )
        for number, name in enumerate(names)
    ]
    made = experiment(*map(device, ("hub", *names)), links=links)
    assert any(note.startswith("machine hub: has ") for note in render(made).notes) == is_too_many


def test_every_note_is_in_the_heading() -> None:
    rendering = render(experiment_of(EVERYTHING), image=IMAGE)
    text = " ".join(line.removeprefix("#").strip() for line in heading_lines(rendering))
    assert [note for note in rendering.notes if f"- {note}" not in text] == []


# The text


def test_the_text_holds_the_documents_and_nothing_else() -> None:
    for rendering in all_renderings():
        assert list(yaml.safe_load_all(rendering.text)) == rendering.documents


@given(text=st.text())
def test_any_text_survives(text: str) -> None:
    assert yaml.safe_load(as_yaml([], [{"text": text}])) == {"text": text}


@pytest.mark.parametrize(
    "text",
    # What Go's YAML, which kubectl reads with, takes for a number or a truth value if it is plain.
    [
        "1",
        "1e3",
        "0x1f",
        "0o17",
        "1_000",
        ".5",
        "12:30",
        "y",
        "N",
        "On",
        "null",
        "~",
        "",
        "=",
        "<<",
    ],
)
def test_what_some_reader_takes_for_no_text_is_quoted(text: str) -> None:
    assert as_yaml([], [{"text": text}]) == f'---\ntext: "{text}"\n'


@given(description=st.text())
def test_no_description_can_break_the_text(description: str) -> None:
    rendering = render(experiment(device(), description=description))
    assert list(yaml.safe_load_all(rendering.text)) == rendering.documents


def test_without_changes_the_heading_says_how_long_to_wait() -> None:
    lines = heading_lines(render(two_machines(Quality(delay_s=0.1))))
    assert "#   sleep 60" in lines
    assert not any("workflow/changes" in line for line in lines)


def test_the_heading_says_that_it_was_not_run() -> None:
    heading = heading_lines(render(experiment(device(), description="About\nthis.")))
    assert heading[:3] == [
        "# Experiment test for Kubernetes and Chaos Mesh 2.7 or later.",
        "# About this.",
        "# It was rendered from an experiment file and checked against schemas, not run.",
    ]


def test_the_command_writes_the_text_to_a_file_and_the_notes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "everything.json", tmp_path / "everything.yaml"
    file.write_text(json.dumps(EVERYTHING), encoding="utf-8")
    assert main(["render", str(file), "--image", IMAGE, "--output", str(output)]) == 0
    golden = (GOLDEN / "everything.yaml").read_text(encoding="utf-8")
    assert output.read_text(encoding="utf-8") == golden
    notes = render(read_experiment(file), image=IMAGE).notes
    assert capsys.readouterr() == ("", "".join(f"note: {note}\n" for note in notes))


def test_without_the_package_that_writes_yaml_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ConfigurationError, match=r"PyYAML, which is missing: "):
        render(experiment(device()))

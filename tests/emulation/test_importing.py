"""Experiments of the older form: what they become, and what is said of the rest."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from offload.emulation.experiment import Experiment, Quality, Readiness, Role
from offload.emulation.files.importing import Imported, import_document, import_file
from offload.emulation.files.older_units import Mbps, cores, rate_text, size_text
from offload.emulation.files.reading import experiment_of, read_experiment
from offload.errors import ConfigurationError

OLDER: dict[str, Any] = {
    "machines": [
        {
            "name": "server",
            "category": "server",
            "image": "tasks:1",
            "command": ["python3"],
            "args": ["server.py", "--port", 8089],
            "port": 8089,
            "resources": {"limits": {"cpu": "1", "memory": "1Gi"}},
            "volumeMounts": [{"hostPath": "/srv", "mountPath": "/data"}],
        },
        {
            "name": "client",
            "category": "client",
            "image": "tasks:1",
            "command": "/bin/client --quiet",
            "args": ["--host={}", "--rate", "30"],
            "resources": {"limits": {"cpu": "150m", "memory": "512Mi"}},
        },
    ],
    "connections": [
        {"node1": "client", "node2": "server", "bandwidth": "20Mbit", "latency": "200ms"}
    ],
}


def older(**changes: Any) -> dict[str, Any]:
    """Return a document of the older form with other values for some keys."""
    return {**copy.deepcopy(OLDER), **changes}


def with_client(**settings: Any) -> dict[str, Any]:
    """Return the document with other settings of its client."""
    changed = older()
    changed["machines"][1] |= settings
    return changed


def imported(document: object, mbps_means: Mbps | None = None) -> Imported:
    return import_document(document, name="user_config", mbps_means=mbps_means)


def experiment(document: object, mbps_means: Mbps | None = None) -> Experiment:
    return experiment_of(imported(document, mbps_means).document)


def error_of(document: object, mbps_means: Mbps | None = None) -> str:
    with pytest.raises(ConfigurationError) as raised:
        experiment(document, mbps_means)
    return str(raised.value)


def test_machines_keep_what_they_run_and_may_use() -> None:
    found = experiment(older())
    server, client = found.machines
    assert (server.name, server.role) == ("server", Role.CLOUD)
    assert server.command == ("{python}", "server.py", "--port", "8089")
    assert (server.ports, server.ready) == ((8089,), Readiness(port=8089))
    assert (server.cpu, server.memory_bytes) == (1.0, 1024**3)
    assert (server.image, server.mounts) == ("tasks:1", {"/srv": "/data"})
    assert (client.name, client.role) == ("client", Role.DEVICE)
    assert client.command == ("/bin/client", "--quiet", "--host={server}", "--rate", "30")
    assert (client.cpu, client.memory_bytes) == (0.15, 512 * 1024**2)


def test_a_connection_becomes_a_link() -> None:
    (link,) = experiment(older()).links
    assert link.ends == ("client", "server")
    assert link.forward == link.backward == Quality(rate_bit_s=20e6, delay_s=0.2)


@pytest.mark.parametrize(
    ("direction", "forward", "backward"),
    [
        ("to", Quality(rate_bit_s=20e6, delay_s=0.2), Quality()),
        ("from", Quality(), Quality(rate_bit_s=20e6, delay_s=0.2)),
        ("both", *(2 * [Quality(rate_bit_s=20e6, delay_s=0.2)])),
    ],
)
def test_a_direction_counts_from_the_first_node(
    direction: str, forward: Quality, backward: Quality
) -> None:
    connections = [{**OLDER["connections"][0], "direction": direction}]
    (link,) = experiment(older(connections=connections)).links
    assert (link.forward, link.backward) == (forward, backward)


def test_connections_of_a_pair_in_both_directions_become_one_link() -> None:
    connections = [
        {"node1": "client", "node2": "server", "direction": "to", "bandwidth": "20Mbit"},
        {"node1": "server", "node2": "client", "direction": "to", "bandwidth": "50Mbit"},
        {"node1": "server", "node2": "client", "direction": "both", "latency": "5ms"},
    ]
    (link,) = experiment(older(connections=connections)).links
    assert link.ends == ("client", "server")
    assert link.forward == Quality(rate_bit_s=20e6, delay_s=0.005)
    assert link.backward == Quality(rate_bit_s=50e6, delay_s=0.005)


def test_connections_that_do_not_agree_are_refused() -> None:
    connections = [
        {"node1": "client", "node2": "server", "direction": "both", "bandwidth": "20Mbit"},
        {"node1": "server", "node2": "client", "direction": "from", "bandwidth": "50Mbit"},
    ]
    assert error_of(older(connections=connections)) == (
        "connections[1].bandwidth: 50Mbit to 'server', but connections[0].bandwidth says 20Mbit"
    )


def test_several_clients_have_a_link_each_to_one_server() -> None:
    document = older()
    second = {**document["machines"][1], "name": "second"}
    document["machines"].append(second)
    document["connections"].append({"node1": "server", "node2": "second", "latency": "1ms"})
    found = experiment(document)
    assert [link.ends for link in found.links] == [("client", "server"), ("server", "second")]
    assert found.machine("second").command == found.machine("client").command


def test_a_client_without_a_connection_reaches_the_server_as_it_did() -> None:
    result = imported(older(connections=[]))
    (link,) = experiment_of(result.document).links
    assert (link.ends, link.forward) == (("client", "server"), Quality())
    assert "machines[1]: no connection to the server that it calls, got a link without limits" in (
        result.notes
    )


def test_of_two_servers_the_connected_one_is_called() -> None:
    document = older()
    document["machines"].insert(0, {"name": "other", "category": "server", "command": "x"})
    assert "--host={server}" in experiment(document).machine("client").command


def test_of_two_servers_without_a_connection_neither_is_guessed() -> None:
    document = older(connections=[])
    document["machines"].insert(0, {"name": "other", "category": "server", "command": "x"})
    assert error_of(document).startswith(
        "machines[2].args: {} is the server's address, but there are 2 servers"
    )


def test_a_client_alone_has_no_server_to_call() -> None:
    document = older(machines=OLDER["machines"][1:], connections=[])
    assert "there are 0 servers" in error_of(document)


def test_mbps_is_refused_until_somebody_says_what_it_means() -> None:
    connections = [{"node1": "client", "node2": "server", "bandwidth": "100mbps"}]
    assert error_of(older(connections=connections)) == (
        "connections[0].bandwidth: '100mbps' may mean bits or, as tc reads it, bytes per second; "
        "say which: --mbps-means mbit or --mbps-means mbyte"
    )


@pytest.mark.parametrize(("mbps_means", "bit_s"), [(Mbps.MBIT, 100e6), (Mbps.MBYTE, 800e6)])
def test_mbps_means_what_was_said(mbps_means: Mbps, bit_s: float) -> None:
    connections = [{"node1": "client", "node2": "server", "bandwidth": "100mbps"}]
    (link,) = experiment(older(connections=connections), mbps_means).links
    assert link.forward.rate_bit_s == bit_s


def test_a_request_counts_where_there_is_no_limit_and_a_note_says_so() -> None:
    resources = {"requests": {"cpu": "150m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}}
    result = imported(with_client(resources=resources))
    client = experiment_of(result.document).machine("client")
    assert (client.cpu, client.memory_bytes) == (0.15, 2 * 1024**3)
    place = "machines[1].resources.requests"
    assert f"{place}.cpu: taken for the limit, there is no other" in result.notes
    assert f"{place}.memory: not taken over, the limit counts" in result.notes


def test_what_is_not_taken_over_is_named() -> None:
    document = older(version="0.1")
    document["machines"][1]["replicas"] = 2
    document["machines"][1]["volumeMounts"] = [{"name": "videos", "mountPath": "/videos"}]
    document["machines"][1]["resources"]["limits"]["gpu"] = 1
    document["connections"][0]["loss"] = "1"
    assert [note for note in imported(document).notes if "not taken over" in note] == [
        "machines[1].resources.limits.gpu: not taken over",
        "machines[1].replicas: not taken over",
        "machines[1].volumeMounts[0].name: not taken over",
        "connections[0].loss: not taken over",
        "version: not taken over",
        "machines[1].volumeMounts[0]: not taken over, it names no hostPath",
    ]


def test_what_means_something_else_now_is_named() -> None:
    assert imported(older()).notes == (
        "machines[0].command: 'python3' became the Python that runs the experiment",
        "duration: the older form has none, took 60s",
    )


def test_names_that_the_new_form_does_not_allow_are_changed_everywhere() -> None:
    document = older()
    document["machines"][0]["name"] = "Cloud_Server"
    document["machines"][1]["name"] = "1st"
    document["connections"][0] |= {"node1": "1st", "node2": "Cloud_Server"}
    result = imported(document)
    found = experiment_of(result.document)
    assert found.links[0].ends == ("m-1st", "cloud-server")
    assert "--host={cloud-server}" in found.machine("m-1st").command
    assert "machines[0].name: 'Cloud_Server' became 'cloud-server'" in result.notes


def test_names_that_become_the_same_are_refused() -> None:
    document = older()
    document["machines"][1]["name"] = "Server"
    assert error_of(document) == (
        "machines[1].name: 'Server' is, as 'server', the name of another machine, too"
    )


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "found a list of 0, expected a table with machines"),
        ({}, "'machines' is missing, expected a list of 1 to 250 machines"),
        (older(machines=[]), "machines: found a list of 0, expected a list of 1 to 250"),
        (with_client(category="edge"), "machines[1].category: found 'edge', expected \"server\""),
        (with_client(command=None), "machines[1].command: found null, expected a list of words"),
        (
            with_client(command=[], args=[]),
            "machines[1].command: found a list of 0, expected what it",
        ),
        (with_client(command="a 'b"), "machines[1].command: no closing quotation"),
        (with_client(port=0), "machines[1].port: found 0, expected a port"),
        (
            with_client(resources={"limits": {"cpu": "fast"}}),
            "machines[1].resources.limits.cpu: 'fast' is not cores as Kubernetes has them",
        ),
        (
            with_client(resources={"limits": {"memory": "512MB"}}),
            "machines[1].resources.limits.memory: '512MB' is not a size as Kubernetes has it",
        ),
        (
            older(connections=[{"node1": "client", "node2": "sever"}]),
            "connections[0].node2: unknown machine 'sever'; did you mean 'server'?",
        ),
        (
            older(connections=[{"node1": "client", "node2": "client"}]),
            "connections[0]: 'client' twice, expected two machines",
        ),
        (
            older(connections=[{"node1": "client", "node2": "server", "direction": "up"}]),
            "connections[0].direction: found 'up', expected \"to\"",
        ),
        (
            older(connections=[{"node1": "client", "node2": "server", "latency": "200"}]),
            "connections[0].latency: '200' has no unit",
        ),
        (
            older(connections=[{"node1": "client", "node2": "server", "bandwidth": "fast"}]),
            "connections[0].bandwidth: 'fast' is not a rate",
        ),
        (with_client(args="{clud}"), "machines[1].command[2]: unknown {clud}; expected one of"),
    ],
)
def test_a_wrong_document_is_one_line_that_names_the_key(document: object, said: str) -> None:
    assert error_of(document).startswith(said)


def test_a_file_is_named_in_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "user_config.json"
    path.write_text('{"machines": [}')
    with pytest.raises(ConfigurationError) as raised:
        import_file(path, mbps_means=None)
    assert str(raised.value) == f"{path}: expecting value (at line 1, column 15)"


def test_what_is_imported_is_a_file_of_the_new_form(tmp_path: Path) -> None:
    (tmp_path / "user_config.json").write_text(json.dumps(OLDER))
    result = import_file(tmp_path / "user_config.json", mbps_means=None)
    (tmp_path / "new.json").write_text(result.text())
    assert read_experiment(tmp_path / "new.json") == experiment_of(result.document)
    assert experiment_of(result.document).name == "user_config"


@pytest.mark.parametrize(
    ("quantity", "number"), [("150m", 0.15), ("2", 2.0), ("0.5", 0.5), (1, 1.0), (0.25, 0.25)]
)
def test_kubernetes_cores_are_cores(quantity: str | float, number: float) -> None:
    assert cores(quantity) == number


@pytest.mark.parametrize(
    ("quantity", "text"),
    [
        *(("512Mi", "512MiB"), ("1Gi", "1GiB"), ("1024Mi", "1GiB"), ("1.5Gi", "1536MiB")),
        *(("500M", "500MB"), ("64k", "64kB"), ("128974848", "123MiB"), (1000001, "1000001B")),
        *(("2Ti", "2048GiB"), ("1T", "1000GB")),
    ],
)
def test_kubernetes_sizes_are_said_shortly_and_exactly(quantity: str | float, text: str) -> None:
    assert size_text(quantity) == text


@pytest.mark.parametrize(
    ("bandwidth", "mbps_means", "text"),
    [
        ("100mbps", Mbps.MBIT, "100Mbit"),
        ("100Mbps", Mbps.MBYTE, "100MB/s"),
        ("1gbps", Mbps.MBIT, "1Gbit"),
        ("800kbps", Mbps.MBIT, "800kbit"),
        ("5bps", Mbps.MBYTE, "5B/s"),
        ("20Mbit", None, "20Mbit"),
    ],
)
def test_bandwidths_are_said_without_doubt(
    bandwidth: str, mbps_means: Mbps | None, text: str
) -> None:
    assert rate_text(bandwidth, mbps_means=mbps_means) == text

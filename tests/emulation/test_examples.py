"""The example experiments: each can be read, and runs our programs as they want to be run."""

from pathlib import Path
from typing import Final

import pytest

from offload.auth import load_server_tokens
from offload.cloud import options as cloud_options
from offload.device import options as device_options
from offload.emulation.experiment import Experiment, LinkChange, Machine, MachineChange, Role
from offload.emulation.files.importing import import_file
from offload.emulation.files.older_units import Mbps
from offload.emulation.files.placeholders import fill_in
from offload.emulation.files.reading import experiment_of, read_experiment
from offload.errors import ConfigurationError
from tests.integration.programs import ROOT, read_results, run_client

FOLDER: Final = ROOT / "examples" / "experiments"
FILES: Final = sorted(FOLDER.glob("*.toml"))
OLDER: Final = FOLDER / "older-format" / "user_config.json"

EXPERIMENTS: Final = [
    *(read_experiment(file) for file in FILES),
    experiment_of(import_file(OLDER, mbps_means=Mbps.MBIT).document),
]

each_experiment = pytest.mark.parametrize(
    "experiment", EXPERIMENTS, ids=[each.name for each in EXPERIMENTS]
)


def named(name: str) -> Experiment:
    return next(each for each in EXPERIMENTS if each.name == name)


def arguments_of(machine: Machine, experiment: Experiment) -> list[str]:
    """Return a machine's command as its program gets it."""
    values = {each.name: "10.0.0.1" for each in experiment.machines}
    values |= {"python": "python3", "folder": "run"}
    return [fill_in(word, values) for word in machine.command]


def test_the_examples_are_those_that_the_documents_speak_of() -> None:
    names = [each.name for each in EXPERIMENTS]
    assert names == ["cpu-step", "four-devices", "outage", "wifi-drop", "user_config"]
    assert [f"{file.stem}" for file in FILES] == names[:-1]


@each_experiment
def test_an_example_takes_a_minute_or_two(experiment: Experiment) -> None:
    assert 60 <= experiment.duration_s <= 120


@each_experiment
def test_a_machine_of_an_example_runs_a_program_of_ours_with_options_that_it_has(
    experiment: Experiment,
) -> None:
    for machine in experiment.machines:
        python, script, *arguments = arguments_of(machine, experiment)
        assert python == "python3"
        if machine.role is Role.CLOUD:
            assert script == "cloud_server_coordinator.py"
            cloud = cloud_options.parse(arguments, machine.environment)
            assert cloud.port == machine.ready.port
        else:
            assert script == "iot_client_coordinator.py"
            device = device_options.parse(arguments, machine.environment)
            assert [server.host for server in device.servers] == ["10.0.0.1"]


@pytest.mark.parametrize("experiment", EXPERIMENTS[:-1], ids=[file.stem for file in FILES])
def test_both_ends_of_an_example_know_one_token(experiment: Experiment) -> None:
    tokens = [load_server_tokens(None, each.environment) for each in experiment.machines]
    assert all(each.tokens == tokens[0].tokens for each in tokens)
    assert all(each.path is None for each in tokens)


def test_wifi_drops_to_a_fifth_and_comes_back() -> None:
    experiment = named("wifi-drop")
    rates = [
        change.forward.rate_bit_s
        for change in experiment.changes
        if isinstance(change, LinkChange) and change.forward == change.backward
    ]
    assert experiment.links[0].forward.rate_bit_s == 20e6
    assert rates == [4e6, 20e6]


def test_the_outage_takes_30_seconds_and_comes_with_and_without_a_spool() -> None:
    experiment = named("outage")
    changes = [each for each in experiment.changes if isinstance(each, LinkChange)]
    ups = {(each.at_s, each.link): each.forward.is_up for each in changes}
    links = [each.name for each in experiment.links]
    assert ups == {(at_s, link): at_s == 60 for link in links for at_s in (30.0, 60.0)}
    assert ["--spool" in each.command for each in experiment.machines] == [False, True, False]


def test_the_cpu_goes_down_in_steps_and_up_again() -> None:
    experiment = named("cpu-step")
    steps = [each.cpu for each in experiment.changes if isinstance(each, MachineChange)]
    assert [experiment.machine("pi").cpu, *steps] == [0.3, 0.15, 0.1, 0.3]


def test_the_four_devices_are_of_four_kinds_on_four_kinds_of_links() -> None:
    experiment = named("four-devices")
    devices = [each.kind for each in experiment.machines if each.role is Role.DEVICE]
    assert len(set(devices)) == len(set(each.kind for each in experiment.links)) == 4
    assert None not in devices


def test_the_older_example_needs_to_be_told_what_mbps_means() -> None:
    with pytest.raises(ConfigurationError, match="--mbps-means mbit or --mbps-means mbyte"):
        import_file(OLDER, mbps_means=None)


def test_both_clients_of_the_older_example_call_one_server() -> None:
    experiment = named("user_config")
    assert [each.role for each in experiment.machines] == [Role.CLOUD, Role.DEVICE, Role.DEVICE]
    assert all("{server}" in each.command for each in experiment.machines[1:])
    assert [each.ends[1] for each in experiment.links] == ["server", "server"]


@pytest.mark.integration
def test_the_gauge_is_read_as_it_was_drawn(tmp_path: Path) -> None:
    results = f"sqlite:{tmp_path / 'results.db'}"
    options = ["--app", "examples.experiments.gauge", "--frames", "20", "--stream", "gauge"]
    ended = run_client(ROOT, *options, "--results", results)
    assert ended.code == 0, ended.err
    readings = read_results(tmp_path / "results.db", "gauge")
    assert sorted(readings) == list(range(20))
    last = readings[19]
    assert isinstance(last, dict)
    # 150 + 100 sin(19 / 40) degrees, and the needle is drawn to whole pixels.
    assert last["degrees"] == pytest.approx(195.7, abs=1.5)
    assert last["highest"] == last["degrees"]

"""Experiment files: what they become, and the one line that a wrong one gives."""

import copy
import json
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from offload.emulation.experiment import (
    Experiment,
    LinkChange,
    Machine,
    MachineChange,
    Quality,
    Readiness,
    Role,
)
from offload.emulation.files import checking
from offload.emulation.files.checking import OLDER_SCHEMA, SCHEMA, schema
from offload.emulation.files.reading import MAX_FILE_BYTES, experiment_of, read_experiment
from offload.errors import ConfigurationError

TOML = """\
version = 1
name = "try"
description = "What it shows."
duration = "90s"
seed = 7
collect_every = "500ms"
probes = false
schedule = ["at 30s: link wifi rate 4Mbit"]

[[machines]]
name = "cloud"
role = "cloud"
command = "{python} server.py --folder '{folder}'"
ready = { port = 8089, within = "30s" }

[[machines]]
name = "pi"
role = "device"
command = ["{python}", "client.py", "--host", "{cloud}"]
environment = { HOME_OF = "{cloud}:{folder}" }
cpu = 0.15
memory = "256MiB"
image = "tasks:1"
ports = [9000]
mounts = { "/srv" = "/videos" }

[[links]]
name = "wifi"
between = ["pi", "cloud"]
rate = "20Mbit"
delay = "5ms"
jitter = "2ms"
loss = "1%"
loss_burst = 4
queue = "64kB"
"""


def document(**changes: Any) -> dict[str, Any]:
    """Return a small document that is right, with other values for some keys."""
    return {
        "version": 1,
        "name": "try",
        "duration": "90s",
        "machines": [
            {"name": "cloud", "role": "cloud", "command": "server"},
            {"name": "pi", "role": "device", "command": "client {cloud}"},
        ],
        "links": [{"name": "wifi", "between": ["pi", "cloud"], "rate": "20Mbit"}],
        **changes,
    }


def with_machine(**settings: Any) -> dict[str, Any]:
    """Return the document with other settings of its second machine."""
    changed = document()
    changed["machines"][1] |= settings
    return changed


def with_link(**settings: Any) -> dict[str, Any]:
    """Return the document with other settings of its link."""
    changed = document()
    changed["links"][0] |= settings
    return changed


def with_schedule(*lines: str) -> dict[str, Any]:
    """Return the document with a schedule."""
    return document(schedule=list(lines))


def pi_of(experiment: Experiment) -> Machine:
    return experiment.machine("pi")


def to_cloud(experiment: Experiment) -> Quality:
    return experiment.links[0].quality_to("cloud")


def to_pi(experiment: Experiment) -> Quality:
    return experiment.links[0].quality_to("pi")


def write(folder: Path, content: str | bytes, name: str = "try.toml") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def error_of(wrong: object) -> str:
    """Return what is said of a wrong document."""
    with pytest.raises(ConfigurationError) as raised:
        experiment_of(wrong)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def error_of_file(path: Path) -> str:
    """Return what is said of a wrong file, after its name."""
    with pytest.raises(ConfigurationError) as raised:
        read_experiment(path)
    name, _, said = str(raised.value).partition(": ")
    assert name == str(path)
    assert "\n" not in said
    return said


# What a file becomes


def test_a_file_becomes_an_experiment_with_all_that_it_says(tmp_path: Path) -> None:
    experiment = read_experiment(write(tmp_path, TOML))
    wifi = Quality(
        rate_bit_s=20e6,
        delay_s=0.005,
        jitter_s=0.002,
        loss=0.01,
        loss_burst=4.0,
        queue_bytes=64_000,
    )
    assert (experiment.name, experiment.description) == ("try", "What it shows.")
    assert (experiment.duration_s, experiment.seed) == (90.0, 7)
    assert (experiment.collect_every_s, experiment.probes) == (0.5, False)
    assert experiment.machine("cloud") == Machine(
        name="cloud",
        role=Role.CLOUD,
        command=("{python}", "server.py", "--folder", "{folder}"),
        start_order=0,
        ready=Readiness(port=8089, within_s=30.0),
    )
    assert pi_of(experiment) == Machine(
        name="pi",
        role=Role.DEVICE,
        command=("{python}", "client.py", "--host", "{cloud}"),
        environment={"HOME_OF": "{cloud}:{folder}"},
        cpu=0.15,
        memory_bytes=256 * 1024**2,
        start_order=1,
        image="tasks:1",
        ports=(9000,),
        mounts={"/srv": "/videos"},
    )
    (link,) = experiment.links
    assert (link.name, link.ends) == ("wifi", ("pi", "cloud"))
    assert link.forward == link.backward == wifi


def test_toml_and_json_say_the_same(tmp_path: Path) -> None:
    as_json = write(tmp_path, json.dumps(document()), "try.json")
    as_toml = write(
        tmp_path,
        """\
        version = 1
        name = "try"
        duration = "90s"
        machines = [
            { name = "cloud", role = "cloud", command = "server" },
            { name = "pi", role = "device", command = "client {cloud}" },
        ]
        links = [{ name = "wifi", between = ["pi", "cloud"], rate = "20Mbit" }]
        """,
    )
    assert read_experiment(as_json) == read_experiment(as_toml) == experiment_of(document())


def test_what_is_left_out_has_a_default() -> None:
    experiment = experiment_of(document())
    assert (experiment.description, experiment.seed) == ("", 0)
    assert (experiment.collect_every_s, experiment.probes) == (1.0, True)
    assert experiment.changes == ()
    pi = pi_of(experiment)
    assert (pi.cpu, pi.memory_bytes, pi.kind, pi.ready) == (None, None, None, Readiness())
    assert to_cloud(experiment) == Quality(rate_bit_s=20e6)


def test_machines_are_in_the_order_in_which_they_start() -> None:
    machines = [
        {"name": "late", "role": "cloud", "command": "x", "start_order": 2},
        {"name": "device", "role": "device", "command": "x"},
        {"name": "cloud", "role": "cloud", "command": "x"},
        {"name": "other", "role": "device", "command": "x"},
    ]
    experiment = experiment_of(document(machines=machines, links=[]))
    started = [(machine.name, machine.start_order) for machine in experiment.machines]
    assert started == [("cloud", 0), ("device", 1), ("other", 1), ("late", 2)]


def test_one_direction_may_be_set_alone() -> None:
    experiment = experiment_of(with_link(to={"cloud": {"rate": "5Mbit", "delay": "40ms"}}))
    assert to_cloud(experiment) == Quality(rate_bit_s=5e6, delay_s=0.04)
    assert to_pi(experiment) == Quality(rate_bit_s=20e6)


def test_a_kind_gives_what_is_not_set() -> None:
    experiment = experiment_of(with_machine(kind="pi-4", cpu=0.15))
    assert (pi_of(experiment).kind, pi_of(experiment).cpu) == ("pi-4", 0.15)
    assert pi_of(experiment).memory_bytes == 4 * 1024**3
    experiment = experiment_of(with_machine(kind="pi-4", memory="unlimited"))
    assert (pi_of(experiment).cpu, pi_of(experiment).memory_bytes) == (0.26, None)


@pytest.mark.parametrize("between", [["pi", "cloud"], ["cloud", "pi"]])
def test_a_kind_of_link_knows_which_end_is_the_device(between: list[str]) -> None:
    link = {"name": "lte", "between": between, "kind": "lte", "to": {"pi": {"delay": "80ms"}}}
    experiment = experiment_of(document(links=[link]))
    assert to_cloud(experiment) == Quality(rate_bit_s=7.6e6, delay_s=0.011)
    assert to_pi(experiment) == Quality(rate_bit_s=29.5e6, delay_s=0.08)
    assert experiment.links[0].kind == "lte"


def test_between_two_machines_of_a_role_a_kind_takes_the_first_for_the_device() -> None:
    changed = with_machine(role="cloud")
    changed["links"][0] = {"name": "lte", "between": ["pi", "cloud"], "kind": "lte"}
    assert to_cloud(experiment_of(changed)).rate_bit_s == 7.6e6


def test_a_rate_may_be_unlimited() -> None:
    assert to_cloud(experiment_of(with_link(rate="unlimited"))).rate_bit_s is None


def test_a_machine_may_be_reached_over_another_one() -> None:
    changed = document()
    changed["machines"].append({"name": "far", "role": "device", "command": "client {cloud}"})
    changed["links"].append({"name": "mesh", "between": ["far", "pi"]})
    assert len(experiment_of(changed).links) == 2


@pytest.mark.parametrize("word", ['{"a": {}}', "{ print }", "{}", "$NAME", "a{b c}d"])
def test_braces_without_a_plain_name_in_them_are_left_alone(word: str) -> None:
    assert pi_of(experiment_of(with_machine(command=["tool", word]))).command == ("tool", word)


# The schedule


def test_each_change_states_all_that_holds_from_then_on() -> None:
    experiment = experiment_of(
        with_schedule(
            "at 30s: link wifi rate 4Mbit",
            "at 40s: link wifi to cloud delay 80ms loss 2% loss_burst 3",
            "at 50s: link wifi down",
            "at 60s: link wifi up rate unlimited",
        )
    )
    found = [
        (change.at_s, change.forward, change.backward)
        for change in experiment.changes
        if isinstance(change, LinkChange)
    ]
    slow = Quality(rate_bit_s=4e6)
    lossy = Quality(rate_bit_s=4e6, delay_s=0.08, loss=0.02, loss_burst=3.0)
    down = Quality(rate_bit_s=4e6, is_up=False)
    lossy_down = Quality(rate_bit_s=4e6, delay_s=0.08, loss=0.02, loss_burst=3.0, is_up=False)
    assert found == [
        (30.0, slow, slow),
        (40.0, lossy, slow),
        (50.0, lossy_down, down),
        (60.0, Quality(delay_s=0.08, loss=0.02, loss_burst=3.0), Quality()),
    ]
    assert experiment.changes[0].text == "at 30s: link wifi rate 4Mbit"


def test_changes_are_in_the_order_of_their_times_whatever_that_of_the_lines() -> None:
    experiment = experiment_of(
        with_schedule(
            "at 1min: link wifi delay 10ms",
            "at 500ms: link wifi rate 4Mbit",
            "at 60s: link wifi delay 20ms",
        )
    )
    assert [change.at_s for change in experiment.changes] == [0.5, 60.0, 60.0]
    last = experiment.changes[-1]
    assert isinstance(last, LinkChange)
    assert last.forward == Quality(rate_bit_s=4e6, delay_s=0.02)


def test_a_machine_keeps_the_limit_that_a_change_does_not_name() -> None:
    changed = with_machine(cpu=0.15, memory="256MiB")
    changed["schedule"] = [
        "at 10s: machine pi cpu 0.3",
        "at 20s: machine pi memory 512MiB",
        "at 30s: machine pi cpu unlimited memory unlimited",
        "at 40s: machine pi kind pi-4",
    ]
    found = [
        (change.cpu, change.memory_bytes)
        for change in experiment_of(changed).changes
        if isinstance(change, MachineChange)
    ]
    assert found == [
        (0.3, 256 * 1024**2),
        (0.3, 512 * 1024**2),
        (None, None),
        (0.26, 4 * 1024**3),
    ]


def test_a_kind_in_the_schedule_replaces_all_but_whether_the_link_is_up() -> None:
    experiment = experiment_of(
        with_schedule("at 10s: link wifi to cloud down", "at 20s: link wifi kind lte delay 50ms")
    )
    last = experiment.changes[-1]
    assert isinstance(last, LinkChange)
    assert last.forward == Quality(rate_bit_s=7.6e6, delay_s=0.05, is_up=False)
    assert last.backward == Quality(rate_bit_s=29.5e6, delay_s=0.05)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("link wifi down", "'link wifi down' is not of the form at TIME: link NAME"),
        ("at 30s link wifi down", "is not of the form at TIME: link NAME"),
        ("at 30: link wifi down", "'30' has no unit, expected a time such as"),
        ("at 90s: link wifi down", "90s is after the end, expected a time before the duration"),
        ("at 30s: lnik wifi down", "unknown word 'lnik'; did you mean 'link'?"),
        ("at 30s: link", "expected the name of a link after 'link'"),
        ("at 30s: link wfi down", "unknown link 'wfi'; did you mean 'wifi'?"),
        ("at 30s: machine wifi cpu 1", "unknown machine 'wifi'; expected one of cloud, pi"),
        ("at 30s: link wifi", "it changes nothing, expected KEY VALUE at its end"),
        ("at 30s: link wifi to pi", "it changes nothing, expected KEY VALUE at its end"),
        ("at 30s: link wifi to", "expected one of pi, cloud after 'to'"),
        ("at 30s: link wifi to space rate 1Mbit", "expected one of pi, cloud after 'to'"),
        ("at 30s: link wifi rtae 4Mbit", "unknown word 'rtae'; did you mean 'rate'?"),
        ("at 30s: link wifi dwon", "unknown word 'dwon'; did you mean 'down'?"),
        ("at 30s: link wifi rate", "expected a value after 'rate'"),
        ("at 30s: link wifi rate 4 Mbit", "unknown word 'Mbit'; expected one of kind, rate"),
        ("at 30s: link wifi up down", "'down' is said twice"),
        ("at 30s: link wifi loss_burst many", "loss_burst: 'many' is not a number of packets"),
        ("at 30s: link wifi kind wfi-good", "unknown kind 'wfi-good'; did you mean 'wifi-good'?"),
        ("at 30s: link wifi jitter 5ms", "the jitter of 5ms is more than the delay of 0ms"),
        ("at 30s: machine pi rate 4Mbit", "unknown word 'rate'; expected one of kind, cpu, memory"),
        ("at 30s: machine pi up", "unknown word 'up'; "),
        ("at 30s: machine pi cpu 0", "cpu: '0' is not a number of cores such as 0.15, over 0"),
        ("at 30s: machine pi cpu 1e999", "cpu: '1e999' is not a number of cores"),
        ("at 30s: machine pi cpu nan", "cpu: 'nan' is not a number of cores"),
        ("at 30s: machine pi memory 0MiB", "memory: '0MiB' is too little for any program"),
    ],
)
def test_a_wrong_line_of_the_schedule_is_named_with_its_mistake(line: str, said: str) -> None:
    found = error_of(with_schedule("at 10s: link wifi rate 9Mbit", line))
    assert re.match(r"schedule\[1\](\.\w+)?: ", found)
    assert said in found


# Wrong files


def test_a_syntax_error_in_toml_names_its_line(tmp_path: Path) -> None:
    said = error_of_file(write(tmp_path, 'version = 1\nname = "try\n'))
    assert said == "illegal character '\\n' (at line 2, column 12)"


def test_an_end_of_toml_that_comes_too_early_names_the_last_line(tmp_path: Path) -> None:
    said = error_of_file(write(tmp_path, "version = 1\nschedule = ["))
    assert said.endswith("(at line 2, the end)")


def test_a_syntax_error_in_json_names_its_line(tmp_path: Path) -> None:
    said = error_of_file(write(tmp_path, '{\n  "version": 1,\n  "name" "try"\n}', "try.json"))
    assert said == "expecting ':' delimiter (at line 3, column 10)"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("try.yaml", "version: 1", "expected a file name that ends in .toml or .json"),
        ("try", "", "expected a file name that ends in .toml or .json"),
        ("try.toml", b'version = 1\nname = "\xff"', "line 2: not UTF-8"),
        ("try.toml", b"\0" * (MAX_FILE_BYTES + 1), "over 1048576 bytes, which is no experiment"),
        ("try.toml", "", "'version' is missing, expected 1, the version of this form"),
        ("try.toml", "a = 1\na = 2\n", "cannot overwrite a value (at line 2, column 6)"),
        ("try.json", "[]", "found a list of 0, expected a table with version, name, duration"),
        ("try.json", "null", "found null, expected a table with version, name, duration"),
        ("try.json", '{"name": "a", "name": "b"}', "key 'name' twice in one object"),
        ("try.json", '{"version": NaN}', "NaN is not JSON, expected a number"),
        ("try.json", "[" * 100_000, "lists or tables in each other, too deep"),
        ("try.json", '{"version": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_a_file_that_holds_no_experiment_is_one_line(
    tmp_path: Path, name: str, content: str | bytes, said: str
) -> None:
    assert error_of_file(write(tmp_path, content, name)).startswith(said)


def test_a_file_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    assert error_of_file(tmp_path / "no.toml") == "cannot be read: No such file or directory"
    (tmp_path / "folder.toml").mkdir()
    assert error_of_file(tmp_path / "folder.toml") == "cannot be read: Is a directory"


def test_a_mark_at_the_beginning_of_a_file_does_no_harm(tmp_path: Path) -> None:
    assert read_experiment(write(tmp_path, b"\xef\xbb\xbf" + TOML.encode())).name == "try"


def test_a_wrong_value_is_named_with_its_file_and_key(tmp_path: Path) -> None:
    said = error_of_file(write(tmp_path, TOML.replace("cpu = 0.15", "cpu = -1")))
    assert said == (
        "machines[1].cpu: found -1, expected cores that its programs may use: "
        'a number over 0, such as 0.15, at most 1024, or "unlimited"'
    )


def test_a_wrong_unit_is_named_with_its_file_and_key(tmp_path: Path) -> None:
    said = error_of_file(write(tmp_path, TOML.replace("20Mbit", "20mbps")))
    assert said == (
        "links[0].rate: '20mbps' is ambiguous: write Mbit for bits or MB/s for bytes per second"
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (document(version=2, unknown=3), "version: found 2, expected 1"),
        (document(version=True), "version: found true, expected 1"),
        (document(nmae="x"), "unknown key 'nmae'; did you mean 'name'?"),
        (document(**{"a\nb": 1}), r"unknown key 'a\nb'; expected one of $schema, version, "),
        (document(name="../up"), "name: found '../up', expected a name for its folder"),
        (document(name="try\n"), r"name: found 'try\n', expected a name for its folder"),
        (document(duration=90), "duration: found 90, expected a time such as"),
        (document(duration="0s"), "duration: '0s' is no time at all"),
        (document(collect_every="1ms"), "collect_every: '1ms' is too often"),
        (document(seed=-1), "seed: found -1, expected a whole number from 0"),
        (document(probes="yes"), "probes: found 'yes', expected true or false"),
        (document(machines=[]), "machines: found a list of 0, expected a list of 1 to 250"),
        (document(machines={}), "machines: found an empty table, expected a list of 1 to 250"),
        (document(links=[3]), "links[0]: found 3, expected a table with name and between"),
        (with_machine(comand="x"), "machines[1]: unknown key 'comand'; did you mean 'command'?"),
        (with_machine(name="Pi"), "machines[1].name: found 'Pi', expected a name of lower-case"),
        (with_machine(name="p" * 33), "machines[1].name: found 'ppp"),
        (with_machine(name="python"), "machines[1].name: 'python' is taken"),
        (with_machine(name="cloud"), "machines[1].name: 'cloud' is the name of machines[0], too"),
        (with_machine(role="edge"), "machines[1].role: found 'edge', expected \"cloud\" or"),
        (with_machine(command=[]), "machines[1].command: found a list of 0, expected what it"),
        (with_machine(command=""), "machines[1].command: found '', expected what it runs"),
        (with_machine(command="  "), "machines[1].command: nothing to run"),
        (with_machine(command=["", "x"]), "machines[1].command: nothing to run"),
        (with_machine(command="a 'b"), 'machines[1].command: no closing quotation in "a \'b"'),
        (with_machine(command=["a", "\0"]), r"machines[1].command[1]: found '\x00', expected"),
        (with_machine(command=["a", 3]), "machines[1].command[1]: found 3, expected text"),
        (with_machine(command="a {clud}"), "machines[1].command[1]: unknown {clud}; did you"),
        (
            with_machine(environment={"A": "{pi} {foldr}"}),
            "machines[1].environment.A: unknown {foldr}; did you mean 'folder'?",
        ),
        (with_machine(environment={"A B": "x"}), "machines[1].environment: found 'A B', expected"),
        (with_machine(environment={"A": 3}), "machines[1].environment.A: found 3, expected text"),
        (with_machine(cpu="0.15"), "machines[1].cpu: found '0.15', expected cores"),
        (with_machine(cpu=10**400), "machines[1].cpu: found 1000"),
        (with_machine(cpu=float("nan")), "machines[1].cpu: nan is not a number of cores"),
        (with_machine(memory=256), "machines[1].memory: found 256, expected a size"),
        (with_machine(memory="256"), "machines[1].memory: '256' has no unit"),
        (with_machine(start_order=1.5), "machines[1].start_order: found 1.5, expected a whole"),
        (with_machine(ready={}), "machines[1].ready: found an empty table, expected a table with"),
        (
            with_machine(ready={"port": 1, "line": "x"}),
            "machines[1].ready: found a table with 'port', 'line', expected a table with either",
        ),
        (with_machine(ready={"port": 0}), "machines[1].ready.port: found 0, expected a port"),
        (with_machine(ready={"line": ""}), "machines[1].ready.line: found '', expected text"),
        (with_machine(ready={"port": 1, "within": "0s"}), "machines[1].ready.within: '0s' is no"),
        (with_machine(ports=[8089, "x"]), "machines[1].ports[1]: found 'x', expected a port"),
        (with_machine(kind="pi4"), "machines[1].kind: unknown kind 'pi4'; did you mean 'pi-4'?"),
        (with_link(name="a" * 16), "links[0].name: found 'aaa"),
        (with_link(name="lo"), "links[0].name: 'lo' is the name of a network device"),
        (with_link(between=["pi"]), "links[0].between: found a list of 1, expected the names"),
        (with_link(between=["pi", "pi"]), "links[0].between: 'pi' twice"),
        (with_link(between=["pi", "clud"]), "links[0].between[1]: unknown machine 'clud'; did"),
        (with_link(rate="4mbps"), "links[0].rate: '4mbps' is ambiguous"),
        (with_link(loss="2"), "links[0].loss: '2' has no unit"),
        (with_link(loss_burst=0.5), "links[0].loss_burst: found 0.5, expected a number from 1"),
        (with_link(queue="1kB"), "links[0].queue: '1kB' is less than one packet"),
        (with_link(delay="1ms", jitter="2ms"), "links[0]: the jitter of 2ms is more than the"),
        (with_link(loss="90%", loss_burst=2), "links[0]: a loss of 0.9 of all packets cannot"),
        (with_link(to={"clod": {}}), "links[0].to: unknown end 'clod'; did you mean 'cloud'?"),
        (with_link(to={"cloud": {"rate": 5}}), "links[0].to.cloud.rate: found 5, expected a"),
        (with_link(to={"cloud": {"kind": "lte"}}), "links[0].to.cloud: unknown key 'kind'; "),
        (with_link(to={"cloud": {"rate": "5"}}), "links[0].to.cloud.rate: '5' has no unit"),
        (document(links=[]), "machines[1].command[1]: no links lead from 'pi' to 'cloud'"),
    ],
)
def test_a_wrong_document_is_one_line_that_names_the_key(wrong: object, said: str) -> None:
    assert error_of(wrong).startswith(said)


def test_a_misspelled_key_is_named_and_not_the_one_that_is_missing_for_it() -> None:
    changed = document()
    changed["machines"][1]["comand"] = changed["machines"][1].pop("command")
    del changed["duration"]
    assert error_of(changed) == "machines[1]: unknown key 'comand'; did you mean 'command'?"


def test_two_links_between_the_same_machines_are_refused() -> None:
    changed = document()
    changed["links"].append({"name": "cable", "between": ["cloud", "pi"]})
    assert error_of(changed).startswith("links[1].between: link 'wifi' joins these two already")


def test_two_links_of_a_name_are_refused() -> None:
    changed = document()
    changed["machines"].append({"name": "other", "role": "device", "command": "x"})
    changed["links"].append({"name": "wifi", "between": ["cloud", "other"]})
    assert error_of(changed) == "links[1].name: 'wifi' is the name of links[0], too"


def test_without_the_package_that_checks_the_error_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    checking._validator.cache_clear()
    try:
        assert error_of(document()).endswith("missing: `./run setup emulation` installs it")
    finally:
        checking._validator.cache_clear()


# The schema itself


@pytest.mark.parametrize("name", [SCHEMA, OLDER_SCHEMA])
def test_the_schema_is_one_of_draft_2020_12(name: str) -> None:
    assert schema(name)["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(schema(name))


@pytest.mark.parametrize("name", [SCHEMA, OLDER_SCHEMA])
def test_every_part_of_the_schema_has_a_description(name: str) -> None:
    assert without_description(schema(name), "") == []


def without_description(part: Mapping[str, Any], place: str) -> list[str]:
    """Return the places of subschemas that say nothing of themselves; errors would lack words."""
    missing = [] if "description" in part or "$ref" in part else [place]
    for group in ("properties", "$defs"):
        for key, below in part.get(group, {}).items():
            missing += without_description(below, f"{place}.{key}")
    for key in ("items", "additionalProperties", "propertyNames"):
        if isinstance(part.get(key), dict):
            missing += without_description(part[key], f"{place}.{key}")
    return missing


# Whatever a file holds

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places_in(value: object) -> list[tuple[Any, ...]]:
    """Return the way to each value in a document."""
    below: list[tuple[Any, ...]] = []
    items: list[tuple[Any, object]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for key, part in items:
        below += [(key,), *((key, *rest) for rest in places_in(part))]
    return below


FULL = with_machine(
    environment={"A": "{folder}"}, cpu=0.5, memory="64MiB", ready={"port": 1}, kind="pi-4"
) | {
    "schedule": ["at 1s: link wifi down", "at 2s: machine pi cpu 0.2"],
    "links": [
        {
            **{"name": "wifi", "between": ["pi", "cloud"], "kind": "lte", "rate": "5Mbit"},
            **{"delay": "5ms", "loss": "1%", "loss_burst": 2, "queue": "64kB"},
            "to": {"cloud": {"rate": "5Mbit"}},
        }
    ],
}


@given(st.sampled_from(places_in(FULL)), VALUES)
def test_any_other_value_anywhere_gives_an_experiment_or_one_line(
    place: tuple[Any, ...], value: object
) -> None:
    changed: Any = copy.deepcopy(FULL)
    there = changed
    for key in place[:-1]:
        there = there[key]
    there[place[-1]] = value
    gives_an_experiment_or_one_line(lambda: experiment_of(changed))


@given(st.text(max_size=80) | st.from_regex(r"\Aat [0-9]{1,2}s: (link wifi|machine pi) .{0,30}\Z"))
def test_any_line_of_a_schedule_gives_an_experiment_or_one_line(line: str) -> None:
    gives_an_experiment_or_one_line(lambda: experiment_of(with_schedule(line)))


@given(suffix=st.sampled_from([".toml", ".json"]), content=st.binary(max_size=100))
def test_any_bytes_in_a_file_give_one_line(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    gives_an_experiment_or_one_line(lambda: read_experiment(path))


def gives_an_experiment_or_one_line(make: Callable[[], Experiment]) -> None:
    said = "none"
    try:
        assert make().machines
    except ConfigurationError as error:
        said = str(error)
    assert "\n" not in said
    assert said.encode()

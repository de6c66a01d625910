"""What an experiment would set up, and what a machine lacks for it."""

import re
import sys
from dataclasses import replace
from typing import Final

import pytest

from offload.emulation.experiment import (
    Experiment,
    Link,
    LinkChange,
    Machine,
    MachineChange,
    Quality,
    Readiness,
    Role,
)
from offload.emulation.local.planning import Abilities, plan_for

ALL: Final = Abilities(
    is_root=True,
    has_tun=True,
    has_package=True,
    controllers=frozenset({"cpu", "cpuacct", "memory"}),
    cores=2,
    memory_bytes=8 * 1024**3,
)

CLOUD: Final = Machine(
    name="cloud",
    role=Role.CLOUD,
    command=("{python}", "server.py", "--results", "{folder}/results.db"),
    environment={"OFFLOAD_TOKEN": "a:b"},
    start_order=0,
    ready=Readiness(port=8089, within_s=20.0),
)
PI: Final = Machine(
    name="pi",
    role=Role.DEVICE,
    kind="pi-4",
    command=("{python}", "client.py", "--host", "{cloud}"),
    cpu=0.15,
    memory_bytes=64 * 1024**2,
    start_order=1,
)
WIFI: Final = Link(
    name="wifi",
    kind="wifi-good",
    ends=("pi", "cloud"),
    forward=Quality(rate_bit_s=20e6, delay_s=0.005, jitter_s=0.001, loss=0.005, loss_burst=3),
    backward=Quality(),
)
EXPERIMENT: Final = Experiment(
    name="demo",
    description="A device and a cloud.",
    machines=(CLOUD, PI),
    links=(WIFI,),
    changes=(
        LinkChange(
            at_s=30.0,
            link="wifi",
            forward=Quality(is_up=False),
            backward=Quality(is_up=False),
            text="at 30s: link wifi down",
        ),
    ),
    duration_s=60.0,
)
# Asks nothing of the machine but namespaces.
BARE: Final = replace(EXPERIMENT, machines=(CLOUD, replace(PI, cpu=None, memory_bytes=None)))


def lacks(experiment: Experiment, abilities: Abilities) -> str:
    plan = plan_for(experiment, abilities)
    return "\n".join(f"{each.what}: {each.remedy}" for each in plan.lacks)


def hints(experiment: Experiment, abilities: Abilities = ALL) -> str:
    return "\n".join(plan_for(experiment, abilities).hints)


def test_a_plan_shows_machines_links_and_schedule() -> None:
    assert plan_for(EXPERIMENT, ALL).text == (
        """\
experiment demo, 1 min
  A device and a cloud.
machines
  cloud: cloud, 10.213.0.1, all cores, all memory
    {python} server.py --results {folder}/results.db
    with OFFLOAD_TOKEN=a:b
    ready when it listens on port 8089, within 20 s
  pi: device pi-4, 10.213.0.2, 0.15 core, 64 MiB
    {python} client.py --host {cloud}
links
  wifi (wifi-good)
    to cloud: 20 Mbit/s, delay 5 ms, jitter 1 ms, loss 0.5 %, 3 packets in a row, queue 244 KiB
    to pi: any rate, delay 0 ms, queue 16 MiB
schedule
  at 30s: link wifi down"""
    )


def test_a_machine_that_can_do_everything_lacks_nothing() -> None:
    plan = plan_for(EXPERIMENT, ALL)
    assert (plan.lacks, plan.hints) == ((), ())


@pytest.mark.parametrize(
    ("abilities", "expected"),
    [
        (replace(ALL, is_root=False), r"root, for .*: run it with sudo"),
        (replace(ALL, has_tun=False), r"/dev/net/tun, for links: modprobe tun"),
        (replace(ALL, has_package=False), r"pyroute2.*: `./run setup emulation`"),
        (replace(ALL, controllers=frozenset({"memory"})), r"cgroup controller cpu, .*: boot"),
        (replace(ALL, controllers=frozenset({"cpu"})), r"controller memory, .*: add cgroup_enable"),
    ],
)
def test_each_thing_that_is_missing_is_named_with_how_to_get_it(
    abilities: Abilities, expected: str
) -> None:
    plan = plan_for(EXPERIMENT, abilities)
    (lack,) = plan.lacks
    assert re.search(expected, f"{lack.what}: {lack.remedy}")


def test_without_limits_no_cgroup_is_needed() -> None:
    assert lacks(BARE, replace(ALL, controllers=frozenset())) == ""
    assert hints(BARE, replace(ALL, controllers=frozenset())) == (
        "there is no cgroup controller memory: memory is not measured"
    )


def test_a_limit_that_comes_later_needs_its_cgroup_too() -> None:
    change = MachineChange(at_s=1.0, machine="pi", cpu=0.5, memory_bytes=None, text="at 1s: ...")
    experiment = replace(BARE, changes=(change,))
    assert lacks(experiment, replace(ALL, controllers=frozenset({"memory"}))).startswith(
        "the cgroup controller cpu"
    )


def test_without_links_no_tun_is_needed() -> None:
    assert lacks(replace(EXPERIMENT, links=(), changes=()), replace(ALL, has_tun=False)) == ""


def test_a_share_that_no_kernel_can_do_is_named() -> None:
    experiment = replace(EXPERIMENT, machines=(CLOUD, replace(PI, cpu=0.0001)))
    assert lacks(experiment, ALL) == (
        "a kernel that can limit a machine to 0.0001 core: give it at least 0.001"
    )


def test_a_program_that_is_not_installed_is_named() -> None:
    experiment = replace(EXPERIMENT, machines=(CLOUD, replace(PI, command=("no-such-program",))))
    assert lacks(experiment, ALL).startswith("the program 'no-such-program' of machine pi: ")


def test_a_program_is_looked_for_where_its_machine_looks_for_it() -> None:
    folder, _, name = sys.executable.rpartition("/")
    pi = replace(PI, command=(name,), environment={"PATH": folder})
    assert lacks(replace(EXPERIMENT, machines=(CLOUD, pi)), ALL) == ""
    pi = replace(pi, environment={"PATH": "/nowhere"})
    assert lacks(replace(EXPERIMENT, machines=(CLOUD, pi)), ALL) != ""


def test_more_cores_than_there_are_is_a_hint() -> None:
    experiment = replace(EXPERIMENT, machines=(CLOUD, replace(PI, cpu=4.0)))
    assert hints(experiment) == (
        "machine pi may use 4 cores, and there are 2\n"
        "the machines may use 4 cores together, and there are 2: they may slow each other down"
    )


def test_more_memory_than_there_is_is_a_hint() -> None:
    experiment = replace(EXPERIMENT, machines=(CLOUD, replace(PI, memory_bytes=16 * 1024**3)))
    assert hints(experiment) == "the machines may use 16 GiB together, and there are 8 GiB"

"""Limits and figures of machines, by cgroups of both versions.

Version 1 meets a real kernel in test_local_run.py. Version 2 is tested on a tree of files with the
contents that Linux 6.1 gives them, and as far as it goes without controllers on a real one.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from offload.emulation.local.cgroups import (
    FOLDER,
    Cgroups,
    GroupV1,
    GroupV2,
    find_cgroups,
    groups_below,
    kill_below,
    processes_below,
    quota_and_period_us,
    read_mounts,
)
from offload.errors import ConfigurationError, EmulationError

BOTH_VERSIONS: Final = """\
proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/my\\040memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""

# What the kernel has put into a new group of version 2.
NEW_GROUP: Final = {
    "cgroup.procs": "",
    "cgroup.kill": "",
    "cpu.max": "max 100000\n",
    "cpu.stat": "usage_usec 2501734\nuser_usec 2000000\nsystem_usec 501734\nnr_periods 250\n",
    "memory.current": "41943040\n",
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.stat": "anon 31457280\nfile 10485760\ninactive_anon 0\ninactive_file 8388608\n",
    "memory.events": "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 0\n",
}


def text(path: Path) -> str:
    return path.read_text(encoding="ascii")


@pytest.fixture
def unified(tmp_path: Path) -> Path:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory hugetlb pids rdma misc\n")
    return tmp_path


@pytest.fixture
def group(unified: Path) -> GroupV2:
    cgroups = find_cgroups(f"cgroup2 {unified} cgroup2 rw,nosuid,nodev 0 0\n")
    made = cgroups.make_group("1a2b3c", "pi")
    assert isinstance(made, GroupV2)
    for name, content in NEW_GROUP.items():
        (made.folders[0] / name).write_text(content, encoding="ascii")
    return made


def test_trees_of_version_1_are_taken_where_they_have_the_controllers() -> None:
    found = find_cgroups(BOTH_VERSIONS)
    assert found.version == 1
    assert found.trees == {
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "memory": Path("/sys/fs/cgroup/my memory"),
    }


def test_a_machine_without_cgroups_has_none() -> None:
    assert find_cgroups("proc /proc proc rw 0 0\n") == Cgroups(version=0, trees={}, unified=None)


def test_version_2_has_one_tree_for_all_controllers(unified: Path) -> None:
    found = find_cgroups(f"cgroup2 {unified} cgroup2 rw 0 0\n")
    assert (found.version, found.trees) == (2, {"cpu": unified, "memory": unified})


def test_every_folder_above_a_group_of_version_2_passes_the_controllers_on(
    unified: Path, group: GroupV2
) -> None:
    assert group.folders == (unified / FOLDER / "1a2b3c" / "pi",)
    for above in (unified, unified / FOLDER, unified / FOLDER / "1a2b3c"):
        assert text(above / "cgroup.subtree_control") == "+cpu +memory"
    assert not (group.folders[0] / "cgroup.subtree_control").exists()


def test_version_2_limits_processor_memory_and_swap(group: GroupV2) -> None:
    group.limit(cpu=0.15, memory_bytes=64 * 1024 * 1024)
    (folder,) = group.folders
    assert text(folder / "cpu.max") == "1500 10000"
    assert text(folder / "memory.max") == "67108864"
    assert text(folder / "memory.swap.max") == "0"


def test_version_2_takes_limits_away_again(group: GroupV2) -> None:
    group.limit(cpu=0.15, memory_bytes=64 * 1024 * 1024)
    group.limit(cpu=None, memory_bytes=None)
    (folder,) = group.folders
    assert [text(folder / name) for name in ("cpu.max", "memory.max", "memory.swap.max")] == [
        "max",
        "max",
        "max",
    ]


def test_version_2_says_what_is_used_without_files_that_it_may_forget(group: GroupV2) -> None:
    use = group.use()
    assert use.cpu_s == pytest.approx(2.501734)
    assert use.memory_bytes == 41943040 - 8388608
    assert use.memory_kills == 1


def test_version_2_kills_a_whole_tree_of_groups_at_once(unified: Path, group: GroupV2) -> None:
    root = unified / FOLDER
    (root / "cgroup.kill").write_text("", encoding="ascii")
    (group.folders[0] / "cgroup.procs").write_text("4194304\n4194305\n", encoding="ascii")
    assert list(processes_below(root)) == [4194304, 4194305]
    kill_below(root)
    assert text(root / "cgroup.kill") == "1"
    assert groups_below(root) == [group.folders[0], root / "1a2b3c", root]


def test_version_2_without_the_memory_controller_still_counts_the_processor(unified: Path) -> None:
    (unified / "cgroup.controllers").write_text("cpu io\n", encoding="ascii")
    group = find_cgroups(f"cgroup2 {unified} cgroup2 rw 0 0\n").make_group("1a2b3c", "pi")
    (group.folders[0] / "cpu.stat").write_text("usage_usec 1500000\n", encoding="ascii")
    group.limit(cpu=0.5, memory_bytes=None)
    use = group.use()
    assert (use.cpu_s, use.memory_bytes, use.memory_kills) == (1.5, None, 0)
    with pytest.raises(EmulationError, match="no cgroup controller 'memory'"):
        group.limit(cpu=0.5, memory_bytes=1024)


def test_a_group_that_the_kernel_refuses_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    (tmp_path / FOLDER).write_text("in the way", encoding="ascii")
    with pytest.raises(EmulationError, match=f"{FOLDER}/1a2b3c/pi: Not a directory"):
        GroupV1({"cpu": tmp_path / FOLDER / "1a2b3c" / "pi"})


@pytest.mark.parametrize(
    ("cpu", "quota_us", "period_us"),
    [(0.1, 1000, 10_000), (0.15, 1500, 10_000), (2.5, 25_000, 10_000), (0.04, 1000, 25_000)],
)
def test_a_period_is_as_short_as_the_kernel_allows_for_a_share(
    cpu: float, quota_us: int, period_us: int
) -> None:
    assert quota_and_period_us(cpu) == (quota_us, period_us)


def test_a_share_that_the_kernel_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cpu is 0.0005, expected at least 0.001"):
        quota_and_period_us(0.0005)


@pytest.fixture
def real_group() -> Iterator[GroupV2]:
    unified = find_cgroups(read_mounts()).unified
    if unified is None:
        pytest.skip("cgroups of version 2 are not mounted")
    made = GroupV2(unified, unified / FOLDER / "test-cgroups" / "pi", controllers=())
    yield made
    for folder in (made.folders[0], *made.folders[0].parents[:2]):
        folder.rmdir()


@pytest.mark.root
def test_a_real_group_of_version_2_counts_and_kills_its_processes(real_group: GroupV2) -> None:
    join = "import sys; open(sys.argv[1], 'w').write('0')"
    spin = "[None for _ in range(10**6)]; print('spun', flush=True); sys.stdin.read()"
    procs = real_group.folders[0] / "cgroup.procs"
    with subprocess.Popen(
        [sys.executable, "-c", f"{join}; {spin}", str(procs)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "spun\n"
        assert list(processes_below(real_group.folders[0])) == [process.pid]
        used_s = real_group.use().cpu_s
        assert used_s is not None
        assert used_s > 0
        kill_below(real_group.folders[0].parent)
        assert process.wait() == -9

"""What `./run bench relay` measures, as short as it can be."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")

from benchmarks.netns import PREFIX
from tests.emulation.relay_process import what_is_missing

ROOT: Final = Path(__file__).parents[2]
COMMAND: Final = (sys.executable, "-m", "benchmarks.relay", "--quick")

# Only ends a test that has failed already.
WAIT_S: Final = 100.0

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(what_is_missing() != "", reason=f"{what_is_missing()} is missing"),
]


def test_the_benchmark_measures_what_links_were_asked_to_do(tmp_path: Path) -> None:
    report = tmp_path / "relay.json"
    ended = subprocess.run(
        [*COMMAND, "--json", str(report)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert "ns for a packet" in ended.stdout
    achieved = {
        name: figures["achieved"]["median"]
        for name, figures in json.loads(report.read_text())["contenders"].items()
    }
    assert len(achieved) == 11
    assert 20 < achieved["round trip of 2 x 10 ms, ms"] < 25
    assert 4.5 < achieved["5 Mbit/s, TCP payload, Mbit/s"] < 4.9
    # Of 10,000 packets.
    assert 4 < achieved["loss of 5 %, UDP, %"] < 6
    assert 200 < achieved["all effects at 300 Mbit/s, UDP, Mbit/s"] < 306


def test_a_benchmark_that_is_told_to_end_leaves_nothing_behind() -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # The third line names the second case: the first had namespaces, and so will this.
        assert "ms, ms" in [process.stderr.readline() for _ in range(3)][2]
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_S) == 128 + signal.SIGTERM
    left = Path("/var/run/netns").glob(f"{PREFIX}{process.pid}-*")
    assert list(left) == []

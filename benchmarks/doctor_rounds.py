"""Ask the doctor what each split gives, then run each one: as JSON, one figure beside the other.

    python3 -m benchmarks.doctor_rounds APP HOST PORT --rounds 5 --seconds 6

It runs on the device, limited or not, and needs a server that listens there and the token of its
environment. What it prints is a list with an object for each round: for every K, and for ``alone``
(all tasks on the device), a pair of the forecast and of the rate then reached, in FPS.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import BenchmarkError, exit_code, progress, say
from offload.arguments import count, positive

CLIENT: Final = Path(__file__).parent.parent / "iot_client_coordinator.py"

ALONE: Final = "alone"

# A fifth of a slow core needs half a minute for what the doctor does.
_LIMIT_S: Final = 180.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rounds and return the exit code."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks.doctor_rounds")
    for name in ("app", "host", "port"):
        parser.add_argument(name)
    parser.add_argument("--rounds", type=count, default=1)
    parser.add_argument("--seconds", type=positive, default=6.0)
    asked = parser.parse_args(arguments)
    app, server = ("--app", asked.app), ("--host", asked.host, "--port", asked.port)
    rounds = []
    for number in range(1, asked.rounds + 1):
        progress(f"round {number} of {asked.rounds}")
        rounds.append(_round(app, server, asked.seconds))
    say(json.dumps(rounds))
    return 0


def _round(app: Sequence[str], server: Sequence[str], seconds: float) -> dict[str, Any]:
    said = _run("-m", "offload.doctor", *app, *server, "--json")
    expected = {str(each["split"]): each["fps"] for each in said["forecasts"]}
    run = (str(CLIENT), "--duration", f"{seconds:g}", "--summary", "-", "--log-level", "warning")
    found = {
        split: (fps, _run(*run, *app, *server, "--trial", split)["fps"])
        for split, fps in expected.items()
    }
    return {**found, ALONE: (said["client_only_fps"], _run(*run, *app)["fps"])}


def _run(*arguments: str) -> dict[str, Any]:
    ran = subprocess.run(
        [sys.executable, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=_LIMIT_S,
        check=False,
    )
    if ran.returncode != 0:
        raise BenchmarkError(f"{' '.join(arguments)} ended with exit code {ran.returncode}")
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


if __name__ == "__main__":
    sys.exit(exit_code(main))

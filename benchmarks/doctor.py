"""Measure how far the doctor's forecasts are from what each split then gives.

    python3 -m benchmarks.doctor                  # as root: also on a limited device
    python3 -m benchmarks.doctor --rounds 1

In a round the doctor says what it expects of every split, and then every split runs for some
seconds, as fast as it can. First on this machine, with all of it; then, as root, on an emulated
device with a fifth of a core behind a link of 20 Mbit/s. A ratio above 1 is a promise not kept.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from benchmarks.doctor_rounds import ALONE
from benchmarks.measure import (
    BenchmarkError,
    Figures,
    Options,
    Samples,
    Spread,
    cell,
    exit_code,
    format_table,
    machine_line,
    parse_options,
    progress,
    say,
    write_json,
)
from benchmarks.programs import ROOT, SERVER, cloud_server, environment, work_folder

HERE_APP: Final = "ball_tracking_example"
# Of what a fifth of a core can do in a second, the splits of this one differ.
LIMITED_APP: Final = "examples.experiments.gauge"

HERE: Final = "this machine, "
LIMITED: Final = "a fifth of a core, 20 Mbit/s, "

ROUNDS: Final = "benchmarks.doctor_rounds"

EXPECTED: Final = "forecast"
REACHED: Final = "reached"

_EXPERIMENT: Final = """
version = 1
name = "doctor"
duration = "{limit_s}s"

[[machines]]
name = "cloud"
role = "cloud"
command = "{{python}} {server} --app {app} --results none"
environment = {{ OFFLOAD_TOKEN = "benchmark:known-to-everybody" }}
ready = {{ port = 8089 }}

[[machines]]
name = "pi"
role = "device"
command = "{{python}} -m {module} {app} {{cloud}} 8089 {how_long}"
environment = {{ OFFLOAD_TOKEN = "benchmark:known-to-everybody" }}
cpu = 0.2
memory = "512MiB"

[[links]]
name = "wifi"
between = ["pi", "cloud"]
rate = "20Mbit"
delay = "2ms"
"""

# A round on the limited device takes a minute and a half; past this it hangs.
_ROUND_LIMIT_S: Final = 240


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    description = "The doctor's forecasts, and what each split then gives; more of it as root."
    options = parse_options(description, sys.argv[1:] if arguments is None else arguments)
    rounds = _measure_here(options)
    if os.geteuid() == 0:
        rounds = [
            {**here, **limited}
            for here, limited in zip(rounds, _measure_limited(options), strict=True)
        ]
    else:
        progress("not root: the limited device is left out")
    samples = Samples(rounds)
    ratios = {name: _ratio(samples, name) for name in samples.contenders}
    say(machine_line())
    say("")
    say("FPS as the doctor expected them, and as they then came")
    rows = [
        [
            name,
            cell(samples.spread(name, EXPECTED), digits=1),
            cell(samples.spread(name, REACHED), digits=1),
            cell(ratio, digits=2),
        ]
        for name, ratio in ratios.items()
    ]
    say(format_table(["", EXPECTED, REACHED, "ratio"], rows))
    write_json(options.json, benchmark="doctor", options=options, samples=samples, ratios=ratios)
    return 0


def limited_device(app: str, options: Options) -> str:
    """Return the experiment in which a limited device runs the rounds of an app."""
    return _EXPERIMENT.format(
        app=app,
        server=SERVER,
        module=ROUNDS,
        how_long=" ".join(_how_long(options)),
        limit_s=_ROUND_LIMIT_S * options.rounds,
    )


def _measure_here(options: Options) -> list[dict[str, Figures]]:
    with work_folder() as folder, cloud_server(folder, app=HERE_APP) as server:
        _, host, _, port = server.address
        ran = subprocess.run(
            [sys.executable, "-m", ROUNDS, HERE_APP, host, port, *_how_long(options)],
            cwd=ROOT,
            env=environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if ran.returncode != 0:
            raise BenchmarkError(f"the rounds ended with exit code {ran.returncode}, see above")
        return _rounds(HERE, ran.stdout)


def _measure_limited(options: Options) -> list[dict[str, Figures]]:
    with work_folder() as folder:
        file, runs = folder / "experiment.toml", folder / "run"
        file.write_text(limited_device(LIMITED_APP, options), encoding="utf-8")
        progress("on a device with a fifth of a core")
        ran = subprocess.run(
            [sys.executable, "-m", "offload.emulation", "run", str(file), "--folder", str(runs)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if ran.returncode != 0:
            raise BenchmarkError(f"the experiment ended with exit code {ran.returncode}, see above")
        return _rounds(LIMITED, (runs / "pi" / "stdout.log").read_text(encoding="utf-8"))


def _how_long(options: Options) -> list[str]:
    return ["--rounds", str(options.rounds), "--seconds", str(options.count(6, quick=1))]


def _rounds(where: str, printed: str) -> list[dict[str, Figures]]:
    return [
        {
            where + (split if split == ALONE else f"K = {split}"): {EXPECTED: fps, REACHED: reached}
            for split, (fps, reached) in each.items()
        }
        for each in json.loads(printed.splitlines()[-1])
    ]


def _ratio(samples: Samples, name: str) -> Spread:
    expected, reached = samples.figures(name, EXPECTED), samples.figures(name, REACHED)
    of_rounds = [one / other for one, other in zip(expected, reached, strict=True)]
    return Spread(
        median=statistics.median(expected) / statistics.median(reached),
        low=min(of_rounds),
        high=max(of_rounds),
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))

"""Measure what the device program takes to start, and its memory, over importing numpy and OpenCV.

    python3 -m benchmarks.startup

Each line is a process of its own. Of the first two the time is from the start of the process to the
end of its imports: of numpy and OpenCV alone, and of the device program's modules on top of them
(``--version`` runs them all, and ends). The others track the ball in one frame of the synthetic
scene: the plain loop to its result, and the real program from its start to its end, with what only
a run imports. Against the plain loop it shows what is not the app's. Memory is the most that the
process held.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.measure import (
    Contender,
    Figures,
    Samples,
    Spread,
    cell,
    format_table,
    machine_line,
    parse_options,
    run_rounds,
    say,
    write_json,
)
from benchmarks.programs import (
    CLIENT,
    ROOT,
    ProgramError,
    cloud_server,
    run_device,
    work_folder,
)

APP: Final = "ball_tracking_example"

BASE: Final = "numpy and OpenCV"

# Each prints one line when it has done what is measured. Nobody imports the program: it is run.
IMPORT_BASE: Final = "import numpy, cv2; print('done')"
IMPORT_PROGRAM: Final = f"""
import runpy, sys
import numpy, cv2
sys.argv, sys.path[0] = [{str(CLIENT)!r}, "--version"], {str(ROOT)!r}
runpy.run_path(sys.argv[0], run_name="__main__")
"""

PLAIN_LOOP: Final = ("-m", "ball_tracking_example.sequential", "synthetic", "--frames", "1")

MB: Final = 1e6


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return its exit code."""
    description = "Start-up and memory of the device program over importing numpy and OpenCV."
    options = parse_options(description, sys.argv[1:] if arguments is None else arguments)
    with work_folder() as folder, cloud_server(folder, app=APP) as server:
        contenders: dict[str, Contender] = {
            BASE: partial(_run_python, "-c", IMPORT_BASE),
            "with the program's modules": partial(_run_python, "-c", IMPORT_PROGRAM),
            "plain loop, 1 frame": partial(_run_python, *PLAIN_LOOP),
            "program, client only, 1 frame": partial(_run_program, folder),
            "program, K = 3, 1 frame": partial(_run_program, folder, "3", *server.address),
        }
        samples = run_rounds(contenders, rounds=options.rounds, warm_up=not options.quick)
    _report(samples)
    write_json(options.json, benchmark="startup", options=options, samples=samples)
    return 0


def _run_python(*arguments: str) -> Figures:
    """Run Python up to the first line that it prints, and then to its end."""
    began_s = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-u", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        line = process.stdout.readline()
        seconds = time.perf_counter() - began_s
        said = process.stderr.read()
    # The kernel counts this process's own memory as the child's, up to the moment at which the
    # child becomes another program. So nothing large may be imported here.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if not line or process.returncode != 0:
        raise ProgramError(f"{arguments} ended with exit code {process.returncode}: {said}")
    rss_bytes = usage.ru_maxrss if sys.platform == "darwin" else usage.ru_maxrss * 1024
    return {"seconds": seconds, "rss_mb": rss_bytes / MB}


def _run_program(folder: Path, *arguments: str) -> Figures:
    began_s = time.perf_counter()
    summary = run_device(folder, *arguments, "--app", APP, "--source", "synthetic", "--frames", "1")
    seconds = time.perf_counter() - began_s
    return {"seconds": seconds, "rss_mb": summary["peak_rss_bytes"] / MB}


def _report(samples: Samples) -> None:
    rows = [
        [
            name,
            cell(samples.spread(name, "seconds"), digits=3),
            cell(_over_base(samples, name, "seconds"), digits=3),
            cell(samples.spread(name, "rss_mb"), digits=1),
            cell(_over_base(samples, name, "rss_mb"), digits=1),
        ]
        for name in samples.contenders
    ]
    say(machine_line())
    say(format_table(["", "s", "s more", "MB", "MB more"], rows))


def _over_base(samples: Samples, name: str, figure: str) -> Spread:
    """Return what a contender takes more than the imports alone, round by round."""
    ours, base = samples.figures(name, figure), samples.figures(BASE, figure)
    return Spread.of([one - other for one, other in zip(ours, base, strict=True)])


if __name__ == "__main__":
    sys.exit(main())

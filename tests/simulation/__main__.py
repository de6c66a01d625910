"""Print how the schedulers do: ``python -m tests.simulation [--seeds N] [--random N]``."""

import argparse
import sys
import time
from statistics import fmean, median

from tests.simulation.judging import SCHEDULERS, Score, judge
from tests.simulation.scenarios import random_scenario, scenarios


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1, help="runs of each scenario")
    parser.add_argument("--random", type=int, default=0, help="how many random pipelines, too")
    parser.add_argument("--first", type=int, default=1000, help="the first of their seeds")
    parser.add_argument("--only", default="", help="scenarios whose name contains this")
    parser.add_argument("--schedulers", nargs="*", default=list(SCHEDULERS))
    options = parser.parse_args()
    began_s = time.perf_counter()
    say(f"{'scenario':24} {'scheduler':9} under%  cloud  settle  error%  pairs/min  FPS")
    for name, scenario in scenarios().items():
        if options.only in name:
            for scheduler in options.schedulers:
                scores = [judge(scenario, scheduler, seed=seed) for seed in range(options.seeds)]
                say(row(name, scheduler, scores))
    if options.random:
        for scheduler in options.schedulers:
            scores = [
                judge(random_scenario(seed), scheduler)
                for seed in range(options.first, options.first + options.random)
            ]
            say(row(f"{options.random} random", scheduler, scores))
            say(f"{'':24} cloud at the median {median(each.cloud for each in scores):.3f}")
    say(f"{time.perf_counter() - began_s:.1f} s")


def row(name: str, scheduler: str, scores: list[Score]) -> str:
    under, cloud = fmean(each.under for each in scores), fmean(each.cloud for each in scores)
    settling_s = fmean(each.settling_s for each in scores)
    error = fmean(each.error for each in scores)
    pairs, fps = fmean(each.pair_changes for each in scores), fmean(each.fps for each in scores)
    return (
        f"{name:24} {scheduler:9} {100 * under:6.1f} {cloud:6.3f} {settling_s:7.2f} "
        f"{100 * error:7.2f} {pairs:9.1f} {fps:7.2f}"
    )


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

"""The comparison of schedulers: its judgement, its plain rule, its experiments, one short run."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from benchmarks.programs import cloud_server
from benchmarks.scheduler.comparison import Comparison
from benchmarks.scheduler.judging import (
    SETTLE_WITHIN_S,
    PhaseScore,
    Score,
    best_fixed,
    best_fixed_in,
    checks,
    judge,
    middle,
)
from benchmarks.scheduler.plain_rule import PERIOD_S, PlainRule
from benchmarks.scheduler.scenarios import FIXED, OURS, QUICK, RULE, SCENARIOS, USUAL
from benchmarks.scheduler.trace import Trace
from offload.emulation.experiment import LinkChange, MachineChange
from scheduler import Ending, Observation, OperatingPoint, SchedulerConfig

ROOT: Final = Path(__file__).parent.parent
WAIT_S: Final = 100.0

TARGET_FPS: Final = 25.0
CLOUD_CORES: Final = 0.1


def trace(*rates: tuple[float, float], split: int = 4) -> Trace:
    """Return a run that finishes ``fps`` frames per second, evenly, for so many seconds each."""
    finished_s: list[float] = []
    begin_s = 0.0
    for seconds, fps in rates:
        finished_s += [begin_s + (number + 0.5) / fps for number in range(round(seconds * fps))]
        begin_s += seconds
    at_s = np.arange(0.0, begin_s + 1, 0.5)
    return Trace(
        finished_s=np.array(finished_s),
        latencies_s=np.linspace(0.0, 1.0, len(finished_s)),
        chosen_s=np.array(finished_s),
        splits=np.full(len(finished_s), float(split)),
        cpu_at_s=at_s,
        cloud_cpu_s=CLOUD_CORES * at_s,
        device_cpu_s=0.4 * at_s,
        missed_packets=0,
        decisions=(),
    )


def judged(*rates: tuple[float, float], borders_s: tuple[float, ...] = (0, 20, 40)) -> Score:
    return judge(trace(*rates), target_fps=TARGET_FPS, borders_s=borders_s)


def phase(fps: float, *, cloud_s: float = 1e-3, settling_s: float | None = 1.0) -> PhaseScore:
    return PhaseScore(
        fps=fps,
        under=0.0,
        settling_s=settling_s,
        cloud_s=cloud_s,
        latency_p95_s=0.1,
        split=4.0,
        device_cores=0.4,
    )


def score(*phases: PhaseScore, cloud_s: float = 1e-3) -> Score:
    return Score(
        phases=phases, under=0.0, cloud_s=cloud_s, latency_p95_s=0.1, split=4.0, missed_packets=0
    )


def texts_of_unmet(ours: Score, fixed: dict[int, Score]) -> list[str]:
    return [each.text for each in checks(ours, fixed, target_fps=TARGET_FPS) if not each.is_met]


# How runs are judged.


def test_the_seconds_after_a_step_are_not_in_the_fps_of_its_phase() -> None:
    _, second = judged((20, 25.0), (SETTLE_WITHIN_S, 5.0), (15, 25.0)).phases
    assert second.fps == pytest.approx(25.0, rel=0.01)


def test_the_first_phase_counts_from_its_beginning() -> None:
    first, _ = judged((SETTLE_WITHIN_S, 5.0), (35, 25.0)).phases
    assert first.fps == pytest.approx((5 * 5 + 15 * 25) / 20, rel=0.01)


def test_time_under_target_counts_the_dip_and_what_looks_back_on_it() -> None:
    _, second = judged((20, 25.0), (4, 5.0), (16, 25.0)).phases
    # The 4 s, and 2 s that look back on some of them; at both ends a little less.
    assert second.under == pytest.approx(6 / 20, abs=0.03)


def test_a_step_is_settled_when_the_rate_is_back() -> None:
    _, second = judged((20, 25.0), (4, 5.0), (16, 25.0)).phases
    assert second.settling_s == pytest.approx(4.0, abs=0.25)


def test_a_rate_that_is_back_for_less_than_three_seconds_is_not_settled() -> None:
    _, second = judged((20, 25.0), (2, 5.0), (2, 25.0), (2, 5.0), (14, 25.0)).phases
    assert second.settling_s == pytest.approx(6.0, abs=0.25)


def test_a_rate_that_stays_low_is_never_settled() -> None:
    _, second = judged((20, 25.0), (20, 20.0)).phases
    assert second.settling_s is None


def test_cloud_seconds_of_a_phase_are_divided_by_its_frames() -> None:
    _, second = judged((20, 25.0), (20, 10.0)).phases
    assert second.cloud_s == pytest.approx(CLOUD_CORES / 10)


def test_the_start_before_the_first_phase_is_in_no_figure() -> None:
    with_start = judged((10, 1.0), (40, 25.0), borders_s=(10, 30, 50))
    assert with_start.phases[0].fps == pytest.approx(25.0, rel=0.01)
    assert with_start.phases[0].under <= 2 / 20
    assert with_start.cloud_s == pytest.approx(CLOUD_CORES / 25, rel=0.01)


def test_the_middle_of_runs_takes_the_median_of_each_figure() -> None:
    runs = [score(phase(fps, settling_s=1.0), cloud_s=fps) for fps in (20.0, 26.0, 25.0)]
    assert middle(runs).phases[0].fps == 25.0
    assert middle(runs).cloud_s == 25.0


def test_what_settled_in_one_run_of_three_only_is_not_settled() -> None:
    runs = [score(phase(25.0, settling_s=took_s)) for took_s in (1.0, None, None)]
    assert middle(runs).phases[0].settling_s is None


# Which fixed split is the one to beat.


def test_the_best_fixed_split_is_the_cheapest_of_those_that_reach_the_target_in_every_phase() -> (
    None
):
    fixed = {
        2: score(phase(26.0), phase(26.0), cloud_s=3e-3),
        4: score(phase(26.0), phase(24.6), cloud_s=2e-3),
        6: score(phase(26.0), phase(20.0), cloud_s=1e-3),
    }
    assert best_fixed(fixed, target_fps=TARGET_FPS) == 4
    assert best_fixed_in(fixed, 0, target_fps=TARGET_FPS) in fixed
    assert best_fixed_in(fixed, 1, target_fps=TARGET_FPS) in {2, 4}


def test_the_best_fixed_split_of_a_phase_may_fail_in_another() -> None:
    fixed = {
        2: score(phase(26.0, cloud_s=3e-3), phase(26.0, cloud_s=3e-3)),
        6: score(phase(26.0, cloud_s=1e-3), phase(20.0, cloud_s=1e-3)),
    }
    assert best_fixed_in(fixed, 0, target_fps=TARGET_FPS) == 6
    assert best_fixed_in(fixed, 1, target_fps=TARGET_FPS) == 2


def test_all_limits_are_met_by_who_does_as_well_as_the_best_fixed_split() -> None:
    same = score(phase(25.0), phase(25.0))
    assert texts_of_unmet(same, {4: same}) == []
    assert len(checks(same, {4: same}, target_fps=TARGET_FPS)) == 4


@pytest.mark.parametrize(
    ("ours", "unmet"),
    [
        (score(phase(24.4), phase(25.0)), "phase 1: 24.4 FPS"),
        (score(phase(25.0), phase(25.0), cloud_s=1.1e-3), "cloud CPU for a frame 1.10 of"),
        (score(phase(25.0), phase(25.0, settling_s=5.5)), "phase 2: settled after 5.5 s"),
        (score(phase(25.0), phase(25.0, settling_s=None)), "phase 2: never settled"),
    ],
)
def test_a_limit_that_is_not_met_is_named(ours: Score, unmet: str) -> None:
    found = texts_of_unmet(ours, {4: score(phase(25.0), phase(25.0))})
    assert len(found) == 1
    assert found[0].startswith(unmet)


def test_where_no_fixed_split_reaches_the_target_the_highest_of_them_is_to_be_reached() -> None:
    fixed = {4: score(phase(25.0), phase(15.0)), 6: score(phase(25.0), phase(18.0))}
    assert texts_of_unmet(score(phase(25.0), phase(18.5, settling_s=None)), fixed) == []
    (text,) = texts_of_unmet(score(phase(25.0), phase(17.5)), fixed)
    assert "none of the fixed splits reaches more than 18.0" in text


# The plain rule.

POINTS: Final = [
    OperatingPoint(split=split, encoding=encoding)
    for split in (2, 3, 4)
    for encoding in ("raw", "lossy")
]


def rule_after(seconds: float, *, fps: float) -> PlainRule:
    """Return a rule at target 25 that has run for so long at ``fps``."""
    rule = PlainRule(POINTS, TARGET_FPS, SchedulerConfig(window=8), POINTS[-1])
    for number in range(round(seconds * fps) + 1):
        now = number / fps
        point = rule.choose(now).point
        rule.observe(Observation(at_s=now, point=point))
    return rule


@pytest.mark.parametrize(
    ("seconds", "split"), [(PERIOD_S - 0.2, 4), (PERIOD_S + 0.2, 3), (2 * PERIOD_S + 0.2, 2)]
)
def test_the_rule_gives_the_cloud_a_task_every_three_seconds_while_short(
    seconds: float, split: int
) -> None:
    assert rule_after(seconds, fps=10.0).state(seconds).position == split


def test_the_rule_takes_no_task_back() -> None:
    rule = rule_after(PERIOD_S + 0.2, fps=10.0)
    for number in range(2000):
        now = 4.0 + number / 100
        rule.observe(Observation(at_s=now, point=rule.choose(now).point))
    assert rule.state(24.0).position == 3


def test_the_rule_stays_where_the_target_is_met() -> None:
    assert rule_after(60.0, fps=25.0).state(60.0).position == 4


def test_the_rule_ends_with_all_that_may_move_in_the_cloud() -> None:
    rule = rule_after(60.0, fps=10.0)
    assert rule.state(60.0).position == 2
    assert rule.decisions()[-1].reason == "infeasible_device"


def test_the_rule_takes_the_smallest_encoding() -> None:
    assert rule_after(1.0, fps=25.0).choose(1.1).point.encoding == "lossy"


def test_the_rule_does_not_count_frames_that_failed() -> None:
    rule = PlainRule(POINTS, TARGET_FPS, SchedulerConfig(), POINTS[-1])
    for number in range(100):
        now = number / 25
        point = rule.choose(now).point
        rule.observe(Observation(at_s=now, point=point, ending=Ending.FAILED))
    assert rule.state(4.0).fps == 0


# The scenarios.


@pytest.mark.parametrize(
    ("name", "kinds"),
    [("link", {LinkChange}), ("cpu", {MachineChange}), ("both", {LinkChange, MachineChange})],
)
def test_what_changes_in_a_scenario_changes_at_the_borders_of_its_phases(
    name: str, kinds: set[type]
) -> None:
    scenario = SCENARIOS[name]
    changes = scenario.experiment(OURS, "synthetic", USUAL).changes
    assert {type(each) for each in changes} == kinds
    assert sorted({each.at_s for each in changes}) == scenario.borders_s(USUAL)[1:-1]


def test_the_start_comes_before_the_first_phase() -> None:
    _, first_end_s, *_ = SCENARIOS["link"].borders_s(USUAL)
    assert first_end_s == USUAL.start_s + USUAL.phase_s


@pytest.mark.parametrize(("runner", "has_target"), [(OURS, True), (RULE, True), (FIXED[2], False)])
def test_only_who_may_move_the_split_is_told_the_target(runner: Any, has_target: bool) -> None:
    command = SCENARIOS["link"].experiment(runner, "synthetic", USUAL).machine("device").command
    assert ("25" in command) is has_target
    assert str(runner.split) in command


# What is written.


def test_the_json_has_every_round_and_no_word_that_json_does_not_know() -> None:
    scenario = replace(SCENARIOS["link"], target_fps=TARGET_FPS)
    lasts_s = scenario.borders_s(QUICK)[-1]
    # Nothing is finished in the beginning, so that there is no split to tell.
    runs = [trace((3.0, 1e-9), (lasts_s - 3.0, 25.0))]
    comparison = Comparison(scenario, QUICK, {OURS: runs, FIXED[3]: runs})
    plain = json.loads(json.dumps(comparison.as_plain(), allow_nan=False))
    assert plain["best_fixed"] == 4
    assert plain["runners"]["ours"]["timelines"][0]["split"][0] is None
    assert len(plain["runners"]["K = 4"]["rounds"]) == 1
    assert all(each["is_met"] for each in plain["checks"])


def test_where_no_fixed_split_is_the_best_the_one_that_is_least_short_is_shown() -> None:
    scenario = replace(SCENARIOS["link"], target_fps=TARGET_FPS)
    lasts_s = scenario.borders_s(QUICK)[-1]
    runs = {FIXED[0]: [trace((lasts_s, 5.0), split=1)], FIXED[3]: [trace((lasts_s, 20.0))]}
    comparison = Comparison(scenario, QUICK, runs)
    assert comparison.best_fixed is None
    assert comparison.nearest_fixed == 4


def test_a_picture_is_drawn_of_up_to_three_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is missing: ./run setup bench")
    from benchmarks.scheduler.pictures import draw

    picture = tmp_path / "link.png"
    runs = {name: trace((30.0, fps)) for name, fps in (("ours", 25.0), ("rule", 9.0), ("K", 26.0))}
    draw(SCENARIOS["link"], QUICK, runs, picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


# The device program as it is started here.


@pytest.mark.integration
@pytest.mark.parametrize("chooser", ["ours", "rule"])
def test_the_device_program_runs_as_it_is_and_each_of_its_frames_is_written_down(
    tmp_path: Path, chooser: str
) -> None:
    frames, summary = tmp_path / "frames.json", tmp_path / "summary.json"
    with cloud_server(tmp_path, app="ball_tracking_example") as server:
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.scheduler.device_program"),
                *(str(frames), chooser, "6", "1000", *server.address, "--frames", "60"),
                *("--summary", str(summary)),
            ],
            cwd=ROOT,
            env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "config")},
            capture_output=True,
            text=True,
            timeout=WAIT_S,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    written = json.loads(frames.read_text(encoding="utf-8"))
    said = json.loads(summary.read_text(encoding="utf-8"))
    report = said["frames"]
    # Of the two only our scheduler writes down that it knows nothing yet.
    begins = any(each["reason"] == "cold_start" for each in said["scheduler"])
    assert begins is (chooser == "ours")
    assert len(written["chosen"]) == 60
    assert len(written["finished"]) == report["completed"] + report["filtered"] == 60
    assert all(0 < latency_s < WAIT_S for _, latency_s in written["finished"])
    first_s, last_s = written["chosen"][0][0], written["finished"][-1][0]
    assert 0 < last_s - first_s < WAIT_S


# A whole run.


def benchmark(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.scheduler", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )


def test_a_scenario_that_there_is_not_is_wrong_usage() -> None:
    pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")
    pytest.importorskip("matplotlib", reason="matplotlib is missing: ./run setup bench")
    ended = benchmark("--only", "flood")
    assert ended.returncode == 2
    assert "'flood' is none of link, cpu, both" in ended.stderr


@pytest.mark.root
def test_a_short_run_has_figures_of_every_phase_and_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")
    pytest.importorskip("matplotlib", reason="matplotlib is missing: ./run setup bench")
    report = tmp_path / "scheduler.json"
    options = ("--quick", "--only", "link", "--runners", "ours,K6")
    ended = benchmark(*options, "--folder", str(tmp_path / "runs"), "--json", str(report))
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "runs" / "link.png").exists()
    (scenario,) = json.loads(report.read_text(encoding="utf-8"))["scenarios"]
    fixed = scenario["runners"]["K = 6"]["median"]
    assert fixed["split"] == 6
    # The camera gives 30; a slow link less, but far more than raw pictures would.
    assert fixed["phases"][0]["fps"] == pytest.approx(30, rel=0.1)
    assert fixed["phases"][1]["fps"] > 15
    assert all(0 < each["cloud_s"] < 0.1 for each in fixed["phases"])
    assert scenario["runners"]["ours"]["decisions"][0]
    assert math.isfinite(scenario["runners"]["ours"]["median"]["cloud_s"])

"""The example app: short, independent, and the same results wherever its tasks run."""

import ast
from pathlib import Path
from typing import Any

import pytest

import task_interface_example
from task_interface import BoundPipeline, Context, PipelineRun
from tests.integration.programs import (
    ROOT,
    cloud_server,
    read_position,
    read_results,
    read_summary,
    run_client,
)

EXAMPLE = ROOT / "task_interface_example.py"
APP = ("--app", "task_interface_example")
OURS = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or path.is_dir()}


def run_frames(bound: BoundPipeline, seqs: range) -> list[PipelineRun]:
    source = task_interface_example.pipeline.source.bind()
    frames = [source.frame_values(raw) for raw in source.open(0)]
    return [
        bound.run(
            frames[seq],
            start=1,
            stop=len(task_interface_example.pipeline),
            context=Context(stream="s", seq=seq, captured_at=0.0),
            clock=lambda: 0.0,
        )
        for seq in seqs
    ]


def run_alone(folder: Path) -> tuple[dict[int, object], dict[str, Any]]:
    ended = run_client(
        folder, *APP, "--stream", "s", "--results", "sqlite:alone.db", "--summary", "alone.json"
    )
    assert ended.code == 0, ended.err
    return read_results(folder / "alone.db", "s"), read_summary(folder / "alone.json")


def test_the_example_has_under_60_lines() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60


def test_the_example_imports_task_interface_and_nothing_else_of_ours() -> None:
    imported = set()
    for node in ast.walk(ast.parse(EXAMPLE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported & OURS == {"task_interface"}


def test_the_example_goes_on_from_a_snapshot_as_if_nothing_had_happened() -> None:
    whole = [run.result for run in run_frames(task_interface_example.pipeline.bind(), range(80))]
    before, after = (task_interface_example.pipeline.bind() for _ in range(2))
    first = [run.result for run in run_frames(before, range(30))]
    state = before.snapshot()
    assert state is not None
    after.restore(state)
    assert first + [run.result for run in run_frames(after, range(30, 80))] == whole


@pytest.mark.integration
def test_the_example_ends_by_itself_and_filters_the_frames_without_a_disc(tmp_path: Path) -> None:
    results, report = run_alone(tmp_path)
    assert list(results) == list(range(80))
    frames = report["frames"]
    assert (frames["captured"], frames["completed"], frames["filtered"]) == (100, 80, 20)


@pytest.mark.integration
@pytest.mark.parametrize("split", task_interface_example.pipeline.splits)
def test_the_example_gives_the_same_results_at_every_split(tmp_path: Path, split: int) -> None:
    alone, _ = run_alone(tmp_path)
    with cloud_server(tmp_path, *APP) as server:
        ended = run_client(tmp_path, str(split), *APP, *server.address, "--stream", "s")
        assert ended.code == 0, ended.err
        assert server.stop().code == 0
    assert read_results(tmp_path / "results.db", "s") == alone
    assert read_position(tmp_path / "results.db", "s") == (100, 20, 0)

"""What a report says of a run, and of what a run that crashed has left."""

import dataclasses
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from offload.emulation.experiment import (
    Experiment,
    LinkChange,
    MachineChange,
    Quality,
    Readiness,
)
from offload.emulation.local.host import describe_host
from offload.emulation.report import make_report
from offload.emulation.report.curves import Curve, Line
from offload.emulation.report.findings import Findings, Mark, findings_of
from offload.emulation.report.recorded_experiment import experiment_from
from offload.emulation.report.recording import Figures
from offload.emulation.report.run_folder import read_recording
from offload.emulation.report.tables import LinkRow, MachineRow, Totals
from offload.errors import ConfigurationError
from tests.emulation.run_folders import (
    PI,
    QUALITY,
    RECORDED,
    copy_of_recorded,
    experiment,
    recorded_files,
    write_events,
    write_experiment,
    write_links,
    write_machines,
    write_summary,
)


def findings(folder: Path) -> Findings:
    return findings_of(read_recording(folder))


def machine(found: Findings, name: str) -> MachineRow:
    return next(each for each in found.machines if each.machine == name)


def link(found: Findings, to: str) -> LinkRow:
    return next(each for each in found.links if each.to == to)


def recorded_json(name: str) -> Any:
    return json.loads((RECORDED / name).read_text(encoding="utf-8"))


def write_probe(folder: Path, *, asked: Figures, got: Figures, packets: int = 1000) -> None:
    probe = {
        "link": "wifi",
        "to": "cloud",
        "requested": asdict(asked),
        "achieved": asdict(got),
        "packets": packets,
    }
    (folder / "probes.json").write_text(json.dumps([probe]), encoding="utf-8")


# A run as it should be


def test_nothing_is_missing_of_a_run_that_went_well() -> None:
    assert findings(RECORDED).missing == []


def test_a_device_has_the_figures_of_its_summary() -> None:
    summary = recorded_json("pi/summary.json")
    pi = machine(findings(RECORDED), "pi")
    assert (pi.fps, pi.target_fps) == (summary["fps"], summary["target_fps"])
    assert pi.split_mean == summary["split"]["mean"]
    assert pi.cloud_s_saved == summary["cloud_s_saved"]
    assert pi.latency_p95_s == summary["latency_s"]["p95"]
    assert pi.frames.items() >= {
        (name, count) for name, count in summary["frames"].items() if count
    }


def test_a_server_has_the_frames_of_all_its_streams() -> None:
    totals = recorded_json("cloud/summary.json")["totals"]
    frames = machine(findings(RECORDED), "cloud").frames
    assert frames["completed"] == totals["results"]
    assert {name: frames[name] for name in ("filtered", "dropped", "failed")} == {
        name: totals[name] for name in ("filtered", "dropped", "failed")
    }


def test_the_report_says_when_for_how_long_and_on_what() -> None:
    found = findings(RECORDED)
    event = json.loads((RECORDED / "events.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert found.began_at == pytest.approx(event["at"] - event["t"])
    assert found.ran_s >= recorded_json("experiment.json")["duration_s"]
    assert found.host == recorded_json("host.json")


def test_the_machine_that_this_runs_on_can_be_described() -> None:
    host = describe_host()
    assert set(host) == set(recorded_json("host.json"))
    assert all(host.values())


def test_processor_time_counts_from_the_start_of_all_machines(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    rows = [(-1, "pi", 0.5, 0.5, 1), (0, "pi", 1.0, 0.5, 80), (4, "pi", 2.0, 0.3, 60)]
    write_machines(tmp_path, rows)
    pi = machine(findings(tmp_path), "pi")
    assert (pi.cpu_s, pi.cpu_mean_cores) == (1.0, 0.25)
    assert (pi.cpu_peak_cores, pi.memory_peak_bytes) == (0.5, 80)


def test_what_a_kernel_does_not_count_is_not_known(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_machines(tmp_path, [(0, "pi", "", "", 80), (1, "pi", "", "", "")])
    found = findings(tmp_path)
    pi = machine(found, "pi")
    assert (pi.cpu_s, pi.cpu_mean_cores, pi.cpu_peak_cores) == (None, None, None)
    assert pi.memory_peak_bytes == 80
    assert not any("machines.csv" in each for each in found.missing)


def test_a_limit_is_listed_with_what_it_changed_to(tmp_path: Path) -> None:
    half = MachineChange(at_s=10, machine="pi", cpu=0.25, memory_bytes=None, text="")
    late = replace(half, at_s=50, cpu=4.0)
    write_experiment(tmp_path, experiment(half, late))
    write_machines(tmp_path, [(0, "pi", 0, 0, 1), (20, "pi", 1, 0, 1)])
    pi = machine(findings(tmp_path), "pi")
    assert pi.cpu_limits == [0.5, 0.25]
    assert pi.memory_limits == [None]


def test_totals_add_up_devices_and_links(tmp_path: Path) -> None:
    plan = experiment()
    porch = replace(PI, name="porch")
    write_experiment(tmp_path, replace(plan, machines=(*plan.machines, porch)))
    frames = {"captured": 12, "completed": 9, "filtered": 1, "dropped": 2, "failed": 0}
    for name in ("pi", "porch"):
        write_summary(tmp_path, name, {"fps": 10.0, "frames": frames, "cloud_s_saved": 1.5})
    write_summary(tmp_path, "cloud", {"streams": [{"fps": 20.0}], "totals": {"results": 18}})
    write_links(tmp_path, [(1, "wifi", "cloud", 1000, 3, 1, 0), (1, "wifi", "pi", 500, 1, 0, 0)])
    totals = findings(tmp_path).totals
    assert (totals.fps, totals.cloud_s_saved) == (20.0, 3.0)
    assert totals.frames == {"captured": 24, "completed": 18, "filtered": 2, "dropped": 4} | {
        "failed": 0
    }
    assert (totals.delivered_bytes, totals.lost_packets, totals.dropped_packets) == (1500, 4, 1)


# Links: requested and achieved


@pytest.mark.parametrize(
    ("got", "differs"),
    [
        (Figures(rate_bit_s=19.1e6, delay_s=0.0209, jitter_s=0.0, loss=0.0), []),
        (Figures(rate_bit_s=18.9e6, delay_s=0.02, jitter_s=0.0, loss=0.0), ["rate_bit_s"]),
        (Figures(rate_bit_s=21.1e6, delay_s=0.02, jitter_s=0.0, loss=0.0), ["rate_bit_s"]),
        (Figures(rate_bit_s=20e6, delay_s=0.0211, jitter_s=0.0, loss=0.0), ["delay_s"]),
        (Figures(rate_bit_s=20e6, delay_s=0.0189, jitter_s=0.0, loss=0.0), ["delay_s"]),
        (Figures(rate_bit_s=20e6, delay_s=0.02, jitter_s=0.0, loss=0.001), ["loss"]),
        (Figures(rate_bit_s=None, delay_s=None, jitter_s=None, loss=None), []),
    ],
)
def test_a_link_is_marked_if_it_is_off_by_5_percent_or_a_millisecond(
    tmp_path: Path, got: Figures, differs: list[str]
) -> None:
    write_experiment(tmp_path, experiment())
    asked = Figures(rate_bit_s=20e6, delay_s=0.02, jitter_s=0.0, loss=0.0)
    write_probe(tmp_path, asked=asked, got=got)
    assert link(findings(tmp_path), "cloud").differs == differs


@pytest.mark.parametrize(("delay_s", "differs"), [(0.0124, []), (0.0126, ["delay_s"])])
def test_under_jitter_a_delay_may_be_off_by_a_quarter_of_it(
    tmp_path: Path, delay_s: float, differs: list[str]
) -> None:
    write_experiment(tmp_path, experiment())
    asked = Figures(rate_bit_s=None, delay_s=0.01, jitter_s=0.01, loss=0.0)
    write_probe(tmp_path, asked=asked, got=replace(asked, delay_s=delay_s))
    assert link(findings(tmp_path), "cloud").differs == differs


@pytest.mark.parametrize(
    ("loss", "packets", "burst", "is_marked"),
    [
        # Of 1000 packets 50 are lost in the mean; 68 in three standard deviations.
        (0.065, 1000, 1.0, False),
        (0.075, 1000, 1.0, True),
        (0.065, 100_000, 1.0, True),
        (0.052, 100_000, 1.0, False),
        # Losses ten in a row tell less.
        (0.075, 1000, 10.0, False),
        (0.2, 1000, 10.0, True),
    ],
)
def test_a_loss_is_marked_if_chance_does_not_explain_it(
    tmp_path: Path, loss: float, packets: int, burst: float, is_marked: bool
) -> None:
    lossy = replace(QUALITY, loss=0.05, loss_burst=burst)
    plan = experiment()
    write_experiment(
        tmp_path, replace(plan, links=(replace(plan.links[0], forward=lossy, backward=lossy),))
    )
    asked = Figures(rate_bit_s=None, delay_s=0.0, jitter_s=0.0, loss=0.05)
    write_probe(tmp_path, asked=asked, got=replace(asked, loss=loss), packets=packets)
    assert link(findings(tmp_path), "cloud").differs == (["loss"] if is_marked else [])


def test_a_link_that_is_down_at_the_beginning_is_not_marked(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    asked = Figures(rate_bit_s=20e6, delay_s=0.02, jitter_s=0.0, loss=0.0)
    got = Figures(rate_bit_s=0.0, delay_s=None, jitter_s=None, loss=1.0)
    write_probe(tmp_path, asked=asked, got=got, packets=0)
    assert link(findings(tmp_path), "cloud").differs == []


def test_a_link_without_probes_says_what_was_asked_of_it(tmp_path: Path) -> None:
    write_experiment(tmp_path, replace(experiment(), probes=False))
    found = findings(tmp_path)
    row = link(found, "cloud")
    assert row.requested == Figures(rate_bit_s=20e6, delay_s=0.005, jitter_s=0.0, loss=0.0)
    assert (row.achieved, row.kind) == (None, "wifi-good")
    assert not any("probes.json" in each for each in found.missing)


def test_packets_that_a_relay_missed_are_in_the_row_of_their_link(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_links(tmp_path, [(1, "wifi", "cloud", 10, 1, 2, 3), (2, "wifi", "cloud", 20, 4, 5, 6)])
    row = link(findings(tmp_path), "cloud")
    assert (row.delivered_bytes, row.lost_packets, row.dropped_packets) == (20, 4, 5)
    assert row.missed_packets == 6


# What happened


def test_changes_are_marked_when_they_happened_in_words_without_the_time(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_events(
        tmp_path,
        {"t": 0, "kind": "ready", "machine": "pi", "text": "it runs"},
        {"t": 30.01, "kind": "change", "machine": None, "text": "at 30s: link wifi rate 4Mbit"},
        {"t": 60.0, "kind": "stopped", "machine": None, "text": "the time is over"},
        {"t": 60.1, "kind": "ended", "machine": "pi", "text": "0", "exit_code": 0},
    )
    assert findings(tmp_path).marks == [Mark(number=1, t=30.01, text="link wifi rate 4Mbit")]


def test_a_program_that_ends_long_before_the_others_is_marked(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    write_events(
        tmp_path,
        {"t": 20, "kind": "ended", "machine": "pi", "text": "", "exit_code": -9},
        {"t": 60, "kind": "stopped", "machine": None, "text": ""},
        {"t": 61, "kind": "ended", "machine": "cloud", "text": "", "exit_code": 0},
        {"t": 75, "kind": "ended", "machine": "porch", "text": "", "exit_code": 0},
    )
    found = findings(tmp_path)
    assert found.marks == [Mark(number=1, t=20, text="pi ended")]
    assert (machine(found, "pi").exit_code, machine(found, "cloud").exit_code) == (-9, 0)


def test_without_events_the_planned_changes_are_marked_as_far_as_the_run_came(
    tmp_path: Path,
) -> None:
    first = LinkChange(
        at_s=10, link="wifi", forward=QUALITY, backward=QUALITY, text="at 10s: link wifi up"
    )
    write_experiment(tmp_path, experiment(first, replace(first, at_s=50)))
    write_machines(tmp_path, [(20, "pi", 1, 0, 1)])
    assert findings(tmp_path).marks == [Mark(number=1, t=10, text="link wifi up")]


# What is missing


@pytest.mark.parametrize("name", recorded_files())
def test_of_a_run_without_one_of_its_files_the_rest_is_reported(tmp_path: Path, name: str) -> None:
    folder = copy_of_recorded(tmp_path)
    (folder / name).unlink()
    make_report(folder)
    missing = json.loads((folder / "report.json").read_text(encoding="utf-8"))["missing"]
    # A server logs no progress.
    assert any(name in each for each in missing) is (name != "cloud/stderr.log")


def test_what_no_program_was_told_to_write_is_not_missing(tmp_path: Path) -> None:
    write_experiment(tmp_path, experiment())
    assert not any("pi/" in each for each in findings(tmp_path).missing)


@pytest.mark.parametrize("name", ["machines.csv", "links.csv", "events.jsonl"])
def test_a_line_that_was_cut_short_is_left_out_and_said(tmp_path: Path, name: str) -> None:
    folder = copy_of_recorded(tmp_path)
    whole = (folder / name).read_bytes()
    # Cut within the last number: what is left looks like a whole row.
    (folder / name).write_bytes(whole[:-2])
    assert findings(folder).missing == [f"{name} has a line that is broken or cut short"]


@pytest.mark.parametrize("name", ["experiment.json", "probes.json", "host.json", "pi/summary.json"])
def test_a_document_that_was_cut_short_is_said(tmp_path: Path, name: str) -> None:
    folder = copy_of_recorded(tmp_path)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: len(whole) // 2])
    assert f"{name} is broken or cut short" in findings(folder).missing


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_report_can_be_made_wherever_the_files_were_cut(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(RECORDED, folder)
    try:
        for name in data.draw(st.lists(st.sampled_from(recorded_files()), min_size=1, max_size=3)):
            whole = (folder / name).read_bytes()
            (folder / name).write_bytes(whole[: data.draw(st.integers(0, len(whole)))])
        make_report(folder)
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize(
    "summary",
    [
        [1],
        {"duration_s": 5.0, "scheduler": [{"fps": 1.0}, {"t": "soon"}, 3]},
        {"frames": 3, "split": "none", "latency_s": [1], "fps": "fast", "scheduler": {"t": 1}},
        {"streams": 4, "totals": [], "frames": None},
        {"fps": float("nan"), "frames": {"captured": True, "completed": "4"}},
    ],
)
def test_a_summary_of_a_program_of_another_kind_does_no_harm(
    tmp_path: Path, summary: object
) -> None:
    folder = copy_of_recorded(tmp_path)
    (folder / "pi" / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    (folder / "pi" / "stderr.log").write_text("its words\n", encoding="utf-8")
    make_report(folder)
    assert machine(findings(folder), "pi").frames == {}


def test_machines_of_a_run_without_its_experiment_are_those_that_were_measured(
    tmp_path: Path,
) -> None:
    folder = copy_of_recorded(tmp_path)
    (folder / "experiment.json").unlink()
    found = findings(folder)
    assert {each.machine for each in found.machines} == {"pi", "cloud"}
    assert (found.name, found.planned_s, machine(found, "pi").role) == ("run", None, None)


def test_a_folder_that_is_none_of_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no folder of a run, expected one with exp"):
        make_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no folder of a run"):
        make_report(tmp_path / "nowhere")


def test_a_report_that_cannot_be_written_is_a_mistake_of_the_user(tmp_path: Path) -> None:
    folder = copy_of_recorded(tmp_path)
    (folder / "report.json").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        make_report(folder)


# report.json


def test_report_json_holds_the_findings(tmp_path: Path) -> None:
    folder = copy_of_recorded(tmp_path)
    make_report(folder)
    written = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert written == json.loads(json.dumps(asdict(findings(folder))))


@pytest.mark.parametrize(
    "kind", [Findings, LinkRow, MachineRow, Totals, Mark, Curve, Line, Figures]
)
def test_every_key_of_report_json_is_documented(kind: type) -> None:
    names = [each.name for each in dataclasses.fields(kind)]
    assert [name for name in names if f"{name}: " not in (kind.__doc__ or "")] == []


def test_a_report_is_made_again_over_the_one_before(tmp_path: Path) -> None:
    folder = copy_of_recorded(tmp_path)
    make_report(folder)
    first = (folder / "report.html").read_bytes()
    make_report(folder)
    assert (folder / "report.html").read_bytes() == first


WITHOUT_LIMITS = Quality(loss=0.01, loss_burst=3.0, queue_bytes=9000, is_up=False)
WITH_PORTS = replace(
    PI, ports=(80, 81), mounts={"/a": "/b"}, ready=Readiness(port=80), environment={"A": "b"}
)


@pytest.mark.parametrize(
    "plan",
    [
        experiment(),
        experiment(
            LinkChange(at_s=1.5, link="wifi", forward=WITHOUT_LIMITS, backward=QUALITY, text="a"),
            MachineChange(at_s=2, machine="pi", cpu=None, memory_bytes=7, text="b"),
        ),
        replace(experiment(), machines=(WITH_PORTS,), links=()),
    ],
)
def test_an_experiment_comes_back_from_its_json_as_it_was(plan: Experiment) -> None:
    assert experiment_from(json.loads(json.dumps(asdict(plan)))) == plan


@pytest.mark.parametrize(
    "document", [None, [], 3, {}, {"machines": [3], "links": [], "changes": []}]
)
def test_what_is_no_experiment_is_refused(document: object) -> None:
    with pytest.raises(ValueError, match="no experiment"):
        experiment_from(document)

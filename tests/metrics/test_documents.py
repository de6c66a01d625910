"""Documents, alerts and dashboard name the metrics that there are, as they are."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from offload.metrics.device_families import DEVICE_FAMILIES
from offload.metrics.families import Family, Kind
from offload.metrics.server_families import SERVER_FAMILIES

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "deploy" / "monitoring"
DOCUMENT: Final = ROOT / "docs" / "metrics.md"
DASHBOARD: Final = MONITORING / "dashboard.json"

# Some are of both programs.
FAMILIES: Final = {each.name: each for each in (*DEVICE_FAMILIES, *SERVER_FAMILIES)}

# Prometheus adds these to whatever it scrapes.
ADDED_LABELS: Final = {"job", "instance"}

_METRIC: Final = re.compile(r"\boffload_\w+")


def texts_of(value: Any) -> Iterator[str]:
    """Yield all texts within a JSON or YAML value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from texts_of(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts_of(each)


def metrics_in(value: Any) -> set[str]:
    return {name for text in texts_of(value) for name in _METRIC.findall(text)}


def read_yaml(name: str) -> Any:
    return yaml.safe_load((MONITORING / name).read_text(encoding="utf-8"))


def rules() -> list[dict[str, Any]]:
    return [rule for group in read_yaml("rules.yml")["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def documented() -> dict[str, list[str]]:
    """Return the cells of each row of the document's tables, by the metric that it is about."""
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    found = {row[0].strip("`"): row[1:] for row in rows if row[0].startswith("`offload_")}
    assert len(found) == sum(row[0].startswith("`offload_") for row in rows), "one comes twice"
    return found


def code_in(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


def alerts_on(name: str) -> set[str]:
    return {rule["alert"] for rule in rules() if name in metrics_in(rule)}


def test_every_metric_is_documented_and_no_other_is() -> None:
    assert set(documented()) == set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_a_metric_is_documented_as_it_is(family: Family) -> None:
    kind, unit, labels, meaning, alerts = documented()[family.name]
    assert (kind, unit) == (str(family.kind), family.unit)
    assert tuple(code_in(labels)) == family.labels
    assert meaning == family.help
    assert set(code_in(alerts)) == alerts_on(family.name)


def test_the_document_speaks_of_no_other_metric() -> None:
    spoken_of = {
        name
        for name in metrics_in(DOCUMENT.read_text(encoding="utf-8"))
        # `offload_stream_*` is all of them.
        if not name.endswith("_")
    }
    assert spoken_of <= set(FAMILIES)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_names_follow_the_conventions_of_prometheus(family: Family) -> None:
    assert re.fullmatch(r"offload_[a-z]+(_[a-z]+)*", family.name)
    assert family.name.endswith("_total") == (family.kind is Kind.COUNTER)
    assert family.name.endswith("_info") == (family.kind is Kind.INFO)
    unit = family.unit.replace(" ", "_")
    if unit in ("seconds", "bytes", "ratio", "celsius", "frames_per_second", "bytes_per_second"):
        assert family.name.removesuffix("_total").endswith(f"_{unit}")
    assert family.help.endswith(".")


def test_the_alerts_use_metrics_that_exist() -> None:
    used = metrics_in(rules())
    assert used
    assert used <= set(FAMILIES)


def test_each_alert_is_explained_and_tested() -> None:
    names = {rule["alert"] for rule in rules()}
    text = (MONITORING / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(Offload\w+)` \|", text, re.MULTILINE)) == names
    tests = [
        each for test in read_yaml("rules_test.yml")["tests"] for each in test["alert_rule_test"]
    ]
    assert {each["alertname"] for each in tests if each["exp_alerts"]} == names
    raised = [alert for each in tests for alert in each["exp_alerts"]]
    # One rule may be one of several of the same name.
    for rule in rules():
        wanted = rule["labels"].items()
        assert any(wanted <= alert["exp_labels"].items() for alert in raised), rule


def test_the_jobs_of_the_rules_are_those_of_the_configuration() -> None:
    jobs = {each["job_name"] for each in read_yaml("prometheus.yml")["scrape_configs"]}
    named = {job for text in texts_of(rules()) for job in re.findall(r'job="([^"]+)"', text)}
    assert named == jobs


def test_the_files_that_the_configuration_names_are_there() -> None:
    configuration = read_yaml("prometheus.yml")
    named = [*configuration["rule_files"]]
    for job in configuration["scrape_configs"]:
        named += [name for each in job["file_sd_configs"] for name in each["files"]]
    assert all((MONITORING / name).is_file() for name in named)
    assert {"servers.yml", "devices.yml", "rules.yml"} == set(named)


def test_the_dashboard_uses_metrics_that_exist_and_shows_all_of_them() -> None:
    assert metrics_in(dashboard()) == set(FAMILIES)


def test_the_dashboard_uses_labels_that_its_metrics_have() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            used = metrics_in(target["expr"])
            labels = {label for name in used for label in FAMILIES[name].labels} | ADDED_LABELS
            shown = set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            grouped = re.findall(r"(?:by|on|group_left) \(([^)]*)\)", target["expr"])
            matched = re.findall(r"[{,]\s*(\w+)=~?\"", target["expr"])
            assert shown | set(", ".join(grouped).split(", ")) - {""} | set(matched) <= labels, (
                panel
            )


def test_each_panel_of_the_dashboard_says_what_it_shows_and_overlaps_no_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    panels = dashboard()["panels"]
    assert len({each["id"] for each in panels}) == len(panels)
    for each in panels:
        place = each["gridPos"]
        assert place["x"] + place["w"] <= 24
        for column in range(place["x"], place["x"] + place["w"]):
            for line in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((column, line), each["title"]) == each["title"]
    assert all(each["title"] for each in panels)


def test_the_monitoring_readme_names_every_file() -> None:
    text = (MONITORING / "README.md").read_text(encoding="utf-8")
    files = {each.name for each in MONITORING.iterdir()} - {"README.md"}
    assert {name for name in files if f"`{name}`" not in text} == set()

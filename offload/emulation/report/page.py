"""The findings of a run as one page of HTML that needs nothing else: ``page.html``, filled in.

page_of(findings)

Texts come from an experiment's file, so all of them are escaped.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from itertools import groupby
from string import Template
from typing import Final

from offload.emulation.report.axes import Axis, axis_for
from offload.emulation.report.charts import chart, thinned
from offload.emulation.report.curves import Curve, Quantity, direction_name
from offload.emulation.report.findings import Findings, Mark
from offload.emulation.report.page_tables import (
    links_table,
    machines_table,
    programs_table,
    totals_list,
)
from offload.emulation.report.run_files import number
from offload.emulation.report.tables import LinkRow
from offload.emulation.report.wording import plain, seconds, size

# A chart is at most so many times as high as its curve, so that axes can be shared.
_MOST_SPACE: Final = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """The charts of one quantity.

    Attributes:
        title: Above them.
        note: What they show.
        is_shared: They have the same vertical axis, so that machines can be compared, unless that
            would press one of them flat.
        nothing: What is said of those whose curve is 0 all the time, in place of a chart.
    """

    title: str
    note: str
    is_shared: bool = False
    nothing: str = ""


_SECTIONS: Final = {
    Quantity.FPS: Section(
        title="Frames per second",
        note="Finished frames, with a result or filtered, over the last two seconds.",
        is_shared=True,
    ),
    Quantity.SPLIT: Section(
        title="Split",
        note="How many tasks of a frame run on the device; the cloud runs the rest.",
        is_shared=True,
    ),
    Quantity.LATENCY: Section(
        title="Latency, 95th percentile",
        note="From capture to acknowledgement, of the frames since the value before.",
    ),
    Quantity.CPU: Section(
        title="Processor",
        note="Processor seconds per second; 1 is one core of the machine that this ran on.",
    ),
    Quantity.MEMORY: Section(title="Memory", note="Of all processes of a machine."),
    Quantity.LINK_USE: Section(
        title="Link use",
        note="What a link delivered, counted in IP packets; grey where it was down.",
    ),
    Quantity.FRAMES_DROPPED: Section(
        title="Dropped frames",
        note="Frames that a device shed since newer ones were there.",
        nothing="None at",
    ),
    Quantity.PACKETS_LOST: Section(
        title="Lost and dropped packets",
        note="Lost on the way; dropped by a full queue, or by a link that was down; missed where "
        "the machine that this ran on was too slow.",
        nothing="None on",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A curve that gets a chart, and its axis."""

    curve: Curve
    axis: Axis


def page_of(findings: Findings) -> str:
    """Return the page as HTML."""
    drawn = [
        each
        for quantity, group in groupby(findings.curves, key=lambda curve: curve.quantity)
        for each in _drawn(quantity, list(group))
    ]
    template = files("offload.emulation.report").joinpath("page.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=escape(findings.name),
        head=_head(findings),
        missing=_missing(findings.missing),
        too_slow=_too_slow(findings.links),
        totals=totals_list(findings.totals),
        links=links_table(findings.links),
        machines=machines_table(findings.machines),
        programs=programs_table(findings.machines),
        curves=_curves(findings, drawn),
        data=_data(drawn, _until_s(findings)),
    )


def _head(findings: Findings) -> str:
    """Return what was run, when, for how long, and on what."""
    facts = []
    if findings.began_at is not None:
        began = datetime.fromtimestamp(findings.began_at, UTC)
        facts.append(f"{began:%Y-%m-%d %H:%M:%S} UTC")
    ran = f"ran {seconds(findings.ran_s)}"
    if findings.planned_s is not None:
        ran += f" of {seconds(findings.planned_s)} planned"
    facts.append(ran)
    if findings.seed is not None:
        facts.append(f"seed {findings.seed}")
    lines = [escape(findings.description), " · ".join(facts), _host(findings.host)]
    return "\n".join(
        f'<p class="soft">{line}</p>' if index else f"<p>{line}</p>"
        for index, line in enumerate(lines)
        if line
    )


def _host(host: Mapping[str, object]) -> str:
    """Return the facts that are known, each in its own words."""
    cores, memory_bytes = number(host.get("cores")), number(host.get("memory_bytes"))
    facts = [
        str(host.get("processor", "")),
        "" if cores is None else f"{plain(cores)} cores",
        "" if memory_bytes is None else size(memory_bytes),
        str(host.get("system", "")),
        f"Python {host['python']}" if "python" in host else "",
    ]
    known = " · ".join(escape(each) for each in facts if each)
    return f"On {known}" if known else ""


def _missing(missing: Sequence[str]) -> str:
    if not missing:
        return ""
    entries = "".join(f"<li>{escape(each)}</li>" for each in missing)
    return (
        f'<section class="missing"><b>Not all of this run is here</b><ul>{entries}</ul></section>'
    )


def _too_slow(links: Sequence[LinkRow]) -> str:
    """Return a warning about links whose figures are not those that were asked for."""
    missed = [each for each in links if each.missed_packets]
    if not missed:
        return ""
    entries = "".join(
        f"<li>{escape(direction_name((each.link, each.to)))}: {plain(each.missed_packets or 0)} "
        "packets never got to it</li>"
        for each in missed
    )
    return (
        '<section class="missing"><b>This machine was too slow for some links</b>'
        f"<ul>{entries}</ul><p>They carried less than they were asked to; so do not trust what "
        "depends on them.</p></section>"
    )


def _marks(marks: Sequence[Mark]) -> str:
    if not marks:
        return ""
    entries = "".join(
        f"<li><b>{each.number}</b> {plain(each.t)} s: {escape(each.text)}</li>" for each in marks
    )
    return f'<ol class="marks">{entries}</ol>'


def _drawn(quantity: Quantity, curves: Sequence[Curve]) -> list[_Drawn]:
    """Return the curves of one quantity that get a chart."""
    section = _SECTIONS[quantity]
    told = [each for each in curves if not (section.nothing and _is_zero(each))]
    own = [_Drawn(curve=each, axis=axis_for([each])) for each in told]
    if not section.is_shared or not told:
        return own
    shared = axis_for(told)
    if any(each.axis.reach * _MOST_SPACE < shared.reach for each in own):
        return own
    return [_Drawn(curve=each, axis=shared) for each in told]


def _is_zero(curve: Curve) -> bool:
    return not any(value for line in curve.lines for value in line.known)


def _curves(findings: Findings, drawn: Sequence[_Drawn]) -> str:
    if not findings.curves:
        return ""
    parts = ['<section class="over-the-run"><h2>Over the run</h2>', _marks(findings.marks)]
    for quantity, group in groupby(findings.curves, key=lambda curve: curve.quantity):
        section = _SECTIONS[quantity]
        parts.append(f'<section><h3>{section.title}</h3><p class="note">{section.note}')
        if zeros := [each.subject for each in group if section.nothing and _is_zero(each)]:
            parts.append(f"{section.nothing} {escape(', '.join(zeros))}.")
        parts.append('</p><div class="charts">')
        parts += [
            chart(each.curve, axis=each.axis, marks=findings.marks, until_s=_until_s(findings))
            for each in drawn
            if each.curve.quantity is quantity
        ]
        parts.append("</div></section>")
    parts.append("</section>")
    return "\n".join(parts)


def _until_s(findings: Findings) -> float:
    """Return where the charts end; a run that ended at once has a second all the same."""
    return max(1.0, findings.ran_s)


def _data(drawn: Sequence[_Drawn], until_s: float) -> str:
    """Return what the page's script reads out, as JSON in the units of the axes.

    Nothing in it comes from an experiment's file, so nothing in it can end the script.
    """
    charts = [
        [
            {
                "name": line.name,
                "step": line.is_step,
                "t": [round(t, 2) for t in line.t],
                "v": [None if v is None else plain(v / each.axis.factor) for v in line.values],
            }
            for line in map(thinned, each.curve.lines)
        ]
        for each in drawn
    ]
    return json.dumps({"until_s": until_s, "charts": charts}, separators=(",", ":"))

"""The tables of the report's page: totals, links, machines.

links_table(findings.links)
"""

import signal
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

from offload.emulation.report.recording import Figures
from offload.emulation.report.tables import LinkRow, MachineRow, Totals
from offload.emulation.report.wording import UNKNOWN, amount, plain, rate, seconds, share, size

_LINKS_HEADING: Final = """
<tr><th rowspan="2">Link</th>
<th colspan="2">Rate</th><th colspan="2">Delay</th><th colspan="2">Loss</th>
<th colspan="4">During the run</th></tr>
<tr><th>asked</th><th>got</th><th>asked</th><th>got</th><th>asked</th><th>got</th>
<th>delivered</th><th>lost</th><th>dropped</th><th>missed</th></tr>"""

_LINKS_NOTE: Final = """
<p class="note">Asked: at the beginning. Got: by probes before the programs started; marked where it
is off by over 5 % of the rate, 1 ms of the delay (or a quarter of the jitter), or what chance
explains of the loss. Packets are lost by the link's loss, dropped by a full queue or while the link
is down, and missed where the machine that this ran on was too slow for the link.</p>"""

_MACHINES_HEADING: Final = """
<tr><th rowspan="2">Machine</th><th colspan="3">Processor, cores</th>
<th colspan="2">Memory</th><th rowspan="2">Exit code</th></tr>
<tr><th>limit</th><th>mean</th><th>peak</th><th>limit</th><th>peak</th></tr>"""

# Outcomes that always have a column, and counts that have one where there are such frames.
_OUTCOMES: Final = ("completed", "filtered", "dropped", "failed")
_RARE_OUTCOMES: Final = ("resumed", "spooled", "abandoned")


def totals_list(totals: Totals) -> str:
    """Return the sums over the run; those that are not known are left out."""
    finished = totals.frames.get("completed", 0) + totals.frames.get("filtered", 0)
    entries = [
        ("Frames per second", _or_dash(totals.fps, plain), "all devices together"),
        ("Finished frames", plain(finished) if totals.frames else UNKNOWN, _unfinished(totals)),
        ("Device CPU time", _or_dash(totals.device_cpu_s, seconds), "used"),
        ("Cloud CPU time", _or_dash(totals.cloud_cpu_s, seconds), "used"),
        ("Cloud CPU time", _or_dash(totals.cloud_s_saved, seconds), "saved against split 1"),
        ("Over all links", _or_dash(totals.delivered_bytes, amount), _packets(totals)),
    ]
    shown = "".join(
        f"<div><dt>{name}</dt><dd>{value} <small>{escape(note)}</small></dd></div>"
        for name, value, note in entries
        if value != UNKNOWN
    )
    return f'<dl class="totals">{shown}</dl>' if shown else ""


def links_table(links: Sequence[LinkRow]) -> str:
    """Return what each direction of each link was to do, what it did, and what it carried."""
    if not links:
        return ""
    rows = "".join(_link(each) for each in links)
    return (
        f"<section><h2>Links</h2>{_LINKS_NOTE}"
        f'<div class="table"><table><thead>{_LINKS_HEADING}</thead><tbody>{rows}</tbody></table>'
        "</div></section>"
    )


def machines_table(machines: Sequence[MachineRow]) -> str:
    """Return what each machine might use, and used."""
    if not machines:
        return ""
    rows = "".join(_machine(each) for each in machines)
    return (
        '<section><h2>Machines</h2><div class="table">'
        f"<table><thead>{_MACHINES_HEADING}</thead><tbody>{rows}</tbody></table></div></section>"
    )


def programs_table(machines: Sequence[MachineRow]) -> str:
    """Return what each program did, of those that wrote a summary."""
    told = [each for each in machines if each.frames or each.fps is not None]
    if not told:
        return ""
    rare = [name for name in _RARE_OUTCOMES if any(each.frames.get(name) for each in told)]
    outcomes = [*_OUTCOMES, *rare]
    names = "".join(f"<th>{name}</th>" for name in outcomes)
    rows = "".join(_program(each, outcomes) for each in told)
    return (
        '<section><h2>Programs</h2><p class="note">What their summaries say.</p>'
        '<div class="table"><table><thead><tr><th rowspan="2">Machine</th>'
        f'<th colspan="2">Frames per second</th><th colspan="{len(outcomes)}">Frames</th>'
        '<th rowspan="2">Latency, 95&nbsp;%</th><th rowspan="2">Mean split</th>'
        '<th rowspan="2">Cloud CPU time saved</th><th rowspan="2">Reconnects</th></tr>'
        f"<tr><th>target</th><th>got</th>{names}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _link(row: LinkRow) -> str:
    asked = _figures(row.requested, unlimited="no limit")
    got = _figures(row.achieved, unlimited=UNKNOWN)
    cells = [_named(f"{row.link} to {row.to}", row.kind)]
    for name, wanted in asked.items():
        cells.append(_cell(wanted))
        is_off = name in row.differs
        cells.append(_cell(f"{got[name]} {_off(row, name)}" if is_off else got[name], _css(is_off)))
    cells += [
        _cell(_or_dash(row.delivered_bytes, amount)),
        _cell(_or_dash(row.lost_packets, plain)),
        _cell(_or_dash(row.dropped_packets, plain)),
        _cell(_or_dash(row.missed_packets, plain), _css(bool(row.missed_packets))),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _figures(figures: Figures | None, *, unlimited: str) -> dict[str, str]:
    """Return what a direction does in words, by the names of `Figures`; jitter is at the delay."""
    if figures is None:
        return {"rate_bit_s": UNKNOWN, "delay_s": UNKNOWN, "loss": UNKNOWN}
    jitter = f" ± {seconds(figures.jitter_s)}" if figures.jitter_s else ""
    return {
        "rate_bit_s": unlimited if figures.rate_bit_s is None else rate(figures.rate_bit_s),
        "delay_s": _or_dash(figures.delay_s, seconds) + jitter,
        "loss": _or_dash(figures.loss, share),
    }


def _off(row: LinkRow, name: str) -> str:
    """Return in which direction a figure differs, for those who do not see the colour."""
    assert row.requested is not None
    assert row.achieved is not None
    return "▲" if getattr(row.achieved, name) > getattr(row.requested, name) else "▼"


def _machine(row: MachineRow) -> str:
    role = ", ".join(each for each in (row.role, row.kind) if each)
    cells = [
        _named(row.machine, role),
        _cell(_limits(row.cpu_limits, plain)),
        _cell(_or_dash(row.cpu_mean_cores, plain)),
        _cell(_or_dash(row.cpu_peak_cores, plain)),
        _cell(_limits(row.memory_limits, size)),
        _cell(_or_dash(row.memory_peak_bytes, size)),
        _cell(_or_dash(row.exit_code, _exit_code), _css(row.exit_code not in (None, 0))),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _program(row: MachineRow, outcomes: Sequence[str]) -> str:
    cells = [
        _named(row.machine, None),
        _cell(_or_dash(row.target_fps, plain)),
        _cell(_or_dash(row.fps, plain)),
        *(_cell(_or_dash(row.frames.get(name, 0), plain)) for name in outcomes),
        _cell(_or_dash(row.latency_p95_s, seconds)),
        _cell(_or_dash(row.split_mean, plain)),
        _cell(_or_dash(row.cloud_s_saved, seconds)),
        _cell(_or_dash(row.reconnects, plain)),
    ]
    return f"<tr>{''.join(cells)}</tr>"


def _exit_code(code: float) -> str:
    """Return an exit code, or what the signal is called that ended a program."""
    number = round(code)
    return str(number) if number >= 0 else f"{signal.strsignal(-number)} (signal {-number})"


def _named(name: str, what: str | None) -> str:
    note = f'<br><span class="note">{escape(what)}</span>' if what else ""
    return f'<th scope="row">{escape(name)}{note}</th>'


def _cell(text: str, css: str = "") -> str:
    start = f'<td class="{css}">' if css else "<td>"
    return f"{start}{escape(text)}</td>"


def _css(is_off: bool) -> str:
    return "off" if is_off else ""


def _or_dash(value: float | None, say: Callable[[float], str]) -> str:
    return UNKNOWN if value is None else say(value)


def _limits(limits: Sequence[float | None], say: Callable[[float], str]) -> str:
    """Return the limits that held one after the other."""
    known = ["no limit" if each is None else say(each) for each in limits]
    return " → ".join(known) or UNKNOWN


def _unfinished(totals: Totals) -> str:
    """Return what became of the other frames."""
    others = [name for name in totals.frames if name not in ("captured", "completed", "filtered")]
    said = [f"{plain(totals.frames[name])} {name}" for name in others if totals.frames[name]]
    return ", ".join(said) or "none dropped or failed"


def _packets(totals: Totals) -> str:
    lost, dropped = totals.lost_packets or 0, totals.dropped_packets or 0
    return f"{plain(lost)} packets lost, {plain(dropped)} dropped"

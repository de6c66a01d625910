"""The table at the end of a device's run: what ran where, what it cost, what was saved. Pure.

view.close(final_table(report))
"""

from collections.abc import Sequence
from typing import Final

from offload.console.figures import seconds, size
from offload.console.table import Column, Table
from offload.console.text import MARGIN, Line, Span, Tone
from offload.device.report import RunReport
from offload.device.totals import TaskCost

_TASK: Final = Column(title="task", rank=0)
_DEVICE: Final = (
    Column(title="runs here", rank=4, is_right=True),
    Column(title="s here", rank=1, is_right=True),
)
_CLOUD: Final = (
    Column(title="runs in the cloud", rank=3, is_right=True),
    Column(title="s in the cloud", rank=2, is_right=True),
)


def final_table(report: RunReport) -> Table:
    """Return the table of a run: a row for each task, their sum, and a few lines below.

    Without a cloud there are no columns for it, and nothing was saved.
    """
    has_cloud = report.mode != "client_only"
    costs = report.totals.costs
    rows = [
        [Span(text=name), *_here(each), *(_there(each) if has_cloud else ())]
        for name, each in zip(report.totals.tasks, costs, strict=True)
    ]
    there = [Span(text=""), Span(text=seconds(report.totals.cloud_task_s()))] if has_cloud else []
    total = [Span(text="all"), Span(text=""), Span(text=seconds(report.totals.device_task_s()))]
    return Table(
        columns=[_TASK, *_DEVICE, *(_CLOUD if has_cloud else ())],
        rows=[*rows, [*total, *there]],
        below=[_sent(report), *_saved(report)] if has_cloud else (),
    )


def _here(cost: TaskCost) -> list[Span]:
    return _runs(cost.runs_device, cost.device_s)


def _there(cost: TaskCost) -> list[Span]:
    return _runs(cost.runs_cloud, cost.cloud_s)


def _runs(number: int, spent_s: float) -> list[Span]:
    # What never ran leaves a hole: one sees at once where a task was.
    if number == 0:
        return [Span(text=""), Span(text="")]
    return [Span(text=str(number)), Span(text=seconds(spent_s))]


def _sent(report: RunReport) -> Line:
    frames = report.frames["captured"] + report.frames["resumed"]
    text = size(report.link.sent_bytes)
    if frames:
        text += f", {size(report.link.sent_bytes / frames)} for each frame"
    return _labelled("sent", text)


def _saved(report: RunReport) -> Sequence[Line]:
    """Return the line of what the cloud was spared, if its tasks ran anywhere.

    What sending everything would have sent nobody has measured, so nothing is said of bytes.
    """
    saved_s = report.totals.cloud_s_saved()
    all_s = report.totals.cloud_task_s() + saved_s
    if all_s <= 0:
        return ()
    # All of it is only what is all of it.
    percent = int(100 * saved_s / all_s)
    text = f"{seconds(saved_s)} of the {seconds(all_s)} cloud seconds of split 1 ({percent} %)"
    lines = [_labelled("saved", text)]
    if any(each.runs_device and not each.runs_cloud for each in report.totals.costs[1:]):
        lines.append(_labelled("", "tasks that the cloud never ran count as they ran here"))
    return lines


def _labelled(label: str, text: str) -> Line:
    return (MARGIN, Span(text=f"{label:<5}  ", tone=Tone.QUIET), Span(text=text))

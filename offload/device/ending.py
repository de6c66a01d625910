"""How a run ended, as the one line that the user gets if not all went well.

check_ended_well(report, options)                   # the stream came to its end
say_what_is_kept(report, options, after=error)      # it could not go on
"""

import logging
import shlex

from offload.device.drain import DRAIN_S
from offload.device.options import Mode, Options
from offload.device.report import RunReport
from offload.errors import OffloadError, RunFailed, ServerUnavailable, WorkKept

logger = logging.getLogger("device")


def check_ended_well(report: RunReport, options: Options) -> None:
    """Return if every frame has an outcome, and some are finished or none failed.

    Raises:
        RunFailed: Frames were abandoned; or all have an outcome, some failed, none is finished.
        WorkKept: Frames are kept in the spool, whatever became of the others.
    """
    frames = report.frames
    if frames["abandoned"]:
        raise RunFailed(_what_was_abandoned(report, options))
    if frames["spooled"]:
        raise WorkKept(_what_is_kept(report, options))
    if frames["failed"] and report.totals.throughput_frames == 0:
        raise RunFailed(_why_all_failed(report))


def say_what_is_kept(report: RunReport, options: Options, *, after: OffloadError) -> None:
    """Say what is in the spool, if anything is, when ``after`` has ended the run.

    Raises:
        WorkKept: No server was there, and nothing but the spool is needed to go on.
    """
    if not report.link.spooled:
        return
    kept = _what_is_kept(report, options)
    if isinstance(after, ServerUnavailable) and not report.frames["abandoned"]:
        raise WorkKept(f"{after}; {kept}") from after
    logger.warning("work_kept", extra={"how": kept})


def _what_is_kept(report: RunReport, options: Options) -> str:
    kept = report.link.spooled
    return (
        f"{_counted(kept)} {'is' if kept == 1 else 'are'} kept in {options.spool}: "
        f"start again with --stream {shlex.quote(options.stream)} and the same --spool"
    )


def _what_was_abandoned(report: RunReport, options: Options) -> str:
    abandoned = report.frames["abandoned"]
    what = f"{_counted(abandoned)} {'was' if abandoned == 1 else 'were'} abandoned: "
    if options.mode is Mode.CLIENT_ONLY:
        return (
            f"{what}their outcome was not stored within {DRAIN_S:.0f} s of the request to end; "
            f"look at the tasks and at {options.results}, which of them is so slow"
        )
    what += f"the server did not acknowledge them within {DRAIN_S:.0f} s of the request to end, "
    if options.spool is None:
        return f"{what}and nothing keeps them: --spool DIR would, for the next run"
    what += f"and they could not be written to {options.spool}: look at its disk and --spool-limit"
    return f"{what}; {_what_is_kept(report, options)}" if report.link.spooled else what


def _why_all_failed(report: RunReport) -> str:
    ((task, _),) = report.totals.failures.most_common(1)
    reason = report.totals.first_reasons[task]
    what = f"no frame was finished, {report.frames['failed']} failed: "
    if not task:
        return f"{what}{reason}"
    mend = "mend the app; --log-level debug names the line, if it ran here"
    return f"{what}task {task!r} {reason}; {mend}"


def _counted(frames: int) -> str:
    return "1 frame" if frames == 1 else f"{frames} frames"

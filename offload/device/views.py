"""All that look at a device's run: its log, and what else the user asked for.

with closing(DeviceViews(options, reasons=tuple(Reason), environment=os.environ)) as views:
views.recorder.record(event)
...
views.end(report)
"""

import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from offload.console.views import live_device_view
from offload.device.event_log import EventLog
from offload.device.final_table import final_table
from offload.device.options import Options
from offload.device.report import RunReport
from offload.metrics import open_device_endpoint
from offload.telemetry.recorder import Recorder
from offload.telemetry.trace import open_trace


class DeviceViews:
    """The views of one run.

    Args:
        options: What the user asked for.
        reasons: All reasons that the scheduler may have for its split.
        environment: The environment.

    Attributes:
        recorder: Shows them the run's events.

    Raises:
        ConfigurationError: A trace cannot be written, or metrics cannot be served.
    """

    def __init__(
        self, options: Options, *, reasons: Sequence[str], environment: Mapping[str, str]
    ) -> None:
        """Open them."""
        # With both limits nobody knows whether time or frames will be over first.
        limit = options.limit
        duration_s = limit.duration_s if limit.frames is None else None
        self._terminal = live_device_view(sys.stderr, environment, duration_s=duration_s)
        # Where a live line says how the run goes, lines of the log need not.
        report_every_s = options.report_every_s if self._terminal is None else math.inf
        self.recorder = Recorder([EventLog(report_every_s=report_every_s)])
        with ExitStack() as opened:
            if self._terminal is not None:
                opened.callback(self._terminal.close)
                self.recorder.add(self._terminal)
            if options.trace is not None:
                trace = open_trace(options.trace)
                opened.callback(trace.close)
                self.recorder.add(trace)
            if options.metrics is not None:
                endpoint = open_device_endpoint(
                    options.metrics,
                    add_view=self.recorder.add,
                    now=self.recorder.now,
                    reasons=reasons,
                )
                opened.callback(endpoint.close)
            self._opened = opened.pop_all()

    def end(self, report: RunReport) -> None:
        """Leave a table of the run in the place of the live line."""
        if self._terminal is not None:
            self._terminal.close(final_table(report))

    def close(self) -> None:
        """Close them."""
        self._opened.close()

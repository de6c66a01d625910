"""What looks at a server's events beside its log and its page, as the user asked for it.

with closing(ServerViews(setup, telemetry, environment=os.environ)) as views:
...
views.end(tally)
"""

import sys
from collections.abc import Mapping
from contextlib import ExitStack

from offload.cloud.final_table import final_table
from offload.cloud.options import Options
from offload.cloud.report import Tally
from offload.cloud.telemetry import ServerTelemetry
from offload.console.views import live_server_view
from offload.metrics import open_server_endpoint
from offload.telemetry.trace import open_trace


class ServerViews:
    """The views of one server.

    Args:
        options: What the user asked for.
        telemetry: What they look at.
        environment: The environment.

    Raises:
        ConfigurationError: A trace cannot be written, or metrics cannot be served.
    """

    def __init__(
        self, options: Options, telemetry: ServerTelemetry, *, environment: Mapping[str, str]
    ) -> None:
        """Open them."""
        self._terminal = live_server_view(sys.stderr, environment)
        with ExitStack() as opened:
            if self._terminal is not None:
                opened.callback(self._terminal.close)
                telemetry.add_view(self._terminal)
            if options.trace is not None:
                trace = open_trace(options.trace)
                opened.callback(trace.close)
                telemetry.add_view(trace)
            if options.metrics is not None:
                endpoint = open_server_endpoint(
                    options.metrics,
                    add_view=telemetry.add_view,
                    now=telemetry.now,
                    max_streams=options.max_clients,
                )
                opened.callback(endpoint.close)
            self._opened = opened.pop_all()

    def end(self, tally: Tally) -> None:
        """Leave a table of the streams in the place of the live rows."""
        if self._terminal is not None:
            self._terminal.close(final_table(tally.listed()))

    def close(self) -> None:
        """Close them."""
        self._opened.close()

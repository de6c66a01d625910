"""The views of the recorder that draw on a terminal.

    view = live_device_view(sys.stderr, os.environ)
    if view is not None:
        recorder.add(view)
    ...
    if view is not None:
        view.close(final_table(report))

There is no view where standard error is no terminal, or one that cannot move its cursor
(``TERM=dumb``), or where log lines are for machines, or ``progress`` lines are not asked for: then
the programs' log lines say it all. Where there is one, it takes the place of ``progress`` lines.
"""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TextIO, TypeVar

from offload.console.device_line import DeviceState, device_line
from offload.console.live import LiveTerminal
from offload.console.server_rows import Row, ServerState, server_lines
from offload.console.table import Table, table_lines
from offload.console.text import Look, look_of, painted
from offload.logs import JsonFormatter
from offload.telemetry.events import (
    RunBegan,
    Sampled,
    ServerSampled,
    SessionLost,
    SessionOpened,
    StreamEnded,
    StreamSampled,
    TelemetryEvent,
)

# A column at the right stays empty: some terminals go to the next line as soon as it is written.
SPARE_COLUMNS = 1


class TerminalView:
    """What the views share: a terminal, and how lines look on it.

    Args:
        output: Where the terminal is.
        environment: ``NO_COLOR`` and ``TERM`` say how lines look.
    """

    def __init__(self, output: TextIO, environment: Mapping[str, str]) -> None:
        """Show nothing yet."""
        self._look = look_of(output.encoding, environment)
        self._terminal = LiveTerminal(output)

    def close(self, table: Table | None = None) -> None:
        """Take away what is live, and leave ``table`` in its place if it has rows.

        The second time nothing happens.
        """
        if table is None or not table.rows:
            self._terminal.close()
        else:
            self._terminal.close(partial(_table_picture, table, self._look))


class DeviceView(TerminalView):
    """The live line of a device.

    Args:
        output: Where the terminal is.
        environment: ``NO_COLOR`` and ``TERM`` say how lines look.
        duration_s: How long it will run; None if nobody knows.
    """

    def __init__(
        self, output: TextIO, environment: Mapping[str, str], *, duration_s: float | None
    ) -> None:
        """Show nothing yet."""
        super().__init__(output, environment)
        self._duration_s = duration_s
        self._state: DeviceState | None = None

    def note(self, event: TelemetryEvent) -> None:
        """Draw the line anew if the event changes it."""
        state = _device_state(self._state, event, self._duration_s)
        if state is not self._state and state is not None:
            self._state = state
            self._terminal.show(partial(_device_picture, state, self._look))


class ServerView(TerminalView):
    """The rows of a server's connected devices."""

    def __init__(self, output: TextIO, environment: Mapping[str, str]) -> None:
        """Show nothing yet."""
        super().__init__(output, environment)
        self._rows: dict[str, Row] = {}
        self._server: ServerSampled | None = None

    def note(self, event: TelemetryEvent) -> None:
        """Take the event in; draw when devices come and go, and with each sample of the server."""
        match event:
            case SessionOpened(stream=stream, device=device):
                self._rows[stream] = Row(stream=stream, device=device)
            case SessionLost(stream=stream) | StreamEnded(stream=stream):
                self._rows.pop(stream, None)
            case StreamSampled():
                self._note_stream(event)
                return
            case Sampled(stream=stream):
                if (row := self._rows.get(stream)) is not None:
                    self._rows[stream] = replace(row, said=event)
                return
            case ServerSampled():
                self._server = event
            case _:
                return
        state = ServerState(rows=tuple(self._rows.values()), server=self._server)
        self._terminal.show(partial(_server_picture, state, self._look))

    def _note_stream(self, sample: StreamSampled) -> None:
        if not sample.connected:
            self._rows.pop(sample.stream, None)
            return
        row = self._rows.get(sample.stream) or Row(stream=sample.stream, device=sample.device)
        self._rows[sample.stream] = replace(row, sample=sample, before=row.sample)


AnyView = TypeVar("AnyView", bound=TerminalView)


def live_device_view(
    output: TextIO | None, environment: Mapping[str, str], *, duration_s: float | None = None
) -> DeviceView | None:
    """Return the view for a device's recorder; None where there is to be none.

    Call it once logging is set up; whoever gets a view closes it.

    Args:
        output: Standard error.
        environment: ``TERM`` and ``NO_COLOR`` count.
        duration_s: How long it will run; None if nobody knows.
    """
    return _live_view(partial(DeviceView, duration_s=duration_s), output, environment)


def live_server_view(output: TextIO | None, environment: Mapping[str, str]) -> ServerView | None:
    """Return the view for a server's recorder; None where there is to be none.

    Call it once logging is set up; whoever gets a view closes it.

    Args:
        output: Standard error.
        environment: ``TERM`` and ``NO_COLOR`` count.
    """
    return _live_view(ServerView, output, environment)


def _live_view(
    make: Callable[[TextIO, Mapping[str, str]], AnyView],
    output: TextIO | None,
    environment: Mapping[str, str],
) -> AnyView | None:
    if (
        output is None
        or not output.isatty()
        or environment.get("TERM", "") in ("", "dumb")
        or not logging.getLogger().isEnabledFor(logging.INFO)
        or any(isinstance(each.formatter, JsonFormatter) for each in logging.getLogger().handlers)
    ):
        return None
    return make(output, environment)


def _device_state(
    state: DeviceState | None, event: TelemetryEvent, duration_s: float | None
) -> DeviceState | None:
    """Return the state after an event; the same one if the event changes nothing."""
    if isinstance(event, RunBegan):
        return DeviceState(began=event, sample=None, is_connected=False, duration_s=duration_s)
    if state is None:
        return None
    match event:
        case SessionOpened():
            return replace(state, is_connected=True)
        case SessionLost():
            return replace(state, is_connected=False)
        case Sampled():
            return replace(state, sample=event, is_connected=event.connected)
        case _:
            return state


def _table_picture(table: Table, look: Look, size: os.terminal_size) -> list[str]:
    lines = table_lines(table, width=size.columns - SPARE_COLUMNS, look=look)
    return ["", *(painted(each, look) for each in lines)]


def _device_picture(state: DeviceState, look: Look, size: os.terminal_size) -> list[str]:
    return [painted(device_line(state, width=size.columns - SPARE_COLUMNS, look=look), look)]


def _server_picture(state: ServerState, look: Look, size: os.terminal_size) -> list[str]:
    lines = server_lines(state, width=size.columns - SPARE_COLUMNS, height=size.lines, look=look)
    return [painted(each, look) for each in lines]

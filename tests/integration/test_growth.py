"""What a server forgets of devices that are away, and finds again when they return."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from offload.cloud.stream_table import MAX_IDLE_STREAMS
from tests.integration.programs import cloud_server, read_results, write_app
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice

pytestmark = pytest.mark.integration


def visit(port: int, app: RawApp, stream: str, seq: int, number: int) -> None:
    """Come, send a frame, and go without an end."""
    with RawDevice(port, app, stream=stream, position=seq) as device:
        device.open()
        device.send_frame(seq, number=number)
        device.wait_for_acknowledgement(seq + 1)


@pytest.mark.slow
def test_a_stream_that_was_forgotten_goes_on_with_the_state_of_its_tasks(tmp_path: Path) -> None:
    app = RawApp.of(write_app(tmp_path, "raw_numbers", NUMBERS), NUMBERS)
    arguments = ("--app", app.name, "--insecure", "--log-level", "debug")
    with cloud_server(tmp_path, *arguments) as server:
        visit(server.port, app, "first", 0, 10)
        with ThreadPoolExecutor(8) as threads:
            for each in range(MAX_IDLE_STREAMS):
                threads.submit(visit, server.port, app, f"s{each}", 0, 1)
        server.wait_for_line("stream_forgotten stream=first")
        visit(server.port, app, "first", 1, 5)
        stopped = server.stop()
    assert stopped.code == 0
    assert read_results(tmp_path / "results.db", "first") == {0: 20, 1: 30}

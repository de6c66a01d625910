"""A server answers probes: what a device measures its link by, and compares clocks by."""

import time
from pathlib import Path

import pytest

from offload.errors import HandshakeError, OffloadError, RemoteProtocolError
from offload.messages import MAX_PROBE_BYTES, PROBE, PROBED, Control, Probe, Probed
from tests.integration.programs import cloud_server, write_app
from tests.integration.raw_device import NUMBERS, RawApp, RawDevice

pytestmark = pytest.mark.integration


def answers(device: RawDevice, *, count: int) -> list[Probed]:
    found: list[Probed] = []
    for event in device.events():
        if isinstance(event, Control) and event.name == PROBED:
            found.append(Probed.read(event))
        if len(found) == count:
            break
    return found


def test_server_answers_probes_in_order_with_its_clock_and_as_many_bytes_as_wanted(
    tmp_path: Path,
) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with (
        cloud_server(tmp_path, "--app", name, "--insecure") as server,
        RawDevice(server.port, app, stream="s", trial=True) as device,
    ):
        device.open()
        before = time.time()
        for number, wanted in enumerate((0, 5, MAX_PROBE_BYTES)):
            probe = Probe(number=number, padding=bytes(1000), wanted_bytes=wanted)
            device.send_raw(probe.control())
        found = answers(device, count=3)
        assert [each.number for each in found] == [0, 1, 2]
        assert [len(each.padding) for each in found] == [0, 5, MAX_PROBE_BYTES]
        assert all(before <= each.at <= time.time() for each in found)


@pytest.mark.parametrize(
    "body",
    [
        {"request": 1, "padding": b"", "wanted": MAX_PROBE_BYTES + 1},
        {"request": 1, "padding": b"", "wanted": -1},
        {"request": 1, "padding": "", "wanted": 1},
        {"request": -1, "padding": b"", "wanted": 1},
        {},
    ],
)
def test_probe_that_is_none_breaks_the_protocol(tmp_path: Path, body: dict[str, object]) -> None:
    name = write_app(tmp_path, "numbers_app", NUMBERS)
    app = RawApp.of(name, NUMBERS)
    with (
        cloud_server(tmp_path, "--app", name, "--insecure") as server,
        RawDevice(server.port, app, stream="s", trial=True) as device,
    ):
        device.open()
        device.send_raw(Control(name=PROBE, body=body))
        error: OffloadError = device.refusal()
    assert isinstance(error, (RemoteProtocolError, HandshakeError))

"""A device that waits for its welcome learns that the server lives, however long that takes."""

from pathlib import Path

import pytest

from offload.messages import HEARTBEAT, Control, Welcome
from offload.session import SILENCE_S
from offload.wire import ENVELOPE_ONLY_BYTES, Decoder
from tests.integration.programs import cloud_server, write_app
from tests.integration.raw_device import GATED, Gate, RawApp, RawDevice
from tests.session_pair import feed

pytestmark = pytest.mark.integration


def shake_hands(device: RawDevice) -> None:
    """Go as far as to the open; nothing more may come in the same bytes."""
    device.flush()
    while not device.session.is_opening:
        feed(device.session, device.socket.recv(ENVELOPE_ONLY_BYTES))
        device.flush()


@pytest.mark.slow
def test_a_device_hears_signs_of_life_while_its_earlier_frames_are_worked_on(
    tmp_path: Path,
) -> None:
    gate = Gate(tmp_path)
    app = RawApp.of(write_app(tmp_path, "gated", GATED), GATED)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="a") as older,
        RawDevice(server.port, app, stream="a") as newer,
    ):
        older.open()
        older.send_frame(0, number=1)
        shake_hands(newer)
        newer.socket.settimeout(SILENCE_S)
        heard = Decoder(max_message_bytes=ENVELOPE_ONLY_BYTES)
        for _ in range(3):
            data = newer.socket.recv(ENVELOPE_ONLY_BYTES)
            assert feed(heard, data) == [Control(name=HEARTBEAT)]
            assert feed(newer.session, data) == []
        gate.open()
        welcome = next(newer.events())
        assert isinstance(welcome, Welcome)
        assert welcome.next_seq == 1
        newer.send_frame(1, number=2)
        newer.wait_for_acknowledgement(2)

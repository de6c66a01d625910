"""Devices that only say how they are: what a server with a page has to do for many of them.

    python3 -m benchmarks.page_devices PORT COUNT

It reads the token that the server of the same folder made, prints ``ready`` once all are connected,
and ends when its standard input does.
"""

import os
import random
import select
import socket
import sys
import time
from collections.abc import Iterator
from typing import Final

from ball_tracking_example import make_pipeline
from offload.auth import load_device_token, new_nonce
from offload.messages import SAMPLED, Control, Open, Welcome
from offload.session import DeviceSession
from offload.telemetry.events import SAMPLE_PERIOD_S, Forecast, Sampled, TaskTotals
from offload.telemetry.form import to_fields

APP: Final = "ball_tracking_example"
PIPELINE: Final = make_pipeline(None)
TARGET_FPS: Final = 25.0

# All that answers is a server on this machine.
TIMEOUT_S: Final = 10.0


class QuietDevice:
    """A device that sends no frames.

    Args:
        port: Where the server is, on loopback.
        name: Of its stream.
    """

    def __init__(self, port: int, name: str) -> None:
        """Connect, and open its stream."""
        self._stream = name
        self._began_s = time.monotonic()
        self._samples = 0
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        opening = Open(app=APP, fingerprint=PIPELINE.fingerprint(), stream=name, device=name)
        token = load_device_token(None, os.environ)
        self._session = DeviceSession(opening=opening, token=token, nonce=new_nonce())
        self._flush()
        while not any(isinstance(event, Welcome) for event in self.hear()):
            pass

    def hear(self) -> Iterator[object]:
        """Yield what the server has said."""
        count = self.socket.recv_into(self._session.buffer())
        if not count:
            raise SystemExit(f"{self._stream}: the server hung up")
        yield from self._session.received(count)
        self._flush()

    def say(self) -> None:
        """Say how it is; every time something else."""
        self._samples += 1
        body = to_fields(self._sampled())
        self._session.send_control(Control(name=SAMPLED, body=body))
        self._flush()

    def _flush(self) -> None:
        self.socket.sendall(b"".join(map(bytes, self._session.take_outgoing())))

    def _sampled(self) -> Sampled:
        frames = round(TARGET_FPS * self._samples)
        tasks = len(PIPELINE)
        on_device = TaskTotals(
            device_s=0.001 * frames, cloud_s=0.0, device_runs=frames, cloud_runs=0
        )
        return Sampled(
            at_s=time.monotonic() - self._began_s,
            stream=self._stream,
            running_s=time.monotonic() - self._began_s,
            fps=TARGET_FPS + random.uniform(-1, 1),
            target_fps=TARGET_FPS,
            pinned=None,
            split=random.uniform(3, 4),
            reason="settled",
            latency_p50_s=random.uniform(0.01, 0.02),
            latency_p95_s=random.uniform(0.02, 0.03),
            latency_p99_s=0.04,
            in_flight=random.randint(0, 9),
            window=32,
            connected=True,
            link_bytes_per_s=random.uniform(2e6, 3e6),
            sent_bytes=10_000 * frames,
            reconnects=0,
            resent=0,
            captured=frames,
            resumed=0,
            completed=frames,
            filtered=0,
            dropped=0,
            failed=0,
            spooled=0,
            spool_bytes=None,
            spool_limit_bytes=None,
            expected_frames=None,
            split_frames=(0, 0, 0, frames // 2, frames - frames // 2, 0, 0, 0),
            tasks=(on_device,) * tasks,
            cpu_percent=random.uniform(20, 30),
            machine_part=0.3,
            memory_bytes=90_000_000,
            temperature_c=55.0,
            missed=None,
            newest_age_s=None,
            cloud_load=0.2,
            forecasts=tuple(
                Forecast(
                    split=split,
                    encoding="lossless",
                    fps=30.0,
                    limit="device",
                    device_s=0.03,
                    link_s=0.01,
                    cloud_s=0.001,
                )
                for split in PIPELINE.splits
            ),
        )


def main() -> None:
    """Connect, and go on until nobody wants it any more."""
    port, count = int(sys.argv[1]), int(sys.argv[2])
    devices = {}
    for number in range(count):
        device = QuietDevice(port, f"device-{number:04}")
        devices[device.socket] = device
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    # Spread over the period, as those of real devices are.
    turns = [(number * SAMPLE_PERIOD_S / count, each) for number, each in enumerate(devices)]
    began_s = time.monotonic()
    while True:
        for after_s, each in turns:
            while (left_s := began_s + after_s - time.monotonic()) > 0:
                readable, _, _ = select.select([sys.stdin, *devices], [], [], left_s)
                for heard in readable:
                    if not isinstance(heard, socket.socket):
                        return
                    list(devices[heard].hear())
            devices[each].say()
        began_s += SAMPLE_PERIOD_S


if __name__ == "__main__":
    main()

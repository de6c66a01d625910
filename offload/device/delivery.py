"""Where a device's frames go: to the cloud, or to a store on this machine.

The device program works with either in the same way, by `Delivery`.

    uplink = open_uplink(options, opening, os.environ, recorder)
    uplink.start()
    local = open_local(options, app="my_app")
"""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from offload.auth import load_device_token
from offload.device.dialer import Dialer
from offload.device.local_delivery import LocalDelivery
from offload.device.options import Options
from offload.device.outbox import Delivered
from offload.device.uplink import LinkState, Uplink
from offload.errors import ConfigurationError
from offload.messages import Open, OutcomeRange
from offload.results import open_results
from offload.servers import security
from offload.telemetry.recorder import Recorder
from offload.transport import machine_name


class Delivery(Protocol):
    """Takes frames, and gives them back as delivered; see `Uplink` and `LocalDelivery`."""

    @property
    def room(self) -> int:
        """How many more frames may be put in now."""

    def wait_for_room(self, *, timeout_s: float) -> bool:
        """Wait until another frame may be put in; False if it may not by then."""

    def put_ended(self, ended: OutcomeRange, *, captured_s: Sequence[float]) -> None:
        """Hand over frames that ended without a result."""

    def take_deliveries(self) -> list[Delivered]:
        """Return the frames that were finished since the last call."""

    def finish(self, *, timeout_s: float | None) -> bool:
        """Say that the stream is complete; True once all of it is stored."""

    def close(self) -> None:
        """Release what it holds."""

    def state(self) -> LinkState:
        """Return how it is doing."""


def open_uplink(
    options: Options, opening: Open, environment: Mapping[str, str], recorder: Recorder
) -> Uplink:
    """Return the way to the cloud, with a spool if the user wants one; nothing is connected yet.

    Raises:
        ConfigurationError: A token, certificate or spool cannot be used.
        HandshakeError: The spool keeps frames of another pipeline.
    """
    dialer = Dialer(
        servers=options.servers,
        token=load_device_token(options.token_file, environment),
        retry_for_s=options.retry_for_s,
        secure=security(options),
    )
    spool = None
    if options.spool is not None:
        # Here, because it loads SQLite, which a device without a spool does without.
        from offload.device.spooling import open_spool

        spool = open_spool(
            options.spool,
            opening,
            limit_bytes=options.spool_limit,
            is_named=options.stream_is_named,
        )
    return Uplink(
        dialer=dialer, opening=opening, window=options.window, recorder=recorder, spool=spool
    )


def open_local(options: Options, *, app: str) -> LocalDelivery:
    """Open the store of client-only mode, and the stream in it.

    Raises:
        ConfigurationError: The stream belongs to another app.
        ResultsError: The store cannot be opened.
    """
    store = open_results(options.results)
    record = store.open_stream(
        stream=options.stream, device=machine_name(), app=app, owner="", now=time.time()
    )
    if record.app != app:
        store.close()
        raise ConfigurationError(
            f"stream {options.stream!r} belongs to app {record.app!r}: choose another --stream"
        )
    return LocalDelivery(store, record)

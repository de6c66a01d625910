"""Metrics for Prometheus: what the last events say, at an address where it is scraped.

``families``, ``device_families`` and ``server_families`` say what metrics there are; ``device`` and
``server`` keep the newest events of a program and read them as metrics. ``exposition`` writes them
in Prometheus' text format and ``endpoint`` serves that: both need the extra ``metrics``. All of it
is loaded when somebody asks for an endpoint.

    endpoint = open_device_endpoint(
        address, add_view=recorder.add, now=recorder.now, reasons=tuple(Reason)
    )
    ...
    endpoint.close()
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from offload.errors import ConfigurationError

if TYPE_CHECKING:
    from offload.metrics.endpoint import MetricsEndpoint
    from offload.metrics.families import Metrics
    from offload.places import Place
    from offload.telemetry.recorder import View


def open_device_endpoint(
    address: "Place",
    *,
    add_view: Callable[["View"], None],
    now: Callable[[], float],
    reasons: Sequence[str],
) -> "MetricsEndpoint":
    """Serve a device program's metrics until the endpoint is closed.

    Args:
        address: Where.
        add_view: Lets a view see the program's events.
        now: Returns the time, as the events have it.
        reasons: All reasons that its scheduler may have for its split.

    Raises:
        ConfigurationError: A package is missing, or the address cannot be listened on.
    """
    from offload.metrics.device import DeviceMetrics

    metrics = DeviceMetrics(reasons=reasons, now=now)
    endpoint = open_endpoint(address, metrics)
    add_view(metrics)
    return endpoint


def open_server_endpoint(
    address: "Place",
    *,
    add_view: Callable[["View"], None],
    now: Callable[[], float],
    max_streams: int,
) -> "MetricsEndpoint":
    """Serve a server's metrics until the endpoint is closed.

    Args:
        address: Where.
        add_view: Lets a view see the server's events.
        now: Returns the time, as the events have it.
        max_streams: How many streams are shown at most.

    Raises:
        ConfigurationError: A package is missing, or the address cannot be listened on.
    """
    from offload.metrics.server import ServerMetrics

    metrics = ServerMetrics(max_streams=max_streams, now=now)
    endpoint = open_endpoint(address, metrics)
    add_view(metrics)
    return endpoint


def open_endpoint(address: "Place", metrics: "Metrics") -> "MetricsEndpoint":
    """Serve any metrics until the endpoint is closed.

    Raises:
        ConfigurationError: A package is missing, or the address cannot be listened on.
    """
    try:
        from offload.metrics.endpoint import MetricsEndpoint
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise ConfigurationError(
            "--metrics-port needs package prometheus-client, which is not installed: ./run setup "
            "metrics, or python3 -m pip install prometheus-client"
        ) from error
    return MetricsEndpoint(address, metrics)

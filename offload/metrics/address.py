"""Where metrics are served: the value of ``--metrics-port``. Pure.

add("--metrics-port", type=metrics_address, metavar="[ADDR:]PORT", help=METRICS_HELP)
"""

import argparse
import re
from dataclasses import dataclass
from typing import Final

# Whoever reaches the port reads all of it without a token, so others get in only if the user says.
DEFAULT_HOST: Final = "127.0.0.1"

METRICS_HELP: Final = (
    "serve metrics for Prometheus on this port, of this machine alone unless an address is given; "
    "0 takes a free one (needs prometheus-client)"
)

# An IPv6 address stands in brackets, as it does in a URL.
_FORM: Final = re.compile(
    r"(?:(?:\[(?P<v6>[0-9A-Fa-f:.%\w]+)\]|(?P<name>[^\s:/\[\]]+)):)?(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsAddress:
    """An address or name of this machine, and a port; 0 takes a free one."""

    host: str
    port: int


def metrics_address(text: str) -> MetricsAddress:
    """Read ``9464``, ``0.0.0.0:9464``, ``gate.example:9464`` or ``[::]:9464``."""
    found = _FORM.fullmatch(text)
    if found is None or int(found["port"]) > 65535:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a port from 0 to 65535, or an address and one, such as 0.0.0.0:9464"
        )
    return MetricsAddress(
        host=found["v6"] or found["name"] or DEFAULT_HOST, port=int(found["port"])
    )

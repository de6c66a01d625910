"""The protocol over time, as two cores without I/O: bytes in, events out.

`DeviceSession` and `CloudSession` know who may say what when, check every position, and queue what
they have to say, as pieces for a gathering send. They know no sockets, threads or
clocks.

    session = DeviceSession(opening=..., token=..., nonce=...)
    connection.send(session.take_outgoing())
    count = connection.receive_into(session.buffer())
    for event in session.received(count): ...

An operator's end is an `OperatorSession`: it steers devices, and sends no frames.

The order of a session: hello, challenge, proof and open, welcome; then frames and ended ranges one
way and acknowledgements the other; then end and its confirmation. Control messages go both ways
once open; heartbeats of the cloud come before the welcome, too, which may take long.

Each end has a module, ``device``, ``operator`` and ``cloud``; ``caller`` is what the first two
share, ``core`` what all do.
"""

from offload.session.cloud import CloudEvent, CloudSession, OpenRequested, RoleOf, SecretFor
from offload.session.core import SILENCE_S, STALL_S, STEERING_S, TICK_S, State
from offload.session.device import DeviceSession, Event
from offload.session.operator import OperatorSession

__all__ = [
    "SILENCE_S",
    "STALL_S",
    "STEERING_S",
    "TICK_S",
    "CloudEvent",
    "CloudSession",
    "DeviceSession",
    "Event",
    "OpenRequested",
    "OperatorSession",
    "RoleOf",
    "SecretFor",
    "State",
]

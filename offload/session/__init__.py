"""The protocol over time, as two cores without I/O: bytes in, events out.

`DeviceSession` and `CloudSession` know who may say what when, check every position, and queue what
they have to say, as pieces for a gathering send. They know no sockets, threads or
clocks.

    session = DeviceSession(opening=..., token=..., nonce=...)
    connection.send(session.take_outgoing())
    count = connection.receive_into(session.buffer())
    for event in session.received(count): ...

The order of a session: hello, challenge, proof and open, welcome; then frames and ended ranges one
way and acknowledgements the other; then end and its confirmation. Control messages go both ways
once open; heartbeats of the cloud come before the welcome, too, which may take long.

Each end has a module, ``device`` and ``cloud``; ``core`` is what they share.
"""

from offload.session.cloud import CloudEvent, CloudSession, OpenRequested, SecretFor
from offload.session.core import SILENCE_S, STALL_S, TICK_S, State
from offload.session.device import DeviceSession, Event

__all__ = [
    "SILENCE_S",
    "STALL_S",
    "TICK_S",
    "CloudEvent",
    "CloudSession",
    "DeviceSession",
    "Event",
    "OpenRequested",
    "SecretFor",
    "State",
]

"""What both ends of a session share: its states, its times, and a queue of pieces to send."""

from enum import Enum, auto
from typing import Final

from offload.errors import LocalProtocolError, RemoteProtocolError
from offload.messages import HEARTBEAT, Control, Message
from offload.wire import ENVELOPE_ONLY_BYTES, Decoder, Piece, encode

# A device that offers no token says so with an empty name.
NO_TOKEN: Final = ""

# Each end sends something at least every 2 s, looking once a second, and who has heard nothing for
# 5 s is alone: so a peer that is gone is noticed within 6 s, and a link may stall for 3.
TICK_S: Final = 1.0
SILENCE_S: Final = 5.0

# Whoever can go on without an answer need not wait that long to do so: two heartbeats are missing.
STALL_S: Final = 3.0

# From an operator's request, a device has so long to say what it has done. Its main loop looks five
# times a second; a link may stall for a while.
STEERING_S: Final = 5.0


class State(Enum):
    """Where a session stands.

    DECIDING is the cloud's alone, between open and welcome. STEERING is what an operator's session
    is once it may ask; a device's never is.
    """

    HELLO = auto()
    PROOF = auto()
    OPENING = auto()
    DECIDING = auto()
    OPEN = auto()
    ENDING = auto()
    STEERING = auto()
    CLOSED = auto()


_TALKING: Final = (State.OPEN, State.ENDING, State.STEERING)


class Session:
    """What both ends share: a decoder, a queue of pieces to send, a state."""

    def __init__(self, decoder: Decoder) -> None:
        self.state = State.HELLO
        self._decoder = decoder
        self._max_sent_bytes = ENVELOPE_ONLY_BYTES
        self._outgoing: list[Piece] = []

    def buffer(self) -> memoryview:
        """Return the place for the next received bytes."""
        return self._decoder.buffer()

    def take_outgoing(self) -> list[Piece]:
        """Return the pieces that are to be sent now, and forget them."""
        pieces, self._outgoing = self._outgoing, []
        return pieces

    @property
    def is_ending(self) -> bool:
        """Whether the end of the stream has been said."""
        return self.state in (State.ENDING, State.CLOSED)

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self.state is State.CLOSED

    @property
    def is_talking(self) -> bool:
        """Whether control messages may be sent: from the welcome to the end; to operators, too."""
        return self.state in _TALKING

    def send_control(self, control: Control) -> None:
        """Queue a control message."""
        self._require(*_TALKING)
        self._send(control)

    def send_heartbeat(self) -> None:
        """Queue a sign of life."""
        self.send_control(Control(name=HEARTBEAT))

    def _send(self, message: Message) -> int:
        pieces = encode(message, max_message_bytes=self._max_sent_bytes)
        self._outgoing += pieces
        return sum(map(len, pieces))

    def _require(self, *states: State) -> None:
        if self.state not in states:
            raise LocalProtocolError(f"session is {self.state.name}, expected {states[0].name}")

    def _unexpected(self, message: Message) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"peer sent {type(message).__name__} while the session is {self.state.name}"
        )

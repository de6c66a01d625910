"""An operator made of a session and a blocking socket, which does what a test says.

with RawOperator(server.port) as operator:
    operator.ask(OperatorRequest())
    streams = operator.answer()
"""

import socket
from contextlib import AbstractContextManager

from offload.auth import Token, new_nonce
from offload.errors import OffloadError, SessionLost, SteeringError
from offload.messages import OperatorRequest, Steered, StreamSteering
from offload.session import OperatorSession
from tests.integration.raw_device import WAIT_S
from tests.session_pair import OPERATOR, joined


class RawOperator(AbstractContextManager["RawOperator"]):
    """An operator that a test drives step by step. It sends no heartbeats.

    Attributes:
        parts: How many parts the last answer had.
    """

    def __init__(self, port: int, *, token: Token = OPERATOR) -> None:
        self.parts = 0
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.session = OperatorSession(token=token, nonce=new_nonce())
        try:
            self._shake_hands()
        except OffloadError:
            self.socket.close()
            raise

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        """Send what the session has queued."""
        if pieces := self.session.take_outgoing():
            self.socket.sendall(joined(pieces))

    def ask(self, request: OperatorRequest) -> None:
        """Send a request."""
        self.session.ask(request)
        self.flush()

    def answer(self) -> list[StreamSteering]:
        """Wait for the answer to the last request.

        Raises:
            OffloadError: The server refused, or hung up.
        """
        streams: list[StreamSteering] = []
        self.parts = 0
        while True:
            for part in self._receive():
                self.parts += 1
                if part.error is not None:
                    raise SteeringError(part.error)
                streams += part.streams
                if not part.more:
                    return streams

    def refusal(self) -> OffloadError:
        """Wait until the server ends the session, and return how."""
        try:
            while True:
                self._receive()
        except OffloadError as error:
            return error

    def _shake_hands(self) -> None:
        self.flush()
        while not self.session.is_talking:
            assert self._receive() == []

    def _receive(self) -> list[Steered]:
        count = self.socket.recv_into(self.session.buffer())
        if not count:
            raise SessionLost("the server hung up")
        found = list(self.session.received(count))
        self.flush()
        return found

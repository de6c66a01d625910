"""The operator's end of a session: it proves who it is, asks, and is answered."""

from collections.abc import Iterator

from offload.auth import Token
from offload.messages import (
    STEERED,
    Challenge,
    Control,
    Message,
    OperatorRequest,
    Refusal,
    Steered,
)
from offload.session.caller import CallerSession
from offload.session.core import State


class OperatorSession(CallerSession):
    """The operator's end of one session.

    Args:
        token: The operator's token; only a server that proves it is talked to.
        nonce: `NONCE_BYTES` fresh random bytes.
    """

    WHO = "operator"

    def __init__(self, *, token: Token, nonce: bytes) -> None:
        """Queue the hello."""
        super().__init__(token=token, nonce=nonce)

    def ask(self, request: OperatorRequest) -> None:
        """Queue a request, once `is_talking`; the next one may follow its whole answer."""
        self.send_control(request.control())

    def received(self, count: int) -> Iterator[Steered]:
        """Yield what ``count`` more received bytes mean: parts of the answer to the request.

        Raises:
            AuthError: The server refused the token, or could not prove that it knows it.
            HandshakeError: The server refused the protocol.
            Refused: The server ended the session for good, for another reason.
            TurnedAway: The server ended the session and may be back.
            RemoteProtocolError: The server broke the protocol.
        """
        for message in self._decoder.received(count):
            answer = self._receive(message)
            if answer is not None:
                yield answer

    def _receive(self, message: Message) -> Steered | None:
        match message:
            case Refusal():
                raise self._refused(message)
            case Challenge() if self.state is State.HELLO:
                self._prove(message)
                self.state = State.STEERING
                return None
            case Control() if self.state is State.STEERING:
                return Steered.read(message) if message.name == STEERED else None
            case _:
                raise self._unexpected(message)

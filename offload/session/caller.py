"""What the ends that connect have in common: they say who they are, and whom they believe."""

from typing import ClassVar, Final

from offload import __version__
from offload.auth import Role, Token, prove, proves
from offload.errors import AuthError, HandshakeError, OffloadError, Refused, TurnedAway
from offload.messages import PROTOCOL_VERSION, Challenge, Hello, Proof, Refusal, RefusalCode
from offload.session.core import NO_TOKEN, Session, State
from offload.wire import ENVELOPE_ONLY_BYTES, Decoder


class CallerSession(Session):
    """The end that connects.

    Args:
        token: Its token, or None; with one, only a server that proves it is talked to.
        nonce: `NONCE_BYTES` fresh random bytes.
    """

    # What it is called in errors.
    WHO: ClassVar[str]

    def __init__(self, *, token: Token | None, nonce: bytes) -> None:
        """Queue the hello."""
        super().__init__(Decoder(max_message_bytes=ENVELOPE_ONLY_BYTES))
        self._token = token
        self._nonce = nonce
        self._send(
            Hello(
                protocol=PROTOCOL_VERSION,
                version=__version__,
                token_name=token.name if token else NO_TOKEN,
                nonce=nonce,
            )
        )

    def _prove(self, challenge: Challenge) -> None:
        """Queue the proof, if the server's own holds.

        Raises:
            AuthError: It does not.
        """
        proof = b""
        if self._token is not None:
            secret = self._token.secret
            if not proves(secret, Role.SERVER, self._nonce, challenge.nonce, challenge.proof):
                # It gives nothing away, and tells the server why this end leaves.
                self._send(Proof(proof=b""))
                raise AuthError(
                    f"server could not prove that it knows token {self._token.name!r}: "
                    + (
                        f"the {self.WHO} and the server hold different secrets"
                        if challenge.proof
                        else f"it has no token of that name and takes any {self.WHO}"
                    )
                )
            proof = prove(secret, Role.DEVICE, self._nonce, challenge.nonce)
        self._send(Proof(proof=proof))

    def _refused(self, refusal: Refusal) -> OffloadError:
        """End the session, and return why."""
        self.state = State.CLOSED
        return _REFUSALS.get(refusal.code, Refused)(f"server refused: {refusal.reason}")


# A server that drains, is busy or has a problem of its own may be back, or another one answers; so
# may a link that was too slow be better. A code that this version does not know is final.
_REFUSALS: Final[dict[str, type[OffloadError]]] = {
    RefusalCode.PROTOCOL: HandshakeError,
    RefusalCode.PIPELINE: HandshakeError,
    RefusalCode.TOKEN: AuthError,
    RefusalCode.OWNER: AuthError,
    RefusalCode.DRAINING: TurnedAway,
    RefusalCode.BUSY: TurnedAway,
    RefusalCode.TIMEOUT: TurnedAway,
    RefusalCode.INTERNAL: TurnedAway,
}

"""The messages that open a session, in their order: hello, challenge, proof, open, welcome."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from offload.errors import RemoteProtocolError
from offload.messages.envelope import (
    Fields,
    MessageType,
    check_depth,
    read_boolean,
    read_bytes,
    read_integer,
    read_list,
    read_seq,
    read_text,
    text,
)
from offload.messages.outcomes import OutcomeRange, read_ranges

# A trial is another stream than one that is kept, though its device gave both the same name.
TRIAL_SUFFIX: Final = " (trial)"


def is_trial(stream: str) -> bool:
    """Return whether the server calls a trial so; no stream that is kept has such a name."""
    return stream.endswith(TRIAL_SUFFIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Device to cloud, first: who speaks which protocol, and which token it knows."""

    TYPE: ClassVar = MessageType.HELLO
    protocol: int
    version: str
    token_name: str
    nonce: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {
            "protocol": self.protocol,
            "version": self.version,
            "token": self.token_name,
            "nonce": self.nonce,
        }

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            protocol=read_integer(fields, "protocol"),
            version=read_text(fields, "version"),
            token_name=read_text(fields, "token"),
            nonce=read_bytes(fields, "nonce"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """Cloud to device: its own proof (empty if it accepts peers without a token) and a nonce."""

    TYPE: ClassVar = MessageType.CHALLENGE
    version: str
    nonce: bytes
    proof: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"version": self.version, "nonce": self.nonce, "proof": self.proof}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            version=read_text(fields, "version"),
            nonce=read_bytes(fields, "nonce"),
            proof=read_bytes(fields, "proof"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Device to cloud: the proof that it knows the token's secret; empty if it has none."""

    TYPE: ClassVar = MessageType.PROOF
    proof: bytes

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        return {"proof": self.proof}

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(proof=read_bytes(fields, "proof"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """Device to cloud: the stream, and the pipeline that it runs.

    ``fingerprint`` is a list with one plain description per task, opaque to the protocol: the cloud
    compares it with its own and names the first difference. All frames before ``position`` have
    been acknowledged to this device; it is 0 when the device starts and asks where the stream
    stands. Of a ``trial`` the cloud keeps nothing; an older one does not know this, and keeps it.
    """

    TYPE: ClassVar = MessageType.OPEN
    app: str
    fingerprint: list[object]
    stream: str
    device: str
    position: int = 0
    trial: bool = False

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        fields: dict[str, object] = {
            "app": self.app,
            "fingerprint": self.fingerprint,
            "stream": self.stream,
            "device": self.device,
            "position": self.position,
        }
        if self.trial:
            fields["trial"] = True
        return fields

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        stream = read_text(fields, "stream")
        if not is_stream_name(stream):
            raise RemoteProtocolError(
                "stream name is not 1 to 128 printable characters, or is . or .."
            )
        return cls(
            app=read_text(fields, "app"),
            fingerprint=check_depth(read_list(fields, "fingerprint"), "fingerprint"),
            stream=stream,
            device=text(read_text(fields, "device")),
            position=read_seq(fields, "position"),
            trial="trial" in fields and read_boolean(fields, "trial"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Cloud to device: the session is open; all before ``next_seq`` is finished and stored.

    ``exceptions`` are the frames from the device's position on that ended without a result: their
    acknowledgement was lost with the connection before. ``durable`` says whether results survive a
    restart of the server. A message of more than ``max_message_bytes``, with header and envelope,
    is refused. ``workers`` is the number of frames that the cloud works on at a time.
    """

    TYPE: ClassVar = MessageType.WELCOME
    next_seq: int
    durable: bool
    max_message_bytes: int
    exceptions: tuple[OutcomeRange, ...] = ()
    workers: int = 1

    def fields(self) -> dict[str, object]:
        """Return the envelope's fields."""
        fields: dict[str, object] = {
            "next": self.next_seq,
            "durable": self.durable,
            "max_message": self.max_message_bytes,
            "exceptions": [each.row() for each in self.exceptions],
        }
        if self.workers > 1:
            fields["workers"] = self.workers
        return fields

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Read what `fields` wrote."""
        return cls(
            next_seq=read_seq(fields, "next"),
            durable=read_boolean(fields, "durable"),
            max_message_bytes=read_seq(fields, "max_message"),
            exceptions=read_ranges(fields, "exceptions"),
            workers=max(1, read_seq(fields, "workers")) if "workers" in fields else 1,
        )


def is_stream_name(name: str) -> bool:
    """Return whether ``name`` can be a stream's: it stands in logs, tables, addresses of pages."""
    # A browser takes "." and ".." in an address for folders, however they are written.
    return 1 <= len(name) <= 128 and name.isprintable() and name not in (".", "..")

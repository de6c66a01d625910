"""Recorded sessions: what both ends of a real connection said, and what it takes to say it again.

A file of the corpus is one msgpack map with the fields of `Recording`. ``record_corpus`` makes
them; whoever replays one gives the session cores the recorded nonces and tokens.

    for recording in load_recordings():
        cloud = CloudSession(secret_for=..., insecure=..., nonce=recording.cloud_nonce)
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgpack

from offload.auth import Token
from offload.messages import Message, Open, Welcome
from offload.wire import HEADER, MAX_MESSAGE_BYTES, Decoder
from tests.session_pair import feed

CORPUS: Final = Path(__file__).parent / "corpus"
SUFFIX: Final = ".session"

# What a device asks for in the recordings in which it never came to ask.
UNASKED: Final = Open(app="none", fingerprint=[], stream="none", device="none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One connection.

    Attributes:
        name: Which session of which programs it is.
        device_token: The one that the device has, or None.
        cloud_token: The only one that the server knows, or None.
        insecure: Whether the server takes devices without a token.
        device_nonce: The nonce of the hello.
        cloud_nonce: The nonce of the challenge; zeros if none was sent.
        to_cloud: All that the device sent.
        to_device: All that reached the device.
    """

    name: str
    device_token: Token | None
    cloud_token: Token | None
    insecure: bool
    device_nonce: bytes
    cloud_nonce: bytes
    to_cloud: bytes
    to_device: bytes

    @property
    def opening(self) -> Open:
        """What the device asked for."""
        asked = [each for each in decoded(self.to_cloud) if isinstance(each, Open)]
        return asked[0] if asked else UNASKED

    @property
    def welcome(self) -> Welcome | None:
        """What the server answered, or None if it refused."""
        given = [each for each in decoded(self.to_device) if isinstance(each, Welcome)]
        return given[0] if given else None


def save(recording: Recording, folder: Path = CORPUS) -> None:
    """Write a recording's file."""
    fields = {
        "device_token": _token_fields(recording.device_token),
        "cloud_token": _token_fields(recording.cloud_token),
        "insecure": recording.insecure,
        "device_nonce": recording.device_nonce,
        "cloud_nonce": recording.cloud_nonce,
        "to_cloud": recording.to_cloud,
        "to_device": recording.to_device,
    }
    (folder / f"{recording.name}{SUFFIX}").write_bytes(msgpack.packb(fields))


def load_recordings(folder: Path = CORPUS) -> list[Recording]:
    """Return all recordings, by name."""
    return [_load(file) for file in sorted(folder.glob(f"*{SUFFIX}"))]


def decoded(stream: bytes) -> list[Message]:
    """Return the messages of what one end sent."""
    found: list[Message] = []
    for each in feed(Decoder(max_message_bytes=MAX_MESSAGE_BYTES), stream):
        assert isinstance(each, Message)
        found.append(each)
    return found


def cut_messages(stream: bytes) -> list[bytes]:
    """Return the bytes of each message; what a lost connection tore off is left out."""
    found: list[bytes] = []
    start = 0
    while start + HEADER.size <= len(stream):
        _, _, envelope_bytes, payload_bytes = HEADER.unpack_from(stream, start)
        stop = start + HEADER.size + envelope_bytes + payload_bytes
        if stop > len(stream):
            break
        found.append(stream[start:stop])
        start = stop
    return found


def _load(file: Path) -> Recording:
    fields = msgpack.unpackb(file.read_bytes())
    return Recording(
        name=file.stem,
        device_token=_token(fields.pop("device_token")),
        cloud_token=_token(fields.pop("cloud_token")),
        **fields,
    )


def _token_fields(token: Token | None) -> list[object] | None:
    return [token.name, token.secret] if token else None


def _token(fields: list[object] | None) -> Token | None:
    if fields is None:
        return None
    name, secret = fields
    assert isinstance(name, str)
    assert isinstance(secret, bytes)
    return Token(name=name, secret=secret)

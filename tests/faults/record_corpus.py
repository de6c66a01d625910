"""Record the corpus anew: real sessions of the two real programs, through a relay that listens.

Do this whenever the protocol's number changes. It takes about half a minute.

    python -m tests.faults.record_corpus
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from offload.auth import NONCE_BYTES, Token
from offload.messages import Challenge, Hello
from tests.faults.recording_relay import Relay, Tape
from tests.faults.recordings import CORPUS, SUFFIX, Recording, cut_messages, decoded, save
from tests.integration.programs import (
    CloudServer,
    client,
    cloud_server,
    run_client,
    write_app,
)

TOKEN: Final = Token(name="corpus", secret=b"no-secret-since-it-is-published")
WRONG: Final = Token(name="corpus", secret=b"another-one-of-the-same-name")
UNKNOWN: Final = Token(name="stranger", secret=b"no-server-has-ever-heard-of-it")

# Small pictures and masks, and after them every kind of value; a list too long for an envelope.
VALUES_APP: Final = """
import numpy as np
from task_interface import Pipeline, Placement, source, task

@source(gives="picture", encodings=("raw", "jpeg"), lossy_results=True)
def look():
    rows, columns = np.mgrid[0:24, 0:32]
    for seq in range(1000):
        yield np.stack([rows * 9, columns * 7, rows + columns + seq], axis=2).astype(np.uint8)

@task(gives="mask", encodings=("raw", "packed"))
def find(picture):
    return np.where(picture[..., 0] > 90, 255, 0).astype(np.uint8)

@task(gives=("numbers", "shapes", "facts"))
def describe(mask):
    shapes = [np.full((count, 1, 2), count, np.int32) for count in range(3, 40, 6)]
    facts = {
        "big": 2**100, "negative": -(2**70), "none": None, "yes": True, "half": 0.5,
        "point": (1, 2.5), "nested": [[1, [2, (3,)]], {"deep": {"er": []}}],
        "text": "caf\\u00e9 " * 1200, "raw": bytes(range(256)) * 20, "short": b"abc",
        "scalar": np.float32(1.5), "complex": np.complex128(1j),
        "empty": np.zeros((0, 3), np.int16),
        "matrix": np.arange(35, dtype=np.float64).reshape(5, 7),
        "wide": np.arange(300, dtype=">u4"),
        "pair": (np.zeros(3, np.uint8), np.ones(4, np.uint8)),
    }
    return list(range(2000)), shapes, facts

@task(gives="sketch", on_demand=True)
def draw(picture, mask):
    return np.where(mask[..., None] > 0, picture, 0)

@task(placement=Placement.CLOUD)
def store(numbers, shapes, facts, sketch=None):
    return len(numbers)

pipeline = Pipeline([look, find, describe, draw, store])
"""

# Frames that end in every way, on either side.
ENDS_APP: Final = """
import time
from task_interface import FILTER, Pipeline, Placement, source, task

@source(gives="number")
def count():
    yield from range(1000)

@task(gives="part", placement=Placement.DEVICE)
def sift(number):
    {work}
    if number % 7 == 3:
        raise ValueError("three does not go")
    return FILTER if number % 5 in (1, 2) else number

@task(gives="checked")
def check(part):
    if part % 5 == 4:
        raise ValueError("four does not go either")
    return FILTER if part % 5 == 0 else part

@task(placement=Placement.CLOUD)
def store(checked):
    return checked

pipeline = Pipeline([count, sift, check, store])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One run of the two programs.

    Attributes:
        name: Of the recordings that it gives.
        device: What the client is told.
        server: What the server is told besides its app.
        app: The app that the server runs.
        device_token: The token that the client has.
        insecure: Whether the server takes devices without a token.
        play: What happens; the default is to run the client to its end.
    """

    name: str
    device: tuple[str, ...]
    server: tuple[str, ...] = ()
    app: str = "values_app"
    device_token: Token | None = TOKEN
    insecure: bool = False
    play: "Callable[[Stage], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a scene is played on."""

    folder: Path
    server: CloudServer
    relay: Relay
    device: tuple[str, ...]


def run_to_the_end(stage: Stage) -> None:
    ended = run_client(stage.folder, *stage.device)
    assert ended.code in EXIT_CODES, ended.err


def lose_acknowledgements(stage: Stage) -> None:
    stage.relay.loses_acknowledgements = True
    run_client(stage.folder, *stage.device)


def stop_the_server(stage: Stage) -> None:
    with client(stage.folder, *stage.device):
        stage.relay.wait_until(lambda tapes: len(tapes) > 0 and len(tapes[0].to_cloud) > 2000)
        stage.server.stop()


def take_over(stage: Stage) -> None:
    with client(stage.folder, *stage.device) as older:
        stage.relay.wait_until(lambda tapes: len(tapes) > 0 and len(tapes[0].to_cloud) > 2000)
        with client(stage.folder, *stage.device):
            older.wait()
            stage.relay.wait_until(lambda tapes: len(tapes) > 1 and len(tapes[1].to_cloud) > 2000)


# Done, or refused: for the pipeline, or for the token.
EXIT_CODES: Final = (0, 76, 77)

FEW: Final = ("--frames", "4")
BALL: Final = ("--source", "synthetic:320x240@30", "--stream", "ball", *FEW)
SLOWLY: Final = ("--rate", "20", "--frames", "1000", "--stream", "slow")

SCENES: Final = (
    Scene(name="raw", device=("1", "--encoding", "raw", *FEW), play=run_to_the_end),
    Scene(name="jpeg", device=("1", "--encoding", "lossy", *FEW), play=run_to_the_end),
    Scene(name="mask", device=("2", "--encoding", "raw", *FEW), play=run_to_the_end),
    Scene(name="packed", device=("2", "--encoding", "lossless", *FEW), play=run_to_the_end),
    Scene(name="tree", device=("3", "--frames", "2"), play=run_to_the_end),
    Scene(
        name="moving",
        device=("2", "500", "--rate", "60", "--frames", "12"),
        play=run_to_the_end,
    ),
    Scene(name="ball", device=("4", *BALL), app="ball_tracking_example", play=run_to_the_end),
    Scene(
        name="watched",
        device=("2", "--rate", "10", *FEW),
        server=("--watch", "5"),
        play=run_to_the_end,
    ),
    Scene(name="ends", device=("2", "--frames", "25"), app="ends_app", play=run_to_the_end),
    Scene(
        name="dropped",
        device=("2", "--frames", "25", "--overload", "newest", "--rate", "200"),
        app="slow_app",
        play=run_to_the_end,
    ),
    Scene(
        name="reconnect",
        device=("2", "--frames", "25", "--stream", "again", "--window", "12"),
        app="ends_app",
        play=lose_acknowledgements,
    ),
    Scene(name="idle", device=("2", "--rate", "0.2", "--frames", "2"), play=run_to_the_end),
    Scene(name="drain", device=("2", *SLOWLY), play=stop_the_server),
    Scene(name="taken_over", device=("2", *SLOWLY), play=take_over),
    Scene(name="without_token", device=("2", *FEW), device_token=None, play=run_to_the_end),
    Scene(
        name="insecure",
        device=("2", *FEW),
        server=("--insecure",),
        device_token=None,
        insecure=True,
        play=run_to_the_end,
    ),
    Scene(name="wrong_secret", device=("2", *FEW), device_token=WRONG, play=run_to_the_end),
    Scene(name="unknown_token", device=("2", *FEW), device_token=UNKNOWN, play=run_to_the_end),
    Scene(
        name="other_app",
        device=("2", "--app", "ends_app", *FEW),
        app="ball_tracking_example",
        play=run_to_the_end,
    ),
)


def record(scene: Scene, folder: Path) -> list[Recording]:
    """Play a scene, and return one recording per connection on which anything was said."""
    write_app(folder, "values_app", VALUES_APP)
    write_app(folder, "ends_app", ENDS_APP.format(work="pass"))
    write_app(folder, "slow_app", ENDS_APP.format(work="time.sleep(0.02)"))
    app = ("--app", scene.app)
    tokens = write_token(folder, "cloud", TOKEN)
    with (
        cloud_server(folder, *app, *scene.server, *tokens) as server,
        relay_to(server) as relay,
    ):
        address = ("--host", "127.0.0.1", "--port", str(relay.port))
        own = write_token(folder, "device", scene.device_token) if scene.device_token else ()
        options = (*address, *own, "--retry-for", "2", *app, *scene.device)
        scene.play(Stage(folder=folder, server=server, relay=relay, device=options))
    tapes = [each for each in relay.tapes if each.to_cloud]
    names = [f"{scene.name}_{index}" for index in range(1, len(tapes) + 1)]
    if len(tapes) == 1:
        names = [scene.name]
    return [as_recording(name, scene, tape) for name, tape in zip(names, tapes, strict=True)]


def as_recording(name: str, scene: Scene, tape: Tape) -> Recording:
    to_cloud, to_device = bytes(tape.to_cloud), bytes(tape.to_device)
    hellos = [each for each in decoded(to_cloud) if isinstance(each, Hello)]
    challenges = [each for each in decoded(to_device) if isinstance(each, Challenge)]
    return Recording(
        name=name,
        device_token=scene.device_token,
        cloud_token=TOKEN,
        insecure=scene.insecure,
        device_nonce=hellos[0].nonce,
        cloud_nonce=challenges[0].nonce if challenges else bytes(NONCE_BYTES),
        to_cloud=to_cloud,
        to_device=to_device,
    )


@contextmanager
def relay_to(server: CloudServer) -> Iterator[Relay]:
    relay = Relay(server.port)
    try:
        yield relay
    finally:
        relay.close()


def write_token(folder: Path, name: str, token: Token) -> tuple[str, ...]:
    file = folder / name
    file.write_text(f"{token.line()}\n", encoding="ascii")
    file.chmod(0o600)
    return ("--token-file", str(file))


def main() -> None:
    """Replace the corpus."""
    recordings: list[Recording] = []
    for scene in SCENES:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["XDG_CONFIG_HOME"] = folder
            recordings += record(scene, Path(folder))
    CORPUS.mkdir(exist_ok=True)
    for file in CORPUS.glob(f"*{SUFFIX}"):
        file.unlink()
    for each in recordings:
        save(each)
        said = (len(cut_messages(each.to_cloud)), len(cut_messages(each.to_device)))
        sys.stdout.write(f"{each.name}: {said[0]} messages to the cloud, {said[1]} to the device\n")


if __name__ == "__main__":
    main()

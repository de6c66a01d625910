"""Who may not come in is refused, and both ends say why.

The two programs talk, except where a peer has to do what no program of ours does. To see what each
end said:

    python -m pytest -s tests/faults/test_refusals.py
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from offload.auth import Token
from offload.auth.certificates import make_certificates
from offload.messages import PROTOCOL_VERSION, Refusal
from tests.faults.hostile import GOOD, GOOD_APP, Peer, write_tokens
from tests.faults.recording_relay import Relay
from tests.faults.recordings import cut_messages
from tests.integration.programs import (
    ROOT,
    CloudServer,
    Ended,
    client,
    read_position,
    run_client,
    wait_for_results,
    write_app,
)

pytestmark = [pytest.mark.integration, pytest.mark.slow]

OTHER: Final = Token(name="other", secret=b"of-another-client-of-the-server")
TOKENS: Final = {
    "good": (GOOD,),
    "other": (OTHER,),
    "both": (GOOD, OTHER),
    "other_secret": (Token(name=GOOD.name, secret=b"not-the-one-that-is-known"),),
    "unknown": (Token(name="unknown", secret=b"no-server-knows-this-one"),),
}

# Another version of the device program, as far as the protocol can tell; Python runs it at start.
OTHER_VERSION: Final = """
import offload.messages
offload.messages.PROTOCOL_VERSION += {step}
"""

OTHER_TASKS: Final = GOOD_APP.replace("def measure(", "def guess(").replace("measure", "guess")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What both ends said, and how the device ended; None for a peer that is no program."""

    device: str
    server: str
    code: int | None


class Server(CloudServer):
    """A server that is asked for its refusals."""

    def refusals(self) -> list[str]:
        """Return the lines so far, without their time."""
        with self._changed:
            lines = [each.partition(" ")[2].rstrip() for each in self._err]
        return [each for each in lines if each.startswith("WARNING refused ")]


class Site:
    """A folder with what the programs need, and servers in it.

    Attributes:
        plain: Knows two tokens.
        secure: Speaks TLS besides, and asks for a certificate.
    """

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.made = make_certificates(folder / "tls", hosts=["127.0.0.1"])
        self.elsewhere = make_certificates(folder / "elsewhere", hosts=["127.0.0.1"])
        write_app(folder, "good_app", GOOD_APP)
        for name, tokens in TOKENS.items():
            write_tokens(folder / name, *tokens)
        self.plain = self.serve("--token-file", "both")
        self.secure = self.serve(
            *("--token-file", "both", "--tls-client-ca", str(self.made.ca)),
            *("--tls-cert", str(self.made.server), "--tls-key", str(self.made.server_key)),
            *("--results", "none"),
        )

    def serve(self, *options: str) -> Server:
        """Run a server as long as the site is there."""
        server = Server(("--app", "good_app", *options), folder=self.folder, port=0)
        self._stack.callback(server.release)
        server.wait_until_ready()
        return server

    def arguments(
        self, server: Server, *options: str, host: str = "127.0.0.1", token: str | None = "good"
    ) -> tuple[str, ...]:
        """Return a client's command line."""
        own = () if token is None else ("--token-file", str(self.folder / token))
        address = ("--host", host, "--port", str(server.port))
        return ("1", *address, *own, "--app", "good_app", "--retry-for", "1", *options)

    def tls(self, ca: Path, certificate: Path | None = None, key: Path | None = None) -> list[str]:
        """Return a client's options for TLS."""
        own = () if certificate is None else ("--tls-cert", certificate, "--tls-key", key)
        return [str(each) for each in ("--tls", "--tls-ca", ca, *own)]


def refused(
    site: Site, server: Server, *options: str, host: str = "127.0.0.1", token: str | None = "good"
) -> Seen:
    """Run a client that is refused."""
    arguments = site.arguments(server, *options, "--frames", "5", host=host, token=token)
    return seen(server, lambda: run_client(site.folder, *arguments))


def seen(server: Server, run: Callable[[], Ended]) -> Seen:
    """Return what both ends say of what ``run`` does."""
    before = len(server.refusals())
    ended = run()
    server.wait_for_line(" refused ", times=before + 1)
    (said,) = server.refusals()[before:]
    assert "Traceback" not in ended.err
    return Seen(device=ended.error, server=said, code=ended.code)


# The cases.


def wrong_token(site: Site) -> Seen:
    return refused(site, site.plain, token="other_secret")


def no_token(site: Site) -> Seen:
    return refused(site, site.plain, token=None)


def unknown_token(site: Site) -> Seen:
    return refused(site, site.plain, token="unknown")


def withdrawn(site: Site) -> tuple[Server, Seen]:
    """Withdraw the token of a device that is at work."""
    write_tokens(site.folder / "reloaded", GOOD, OTHER)
    server = site.serve("--token-file", "reloaded", "--results", "sqlite:withdrawn.db")
    with client(site.folder, *site.arguments(server, "--rate", "30", "--stream", "w")) as device:
        wait_for_results(site.folder / "withdrawn.db", "w", at_least=5)

        def run() -> Ended:
            revoke = ("-m", "offload.auth", "revoke", GOOD.name, "--token-file", "reloaded")
            environment = {"PYTHONPATH": str(ROOT)}
            subprocess.run(
                [sys.executable, *revoke],
                cwd=site.folder,
                env=environment,
                check=True,
                capture_output=True,
            )
            server.send(signal.SIGHUP)
            return device.wait()

        return server, seen(server, run)


def token_withdrawn_meanwhile(site: Site) -> Seen:
    return withdrawn(site)[1]


def token_withdrawn_before(site: Site) -> Seen:
    return refused(site, withdrawn(site)[0])


def replayed_handshake(site: Site) -> Seen:
    with closing(Relay(site.plain.port)) as relay:
        arguments = site.arguments(site.plain, "--frames", "5", "--port", str(relay.port))
        ended = run_client(site.folder, *arguments)
        assert ended.code == 0, ended.err
        hello, *others = cut_messages(bytes(relay.tapes[0].to_cloud))
    before = len(site.plain.refusals())
    with Peer(site.plain.port) as peer:
        peer.send(hello)
        assert peer.answer() is not None
        peer.send(b"".join(others))
        (answer,) = peer.rest()
    assert isinstance(answer, Refusal)
    site.plain.wait_for_line(" refused ", times=before + 1)
    (said,) = site.plain.refusals()[before:]
    return Seen(device=f"{answer.code}: {answer.reason}", server=said, code=None)


def plain_device_on_tls_port(site: Site) -> Seen:
    return refused(site, site.secure)


def tls_device_on_plain_port(site: Site) -> Seen:
    return refused(site, site.plain, *site.tls(site.made.ca))


def wrong_authority(site: Site) -> Seen:
    made = site.made
    tls = site.tls(site.elsewhere.ca, made.device, made.device_key)
    return refused(site, site.secure, *tls)


def wrong_host_name(site: Site) -> Seen:
    tls = site.tls(site.made.ca, site.made.device, site.made.device_key)
    return refused(site, site.secure, *tls, host="localhost")


def no_certificate(site: Site) -> Seen:
    return refused(site, site.secure, *site.tls(site.made.ca))


def certificate_of_another_authority(site: Site) -> Seen:
    other = site.elsewhere
    return refused(site, site.secure, *site.tls(site.made.ca, other.device, other.device_key))


def stream_of_another(site: Site) -> Seen:
    mine = ("--stream", "mine")
    ended = run_client(site.folder, *site.arguments(site.plain, *mine, "--frames", "5"))
    assert ended.code == 0, ended.err
    said = refused(site, site.plain, *mine, token="other")
    assert read_position(site.folder / "results.db", "mine")[0] == 5
    return said


def impostor_without_the_token(site: Site) -> Seen:
    with pytest.MonkeyPatch.context() as patch:
        # Where it would find tokens of its own.
        patch.setenv("XDG_CONFIG_HOME", str(site.folder / "nothing"))
        impostor = site.serve("--insecure", "--results", "none")
    return refused(site, impostor)


def impostor_with_another_secret(site: Site) -> Seen:
    return refused(site, site.serve("--token-file", "other_secret", "--results", "none"))


def _of_other_version(site: Site, step: int) -> Seen:
    folder = site.folder / f"version{step}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(OTHER_VERSION.format(step=step), encoding="ascii")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
        return refused(site, site.plain)


def newer_device(site: Site) -> Seen:
    return _of_other_version(site, 1)


def older_device(site: Site) -> Seen:
    return _of_other_version(site, -1)


def other_tasks(site: Site) -> Seen:
    folder = site.folder / "other_tasks"
    folder.mkdir()
    write_app(folder, "good_app", OTHER_TASKS)
    arguments = site.arguments(site.plain, "--frames", "5")
    return seen(site.plain, lambda: run_client(folder, *arguments))


def other_app(site: Site) -> Seen:
    write_app(site.folder, "my_app", GOOD_APP)
    return refused(site, site.plain, "--app", "my_app")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is tried, and what both ends must say of it.

    Attributes:
        run: Tries it.
        code: The device's exit code; None for a peer that is no program.
        device: In the device's line.
        why: What the server counts it as.
        server: In the server's line.
    """

    run: Callable[[Site], Seen]
    code: int | None
    device: str
    why: str
    server: str


NO_SECRET: Final = "server could not prove that it knows token 'good'"
UNBELIEVED: Final = "device does not believe that this server knows token 'good'"

# The rest of a line may be OpenSSL's words, which differ from one version to the next.
CASES: Final = (
    Case(
        run=wrong_token,
        code=77,
        device=f"{NO_SECRET}: the device and the server hold different secrets",
        why="token",
        server=f"{UNBELIEVED}: the device and the server hold different secrets",
    ),
    Case(
        run=no_token,
        code=77,
        device="server refused: server asks for a token and the device has none",
        why="token",
        server="server asks for a token and the device has none: give it --token-file",
    ),
    Case(
        run=unknown_token,
        code=77,
        device="server refused: server knows no token with the name 'unknown'",
        why="token",
        server="server knows no token with the name 'unknown'",
    ),
    Case(
        run=token_withdrawn_meanwhile,
        code=77,
        device="server refused: token 'good' was withdrawn",
        why="token",
        server="token 'good' was withdrawn",
    ),
    Case(
        run=token_withdrawn_before,
        code=77,
        device="server refused: server knows no token with the name 'good'",
        why="token",
        server="server knows no token with the name 'good'",
    ),
    Case(
        run=replayed_handshake,
        code=None,
        device="device could not prove that it knows token 'good'",
        why="token",
        server="device could not prove that it knows token 'good'",
    ),
    Case(
        run=plain_device_on_tls_port,
        code=76,
        device="server refused: this server speaks TLS: give --tls",
        why="tls",
        server="peer does not speak TLS",
    ),
    Case(
        run=tls_device_on_plain_port,
        code=76,
        device="server does not speak TLS: leave --tls out, or give the server --tls-cert",
        why="protocol",
        server="peer speaks TLS, and this end does not: see --tls",
    ),
    Case(
        run=wrong_authority,
        code=77,
        device="give the authority that signed it with --tls-ca",
        why="tls",
        server="device does not accept this server's certificate (",
    ),
    Case(
        run=wrong_host_name,
        code=77,
        device="certificate is not valid for 'localhost': connect to a name that it has",
        why="tls",
        server="--tls-cert must have the name that devices connect to",
    ),
    Case(
        run=no_certificate,
        code=77,
        device="server asks for a certificate: give --tls-cert and --tls-key",
        why="tls",
        server="device has no certificate: give it --tls-cert and --tls-key",
    ),
    Case(
        run=certificate_of_another_authority,
        code=77,
        device="give --tls-cert and --tls-key that its --tls-client-ca has signed",
        why="tls",
        server="give it one that --tls-client-ca has signed",
    ),
    Case(
        run=stream_of_another,
        code=77,
        device="server refused: stream 'mine' belongs to another token",
        why="owner",
        server="stream 'mine' belongs to another token: choose another --stream",
    ),
    Case(
        run=impostor_without_the_token,
        code=77,
        device=f"{NO_SECRET}: it has no token of that name and takes any device",
        why="token",
        server=f"{UNBELIEVED}: this server has no token of that name",
    ),
    Case(
        run=impostor_with_another_secret,
        code=77,
        device=f"{NO_SECRET}: the device and the server hold different secrets",
        why="token",
        server=f"{UNBELIEVED}: the device and the server hold different secrets",
    ),
    Case(
        run=newer_device,
        code=76,
        device=f"server refused: device speaks protocol {PROTOCOL_VERSION + 1}",
        why="protocol",
        server="upgrade the server",
    ),
    Case(
        run=older_device,
        code=76,
        device=f"server refused: device speaks protocol {PROTOCOL_VERSION - 1}",
        why="protocol",
        server="upgrade the device",
    ),
    Case(
        run=other_tasks,
        code=76,
        device="task 2 has name 'guess' on the device and 'measure' in the cloud",
        why="pipeline",
        server="task 2 has name 'guess' on the device and 'measure' in the cloud",
    ),
    Case(
        run=other_app,
        code=76,
        device="server refused: server does not run app 'my_app', only good_app",
        why="pipeline",
        server="server does not run app 'my_app', only good_app",
    ),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("refusals"), stack)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.run.__name__)
def test_both_ends_say_why_a_peer_is_refused(site: Site, case: Case) -> None:
    said = case.run(site)
    name = case.run.__name__.replace("_", " ")
    sys.stdout.write(f"\n{name} | {said.code} {said.device} | {said.server}\n")
    assert said.code == case.code
    assert case.device in said.device
    assert f"refused why={case.why} " in said.server
    assert case.server in said.server
    for token in (each for tokens in TOKENS.values() for each in tokens):
        assert token.secret.decode() not in said.device + said.server

"""Who gets in, who is sent away when a token is withdrawn, and what TLS changes."""

import signal
import socket
import ssl
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import pytest

from offload.auth import Token
from offload.errors import AuthError, OffloadError, SessionLost
from offload.messages import Frame
from tests.certificates import Identity, make_authority, make_signed
from tests.integration.programs import (
    SERVER,
    CloudServer,
    cloud_server,
    read_results,
    read_summary,
    run_client,
    started,
    write_app,
)
from tests.integration.raw_device import GATED, NUMBERS, WAIT_S, Gate, RawApp, RawDevice
from tests.session_pair import joined

pytestmark = pytest.mark.integration

HOME: Final = Token(name="home", secret=b"correct-horse-battery")
WORK: Final = Token(name="work", secret=b"staple-correct-horse")


@pytest.fixture
def app(tmp_path: Path) -> RawApp:
    return RawApp.of(write_app(tmp_path, "raw_numbers", NUMBERS), NUMBERS)


def write_tokens(folder: Path, *tokens: Token) -> None:
    path = folder / "tokens"
    path.write_text("".join(f"{each.line()}\n" for each in tokens), encoding="utf-8")
    path.chmod(0o600)


def reload(server: CloudServer, *, times: int = 1) -> str:
    """Have the tokens read again, and return what the server says of it."""
    server.send(signal.SIGHUP)
    return server.wait_for_line("reloaded", times=times)


def go_on(device: RawDevice, seq: int) -> None:
    """Show that the session still works."""
    device.send_frame(seq, number=1)
    device.wait_for_acknowledgement(seq + 1)


# Tokens.


def test_a_token_that_is_withdrawn_ends_its_sessions_at_once_and_no_others(
    tmp_path: Path, app: RawApp
) -> None:
    write_tokens(tmp_path, HOME, WORK)
    arguments = ("--app", app.name, "--token-file", "tokens", "--summary", "cloud.json")
    with (
        cloud_server(tmp_path, *arguments) as server,
        RawDevice(server.port, app, stream="h", token=HOME) as home,
        RawDevice(server.port, app, stream="w", token=WORK) as work,
        RawDevice(server.port, app, stream="x", token=WORK) as halfway,
        RawDevice(server.port, app, stream="w", token=WORK) as late,
    ):
        home.open()
        work.open()
        # It has been asked for its proof and has not answered.
        halfway.socket.sendall(joined(halfway.session.take_outgoing()))
        assert halfway.socket.recv(4, socket.MSG_PEEK)
        write_tokens(tmp_path, HOME)
        assert "tokens=1" in reload(server)
        for each in (work, halfway):
            with pytest.raises(AuthError, match="token 'work' was withdrawn"):
                raise each.refusal()
        with pytest.raises(AuthError, match="knows no token with the name 'work'"):
            late.open()
        go_on(home, 0)
        stopped = server.stop()
    assert read_summary(tmp_path / "cloud.json")["refused"] == {"token": 3}
    assert WORK.secret.decode() not in stopped.err
    assert HOME.secret.decode() not in stopped.err


def test_a_token_with_another_secret_is_another_token(tmp_path: Path, app: RawApp) -> None:
    write_tokens(tmp_path, HOME)
    changed = Token(name=HOME.name, secret=WORK.secret)
    with (
        cloud_server(tmp_path, "--app", app.name, "--token-file", "tokens") as server,
        RawDevice(server.port, app, stream="h", token=HOME) as before,
        RawDevice(server.port, app, stream="h", token=changed) as after,
    ):
        before.open()
        write_tokens(tmp_path, changed)
        reload(server)
        assert isinstance(before.refusal(), AuthError)
        after.open()
        go_on(after, 0)


def test_tokens_that_cannot_be_read_leave_those_from_before(tmp_path: Path, app: RawApp) -> None:
    write_tokens(tmp_path, HOME)
    with (
        cloud_server(tmp_path, "--app", app.name, "--token-file", "tokens") as server,
        RawDevice(server.port, app, stream="a", token=HOME) as before,
        RawDevice(server.port, app, stream="b", token=HOME) as after,
    ):
        before.open()
        (tmp_path / "tokens").write_text("nonsense\n", encoding="utf-8")
        said = reload(server)
        assert "tokens_not_reloaded" in said
        assert 'in_force="the tokens from before"' in said
        (tmp_path / "tokens").unlink()
        assert "does not exist" in reload(server, times=2)
        go_on(before, 0)
        after.open()


def test_tokens_from_a_variable_cannot_be_read_again_and_the_server_goes_on(
    tmp_path: Path, app: RawApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OFFLOAD_TOKEN", HOME.line())
    with (
        cloud_server(tmp_path, "--app", app.name) as server,
        RawDevice(server.port, app, stream="a", token=HOME) as device,
    ):
        device.open()
        assert "do not come from a file" in reload(server)
        go_on(device, 0)


def test_a_handshake_that_was_recorded_opens_nothing(tmp_path: Path, app: RawApp) -> None:
    write_tokens(tmp_path, HOME)
    with cloud_server(tmp_path, "--app", app.name, "--token-file", "tokens") as server:
        with RawDevice(server.port, app, stream="a", token=HOME) as device:
            hello = joined(device.session.take_outgoing())
            device.socket.sendall(hello)
            events = device.session.received(device.socket.recv_into(device.session.buffer()))
            assert list(events) == []
            proof_and_open = joined(device.session.take_outgoing())
            device.socket.sendall(proof_and_open)
            server.wait_for_line("session_opened")
        with closing(socket.create_connection(("127.0.0.1", server.port), WAIT_S)) as replay:
            replay.sendall(hello)
            assert replay.recv(4096)
            replay.sendall(proof_and_open)
            answer = b"".join(iter(lambda: replay.recv(4096), b""))
        assert b"could not prove" in answer
        assert "why=token" in server.wait_for_line("refused")


def test_a_device_that_leaves_before_its_proof_is_not_counted_as_refused(
    tmp_path: Path, app: RawApp
) -> None:
    write_tokens(tmp_path, HOME)
    arguments = ("--token-file", "tokens", "--summary", "cloud.json", "--log-level", "debug")
    with cloud_server(tmp_path, "--app", app.name, *arguments) as server:
        with RawDevice(server.port, app, stream="a", token=HOME) as device:
            device.flush()
            assert device.socket.recv(4096)
        with RawDevice(server.port, app, stream="b", token=HOME) as next_one:
            next_one.open()
        stopped = server.stop()
    assert read_summary(tmp_path / "cloud.json")["refused"] == {}
    assert "refused" not in stopped.err


# A list of servers.

HOSTS: Final = ("--host", "127.0.0.1,127.0.0.2")


def serve_list(stack: ExitStack, folder: Path, app: RawApp, first: Token, second: Token) -> str:
    """Run the two servers of `HOSTS`, each with a token, and return their port."""
    port = 0
    for host, token in (("127.0.0.1", first), ("127.0.0.2", second)):
        own = folder / host
        own.mkdir()
        write_app(own, app.name, NUMBERS)
        write_tokens(own, token)
        options = ("--bind", host, "--app", app.name, "--token-file", "tokens")
        port = stack.enter_context(cloud_server(own, *options, port=port)).port
    write_tokens(folder, HOME)
    return str(port)


def test_a_device_goes_on_to_the_server_of_its_list_that_knows_its_token(
    tmp_path: Path, app: RawApp
) -> None:
    with ExitStack() as stack:
        port = serve_list(stack, tmp_path, app, WORK, HOME)
        options = ("--port", port, "--app", app.name, "--token-file", "tokens", "--stream", "s")
        ended = run_client(tmp_path, "1", *HOSTS, *options)
    assert ended.code == 0, ended.err
    assert "server_refused server=127.0.0.1" in ended.err
    assert len(read_results(tmp_path / "127.0.0.2" / "results.db", "s")) == 10


def test_a_device_that_all_servers_of_its_list_refuse_ends_and_names_the_first(
    tmp_path: Path, app: RawApp
) -> None:
    with ExitStack() as stack:
        port = serve_list(stack, tmp_path, app, WORK, WORK)
        options = ("--port", port, "--app", app.name, "--token-file", "tokens")
        ended = run_client(tmp_path, "1", *HOSTS, *options)
    assert ended.code == 77, ended.err
    assert ended.error.startswith("error: server 127.0.0.1 refused: server knows no token with")
    assert "; server 127.0.0.2 refused: server knows no token with" in ended.error


# TLS.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Identity:
    return make_authority(folder, "ca")


@pytest.fixture(scope="module")
def own(folder: Path, authority: Identity) -> Identity:
    return make_signed(folder, "server", authority, hosts="IP:127.0.0.1")


def tls_of(own: Identity) -> tuple[str, ...]:
    return ("--insecure", "--tls-cert", str(own.certificate), "--tls-key", str(own.key))


def trusting(authority: Identity, own: Identity | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if own is not None:
        context.load_cert_chain(own.certificate, own.key)
    return context


def test_a_session_over_tls_carries_frames_of_any_size(
    tmp_path: Path, app: RawApp, authority: Identity, own: Identity
) -> None:
    with (
        cloud_server(tmp_path, "--app", app.name, *tls_of(own)) as server,
        RawDevice(server.port, app, stream="a", tls=trusting(authority)) as device,
    ):
        device.open()
        for seq, size in enumerate((8, 100_000, 5_000_000, 16)):
            payload = memoryview(bytes(size))
            tree = {"doubled": 1, "other": [6, 0]}
            device.session.send_frame(
                Frame(seq=seq, split=2, captured_at=0.0, tree=tree, buffers=(payload,))
            )
            device.flush()
        device.wait_for_acknowledgement(4)
        device.end()
        server.wait_for_line("stream_ended")
        assert server.stop().code == 0


def test_a_device_without_tls_is_told_to_use_it(tmp_path: Path, app: RawApp, own: Identity) -> None:
    arguments = ("--app", app.name, "--summary", "cloud.json", *tls_of(own))
    with cloud_server(tmp_path, *arguments) as server:
        with (
            RawDevice(server.port, app, stream="a") as device,
            pytest.raises(OffloadError, match="this server speaks TLS: give --tls"),
        ):
            device.open()
        refused = server.wait_for_line("refused")
        stopped = server.stop()
    assert "why=tls peer=127.0.0.1" in refused
    assert "peer does not speak TLS" in refused
    assert stopped.err.count("refused") == 1
    assert "Traceback" not in stopped.err
    assert read_summary(tmp_path / "cloud.json")["refused"] == {"tls": 1}


def test_a_device_with_tls_is_told_that_the_server_has_none(tmp_path: Path, app: RawApp) -> None:
    with cloud_server(tmp_path, "--app", app.name, "--insecure") as server:
        context = ssl.create_default_context()
        with pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"):
            RawDevice(server.port, app, stream="a", tls=context)
        refused = server.wait_for_line("refused")
    assert "why=protocol" in refused
    assert "peer speaks TLS" in refused


def test_a_device_without_a_certificate_is_refused_where_one_is_asked_for(
    tmp_path: Path, app: RawApp, folder: Path, authority: Identity, own: Identity
) -> None:
    mine = make_signed(folder, "device", authority)
    arguments = ("--app", app.name, *tls_of(own), "--tls-client-ca", str(authority.certificate))
    with cloud_server(tmp_path, *arguments, "--summary", "cloud.json") as server:
        with (
            RawDevice(server.port, app, stream="a", tls=trusting(authority)) as device,
            pytest.raises((SessionLost, ssl.SSLError)),
        ):
            device.open()
        assert "device has no certificate: give it" in server.wait_for_line("refused")
        with RawDevice(server.port, app, stream="a", tls=trusting(authority, mine)) as device:
            device.open()
            go_on(device, 0)
        stopped = server.stop()
    assert "Traceback" not in stopped.err
    assert read_summary(tmp_path / "cloud.json")["refused"] == {"tls": 1}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--tls-key", "k.pem"), "--tls-key k.pem: needs a certificate: give --tls-cert"),
        (("--tls-client-ca", "ca.pem"), "needs a certificate: give --tls-cert"),
        (("--tls-cert", "c.pem"), "--tls-cert c.pem: needs its private key: give --tls-key"),
        (("--tls-cert", "c.pem", "--tls-key", "k.pem"), "--tls-cert c.pem: no such file"),
    ],
)
def test_half_of_what_tls_needs_is_wrong_usage(
    arguments: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    with started(SERVER, tmp_path, "--port", "0", *arguments) as program:
        ended = program.wait()
    assert ended.code == 2, ended.err
    assert says in ended.error
    assert ended.out == ""


# The end.


def test_a_handshake_under_way_is_told_at_once_that_the_server_ends(tmp_path: Path) -> None:
    gate = Gate(tmp_path)
    app = RawApp.of(write_app(tmp_path, "gated", GATED), GATED)
    with (
        cloud_server(tmp_path, "--app", app.name, "--insecure") as server,
        RawDevice(server.port, app, stream="a") as busy,
        RawDevice(server.port, app, stream="b") as halfway,
    ):
        busy.open()
        busy.send_frame(0, number=1)
        halfway.socket.sendall(joined(halfway.session.take_outgoing()))
        assert halfway.socket.recv(4, socket.MSG_PEEK)
        server.send(signal.SIGTERM)
        with pytest.raises(SessionLost, match="the server is shutting down"):
            raise halfway.refusal()
        with pytest.raises(ConnectionRefusedError):
            RawDevice(server.port, app, stream="c")
        assert server.is_running
        gate.open()
        busy.wait_for_acknowledgement(1)
        assert isinstance(busy.refusal(), SessionLost)
        assert server.wait().code == 0

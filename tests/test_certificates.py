"""Certificates: Python's own TLS takes them for what they are, and for nothing else."""

import shutil
import ssl
import stat
import subprocess
from pathlib import Path

import pytest

from offload.auth.certificates import (
    CA_DAYS,
    LEAF_DAYS,
    Certificates,
    default_hosts,
    make_certificates,
)
from offload.errors import ConfigurationError

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")

NAMES = {"ca.pem", "ca.key", "server.pem", "server.key", "device.pem", "device.key"}
HOSTS = ["cloud.example", "*.cloud.example", "192.0.2.7", "2001:db8::7"]
DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("own") / "certificates", hosts=HOSTS)


@pytest.fixture(scope="module")
def of_others(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("others"), hosts=HOSTS)


def server_context(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(client_ca)
    return context


def device_context(ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # What newer versions of Python ask of every certificate.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_verify_locations(ca)
    assert context.check_hostname
    return context


def handshake(
    server: ssl.SSLContext, device: ssl.SSLContext, host: str
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Join both ends in memory until each has accepted the other; return server and device."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        device.wrap_bio(down, up, server_hostname=host),
        server.wrap_bio(up, down, server_side=True),
    )
    left = list(ends)
    for _ in range(10):
        for end in tuple(left):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            left.remove(end)
        if not left:
            return ends[1], ends[0]
    pytest.fail("the handshake does not end")


@pytest.mark.parametrize(
    "host", ["cloud.example", "CLOUD.example", "eu.cloud.example", "192.0.2.7", "2001:db8::7"]
)
def test_a_device_that_has_the_ca_accepts_the_server_under_each_of_its_hosts(
    made: Certificates, host: str
) -> None:
    server = server_context(made.server, made.server_key)
    _, device = handshake(server, device_context(made.ca), host)
    assert device.version() == "TLSv1.3"


@pytest.mark.parametrize(
    "host", ["other.example", "a.b.cloud.example", "192.0.2.8", "::1", "localhost"]
)
def test_a_device_refuses_the_server_under_another_host(made: Certificates, host: str) -> None:
    server = server_context(made.server, made.server_key)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(server, device_context(made.ca), host)


def test_a_device_refuses_a_server_of_another_ca(
    made: Certificates, of_others: Certificates
) -> None:
    server = server_context(of_others.server, of_others.server_key)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(server, device_context(made.ca), "cloud.example")


def test_without_hosts_given_the_server_has_this_machines_names(tmp_path: Path) -> None:
    hosts = default_hosts()
    assert hosts[-3:] == ["localhost", "127.0.0.1", "::1"]
    made = make_certificates(tmp_path, hosts=hosts)
    for host in hosts:
        handshake(server_context(made.server, made.server_key), device_context(made.ca), host)


def test_both_ends_accept_each_other_by_certificate(made: Certificates) -> None:
    device_side = device_context(made.ca)
    device_side.load_cert_chain(made.device, made.device_key)
    server_side = server_context(made.server, made.server_key, made.ca)
    server, _ = handshake(server_side, device_side, "cloud.example")
    certificate = server.getpeercert()
    assert certificate is not None
    assert certificate["subject"] == ((("commonName", "task-offload device"),),)


def test_a_server_with_a_client_ca_refuses_a_device_without_a_certificate(
    made: Certificates,
) -> None:
    server_side = server_context(made.server, made.server_key, made.ca)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(server_side, device_context(made.ca), "cloud.example")


def test_a_server_with_a_client_ca_refuses_a_device_of_another_ca(
    made: Certificates, of_others: Certificates
) -> None:
    device_side = device_context(made.ca)
    device_side.load_cert_chain(of_others.device, of_others.device_key)
    server_side = server_context(made.server, made.server_key, made.ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get local issuer"):
        handshake(server_side, device_side, "cloud.example")


def test_a_devices_certificate_does_not_pass_for_the_servers(made: Certificates) -> None:
    device_side = device_context(made.ca)
    device_side.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(server_context(made.device, made.device_key), device_side, "cloud.example")


def test_the_servers_certificate_does_not_pass_for_a_devices(made: Certificates) -> None:
    device_side = device_context(made.ca)
    device_side.load_cert_chain(made.server, made.server_key)
    server_side = server_context(made.server, made.server_key, made.ca)
    with pytest.raises(ssl.SSLCertVerificationError, match="unsuitable certificate purpose"):
        handshake(server_side, device_side, "cloud.example")


def test_the_certificates_end_after_the_days_that_are_promised(made: Certificates) -> None:
    device_side = device_context(made.ca)
    _, device = handshake(
        server_context(made.server, made.server_key), device_side, "cloud.example"
    )
    server = device.getpeercert()
    (ca,) = device_side.get_ca_certs()
    assert server is not None
    for certificate, days in ((server, LEAF_DAYS), (ca, CA_DAYS)):
        begin, end = str(certificate["notBefore"]), str(certificate["notAfter"])
        assert ssl.cert_time_to_seconds(end) - ssl.cert_time_to_seconds(begin) == days * DAY_S


def test_each_certificate_names_the_key_that_signed_it_as_newer_tls_wants(
    made: Certificates,
) -> None:
    def key_of(extension: str, certificate: Path) -> str:
        show = ["openssl", "x509", "-noout", "-ext", extension, "-in", str(certificate)]
        shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
        return shown.splitlines()[-1].strip().removeprefix("keyid:")

    signer = key_of("subjectKeyIdentifier", made.ca)
    assert signer.count(":") == 19
    for certificate in (made.server, made.device):
        assert key_of("authorityKeyIdentifier", certificate) == signer


# The files


def test_they_may_be_made_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_certificates(Path(), hosts=HOSTS)
    assert {file.name for file in tmp_path.iterdir()} == NAMES


def test_there_are_six_files_and_keys_are_their_owners_alone(made: Certificates) -> None:
    folder = made.ca.parent
    assert {file.name for file in folder.iterdir()} == NAMES
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for key in (made.ca_key, made.server_key, made.device_key):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


def test_they_may_be_made_in_a_folder_that_holds_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    make_certificates(tmp_path, hosts=HOSTS)
    assert {file.name for file in tmp_path.iterdir()} == {*NAMES, "notes"}


@pytest.mark.parametrize("taken", sorted(NAMES))
def test_a_file_that_is_there_is_kept_and_no_other_is_made(tmp_path: Path, taken: str) -> None:
    (tmp_path / taken).write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"{taken} exists already"):
        make_certificates(tmp_path, hosts=HOSTS)
    assert (tmp_path / taken).read_text(encoding="utf-8") == "mine"
    assert [file.name for file in tmp_path.iterdir()] == [taken]


def test_a_link_to_nowhere_counts_as_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "device.key").symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match=r"device\.key exists already"):
        make_certificates(tmp_path, hosts=HOSTS)
    assert [file.name for file in tmp_path.iterdir()] == ["device.key"]


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of all commands."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def write_openssl(commands: Path, script: str) -> None:
    (commands / "openssl").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (commands / "openssl").chmod(0o700)


def test_a_file_that_comes_to_be_there_meanwhile_is_kept_and_no_other_is_made(
    tmp_path: Path, commands: Path
) -> None:
    openssl = shutil.which("openssl", path="/usr/bin:/bin:/usr/local/bin")
    folder = tmp_path / "certificates"
    folder.mkdir()
    write_openssl(commands, f'echo mine > {folder}/server.key; exec {openssl} "$@"')
    with pytest.raises(ConfigurationError, match=r"server\.key exists already"):
        make_certificates(folder, hosts=HOSTS)
    assert [file.name for file in folder.iterdir()] == ["server.key"]
    assert (folder / "server.key").read_text(encoding="utf-8") == "mine\n"


@pytest.mark.usefixtures("commands")
def test_without_openssl_it_is_said_how_to_get_it_and_nothing_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "certificates"
    with pytest.raises(ConfigurationError, match="needs the openssl command: sudo apt-get install"):
        make_certificates(folder, hosts=HOSTS)
    assert not folder.exists()


@pytest.mark.parametrize("works", [0, 1, 2, 4])
def test_if_openssl_fails_at_any_step_it_is_said_and_nothing_is_made(
    tmp_path: Path, commands: Path, works: int
) -> None:
    openssl = shutil.which("openssl", path="/usr/bin:/bin:/usr/local/bin")
    count = tmp_path / "count"
    count.write_text("", encoding="utf-8")
    write_openssl(
        commands,
        f"printf x >> {count}; read -r calls < {count}\n"
        f'[ ${{#calls}} -le {works} ] && exec {openssl} "$@"\n'
        "echo first >&2; echo out of order >&2; exit 3",
    )
    folder = tmp_path / "certificates"
    with pytest.raises(ConfigurationError, match="ended with 3 and said: out of order"):
        make_certificates(folder, hosts=HOSTS)
    assert len(count.read_text(encoding="utf-8")) == works + 1
    assert not folder.exists()


def test_an_openssl_that_only_waits_is_ended(
    tmp_path: Path, commands: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_openssl(commands, "exec /bin/sleep 60")
    monkeypatch.setattr("offload.auth.certificates.OPENSSL_TIMEOUT_S", 0.2)
    with pytest.raises(ConfigurationError, match="openssl req did not end within"):
        make_certificates(tmp_path / "certificates", hosts=HOSTS)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"file: Not a directory"):
        make_certificates(tmp_path / "file", hosts=HOSTS)


@pytest.mark.parametrize(
    "host",
    [
        *("", " ", "two words", "a,DNS:evil.example", "a\nb", "a\n", "-a.example", "a..example"),
        *("192.0.2.256", "192.0.2", "fe80::1%eth0", "[::1]", "cloud.example:8089", "café.example"),
        *("a" * 64, ".".join(["a" * 60] * 5), "*", "a.*.example"),
    ],
)
def test_what_is_no_host_is_refused_and_nothing_is_made(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigurationError, match="is neither a name nor an address"):
        make_certificates(tmp_path / "certificates", hosts=["cloud.example", host])
    assert list(tmp_path.iterdir()) == []


def test_at_least_one_host_is_needed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no host"):
        make_certificates(tmp_path / "certificates", hosts=[])


def test_the_openssl_command_itself_finds_both_certificates_good(made: Certificates) -> None:
    for purpose, certificate in (("sslserver", made.server), ("sslclient", made.device)):
        files = ("-CAfile", str(made.ca), str(certificate))
        verify = ("openssl", "verify", "-x509_strict", "-purpose", purpose)
        subprocess.run([*verify, *files], check=True, capture_output=True)

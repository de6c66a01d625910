"""The files that a user names for TLS: what is accepted, and what the refusals say."""

import shutil
import ssl
from pathlib import Path

import pytest

from offload.errors import ConfigurationError
from offload.tls import device_context, server_context
from tests.certificates import (
    Identity,
    make_authority,
    make_encrypted,
    make_rsa_key,
    make_signed,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def authority(folder: Path) -> Identity:
    return make_authority(folder, "ca")


@pytest.fixture(scope="module")
def own(folder: Path, authority: Identity) -> Identity:
    return make_signed(folder, "own", authority)


def of_server(certificate: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    return server_context(certificate, key, client_ca, on_refused=pytest.fail)


def refusal(certificate: Path, key: Path) -> str:
    """Return what both ends say of a certificate and a key."""
    with pytest.raises(ConfigurationError) as of_device:
        device_context(None, certificate, key)
    with pytest.raises(ConfigurationError) as of_cloud:
        of_server(certificate, key)
    assert str(of_device.value) == str(of_cloud.value)
    assert "\n" not in str(of_device.value)
    return str(of_device.value)


def test_both_ends_speak_tls_1_3_and_nothing_older(authority: Identity, own: Identity) -> None:
    contexts = (
        device_context(),
        device_context(authority.certificate, own.certificate, own.key),
        of_server(own.certificate, own.key, authority.certificate),
    )
    assert {each.minimum_version for each in contexts} == {ssl.TLSVersion.TLSv1_3}


def test_a_device_always_verifies_the_servers_certificate_and_name(authority: Identity) -> None:
    for context in (device_context(), device_context(authority.certificate)):
        assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_a_server_asks_for_certificates_where_it_has_an_authority_for_them(
    authority: Identity, own: Identity
) -> None:
    assert of_server(own.certificate, own.key).verify_mode is ssl.CERT_NONE
    asking = of_server(own.certificate, own.key, authority.certificate)
    assert asking.verify_mode is ssl.CERT_REQUIRED


def test_a_server_gives_out_no_tickets_for_sessions_that_nobody_resumes(own: Identity) -> None:
    assert of_server(own.certificate, own.key).num_tickets == 0


def test_a_device_trusts_the_authority_that_it_was_given_and_no_other(authority: Identity) -> None:
    context = device_context(authority.certificate)
    assert [each["subject"] for each in context.get_ca_certs()] == [((("commonName", "ca"),),)]


def test_a_missing_file_is_named_with_its_option(own: Identity, tmp_path: Path) -> None:
    missing = tmp_path / "missing.pem"
    reason = "no such file or directory"
    assert refusal(missing, own.key) == f"--tls-cert {missing}: {reason}"
    assert refusal(own.certificate, missing) == f"--tls-key {missing}: {reason}"
    with pytest.raises(ConfigurationError, match=f"--tls-ca {missing}: {reason}"):
        device_context(missing)
    with pytest.raises(ConfigurationError, match=f"--tls-client-ca {missing}: {reason}"):
        of_server(own.certificate, own.key, missing)


def test_a_folder_is_no_file(own: Identity, tmp_path: Path) -> None:
    assert refusal(own.certificate, tmp_path) == f"--tls-key {tmp_path}: is a directory"


@pytest.mark.parametrize("content", ["", "junk\n", "-----BEGIN CERTIFICATE-----\nMIIB\n"])
def test_a_file_of_anything_else_is_named_with_its_option(
    own: Identity, tmp_path: Path, content: str
) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text(content, encoding="utf-8")
    assert refusal(junk, own.key) == f"--tls-cert {junk}: is no certificate in PEM form"
    assert refusal(own.certificate, junk) == f"--tls-key {junk}: is no private key in PEM form"
    with pytest.raises(ConfigurationError, match=f"--tls-ca {junk}: is no certificate"):
        device_context(junk)
    with pytest.raises(ConfigurationError, match=f"--tls-client-ca {junk}: is no certificate"):
        of_server(own.certificate, own.key, junk)


def test_files_in_each_others_place_are_named(own: Identity) -> None:
    assert refusal(own.key, own.certificate) == (
        f"--tls-cert {own.key}: is no certificate in PEM form"
    )


def test_another_certificates_key_is_refused(
    own: Identity, authority: Identity, tmp_path: Path
) -> None:
    for key in (authority.key, make_rsa_key(tmp_path / "rsa.key")):
        assert refusal(own.certificate, key) == (
            f"--tls-key {key}: is not the key of --tls-cert {own.certificate}"
        )


def test_a_certificate_that_openssl_finds_too_weak_is_refused(tmp_path: Path) -> None:
    weak = make_authority(tmp_path, "weak", kind=("rsa:512",))
    assert refusal(weak.certificate, weak.key) == (
        f"--tls-cert {weak.certificate}: cannot be used: ee key too small"
    )


def test_an_encrypted_key_is_refused_and_no_password_is_asked_for(
    own: Identity, tmp_path: Path
) -> None:
    encrypted = make_encrypted(own.key, tmp_path / "encrypted.key")
    assert refusal(own.certificate, encrypted) == (
        f"--tls-key {encrypted}: is encrypted, expected a key without password"
    )


def test_a_devices_certificate_needs_its_key_and_the_key_its_certificate(own: Identity) -> None:
    with pytest.raises(ConfigurationError, match=r"--tls-cert .*own\.pem: .*: give --tls-key$"):
        device_context(None, own.certificate, None)
    with pytest.raises(ConfigurationError, match=r"--tls-key .*own\.key: .*: give --tls-cert$"):
        device_context(None, None, own.key)


@pytest.mark.parametrize(("mode", "is_said"), [(0o604, True), (0o640, False), (0o600, False)])
def test_a_key_that_everybody_may_read_is_taken_and_said_once_by_either_end(
    mode: int, is_said: bool, own: Identity, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = tmp_path / "own.key"
    shutil.copy(own.key, key)
    key.chmod(mode)
    device_context(None, own.certificate, key)
    of_server(own.certificate, key)
    assert caplog.messages == ["key_is_readable"] * 2 * is_said
    assert all(f"chmod 600 {key}" in each.__dict__["why"] for each in caplog.records)

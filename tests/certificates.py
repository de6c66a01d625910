"""Certificates for tests, made by the ``openssl`` command."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate and its private key, in PEM files."""

    certificate: Path
    key: Path


# The arguments of ``openssl req -newkey``.
CURVE: Final = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def make_authority(folder: Path, name: str, *, kind: Sequence[str] = CURVE) -> Identity:
    """Make an authority that signs itself; skip the test where ``openssl`` is missing."""
    made = _named(folder, name)
    _openssl(*_new_key(made, kind), *("-x509", "-subj", f"/CN={name}", "-out", made.certificate))
    return made


def make_signed(
    folder: Path, name: str, authority: Identity, *, hosts: str = "DNS:nobody", days: int = 2
) -> Identity:
    """Make a certificate that ``authority`` signs; with negative ``days`` it has expired."""
    made = _named(folder, name)
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    _openssl(*_new_key(made, CURVE), *("-subj", f"/CN={name}", "-out", request))
    extensions.write_text(f"subjectAltName={hosts}\n", encoding="utf-8")
    _openssl(
        *("x509", "-req", "-in", request, "-out", made.certificate, "-days", days),
        *("-CA", authority.certificate, "-CAkey", authority.key, "-extfile", extensions),
        *("-CAserial", folder / f"{name}.srl", "-CAcreateserial"),
    )
    return made


def make_encrypted(key: Path, encrypted: Path) -> Path:
    """Encrypt a private key with a password."""
    _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", encrypted)
    return encrypted


def make_rsa_key(key: Path) -> Path:
    """Make a private key of another kind than all others here."""
    _openssl("genpkey", "-algorithm", "RSA", "-out", key)
    return key


def _named(folder: Path, name: str) -> Identity:
    return Identity(certificate=folder / f"{name}.pem", key=folder / f"{name}.key")


def _new_key(identity: Identity, kind: Sequence[str]) -> tuple[object, ...]:
    return ("req", "-newkey", *kind, "-nodes", "-keyout", identity.key)


def _openssl(*arguments: object) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs the command openssl")
    command = ["openssl", *(str(each) for each in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

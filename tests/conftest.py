"""No test sees the environment of whoever runs it, nor that user's tokens."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _config_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    # Named, not made: few tests look into theirs, and to make and remove thousands takes seconds.
    base = tmp_path_factory.mktemp("config")
    return (base / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, _config_folders: Iterator[Path]) -> None:
    for name in list(os.environ):
        if name in {"HOST", "PORT", "BIND"} or name.startswith("OFFLOAD_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(next(_config_folders)))

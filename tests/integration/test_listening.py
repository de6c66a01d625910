"""Who listens on a port of a network namespace."""

import os
import socket
from collections.abc import Iterator
from typing import Final

import pytest

pytest.importorskip("pyroute2", reason="pyroute2 is missing: ./run setup emulation")

from offload.emulation.local.network import PREFIX, inside, make_namespace, remove_namespace
from offload.emulation.local.programs import listens

ADDRESS: Final = "10.213.0.1"


@pytest.fixture
def namespace() -> Iterator[str]:
    if os.geteuid() != 0:
        pytest.skip("root is missing")
    name = f"{PREFIX}test-{os.getpid()}"
    make_namespace(name, ADDRESS)
    yield name
    remove_namespace(name)


@pytest.mark.root
def test_a_port_counts_only_where_somebody_listens_on_it(namespace: str) -> None:
    with inside(namespace):
        listening = socket.create_server((ADDRESS, 0))
        connected = socket.create_connection(listening.getsockname())
    with listening, connected:
        assert listens(namespace, listening.getsockname()[1])
        assert not listens(namespace, connected.getsockname()[1])

"""A relay between a device and a server that keeps what both of them say.

relay = Relay(server_port)
...  # a device connects to relay.port
relay.close()
relay.tapes[0].to_cloud
"""

import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tests.faults.recordings import cut_messages
from tests.integration.programs import WAIT_S

RECEIVE_BYTES: Final = 64 * 1024


class Tape:
    """What went over one connection, in both directions."""

    def __init__(self) -> None:
        self.to_cloud = bytearray()
        self.to_device = bytearray()


class Relay:
    """Listens in between, on a port of its own, and keeps what goes through.

    Attributes:
        port: Where devices find it.
        tapes: One per connection.
        loses_acknowledgements: Whether it is to end the next connection with the first
            acknowledgement, which the device then does not get.
    """

    def __init__(self, server_port: int) -> None:
        self._server_port = server_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self.port: int = self._listener.getsockname()[1]
        self.tapes: list[Tape] = []
        self.loses_acknowledgements = False
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def wait_until(self, heard: Callable[[list[Tape]], bool]) -> None:
        """Wait until the tapes are as ``heard`` wants them."""
        with self._changed:
            assert self._changed.wait_for(lambda: heard(self.tapes), WAIT_S)

    def _accept(self) -> None:
        while True:
            try:
                device, _ = self._listener.accept()
            except OSError:
                return
            try:
                cloud = socket.create_connection(("127.0.0.1", self._server_port))
            except ConnectionRefusedError:
                device.close()
                continue
            tape = Tape()
            self.tapes.append(tape)
            for source, sink, kept in (
                (device, cloud, tape.to_cloud),
                (cloud, device, tape.to_device),
            ):
                threading.Thread(
                    target=self._pass_on, args=(source, sink, kept), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while data := source.recv(RECEIVE_BYTES):
                if self.loses_acknowledgements and self._is_acknowledgement(kept):
                    self.loses_acknowledgements = False
                    break
                sink.sendall(data)
                with self._changed:
                    kept += data
                    self._changed.notify_all()
        except OSError:
            # One of them has gone without a word, as in scenes that stop the server.
            sys.stderr.write("a connection was reset\n")
        for each in (source, sink):
            # The other thread may have been here already.
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _is_acknowledgement(self, kept: bytearray) -> bool:
        """Whether challenge and welcome have gone to the device, so that this is what follows."""
        return kept is self.tapes[-1].to_device and len(cut_messages(bytes(kept))) >= 2
